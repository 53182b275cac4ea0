#include "vit/attention/kernels.h"

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

/* ---- unit length ---- */

VIT_CLONES static void unit_rows(size_t N, size_t d, float *x, size_t stride, float *inverse_norm) {
    for (size_t t = 0; t < N; t++) {
        float *row = x + t * stride;
        float norm = sqrtf(vit_dot(d, row, row));
        /* Written so that a NaN stays one. */
        float inverse = 1.0f / (norm < VIT_UNIT_EPS ? VIT_UNIT_EPS : norm);
        for (size_t j = 0; j < d; j++) {
            row[j] *= inverse;
        }
        inverse_norm[t] = inverse;
    }
}

void vit_unit_forward(size_t N, size_t d, float *x, size_t stride, float *inverse_norm) {
    unit_rows(N, d, x, stride, inverse_norm);
}

VIT_CLONES static void unit_rows_backward(size_t N, size_t d, const float *unit,
                                          const float *inverse_norm, float *dx, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        const float *row = unit + t * stride;
        float *drow = dx + t * stride;
        float inverse = inverse_norm[t];
        bool clamped = inverse >= 1.0f / VIT_UNIT_EPS;
        float along = clamped ? 0 : vit_dot(d, row, drow);
        for (size_t j = 0; j < d; j++) {
            drow[j] = inverse * (drow[j] - along * row[j]);
        }
    }
}

void vit_unit_backward(size_t N, size_t d, const float *unit, const float *inverse_norm, float *dx,
                       size_t stride) {
    unit_rows_backward(N, d, unit, inverse_norm, dx, stride);
}

/* ---- LayerNorm of a head ---- */

void vit_head_norm_forward(size_t N, size_t d, float *x, size_t stride, float *mean, float *rstd) {
    vit_layernorm_forward(N, d, VIT_HEAD_NORM_EPS, x, stride, NULL, NULL, x, stride, mean, rstd);
}

VIT_CLONES static void head_norm_backward(size_t N, size_t d, const float *normalised,
                                          const float *rstd, float *dx, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        const float *y = normalised + t * stride;
        float *row = dx + t * stride;
        float mean = vit_sum(d, row) / (float)d;
        float along = vit_dot(d, row, y) / (float)d;
        for (size_t j = 0; j < d; j++) {
            row[j] = rstd[t] * (row[j] - mean - along * y[j]);
        }
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

VIT_CLONES static void scale_rows(size_t N, size_t d, const float *weight, const float *x,
                                  size_t stride, float *out, size_t out_stride) {
    for (size_t t = 0; t < N; t++) {
        const float *row = x + t * stride;
        float *to = out + t * out_stride;
        float w = weight[t];
        for (size_t j = 0; j < d; j++) {
            to[j] = w * row[j];
        }
    }
}

void vit_scale_rows(size_t N, size_t d, size_t parts, const float *const weights[], const float *x,
                    size_t stride, float *out) {
    for (size_t p = 0; p < parts; p++) {
        scale_rows(N, d, weights[p], x, stride, out + p * d, parts * d);
    }
}

VIT_CLONES static void scale_rows_backward(size_t N, size_t d, size_t parts,
                                           const float *const weights[], const float *x,
                                           size_t stride, const float *P, float *dx,
                                           size_t dx_stride, float *const dweights[]) {
    for (size_t t = 0; t < N; t++) {
        const float *row = x + t * stride;
        float *drow = dx + t * dx_stride;
        for (size_t p = 0; p < parts; p++) {
            const float *from = P + (t * parts + p) * d;
            float w = weights[p][t];
            if (p == 0) {
                for (size_t j = 0; j < d; j++) {
                    drow[j] = w * from[j];
                }
            } else {
                for (size_t j = 0; j < d; j++) {
                    drow[j] += w * from[j];
                }
            }
            dweights[p][t] = vit_dot(d, row, from);
        }
    }
}

void vit_scale_rows_backward(size_t N, size_t d, size_t parts, const float *const weights[],
                             const float *x, size_t stride, const float *P, float *dx,
                             size_t dx_stride, float *const dweights[]) {
    scale_rows_backward(N, d, parts, weights, x, stride, P, dx, dx_stride, dweights);
}
