/* ZeroS's deviation logits, s_t = -u_t . mean_u / sqrt(d), where the mean of u leans on a learned
 * prior: mean_u = (e^tau mu + sum u) / (e^tau + n), tau clipped to [-50, 30] (docs/zeros.md, step
 * 3). Private to vit/attention. u has the row stride of packed. */
#ifndef VIT_ATTENTION_DEVIATION_H
#define VIT_ATTENTION_DEVIATION_H

#include "vit/attention/core.h"

/* Declares prior_mu (1,1,H,d) and prior_log_tau (1,1,H,1). */
vit_status vit_deviation_declare(vit_attention *attention, const char *prefix,
                                 vit_param_table *table);

/* The mean over all tokens. */
void vit_deviation_forward(const vit_attention *attention, const float *params, size_t head,
                           const float *u /* (N,d) */, float *mean_u /* (d) for the backward */,
                           float *s /* (N) */);
/* du overwritten; mu's and tau's gradients += (tau's only where it is not clipped). */
void vit_deviation_backward(const vit_attention *attention, const vit_core_backward_args *args,
                            const float *mean_u, const float *ds /* (N) */,
                            float *dmean /* (d) scratch */);

/* The mean over the tokens up to t, for row t. */
void vit_deviation_causal_forward(const vit_attention *attention, const float *params, size_t head,
                                  const float *u, float *s /* (N) */);
void vit_deviation_causal_backward(const vit_attention *attention,
                                   const vit_core_backward_args *args, const float *ds /* (N) */);

#endif
