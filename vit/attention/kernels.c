#include "vit/attention/kernels.h"

#include "vit/gemm.h"
#include "vit/layers.h"
#include "vit/simd.h"
#include "vit/vmath.h"

#include <math.h>

void vit_rotate_pair(const vit_attention *attention, bool inverse, float *q, float *k,
                     size_t stride) {
    if (attention->config.rope == VIT_ROPE_NONE) {
        return;
    }
    size_t N = attention->config.tokens;
    vit_rope_apply(N, attention->d, attention->cosine, attention->sine, inverse, q, stride);
    vit_rope_apply(N, attention->d, attention->cosine, attention->sine, inverse, k, stride);
}

/* The usual head width. A kernel's body is compiled for it apart, so that a row is a few registers
 * and no loop. */
enum { USUAL_WIDTH = 64 };

/* ---- turned and of unit length ---- */

/* A head's rows and their angles, those of the first row first; no cosine without rope. */
typedef struct turned_rows {
    size_t rows, stride;
    const float *cosine, *sine; /* (rows,d/2) */
} turned_rows;

static turned_rows turned(const vit_attention *attention, size_t from, size_t rows, size_t stride) {
    bool turns = attention->config.rope != VIT_ROPE_NONE;
    size_t at = from * (attention->d / 2);
    return (turned_rows){rows, stride, turns ? attention->cosine + at : NULL,
                         turns ? attention->sine + at : NULL};
}

VIT_INLINE void turn_unit(const turned_rows *r, size_t d, float *x, float *inverse_norm) {
    for (size_t t = 0; t < r->rows; t++) {
        float *row = x + t * r->stride;
        if (r->cosine) {
            vit_rope_turn(d / 2, r->cosine + t * (d / 2), r->sine + t * (d / 2), 1.0f, row);
        }
        float norm = sqrtf(vit_dot(d, row, row));
        /* Written so that a NaN stays one. */
        float inverse = 1.0f / (norm < VIT_UNIT_EPS ? VIT_UNIT_EPS : norm);
        for (size_t j = 0; j < d; j++) {
            row[j] *= inverse;
        }
        inverse_norm[t] = inverse;
    }
}

VIT_CLONES static void turn_unit_rows(const turned_rows *r, size_t d, float *x,
                                      float *inverse_norm) {
    if (d == USUAL_WIDTH) {
        turn_unit(r, USUAL_WIDTH, x, inverse_norm);
    } else {
        turn_unit(r, d, x, inverse_norm);
    }
}

void vit_turn_unit_forward(const vit_attention *attention, size_t from, size_t rows, float *x,
                           size_t stride, float *inverse_norm) {
    turned_rows r = turned(attention, from, rows, stride);
    turn_unit_rows(&r, attention->d, x + from * stride, inverse_norm + from);
}

VIT_INLINE void turn_unit_back(const turned_rows *r, size_t d, const float *unit,
                               const float *inverse_norm, float *dx) {
    for (size_t t = 0; t < r->rows; t++) {
        const float *row = unit + t * r->stride;
        float *restrict drow = dx + t * r->stride;
        float inverse = inverse_norm[t];
        bool clamped = inverse >= 1.0f / VIT_UNIT_EPS;
        float along = clamped ? 0 : vit_dot(d, row, drow);
        for (size_t j = 0; j < d; j++) {
            drow[j] = inverse * (drow[j] - along * row[j]);
        }
        if (r->cosine) {
            vit_rope_turn(d / 2, r->cosine + t * (d / 2), r->sine + t * (d / 2), -1.0f, drow);
        }
    }
}

VIT_CLONES static void turn_unit_rows_back(const turned_rows *r, size_t d, const float *unit,
                                           const float *inverse_norm, float *dx) {
    if (d == USUAL_WIDTH) {
        turn_unit_back(r, USUAL_WIDTH, unit, inverse_norm, dx);
    } else {
        turn_unit_back(r, d, unit, inverse_norm, dx);
    }
}

void vit_turn_unit_backward(const vit_attention *attention, size_t from, size_t rows,
                            const float *unit, const float *inverse_norm, float *dx,
                            size_t stride) {
    turned_rows r = turned(attention, from, rows, stride);
    turn_unit_rows_back(&r, attention->d, unit + from * stride, inverse_norm + from,
                        dx + from * stride);
}

/* ---- LayerNorm of a head ---- */

void vit_head_norm_forward(size_t N, size_t d, float *x, size_t stride, float *mean, float *rstd) {
    vit_layernorm_forward(N, d, VIT_HEAD_NORM_EPS, x, stride, NULL, NULL, x, stride, mean, rstd);
}

VIT_INLINE void head_norm_back(size_t N, size_t d, const float *normalised, const float *rstd,
                               float *dx, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        const float *y = normalised + t * stride;
        float *restrict row = dx + t * stride;
        float mean = vit_sum(d, row) / (float)d;
        float along = vit_dot(d, row, y) / (float)d;
        for (size_t j = 0; j < d; j++) {
            row[j] = rstd[t] * (row[j] - mean - along * y[j]);
        }
    }
}

