/* One pre-norm Transformer block: x += attn(norm1(x)); x += mlp(norm2(x)). */
#ifndef VIT_BLOCK_H
#define VIT_BLOCK_H

#include "vit/attention/attention.h"

typedef struct vit_block {
    size_t tokens, dim, hidden; /* N, D, F */
    /* Offsets into the parameter block. */
    size_t norm1_weight, norm1_bias, norm2_weight, norm2_bias;
    size_t fc1_weight, fc1_bias, fc2_weight, fc2_bias;
    vit_attention attention;
} vit_block;

/* Declares the block's parameters under prefix ("blocks.0."). Release with vit_block_free. */
vit_status vit_block_init(vit_block *block, const vit_attention_config *attention, size_t hidden,
                          const char *prefix, vit_param_table *table);
void vit_block_free(vit_block *block);

/* What a forward leaves for the backward, for B pictures. Blocks of an inference workspace share
 * one. What is cheap to make again is not here: the normalised inputs of attention and MLP, and
 * what GELU makes of hidden. Memory, not arithmetic, is what a backward waits for. */
typedef struct vit_block_saved {
    float *mean1, *rstd1; /* (B,N) */
    float *mean2, *rstd2; /* (B,N) */
    float *middle;        /* (B,N,D) between attention and MLP */
    float *hidden;        /* (B,N,F) before GELU */
    vit_attention_saved attention;
} vit_block_saved;

void vit_block_plan(const vit_block *block, size_t B, bool training, vit_arena *arena,
                    vit_block_saved *saved);
/* Floats of scratch, free again after each call; SIZE_MAX when that does not fit. */
size_t vit_block_scratch(const vit_block *block, size_t B, bool training);

/* training: as it was planned. attn_scale, mlp_scale: drop-path scales (B) of the two branches, or
 * NULL. y may be x in inference. */
void vit_block_forward(const vit_block *block, const float *params, size_t B, bool training,
                       const float *x /* (B,N,D) */, const float *attn_scale,
                       const float *mlp_scale, const vit_block_saved *saved, float *scratch,
                       float *y /* (B,N,D) */);
/* gradient: in, that of y; out, that of x. */
void vit_block_backward(const vit_block *block, const float *params, float *grads, size_t B,
                        const float *x /* (B,N,D) */, const float *attn_scale,
                        const float *mlp_scale, const vit_block_saved *saved, float *scratch,
                        float *gradient /* (B,N,D) */);

#endif
