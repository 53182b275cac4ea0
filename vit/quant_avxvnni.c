/* int8 products, 32 at a time. */
#if defined(__x86_64__)

#include <immintrin.h>

#define QUANT_BYTES 32
#define QUANT_ROWS 4
#define QUANT_VECTORS 3
#define QUANT_NUMBER uint8_t
#define QUANT_DOT(sum, x, w)                                                                       \
    ((ints)_mm256_dpbusd_avx_epi32((__m256i)(sum), (__m256i)(x), (__m256i)(w)))
#define QUANT_TABLE vit_quant_avxvnni
#define QUANT_NAME "avxvnni"
#include "vit/quant_kernels.h"

#else
typedef int vit_quant_avxvnni_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
