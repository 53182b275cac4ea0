/* int8 products for any processor: plain C, as the compiler vectorises it. A lane holds two numbers
 * of 16 bits: the upper one by a shift that keeps the sign, the lower one by two. */
#define QUANT_BYTES 16
#define QUANT_ROWS 4
#define QUANT_VECTORS 2
#define QUANT_NUMBER int16_t
#define QUANT_LOW(v) ((ints)((unsigned_ints)(v) << 16) >> 16)
#define QUANT_DOT(sum, x, w) ((sum) + QUANT_LOW(x) * QUANT_LOW(w) + ((x) >> 16) * ((w) >> 16))
#define QUANT_TABLE vit_quant_plain
#define QUANT_NAME "plain"
#include "vit/quant_kernels.h"
