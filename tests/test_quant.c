/* int8 linear layers: what quantising loses, and products of every instruction set that this
 * processor has against a double reference and against each other, bit by bit. */
#include "support/support.h"

#include "vit/quant_table.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- weights ---- */

static void check_weights(size_t out, size_t in, const float *weight) {
    int8_t *q = malloc(out * in);
    float *scale = malloc(out * sizeof *scale);
    vit_quant_weights(out, in, weight, q, scale);
    for (size_t n = 0; n < out; n++) {
        double most = 0;
        int largest = 0;
        for (size_t k = 0; k < in; k++) {
            double w = weight[n * in + k], error = fabs(w - (double)scale[n] * q[n * in + k]);
            ck_assert_double_le(error, 0.5 * scale[n] * (1 + 1e-5));
            most = fmax(most, fabs(w));
            largest = abs(q[n * in + k]) > largest ? abs(q[n * in + k]) : largest;
        }
        ck_assert_int_eq(largest, most > 0 ? 127 : 0);
        ck_assert_float_eq(scale[n], (float)most / 127);
    }
    free(q);
    free(scale);
}

START_TEST(weights_are_off_by_half_a_step_at_most) {
    static const size_t sizes[][2] = {{1, 1}, {3, 5}, {7, 192}, {48, 17}};
    for (size_t i = 0; i < 4; i++) {
        size_t out = sizes[i][0], in = sizes[i][1];
        float *weight = random_new(i, out * in, pow(10, (double)i - 2));
        check_weights(out, in, weight);
        free(weight);
    }
    const float rows[] = {0, 0, 0, FLT_MAX, -FLT_MAX, 1, -1e-30f, 0, 1e-31f, -2, 1, 0.5f};
    check_weights(4, 3, rows);
}
END_TEST

/* ---- rows ---- */

static const size_t widths[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 192, 777};
enum { WIDTHS = sizeof widths / sizeof *widths };

static int number_at(const vit_quant_kernel *kernel, const char *values, size_t k) {
    int16_t word;
    if (kernel->bytes == 1) {
        return ((const uint8_t *)values)[k];
    }
    memcpy(&word, values + k * sizeof word, sizeof word);
    return word;
}

typedef struct quantised {
    char values[4 * 1024];
    float scale;
    int32_t zero;
} quantised;

static void check_row(size_t K, const float *x) {
    quantised first;
    float least = 0, most = 0;
    for (size_t k = 0; k < K; k++) {
        least = fminf(least, x[k]);
        most = fmaxf(most, x[k]);
    }
    for (size_t i = 0; vit_quant_supported(i); i++) {
        const vit_quant_kernel *kernel = vit_quant_supported(i);
        quantised q;
        memset(q.values, 0x55, sizeof q.values);
        kernel->quantise(K, x, q.values, &q.scale, &q.zero);
        first = i == 0 ? q : first;
        ck_assert_mem_eq(&q.scale, &first.scale, sizeof q.scale);
        ck_assert_int_eq(q.zero, first.zero);
        ck_assert_double_le(fabs((double)q.scale * 254 - ((double)most - least)),
                            1e-6 * ((double)most - least));
        for (size_t k = 0; k < K; k++) {
            int u = number_at(kernel, q.values, k);
            ck_assert_int_ge(u, 0);
            ck_assert_int_le(u, 255);
            ck_assert_int_eq(u, number_at(vit_quant_supported(0), first.values, k));
            ck_assert_double_le(fabs(x[k] - (double)q.scale * (u - q.zero)),
                                0.5 * (double)q.scale * (1 + 1e-4));
        }
        size_t numbers = 4 / kernel->bytes;
        for (size_t k = K; k % numbers != 0; k++) {
            ck_assert_int_eq(number_at(kernel, q.values, k), 0);
        }
        ck_assert_int_eq(q.values[(K + numbers - 1) / numbers * 4], 0x55);
    }
}

START_TEST(rows_are_off_by_half_a_step_at_most) {
    for (size_t i = 0; i < WIDTHS; i++) {
        size_t K = widths[i];
        float *x = random_new(40 + i, K, pow(10, (double)i - 5));
        check_row(K, x);
        for (size_t k = 0; k < K; k++) {
            x[k] = fabsf(x[k]) + 3;
        }
        check_row(K, x);
        for (size_t k = 0; k < K; k++) {
            x[k] = k % 2 ? -x[k] : -1;
        }
        check_row(K, x);
        free(x);
    }
    const float halves[] = {-127, 127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 126.5f};
    check_row(9, halves);
    const float huge[] = {1.5e38f, -1.5e38f, 1e38f, 0, -0.0f};
    check_row(5, huge);
}
END_TEST

