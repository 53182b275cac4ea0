/* Gaussian error linear units, Hendrycks and Gimpel 2016, exact: y = x Phi(x), not the tanh form.
 *
 * Phi by way of exp(-x^2 / 2), which the backward needs anyway for the density phi: for a >= 0
 * Phi(-a) = exp(-a^2 / 2) R(a), and R, a smooth curve from 1/2 towards 1/(a sqrt(2 pi)), is a
 * polynomial in t = 1 / (1 + 0.346 a). Unlike (1 + erf(x / sqrt 2)) / 2 it cancels nothing for
 * negative x, and it takes a third of the time. */
#include "vit/gemm.h"
#include "vit/layers.h"
#include "vit/simd.h"
#include "vit/vmath.h"

#include <math.h>

#define INV_SQRT_2PI 0.39894228f

/* BLOCK floats pass through a buffer in the first-level cache; SHARE are what a thread takes. */
enum { BLOCK = 512, SHARE = 16 * BLOCK };

/* Phi(x), given exp(-x^2 / 2). The coefficients are Remez's for the least relative error over a in
 * [0, 13.5], where exp(-a^2 / 2) leaves float32: 2.2e-8. */
VIT_INLINE float normal_cdf(float x, float exponential) {
    float t = 1.0f / (1.0f + 0.346f * fabsf(x));
    float p = -0.02857430514f;
    p = p * t + 0.145202891f;
    p = p * t - 0.2683818107f;
    p = p * t + 0.1817668811f;
    p = p * t - 0.03471433089f;
    p = p * t + 0.1105234407f;
    p = p * t + 0.117770488f;
    p = p * t + 0.1383868681f;
    p = p * t + 0.138019867f;
    float tail = exponential * (p * t);
    return x < 0 ? tail : 1.0f - tail;
}

VIT_CLONES static void exponents(size_t n, const float *x, float *t) {
    for (size_t i = 0; i < n; i++) {
        t[i] = -0.5f * x[i] * x[i];
    }
}

/* exp(-x^2 / 2) */
static void exponentials(size_t n, const float *x, float *out) {
    exponents(n, x, out);
    vit_vexp(n, out, out);
}

VIT_CLONES static void forward_block(size_t n, const float *x, const float *exponential, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] * normal_cdf(x[i], exponential[i]);
    }
}

/* d(x Phi(x)) / dx = Phi(x) + x phi(x); Phi serves the value, too. dx may be dy. */
VIT_CLONES static void backward_block(size_t n, const float *x, const float *exponential,
                                      const float *dy, float *dx, float *y) {
    for (size_t i = 0; i < n; i++) {
        float cdf = normal_cdf(x[i], exponential[i]);
        float density = INV_SQRT_2PI * exponential[i];
        dx[i] = dy[i] * (cdf + x[i] * density);
        y[i] = x[i] * cdf;
    }
}

static void forward(size_t n, const float *x, float *y) {
    float exponential[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        exponentials(count, x + i, exponential);
        forward_block(count, x + i, exponential, y + i);
    }
}

void vit_gelu_forward(size_t n, const float *x, float *y) {
    if (!vit_may_parallelise() || n < (size_t)2 * SHARE) {
        forward(n, x, y);
        return;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i += SHARE) {
        forward(n - i < SHARE ? n - i : SHARE, x + i, y + i);
    }
}

void vit_gelu_backward(size_t n, const float *x, const float *dy, float *dx, float *y) {
    float exponential[BLOCK];
    for (size_t i = 0; i < n; i += BLOCK) {
        size_t count = n - i < BLOCK ? n - i : BLOCK;
        exponentials(count, x + i, exponential);
        backward_block(count, x + i, exponential, dy + i, dx + i, y + i);
    }
}
