#include "train/resample.h"

#include "vit/arena.h"

#include <math.h>

/* The cubic of Keys (1981) with a = -0.5, the one that torch takes when it antialiases. */
static double cubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/* Row i of weights (to,from): what the i-th new position takes of each old one. The filter widens
 * when the grid shrinks, and is cut off and made to sum to 1 again at the border. */
static void filter_rows(size_t from, size_t to, double *weights) {
    double step = (double)from / (double)to;
    double widening = step > 1 ? step : 1, support = 2 * widening;
    for (size_t i = 0; i < to; i++) {
        double *row = weights + i * from, sum = 0;
        double centre = step * ((double)i + 0.5);
        double first = floor(centre - support + 0.5), end = floor(centre + support + 0.5);
        for (size_t j = 0; j < from; j++) {
            bool inside = (double)j >= first && (double)j < end;
            row[j] = inside ? cubic(((double)j - centre + 0.5) / widening) : 0;
            sum += row[j];
        }
        for (size_t j = 0; j < from; j++) {
            row[j] /= sum;
        }
    }
}

/* One new position: along the columns of each old row, then along the rows. */
static void resample_one(size_t dim, size_t from_h, size_t from_w, const float *from,
                         const double *row_weights, const double *column_weights, double *sums,
                         float *to) {
    for (size_t k = 0; k < dim; k++) {
        sums[k] = 0;
    }
    for (size_t y = 0; y < from_h; y++) {
        for (size_t x = 0; x < from_w; x++) {
            double weight = row_weights[y] * column_weights[x];
            for (size_t k = 0; weight != 0 && k < dim; k++) {
                sums[k] += weight * from[(y * from_w + x) * dim + k];
            }
        }
    }
    for (size_t k = 0; k < dim; k++) {
        to[k] = (float)sums[k];
    }
}

vit_status vit_resample_positions(size_t dim, size_t from_h, size_t from_w, const float *from,
                                  size_t to_h, size_t to_w, float *to) {
    vit_status status = VIT_OK;
    double *rows = NULL, *columns = NULL, *sums = NULL;
    size_t row_count, column_count;
    if (__builtin_mul_overflow(to_h, from_h, &row_count) ||
        __builtin_mul_overflow(to_w, from_w, &column_count)) {
        return vit_fail(VIT_ERROR_MEMORY, "position embedding: the grid does not fit in memory");
    }
    VIT_TRY(vit_alloc((void **)&rows, row_count, sizeof *rows, "position embedding"));
    VIT_TRY(vit_alloc((void **)&columns, column_count, sizeof *columns, "position embedding"));
    VIT_TRY(vit_alloc((void **)&sums, dim, sizeof *sums, "position embedding"));
    filter_rows(from_h, to_h, rows);
    filter_rows(from_w, to_w, columns);
    for (size_t y = 0; y < to_h; y++) {
        for (size_t x = 0; x < to_w; x++) {
            resample_one(dim, from_h, from_w, from, rows + y * from_h, columns + x * from_w, sums,
                         to + (y * to_w + x) * dim);
        }
    }
cleanup:
    vit_free(rows);
    vit_free(columns);
    vit_free(sums);
    return status;
}
