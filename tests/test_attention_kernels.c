/* The passes over one head by themselves, at the width that has code of its own and at others. */
#include "support/guarded.h"
#include "support/support.h"

#include "vit/attention/kernels.h"

#include <math.h>
#include <stdlib.h>

static const size_t widths[] = {1, 6, 63, 64, 65};
enum { WIDTHS = sizeof widths / sizeof *widths, TOKENS = 5, GAP = 3 };

/* ---- weighted rows ---- */

static void check_scaled(size_t d, size_t parts) {
    size_t stride = d + GAP, n = TOKENS * parts * d;
    float *x = random_new(1, TOKENS * stride, 1), *w = random_new(2, parts * TOKENS, 1);
    float *out = guarded_new(n);
    double *expected = to_double(out, n);
    const float *weights[3] = {w, w + TOKENS, w + 2 * TOKENS};
    vit_scale_rows(TOKENS, d, parts, weights, x, stride, out);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t i = 0; i < parts * d; i++) {
            expected[t * parts * d + i] =
                (double)w[i / d * TOKENS + t] * (double)x[t * stride + i % d];
        }
    }
    check_close("weighted rows", n, out, expected, 1e-7);
    guard_check("weighted rows", out, n);
    free(x);
    free(w);
    free(out);
    free(expected);
}

static void check_scaled_backward(size_t d, size_t parts) {
    size_t stride = d + GAP, dx_stride = d + 2 * GAP, n = TOKENS * dx_stride;
    float *x = random_new(1, TOKENS * stride, 1), *w = random_new(2, parts * TOKENS, 1);
    float *P = random_new(3, TOKENS * parts * d, 1);
    float *dx = filled_new(n, 7), *dw = guarded_new(parts * TOKENS);
    double *dx_expected = to_double(dx, n), *dw_expected = to_double(w, parts * TOKENS);
    const float *weights[3] = {w, w + TOKENS, w + 2 * TOKENS};
    float *const dweights[3] = {dw, dw + TOKENS, dw + 2 * TOKENS};
    vit_scale_rows_backward(TOKENS, d, parts, weights, x, stride, P, dx, dx_stride, dweights);
    for (size_t t = 0; t < TOKENS; t++) {
        for (size_t j = 0; j < d; j++) {
            dx_expected[t * dx_stride + j] = 0;
        }
        for (size_t p = 0; p < parts; p++) {
            double sum = 0;
            for (size_t j = 0; j < d; j++) {
                double from = (double)P[(t * parts + p) * d + j];
                sum += from * (double)x[t * stride + j];
                dx_expected[t * dx_stride + j] += from * (double)w[p * TOKENS + t];
            }
            dw_expected[p * TOKENS + t] = sum;
        }
    }
    check_close("gradient of the rows", n, dx, dx_expected, 1e-6);
    check_close("gradient of the weights", parts * TOKENS, dw, dw_expected, 1e-6);
    guard_check("gradient of the weights", dw, parts * TOKENS);
    free(x);
    free(w);
    free(P);
    free(dx);
    free(dw);
    free(dx_expected);
    free(dw_expected);
}

START_TEST(weighted_rows) {
    for (size_t parts = 1; parts <= 3; parts++) {
        check_scaled(widths[_i], parts);
        check_scaled_backward(widths[_i], parts);
    }
}
END_TEST

/* ---- gates ---- */

