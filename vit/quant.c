#include "vit/quant.h"

#include "vit/arena.h"
#include "vit/quant_table.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* ---- which kernel ---- */

#if defined(__x86_64__)

/* Compilers before clang 18 cannot be asked for this one by name. */
static bool has_avxvnni(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
           (a >> 4 & 1) != 0;
}

static bool can_run(const vit_quant_kernel *kernel) {
    if (kernel == &vit_quant_avx512vnni) {
        return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
    }
    if (kernel == &vit_quant_avxvnni) {
        return has_avxvnni();
    }
    return kernel != &vit_quant_avx2 || __builtin_cpu_supports("avx2");
}

const vit_quant_kernel *vit_quant_supported(size_t index) {
    static const vit_quant_kernel *const kernels[] = {&vit_quant_avx512vnni, &vit_quant_avxvnni,
                                                      &vit_quant_avx2, &vit_quant_sse2,
                                                      &vit_quant_plain};
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (can_run(kernels[i]) && index-- == 0) {
            return kernels[i];
        }
    }
    return NULL;
}

#else

const vit_quant_kernel *vit_quant_supported(size_t index) {
    return index == 0 ? &vit_quant_plain : NULL;
}

#endif

const char *vit_quant_isa(void) {
    return vit_quant_supported(0)->isa;
}

/* ---- weights ---- */

void vit_quant_weights(size_t out, size_t in, const float *weight, int8_t *q, float *scale) {
    for (size_t n = 0; n < out; n++, weight += in, q += in) {
        float most = 0;
        for (size_t k = 0; k < in; k++) {
            most = fmaxf(most, fabsf(weight[k]));
        }
        scale[n] = most / 127;
        /* In double: the inverse of a scale may be larger than a float. */
        double inverse = most > 0 ? 127 / (double)most : 0;
        for (size_t k = 0; k < in; k++) {
            q[k] = (int8_t)lrint(weight[k] * inverse);
        }
    }
}

static size_t numbers_of(const vit_quant_kernel *kernel) {
    return 4 / kernel->bytes;
}

/* Where row n begins: its lane in its panel. From a step to the next it is `columns` lanes. */
static char *lane_of(const vit_quant_matrix *m, size_t n) {
    size_t columns = m->kernel->columns;
    return m->packed + 4 * (n / columns * m->steps * columns + n % columns);
}

