/* The Vision Transformer as an ONNX graph (vit/model.h is the model). The residual stream is a
 * matrix (M,D) of all tokens of the batch, so that every linear layer is one Gemm that reads its
 * weights as they are stored. */
#include "vit/onnx_model.h"

#ifdef ZVIT_HAVE_PROTOBUF_C

#include "vit/onnx.h"

#include "vit/heap.h"

#include <stdio.h>

/* ---- operators ---- */

vit_onnx_value vit_onnx_reshape(vit_onnx_graph *graph, vit_onnx_value x, size_t ndim,
                                const int64_t *dims) {
    return VIT_ONNX(graph, "Reshape", x, vit_onnx_ints(graph, ndim, dims));
}

vit_onnx_value vit_onnx_transpose(vit_onnx_graph *graph, vit_onnx_value x, size_t ndim,
                                  const int64_t *perm) {
    vit_onnx_value y = VIT_ONNX(graph, "Transpose", x);
    vit_onnx_set_ints(graph, "perm", ndim, perm);
    return y;
}

vit_onnx_value vit_onnx_param(const vit_onnx_model *model, const char *name) {
    char full[2 * VIT_NAME_MAX];
    snprintf(full, sizeof full, "%s%s", model->prefix, name);
    const vit_param *param = vit_params_find(&model->bundle->model.params, full);
    return vit_onnx_weight(model->graph, full, param->ndim, param->shape,
                           model->bundle->params + param->offset);
}

/* name + ".weight" or ".bias" */
static vit_onnx_value param_of(const vit_onnx_model *model, const char *name, const char *part) {
    char full[VIT_NAME_MAX];
    snprintf(full, sizeof full, "%s%s", name, part);
    return vit_onnx_param(model, full);
}

vit_onnx_value vit_onnx_linear(const vit_onnx_model *model, const char *name, vit_onnx_value x) {
    vit_onnx_value y = VIT_ONNX(model->graph, "Gemm", x, param_of(model, name, ".weight"),
                                param_of(model, name, ".bias"));
    vit_onnx_set_int(model->graph, "transB", 1);
    return y;
}

static vit_onnx_value layer_norm(const vit_onnx_model *model, const char *name, vit_onnx_value x) {
    vit_onnx_value y = VIT_ONNX(model->graph, "LayerNormalization", x,
                                param_of(model, name, ".weight"), param_of(model, name, ".bias"));
    vit_onnx_set_float(model->graph, "epsilon", VIT_LAYERNORM_EPS);
    return y;
}

/* x/2 (1 + erf(x / sqrt 2)), in the order in which onnxruntime knows it for a GELU. */
static vit_onnx_value gelu(vit_onnx_graph *g, vit_onnx_value x) {
    vit_onnx_value y = VIT_ONNX(g, "Div", x, vit_onnx_float(g, 1.4142135623730951));
    y = VIT_ONNX(g, "Add", VIT_ONNX(g, "Erf", y), vit_onnx_float(g, 1));
    return VIT_ONNX(g, "Mul", VIT_ONNX(g, "Mul", x, y), vit_onnx_float(g, 0.5));
}

/* ---- the model ---- */

static void enter(vit_onnx_model *model, const char *prefix, const char *scope) {
    snprintf(model->prefix, sizeof model->prefix, "%s", prefix);
    vit_onnx_scope(model->graph, scope);
}

/* (batch,N-1,D) to (batch,N,D) */
static vit_onnx_value class_token(const vit_onnx_model *model, int64_t D, vit_onnx_value images,
                                  vit_onnx_value x) {
    vit_onnx_graph *g = model->graph;
    vit_onnx_value batch = VIT_ONNX(g, "Shape", images);
    vit_onnx_set_int(g, "start", 0);
    vit_onnx_set_int(g, "end", 1);
    vit_onnx_value shape = VIT_ONNX(g, "Concat", batch, vit_onnx_ints(g, VIT_ONNX_INTS(1, D)));
    vit_onnx_set_int(g, "axis", 0);
    vit_onnx_value token = VIT_ONNX(g, "Expand", vit_onnx_param(model, "cls_token"), shape);
    x = VIT_ONNX(g, "Concat", token, x);
    vit_onnx_set_int(g, "axis", 1);
    return x;
}

