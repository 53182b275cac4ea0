/* vmath by way of SLEEF, 4 floats at a time, for every x86-64. */
#if defined(__x86_64__)

#define VMATH_VECTOR __m128
#define VMATH_SLEEF(f) Sleef_##f##f4_u10sse2
#define VMATH_TABLE vit_vmath_sse2
#define VMATH_NAME "sse2"
#include "vit/vmath_kernels.h"

#else
typedef int vit_vmath_sse2_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
