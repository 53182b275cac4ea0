/* The weights of an attention written out: what token t takes of token i's value. For explanations
 * and tests; no forward or backward needs them. */
#ifndef VIT_ATTENTION_WEIGHTS_H
#define VIT_ATTENTION_WEIGHTS_H

#include "vit/attention/attention.h"

/* Floats of scratch. */
size_t vit_attention_weights_scratch(const vit_attention *attention);

/* W (N,N) of head h of picture b, from what a forward with the same params left in saved->packed:
 * the head's output before its norm is W v. softmax, linear: positive, the rows sum to 1 (linear's
 * to 1 but for the eps in its denominator). zeros: W_ti = r_ti q_t.k_i with unit q and k, signed;
 * zeros-sm: W_ti = r_ti, signed, the rows sum to 0 (docs/zeros.md). Causal: 0 above the diagonal.
 */
void vit_attention_weights(const vit_attention *attention, const float *params,
                           const vit_attention_saved *saved, size_t b, size_t h, float *scratch,
                           float *W /* (N,N) */);

#endif