VIT_CLONES static void head_norm_backward(size_t N, size_t d, const float *normalised,
                                          const float *rstd, float *dx, size_t stride) {
    if (d == USUAL_WIDTH) {
        head_norm_back(N, USUAL_WIDTH, normalised, rstd, dx, stride);
    } else {
        head_norm_back(N, d, normalised, rstd, dx, stride);
    }
}

void vit_head_norm_backward(size_t N, size_t d, const float *normalised, const float *rstd,
                            float *dx, size_t stride) {
    head_norm_backward(N, d, normalised, rstd, dx, stride);
}

/* ---- gates ---- */

void vit_gates_forward(size_t N, const float *gate, size_t stride, bool zero_order, float *value) {
    size_t count = zero_order ? 3 : 2;
    for (size_t t = 0; t < N; t++) {
        for (size_t i = 0; i < count; i++) {
            value[i * N + t] = gate[t * stride + i];
        }
    }
    vit_vsigmoid(2 * N, value, value);
    if (zero_order) {
        vit_vtanh(N, value + 2 * N, value + 2 * N);
    }
}

void vit_gates_backward(size_t N, bool zero_order, const float *value, const float *dvalue,
                        float *dgate, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        float *row = dgate + t * stride;
        for (size_t i = 0; i < 2; i++) {
            float y = value[i * N + t];
            row[i] = dvalue[i * N + t] * y * (1 - y);
        }
        float y = zero_order ? value[2 * N + t] : 0;
        row[2] = zero_order ? dvalue[2 * N + t] * (1 - y) * (1 + y) : 0;
    }
}

/* ---- weighted rows ---- */

VIT_INLINE void scale(size_t N, size_t d, size_t parts, const float *const weights[],
                      const float *x, size_t stride, float *restrict out) {
    for (size_t t = 0; t < N; t++) {
        const float *row = x + t * stride;
        for (size_t p = 0; p < parts; p++) {
            float *restrict to = out + (t * parts + p) * d;
            float w = weights[p][t];
            for (size_t j = 0; j < d; j++) {
                to[j] = w * row[j];
            }
        }
    }
}

VIT_CLONES static void scale_rows(size_t N, size_t d, size_t parts, const float *const weights[],
                                  const float *x, size_t stride, float *out) {
    if (d == USUAL_WIDTH && parts == 2) {
        scale(N, USUAL_WIDTH, 2, weights, x, stride, out);
    } else {
        scale(N, d, parts, weights, x, stride, out);
    }
}

void vit_scale_rows(size_t N, size_t d, size_t parts, const float *const weights[], const float *x,
                    size_t stride, float *out) {
    scale_rows(N, d, parts, weights, x, stride, out);
}

VIT_INLINE void scale_back(size_t N, size_t d, size_t parts, const float *const weights[],
                           const float *x, size_t stride, const float *P, float *dx,
                           size_t dx_stride, float *const dweights[]) {
    for (size_t t = 0; t < N; t++) {
        const float *row = x + t * stride;
        float *restrict drow = dx + t * dx_stride;
        for (size_t p = 0; p < parts; p++) {
            const float *from = P + (t * parts + p) * d;
            float w = weights[p][t];
            dweights[p][t] = vit_dot(d, row, from);
            if (p == 0) {
                for (size_t j = 0; j < d; j++) {
                    drow[j] = w * from[j];
                }
            } else {
                for (size_t j = 0; j < d; j++) {
                    drow[j] += w * from[j];
                }
            }
        }
    }
}

VIT_CLONES static void scale_rows_backward(size_t N, size_t d, size_t parts,
                                           const float *const weights[], const float *x,
                                           size_t stride, const float *P, float *dx,
                                           size_t dx_stride, float *const dweights[]) {
    if (d == USUAL_WIDTH && parts == 2) {
        scale_back(N, USUAL_WIDTH, 2, weights, x, stride, P, dx, dx_stride, dweights);
    } else {
        scale_back(N, d, parts, weights, x, stride, P, dx, dx_stride, dweights);
    }
}

void vit_scale_rows_backward(size_t N, size_t d, size_t parts, const float *const weights[],
                             const float *x, size_t stride, const float *P, float *dx,
                             size_t dx_stride, float *const dweights[]) {
    scale_rows_backward(N, d, parts, weights, x, stride, P, dx, dx_stride, dweights);
}

/* ---- the N x N weights ---- */

size_t vit_quadratic_rows(size_t N) {
    enum { ROWS = 64 };
    return N < ROWS ? N : ROWS;
}

void vit_query_key(const vit_attention *attention, const vit_head_columns *in, size_t from,
                   size_t rows, float scale, float *products) {
    size_t N = attention->config.tokens, R = attention->columns;
    vit_gemm(false, true, rows, N, attention->d, scale, in->q + from * R, R, in->k, R, 0, products,
             N);
}

size_t vit_carve(size_t count, const size_t sizes[], float **const fields[], float *block) {
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        *fields[i] = block ? block + used : NULL;
        used += sizes[i];
    }
    return used;
}

double vit_quadratic_flops(const vit_attention_config *config) {
    double N = (double)config->tokens, d = (double)(config->dim / config->heads);
    return 4 * N * N * d;
}

size_t vit_no_floats(const vit_attention *attention) {
    (void)attention;
    return 0;
}
