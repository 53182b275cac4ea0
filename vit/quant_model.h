/* A model whose linear layers are in 8 bits: which they are, their weights, and the forward pass,
 * which takes the place of vit_model_forward's for such a model. There is no backward. */
#ifndef VIT_QUANT_MODEL_H
#define VIT_QUANT_MODEL_H

#include "vit/model.h"
#include "vit/quant.h"

/* A linear layer of a model: offsets into the parameter block, and the place of its first row among
 * the rows of all layers. The input projections of an attention are one layer. */
typedef struct vit_quant_layer {
    size_t weight, bias;
    size_t in, out;
    size_t row;
} vit_quant_layer;

/* The layers in 8 bits, in the order of a forward: the patch embedding; of each block the input
 * and the output projection of attention, fc1 and fc2; the head. */
size_t vit_quant_layer_count(const vit_model *model);
vit_quant_layer vit_quant_layer_at(const vit_model *model, size_t index);
/* Rows of all layers. */
size_t vit_quant_row_count(const vit_model *model);
/* True when a parameter is in 8 bits; *row: where its scales begin, one for each of shape[0]. */
bool vit_quant_find(const vit_model *model, const vit_param *param, size_t *row);

/* The weights of a model's linear layers in 8 bits, as a file has them. */
typedef struct vit_quant_block {
    int8_t *q;    /* (params.total): where the parameter block has the weight */
    float *scale; /* (vit_quant_row_count) */
} vit_quant_block;
vit_status vit_quant_block_alloc(const vit_model *model, vit_quant_block *block);
void vit_quant_block_free(vit_quant_block *block);
/* The weights of params quantised. */
void vit_quant_block_fill(const vit_model *model, const float *params, vit_quant_block *block);

/* All layers packed. Immutable once made. */
typedef struct vit_quant_model {
    size_t count;
    vit_quant_matrix *layers;
    vit_arena arena; /* of what the layers hold */
} vit_quant_model;
/* VIT_ERROR_UNSUPPORTED when a layer has more inputs than sums in 32 bits allow. */
vit_status vit_quant_check(const vit_model *model);
/* Makes it the model's (model->int8). Of params the biases are copied. */
vit_status vit_quant_model_attach(vit_model *model, const vit_quant_block *block,
                                  const float *params);
/* Its weights as floats, where the parameter block has them; what is not in 8 bits is left alone.
 */
void vit_quant_model_floats(const vit_model *model, float *params);
/* Takes it away again. */
void vit_quant_model_detach(vit_model *model);

/* One thread's tensors; see vit_workspace. */
typedef struct vit_quant_space {
    float *columns; /* (B,patches,3*P*P) */
    float *tokens;  /* (B,N,D) the residual stream */
    vit_attention_saved attention;
    float *scratch;     /* of attention */
    float *norm;        /* (rows,D) */
    float *hidden;      /* (rows,F) */
    float *mean, *rstd; /* (rows) */
    vit_quant_rows rows;
    size_t row_bytes; /* of the widest */
} vit_quant_space;
void vit_quant_plan(const vit_model *model, size_t B, vit_arena *arena, vit_quant_space *space);
/* Of params all but the weights in 8 bits is read. Outside a parallel region the threads share the
 * rows; the bits do not depend on it. */
void vit_quant_forward(const vit_model *model, const float *params, const vit_quant_space *space,
                       size_t B, const float *images /* (B,3,H,W) */, const vit_head_saved *head,
                       float *logits /* (B,K) */);

#endif
