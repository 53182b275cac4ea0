/* Rotary tables and rotation against the formulas. */
#include "support/support.h"

#include "vit/attention/rope.h"

#include <math.h>
#include <stdlib.h>

static void check_angle(const float *cosine, const float *sine, size_t at, double angle) {
    ck_assert_msg(fabs((double)cosine[at] - cos(angle)) < 1e-7 &&
                      fabs((double)sine[at] - sin(angle)) < 1e-7,
                  "entry %zu is (%g, %g), expected the angle %g", at, (double)cosine[at],
                  (double)sine[at], angle);
}

START_TEST(table_1d) {
    enum { N = 7, D = 10 };
    float cosine[N * D / 2], sine[N * D / 2];
    vit_rope_table(VIT_ROPE_1D, N, 1, 2, 3, D, cosine, sine);
    for (size_t t = 0; t < N; t++) { /* the prefix has a position too */
        for (size_t j = 0; j < D / 2; j++) {
            check_angle(cosine, sine, t * (D / 2) + j,
                        (double)t * pow(10000, -2.0 * (double)j / D));
        }
    }
}
END_TEST

START_TEST(table_2d) {
    enum { H = 3, W = 5, D = 12, PAIRS = D / 2, QUARTER = D / 4 };
    size_t prefix = (size_t)_i, N = prefix + H * W;
    float *cosine = filled_new(N * PAIRS, NAN), *sine = filled_new(N * PAIRS, NAN);
    vit_rope_table(VIT_ROPE_2D, N, prefix, H, W, D, cosine, sine);
    for (size_t t = 0; t < N; t++) {
        for (size_t j = 0; j < PAIRS; j++) {
            double place = 0;
            if (t >= prefix) {
                place = (double)(j < QUARTER ? (t - prefix) / W : (t - prefix) % W);
            }
            check_angle(cosine, sine, t * PAIRS + j,
                        place * pow(100, -(double)(j % QUARTER) / QUARTER));
        }
    }
    free(cosine);
    free(sine);
}
END_TEST

/* Rows lie apart; what is between them is nobody's. */
START_TEST(rotation) {
    enum { N = 6, D = 36, STRIDE = D + 5, PAIRS = D / 2 };
    float table[2][(N + 1) * PAIRS];
    vit_rope_table(VIT_ROPE_1D, N + 1, 0, 0, 0, D, table[0], table[1]);
    const float *cosine = table[0] + PAIRS, *sine = table[1] + PAIRS; /* the first row turns too */
    float *x = random_new(1, N * STRIDE, 1);
    double *original = to_double(x, N * STRIDE), *expected = to_double(x, N * STRIDE);
    for (size_t t = 0; t < N; t++) {
        for (size_t j = 0; j < PAIRS; j++) {
            double angle = (double)(t + 1) * pow(10000, -(double)j / PAIRS);
            double a = original[t * STRIDE + j], b = original[t * STRIDE + j + PAIRS];
            expected[t * STRIDE + j] = a * cos(angle) - b * sin(angle);
            expected[t * STRIDE + j + PAIRS] = b * cos(angle) + a * sin(angle);
        }
    }
    vit_rope_apply(N, D, cosine, sine, false, x, STRIDE);
    check_close("turned", N * STRIDE, x, expected, 1e-7);
    for (size_t t = 0; t < N; t++) {
        for (size_t j = D; j < STRIDE; j++) {
            ck_assert((double)x[t * STRIDE + j] == original[t * STRIDE + j]);
        }
    }
    vit_rope_apply(N, D, cosine, sine, true, x, STRIDE);
    check_close("turned back", N * STRIDE, x, original, 2e-7);
    free(x);
    free(original);
    free(expected);
}
END_TEST

/* What rotation is for: q.k depends on the difference of positions alone. */
START_TEST(relative_position) {
    enum { N = 9, D = 8 };
    float cosine[N * D / 2], sine[N * D / 2], q[N * D], k[N * D];
    vit_rope_table(VIT_ROPE_1D, N, 0, 0, 0, D, cosine, sine);
    random_floats(2, D, 1, q);
    random_floats(3, D, 1, k);
    for (size_t i = D; i < N * D; i++) {
        q[i] = q[i % D];
        k[i] = k[i % D];
    }
    vit_rope_apply(N, D, cosine, sine, false, q, D);
    vit_rope_apply(N, D, cosine, sine, false, k, D);
    double first = 0;
    for (size_t t = 0; t + 3 < N; t++) {
        double product = 0;
        for (size_t j = 0; j < D; j++) {
            product += (double)q[t * D + j] * (double)k[(t + 3) * D + j];
        }
        first = t == 0 ? product : first;
        ck_assert_double_eq_tol(product, first, 1e-5);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("rope");
    TCase *tcase = tcase_create("rope");
    tcase_add_test(tcase, table_1d);
    tcase_add_loop_test(tcase, table_2d, 0, 3);
    tcase_add_test(tcase, rotation);
    tcase_add_test(tcase, relative_position);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
