/* Every attention by its definition: double precision, all N x N weights written out, angles from
 * the formulas and not from the library's tables. */
#ifndef VIT_TEST_REFERENCE_ATTENTION_H
#define VIT_TEST_REFERENCE_ATTENTION_H

#include "vit/attention/attention.h"

/* y (B,N,D) for x (B,N,D); params is the flat block in double. logits, when not NULL, receives
 * ZeroS's s (B,H,N). */
void reference_attention(const vit_attention *attention, const double *params, size_t B,
                         const double *x, double *y, double *logits);

/* The weights W (N,N) of one head of one picture x (N,D), 0 where a causal row does not look. */
void reference_weights(const vit_attention *attention, const double *params, size_t head,
                       const double *x, double *W);

#endif
