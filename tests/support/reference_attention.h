/* Every attention by its definition: double precision, all N x N weights written out, angles from
 * the formulas and not from the library's tables. */
#ifndef VIT_TEST_REFERENCE_ATTENTION_H
#define VIT_TEST_REFERENCE_ATTENTION_H

#include "vit/attention/attention.h"

/* One head of one picture: q and k turned by their positions. What the variant has not is 0. */
typedef struct reference_head {
    double *q, *k, *v, *u; /* (N,d) */
    double *gates;         /* (N,3) by sigmoid, sigmoid, tanh */
    double *s;             /* (N) ZeroS's logits */
} reference_head;

/* An attention's definition: the weights of the first `count` values in row t of the head's output,
 * count being N, or t + 1 when causal. */
typedef void (*reference_row)(const vit_attention *attention, const reference_head *in, size_t t,
                              size_t count, double *r);

/* y (B,N,D) for x (B,N,D); params is the flat block in double. row NULL: the definition, here, of
 * the attention's kind. logits, when not NULL, receives ZeroS's s (B,H,N). */
void reference_attention(const vit_attention *attention, reference_row row, const double *params,
                         size_t B, const double *x, double *y, double *logits);

/* The weights W (N,N) of one head of one picture x (N,D), 0 where a causal row does not look. */
void reference_weights(const vit_attention *attention, reference_row row, const double *params,
                       size_t head, const double *x, double *W);

#endif
