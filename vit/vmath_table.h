/* What each instruction set supplies to vmath.c. Private to vit/vmath*.c and its test. */
#ifndef VIT_VMATH_TABLE_H
#define VIT_VMATH_TABLE_H

#include <stddef.h>

typedef void vit_vmath_function(size_t n, const float *x, float *y);

typedef struct vit_vmath_table {
    const char *isa;
    vit_vmath_function *exp, *expm1, *tanh, *sigmoid;
} vit_vmath_table;

#if defined(__x86_64__)
extern const vit_vmath_table vit_vmath_avx512f;
extern const vit_vmath_table vit_vmath_avx2;
extern const vit_vmath_table vit_vmath_sse2;
#elif defined(__aarch64__)
extern const vit_vmath_table vit_vmath_neon;
#endif

/* The index-th table that this processor can run, the fastest first; NULL past the last. */
const vit_vmath_table *vit_vmath_supported(size_t index);

#endif