static void check_gates(bool zero_order) {
    size_t parts = zero_order ? 3 : 2, stride = 3 + GAP;
    float *gate = random_new(4, TOKENS * stride, 2), *value = guarded_new(parts * TOKENS);
    float *dvalue = random_new(5, parts * TOKENS, 1), *dgate = filled_new(TOKENS * stride, 7);
    double *expected = to_double(value, parts * TOKENS),
           *dexpected = to_double(dgate, TOKENS * stride);
    vit_gates_forward(TOKENS, gate, stride, zero_order, value);
    vit_gates_backward(TOKENS, zero_order, value, dvalue, dgate, stride);
    for (size_t t = 0; t < TOKENS; t++) {
        dexpected[t * stride + 2] = 0;
        for (size_t p = 0; p < parts; p++) {
            double g = (double)gate[t * stride + p], y = p == 2 ? tanh(g) : 1 / (1 + exp(-g));
            expected[p * TOKENS + t] = y;
            dexpected[t * stride + p] =
                (double)dvalue[p * TOKENS + t] * (p == 2 ? 1 - y * y : y * (1 - y));
        }
    }
    check_close("gates", parts * TOKENS, value, expected, 2e-7);
    check_close("gradient of the gates", TOKENS * stride, dgate, dexpected, 1e-6);
    guard_check("gates", value, parts * TOKENS);
    free(gate);
    free(value);
    free(dvalue);
    free(dgate);
    free(expected);
    free(dexpected);
}

START_TEST(gates) {
    check_gates(false);
    check_gates(true);
}
END_TEST

/* ---- unit rows ---- */

/* u = x / max(||x||, eps), and dx = (du - (u . du) u) / ||x||, or du / eps where eps is the more.
 */
static void check_unit(size_t d) {
    size_t stride = d + GAP, n = TOKENS * stride;
    vit_attention attention = {.d = d};
    float *x = random_new(6, n, 1), *dx = random_new(7, n, 1), *inverse = guarded_new(TOKENS);
    for (size_t i = 0; i < stride; i++) {
        x[stride + i] *= 0.1f * VIT_UNIT_EPS / (float)d; /* too short a row */
        x[2 * stride + i] = 0;
    }
    double *expected = to_double(x, n), *dexpected = to_double(dx, n), lengths[TOKENS];
    for (size_t t = 0; t < TOKENS; t++) {
        double *row = expected + t * stride, *drow = dexpected + t * stride;
        double eps = (double)VIT_UNIT_EPS, square = 0, along = 0;
        for (size_t j = 0; j < d; j++) {
            square += row[j] * row[j];
        }
        lengths[t] = fmax(sqrt(square), eps);
        for (size_t j = 0; j < d; j++) {
            row[j] /= lengths[t];
            along += lengths[t] > eps ? row[j] * drow[j] : 0;
        }
        for (size_t j = 0; j < d; j++) {
            drow[j] = (drow[j] - along * row[j]) / lengths[t];
        }
    }
    vit_turn_unit_forward(&attention, 0, TOKENS, x, stride, inverse);
    vit_turn_unit_backward(&attention, 0, TOKENS, x, inverse, dx, stride);
    guard_check("inverse lengths", inverse, TOKENS);
    for (size_t t = 0; t < TOKENS; t++) {
        double length = 1 / (double)inverse[t];
        ck_assert_double_eq_tol(length, lengths[t], 1e-6 * lengths[t]);
        check_close("unit row", stride, x + t * stride, expected + t * stride, 1e-6);
        /* What is left along a row of one float is rounding. */
        if (d > 1 || t == 1 || t == 2) {
            check_close("its gradient", d, dx + t * stride, dexpected + t * stride, 1e-6);
        }
    }
    free(x);
    free(dx);
    free(inverse);
    free(expected);
    free(dexpected);
}

START_TEST(unit_rows) {
    check_unit(widths[_i]);
}
END_TEST

/* ---- cutting a block ---- */

START_TEST(carving) {
    const size_t sizes[] = {3, 0, 5, 2};
    float block[10], *a, *b, *c, *d;
    float **const fields[] = {&a, &b, &c, &d};
    ck_assert_uint_eq(vit_carve(4, sizes, fields, block), 10);
    ck_assert(a == block && b == block + 3 && c == block + 3 && d == block + 8);
    ck_assert_uint_eq(vit_carve(4, sizes, fields, NULL), 10);
    ck_assert(!a && !b && !c && !d);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("attention kernels");
    TCase *tc = tcase_create("kernels");
    tcase_add_loop_test(tc, weighted_rows, 0, WIDTHS);
    tcase_add_test(tc, gates);
    tcase_add_loop_test(tc, unit_rows, 0, WIDTHS);
    tcase_add_test(tc, carving);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