/* (batch,3,H,W) to (M,D) */
static vit_onnx_value embedding(vit_onnx_model *model, vit_onnx_value images) {
    vit_onnx_graph *g = model->graph;
    const vit_patch_shape *patch = &model->bundle->model.patch;
    int64_t D = (int64_t)patch->dim, P = (int64_t)patch->patch;
    enter(model, "", "/patch_embed");
    vit_onnx_value x = VIT_ONNX(g, "Conv", images, vit_onnx_param(model, "patch_embed.proj.weight"),
                                vit_onnx_param(model, "patch_embed.proj.bias"));
    vit_onnx_set_ints(g, "kernel_shape", VIT_ONNX_INTS(P, P));
    vit_onnx_set_ints(g, "strides", VIT_ONNX_INTS(P, P));
    x = vit_onnx_reshape(g, x, VIT_ONNX_INTS(0, D, (int64_t)vit_patch_count(patch)));
    x = vit_onnx_transpose(g, x, VIT_ONNX_INTS(0, 2, 1));
    vit_onnx_scope(g, "/pos_embed");
    if (patch->prefix) {
        x = class_token(model, D, images, x);
    }
    x = VIT_ONNX(g, "Add", x, vit_onnx_param(model, "pos_embed"));
    return vit_onnx_reshape(g, x, VIT_ONNX_INTS(-1, D));
}

/* (M,D) to (M,D) */
static vit_onnx_value block(vit_onnx_model *model, int index, vit_onnx_value x) {
    vit_onnx_graph *g = model->graph;
    char prefix[VIT_NAME_MAX], attention[VIT_NAME_MAX], scope[VIT_NAME_MAX];
    snprintf(prefix, sizeof prefix, "blocks.%d.", index);
    snprintf(attention, sizeof attention, "blocks.%d.attn.", index);
    snprintf(scope, sizeof scope, "/blocks.%d", index);
    enter(model, prefix, scope);
    vit_onnx_value y = layer_norm(model, "norm1", x);
    snprintf(scope, sizeof scope, "/blocks.%d/attn", index);
    enter(model, attention, scope);
    y = vit_onnx_attention(model, &model->bundle->model.blocks[index].attention, y);
    snprintf(scope, sizeof scope, "/blocks.%d", index);
    enter(model, prefix, scope);
    x = VIT_ONNX(g, "Add", x, y);
    y = layer_norm(model, "norm2", x);
    snprintf(scope, sizeof scope, "/blocks.%d/mlp", index);
    vit_onnx_scope(g, scope);
    y = gelu(g, vit_onnx_linear(model, "mlp.fc1", y));
    y = vit_onnx_linear(model, "mlp.fc2", y);
    return VIT_ONNX(g, "Add", x, y);
}

/* (M,D) to (batch,K) */
static vit_onnx_value head(vit_onnx_model *model, vit_onnx_value x) {
    vit_onnx_graph *g = model->graph;
    const vit_head_shape *shape = &model->bundle->model.head_shape;
    enter(model, "", "/head");
    x = vit_onnx_reshape(g, x, VIT_ONNX_INTS(-1, (int64_t)shape->tokens, (int64_t)shape->dim));
    if (shape->mean_pool) {
        x = VIT_ONNX(g, "ReduceMean", x);
        vit_onnx_set_ints(g, "axes", VIT_ONNX_INTS(1));
        vit_onnx_set_int(g, "keepdims", 0);
    } else {
        x = VIT_ONNX(g, "Gather", x, vit_onnx_int(g, 0));
        vit_onnx_set_int(g, "axis", 1);
    }
    x = layer_norm(model, shape->mean_pool ? "fc_norm" : "norm", x);
    return vit_onnx_linear(model, "head", x);
}

