#include "train/init_from.h"

#include "train/init_source.h"
#include "train/resample.h"
#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const vit_init_action_names[] = {"taken",   "resampled", "split",    "fused",
                                             "derived", "fresh",     "left_out", NULL};

/* ---- the source's tensors ---- */

void init_note(init_source *source, vit_init_action action, const char *name, const char *detail) {
    source->counts[action]++;
    if (source->listener && source->listener->tensor) {
        source->listener->tensor(source->listener->context, action, name, detail);
    }
}

static void warn(const init_source *source, const char *message) {
    if (source->listener && source->listener->warning) {
        source->listener->warning(source->listener->context, message);
    }
}

bool init_has(const init_source *source, const char *name) {
    return vit_safetensors_find(source->file, name) != NULL;
}

static const vit_tensor *find(const init_source *source, const char *name) {
    for (size_t i = 0; i < vit_safetensors_count(source->file); i++) {
        const vit_tensor *tensor = vit_safetensors_at(source->file, i);
        if (strcmp(tensor->name, name) == 0) {
            source->used[i] = true;
            return tensor;
        }
    }
    return NULL;
}

static vit_status check_type(const init_source *source, const vit_tensor *tensor,
                             const char *name) {
    if (!tensor) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %s is missing (expected a ViT's weights)",
                        source->path, name);
    }
    if (tensor->dtype != VIT_F32 && tensor->dtype != VIT_F64 && tensor->dtype != VIT_F16 &&
        tensor->dtype != VIT_BF16) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: tensor %s: dtype %s (expected F32, F64, F16 or BF16)", source->path,
                        name, vit_dtype_name(tensor->dtype));
    }
    return VIT_OK;
}

vit_status init_read(init_source *source, const char *name, int ndim, const size_t *shape,
                     float *out) {
    const vit_tensor *tensor = find(source, name);
    vit_status status = check_type(source, tensor, name);
    if (status != VIT_OK) {
        return status;
    }
    if (tensor->ndim != ndim || memcmp(tensor->shape, shape, (size_t)ndim * sizeof *shape) != 0) {
        char found[256], expected[256];
        vit_shape_text(tensor->ndim, tensor->shape, found, sizeof found);
        vit_shape_text(ndim, shape, expected, sizeof expected);
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: tensor %s: shape %s (expected %s, the model's)",
                        source->path, name, found, expected);
    }
    status = vit_safetensors_to_f32(source->file, tensor, out, source->path);
    return status == VIT_OK
               ? vit_check_finite(source->path, name, tensor->count, out, VIT_ERROR_FORMAT)
               : status;
}

static float *values_of(const init_source *source, const vit_param *param) {
    return source->target->params + param->offset;
}

static vit_status take(init_source *source, const vit_param *param, const char *from) {
    char detail[VIT_NAME_MAX + 8] = "";
    vit_status status =
        init_read(source, from, param->ndim, param->shape, values_of(source, param));
    if (status == VIT_OK) {
        if (strcmp(from, param->name) != 0) {
            snprintf(detail, sizeof detail, "from %s", from);
        }
        init_note(source, VIT_TENSOR_TAKEN, param->name, detail);
    }
    return status;
}

/* ---- what cannot be taken ---- */

typedef struct refusal {
    const char *part; /* of a tensor's name */
    const char *why;
} refusal;
static const refusal refusals[] = {
    {"dist_token", "a distilled model with a second token (expected one without, such as "
                   "deit_tiny_patch16_224)"},
    {"head_dist", "a distilled model with a second head (expected one without, such as "
                  "deit_tiny_patch16_224)"},
    {"reg_token", "register tokens (expected a ViT without)"},
    {".ls1", "LayerScale (expected a ViT without)"},
    {".ls2", "LayerScale (expected a ViT without)"},
    {"q_norm", "normalised queries (expected a ViT without)"},
    {"k_norm", "normalised keys (expected a ViT without)"},
    {"norm_pre", "a norm before the blocks (expected a ViT without)"},
    {"pre_logits", "a layer before the head (expected a ViT without)"},
};

