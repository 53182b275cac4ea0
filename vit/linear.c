#include "vit/gemm.h"
#include "vit/layers.h"
#include "vit/rows.h"

/* Rows taken together. A tensor of many tokens is far larger than the cache, and is written or read
 * three times here: so it goes through in pieces. Not smaller ones, as each packs the weights anew.
 */
enum { ROWS = 1024 };

static void forward_rows(size_t M, size_t in, size_t out, const float *x, const float *weight,
                         const float *bias, float *y) {
    /* y starts as the bias and the product adds to it. BLAS passes over y once before adding in any
     * case (to clear it when beta is 0), so the bias costs nothing more. */
    if (bias) {
        vit_rows_fill(M, out, bias, y, out);
    }
    vit_gemm(false, true, M, out, in, 1, x, in, weight, in, bias ? 1 : 0, y, out);
}

void vit_linear_forward(size_t M, size_t in, size_t out, const float *x, const float *weight,
                        const float *bias, float *y) {
    for (size_t i = 0; i < M; i += ROWS) {
        size_t rows = M - i < ROWS ? M - i : ROWS;
        forward_rows(rows, in, out, x + i * in, weight, bias, y + i * out);
    }
}

/* dx = dy W,  dW += dy^T x,  db += sum over the rows of dy. */
static void backward_rows(size_t M, size_t in, size_t out, const float *x, const float *weight,
                          const float *dy, float *dx, float *dweight, float *dbias) {
    if (dx) {
        vit_gemm(false, false, M, in, out, 1, dy, out, weight, in, 0, dx, in);
    }
    vit_gemm(true, false, out, in, M, 1, dy, out, x, in, 1, dweight, in);
    if (dbias) {
        vit_rows_sum(M, out, 1, dy, out, dbias);
    }
}

void vit_linear_backward(size_t M, size_t in, size_t out, const float *x, const float *weight,
                         const float *dy, float *dx, float *dweight, float *dbias) {
    for (size_t i = 0; i < M; i += ROWS) {
        size_t rows = M - i < ROWS ? M - i : ROWS;
        backward_rows(rows, in, out, x + i * in, weight, dy + i * out, dx ? dx + i * in : NULL,
                      dweight, dbias);
    }
}
