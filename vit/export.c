#include "vit/export.h"

#include "vit/arena.h"
#include "vit/file.h"
#include "vit/onnx.h"
#include "vit/quant_model.h"
#include "vit/rng.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- timm ---- */

static vit_status timm_check(const vit_model_bundle *bundle) {
    const vit_config *config = &bundle->model.config;
    if (config->attn != VIT_ATTENTION_SOFTMAX) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "--format timm: the model has %s attention (expected softmax, timm has no "
                        "other; --format safetensors takes every model)",
                        vit_attention_names[config->attn]);
    }
    if (config->rope != VIT_ROPE_NONE) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "--format timm: the model has --rope %s (expected one trained with --rope "
                        "none: timm's VisionTransformer turns nothing; --format safetensors takes "
                        "every model)",
                        vit_rope_names[config->rope]);
    }
    return VIT_OK;
}

/* timm builds what model_args say on top of any of its plain ViTs; it knows our names of DeiT's
 * shapes. */
static const char *timm_architecture(const vit_config *config) {
    static const char *const known[] = {"vit_tiny_patch16_224", "vit_small_patch16_224",
                                        "vit_base_patch16_224"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(config->architecture, known[i]) == 0) {
            return known[i];
        }
    }
    return known[0];
}

static vit_json *pair(int a, int b) {
    vit_json *array = vit_json_array();
    vit_json_add_number(array, NULL, a);
    vit_json_add_number(array, NULL, b);
    return array;
}

/* The arguments of timm's VisionTransformer. */
static vit_json *timm_arguments(const vit_config *config) {
    vit_json *args = vit_json_object();
    vit_json_add(args, "img_size", pair(config->img_size[0], config->img_size[1]));
    vit_json_add_number(args, "patch_size", config->patch_size);
    vit_json_add_number(args, "embed_dim", config->embed_dim);
    vit_json_add_number(args, "depth", config->depth);
    vit_json_add_number(args, "num_heads", config->num_heads);
    vit_json_add_number(args, "mlp_ratio", config->mlp_ratio);
    vit_json_add_bool(args, "class_token", vit_config_prefix(config) > 0);
    vit_json_add_string(args, "global_pool", vit_pool_names[config->global_pool]);
    return args;
}

/* timm refuses keys of pretrained_cfg that it does not know. */
static vit_json *timm_pretrained(const vit_model_bundle *bundle) {
    const vit_config *config = &bundle->model.config;
    vit_preprocess preprocess = bundle->preprocess;
    vit_json *cfg = vit_json_object(), *size = vit_json_array(), *labels = vit_json_array();
    vit_option_group group = {.options = vit_preprocess_options,
                              .count = vit_preprocess_option_count,
                              .target = &preprocess};
    vit_json_add_number(size, NULL, 3);
    vit_json_add_number(size, NULL, config->img_size[0]);
    vit_json_add_number(size, NULL, config->img_size[1]);
    vit_json_add(cfg, "input_size", size);
    vit_json_add_bool(cfg, "fixed_input_size", true);
    if (vit_options_to_json(&group, cfg) != VIT_OK) {
        vit_json_add(cfg, "", NULL); /* memory ran out: remembered */
    }
    vit_json_add_string(cfg, "crop_mode", "center");
    vit_json_add_number(cfg, "num_classes", config->num_classes);
    for (int i = 0; i < config->num_classes; i++) {
        vit_json_add_string(labels, NULL, bundle->class_names[i]);
    }
    vit_json_add(cfg, "label_names", labels);
    vit_json_add_string(cfg, "first_conv", "patch_embed.proj");
    vit_json_add_string(cfg, "classifier", "head");
    return cfg;
}

