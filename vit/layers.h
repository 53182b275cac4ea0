/* The layers as pairs of pure functions over memory that the caller planned.
 *
 * Conventions: row-major float32. M is a number of rows (B*N tokens), D a width. A backward
 * overwrites dx and ADDS to parameter gradients. dx may be NULL when nobody needs it. Forward
 * functions may share out rows among threads when called outside a parallel region; backward
 * functions never do: they run inside a slot. No function here can fail. One .c file a layer. */
#ifndef VIT_LAYERS_H
#define VIT_LAYERS_H

#include <stdbool.h>
#include <stddef.h>

/* ---- linear.c: y = x W^T + b, W stored (out,in) as PyTorch stores it ---- */
void vit_linear_forward(size_t M, size_t in, size_t out, const float *x /* (M,in) */,
                        const float *weight /* (out,in) */, const float *bias /* (out) or NULL */,
                        float *y /* (M,out) */);
void vit_linear_backward(size_t M, size_t in, size_t out, const float *x /* (M,in) */,
                         const float *weight /* (out,in) */, const float *dy /* (M,out) */,
                         float *dx /* (M,in) or NULL */, float *dweight /* (out,in) += */,
                         float *dbias /* (out) += or NULL */);

/* ---- layernorm.c: y = (x - mean) * rstd * gamma + beta over the last dimension ---- */
#define VIT_LAYERNORM_EPS 1e-6f /* timm's ViT */
/* gamma and beta may both be NULL (no affine part). x and y have row strides of their own, so that
 * one head of a packed tensor can be normalised in place. mean and rstd are saved for the backward.
 */
void vit_layernorm_forward(size_t M, size_t D, float eps, const float *x, size_t x_stride,
                           const float *gamma /* (D) */, const float *beta /* (D) */, float *y,
                           size_t y_stride, float *mean /* (M) */, float *rstd /* (M) */);
/* y once more, to the same bits, from the mean and rstd that were saved: less than to write y to
 * memory and read it back. */
void vit_layernorm_again(size_t M, size_t D, const float *x /* (M,D) */, const float *gamma,
                         const float *beta, const float *mean /* (M) */,
                         const float *rstd /* (M) */, float *y /* (M,D) */);
void vit_layernorm_backward(size_t M, size_t D, const float *x, size_t x_stride,
                            const float *gamma /* (D) or NULL */, const float *mean /* (M) */,
                            const float *rstd /* (M) */, const float *dy, size_t dy_stride,
                            float *dx, size_t dx_stride, float *dgamma /* (D) += or NULL */,
                            float *dbeta /* (D) += or NULL */);

/* ---- gelu.c: exact GELU, y = x * Phi(x) (Hendrycks and Gimpel 2016) ---- */
void vit_gelu_forward(size_t n, const float *x, float *y);
/* dx may be dy. y is made once more, to the same bits: the backward has nearly all of it at hand,
 * and a forward need not keep it. */
void vit_gelu_backward(size_t n, const float *x, const float *dy, float *dx, float *y);

/* ---- mlp.c: fc2(gelu(fc1(x))), hidden width F ---- */
typedef struct vit_mlp_weights {
    const float *fc1_weight; /* (F,D) */
    const float *fc1_bias;   /* (F) */
    const float *fc2_weight; /* (D,F) */
    const float *fc2_bias;   /* (D) */
} vit_mlp_weights;
typedef struct vit_mlp_grads {
    float *fc1_weight, *fc1_bias, *fc2_weight, *fc2_bias; /* all += */
} vit_mlp_grads;
/* For inference hidden and activated may be the same memory. */
void vit_mlp_forward(size_t M, size_t D, size_t F, const vit_mlp_weights *w,
                     const float *x /* (M,D) */, float *hidden /* (M,F) saved: before GELU */,
                     float *activated /* (M,F) after GELU; not wanted again */,
                     float *y /* (M,D) */);
void vit_mlp_backward(size_t M, size_t D, size_t F, const vit_mlp_weights *w,
                      const float *x /* (M,D) */, const float *hidden /* (M,F) */,
                      const float *dy /* (M,D) */, float *scratch /* (2,M,F) */,
                      float *dx /* (M,D) */, const vit_mlp_grads *g);

/* ---- patch_embed.c: a P x P convolution of stride P as one product; pixels in the order channel,
 * row, column ---- */
typedef struct vit_patch_shape {
    size_t channels, height, width; /* of a picture */
    size_t patch;  /* P; pixels right and below the last whole patch are ignored, as a convolution
                      does */
    size_t prefix; /* tokens before the patches in y (0, or 1 for a class token) */
    size_t dim;    /* D */
} vit_patch_shape;
/* (height/P) * (width/P), without the prefix. */
size_t vit_patch_count(const vit_patch_shape *shape);
/* The pictures cut into the rows that the product takes. */
void vit_patch_gather(const vit_patch_shape *shape, size_t B, const float *images /* (B,C,H,W) */,
                      float *columns /* (B,patches,C*P*P) */);
