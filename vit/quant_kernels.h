/* A tile of an int8 product, once for every instruction set: an adapter quant_ISA.c defines
 *   QUANT_BYTES      of a vector register
 *   QUANT_ROWS, QUANT_VECTORS   of a tile: their product of sums stays in registers
 *   QUANT_NUMBER     uint8_t or int16_t: what a row of x is stored as
 *   QUANT_DOT(sum, x, w)   vectors of int32: sum + the products of the numbers in each lane
 *   QUANT_TABLE, QUANT_NAME     the table to define, and its name
 * and includes this file. Not a header for anybody else. */
#include "vit/quant_table.h"

#include "vit/quant.h"
#include "vit/simd.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef int32_t ints __attribute__((vector_size(QUANT_BYTES)));
typedef uint32_t unsigned_ints __attribute__((vector_size(QUANT_BYTES)));
typedef float floats __attribute__((vector_size(QUANT_BYTES)));
enum {
    WIDTH = QUANT_BYTES / 4,
    COLUMNS = QUANT_VECTORS * WIDTH,
    NUMBERS = 4 / sizeof(QUANT_NUMBER)
};

VIT_INLINE ints load_ints(const void *from) {
    ints v;
    memcpy(&v, from, sizeof v);
    return v;
}

VIT_INLINE floats load_floats(const float *from) {
    floats v;
    memcpy(&v, from, sizeof v);
    return v;
}

VIT_INLINE int32_t load_step(const char *from) {
    int32_t v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* One row of sums to y: the zero point's share taken away, scaled, the bias and `add` added. */
VIT_INLINE void finish_row(const vit_quant_tile *t, size_t row, const ints *sum, const float *add,
                           float *y) {
    const floats scale = (floats){0} + t->scale[row];
    const ints zero = (ints){0} + t->zero[row];
    for (size_t v = 0; v < QUANT_VECTORS; v++) {
        size_t c = v * WIDTH;
        ints whole = sum[v] - zero * load_ints(t->sums + c);
        floats value =
            __builtin_convertvector(whole, floats) * (scale * load_floats(t->weights + c));
        value += load_floats(t->bias + c);
        if (add) {
            value = load_floats(add + c) + value;
        }
        memcpy(y + c, &value, sizeof value);
    }
}

/* A tile at the edge goes by way of whole rows in a buffer. */
VIT_INLINE void finish_part(const vit_quant_tile *t, size_t row, const ints *sum) {
    float values[COLUMNS];
    finish_row(t, row, sum, NULL, values);
    for (size_t c = 0; c < t->columns; c++) {
        float value = values[c];
        t->y[row * t->y_stride + c] = t->add ? t->add[row * t->add_stride + c] + value : value;
    }
}

static void multiply(const vit_quant_tile *t) {
    ints sum[QUANT_ROWS][QUANT_VECTORS];
    const char *x = t->x, *panel = t->panel;
    const size_t stride = 4 * t->steps;
#pragma GCC unroll 16
    for (size_t row = 0; row < QUANT_ROWS; row++) {
#pragma GCC unroll 16
        for (size_t v = 0; v < QUANT_VECTORS; v++) {
            sum[row][v] = (ints){0};
        }
    }
    for (size_t step = 0; step < t->steps; step++, x += 4, panel += 4 * COLUMNS) {
        ints w[QUANT_VECTORS];
#pragma GCC unroll 16
        for (size_t v = 0; v < QUANT_VECTORS; v++) {
            w[v] = load_ints(panel + v * sizeof(ints));
        }
#pragma GCC unroll 16
        for (size_t row = 0; row < QUANT_ROWS; row++) {
            const ints numbers = (ints){0} + load_step(x + row * stride);
#pragma GCC unroll 16
            for (size_t v = 0; v < QUANT_VECTORS; v++) {
                sum[row][v] = QUANT_DOT(sum[row][v], numbers, w[v]);
            }
        }
    }
#pragma GCC unroll 16
    for (size_t row = 0; row < QUANT_ROWS; row++) {
        if (row < t->rows && t->columns == COLUMNS) {
            finish_row(t, row, sum[row], t->add ? t->add + row * t->add_stride : NULL,
                       t->y + row * t->y_stride);
        } else if (row < t->rows) {
            finish_part(t, row, sum[row]);
        }
    }
}

/* A float's bits as an integer that is ordered as the floats are, and back: negative ones have the
 * bits of their size turned over. */
VIT_INLINE int32_t ordered(int32_t bits) {
    return bits ^ ((bits >> 31) & INT32_MAX);
}

/* The least and the largest of a row and 0. As integers, of which the compiler makes a vector's
 * minimum and maximum. NaN and the infinities are beyond all others: false when there is one. */
VIT_INLINE bool look(size_t K, const float *x, float *least, float *most) {
    const int32_t infinity = 0x7f800000;
    int32_t low = 0, high = 0;
    for (size_t i = 0; i < K; i++) {
        int32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits = ordered(bits);
        low = bits < low ? bits : low;
        high = bits > high ? bits : high;
    }
    bool finite = high < infinity && low > ordered(infinity | INT32_MIN);
    low = ordered(low);
    memcpy(least, &low, sizeof low);
    memcpy(most, &high, sizeof high);
    return finite;
}

/* Added to a float of at most 2^22, this rounds it to the nearest integer, ties to even, which then
 * stands in the low bits. */
#define ROUNDING 12582912.0f
#define ROUNDING_BITS 0x4b400000

static void quantise(size_t K, const float *x, void *out, float *scale, int32_t *zero) {
    QUANT_NUMBER *q = out;
    float least, most;
    bool finite = look(K, x, &least, &most);
    float range = most - least;
    if (!finite || !(range >= VIT_QUANT_LEAST_RANGE && range <= FLT_MAX)) {
        memset(q, 0, (K + NUMBERS - 1) / NUMBERS * 4);
        *scale = finite && range < 1 ? 0 : NAN;
        *zero = 0;
        return;
    }
    float inverse = VIT_QUANT_STEPS / range;
    int32_t offset = (int32_t)lrintf(-least * inverse);
    for (size_t i = 0; i < K; i++) {
        float rounded = x[i] * inverse + ROUNDING;
        int32_t bits;
        memcpy(&bits, &rounded, sizeof bits);
        q[i] = (QUANT_NUMBER)(bits - ROUNDING_BITS + offset);
    }
    for (size_t i = K; i % NUMBERS != 0; i++) {
        q[i] = 0;
    }
    *scale = range / VIT_QUANT_STEPS;
    *zero = offset;
}

const vit_quant_kernel QUANT_TABLE = {
    QUANT_NAME, QUANT_ROWS, COLUMNS, sizeof(QUANT_NUMBER), multiply, quantise,
};
