#include "vit/model.h"

#include "vit/heap.h"
#include "vit/quant_model.h"

#include <math.h>
#include <stdio.h>

/* ---- shape and parameters ---- */

static void set_shapes(vit_model *model) {
    const vit_config *config = &model->config;
    model->tokens = vit_config_tokens(config);
    model->hidden = vit_config_hidden(config);
    model->patch = (vit_patch_shape){
        .channels = 3,
        .height = (size_t)config->img_size[0],
        .width = (size_t)config->img_size[1],
        .patch = (size_t)config->patch_size,
        .prefix = vit_config_prefix(config),
        .dim = (size_t)config->embed_dim,
    };
    model->head_shape = (vit_head_shape){
        .tokens = model->tokens,
        .prefix = model->patch.prefix,
        .dim = model->patch.dim,
        .classes = (size_t)config->num_classes,
        .mean_pool = config->global_pool == VIT_POOL_AVG,
    };
}

/* Initial values as timm gives them: the patch convolution keeps PyTorch's default, uniform within
 * 1/sqrt(fan in). */
static vit_status declare_embedding(vit_model *model) {
    vit_status status = VIT_OK;
    vit_param_table *table = &model->params;
    size_t D = model->patch.dim, P = model->patch.patch, C = model->patch.channels;
    vit_init conv = {VIT_INIT_UNIFORM, (float)(1.0 / sqrt((double)(C * P * P)))};
    if (model->patch.prefix) {
        VIT_TRY(vit_params_add(table, "", "cls_token", 3, (size_t[]){1, 1, D}, 0,
                               (vit_init){VIT_INIT_NORMAL, 1e-6f}, &model->cls_token));
    }
    VIT_TRY(vit_params_add(table, "", "pos_embed", 3, (size_t[]){1, model->tokens, D}, 0,
                           (vit_init){VIT_INIT_TRUNC_NORMAL, 0.02f}, &model->pos_embed));
    VIT_TRY(vit_params_add(table, "", "patch_embed.proj.weight", 4, (size_t[]){D, C, P, P},
                           VIT_PARAM_DECAY, conv, &model->patch_weight));
    VIT_TRY(vit_params_add(table, "", "patch_embed.proj.bias", 1, &D, 0, conv, &model->patch_bias));
cleanup:
    return status;
}

static vit_status declare_head(vit_model *model) {
    vit_status status = VIT_OK;
    vit_param_table *table = &model->params;
    size_t D = model->head_shape.dim, K = model->head_shape.classes;
    const char *norm = model->head_shape.mean_pool ? "fc_norm" : "norm";
    VIT_TRY(vit_params_add_norm(table, "", norm, D, &model->norm_weight, &model->norm_bias));
    VIT_TRY(vit_params_add_linear(table, "", "head", K, D, &model->head_weight, &model->head_bias));
cleanup:
    return status;
}

vit_status vit_model_init(vit_model *model, const vit_config *config) {
    vit_status status = VIT_OK;
    *model = (vit_model){.config = *config};
    VIT_TRY(vit_config_check(config));
    set_shapes(model);
    VIT_TRY(declare_embedding(model));
    model->blocks = vit_calloc((size_t)config->depth, sizeof *model->blocks);
    if (!model->blocks) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "model: out of memory (%d blocks)", config->depth));
    }
    for (int i = 0; i < config->depth; i++) {
        char prefix[VIT_NAME_MAX];
        snprintf(prefix, sizeof prefix, "blocks.%d.", i);
        vit_attention_config attention = vit_config_attention(config, i);
        attention.rope_of = i > 0 ? &model->blocks[0].attention : NULL;
        VIT_TRY(
            vit_block_init(&model->blocks[i], &attention, model->hidden, prefix, &model->params));
    }
    VIT_TRY(declare_head(model));
cleanup:
    if (status != VIT_OK) {
        vit_model_free(model);
    }
    return status;
}

void vit_model_free(vit_model *model) {
    vit_quant_model_detach(model);
    for (int i = 0; model->blocks && i < model->config.depth; i++) {
        vit_block_free(&model->blocks[i]);
    }
    vit_free(model->blocks);
    vit_params_free(&model->params);
    *model = (vit_model){0};
}

size_t vit_model_weight_bytes(const vit_model *model) {
    size_t floats = model->params.total;
    for (size_t i = 0; model->int8 && i < model->int8->count; i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        floats -= layer.in * layer.out;
    }
    return vit_size_plus(vit_size_times(floats, sizeof(float)),
                         model->int8 ? model->int8->arena.capacity : 0);
}

/* ---- memory ---- */

