/* int8 products without VNNI: the numbers are stored as 16 bits and multiplied 16 at a time by the
 * one instruction whose sums cannot overflow. */
#if defined(__x86_64__)

#include <immintrin.h>

#define QUANT_BYTES 32
#define QUANT_ROWS 4
#define QUANT_VECTORS 2
#define QUANT_NUMBER int16_t
#define QUANT_DOT(sum, x, w) ((sum) + (ints)_mm256_madd_epi16((__m256i)(x), (__m256i)(w)))
#define QUANT_TABLE vit_quant_avx2
#define QUANT_NAME "avx2"
#include "vit/quant_kernels.h"

#else
typedef int vit_quant_avx2_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