/* Of a row of K ones the last is x. */
static quantised row_with(const vit_quant_kernel *kernel, size_t K, float x) {
    quantised q;
    float *row = filled_new(K, 1);
    row[K - 1] = x;
    kernel->quantise(K, row, q.values, &q.scale, &q.zero);
    free(row);
    return q;
}

START_TEST(rows_of_zeros_and_of_what_is_not_finite) {
    for (size_t i = 0; vit_quant_supported(i); i++) {
        const vit_quant_kernel *kernel = vit_quant_supported(i);
        const float none[] = {0, -0.0f, 0, FLT_TRUE_MIN, -1e-38f};
        quantised q;
        memset(q.values, 0x55, sizeof q.values);
        kernel->quantise(5, none, q.values, &q.scale, &q.zero);
        ck_assert_float_eq(q.scale, 0);
        ck_assert_int_eq(q.zero, 0);
        for (size_t k = 0; k < 5; k++) {
            ck_assert_int_eq(number_at(kernel, q.values, k), 0);
        }
        for (size_t w = 0; w < WIDTHS; w++) {
            ck_assert(isnan(row_with(kernel, widths[w], NAN).scale));
            ck_assert(isnan(row_with(kernel, widths[w], -NAN).scale));
            ck_assert(isnan(row_with(kernel, widths[w], INFINITY).scale));
            ck_assert(isnan(row_with(kernel, widths[w], -INFINITY).scale));
            ck_assert(isfinite(row_with(kernel, widths[w], FLT_MAX).scale));
        }
        /* Each end is finite, their distance is not. */
        const float wide[] = {FLT_MAX, -FLT_MAX};
        kernel->quantise(2, wide, q.values, &q.scale, &q.zero);
        ck_assert(isnan(q.scale));
    }
}
END_TEST

/* ---- products ---- */

/* A matrix and its memory. */
typedef struct packed {
    vit_quant_matrix matrix;
    vit_arena arena;
} packed;

static packed packed_new(const vit_quant_kernel *kernel, size_t in, size_t out, const int8_t *q,
                         const float *scale, const float *bias) {
    packed p = {.arena = {0}};
    vit_quant_matrix_plan_on(kernel, &p.matrix, in, out, &p.arena);
    ck_vit_ok(vit_arena_allocate(&p.arena, "int8 weights"));
    vit_quant_matrix_plan_on(kernel, &p.matrix, in, out, &p.arena);
    vit_quant_matrix_fill(&p.matrix, q, scale, bias);
    return p;
}

typedef struct product {
    size_t M, in, out;
    float *x, *scale, *bias, *add; /* (M,in) (out) (out) (M,out) */
    int8_t *q;                     /* (out,in) */
} product;

static product product_new(size_t M, size_t in, size_t out, unsigned long long seed) {
    product p = {.M = M, .in = in, .out = out};
    p.x = random_new(seed, M * in, 2);
    p.bias = random_new(seed + 1, out, 1);
    p.add = random_new(seed + 2, M * out, 1);
    p.scale = random_new(seed + 3, out, 0.01);
    p.q = malloc(out * in);
    float *random = random_new(seed + 4, out * in, 60);
    for (size_t i = 0; i < out * in; i++) {
        p.q[i] = (int8_t)fmaxf(-127, fminf(127, random[i]));
    }
    for (size_t n = 0; n < out; n++) {
        p.scale[n] = fabsf(p.scale[n]);
    }
    free(random);
    return p;
}

static void product_free(product *p) {
    free(p->x);
    free(p->bias);
    free(p->add);
    free(p->scale);
    free(p->q);
}

static vit_quant_rows rows_new(size_t M, size_t in) {
    size_t room = M + 16; /* whole tiles */
    return (vit_quant_rows){.values = calloc(room, 2 * in + 4),
                            .scale = calloc(room, sizeof(float)),
                            .zero = calloc(room, sizeof(int32_t))};
}

static void rows_free(vit_quant_rows *rows) {
    free(rows->values);
    free(rows->scale);
    free(rows->zero);
}

enum { GAP = 3 }; /* columns of y beyond those written, which stay NaN */

static float *run_on(const vit_quant_kernel *kernel, const product *p, bool bias, bool add) {
    size_t stride = p->out + GAP;
    float *y = filled_new(p->M * stride, NAN);
    vit_quant_rows rows = rows_new(p->M, p->in);
    packed w = packed_new(kernel, p->in, p->out, p->q, p->scale, bias ? p->bias : NULL);
    vit_quant_quantise(&w.matrix, p->M, p->x, p->in, &rows);
    vit_quant_multiply(&w.matrix, p->M, &rows, add ? p->add : NULL, p->out, y, stride);
    vit_arena_free(&w.arena);
    rows_free(&rows);
    return y;
}