static const char *const known_names[] = {
    "cls_token",   "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias",
    "norm.weight", "norm.bias", "fc_norm.weight",          "fc_norm.bias",
    "head.weight", "head.bias",
};
static const char *const known_block_names[] = {
    "norm1.weight",   "norm1.bias",   "norm2.weight",   "norm2.bias",
    "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias",
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool is_among(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* "blocks.7.norm1.weight" -> 7 and "norm1.weight"; -1 when it is no block's. */
static long block_of(const char *name, const char **rest) {
    char *end;
    if (strncmp(name, "blocks.", 7) != 0 || name[7] < '0' || name[7] > '9') {
        return -1;
    }
    long block = strtol(name + 7, &end, 10);
    *rest = end + 1;
    return *end == '.' && block < VIT_SAFETENSORS_MAX_HEADER ? block : -1;
}

/* Every tensor has to be one that a plain ViT has, with any of our attentions: another one would
 * change what it computes. Also counts the blocks. */
static vit_status check_names(const init_source *source, long *depth) {
    *depth = 0;
    for (size_t i = 0; i < vit_safetensors_count(source->file); i++) {
        const char *name = vit_safetensors_at(source->file, i)->name, *rest = NULL;
        for (size_t r = 0; r < COUNT(refusals); r++) {
            if (strstr(name, refusals[r].part)) {
                return vit_fail(VIT_ERROR_UNSUPPORTED, "%s: tensor %.200s: %s", source->path, name,
                                refusals[r].why);
            }
        }
        long block = block_of(name, &rest);
        bool known = block >= 0 ? is_among(known_block_names, COUNT(known_block_names), rest) ||
                                      vit_attention_declares(rest, "attn.")
                                : is_among(known_names, COUNT(known_names), name);
        if (!known) {
            return vit_fail(VIT_ERROR_UNSUPPORTED,
                            "%s: tensor %.200s is no part of a plain ViT (expected names as in "
                            "timm's VisionTransformer, blocks.0.norm1.weight ...)",
                            source->path, name);
        }
        *depth = block >= *depth ? block + 1 : *depth;
    }
    return VIT_OK;
}

/* Dimension `axis` of a tensor says a setting: name it, rather than the tensor's shape. */
static vit_status check_dimension(const init_source *source, const char *tensor_name, int axis,
                                  size_t expected, const char *what) {
    const vit_tensor *tensor = vit_safetensors_find(source->file, tensor_name);
    vit_status status = check_type(source, tensor, tensor_name);
    if (status == VIT_OK && (axis >= tensor->ndim || tensor->shape[axis] != expected)) {
        char found[256];
        vit_shape_text(tensor->ndim, tensor->shape, found, sizeof found);
        status = vit_fail(VIT_ERROR_ARGUMENT,
                          "%s: %s %zu (expected %zu, the model's; tensor %s has shape %s)",
                          source->path, what, axis < tensor->ndim ? tensor->shape[axis] : 0,
                          expected, tensor_name, found);
    }
    return status;
}

static vit_status check_geometry(const init_source *source) {
    vit_status status = VIT_OK;
    const vit_model *model = &source->target->model;
    long depth;
    VIT_TRY(check_names(source, &depth));
    VIT_TRY(check_dimension(source, "patch_embed.proj.weight", 0, model->patch.dim, "embed-dim"));
    VIT_TRY(
        check_dimension(source, "patch_embed.proj.weight", 2, model->patch.patch, "patch-size"));
    if (depth != model->config.depth) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT, "%s: depth %ld (expected %d, the model's)",
                         source->path, depth, model->config.depth));
    }
    VIT_TRY(check_dimension(source, "blocks.0.mlp.fc1.weight", 0, model->hidden,
                            "mlp-ratio gives a hidden width of"));
    if (source->bundle && source->bundle->model.config.num_heads != model->config.num_heads) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT, "%s: num-heads %d (expected %d, the model's)",
                         source->path, source->bundle->model.config.num_heads,
                         model->config.num_heads));
    }
cleanup:
    return status;
}

/* What shapes do not show. */
static void warn_of_differences(const init_source *source) {
    char text[512];
    const vit_config *model = &source->target->model.config;
    int rope = source->bundle ? source->bundle->model.config.rope : VIT_ROPE_NONE;
    if (rope != model->rope) {
        snprintf(text, sizeof text,
                 "--init: its model has --rope %s, this one %s; queries and keys will turn "
                 "otherwise",
                 vit_rope_names[rope], vit_rope_names[model->rope]);
        warn(source, text);
    }
    if (!source->bundle) {
        return;
    }
    const vit_preprocess *a = &source->bundle->preprocess, *b = &source->target->preprocess;
    if (!vit_same_normalisation(a, b)) {
        snprintf(text, sizeof text,
                 "--init: its model has --mean %g %g %g --std %g %g %g, this "
                 "one others",
                 a->mean[0], a->mean[1], a->mean[2], a->std[0], a->std[1], a->std[2]);
        warn(source, text);
    }
}

