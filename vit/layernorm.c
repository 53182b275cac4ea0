/* Layer normalization, Ba, Kiros and Hinton 2016. */
#include "vit/gemm.h"
#include "vit/layers.h"
#include "vit/simd.h"

#include <math.h>
#include <string.h>

/* Rows that a thread takes at a time, and the floats below which threads are not started. */
enum { ROW_BLOCK = 16, WORTH_SHARING = 1 << 15 };

/* Sum of (x - mean)^2: a second pass over the row, because the sum of squares less the squared mean
 * cancels when the mean is large. */
VIT_INLINE float centred_square_sum(size_t n, const float *x, float mean) {
    float lanes[VIT_LANES] = {0};
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (size_t j = 0; j < VIT_LANES; j++) {
            float d = x[i + j] - mean;
            lanes[j] += d * d;
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        float d = x[i + j] - mean;
        lanes[j] += d * d;
    }
    return vit_lanes_sum(lanes);
}

VIT_INLINE void affine_row(size_t D, const float *x, float mean, float rstd, const float *gamma,
                           const float *beta, float *y) {
    for (size_t j = 0; j < D; j++) {
        y[j] = (x[j] - mean) * rstd * gamma[j] + beta[j];
    }
}

VIT_CLONES static void forward_rows(size_t M, size_t D, float eps, const float *x, size_t x_stride,
                                    const float *gamma, const float *beta, float *y,
                                    size_t y_stride, float *mean, float *rstd) {
    for (size_t i = 0; i < M; i++) {
        const float *row = x + i * x_stride;
        float *out = y + i * y_stride;
        float m = vit_sum(D, row) / (float)D;
        float r = 1.0f / sqrtf(centred_square_sum(D, row, m) / (float)D + eps);
        if (gamma) {
            affine_row(D, row, m, r, gamma, beta, out);
        } else {
            for (size_t j = 0; j < D; j++) {
                out[j] = (row[j] - m) * r;
            }
        }
        mean[i] = m;
        rstd[i] = r;
    }
}

void vit_layernorm_forward(size_t M, size_t D, float eps, const float *x, size_t x_stride,
                           const float *gamma, const float *beta, float *y, size_t y_stride,
                           float *mean, float *rstd) {
    if (!vit_may_parallelise() || M * D < WORTH_SHARING) {
        forward_rows(M, D, eps, x, x_stride, gamma, beta, y, y_stride, mean, rstd);
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < M; i += ROW_BLOCK) {
        size_t rows = M - i < ROW_BLOCK ? M - i : ROW_BLOCK;
        forward_rows(rows, D, eps, x + i * x_stride, x_stride, gamma, beta, y + i * y_stride,
                     y_stride, mean + i, rstd + i);
    }
}

VIT_CLONES static void again_rows(size_t M, size_t D, const float *x, const float *gamma,
                                  const float *beta, const float *mean, const float *rstd,
                                  float *y) {
    for (size_t i = 0; i < M; i++) {
        affine_row(D, x + i * D, mean[i], rstd[i], gamma, beta, y + i * D);
    }
}

void vit_layernorm_again(size_t M, size_t D, const float *x, const float *gamma, const float *beta,
                         const float *mean, const float *rstd, float *y) {
    again_rows(M, D, x, gamma, beta, mean, rstd, y);
}

/* Sum of g * (x - mean). */
VIT_INLINE float centred_dot(size_t n, const float *g, const float *x, float mean) {
    float lanes[VIT_LANES] = {0};
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (size_t j = 0; j < VIT_LANES; j++) {
            lanes[j] += g[i + j] * (x[i + j] - mean);
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lanes[j] += g[i + j] * (x[i + j] - mean);
    }
    return vit_lanes_sum(lanes);
}

/* dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), where g = dy * gamma, which waits in dx, and
 * xhat = (x - mean) * rstd. */
VIT_CLONES static void backward_rows(size_t M, size_t D, const float *x, size_t x_stride,
                                     const float *gamma, const float *mean, const float *rstd,
                                     const float *dy, size_t dy_stride, float *dx,
                                     size_t dx_stride) {
    for (size_t i = 0; i < M; i++) {
        const float *row = x + i * x_stride;
        const float *dout = dy + i * dy_stride;
        float *g = dx + i * dx_stride;
        if (gamma) {
            for (size_t j = 0; j < D; j++) {
                g[j] = dout[j] * gamma[j];
            }
        } else if (g != dout) {
            memcpy(g, dout, D * sizeof *g);
        }
        float m = mean[i];
        float r = rstd[i];
        float mean_g = vit_sum(D, g) / (float)D;
        float slope = centred_dot(D, g, row, m) * r / (float)D * r;
        for (size_t j = 0; j < D; j++) {
            g[j] = r * (g[j] - mean_g - (row[j] - m) * slope);
        }
    }
}

/* Columns summed together: they stay in registers while the rows go by. */
enum { COLUMNS = 2 * VIT_LANES };

VIT_INLINE void affine_columns(size_t M, size_t n, const float *x, size_t x_stride,
                               const float *mean, const float *rstd, const float *dy,
                               size_t dy_stride, float *dgamma, float *dbeta) {
    float lanes_gamma[COLUMNS] = {0};
    float lanes_beta[COLUMNS] = {0};
    for (size_t i = 0; i < M; i++) {
        for (size_t j = 0; j < n; j++) {
            float g = dy[i * dy_stride + j];
            lanes_gamma[j] += g * ((x[i * x_stride + j] - mean[i]) * rstd[i]);
            lanes_beta[j] += g;
        }
    }
    for (size_t j = 0; dgamma && j < n; j++) {
        dgamma[j] += lanes_gamma[j];
    }
    for (size_t j = 0; dbeta && j < n; j++) {
        dbeta[j] += lanes_beta[j];
    }
}

VIT_CLONES static void backward_affine(size_t M, size_t D, const float *x, size_t x_stride,
                                       const float *mean, const float *rstd, const float *dy,
                                       size_t dy_stride, float *dgamma, float *dbeta) {
    size_t j = 0;
    for (; j + COLUMNS <= D; j += COLUMNS) {
        affine_columns(M, COLUMNS, x + j, x_stride, mean, rstd, dy + j, dy_stride,
                       dgamma ? dgamma + j : NULL, dbeta ? dbeta + j : NULL);
    }
    if (j < D) {
        affine_columns(M, D - j, x + j, x_stride, mean, rstd, dy + j, dy_stride,
                       dgamma ? dgamma + j : NULL, dbeta ? dbeta + j : NULL);
    }
}

void vit_layernorm_backward(size_t M, size_t D, const float *x, size_t x_stride, const float *gamma,
                            const float *mean, const float *rstd, const float *dy, size_t dy_stride,
                            float *dx, size_t dx_stride, float *dgamma, float *dbeta) {
    /* Before dx, which may be dy. */
    if (dgamma || dbeta) {
        backward_affine(M, D, x, x_stride, mean, rstd, dy, dy_stride, dgamma, dbeta);
    }
    if (dx) {
        backward_rows(M, D, x, x_stride, gamma, mean, rstd, dy, dy_stride, dx, dx_stride);
    }
}
