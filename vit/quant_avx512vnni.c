/* int8 products, 64 at a time. */
#if defined(__x86_64__)

#include <immintrin.h>

#define QUANT_BYTES 64
#define QUANT_ROWS 8
#define QUANT_VECTORS 3
#define QUANT_NUMBER uint8_t
#define QUANT_DOT(sum, x, w) ((ints)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(x), (__m512i)(w)))
#define QUANT_TABLE vit_quant_avx512vnni
#define QUANT_NAME "avx512vnni"
#include "vit/quant_kernels.h"

#else
typedef int
    vit_quant_avx512vnni_is_not_for_this_processor; /* C wants a declaration in every file */
#endif
