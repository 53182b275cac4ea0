/* Vectorised elementary functions over arrays, through SLEEF: at most 1 ulp off (sigmoid 2.2). The
 * instruction set is chosen at run time; a value does not depend on its position in the array, its
 * last bit may depend on the instruction set. y may be x. */
#ifndef VIT_VMATH_H
#define VIT_VMATH_H

#include <stddef.h>

void vit_vexp(size_t n, const float *x, float *y);
void vit_vexpm1(size_t n, const float *x, float *y);
void vit_vtanh(size_t n, const float *x, float *y);
/* 1 / (1 + exp(-x)); no overflow for any finite x. */
void vit_vsigmoid(size_t n, const float *x, float *y);

/* The instruction set in use: "avx512f", "avx2", "sse2", "neon" or "scalar". */
const char *vit_vmath_isa(void);

#endif