struct vit_workspace {
    vit_arena arena;
    size_t max_batch;
    bool training, checkpointed; /* by its kind */
    float *columns;              /* (B,patches,3*P*P) */
    float **tokens; /* (depth + 1) residual stream (B,N,D) before each block and after the last */
    vit_block_saved *saved; /* (depth) */
    vit_head_saved head;
    float *scratch;       /* of a block */
    float *gradient;      /* (B,N,D) of the residual stream */
    float *dcolumns;      /* (patches,3*P*P) */
    float *head_scratch;  /* (2,B,D) */
    vit_quant_space int8; /* of an int8 model, in place of columns, tokens, saved and scratch */
};

static size_t block_scratch(const vit_model *model, size_t B, bool training) {
    size_t most = 0;
    for (int i = 0; i < model->config.depth; i++) {
        size_t floats = vit_block_scratch(&model->blocks[i], B, training);
        most = floats > most ? floats : most;
    }
    return most;
}

/* Of the residual stream (B,N,D). */
static size_t stream_floats(const vit_model *model, size_t B) {
    return vit_size_times(B, vit_size_times(model->tokens, model->patch.dim));
}

/* In inference all blocks share one set of saved tensors and work on one residual stream in place.
 * When checkpointed they share the saved tensors, but each keeps what went in. */
static void plan_blocks(const vit_model *model, vit_workspace *w, size_t B) {
    size_t depth = (size_t)model->config.depth;
    size_t floats = stream_floats(model, B);
    for (size_t i = 0; i <= depth; i++) {
        w->tokens[i] = i == 0 || w->training ? vit_arena_floats(&w->arena, floats) : w->tokens[0];
    }
    /* Measured by the largest: the first block alone may have the zero-order term. */
    for (size_t i = 0; i < depth; i++) {
        if (i == 0 || (w->training && !w->checkpointed)) {
            vit_block_plan(&model->blocks[i], B, w->training, &w->arena, &w->saved[i]);
        } else {
            w->saved[i] = w->saved[0];
        }
    }
    w->scratch = vit_arena_floats(&w->arena, block_scratch(model, B, w->training));
}

static void plan(const vit_model *model, vit_workspace *w) {
    size_t B = w->max_batch, D = model->patch.dim, BD = vit_size_times(B, D);
    size_t patches = vit_patch_count(&model->patch);
    size_t pixels = model->patch.channels * model->patch.patch * model->patch.patch;
    if (model->int8) {
        vit_quant_plan(model, B, &w->arena, &w->int8);
    } else {
        w->columns =
            vit_arena_floats(&w->arena, vit_size_times(B, vit_size_times(patches, pixels)));
        plan_blocks(model, w, B);
    }
    w->head.pooled = vit_arena_floats(&w->arena, BD);
    w->head.features = vit_arena_floats(&w->arena, BD);
    w->head.mean = vit_arena_floats(&w->arena, B);
    w->head.rstd = vit_arena_floats(&w->arena, B);
    if (w->training) {
        w->gradient = vit_arena_floats(&w->arena, stream_floats(model, B));
        w->dcolumns = vit_arena_floats(&w->arena, vit_size_times(patches, pixels));
        w->head_scratch = vit_arena_floats(&w->arena, vit_size_times(2, BD));
    }
}

/* A workspace whose arena has been measured but not taken. */
static vit_status measure(const vit_model *model, size_t max_batch, vit_workspace_kind kind,
                          vit_workspace **out) {
    *out = NULL;
    if (model->int8 && kind != VIT_INFERENCE) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "the model has int8 weights (expected a model with float weights, such as "
                        "the one that it was exported from)");
    }
    size_t depth = (size_t)model->config.depth;
    vit_workspace *w = vit_calloc(1, sizeof *w);
    if (w) {
        w->max_batch = max_batch;
        w->training = kind != VIT_INFERENCE;
        w->checkpointed = kind == VIT_TRAINING_CHECKPOINTED;
        w->tokens = vit_calloc(depth + 1, sizeof *w->tokens);
        w->saved = vit_calloc(depth, sizeof *w->saved);
    }
    if (!w || !w->tokens || !w->saved) {
        vit_workspace_free(w);
        return vit_fail(VIT_ERROR_MEMORY, "workspace: out of memory");
    }
    plan(model, w);
    *out = w;
    return VIT_OK;
}

vit_status vit_workspace_create(const vit_model *model, size_t max_batch, vit_workspace_kind kind,
                                vit_workspace **out) {
    vit_workspace *w;
    vit_status status = measure(model, max_batch, kind, &w);
    if (status == VIT_OK) {
        status = vit_arena_allocate(&w->arena, "activations");
    }
    if (status != VIT_OK) {
        vit_workspace_free(w);
        *out = NULL;
        return status;
    }
    plan(model, w);
    *out = w;
    return VIT_OK;
}

vit_status vit_workspace_bytes(const vit_model *model, size_t max_batch, vit_workspace_kind kind,
                               size_t *bytes) {
    vit_workspace *w;
    vit_status status = measure(model, max_batch, kind, &w);
    if (status != VIT_OK) {
        return status;
    }
    *bytes = w->arena.used;
    if (w->arena.overflow) {
        status = vit_fail(VIT_ERROR_MEMORY, "activations: the size does not fit in memory");
    }
    vit_workspace_free(w);
    return status;
}