/* Up to 4 bytes of a row, as the kernel stores them, to a lane. */
static void put_step(const vit_quant_kernel *kernel, size_t count, const int8_t *q, char *lane) {
    if (kernel->bytes == 1) {
        memcpy(lane, q, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const int16_t word = q[i];
        memcpy(lane + i * sizeof word, &word, sizeof word);
    }
}

static int32_t sum_of(size_t in, const int8_t *q) {
    int32_t sum = 0;
    for (size_t k = 0; k < in; k++) {
        sum += q[k];
    }
    return sum;
}

/* Rows n to n + count, all of one panel, step by step, so that it is written from end to end. */
static void pack_panel(vit_quant_matrix *m, size_t n, size_t count, const int8_t *q) {
    size_t numbers = numbers_of(m->kernel), whole = m->in / numbers, rest = m->in % numbers;
    char *to = lane_of(m, n);
    for (size_t step = 0; step < whole; step++, to += 4 * m->kernel->columns) {
        const int8_t *from = q + step * numbers;
        for (size_t i = 0; i < count; i++) {
            if (numbers == 4) {
                memcpy(to + 4 * i, from + i * m->in, 4); /* of a constant size: one move */
            } else {
                put_step(m->kernel, 2, from + i * m->in, to + 4 * i);
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        const int8_t *row = q + i * m->in;
        put_step(m->kernel, rest, row + whole * numbers, to + 4 * i);
        m->sums[n + i] = sum_of(m->in, row);
    }
}

vit_status vit_quant_check_in(size_t in) {
    if (in >= 1 && in <= VIT_QUANT_MAX_IN) {
        return VIT_OK;
    }
    return vit_fail(VIT_ERROR_UNSUPPORTED,
                    "int8: a linear layer of %zu inputs (expected 1 to %d, the sums of which fit "
                    "in 32 bits)",
                    in, VIT_QUANT_MAX_IN);
}

void vit_quant_matrix_plan_on(const vit_quant_kernel *kernel, vit_quant_matrix *matrix, size_t in,
                              size_t out, vit_arena *arena) {
    size_t numbers = numbers_of(kernel);
    vit_quant_matrix *m = matrix;
    *m = (vit_quant_matrix){.kernel = kernel,
                            .in = in,
                            .out = out,
                            .steps = (in + numbers - 1) / numbers,
                            .panels = (out + kernel->columns - 1) / kernel->columns};
    size_t lanes = m->panels * kernel->columns;
    m->packed = vit_arena_take(arena, vit_size_times(lanes, m->steps), 4);
    m->scale = vit_arena_floats(arena, lanes);
    m->bias = vit_arena_floats(arena, lanes);
    m->zeros = vit_arena_floats(arena, kernel->columns);
    m->sums = vit_arena_take(arena, lanes, sizeof *m->sums);
}

void vit_quant_matrix_plan(vit_quant_matrix *matrix, size_t in, size_t out, vit_arena *arena) {
    vit_quant_matrix_plan_on(vit_quant_supported(0), matrix, in, out, arena);
}

void vit_quant_matrix_fill(vit_quant_matrix *matrix, const int8_t *q, const float *scale,
                           const float *bias) {
    vit_quant_matrix *m = matrix;
    size_t columns = m->kernel->columns;
    for (size_t n = 0; n < m->out; n += columns) {
        pack_panel(m, n, m->out - n < columns ? m->out - n : columns, q + n * m->in);
    }
    memcpy(m->scale, scale, m->out * sizeof *scale);
    if (bias) {
        memcpy(m->bias, bias, m->out * sizeof *bias);
    }
}

void vit_quant_matrix_floats(const vit_quant_matrix *matrix, float *weight) {
    const vit_quant_matrix *m = matrix;
    size_t numbers = numbers_of(m->kernel);
    for (size_t n = 0; n < m->out; n++) {
        const char *lane = lane_of(m, n);
        for (size_t k = 0; k < m->in; k++) {
            const char *at = lane + k / numbers * 4 * m->kernel->columns;
            int8_t bytes[4];
            int16_t words[2];
            memcpy(bytes, at, sizeof bytes);
            memcpy(words, at, sizeof words);
            int q = numbers == 4 ? bytes[k % 4] : words[k % 2];
            weight[n * m->in + k] = m->scale[n] * (float)q;
        }
    }
}

/* ---- products ---- */

size_t vit_quant_tile_rows(void) {
    return vit_quant_supported(0)->rows;
}

size_t vit_quant_row_bytes(size_t in) {
    size_t numbers = numbers_of(vit_quant_supported(0));
    return vit_size_times((in + numbers - 1) / numbers, 4);
}

void vit_quant_quantise(const vit_quant_matrix *matrix, size_t M, const float *x, size_t x_stride,
                        const vit_quant_rows *rows) {
    const vit_quant_kernel *kernel = matrix->kernel;
    size_t bytes = 4 * matrix->steps;
    for (size_t i = 0; i < M; i++) {
        kernel->quantise(matrix->in, x + i * x_stride, rows->values + i * bytes, &rows->scale[i],
                         &rows->zero[i]);
    }
    size_t over = M % kernel->rows ? kernel->rows - M % kernel->rows : 0;
    memset(rows->values + M * bytes, 0, over * bytes);
}

void vit_quant_rest(const vit_quant_matrix *matrix, size_t M, const float *x,
                    const vit_quant_rows *rows, float *rest) {
    size_t in = matrix->in, bytes = 4 * matrix->steps;
    for (size_t i = 0; i < M; i++, x += in, rest += in) {
        const char *values = rows->values + i * bytes;
        const uint8_t *narrow = (const uint8_t *)values;
        const int16_t *wide = (const int16_t *)(const void *)values;
        float scale = rows->scale[i];
        int32_t zero = rows->zero[i];
        if (matrix->kernel->bytes == 1) {
            for (size_t k = 0; k < in; k++) {
                rest[k] = x[k] - scale * (float)(narrow[k] - zero);
            }
        } else {
            for (size_t k = 0; k < in; k++) {
                rest[k] = x[k] - scale * (float)(wide[k] - zero);
            }
        }
    }
}

static void multiply(const vit_quant_matrix *m, size_t M, const vit_quant_rows *x, bool bias,
                     const float *add, size_t add_stride, float *y, size_t y_stride) {
    const vit_quant_kernel *kernel = m->kernel;
    size_t columns = kernel->columns;
    vit_quant_tile tile = {.steps = m->steps, .add_stride = add_stride, .y_stride = y_stride};
    /* Panel by panel: one stays in the first-level cache while the rows go by. */
    for (size_t panel = 0; panel < m->panels; panel++) {
        size_t first = panel * columns;
        tile.panel = m->packed + first * m->steps * 4;
        tile.weights = m->scale + first;
        tile.sums = m->sums + first;
        tile.bias = bias ? m->bias + first : m->zeros;
        tile.columns = m->out - first < columns ? m->out - first : columns;
        for (size_t i = 0; i < M; i += kernel->rows) {
            tile.rows = M - i < kernel->rows ? M - i : kernel->rows;
            tile.x = x->values + i * m->steps * 4;
            tile.scale = x->scale + i;
            tile.zero = x->zero + i;
            tile.add = add ? add + i * add_stride + first : NULL;
            tile.y = y + i * y_stride + first;
            kernel->multiply(&tile);
        }
    }
}

void vit_quant_multiply(const vit_quant_matrix *matrix, size_t M, const vit_quant_rows *x,
                        const float *add, size_t add_stride, float *y, size_t y_stride) {
    multiply(matrix, M, x, true, add, add_stride, y, y_stride);
}

void vit_quant_multiply_more(const vit_quant_matrix *matrix, size_t M, const vit_quant_rows *x,
                             float *y, size_t y_stride) {
    multiply(matrix, M, x, false, y, y_stride, y, y_stride);
}
