/* Starting from the weights of another model: one of ours, or a ViT or DeiT as timm saves it. */
#ifndef VIT_INIT_FROM_H
#define VIT_INIT_FROM_H

#include "vit/model_file.h"

/* What became of a tensor. */
typedef enum vit_init_action {
    VIT_TENSOR_TAKEN,     /* its values as they are, perhaps under another name */
    VIT_TENSOR_RESAMPLED, /* the position embedding of another grid */
    VIT_TENSOR_SPLIT,     /* q, k or v from a fused qkv */
    VIT_TENSOR_FUSED,     /* qkv from q, k and v */
    VIT_TENSOR_DERIVED,   /* computed from others, to suit another attention */
    VIT_TENSOR_FRESH,     /* the model's own initial values */
    VIT_TENSOR_LEFT_OUT,  /* of the file: the model has no such tensor */
    VIT_TENSOR_ACTIONS
} vit_init_action;
extern const char *const vit_init_action_names[]; /* "taken", ..., "left_out" */

/* Any member may be NULL. */
typedef struct vit_init_listener {
    void *context;
    /* Once for each tensor of the model, then for those of the file that found no place; detail
     * ("" for none) says from what, or why. */
    void (*tensor)(void *context, vit_init_action action, const char *name, const char *detail);
    /* What fits but will not give the numbers that the file's model gave. */
    void (*warning)(void *context, const char *message);
} vit_init_listener;

/* Overwrites the weights of a fresh model with those of path (a file, or a RUN folder):
 *
 *  - tensors by name; norm and fc_norm stand for each other when the pooling differs; a class token
 *    that the model has not is left out, one that the file has not stays fresh;
 *  - head of another number of classes (or, between files of ours, of other classes): fresh;
 *  - pos_embed of another grid: vit_resample_positions. The file's grid is in its config when it is
 *    ours, else it is square, as timm assumes;
 *  - attention: q, k, v from a fused qkv and the reverse; out_proj and proj stand for each other;
 *    what ZeroS has beyond softmax is derived (init_attention.c says how).
 *
 * Refused with VIT_ERROR_ARGUMENT or VIT_ERROR_UNSUPPORTED, naming file, value and expectation:
 * another embed-dim, depth, num-heads, mlp-ratio or patch-size, a distilled model's second token,
 * tensors of other architectures. Tensors may be F32, F64, F16 or BF16, and finite. After a failure
 * the weights are of no use. counts (may be NULL) receives how often each action was taken. */
vit_status vit_init_from(const char *path, vit_model_bundle *bundle,
                         const vit_init_listener *listener, size_t counts[VIT_TENSOR_ACTIONS]);

#endif