void vit_workspace_free(vit_workspace *workspace) {
    if (!workspace) {
        return;
    }
    vit_arena_free(&workspace->arena);
    vit_free(workspace->tokens);
    vit_free(workspace->saved);
    vit_free(workspace);
}

const vit_block_saved *vit_workspace_block(const vit_workspace *workspace, size_t i) {
    return &workspace->saved[i];
}

const float *vit_workspace_tokens(const vit_workspace *workspace, size_t i) {
    return workspace->tokens[i];
}

const vit_head_saved *vit_workspace_head(const vit_workspace *workspace) {
    return &workspace->head;
}

const float *vit_workspace_features(const vit_workspace *workspace) {
    return workspace->head.features;
}

/* ---- forward and backward ---- */

static vit_head_weights head_weights(const vit_model *model, const float *params) {
    return (vit_head_weights){params + model->norm_weight, params + model->norm_bias,
                              params + model->head_weight, params + model->head_bias};
}

/* Row 2 * block + branch of the scales, or NULL. */
static const float *scale_row(const float *drop_scale, size_t block, size_t branch, size_t B) {
    return drop_scale ? drop_scale + (2 * block + branch) * B : NULL;
}

static void forward_block(const vit_model *model, const float *params, vit_workspace *w, size_t i,
                          size_t B, const float *drop_scale) {
    vit_block_forward(&model->blocks[i], params, B, w->training, w->tokens[i],
                      scale_row(drop_scale, i, 0, B), scale_row(drop_scale, i, 1, B), &w->saved[i],
                      w->scratch, w->tokens[i + 1]);
}

void vit_model_forward(const vit_model *model, const float *params, vit_workspace *workspace,
                       size_t B, const float *images, const float *drop_scale, float *logits) {
    vit_workspace *w = workspace;
    if (model->int8) {
        vit_quant_forward(model, params, &w->int8, B, images, &w->head, logits);
        return;
    }
    const float *cls = model->patch.prefix ? params + model->cls_token : NULL;
    vit_patch_embed_forward(&model->patch, B, images, params + model->patch_weight,
                            params + model->patch_bias, w->columns, w->tokens[0]);
    vit_pos_embed_forward(B, model->tokens, model->patch.dim, cls, params + model->pos_embed,
                          w->tokens[0]);
    size_t depth = (size_t)model->config.depth;
    for (size_t i = 0; i < depth; i++) {
        forward_block(model, params, w, i, B, drop_scale);
    }
    vit_head_weights head = head_weights(model, params);
    vit_head_forward(&model->head_shape, B, &head, w->tokens[depth], &w->head, logits);
}

static void tell(const vit_backward_listener *listener, size_t offset) {
    if (listener) {
        listener->complete(listener->context, offset);
    }
}

void vit_model_backward(const vit_model *model, const float *params, float *grads,
                        vit_workspace *workspace, size_t B, const float *drop_scale,
                        const float *dlogits, float *dimages) {
    vit_model_backward_told(model, params, grads, workspace, B, drop_scale, dlogits, dimages, NULL);
}

void vit_model_backward_told(const vit_model *model, const float *params, float *grads,
                             vit_workspace *workspace, size_t B, const float *drop_scale,
                             const float *dlogits, float *dimages,
                             const vit_backward_listener *listener) {
    vit_workspace *w = workspace;
    vit_head_weights head = head_weights(model, params);
    vit_head_grads head_grads = {grads + model->norm_weight, grads + model->norm_bias,
                                 grads + model->head_weight, grads + model->head_bias};
    vit_head_backward(&model->head_shape, B, &head, &w->head, dlogits, w->head_scratch, w->gradient,
                      &head_grads);
    tell(listener, model->norm_weight);
    size_t depth = (size_t)model->config.depth;
    for (size_t i = depth; i-- > 0;) {
        /* The last block's tensors are still there. The output comes out as it was. */
        if (w->checkpointed && i + 1 < depth) {
            forward_block(model, params, w, i, B, drop_scale);
        }
        vit_block_backward(&model->blocks[i], params, grads, B, w->tokens[i],
                           scale_row(drop_scale, i, 0, B), scale_row(drop_scale, i, 1, B),
                           &w->saved[i], w->scratch, w->gradient);
        tell(listener, model->blocks[i].norm1_weight);
    }
    float *dcls = model->patch.prefix ? grads + model->cls_token : NULL;
    vit_pos_embed_backward(B, model->tokens, model->patch.dim, w->gradient, dcls,
                           grads + model->pos_embed);
    vit_patch_embed_backward(&model->patch, B, w->columns, params + model->patch_weight,
                             w->gradient, grads + model->patch_weight, grads + model->patch_bias,
                             w->dcolumns, dimages);
    tell(listener, 0);
}
