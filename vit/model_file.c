#include "vit/model_file.h"

#include "vit/file.h"
#include "vit/heap.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

/* ---- bundles ---- */

void vit_model_bundle_clear(vit_model_bundle *bundle) {
    for (int i = 0; bundle->class_names && i < bundle->model.config.num_classes; i++) {
        vit_free(bundle->class_names[i]);
    }
    vit_free(bundle->class_names);
    vit_free(bundle->params);
    vit_json_free(bundle->config);
    vit_model_free(&bundle->model);
    *bundle = (vit_model_bundle){0};
}

void vit_model_bundle_free(vit_model_bundle *bundle) {
    if (bundle) {
        vit_model_bundle_clear(bundle);
        vit_free(bundle);
    }
}

static vit_status bundle_create(vit_model_bundle **out) {
    *out = vit_calloc(1, sizeof **out);
    return *out ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "model: out of memory");
}

/* Copies name number index; the array is made at the first. */
static vit_status set_class_name(vit_model_bundle *bundle, size_t index, const char *name) {
    size_t count = (size_t)bundle->model.config.num_classes;
    if (!name || !*name || !vit_utf8_valid(name)) {
        return vit_fail(VIT_ERROR_ARGUMENT, "class %zu: \"%.200s\" (expected a name in UTF-8)",
                        index, name ? name : "");
    }
    if (!bundle->class_names) {
        bundle->class_names = vit_calloc(count, sizeof *bundle->class_names);
    }
    char *copy = bundle->class_names ? vit_strdup(name) : NULL;
    if (!copy) {
        return vit_fail(VIT_ERROR_MEMORY, "class names: out of memory (%zu classes)", count);
    }
    bundle->class_names[index] = copy;
    return VIT_OK;
}

/* Whoever calls it writes all of them. */
static vit_status allocate_params(vit_model_bundle *bundle) {
    void *block;
    vit_status status =
        vit_alloc_raw(&block, bundle->model.params.total, sizeof(float), "model weights");
    bundle->params = block;
    return status;
}

vit_status vit_model_bundle_new(const vit_config *config, const vit_preprocess *preprocess,
                                const char *const *class_names, uint64_t seed,
                                vit_model_bundle **out) {
    vit_status status = VIT_OK;
    *out = NULL;
    vit_model_bundle *bundle = NULL;
    VIT_TRY(bundle_create(&bundle));
    for (size_t i = 0; i < vit_preprocess_option_count; i++) {
        VIT_TRY(vit_option_check(&vit_preprocess_options[i], preprocess, ""));
    }
    VIT_TRY(vit_model_init(&bundle->model, config));
    bundle->preprocess = *preprocess;
    for (int i = 0; i < config->num_classes; i++) {
        VIT_TRY(set_class_name(bundle, (size_t)i, class_names[i]));
    }
    VIT_TRY(allocate_params(bundle));
    vit_params_init(&bundle->model.params, seed, bundle->params);
    *out = bundle;
    bundle = NULL;
cleanup:
    vit_model_bundle_free(bundle);
    return status;
}

/* Infinities and NaN have an exponent of all ones: one more carries into the sign bit. Without a
 * branch this runs at the speed of memory. */
static bool all_finite(size_t n, const float *values) {
    uint32_t carry = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        carry |= (bits & 0x7f800000u) + 0x00800000u;
    }
    return !(carry & 0x80000000u);
}

static vit_status check_finite(const vit_param *param, const float *values, const char *path,
                               vit_status otherwise) {
    if (all_finite(param->size, values)) {
        return VIT_OK;
    }
    size_t index = 0;
    while (isfinite(values[index])) {
        index++;
    }
    return vit_fail(otherwise, "%s: tensor %s: element %zu is %g (expected a finite number)", path,
                    param->name, index, (double)values[index]);
}

/* ---- loading ---- */

static bool is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

