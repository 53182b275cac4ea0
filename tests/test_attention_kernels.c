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

static Suite *suite(void) {
    Suite *s = suite_create("attention kernels");
    TCase *tc = tcase_create("kernels");
    tcase_add_loop_test(tc, weighted_rows, 0, WIDTHS);
    tcase_add_test(tc, gates);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
