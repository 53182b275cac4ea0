/* AdamW (Loshchilov and Hutter 2019) and the gradient norm, over flat blocks. Deterministic for any
 * number of threads. */
#ifndef VIT_OPTIMIZER_H
#define VIT_OPTIMIZER_H

#include "vit/params.h"

typedef struct vit_adamw {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step; /* of this update, from 1 */
} vit_adamw;

/* One update of all parameters that are not frozen; gradients are multiplied by grad_scale first
 * (clipping). Decay applies where the table says so, decoupled: p *= 1 - lr * weight_decay, as
 * torch.optim.AdamW. */
void vit_adamw_step(const vit_adamw *options, const vit_param_table *table, double grad_scale,
                    const float *grads, float *params, float *moment1, float *moment2);

/* Euclidean norm of n floats, summed in double over fixed blocks in a fixed order. */
double vit_grad_norm(size_t n, const float *grads);

#endif
