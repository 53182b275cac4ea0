/* vmath by way of SLEEF, 4 floats at a time on arm64. */
#if defined(__aarch64__)

#define VMATH_VECTOR float32x4_t
#define VMATH_SLEEF(f) Sleef_##f##f4_u10advsimd
#define VMATH_TABLE vit_vmath_neon
#define VMATH_NAME "neon"
#include "vit/vmath_kernels.h"

#else
typedef int vit_vmath_neon_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