vit_status vit_model_path(const char *path, char *buffer, size_t size) {
    vit_status status = VIT_OK;
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        return vit_path_join(buffer, size, "", path);
    }
    VIT_TRY(vit_path_join(buffer, size, path, "best.safetensors"));
    if (!is_file(buffer)) {
        VIT_TRY(vit_path_join(buffer, size, path, "last.safetensors"));
    }
    if (!is_file(buffer)) {
        status =
            vit_fail(VIT_ERROR_IO,
                     "%s: holds no model (expected best.safetensors or last.safetensors)", path);
    }
cleanup:
    return status;
}

/* The layout version as a number; it is compared before anything else is trusted. */
static vit_status check_version(const vit_safetensors *file, const char *path) {
    const char *format = vit_safetensors_metadata(file, "format");
    const char *version = vit_safetensors_metadata(file, "zvit");
    if (!version) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: no \"zvit\" in its metadata (expected a model file that zvit wrote; "
                        "these are weights alone)",
                        path);
    }
    size_t length = strlen(version);
    if (length == 0 || length > 9 || version[strspn(version, "0123456789")] || version[0] == '0') {
        return vit_fail(VIT_ERROR_FORMAT, "%s: layout version \"%.40s\" (expected 1 to %d)", path,
                        version, VIT_MODEL_FILE_VERSION);
    }
    if (strtol(version, NULL, 10) > VIT_MODEL_FILE_VERSION) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "%s: layout version %s (this zvit, %s, reads up to %d)", path, version,
                        vit_version(), VIT_MODEL_FILE_VERSION);
    }
    if (!format || strcmp(format, "pt") != 0) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: format \"%.40s\" in its metadata (expected \"pt\")",
                        path, format ? format : "");
    }
    return VIT_OK;
}

static vit_status read_config(const vit_safetensors *file, const char *path,
                              vit_model_bundle *bundle, vit_config *config,
                              const vit_json **labels) {
    vit_status status = VIT_OK;
    char *what = NULL;
    const char *text = vit_safetensors_metadata(file, "config");
    if (!text) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: no \"config\" in its metadata", path);
    }
    if (vit_asprintf(&what, "%s: config", path) < 0) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
    }
    VIT_TRY(vit_json_parse(text, strlen(text), what, &bundle->config));
    VIT_TRY(vit_config_from_json(bundle->config, what, config, &bundle->preprocess, labels));
cleanup:
    vit_free(what);
    return status;
}

static vit_status check_tensor(const vit_tensor *tensor, const char *path, const char *name,
                               int ndim, const size_t *shape) {
    char found[256], expected[256];
    vit_shape_text(ndim, shape, expected, sizeof expected);
    if (!tensor) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %s is missing (expected with shape %s)", path,
                        name, expected);
    }
    if (tensor->dtype != VIT_F32 && tensor->dtype != VIT_F64 && tensor->dtype != VIT_F16 &&
        tensor->dtype != VIT_BF16) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: tensor %s: dtype %s (expected F32, F64, F16 or BF16)", path, name,
                        vit_dtype_name(tensor->dtype));
    }
    if (tensor->ndim != ndim || memcmp(tensor->shape, shape, (size_t)ndim * sizeof *shape) != 0) {
        vit_shape_text(tensor->ndim, tensor->shape, found, sizeof found);
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %s: shape %s (expected %s by its config)",
                        path, name, found, expected);
    }
    return VIT_OK;
}

/* Before the model takes memory: a config may ask for anything, so the file must show that it holds
 * as many blocks, and the tensor that the rotary tables grow with. */
static vit_status check_backing(const vit_safetensors *file, const char *path,
                                const vit_config *config) {
    if (vit_safetensors_count(file) < (size_t)config->depth) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: %zu tensors (expected more for a depth of %d)", path,
                        vit_safetensors_count(file), config->depth);
    }
    size_t shape[3] = {1, vit_config_tokens(config), (size_t)config->embed_dim};
    return check_tensor(vit_safetensors_find(file, "pos_embed"), path, "pos_embed", 3, shape);
}

