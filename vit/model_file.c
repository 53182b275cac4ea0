#include "vit/model_file.h"

#include "vit/file.h"
#include "vit/heap.h"
#include "vit/memory.h"
#include "vit/model_parts.h"
#include "vit/quant_model.h"

#include <float.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Of an int8 model most is never touched: neither cleared nor in huge pages, it takes no memory. */
static vit_status allocate_few_params(vit_model_bundle *bundle) {
    size_t count = bundle->model.params.total;
    bundle->params = vit_reallocarray(NULL, count, sizeof *bundle->params);
    return bundle->params
               ? VIT_OK
               : vit_fail(VIT_ERROR_MEMORY, "model weights: out of memory (%zu floats)", count);
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

/* ---- loading ---- */

vit_status vit_model_path(const char *path, char *buffer, size_t size) {
    vit_status status = VIT_OK;
    vit_path_kind kind;
    VIT_TRY(vit_path_look(path, &kind));
    if (kind != VIT_PATH_FOLDER) {
        return vit_path_join(buffer, size, "", path);
    }
    static const char *const names[] = {"best.safetensors", "last.safetensors",
                                        "model.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        VIT_TRY(vit_path_join(buffer, size, path, names[i]));
        VIT_TRY(vit_path_look(buffer, &kind));
        if (kind != VIT_PATH_NONE) {
            return VIT_OK;
        }
    }
    status = vit_fail(VIT_ERROR_IO,
                      "%s: holds no model (expected best.safetensors, last.safetensors or "
                      "model.safetensors)",
                      path);
cleanup:
    return status;
}

/* The layout version as a number; it is compared before anything else is trusted. */
static vit_status check_version(const vit_safetensors *file, const char *path, long *found) {
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
    *found = strtol(version, NULL, 10);
    if (*found > VIT_MODEL_FILE_VERSION) {
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

/* What the config says of the weights; the file's layout has to know of it. */
static vit_status read_quantization(const vit_json *config, const char *path, long version,
                                    bool *int8) {
    const vit_json *entry = vit_json_get(config, VIT_QUANTIZATION);
    const char *name = vit_json_string(entry, NULL);
    *int8 = entry != NULL;
    if (!entry) {
        return VIT_OK;
    }
    if (!name || strcmp(name, "int8") != 0) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "%s: config: " VIT_QUANTIZATION " is %s%.100s (this zvit, %s, reads int8)",
                        path, name ? "" : "not a name", name ? name : "", vit_version());
    }
    if (version < 2) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: config: " VIT_QUANTIZATION " with layout version %ld (expected 2)",
                        path, version);
    }
    return VIT_OK;
}

static bool is_float(vit_dtype dtype) {
    return dtype == VIT_F32 || dtype == VIT_F64 || dtype == VIT_F16 || dtype == VIT_BF16;
}

static vit_status check_tensor(const vit_tensor *tensor, const char *path, const char *name,
                               bool int8, int ndim, const size_t *shape) {
    char found[256], expected[256];
    vit_shape_text(ndim, shape, expected, sizeof expected);
    if (!tensor) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %s is missing (expected with shape %s)", path,
                        name, expected);
    }
    if (int8 ? tensor->dtype != VIT_I8 : !is_float(tensor->dtype)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %s: dtype %s (expected %s)", path, name,
                        vit_dtype_name(tensor->dtype), int8 ? "I8" : "F32, F64, F16 or BF16");
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
    return check_tensor(vit_safetensors_find(file, "pos_embed"), path, "pos_embed", false, 3,
                        shape);
}

void vit_name_scale(const vit_param *param, vit_scale_name name) {
    snprintf(name, sizeof(vit_scale_name), "%s" VIT_SCALE_SUFFIX, param->name);
}

/* A parameter's tensor, or both of an int8 weight; adds their number to *count. */
static vit_status check_param(const vit_safetensors *file, const char *path, const vit_param *param,
                              bool int8, size_t *count) {
    vit_status status = VIT_OK;
    vit_scale_name name;
    VIT_TRY(check_tensor(vit_safetensors_find(file, param->name), path, param->name, int8,
                         param->ndim, param->shape));
    *count += 1;
    if (int8) {
        vit_name_scale(param, name);
        VIT_TRY(check_tensor(vit_safetensors_find(file, name), path, name, false, 1, param->shape));
        *count += 1;
    }
cleanup:
    return status;
}

