/* Stochastic depth: the keyed draws, and the residual connection. */
#include "support/support.h"

#include "vit/layers.h"
#include "vit/rng.h"

#include <math.h>
#include <stdlib.h>

START_TEST(rate_zero_keeps_everything) {
    for (unsigned i = 0; i < 1000; i++) {
        ck_assert_float_eq(vit_drop_path_scale(0, i, i, i, i % 48), 1);
    }
}
END_TEST

/* Branch i has the i-th number of the picture's own stream. */
START_TEST(draws_are_keyed) {
    for (unsigned epoch = 0; epoch < 3; epoch++) {
        for (unsigned long long sample = 0; sample < 50; sample++) {
            vit_rng rng = vit_rng_make(77, epoch, sample, VIT_RNG_DROP_PATH);
            for (unsigned branch = 0; branch < 24; branch++) {
                float expected = vit_rng_uniform(&rng) < 0.3 ? 0 : (float)(1 / 0.7);
                ck_assert_float_eq(vit_drop_path_scale(0.3, 77, epoch, sample, branch), expected);
            }
        }
    }
}
END_TEST

static double mean_scale(double rate, unsigned branch, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += vit_drop_path_scale(rate, 5, 1, i, branch);
    }
    return sum / (double)n;
}

START_TEST(mean_is_one) {
    const double rates[] = {0.05, 0.1, 0.5, 0.9};
    for (size_t i = 0; i < 4; i++) {
        double deviation = sqrt(rates[i] / (1 - rates[i]) / 20000);
        for (unsigned branch = 0; branch < 6; branch++) {
            ck_assert_double_eq_tol(mean_scale(rates[i], branch, 20000), 1, 4.5 * deviation);
        }
    }
}
END_TEST

/* Two branches, samples, epochs or seeds agree as often as independent coins do. */
START_TEST(draws_are_independent) {
    enum { N = 20000 };
    size_t agree[4] = {0};
    for (unsigned i = 0; i < N; i++) {
        bool kept = vit_drop_path_scale(0.5, 1, 0, i, 0) != 0;
        agree[0] += kept == (vit_drop_path_scale(0.5, 1, 0, i, 1) != 0);
        agree[1] += kept == (vit_drop_path_scale(0.5, 1, 0, i + 1, 0) != 0);
        agree[2] += kept == (vit_drop_path_scale(0.5, 1, 1, i, 0) != 0);
        agree[3] += kept == (vit_drop_path_scale(0.5, 2, 0, i, 0) != 0);
    }
    for (int i = 0; i < 4; i++) {
        ck_assert_double_eq_tol((double)agree[i], N / 2.0, 4.5 * sqrt(N / 4.0));
    }
}
END_TEST

enum { B = 3, MAX = 200 };

static void check_residual(size_t n, const float *scale) {
    float *x = random_new(1, B * n, 1), *branch = random_new(2, B * n, 1);
    float *dy = random_new(3, B * n, 1);
    float *y = filled_new(B * n, NAN), *dbranch = filled_new(B * n, NAN);
    double *expected = to_double(x, B * n), *dexpected = to_double(dy, B * n);
    for (size_t i = 0; i < B * n; i++) {
        double factor = scale ? scale[i / n] : 1;
        expected[i] += factor * branch[i];
        dexpected[i] *= factor;
        /* What a dropped branch holds cannot matter. */
        branch[i] = factor == 0 ? INFINITY : branch[i];
    }
    vit_residual_forward(B, n, x, branch, scale, y);
    check_close("y", B * n, y, expected, 1e-7);
    vit_residual_backward(B, n, dy, scale, dbranch);
    check_close("dbranch", B * n, dbranch, dexpected, 1e-7);
    vit_residual_forward(B, n, x, branch, scale, x);
    check_same_bits("y in place", B * n, x, y);
    free(x);
    free(branch);
    free(dy);
    free(y);
    free(dbranch);
    free(expected);
    free(dexpected);
}

START_TEST(residual) {
    const size_t lengths[] = {1, 5, 16, 33, MAX};
    const float kept[B] = {1.25f, 1, 2}, dropped[B] = {0, 1.25f, 0};
    for (size_t i = 0; i < 5; i++) {
        check_residual(lengths[i], NULL);
        check_residual(lengths[i], kept);
        check_residual(lengths[i], dropped);
    }
}
END_TEST

typedef struct reference {
    size_t n;
    const float *x, *scale;
    const double *cotangent;
} reference;

static double loss(void *context, const double *branch) {
    const reference *r = context;
    double sum = 0;
    for (size_t i = 0; i < B * r->n; i++) {
        sum += r->cotangent[i] * (r->x[i] + r->scale[i / r->n] * branch[i]);
    }
    return sum;
}

START_TEST(residual_gradient) {
    enum { N = 33 };
    const float scale[B] = {1.25f, 0, 2};
    float *x = random_new(1, B * N, 1), *branch = random_new(2, B * N, 1);
    float *dy = random_new(3, B * N, 1), *dbranch = filled_new(B * N, NAN);
    double *branch64 = to_double(branch, B * N), *dy64 = to_double(dy, B * N);
    reference r = {N, x, scale, dy64};
    vit_residual_backward(B, N, dy, scale, dbranch);
    check_gradient("dbranch", loss, &r, B * N, branch64, dbranch, B * N, 1e-6);
    free(x);
    free(branch);
    free(dy);
    free(dbranch);
    free(branch64);
    free(dy64);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("drop_path");
    TCase *c = tcase_create("drop_path");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, rate_zero_keeps_everything);
    tcase_add_test(c, draws_are_keyed);
    tcase_add_test(c, mean_is_one);
    tcase_add_test(c, draws_are_independent);
    tcase_add_test(c, residual);
    tcase_add_test(c, residual_gradient);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