static vit_status check_tensors(const vit_safetensors *file, const char *path,
                                const vit_param_table *table) {
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *param = &table->items[i];
        vit_status status = check_tensor(vit_safetensors_find(file, param->name), path, param->name,
                                         param->ndim, param->shape);
        if (status != VIT_OK) {
            return status;
        }
    }
    if (vit_safetensors_count(file) == table->count) {
        return VIT_OK; /* names are unique on both sides */
    }
    for (size_t i = 0; i < vit_safetensors_count(file); i++) {
        const char *name = vit_safetensors_at(file, i)->name;
        if (!vit_params_find(table, name)) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: tensor %.200s is unknown (expected the %zu of its config)", path,
                            name, table->count);
        }
    }
    return VIT_OK;
}

/* Where the file holds the weights as the block in memory does, or NULL: the tensors in the order
 * of the table, all F32, on a processor that stores numbers as the file does. zvit writes such
 * files.
 */
static const float *flat_block(const vit_safetensors *file, const vit_param_table *table) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const char *block = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const vit_tensor *tensor = vit_safetensors_find(file, table->items[i].name);
        block = i == 0 ? tensor->data : block;
        if (tensor->dtype != VIT_F32 ||
            (const char *)tensor->data != block + table->items[i].offset * sizeof(float)) {
            return NULL;
        }
    }
    return (const float *)(const void *)block;
#else
    (void)file;
    (void)table;
    return NULL;
#endif
}

/* Copies the block in pieces that are still in cache when they are looked at; with much to copy the
 * threads share it. */
static vit_status copy_block(const vit_safetensors *file, const char *path, const float *block,
                             size_t total, float *out, bool *finite) {
    enum { PIECE = 1 << 18 }; /* floats: 1 MiB */
    size_t pieces = (total + PIECE - 1) / PIECE;
    vit_first_error error = {0};
    bool all = true;
#pragma omp parallel for schedule(dynamic, 1) reduction(&& : all) if (pieces > 4)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * PIECE, count = total - first < PIECE ? total - first : PIECE;
        vit_status status = vit_safetensors_copy(file, (const char *)block + first * sizeof *block,
                                                 count * sizeof *block, out + first, path);
        if (status != VIT_OK) {
            vit_first_error_note(&error, (long)i, status);
        } else {
            all = all && all_finite(count, out + first);
        }
    }
    *finite = all;
    return vit_first_error_raise(&error);
}

static vit_status read_weights(const vit_safetensors *file, const char *path,
                               vit_model_bundle *bundle) {
    const vit_param_table *table = &bundle->model.params;
    const float *block = flat_block(file, table);
    vit_status status = VIT_OK;
    bool finite = false;
    if (block) {
        VIT_TRY(copy_block(file, path, block, table->total, bundle->params, &finite));
    }
    for (size_t i = 0; i < table->count && !finite; i++) {
        const vit_param *param = &table->items[i];
        float *values = bundle->params + param->offset;
        vit_tensor_to_f32(vit_safetensors_find(file, param->name), values);
        VIT_TRY(check_finite(param, values, path, VIT_ERROR_FORMAT));
    }
cleanup:
    return status;
}

static vit_status load_file(const vit_safetensors *file, const char *path,
                            vit_model_bundle *bundle) {
    vit_status status = VIT_OK;
    vit_config config;
    const vit_json *labels = NULL;
    VIT_TRY(check_version(file, path));
    VIT_TRY(read_config(file, path, bundle, &config, &labels));
    VIT_TRY(check_backing(file, path, &config));
    status = vit_model_init(&bundle->model, &config);
    if (status != VIT_OK) {
        return vit_fail_context(status, "%s", path);
    }
    VIT_TRY(check_tensors(file, path, &bundle->model.params));
    size_t index = 0;
    for (const vit_json *n = vit_json_first(labels); n; n = vit_json_next(n)) {
        VIT_TRY(set_class_name(bundle, index++, vit_json_string(n, NULL)));
    }
    VIT_TRY(allocate_params(bundle));
    VIT_TRY(read_weights(file, path, bundle));
cleanup:
    return status;
}