/* ---- position embedding ---- */

typedef struct positions {
    size_t prefix; /* rows before the patches: 1, or 0 */
    size_t h, w;
} positions;

/* The root of a square number that is at least 1, else 0. */
static size_t square_side(size_t n) {
    size_t side = (size_t)lround(sqrt((double)n));
    return n > 0 && side * side == n ? side : 0;
}

/* The grid of `patches` positions: square when it can be, else the model's own. */
static bool find_grid(size_t patches, const vit_config *model, positions *found) {
    size_t side = square_side(patches);
    if (side) {
        found->h = found->w = side;
        return true;
    }
    found->h = vit_config_grid_h(model);
    found->w = vit_config_grid_w(model);
    return patches > 0 && found->h * found->w == patches;
}

/* timm's no_embed_class models have a class token without a row here. */
static vit_status find_positions(const init_source *source, size_t rows, positions *found) {
    const vit_config *model = &source->target->model.config;
    if (source->bundle) {
        const vit_config *config = &source->bundle->model.config;
        *found = (positions){vit_config_prefix(config), vit_config_grid_h(config),
                             vit_config_grid_w(config)};
        return VIT_OK;
    }
    bool has_class = init_has(source, "cls_token");
    for (size_t prefix = has_class ? 1 : 0;; prefix--) {
        found->prefix = prefix;
        if (rows > prefix && find_grid(rows - prefix, model, found)) {
            return VIT_OK;
        }
        if (prefix == 0) {
            return vit_fail(VIT_ERROR_UNSUPPORTED,
                            "%s: tensor pos_embed: %zu positions%s (expected a square grid of "
                            "patches%s)",
                            source->path, rows, has_class ? " with a class token" : "",
                            has_class ? " and one prefix token" : "");
        }
    }
}

/* The class token's row, when the model has one: the file's; zero where the file adds nothing to
 * its token; else fresh. */
static const char *place_prefix(const init_source *source, const positions *from,
                                const float *values, float *out) {
    size_t D = source->target->model.patch.dim;
    if (!source->target->model.patch.prefix) {
        return from->prefix ? ", without the class token's" : "";
    }
    if (from->prefix) {
        memcpy(out, values, D * sizeof *out);
        return "";
    }
    if (init_has(source, "cls_token")) {
        memset(out, 0, D * sizeof *out);
        return ", the class token's zero";
    }
    return ", the class token's fresh";
}

static vit_status place_positions(init_source *source, const vit_param *param, size_t rows,
                                  const float *values) {
    const vit_config *config = &source->target->model.config;
    size_t D = source->target->model.patch.dim;
    size_t to_h = vit_config_grid_h(config), to_w = vit_config_grid_w(config);
    positions from = {0};
    vit_status status = find_positions(source, rows, &from);
    if (status != VIT_OK) {
        return status;
    }
    float *out = values_of(source, param);
    const char *prefix = place_prefix(source, &from, values, out);
    const float *patches = values + from.prefix * D;
    float *out_patches = out + vit_config_prefix(config) * D;
    char detail[160];
    if (from.h == to_h && from.w == to_w) {
        memcpy(out_patches, patches, to_h * to_w * D * sizeof *out);
        init_note(source, VIT_TENSOR_TAKEN, param->name, *prefix ? prefix + 2 : "");
        return VIT_OK;
    }
    status = vit_resample_positions(D, from.h, from.w, patches, to_h, to_w, out_patches);
    if (status == VIT_OK) {
        snprintf(detail, sizeof detail, "%zu x %zu to %zu x %zu%s", from.h, from.w, to_h, to_w,
                 prefix);
        init_note(source, VIT_TENSOR_RESAMPLED, param->name, detail);
    }
    return status;
}

static vit_status init_positions(init_source *source, const vit_param *param) {
    vit_status status = VIT_OK;
    float *values = NULL;
    size_t D = source->target->model.patch.dim;
    const vit_tensor *tensor = vit_safetensors_find(source->file, param->name);
    VIT_TRY(check_type(source, tensor, param->name));
    size_t shape[3] = {1, tensor->ndim == 3 ? tensor->shape[1] : source->target->model.tokens, D};
    VIT_TRY(vit_alloc((void **)&values, tensor->count, sizeof *values, "position embedding"));
    VIT_TRY(init_read(source, param->name, 3, shape, values));
    VIT_TRY(place_positions(source, param, shape[1], values));
cleanup:
    vit_free(values);
    return status;
}

