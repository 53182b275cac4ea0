/* What each instruction set supplies to quant.c: how a tile of an int8 product is computed. Private
 * to vit/quant*.c and its test.
 *
 * A lane is the 32-bit sum of one output. A step feeds it 4 bytes of a row of x and 4 bytes of its
 * row of weights: four pairs of 8 bits, or two of 16 where the processor has no product of bytes
 * that cannot overflow (vpmaddubsw saturates: 2 * 255 * 127 does not fit in 16 bits). Either way
 * the sums are exact, so all instruction sets give the same bits. */
#ifndef VIT_QUANT_TABLE_H
#define VIT_QUANT_TABLE_H

#include "vit/quant.h"

/* A tile of y: `rows` rows of x against one panel of weights. */
typedef struct vit_quant_tile {
    size_t steps;         /* of 4 bytes of a row of x */
    const char *x;        /* (rows, 4 * steps) bytes; all rows are read */
    const float *scale;   /* (rows) of x */
    const int32_t *zero;  /* (rows) of x */
    const char *panel;    /* (steps, columns, 4) bytes */
    const float *weights; /* (columns) scales of the panel's rows of weights */
    const int32_t *sums;  /* (columns) sums of the panel's rows of weights */
    const float *bias;    /* (columns) */
    size_t rows, columns; /* that are wanted; fewer than the kernel's at the edges */
    const float *add;     /* (rows,columns) added to the result, or NULL; may be y */
    float *y;             /* (rows,columns) */
    size_t add_stride, y_stride;
} vit_quant_tile;

typedef struct vit_quant_kernel {
    const char *isa;
    size_t rows, columns; /* of a tile */
    size_t bytes;         /* of a quantised number: 1 or 2 */
    void (*multiply)(const vit_quant_tile *tile);
    /* A row of K floats to K numbers of 0..255 and zeros up to a whole step; see vit_quant_rows. */
    void (*quantise)(size_t K, const float *x, void *q, float *scale, int32_t *zero);
} vit_quant_kernel;

#if defined(__x86_64__)
extern const vit_quant_kernel vit_quant_avx512vnni;
extern const vit_quant_kernel vit_quant_avxvnni;
extern const vit_quant_kernel vit_quant_avx2;
extern const vit_quant_kernel vit_quant_sse2;
#endif
extern const vit_quant_kernel vit_quant_plain;

/* The index-th kernel that this processor can run, the fastest first; NULL past the last. */
const vit_quant_kernel *vit_quant_supported(size_t index);

/* vit_quant_matrix_plan for a kernel of choice. */
void vit_quant_matrix_plan_on(const vit_quant_kernel *kernel, vit_quant_matrix *matrix, size_t in,
                              size_t out, vit_arena *arena);

#endif
