/* int8 products on every x86-64: as with AVX2, 8 numbers at a time. */
#if defined(__x86_64__)

#include <immintrin.h>

#define QUANT_BYTES 16
#define QUANT_ROWS 4
#define QUANT_VECTORS 2
#define QUANT_NUMBER int16_t
#define QUANT_DOT(sum, x, w) ((sum) + (ints)_mm_madd_epi16((__m128i)(x), (__m128i)(w)))
#define QUANT_TABLE vit_quant_sse2
#define QUANT_NAME "sse2"
#include "vit/quant_kernels.h"

#else
typedef int vit_quant_sse2_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