static void build(vit_onnx_model *model) {
    const vit_config *config = &model->bundle->model.config;
    vit_onnx_value images =
        vit_onnx_input(model->graph, VIT_ONNX_INPUT,
                       VIT_ONNX_INTS(-1, 3, config->img_size[0], config->img_size[1]));
    vit_onnx_value x = embedding(model, images);
    for (int i = 0; i < config->depth; i++) {
        x = block(model, i, x);
    }
    head(model, x);
    vit_onnx_output(model->graph, VIT_ONNX_OUTPUT, VIT_ONNX_INTS(-1, config->num_classes));
}

/* ---- metadata ---- */

/* A value of pretrained_cfg as text: a string as it is, else JSON. */
static vit_status add_value(vit_onnx_graph *graph, const char *key, const vit_json *value) {
    const char *string = vit_json_string(value, NULL);
    char *text = NULL;
    vit_status status = string ? VIT_OK : vit_json_print(value, false, &text);
    if (status == VIT_OK) {
        vit_onnx_metadata(graph, key, string ? string : text);
    }
    vit_free(text);
    return status;
}

/* What classifying needs beside the graph: pretrained_cfg, an entry each; and the whole config as a
 * model file has it. */
static vit_status add_metadata(const vit_onnx_model *model) {
    vit_status status = VIT_OK;
    char *text = NULL;
    vit_json *config = vit_model_config_json(model->bundle);
    VIT_TRY(vit_json_print(config, false, &text));
    vit_onnx_metadata(model->graph, "zvit", vit_version());
    vit_onnx_metadata(model->graph, "config", text);
    const vit_json *cfg = vit_json_get(config, "pretrained_cfg");
    for (const vit_json *item = vit_json_first(cfg); item; item = vit_json_next(item)) {
        VIT_TRY(add_value(model->graph, vit_json_key(item), item));
    }
cleanup:
    vit_free(text);
    vit_json_free(config);
    return status;
}

vit_status vit_onnx_write(const vit_model_bundle *bundle, const vit_export_paths *paths) {
    vit_status status = VIT_OK;
    vit_onnx_model model = {.bundle = bundle};
    VIT_TRY(vit_onnx_graph_new(bundle->model.config.architecture, &model.graph));
    build(&model);
    VIT_TRY(add_metadata(&model));
    VIT_TRY(vit_onnx_graph_save(model.graph, paths->weights));
cleanup:
    vit_onnx_graph_free(model.graph);
    return status;
}

vit_status vit_onnx_check(const vit_model_bundle *bundle) {
    const vit_model *model = &bundle->model;
    if (!vit_onnx_has_attention(&model->blocks[0].attention.config)) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "--format onnx: %s attention has no graph (--format safetensors takes "
                        "every model)",
                        vit_attention_names[model->config.attn]);
    }
    /* With the graph around them it may still be too much, which shows when it is written. */
    if (model->params.total > VIT_ONNX_MAX_BYTES / sizeof(float)) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "--format onnx: the weights take %zu bytes (expected at most %zu, which is "
                        "what protobuf can hold in a file; --format safetensors has no limit)",
                        model->params.total * sizeof(float), VIT_ONNX_MAX_BYTES);
    }
    return vit_onnx_available();
}

#else

#include "vit/onnx.h"

vit_status vit_onnx_check(const vit_model_bundle *bundle) {
    (void)bundle;
    return vit_fail(VIT_ERROR_UNSUPPORTED,
                    "--format onnx: this zvit was built without protobuf-c (Debian packages: "
                    "libprotobuf-c-dev protobuf-c-compiler)");
}

vit_status vit_onnx_write(const vit_model_bundle *bundle, const vit_export_paths *paths) {
    (void)paths;
    return vit_onnx_check(bundle);
}

#endif
