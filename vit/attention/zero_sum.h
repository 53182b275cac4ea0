/* The zero-sum part of a softmax: logits s to delta/N and epsilon (docs/zeros.md, steps 3 and 4 and
 * "Numerics"). Private to vit/attention. */
#ifndef VIT_ATTENTION_ZERO_SUM_H
#define VIT_ATTENTION_ZERO_SUM_H

#include <stddef.h>

/* y = exp(x) - 1 - x to a few ulp, without the cancellation near 0. y must not be x. */
void vit_exp_remainder(size_t n, const float *x, float *y);

/* With delta_i = s_i - mean(s):
 *   first_i = delta_i / N, higher_i = softmax(s)_i - 1/N - delta_i/N,
 *   whole_i = softmax(s)_i - 1/N = first_i + higher_i.
 * All three sum to zero. first may be s. */
void vit_zero_sum_forward(size_t N, const float *s, float *first, float *higher, float *whole);

/* The gradient of sum_i scale_first * dfirst_i * first_i + scale_higher * dhigher_i * higher_i by
 * s; ds is overwritten and may be dfirst or dhigher. The softmax's own mean is taken out by hand,
 * so that no digits are lost when delta is small. */
void vit_zero_sum_backward(size_t N, const float *whole, float scale_first, const float *dfirst,
                           float scale_higher, const float *dhigher, float *ds);

#endif
