/* The radial weights of causal ZeroS over three functions of the logit, so that sums over earlier
 * tokens can be carried as states (docs/zeros.md, "Causal form"). Private to vit/attention.
 *
 * With delta_i = s_i - reference, for any reference, P = sum delta_i, E = sum exp(delta_i) and
 * Y = E - n - P over the n tokens so far, the weight of token i in the row is
 *     r_i = A f_i + B delta_i + C,
 * where f_i is one of
 *     narrow: exp(delta_i) - 1 - delta_i    A = higher / E
 *                                           B = first / n - higher (P + Y) / (n E)
 *                                           C = -first P / n^2 + higher (P (P + Y) - n Y) / (n^2 E)
 *     wide:   exp(delta_i)                  A = higher / E
 *                                           B = (first - higher) / n
 *                                           C = -B P / n - higher / n
 * and zero / n is added to C. The wide one is the paper's form in F, G, H; small logits would lose
 * their digits in it. The narrow one loses none there, but does once the logits differ by much more
 * than 1. The reference is the running maximum, so exp never overflows and E is at least 1.
 *
 * As tokens go by, the reference only grows and narrow only turns to wide. Either step maps the
 * three functions linearly, so states and coefficients follow in O(d^2) and O(1). */
#ifndef VIT_CAUSAL_BASIS_H
#define VIT_CAUSAL_BASIS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct vit_causal_basis {
    double reference;
    bool wide;
} vit_causal_basis;

/* Sums over the tokens so far, in the basis of the last one. Start from {0}. */
typedef struct vit_causal_prefix {
    vit_causal_basis basis;
    double lowest; /* logit */
    double n, P, Y;
} vit_causal_prefix;

/* True when the basis changed. */
bool vit_causal_add(vit_causal_prefix *prefix, double s);

/* One number for each function: coefficients of a weight, or sums with the functions. */
typedef struct vit_causal_row {
    double f, delta, one;
} vit_causal_row;

vit_causal_row vit_causal_coefficients(const vit_causal_prefix *prefix, double first, double higher,
                                       double zero);

/* f and delta (count) of some logits. */
void vit_causal_functions(size_t count, const float *s, const vit_causal_basis *basis, float *f,
                          float *delta);

/* The functions of a later basis in those of an earlier one:
 *     f' = ff f + fd delta + f1,  delta' = delta + shift;
 * and so df'/ds = ff df/ds + fd. */
typedef struct vit_causal_step {
    double ff, fd, f1, shift;
} vit_causal_step;

vit_causal_step vit_causal_between(const vit_causal_basis *earlier, const vit_causal_basis *later);

/* Sums with the later functions from sums with the earlier ones. */
vit_causal_row vit_causal_sums_later(const vit_causal_step *step, vit_causal_row sums);
/* Coefficients over the earlier functions from coefficients over the later ones. */
vit_causal_row vit_causal_coefficients_earlier(const vit_causal_step *step, vit_causal_row c);

/* The same for three matrices of n floats, one after another, in place. */
void vit_causal_states_later(const vit_causal_step *step, size_t n, float *sums /* (3,n) */);
void vit_causal_states_earlier(const vit_causal_step *step, size_t n, float *c /* (3,n) */);

/* What row t's weights need of the gradients dr_i of its r_i, from the sums of dr with the
 * functions. */
typedef struct vit_causal_row_gradients {
    double first, higher, zero; /* of the gates' values */
    double X, Z;                /* ds_i = dr_i (A g_i + B) - X g_i + Z, with g = df/ds */
} vit_causal_row_gradients;

vit_causal_row_gradients vit_causal_gradients(const vit_causal_prefix *prefix, double first,
                                              double higher, vit_causal_row sums);

#endif