/* Whether a tensor of that name belongs to the model. */
static bool is_known(const vit_model *model, const char *name, bool int8) {
    size_t row, length = strlen(name), suffix = strlen(VIT_SCALE_SUFFIX);
    if (vit_params_find(&model->params, name)) {
        return true;
    }
    if (!int8 || length < suffix || length >= sizeof(vit_scale_name) ||
        strcmp(name + length - suffix, VIT_SCALE_SUFFIX) != 0) {
        return false;
    }
    vit_scale_name weight;
    snprintf(weight, sizeof weight, "%.*s", (int)(length - suffix), name);
    const vit_param *param = vit_params_find(&model->params, weight);
    return param && vit_quant_find(model, param, &row);
}

static vit_status check_tensors(const vit_safetensors *file, const char *path,
                                const vit_model *model, bool int8) {
    const vit_param_table *table = &model->params;
    size_t expected = 0, row;
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *param = &table->items[i];
        bool quantised = int8 && vit_quant_find(model, param, &row);
        vit_status status = check_param(file, path, param, quantised, &expected);
        if (status != VIT_OK) {
            return status;
        }
    }
    if (vit_safetensors_count(file) == expected) {
        return VIT_OK; /* names are unique on both sides */
    }
    for (size_t i = 0; i < vit_safetensors_count(file); i++) {
        const char *name = vit_safetensors_at(file, i)->name;
        if (!is_known(model, name, int8)) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: tensor %.200s is unknown (expected the %zu of its config)", path,
                            name, expected);
        }
    }
    return VIT_OK;
}

/* Whether the file holds the weights as the block in memory does, and where: the tensors in the
 * order of the table, all F32. zvit writes such files. */
static bool is_flat(const vit_safetensors *file, const vit_param_table *table, size_t *offset) {
    for (size_t i = 0; i < table->count; i++) {
        const vit_tensor *tensor = vit_safetensors_find(file, table->items[i].name);
        *offset = i == 0 ? tensor->offset : *offset;
        if (tensor->dtype != VIT_F32 ||
            tensor->offset != *offset + table->items[i].offset * sizeof(float)) {
            return false;
        }
    }
    return true;
}

/* Copies the block in pieces that are still in cache when they are looked at; with much to copy the
 * threads share it. */
static vit_status copy_block(const vit_safetensors *file, const char *path, size_t offset,
                             size_t total, float *out, bool *finite) {
    enum { PIECE = 1 << 18 }; /* floats: 1 MiB */
    size_t pieces = (total + PIECE - 1) / PIECE;
    vit_first_error error = {0};
    bool all = true;
#pragma omp parallel for schedule(dynamic, 1) reduction(&& : all) if (pieces > 4)
    for (size_t i = 0; i < pieces; i++) {
        size_t first = i * PIECE, count = total - first < PIECE ? total - first : PIECE;
        vit_status status = vit_safetensors_copy(file, offset + first * sizeof *out,
                                                 count * sizeof *out, out + first, path);
        if (status != VIT_OK) {
            vit_first_error_note(&error, (long)i, status);
        } else {
            all = all && vit_all_finite(count, out + first);
        }
    }
    *finite = all;
    return vit_first_error_raise(&error);
}

static vit_status read_param(const vit_safetensors *file, const char *path, const vit_param *param,
                             float *params) {
    float *values = params + param->offset;
    const vit_tensor *tensor = vit_safetensors_find(file, param->name);
    vit_status status = vit_safetensors_to_f32(file, tensor, values, path);
    return status == VIT_OK
               ? vit_check_finite(path, param->name, param->size, values, VIT_ERROR_FORMAT)
               : status;
}

