#include "vit/vmath.h"

#include "vit/vmath_table.h"

#include <stdbool.h>

#if defined(__x86_64__)

const vit_vmath_table *vit_vmath_supported(size_t index) {
    /* The adapters are compiled with fused products; no processor with AVX2 is known to lack them,
     * but an emulator may. */
    bool fma = __builtin_cpu_supports("fma");
    bool can[3] = {fma && __builtin_cpu_supports("avx512f"), fma && __builtin_cpu_supports("avx2"),
                   true};
    const vit_vmath_table *const tables[3] = {&vit_vmath_avx512f, &vit_vmath_avx2, &vit_vmath_sse2};
    for (size_t i = 0; i < 3; i++) {
        if (can[i] && index-- == 0) {
            return tables[i];
        }
    }
    return NULL;
}

#elif defined(__aarch64__)

const vit_vmath_table *vit_vmath_supported(size_t index) {
    return index == 0 ? &vit_vmath_neon : NULL;
}

#else

#include <math.h>

static void array_exp(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = expf(x[i]);
    }
}

static void array_expm1(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = expm1f(x[i]);
    }
}

static void array_tanh(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = tanhf(x[i]);
    }
}

static void array_sigmoid(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        float e = expf(-fabsf(x[i]));
        y[i] = (x[i] < 0 ? e : 1.0f) / (1.0f + e);
    }
}

const vit_vmath_table *vit_vmath_supported(size_t index) {
    static const vit_vmath_table scalar = {
        "scalar", array_exp, array_expm1, array_tanh, array_sigmoid,
    };
    return index == 0 ? &scalar : NULL;
}

#endif

void vit_vexp(size_t n, const float *x, float *y) {
    vit_vmath_supported(0)->exp(n, x, y);
}

void vit_vexpm1(size_t n, const float *x, float *y) {
    vit_vmath_supported(0)->expm1(n, x, y);
}

void vit_vtanh(size_t n, const float *x, float *y) {
    vit_vmath_supported(0)->tanh(n, x, y);
}

void vit_vsigmoid(size_t n, const float *x, float *y) {
    vit_vmath_supported(0)->sigmoid(n, x, y);
}

const char *vit_vmath_isa(void) {
    return vit_vmath_supported(0)->isa;
}
