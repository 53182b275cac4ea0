/* Linear layers in 8 bits: weights quantised once, each row (output channel) with a scale of its
 * own, symmetric around 0; what they multiply quantised as it comes, each row (token) with a scale
 * and a zero point of its own; products summed in int32. Nothing is calibrated.
 *
 *   w[n][k] = ws[n] q[n][k], q in -127..127          x[m][k] = xs[m] (u[m][k] - z[m]), u in 0..255
 *   y[m][n] = xs[m] ws[n] (sum_k u q - z[m] sum_k q) + bias[n]
 *
 * (Jacob et al. 2018, arXiv:1712.05877, equation 7, with a scale for each row of both.) The sum in
 * brackets is exact, the rest is the same few float operations everywhere: the bits depend neither
 * on the processor nor on how the rows are shared out. */
#ifndef VIT_QUANT_H
#define VIT_QUANT_H

#include "vit/arena.h"

/* A row of x takes 254 steps from its least to its largest value: then both ends, rounded each to
 * its nearest, lie within 255, and no value is off by more than half a step. */
#define VIT_QUANT_STEPS 254.0f
/* A row whose values lie closer to 0 than this counts as zeros. */
#define VIT_QUANT_LEAST_RANGE 1e-30f
/* With more inputs than this a sum may not fit in int32. */
#define VIT_QUANT_MAX_IN 65536

/* Whether a layer may have that many inputs. */
vit_status vit_quant_check_in(size_t in);

/* Row by row: scale[n] = max |weight[n]| / 127, q = weight / scale to the nearest, ties to even. A
 * row of zeros has scale 0. The weights are finite. */
void vit_quant_weights(size_t out, size_t in, const float *weight /* (out,in) */,
                       int8_t *q /* (out,in) */, float *scale /* (out) */);

/* The weights of a linear layer as a kernel wants them, in an arena's memory. */
typedef struct vit_quant_matrix {
    const struct vit_quant_kernel *kernel;
    size_t in, out;
    size_t steps, panels; /* of `in`, 4 bytes each; of `out` */
    char *packed;         /* (panels, steps, columns, 4) bytes */
    float *scale, *bias;  /* (panels * columns); zeros beyond `out` */
    float *zeros;         /* (columns), in place of a bias */
    int32_t *sums;        /* of the rows of q, as scale */
} vit_quant_matrix;
/* For the fastest kernel that this processor can run. vit_quant_check_in has to allow `in`. */
void vit_quant_matrix_plan(vit_quant_matrix *matrix, size_t in, size_t out, vit_arena *arena);
/* Packs q (out,in) into the arena's memory, which is zeroed; bias (out) may be NULL: zeros. */
void vit_quant_matrix_fill(vit_quant_matrix *matrix, const int8_t *q,
                           const float *scale /* (out) */, const float *bias);
/* The weights back as floats: scale times q. */
void vit_quant_matrix_floats(const vit_quant_matrix *matrix, float *weight /* (out,in) */);

/* Rows of x in 8 bits. */
typedef struct vit_quant_rows {
    char *values;  /* (rows, row bytes), rows up to a whole tile */
    float *scale;  /* (rows) */
    int32_t *zero; /* (rows) */
} vit_quant_rows;
/* Rows are taken so many at a time, so `values`, `scale` and `zero` have room for a multiple. */
size_t vit_quant_tile_rows(void);
/* Bytes of a row of `in` numbers. */
size_t vit_quant_row_bytes(size_t in);
/* A row with a value that is not finite gets the scale NaN, and so do the results. */
void vit_quant_quantise(const vit_quant_matrix *matrix, size_t M, const float *x, size_t x_stride,
                        const vit_quant_rows *rows);

/* What was lost: rest = x - scale (u - zero), which may be x. */
void vit_quant_rest(const vit_quant_matrix *matrix, size_t M, const float *x /* (M,in) */,
                    const vit_quant_rows *rows, float *rest /* (M,in) */);

/* y = x W^T + bias, and add + that when add is given (it may be y). On the calling thread. */
void vit_quant_multiply(const vit_quant_matrix *matrix, size_t M, const vit_quant_rows *x,
                        const float *add /* (M,out) or NULL */, size_t add_stride,
                        float *y /* (M,out) */, size_t y_stride);
/* y += x W^T */
void vit_quant_multiply_more(const vit_quant_matrix *matrix, size_t M, const vit_quant_rows *x,
                             float *y /* (M,out) */, size_t y_stride);

/* The instruction set in use: "avx512vnni", "avxvnni", "avx2", "sse2" or "plain". */
const char *vit_quant_isa(void);

#endif