/* sum (u - z) q, exactly, and then in double. */
static void check_against_double(const product *p, bool bias, bool add, const float *y) {
    const vit_quant_kernel *kernel = vit_quant_supported(0);
    quantised row;
    for (size_t m = 0; m < p->M; m++) {
        kernel->quantise(p->in, p->x + m * p->in, row.values, &row.scale, &row.zero);
        for (size_t n = 0; n < p->out; n++) {
            long long sum = 0;
            for (size_t k = 0; k < p->in; k++) {
                sum +=
                    (long long)(number_at(kernel, row.values, k) - row.zero) * p->q[n * p->in + k];
            }
            double part = (double)row.scale * (double)p->scale[n] * (double)sum;
            double b = bias ? (double)p->bias[n] : 0, a = add ? (double)p->add[m * p->out + n] : 0;
            double size = fabs(part) + fabs(b) + fabs(a);
            ck_assert_double_le(fabs((double)y[m * (p->out + GAP) + n] - (part + b + a)),
                                3e-7 * size);
        }
        for (size_t n = p->out; n < p->out + GAP; n++) {
            ck_assert(isnan(y[m * (p->out + GAP) + n]));
        }
    }
}

static void check_product(size_t M, size_t in, size_t out, bool bias, bool add) {
    product p = product_new(M, in, out, M * 1000 + in * 10 + out);
    float *first = run_on(vit_quant_supported(0), &p, bias, add);
    check_against_double(&p, bias, add, first);
    for (size_t i = 1; vit_quant_supported(i); i++) {
        float *y = run_on(vit_quant_supported(i), &p, bias, add);
        ck_assert_msg(memcmp(y, first, M * (out + GAP) * sizeof *y) == 0,
                      "%s and %s differ for %zu x %zu x %zu", vit_quant_supported(i)->isa,
                      vit_quant_supported(0)->isa, M, in, out);
        free(y);
    }
    free(first);
    product_free(&p);
}

START_TEST(products_are_those_of_integers) {
    static const size_t outs[] = {1, 7, 8, 16, 17, 47, 48, 49, 100};
    for (size_t i = 0; i < WIDTHS; i++) {
        for (size_t j = 0; j < sizeof outs / sizeof *outs; j++) {
            check_product(1 + (i + j) % 19, widths[i], outs[j], i % 2 == 0, j % 2 == 0);
        }
    }
}
END_TEST

/* Of every number of rows, to and past a tile. */
START_TEST(any_number_of_rows) {
    for (size_t M = 1; M <= 20; M++) {
        check_product(M, 21, 50, true, M % 2 == 0);
    }
}
END_TEST

/* As many inputs as may be, of the largest numbers: vpmaddubsw would saturate with the first two,
 * and one more would not fit in 32 bits. */
START_TEST(the_largest_sums_fit) {
    enum { IN = VIT_QUANT_MAX_IN, OUT = 3 };
    int8_t *q = malloc((size_t)OUT * IN);
    float *x = filled_new(IN, 254);
    const float scale[OUT] = {1, 1, 1};
    memset(q, 127, IN);
    memset(q + IN, -127, IN);
    for (size_t k = 0; k < IN; k++) {
        q[2 * (size_t)IN + k] = k % 2 ? 127 : -127;
    }
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (size_t i = 0; vit_quant_supported(i); i++) {
            vit_quant_rows rows = rows_new(1, IN);
            float y[OUT];
            packed w = packed_new(vit_quant_supported(i), IN, OUT, q, scale, NULL);
            vit_quant_quantise(&w.matrix, 1, x, IN, &rows);
            vit_quant_multiply(&w.matrix, 1, &rows, NULL, 0, y, OUT);
            ck_assert_float_eq(y[0], (float)(sign * 254.0 * 127 * IN));
            ck_assert_float_eq(y[1], (float)(-sign * 254.0 * 127 * IN));
            ck_assert_float_eq(y[2], 0);
            vit_arena_free(&w.arena);
            rows_free(&rows);
        }
        for (size_t k = 0; k < IN; k++) {
            x[k] = -254;
        }
    }
    free(q);
    free(x);
}
END_TEST

START_TEST(a_row_that_is_not_finite_stays_so) {
    for (size_t i = 0; vit_quant_supported(i); i++) {
        product p = product_new(9, 20, 30, 5);
        p.x[3 * 20 + 7] = NAN;
        p.x[4 * 20] = -INFINITY;
        memset(p.x + (size_t)5 * 20, 0, 20 * sizeof *p.x);
        float *y = run_on(vit_quant_supported(i), &p, true, false);
        for (size_t m = 0; m < 9; m++) {
            for (size_t n = 0; n < 30; n++) {
                float value = y[m * (30 + GAP) + n];
                ck_assert((m == 3 || m == 4) == (isnan(value) != 0));
                ck_assert(m != 5 || value == p.bias[n]);
            }
        }
        free(y);
        product_free(&p);
    }
}
END_TEST

