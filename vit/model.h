/* The Vision Transformer: patch embedding, position, pre-norm blocks, head (Dosovitskiy et al.
 * 2021, as timm builds it) with any of the attentions. */
#ifndef VIT_MODEL_H
#define VIT_MODEL_H

#include "vit/block.h"
#include "vit/config.h"
#include "vit/layers.h"

/* A model's shape: immutable once made, shared by any number of threads. It holds no weights, but
 * for those of linear layers in 8 bits, which are constants too. */
typedef struct vit_model {
    vit_config config;
    vit_param_table params;
    vit_patch_shape patch;
    vit_head_shape head_shape;
    size_t tokens, hidden;
    size_t patch_weight, patch_bias, cls_token /* when patch.prefix */, pos_embed;
    size_t norm_weight, norm_bias, head_weight, head_bias;
    vit_block *blocks; /* (depth) */
    /* The linear layers of an int8 model (vit/quant_model.h), which then are not in the parameter
     * block: what is there in their place is not read. Such a model has no backward. NULL: floats.
     */
    struct vit_quant_model *int8;
} vit_model;

vit_status vit_model_init(vit_model *model, const vit_config *config);
void vit_model_free(vit_model *model);
/* Bytes of the weights in memory, those in 8 bits included. */
size_t vit_model_weight_bytes(const vit_model *model);

/* What a workspace keeps of a forward. false and true stand for the first two. */
typedef enum vit_workspace_kind {
    VIT_INFERENCE,
    VIT_TRAINING,
    /* Of each block only what went in; the backward runs a block's forward again before its
     * backward (Chen et al. 2016, arXiv:1604.06174). The same bits for about 1/depth of the memory
     * and a third more time. */
    VIT_TRAINING_CHECKPOINTED
} vit_workspace_kind;

/* One thread's tensors for up to max_batch pictures. Of an int8 model for inference only: another
 * kind is VIT_ERROR_UNSUPPORTED. */
typedef struct vit_workspace vit_workspace;
vit_status vit_workspace_create(const vit_model *model, size_t max_batch, vit_workspace_kind kind,
                                vit_workspace **out);
void vit_workspace_free(vit_workspace *workspace);
/* Bytes that vit_workspace_create would take. */
vit_status vit_workspace_bytes(const vit_model *model, size_t max_batch, vit_workspace_kind kind,
                               size_t *bytes);

/* logits (B,K) of images (B,3,H,W), B <= max_batch. drop_scale (depth*2, B): drop-path scales as
 * vit_drop_path_scale gives them, row 2*block+branch; NULL for none. A training workspace keeps
 * what the backward needs, checkpointed or not. An int8 model heeds no drop_scale. */
void vit_model_forward(const vit_model *model, const float *params, vit_workspace *workspace,
                       size_t B, const float *images, const float *drop_scale, float *logits);

/* After a forward with the same B, images and drop_scale in a training workspace: adds to grads
 * (the layout of params); dimages (B,3,H,W) is overwritten, or NULL. */
void vit_model_backward(const vit_model *model, const float *params, float *grads,
                        vit_workspace *workspace, size_t B, const float *drop_scale,
                        const float *dlogits /* (B,K) */, float *dimages);

/* Hears how far a backward has come: the gradients of all parameters from `offset` on are complete.
 * Offsets fall, to 0. */
typedef struct vit_backward_listener {
    void (*complete)(void *context, size_t offset);
    void *context;
} vit_backward_listener;
/* The same with a listener (NULL: none). */
void vit_model_backward_told(const vit_model *model, const float *params, float *grads,
                             vit_workspace *workspace, size_t B, const float *drop_scale,
                             const float *dlogits /* (B,K) */, float *dimages,
                             const vit_backward_listener *listener);

/* To read what the last forward of a training workspace, not checkpointed, left: of block i; the
 * residual stream (B,N,D) before it, or after the last one for i = depth; of the head. */
const vit_block_saved *vit_workspace_block(const vit_workspace *workspace, size_t i);
const float *vit_workspace_tokens(const vit_workspace *workspace, size_t i);
const vit_head_saved *vit_workspace_head(const vit_workspace *workspace);

/* The pooled, normalised embedding (B,D) of the last forward. */
const float *vit_workspace_features(const vit_workspace *workspace);

#endif
