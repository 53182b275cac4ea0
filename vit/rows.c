#include "vit/rows.h"

#include "vit/gemm.h"
#include "vit/simd.h"

#include <string.h>

/* Floats below which starting threads costs more than it saves. */
enum { WORTH_SHARING = 1 << 16 };

void vit_rows_fill(size_t M, size_t n, const float *row, float *y, size_t stride) {
    if (vit_may_parallelise() && M * n >= WORTH_SHARING) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < M; i++) {
            memcpy(y + i * stride, row, n * sizeof *y);
        }
        return;
    }
    for (size_t i = 0; i < M; i++) {
        memcpy(y + i * stride, row, n * sizeof *y);
    }
}

/* Columns summed together: they stay in registers while the rows go by. */
enum { COLUMNS = 4 * VIT_LANES };

VIT_CLONES static void sum_rows(size_t M, size_t n, float scale, const float *x, size_t stride,
                                float *sum) {
    size_t j = 0;
    for (; j + COLUMNS <= n; j += COLUMNS) {
        float lanes[COLUMNS] = {0};
        for (size_t i = 0; i < M; i++) {
            const float *row = x + i * stride + j;
            for (size_t k = 0; k < COLUMNS; k++) {
                lanes[k] += row[k];
            }
        }
        for (size_t k = 0; k < COLUMNS; k++) {
            sum[j + k] += scale * lanes[k];
        }
    }
    if (j < n) {
        float lanes[COLUMNS] = {0};
        for (size_t i = 0; i < M; i++) {
            for (size_t k = 0; j + k < n; k++) {
                lanes[k] += x[i * stride + j + k];
            }
        }
        for (size_t k = 0; j + k < n; k++) {
            sum[j + k] += scale * lanes[k];
        }
    }
}

void vit_rows_sum(size_t M, size_t n, float scale, const float *x, size_t stride, float *sum) {
    sum_rows(M, n, scale, x, stride, sum);
}

VIT_CLONES static void add_floats(size_t n, const float *restrict x, float *restrict y) {
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void vit_add(size_t n, const float *x, float *y) {
    add_floats(n, x, y);
}
