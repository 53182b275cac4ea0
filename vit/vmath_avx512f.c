/* vmath by way of SLEEF, 16 floats at a time with fused products. */
#if defined(__x86_64__)

#define VMATH_VECTOR __m512
#define VMATH_SLEEF(f) Sleef_##f##f16_u10avx512f
#define VMATH_TABLE vit_vmath_avx512f
#define VMATH_NAME "avx512f"
#include "vit/vmath_kernels.h"

#else
typedef int vit_vmath_avx512f_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
