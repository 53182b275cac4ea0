#include "vit/quant.h"

#include "vit/arena.h"
#include "vit/heap.h"
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

/* Where number k of row n is in a packed matrix, in numbers. */
static size_t place(const vit_quant_matrix *m, size_t n, size_t k) {
    const vit_quant_kernel *kernel = m->kernel;
    size_t numbers = 4 / kernel->bytes;
    size_t lane = (n / kernel->columns * m->steps + k / numbers) * kernel->columns;
    return (lane + n % kernel->columns) * numbers + k % numbers;
}

static void pack_row(vit_quant_matrix *m, size_t n, const int8_t *q) {
    size_t numbers = 4 / m->kernel->bytes, columns = m->kernel->columns;
    int32_t sum = 0;
    char *to = m->packed + place(m, n, 0) * m->kernel->bytes;
    for (size_t k = 0; k < m->in; k += numbers, to += 4 * columns) {
        size_t count = m->in - k < numbers ? m->in - k : numbers;
        int8_t bytes[4] = {0};
        int16_t words[2] = {0};
        for (size_t i = 0; i < count; i++) {
            sum += q[k + i];
            bytes[i] = q[k + i];
            words[i % 2] = q[k + i];
        }
        memcpy(to, m->kernel->bytes == 1 ? (void *)bytes : (void *)words, 4);
    }
    m->sums[n] = sum;
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

vit_status vit_quant_matrix_init_on(const vit_quant_kernel *kernel, vit_quant_matrix *m, size_t in,
                                    size_t out, const int8_t *q, const float *scale,
                                    const float *bias) {
    vit_status status = VIT_OK;
    *m = (vit_quant_matrix){0};
    VIT_TRY(vit_quant_check_in(in));
    size_t numbers = 4 / kernel->bytes;
    *m = (vit_quant_matrix){.kernel = kernel,
                            .in = in,
                            .out = out,
                            .steps = (in + numbers - 1) / numbers,
                            .panels = (out + kernel->columns - 1) / kernel->columns};
    size_t lanes = m->panels * kernel->columns;
    VIT_TRY(vit_alloc((void **)&m->packed, vit_size_times(lanes, m->steps), 4, "int8 weights"));
    VIT_TRY(vit_alloc((void **)&m->scale, lanes, sizeof *m->scale, "int8 scales"));
    VIT_TRY(vit_alloc((void **)&m->bias, lanes, sizeof *m->bias, "int8 biases"));
    VIT_TRY(vit_alloc((void **)&m->zeros, kernel->columns, sizeof *m->zeros, "int8 biases"));
    VIT_TRY(vit_alloc((void **)&m->sums, lanes, sizeof *m->sums, "int8 sums"));
    for (size_t n = 0; n < out; n++) {
        pack_row(m, n, q + n * in);
    }
    memcpy(m->scale, scale, out * sizeof *scale);
    if (bias) {
        memcpy(m->bias, bias, out * sizeof *bias);
    }
cleanup:
    if (status != VIT_OK) {
        vit_quant_matrix_free(m);
    }
    return status;
}

vit_status vit_quant_matrix_init(vit_quant_matrix *matrix, size_t in, size_t out, const int8_t *q,
                                 const float *scale, const float *bias) {
    return vit_quant_matrix_init_on(vit_quant_supported(0), matrix, in, out, q, scale, bias);
}

void vit_quant_matrix_free(vit_quant_matrix *matrix) {
    vit_free(matrix->packed);
    vit_free(matrix->scale);
    vit_free(matrix->bias);
    vit_free(matrix->zeros);
    vit_free(matrix->sums);
    *matrix = (vit_quant_matrix){0};
}

size_t vit_quant_matrix_bytes(const vit_quant_matrix *matrix) {
    size_t lanes = matrix->panels * matrix->kernel->columns;
    return lanes * (4 * matrix->steps + 2 * sizeof(float) + sizeof(int32_t));
}

void vit_quant_matrix_floats(const vit_quant_matrix *matrix, float *weight) {
    const vit_quant_matrix *m = matrix;
    for (size_t n = 0; n < m->out; n++) {
        for (size_t k = 0; k < m->in; k++) {
            const char *at = m->packed + place(m, n, k) * m->kernel->bytes;
            int16_t word = 0;
            int8_t byte = 0;
            if (m->kernel->bytes == 1) {
                memcpy(&byte, at, sizeof byte);
            } else {
                memcpy(&word, at, sizeof word);
            }
            weight[n * m->in + k] = m->scale[n] * (float)(byte + word);
        }
    }
}

/* ---- products ---- */

size_t vit_quant_tile_rows(void) {
    return vit_quant_supported(0)->rows;
}

size_t vit_quant_row_bytes(size_t in) {
    size_t numbers = 4 / vit_quant_supported(0)->bytes;
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