static vit_json *timm_config(const vit_model_bundle *bundle) {
    const vit_config *config = &bundle->model.config;
    vit_json *top = vit_json_object();
    vit_json_add_string(top, "architecture", timm_architecture(config));
    vit_json_add_number(top, "num_classes", config->num_classes);
    vit_json_add_number(top, "num_features", config->embed_dim);
    vit_json_add_string(top, "global_pool", vit_pool_names[config->global_pool]);
    vit_json_add(top, "model_args", timm_arguments(config));
    vit_json_add(top, "pretrained_cfg", timm_pretrained(bundle));
    return top;
}

/* ---- writing ---- */

static vit_status write_weights(const vit_model_bundle *bundle, const char *path) {
    const vit_param_table *table = &bundle->model.params;
    const vit_metadata format = {"format", "pt"};
    vit_tensor *tensors = vit_calloc(table->count, sizeof *tensors);
    if (!tensors) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu tensors)", path, table->count);
    }
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *param = &table->items[i];
        tensors[i] = (vit_tensor){.name = param->name,
                                  .dtype = VIT_F32,
                                  .ndim = param->ndim,
                                  .count = param->size,
                                  .data = bundle->params + param->offset};
        memcpy(tensors[i].shape, param->shape, (size_t)param->ndim * sizeof *param->shape);
    }
    vit_status status = vit_safetensors_save(path, tensors, table->count, &format, 1);
    vit_free(tensors);
    return status;
}

/* Takes config. */
static vit_status write_both(const vit_model_bundle *bundle, vit_json *config,
                             const vit_export_paths *paths) {
    vit_status status = VIT_OK;
    VIT_TRY(write_weights(bundle, paths->weights));
    VIT_TRY(vit_json_save(config, paths->config));
cleanup:
    vit_json_free(config);
    return status;
}

static vit_status timm_write(const vit_model_bundle *bundle, const vit_export_paths *paths) {
    return write_both(bundle, timm_config(bundle), paths);
}

static vit_status safetensors_write(const vit_model_bundle *bundle, const vit_export_paths *paths) {
    return write_both(bundle, vit_model_config_json(bundle), paths);
}

/* ---- int8 ---- */

static vit_status int8_check(const vit_model_bundle *bundle) {
    vit_status status = vit_quant_check(&bundle->model);
    return status == VIT_OK ? status : vit_fail_context(status, "--format int8");
}

static vit_status int8_write(const vit_model_bundle *bundle, const vit_export_paths *paths) {
    return vit_model_bundle_save_int8(bundle, paths->weights);
}

/* ---- the table ---- */

typedef struct export_row {
    const char *suffix, *config;
    vit_status (*check)(const vit_model_bundle *bundle);
    vit_status (*write)(const vit_model_bundle *bundle, const vit_export_paths *paths);
} export_row;

#define TABLE_ROW(id, name, suffix, config, help, check, write) {suffix, config, check, write},
static const export_row rows[] = {VIT_EXPORT_FORMATS(TABLE_ROW)};
enum { FORMATS = sizeof rows / sizeof *rows };

#define NAME(id, name, ...) name,
const char *const vit_export_format_names[] = {VIT_EXPORT_FORMATS(NAME) NULL};

vit_status vit_export_check(const vit_model_bundle *bundle, vit_export_format format) {
    if (bundle->model.int8) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "--format %s: the model has int8 weights (expected float weights)",
                        vit_export_format_names[format]);
    }
    return rows[format].check ? rows[format].check(bundle) : VIT_OK;
}

vit_status vit_export(const vit_model_bundle *bundle, vit_export_format format,
                      const vit_export_paths *paths) {
    vit_status status = vit_export_check(bundle, format);
    return status != VIT_OK ? status : rows[format].write(bundle, paths);
}

/* ---- where to ---- */

#define SAMPLE_SUFFIX ".safetensors"

static bool ends_in(const char *path, const char *suffix) {
    size_t length = strlen(path), end = strlen(suffix);
    return length > end && strcmp(path + length - end, suffix) == 0 &&
           path[length - end - 1] != '/';
}