/* ---- class token, norm, head ---- */

/* Both mean the last norm, before or after pooling. */
static vit_status init_norm(init_source *source, const vit_param *param) {
    const char *field = strchr(param->name, '.');
    char other[VIT_NAME_MAX];
    snprintf(other, sizeof other, "%s%s",
             strncmp(param->name, "fc_norm", 7) == 0 ? "norm" : "fc_norm", field);
    bool same = init_has(source, param->name) || !init_has(source, other);
    return take(source, param, same ? param->name : other);
}

/* Why the file's head is not for this model's classes, or NULL. */
static const char *why_fresh_head(const init_source *source, char *buffer, size_t size) {
    const vit_tensor *weight = vit_safetensors_find(source->file, "head.weight");
    const vit_model_bundle *target = source->target;
    size_t classes = target->model.head_shape.classes;
    if (!weight) {
        return "the file has no head";
    }
    if (weight->ndim == 2 && weight->shape[0] != classes) {
        snprintf(buffer, size, "%zu classes, not %zu", weight->shape[0], classes);
        return buffer;
    }
    for (size_t i = 0; source->bundle && i < classes; i++) {
        if (strcmp(source->bundle->class_names[i], target->class_names[i]) != 0) {
            return "other classes";
        }
    }
    return NULL;
}

static vit_status init_head(init_source *source, const vit_param *param) {
    char buffer[96];
    const char *why = why_fresh_head(source, buffer, sizeof buffer);
    if (why) {
        init_note(source, VIT_TENSOR_FRESH, param->name, why);
        return VIT_OK;
    }
    return take(source, param, param->name);
}

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

static vit_status init_param(init_source *source, const vit_param *param) {
    const char *name = param->name, *rest;
    if (strcmp(name, "pos_embed") == 0) {
        return init_positions(source, param);
    }
    if (strcmp(name, "cls_token") == 0 && !init_has(source, name)) {
        init_note(source, VIT_TENSOR_FRESH, name, "the file has no class token");
        return VIT_OK;
    }
    if (begins(name, "norm.") || begins(name, "fc_norm.")) {
        return init_norm(source, param);
    }
    if (begins(name, "head.")) {
        return init_head(source, param);
    }
    if (block_of(name, &rest) >= 0 && begins(rest, "attn.")) {
        return VIT_OK; /* a whole block at a time, in init_attention */
    }
    return take(source, param, name);
}

/* ---- all of it ---- */

static vit_status open_source(init_source *source, const char *path) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_model_path(path, source->path, sizeof source->path));
    VIT_TRY(vit_safetensors_open(source->path, &source->file));
    VIT_TRY(vit_alloc((void **)&source->used, vit_safetensors_count(source->file),
                      sizeof *source->used, "tensor list"));
    if (vit_safetensors_metadata(source->file, "zvit")) {
        VIT_TRY(vit_model_bundle_load(source->path, &source->bundle));
        if (source->bundle->model.int8) {
            VIT_TRY(vit_fail(VIT_ERROR_UNSUPPORTED,
                             "%s: int8 weights (expected a model with float weights, such as the "
                             "one that it was exported from)",
                             source->path));
        }
    }
cleanup:
    return status;
}

static vit_status init_all(init_source *source) {
    vit_status status = VIT_OK;
    const vit_model *model = &source->target->model;
    for (size_t i = 0; i < model->params.count; i++) {
        VIT_TRY(init_param(source, &model->params.items[i]));
    }
    for (int i = 0; i < model->config.depth; i++) {
        VIT_TRY(init_attention(source, i));
    }
    for (size_t i = 0; i < vit_safetensors_count(source->file); i++) {
        if (!source->used[i]) {
            init_note(source, VIT_TENSOR_LEFT_OUT, vit_safetensors_at(source->file, i)->name, "");
        }
    }
cleanup:
    return status;
}

vit_status vit_init_from(const char *path, vit_model_bundle *bundle,
                         const vit_init_listener *listener, size_t counts[VIT_TENSOR_ACTIONS]) {
    vit_status status = VIT_OK;
    init_source source = {.target = bundle, .listener = listener};
    VIT_TRY(open_source(&source, path));
    VIT_TRY(check_geometry(&source));
    warn_of_differences(&source);
    VIT_TRY(init_all(&source));
    if (counts) {
        memcpy(counts, source.counts, sizeof source.counts);
    }
cleanup:
    vit_model_bundle_free(source.bundle);
    vit_free(source.used);
    vit_safetensors_close(source.file);
    return status;
}