void vit_patch_embed_forward(const vit_patch_shape *shape, size_t B,
                             const float *images /* (B,C,H,W) */,
                             const float *weight /* (D,C,P,P) */, const float *bias /* (D) */,
                             float *columns /* (B,patches,C*P*P) saved */,
                             float *tokens /* (B,prefix+patches,D); prefix rows untouched */);
void vit_patch_embed_backward(const vit_patch_shape *shape, size_t B,
                              const float *columns /* (B,patches,C*P*P) */, const float *weight,
                              const float *dtokens /* (B,prefix+patches,D) */,
                              float *dweight /* += */, float *dbias /* += */,
                              float *dcolumns /* scratch (patches,C*P*P), or NULL with dimages */,
                              float *dimages /* (B,C,H,W) overwritten, or NULL */);

/* ---- pos_embed.c: writes the class token, adds the learned position embedding (to the class token
 * too, as timm) ---- */
void vit_pos_embed_forward(size_t B, size_t N, size_t D,
                           const float *cls_token /* (D), or NULL without one */,
                           const float *pos_embed /* (N,D), N with the class token */,
                           float *tokens /* (B,N,D) in place */);
void vit_pos_embed_backward(size_t B, size_t N, size_t D, const float *dtokens /* (B,N,D) */,
                            float *dcls_token /* (D) += or NULL */,
                            float *dpos_embed /* (N,D) += */);

/* ---- drop_path.c: stochastic depth (Huang et al. 2016): a branch is dropped per picture, kept
 * ones are scaled by 1/keep ---- */
/* The scale, 0 or 1/(1-rate), of one branch of one picture; keyed, so the same for any thread count
 * or resume. branch: 2 * block for attention, 2 * block + 1 for the MLP. rate in [0, 1). */
float vit_drop_path_scale(double rate, unsigned long long seed, unsigned epoch,
                          unsigned long long sample, unsigned branch);
/* y = x + scale_b * branch; scale NULL means 1. y may be x. n floats a picture. */
void vit_residual_forward(size_t B, size_t n, const float *x, const float *branch,
                          const float *scale /* (B) or NULL */, float *y);
/* dbranch = scale_b * dy. (The identity part's gradient is dy itself.) */
void vit_residual_backward(size_t B, size_t n, const float *dy, const float *scale, float *dbranch);

/* ---- head.c: pool, LayerNorm, linear. Mean pooling normalises after pooling (timm fc_norm), the
 * class token before (timm norm; only token 0 is read, so only it is normalised): one path, pool
 * first ---- */
typedef struct vit_head_shape {
    size_t tokens;  /* N, with the prefix */
    size_t prefix;  /* left out of the mean */
    size_t dim;     /* D */
    size_t classes; /* K */
    bool mean_pool; /* else token 0 */
} vit_head_shape;
typedef struct vit_head_weights {
    const float *norm_weight, *norm_bias; /* (D) */
    const float *weight;                  /* (K,D) */
    const float *bias;                    /* (K) */
} vit_head_weights;
typedef struct vit_head_grads {
    float *norm_weight, *norm_bias, *weight, *bias; /* all += */
} vit_head_grads;
typedef struct vit_head_saved {
    float *pooled;      /* (B,D) */
    float *features;    /* (B,D) after the norm: what an embedder calls the embedding */
    float *mean, *rstd; /* (B) */
} vit_head_saved;
/* Up to the features: pool and LayerNorm. */
void vit_head_features(const vit_head_shape *shape, size_t B, const vit_head_weights *w,
                       const float *tokens /* (B,N,D) */, const vit_head_saved *saved);
void vit_head_forward(const vit_head_shape *shape, size_t B, const vit_head_weights *w,
                      const float *tokens /* (B,N,D) */, const vit_head_saved *saved,
                      float *logits /* (B,K) */);
void vit_head_backward(const vit_head_shape *shape, size_t B, const vit_head_weights *w,
                       const vit_head_saved *saved, const float *dlogits /* (B,K) */,
                       float *scratch /* (2,B,D) */, float *dtokens /* (B,N,D) overwritten */,
                       const vit_head_grads *g);

/* ---- loss.c: softmax cross-entropy against soft targets ---- */
/* Label smoothing as timm: (1 - smoothing) on the label and smoothing / K everywhere. */
void vit_smooth_targets(size_t B, size_t K, const int *labels /* (B) in 0..K-1 */, double smoothing,
                        float *targets /* (B,K) */);
/* losses[b] = -sum_k targets log p with p = softmax(logits); dlogits (may be NULL) = scale * d
 * loss_b / d logits = scale * (p sum_k targets - targets), for targets of any sum. scale is 1/batch
 * for a mean over the batch. */
void vit_cross_entropy(size_t B, size_t K, const float *logits /* (B,K) */,
                       const float *targets /* (B,K) */, float scale, double *losses /* (B) */,
                       float *dlogits /* (B,K) or NULL */);
/* log of the sum of exp(x / T) over x: (K). */
double vit_log_sum_exp(size_t K, const float *x, double T);

/* probabilities = softmax(logits) row by row; may be in place. */
void vit_softmax_rows(size_t M, size_t K, const float *logits, float *probabilities);

#endif
