/* vmath by way of SLEEF, 8 floats at a time with fused products. */
#if defined(__x86_64__)

#define VMATH_VECTOR __m256
#define VMATH_SLEEF(f) Sleef_##f##f8_u10avx2
#define VMATH_TABLE vit_vmath_avx2
#define VMATH_NAME "avx2"
#include "vit/vmath_kernels.h"

#else
typedef int vit_vmath_avx2_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