static vit_status place_beside(const export_row *row, const char *out, vit_export_paths *paths) {
    int stem = (int)(strlen(out) - strlen(row->suffix));
    int weights = snprintf(paths->weights, sizeof paths->weights, "%s", out);
    int sample =
        snprintf(paths->sample, sizeof paths->sample, "%.*s.sample" SAMPLE_SUFFIX, stem, out);
    if (row->config) {
        snprintf(paths->config, sizeof paths->config, "%.*s.json", stem, out);
    }
    /* The sample's is the longest. */
    if (weights < 0 || sample < 0 || sample >= (int)sizeof paths->sample) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--out %.100s...: the path is too long", out);
    }
    return VIT_OK;
}

static vit_status place_inside(const export_row *row, const char *out, vit_export_paths *paths) {
    vit_status status = VIT_OK;
    char name[64];
    snprintf(name, sizeof name, "model%s", row->suffix);
    VIT_TRY(vit_path_join(paths->weights, sizeof paths->weights, out, name));
    if (row->config) {
        VIT_TRY(vit_path_join(paths->config, sizeof paths->config, out, row->config));
    }
    VIT_TRY(vit_path_join(paths->sample, sizeof paths->sample, out, "sample" SAMPLE_SUFFIX));
    VIT_TRY(vit_folder_make(out));
cleanup:
    return status;
}

vit_status vit_export_place(vit_export_format format, const char *out, vit_export_paths *paths) {
    const export_row *row = &rows[format];
    struct stat info;
    paths->config[0] = 0;
    if (out[0] == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--out: no name (expected a folder or FILE%s)",
                        row->suffix);
    }
    if (stat(out, &info) == 0 && S_ISDIR(info.st_mode)) {
        return place_inside(row, out, paths);
    }
    if (ends_in(out, row->suffix)) {
        return place_beside(row, out, paths);
    }
    for (size_t i = 0; i < FORMATS; i++) {
        if (ends_in(out, rows[i].suffix)) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "--out %s: the file of another format (expected a folder or FILE%s)",
                            out, row->suffix);
        }
    }
    return place_inside(row, out, paths);
}

/* ---- a sample ---- */

vit_status vit_export_sample(const vit_model_bundle *bundle, size_t count, uint64_t seed,
                             const char *path,
                             void (*progress)(void *context, size_t done, size_t total),
                             void *context) {
    vit_status status = VIT_OK;
    const vit_patch_shape *patch = &bundle->model.patch;
    size_t pixels = patch->channels * patch->height * patch->width;
    size_t K = bundle->model.head_shape.classes;
    float *images = NULL, *logits = NULL;
    vit_workspace *workspace = NULL;
    size_t floats[2];
    if (__builtin_mul_overflow(count, pixels, &floats[0]) ||
        __builtin_mul_overflow(count, K, &floats[1])) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: %zu pictures do not fit in memory", path, count);
    }
    VIT_TRY(vit_alloc((void **)&images, floats[0], sizeof *images, "sample pictures"));
    VIT_TRY(vit_alloc((void **)&logits, floats[1], sizeof *logits, "sample logits"));
    VIT_TRY(vit_workspace_create(&bundle->model, 1, false, &workspace));
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < floats[0]; i++) {
        images[i] = (float)vit_rng_normal(&rng);
    }
    for (size_t i = 0; i < count; i++) {
        vit_model_forward(&bundle->model, bundle->params, workspace, 1, images + i * pixels, NULL,
                          logits + i * K);
        if (progress) {
            progress(context, i + 1, count);
        }
    }
    const vit_tensor tensors[] = {
        {.name = "images",
         .dtype = VIT_F32,
         .ndim = 4,
         .shape = {count, patch->channels, patch->height, patch->width},
         .count = floats[0],
         .data = images},
        {.name = "logits",
         .dtype = VIT_F32,
         .ndim = 2,
         .shape = {count, K},
         .count = floats[1],
         .data = logits},
    };
    VIT_TRY(vit_safetensors_save(path, tensors, 2, NULL, 0));
cleanup:
    vit_free(images);
    vit_free(logits);
    vit_workspace_free(workspace);
    return status;
}
