/* The graph of a model while it is made: what onnx_model.c and onnx_attention.c share. Values carry
 * the shape that they have: M = batch * N rows of the residual stream. */
#ifndef VIT_ONNX_MODEL_H
#define VIT_ONNX_MODEL_H

#include "vit/model_file.h"
#include "vit/onnx_graph.h"

typedef struct vit_onnx_model {
    vit_onnx_graph *graph;
    const vit_model_bundle *bundle;
    char prefix[VIT_NAME_MAX]; /* of the parameters' names: "blocks.0.attn." */
} vit_onnx_model;

/* The parameter prefix + name. */
vit_onnx_value vit_onnx_param(const vit_onnx_model *model, const char *name);
/* x W^T + b with the parameters prefix + name + ".weight" and ".bias": (M,in) to (M,out). */
vit_onnx_value vit_onnx_linear(const vit_onnx_model *model, const char *name, vit_onnx_value x);

/* Of a variant that vit_onnx_has_attention: (M,D) to (M,D). The prefix is the attention's. */
vit_onnx_value vit_onnx_attention(const vit_onnx_model *model, const vit_attention *attention,
                                  vit_onnx_value x);
bool vit_onnx_has_attention(const vit_attention_config *config);

/* Operators with what they need beside x. */
vit_onnx_value vit_onnx_reshape(vit_onnx_graph *graph, vit_onnx_value x, size_t ndim,
                                const int64_t *dims /* -1: what is left */);
vit_onnx_value vit_onnx_transpose(vit_onnx_graph *graph, vit_onnx_value x, size_t ndim,
                                  const int64_t *perm);

#endif
