/* Gaussian error linear units, Hendrycks and Gimpel 2016, exact: Phi(x) = (1 + erf(x / sqrt 2))
 * / 2. */
#include "vit/gemm.h"
#include "vit/layers.h"
#include "vit/simd.h"
#include "vit/vmath.h"

#define INV_SQRT_2 0.70710678f
#define INV_SQRT_2PI 0.39894228f

/* BLOCK floats pass through a buffer in the first-level cache; SHARE are what a thread takes. */
enum { BLOCK = 512, SHARE = 16 * BLOCK };

VIT_CLONES static void scale_block(size_t n, const float *x, float *t) {
    for (size_t i = 0; i < n; i++) {
        t[i] = x[i] * INV_SQRT_2;
    }
}

VIT_CLONES static void forward_block(size_t n, const float *x, const float *erf, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * (0.5f + 0.5f * erf[i]);
    }
}

VIT_CLONES static void square_block(size_t n, const float *x, float *t) {
    for (size_t i = 0; i < n; i++) {
        t[i] = -0.5f * x[i] * x[i];
    }
}

/* d(x Phi(x))/dx = Phi(x) + x phi(x) */
VIT_CLONES static void backward_block(size_t n, const float *x, const float *erf, const float *exp,
                                      const float *dy, float *dx) {
    for (size_t i = 0; i < n; i++) {
        dx[i] = dy[i] * ((0.5f + 0.5f * erf[i]) + x[i] * (INV_SQRT_2PI * exp[i]));
    }
}

static void forward(size_t n, const float *x, float *y) {
    float t[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        scale_block(count, x + i, t);
        vit_verf(count, t, t);
        forward_block(count, x + i, t, y + i);
    }
}

void vit_gelu_forward(size_t n, const float *x, float *y) {
    if (!vit_may_parallelise() || n < 2 * SHARE) {
        forward(n, x, y);
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i += SHARE) {
        forward(n - i < SHARE ? n - i : SHARE, x + i, y + i);
    }
}

void vit_gelu_backward(size_t n, const float *x, const float *dy, float *dx) {
    float erf[BLOCK], exp[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        scale_block(count, x + i, erf);
        vit_verf(count, erf, erf);
        square_block(count, x + i, exp);
        vit_vexp(count, exp, exp);
        backward_block(count, x + i, erf, exp, dy + i, dx + i);
    }
}
