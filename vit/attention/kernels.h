/* Passes over one head that several cores share. Private to vit/attention. Rows are tokens; stride
 * is floats from one token to the next. */
#ifndef VIT_ATTENTION_KERNELS_H
#define VIT_ATTENTION_KERNELS_H

#include "vit/attention/core.h"

/* Below this length a vector is not made longer when it is made unit (torch F.normalize). */
#define VIT_UNIT_EPS 1e-12f

/* Rotates q and k by the position of their token; nothing without rope. The inverse, for the
 * gradients, turns back. For the cores that do not make them unit. */
void vit_rotate_pair(const vit_attention *attention, bool inverse, float *q, float *k,
                     size_t stride);

/* Rows from .. from + rows - 1 of the q or k of a head, in one pass: turned by the position of
 * their token (not without rope), then made unit, x_t / max(||x_t||, eps), in place; inverse_norm
 * (N) is kept for the backward. */
void vit_turn_unit_forward(const vit_attention *attention, size_t from, size_t rows,
                           float *x /* (N,d) */, size_t stride, float *inverse_norm /* (N) */);
/* dx in place: in the gradient of the unit rows, out that of what they were made from. Where the
 * length was below eps it counted as a constant. */
void vit_turn_unit_backward(const vit_attention *attention, size_t from, size_t rows,
                            const float *unit /* (N,d) */, const float *inverse_norm /* (N) */,
                            float *dx /* (N,d) */, size_t stride);

/* LayerNorm without affine part of the rows of one head, in place. The backward needs only what
 * came out and rstd. */
void vit_head_norm_forward(size_t N, size_t d, float *x, size_t stride,
                           float *mean /* (N) scratch */, float *rstd /* (N) */);
void vit_head_norm_backward(size_t N, size_t d, const float *normalised, const float *rstd,
                            float *dx /* in place */, size_t stride);

/* The gates of one head: first and higher orders by sigmoid, zero order by tanh when asked. The
 * vectors lie one after another. */
void vit_gates_forward(size_t N, const float *gate /* (N,3) */, size_t stride, bool zero_order,
                       float *value /* (2 or 3, N) */);
/* dgate (N,3) from the gradient of the gates' values; without zero order its column is zero. */
void vit_gates_backward(size_t N, bool zero_order, const float *value, const float *dvalue,
                        float *dgate, size_t stride);

/* out (N, parts*d): row t holds weight_p[t] * x_t for each part p, side by side. */
void vit_scale_rows(size_t N, size_t d, size_t parts, const float *const weights[], const float *x,
                    size_t stride, float *out);
/* The backward of weighted rows: with P (N, parts*d) the gradient of vit_scale_rows's output,
 * dx_t = sum_p weight_p[t] P_tp and dweight_p[t] = x_t . P_tp, both overwritten. */
void vit_scale_rows_backward(size_t N, size_t d, size_t parts, const float *const weights[],
                             const float *x, size_t stride, const float *P, float *dx,
                             size_t dx_stride, float *const dweights[]);

/* How many rows of the N x N weights a core makes at a time, and again in its backward: memory then
 * grows with N, and the rows stay in cache. */
size_t vit_quadratic_rows(size_t N);
/* scale q_t.k_i of `rows` queries from `from` on with all keys. */
void vit_query_key(const vit_attention *attention, const vit_head_columns *in, size_t from,
                   size_t rows, float scale, float *products /* (rows,N) */);

/* Cuts a block of floats: *fields[i] is its next sizes[i]. The return value is what all take; with
 * a NULL block that is all it tells. */
size_t vit_carve(size_t count, const size_t sizes[], float **const fields[], float *block);

/* Products of a head whose N x N weights are made from q and k and applied to v. */
double vit_quadratic_flops(const vit_attention_config *config);
/* For the cores that need no memory of a kind. */
size_t vit_no_floats(const vit_attention *attention);

#endif
