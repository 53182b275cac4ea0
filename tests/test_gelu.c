/* GELU against erfc in double precision. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>

static double gelu(double x) {
    return x * 0.5 * erfc(-x * M_SQRT1_2);
}

static double gelu_slope(double x) {
    return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI);
}

typedef struct reference {
    size_t n;
    const double *cotangent;
} reference;

static double loss(void *context, const double *x) {
    const reference *r = context;
    double sum = 0;
    for (size_t i = 0; i < r->n; i++) {
        sum += r->cotangent[i] * gelu(x[i]);
    }
    return sum;
}

static void check_length(size_t n) {
    float *x = random_new(n, n, 2), *dy = random_new(n + 1, n, 1);
    float *y = filled_new(n, NAN), *dx = filled_new(n, NAN);
    double *xd = to_double(x, n), *dyd = to_double(dy, n), *expected = to_double(y, n);
    vit_gelu_forward(n, x, y);
    for (size_t i = 0; i < n; i++) {
        expected[i] = gelu(xd[i]);
    }
    check_close("y", n, y, expected, 5e-7);
    float *y_again = filled_new(n, NAN);
    vit_gelu_backward(n, x, dy, dx, y_again);
    check_same_bits("y again", n, y_again, y);
    reference r = {n, dyd};
    check_gradient("dx", loss, &r, n, xd, dx, 50, 1e-6);
    /* dx may be dy, and y may be x. */
    vit_gelu_backward(n, x, dy, dy, y_again);
    check_same_bits("dx in place", n, dy, dx);
    vit_gelu_forward(n, x, x);
    check_same_bits("y in place", n, x, y);
    free(x);
    free(dy);
    free(y);
    free(y_again);
    free(dx);
    free(xd);
    free(dyd);
    free(expected);
}

START_TEST(lengths) {
    const size_t all[] = {1, 2, 5, 15, 16, 17, 33, 511, 512, 513, 1025, 20000};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check_length(all[i]);
    }
}
END_TEST

/* Point by point, because a norm would hide a bad stretch where the values are small. The relative
 * error grows with x^2, as that of the exponential does. */
START_TEST(every_point) {
    enum { N = 60001 };
    float *x = filled_new(N, 0), *y = filled_new(N, NAN), *dx = filled_new(N, NAN);
    float *ones = filled_new(N, 1);
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i - N / 2) / 1000;
    }
    vit_gelu_forward(N, x, y);
    vit_gelu_backward(N, x, ones, dx, y);
    for (size_t i = 0; i < N; i++) {
        double bound = (5e-7 + 6e-8 * x[i] * x[i]) * fabs(gelu(x[i])) + 1e-37;
        if (!(fabs(y[i] - gelu(x[i])) <= bound)) {
            ck_abort_msg("gelu(%g) = %.9g, expected %.9g", (double)x[i], (double)y[i], gelu(x[i]));
        }
        if (!(fabs(dx[i] - gelu_slope(x[i])) <= 2.5e-7)) {
            ck_abort_msg("gelu'(%g) = %.9g, expected %.9g", (double)x[i], (double)dx[i],
                         gelu_slope(x[i]));
        }
    }
    free(x);
    free(y);
    free(dx);
    free(ones);
}
END_TEST

START_TEST(extremes) {
    const float x[] = {0, -0.0f, 30, -30, 1e4f, -1e4f, 1e20f, -1e20f, 1e-40f, -1e-40f};
    const float expected[] = {0, 0, 30, 0, 1e4f, 0, 1e20f, 0, 5e-41f, -5e-41f};
    const float slope[] = {0.5f, 0.5f, 1, 0, 1, 0, 1, 0, 0.5f, 0.5f};
    enum { N = sizeof x / sizeof *x };
    float y[N], dx[N], ones[N];
    for (size_t i = 0; i < N; i++) {
        ones[i] = 1;
    }
    vit_gelu_forward(N, x, y);
    vit_gelu_backward(N, x, ones, dx, y);
    for (size_t i = 0; i < N; i++) {
        ck_assert(fabsf(y[i] - expected[i]) <= 1e-44f);
        ck_assert_float_eq_tol(dx[i], slope[i], 3e-7f);
    }
    float nan = NAN, out = 0, one = 1;
    vit_gelu_forward(1, &nan, &out);
    ck_assert(isnan(out));
    float again = 0;
    vit_gelu_backward(1, &nan, &one, &out, &again);
    ck_assert(isnan(out) && isnan(again));
}
END_TEST

START_TEST(threads_do_not_change_bits) {
    enum { N = 50001 };
    float *x = random_new(1, N, 2), *shared = filled_new(N, NAN), *alone = filled_new(N, NAN);
    vit_gelu_forward(N, x, shared);
#pragma omp parallel num_threads(1)
    vit_gelu_forward(N, x, alone);
    check_same_bits("y", N, shared, alone);
    free(x);
    free(shared);
    free(alone);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("gelu");
    TCase *c = tcase_create("gelu");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, lengths);
    tcase_add_test(c, every_point);
    tcase_add_test(c, extremes);
    tcase_add_test(c, threads_do_not_change_bits);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