static vit_status read_weights(const vit_safetensors *file, const char *path,
                               vit_model_bundle *bundle) {
    const vit_param_table *table = &bundle->model.params;
    size_t offset = 0;
    vit_status status = VIT_OK;
    bool finite = false;
    if (is_flat(file, table, &offset)) {
        VIT_TRY(copy_block(file, path, offset, table->total, bundle->params, &finite));
    }
    for (size_t i = 0; i < table->count && !finite; i++) {
        VIT_TRY(read_param(file, path, &table->items[i], bundle->params));
    }
cleanup:
    return status;
}

static vit_status read_scales(const vit_safetensors *file, const char *path, const vit_param *param,
                              float *scale) {
    vit_scale_name name;
    vit_name_scale(param, name);
    vit_status status = vit_safetensors_to_f32(file, vit_safetensors_find(file, name), scale, path);
    if (status != VIT_OK) {
        return status;
    }
    for (size_t n = 0; n < param->shape[0]; n++) {
        if (!(scale[n] >= 0 && scale[n] <= FLT_MAX / 128)) { /* times an int8: still finite */
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: tensor %s: element %zu is %g (expected a finite number from 0 to "
                            "%g)",
                            path, name, n, (double)scale[n], (double)(FLT_MAX / 128));
        }
    }
    return VIT_OK;
}

/* The weights of linear layers as int8, the rest as floats. */
static vit_status read_int8(const vit_safetensors *file, const char *path,
                            vit_model_bundle *bundle) {
    vit_status status = VIT_OK;
    vit_model *model = &bundle->model;
    vit_quant_block block = {0};
    VIT_TRY(vit_quant_block_alloc(model, &block));
    for (size_t i = 0; i < model->params.count; i++) {
        const vit_param *param = &model->params.items[i];
        size_t row;
        if (!vit_quant_find(model, param, &row)) {
            VIT_TRY(read_param(file, path, param, bundle->params));
            continue;
        }
        const vit_tensor *tensor = vit_safetensors_find(file, param->name);
        VIT_TRY(
            vit_safetensors_copy(file, tensor->offset, param->size, block.q + param->offset, path));
        VIT_TRY(read_scales(file, path, param, block.scale + row));
    }
    status = vit_quant_model_attach(model, &block, bundle->params);
    if (status != VIT_OK) {
        vit_fail_context(status, "%s", path);
    }
cleanup:
    vit_quant_block_free(&block);
    return status;
}

/* A file may be a hole of any size that says to be weights. The kernel would hand out the memory
 * and end the process, or another one, once it is written to. */
static vit_status check_memory(const char *path, size_t floats) {
    enum { ALWAYS = 64 << 20 }; /* floats; asking takes time that a small model's start has not */
    uint64_t available = floats > ALWAYS ? vit_memory_available() : 0;
    if (available > 0 && floats > available / sizeof(float)) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "%s: weights of %.1f GB (expected at most the %.1f GB of memory that are "
                        "available)",
                        path, (double)floats * sizeof(float) / 1e9, (double)available / 1e9);
    }
    return VIT_OK;
}

static vit_status load_file(const vit_safetensors *file, const char *path,
                            vit_model_bundle *bundle) {
    vit_status status = VIT_OK;
    vit_config config;
    const vit_json *labels = NULL;
    long version = 0;
    bool int8 = false;
    VIT_TRY(check_version(file, path, &version));
    VIT_TRY(read_config(file, path, bundle, &config, &labels));
    VIT_TRY(read_quantization(bundle->config, path, version, &int8));
    VIT_TRY(check_backing(file, path, &config));
    status = vit_model_init(&bundle->model, &config);
    if (status != VIT_OK) {
        return vit_fail_context(status, "%s", path);
    }
    VIT_TRY(check_tensors(file, path, &bundle->model, int8));
    size_t index = 0;
    for (const vit_json *n = vit_json_first(labels); n; n = vit_json_next(n)) {
        VIT_TRY(set_class_name(bundle, index++, vit_json_string(n, NULL)));
    }
    VIT_TRY(check_memory(path, bundle->model.params.total / (int8 ? sizeof(float) : 1)));
    VIT_TRY(int8 ? allocate_few_params(bundle) : allocate_params(bundle));
    VIT_TRY(int8 ? read_int8(file, path, bundle) : read_weights(file, path, bundle));
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