/* x in two terms is as good as 16 bits. */
START_TEST(what_was_lost_can_be_added) {
    enum { M = 11, IN = 45, OUT = 19 };
    float *first = NULL;
    for (size_t i = 0; vit_quant_supported(i); i++) {
        product p = product_new(M, IN, OUT, 77);
        vit_quant_rows rows = rows_new(M, IN);
        float *y = filled_new((size_t)M * OUT, NAN), *rest = filled_new((size_t)M * IN, NAN);
        packed w = packed_new(vit_quant_supported(i), IN, OUT, p.q, p.scale, p.bias);
        vit_quant_quantise(&w.matrix, M, p.x, IN, &rows);
        vit_quant_multiply(&w.matrix, M, &rows, NULL, 0, y, OUT);
        vit_quant_rest(&w.matrix, M, p.x, &rows, rest);
        for (size_t j = 0; j < (size_t)M * IN; j++) {
            ck_assert_float_le(fabsf(rest[j]), 0.5001f * rows.scale[j / IN]);
        }
        vit_quant_quantise(&w.matrix, M, rest, IN, &rows);
        vit_quant_multiply_more(&w.matrix, M, &rows, y, OUT);
        for (size_t m = 0; m < M; m++) {
            for (size_t n = 0; n < OUT; n++) {
                double sum = 0, size = 0;
                for (size_t k = 0; k < IN; k++) {
                    double term = (double)p.scale[n] * p.q[n * IN + k] * (double)p.x[m * IN + k];
                    sum += term;
                    size += fabs(term);
                }
                ck_assert_double_le(fabs(sum + (double)p.bias[n] - (double)y[m * OUT + n]),
                                    3e-5 * size + 1e-6);
            }
        }
        first = first ? first : y;
        ck_assert_mem_eq(first, y, sizeof(float) * M * OUT);
        if (y != first) {
            free(y);
        }
        free(rest);
        vit_arena_free(&w.arena);
        rows_free(&rows);
        product_free(&p);
    }
    free(first);
}
END_TEST

START_TEST(weights_come_back_as_floats) {
    for (size_t i = 0; vit_quant_supported(i); i++) {
        product p = product_new(1, 23, 50, 9);
        float *back = filled_new((size_t)23 * 50, NAN);
        packed w = packed_new(vit_quant_supported(i), 23, 50, p.q, p.scale, NULL);
        vit_quant_matrix_floats(&w.matrix, back);
        for (size_t j = 0; j < (size_t)23 * 50; j++) {
            ck_assert_float_eq(back[j], p.scale[j / 23] * (float)p.q[j]);
        }
        vit_arena_free(&w.arena);
        free(back);
        product_free(&p);
    }
}
END_TEST

START_TEST(too_many_inputs_are_refused) {
    const size_t wrong[] = {0, VIT_QUANT_MAX_IN + 1};
    for (size_t i = 0; i < 2; i++) {
        ck_vit_fails(vit_quant_check_in(wrong[i]), VIT_ERROR_UNSUPPORTED, "expected 1 to 65536");
    }
    ck_vit_ok(vit_quant_check_in(1));
    ck_vit_ok(vit_quant_check_in(VIT_QUANT_MAX_IN));
}
END_TEST

START_TEST(the_fastest_kernel_is_in_use) {
    ck_assert_str_eq(vit_quant_isa(), vit_quant_supported(0)->isa);
    ck_assert_uint_eq(vit_quant_tile_rows(), vit_quant_supported(0)->rows);
    size_t count = 0;
    while (vit_quant_supported(count)) {
        count++;
    }
    ck_assert_str_eq(vit_quant_supported(count - 1)->isa, "plain");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quant");
    TCase *tc = tcase_create("quant");
    tcase_add_test(tc, weights_are_off_by_half_a_step_at_most);
    tcase_add_test(tc, rows_are_off_by_half_a_step_at_most);
    tcase_add_test(tc, rows_of_zeros_and_of_what_is_not_finite);
    tcase_add_test(tc, products_are_those_of_integers);
    tcase_add_test(tc, any_number_of_rows);
    tcase_add_test(tc, the_largest_sums_fit);
    tcase_add_test(tc, a_row_that_is_not_finite_stays_so);
    tcase_add_test(tc, what_was_lost_can_be_added);
    tcase_add_test(tc, weights_come_back_as_floats);
    tcase_add_test(tc, too_many_inputs_are_refused);
    tcase_add_test(tc, the_fastest_kernel_is_in_use);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