vit_status vit_model_bundle_read(const char *path, vit_model_bundle *bundle) {
    vit_status status = VIT_OK;
    char found[PATH_MAX];
    vit_safetensors *file = NULL;
    VIT_TRY(vit_model_path(path, found, sizeof found));
    VIT_TRY(vit_safetensors_open(found, &file));
    VIT_TRY(load_file(file, found, bundle));
cleanup:
    vit_safetensors_close(file);
    return status;
}

vit_status vit_model_bundle_read_memory(const void *bytes, size_t size, const char *what,
                                        vit_model_bundle *bundle) {
    vit_safetensors *file = NULL;
    vit_status status = vit_safetensors_open_memory(bytes, size, what, &file);
    if (status == VIT_OK) {
        status = load_file(file, what, bundle);
    }
    vit_safetensors_close(file);
    return status;
}

vit_status vit_model_bundle_load(const char *path, vit_model_bundle **out) {
    vit_status status = VIT_OK;
    *out = NULL;
    vit_model_bundle *bundle = NULL;
    VIT_TRY(bundle_create(&bundle));
    VIT_TRY(vit_model_bundle_read(path, bundle));
    *out = bundle;
    bundle = NULL;
cleanup:
    vit_model_bundle_free(bundle);
    return status;
}

/* ---- saving ---- */

vit_json *vit_model_config_json(const vit_model_bundle *bundle) {
    return vit_config_to_json(&bundle->model.config, &bundle->preprocess,
                              (const char *const *)bundle->class_names, bundle->config);
}

static vit_status config_text(const vit_model_bundle *bundle, char **out) {
    vit_json *config = vit_model_config_json(bundle);
    vit_status status = vit_json_print(config, false, out);
    vit_json_free(config);
    return status;
}

/* One entry a parameter, in the table's order; weights that no one could load are not written. */
static vit_status list_tensors(const vit_param_table *table, const float *params, const char *path,
                               vit_tensor *tensors) {
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *param = &table->items[i];
        vit_tensor *tensor = &tensors[i];
        *tensor = (vit_tensor){.name = param->name,
                               .dtype = VIT_F32,
                               .ndim = param->ndim,
                               .count = param->size,
                               .data = params + param->offset};
        memcpy(tensor->shape, param->shape, sizeof param->shape);
        vit_status status = check_finite(param, params + param->offset, path, VIT_ERROR_NUMERIC);
        if (status != VIT_OK) {
            return status;
        }
    }
    return VIT_OK;
}

vit_status vit_model_bundle_save(const vit_model_bundle *bundle, const float *params,
                                 const vit_metadata *extra, size_t extra_count, const char *path) {
    vit_status status = VIT_OK;
    const vit_param_table *table = &bundle->model.params;
    char *config = NULL;
    vit_tensor *tensors = vit_calloc(table->count, sizeof *tensors);
    vit_metadata *metadata =
        extra_count < SIZE_MAX - 3 ? vit_calloc(extra_count + 3, sizeof *metadata) : NULL;
    if (!tensors || !metadata) {
        status = vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu tensors)", path, table->count);
        goto cleanup;
    }
    VIT_TRY(config_text(bundle, &config));
    metadata[0] = (vit_metadata){"format", "pt"};
    metadata[1] = (vit_metadata){"zvit", TEXT(VIT_MODEL_FILE_VERSION)};
    metadata[2] = (vit_metadata){"config", config};
    if (extra_count > 0) {
        memcpy(metadata + 3, extra, extra_count * sizeof *extra);
    }
    VIT_TRY(list_tensors(table, params ? params : bundle->params, path, tensors));
    VIT_TRY(vit_safetensors_save(path, tensors, table->count, metadata, extra_count + 3));
cleanup:
    vit_free(config);
    vit_free(tensors);
    vit_free(metadata);
    return status;
}
