/* Cross-entropy against soft targets, label smoothing, softmax. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

START_TEST(soft_targets_golden) {
    vit_safetensors *file = golden_open("soft_target_ce.safetensors");
    size_t count;
    float *logits = golden_f32(file, "logits", &count), *targets = golden_f32(file, "target", NULL);
    double *loss = golden_f64(file, "loss", NULL), *grad = golden_f64(file, "grad", NULL);
    enum { B = 4, K = 9 };
    ck_assert_uint_eq(count, B * K);
    double losses[B];
    float dlogits[B * K];
    vit_cross_entropy(B, K, logits, targets, 1.0f / B, losses, dlogits);
    double mean = (losses[0] + losses[1] + losses[2] + losses[3]) / B;
    ck_assert_double_eq_tol(mean, loss[0], 1e-7 * loss[0]); /* the targets are rounded to float32 */
    check_close("dlogits", B * K, dlogits, grad, 1e-6);
    free(logits);
    free(targets);
    free(loss);
    free(grad);
    vit_safetensors_close(file);
}
END_TEST

/* The naive formula, without a shift: right for small logits. */
typedef struct reference {
    size_t B, K;
    const double *targets;
    double scale;
} reference;

static double row_loss(const reference *r, size_t b, const double *logits) {
    double sum = 0, loss = 0;
    for (size_t k = 0; k < r->K; k++) {
        sum += exp(logits[b * r->K + k]);
    }
    for (size_t k = 0; k < r->K; k++) {
        loss -= r->targets[b * r->K + k] * log(exp(logits[b * r->K + k]) / sum);
    }
    return loss;
}

static double scaled_loss(void *context, const double *logits) {
    const reference *r = context;
    double sum = 0;
    for (size_t b = 0; b < r->B; b++) {
        sum += row_loss(r, b, logits);
    }
    return r->scale * sum;
}

/* Targets of any sum, negative ones among them: a scale of its own for every row would show. */
static void check_shape(size_t B, size_t K) {
    float *logits = random_new(1, B * K, 2), *targets = random_new(2, B * K, 1);
    float *dlogits = filled_new(B * K, NAN);
    double *logits64 = to_double(logits, B * K), *targets64 = to_double(targets, B * K);
    double *losses = to_double(dlogits, B), *again = to_double(dlogits, B);
    reference r = {B, K, targets64, 0.37f};
    vit_cross_entropy(B, K, logits, targets, 0.37f, losses, dlogits);
    for (size_t b = 0; b < B; b++) {
        double expected = row_loss(&r, b, logits64);
        ck_assert_double_eq_tol(losses[b], expected, 1e-12 * (1 + fabs(expected)));
    }
    if (K > 1) {
        check_gradient("dlogits", scaled_loss, &r, B * K, logits64, dlogits, 100, 1e-6);
    } else {
        for (size_t b = 0; b < B; b++) {
            ck_assert(fabsf(dlogits[b]) == 0); /* one class is certain */
        }
    }
    vit_cross_entropy(B, K, logits, targets, 0.37f, again, NULL);
    ck_assert_int_eq(memcmp(again, losses, B * sizeof *again), 0);
    free(logits);
    free(targets);
    free(dlogits);
    free(logits64);
    free(targets64);
    free(losses);
    free(again);
}

START_TEST(odd_shapes) {
    const size_t classes[] = {1, 2, 5, 16, 17, 33, 1000};
    for (size_t i = 0; i < 7; i++) {
        check_shape(1, classes[i]);
        check_shape(3, classes[i]);
    }
}
END_TEST

START_TEST(extreme_logits) {
    enum { K = 4 };
    const float logits[3][K] = {{1e4f, 0, -1e4f, 5e3f}, {-200, -200, -200, -200}, {90, 60, 0, 0}};
    const float targets[3][K] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {1, 0, 0, 0}};
    const double expected[3] = {0, log(4), log1p(exp(-30) + 2 * exp(-90))};
    double losses[3];
    float dlogits[3][K];
    vit_cross_entropy(3, K, logits[0], targets[0], 1, losses, dlogits[0]);
    for (int b = 0; b < 3; b++) {
        ck_assert_double_eq_tol(losses[b], expected[b], 1e-15);
        for (int k = 0; k < K; k++) {
            ck_assert(isfinite(dlogits[b][k]));
        }
    }
    ck_assert_float_eq(dlogits[1][0], 0.25f);
    ck_assert_float_eq(dlogits[1][1], -0.75f);
}
END_TEST

START_TEST(not_a_number_is_passed_on) {
    const float target[3] = {0, 1, 0};
    const float bad[2] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        float logits[3] = {1, 2, bad[i]}, dlogits[3];
        double loss;
        vit_cross_entropy(1, 3, logits, target, 1, &loss, dlogits);
        ck_assert(!isfinite(loss));
    }
    /* A class ruled out that nobody wants is fine. */
    float logits[3] = {1, 1, -INFINITY}, dlogits[3];
    double loss;
    vit_cross_entropy(1, 3, logits, target, 1, &loss, dlogits);
    ck_assert_double_eq_tol(loss, log(2), 1e-15);
    ck_assert(dlogits[0] == 0.5f && dlogits[1] == -0.5f && dlogits[2] == 0);
}
END_TEST

START_TEST(smoothing) {
    enum { B = 3, K = 7 };
    const int labels[B] = {0, 3, 6};
    const double amounts[] = {0, 0.1, 0.5};
    for (int i = 0; i < 3; i++) {
        float targets[B * K];
        vit_smooth_targets(B, K, labels, amounts[i], targets);
        for (int b = 0; b < B; b++) {
            for (int k = 0; k < K; k++) {
                double expected = (k == labels[b] ? 1 - amounts[i] : 0) + amounts[i] / K;
                ck_assert_float_eq_tol(targets[b * K + k], (float)expected, 1e-7f);
            }
        }
    }
}
END_TEST

static void check_softmax(size_t M, size_t K, double scale) {
    float *logits = random_new(1, M * K, scale), *p = filled_new(M * K, NAN);
    double *expected = to_double(logits, M * K);
    for (size_t i = 0; i < M; i++) {
        double most = -INFINITY, sum = 0;
        for (size_t k = 0; k < K; k++) {
            most = fmax(most, expected[i * K + k]);
        }
        for (size_t k = 0; k < K; k++) {
            expected[i * K + k] = exp(expected[i * K + k] - most);
            sum += expected[i * K + k];
        }
        for (size_t k = 0; k < K; k++) {
            expected[i * K + k] /= sum;
        }
    }
    vit_softmax_rows(M, K, logits, p);
    check_close("probabilities", M * K, p, expected, 1e-6);
    vit_softmax_rows(M, K, logits, logits);
    check_same_bits("in place", M * K, logits, p);
    free(logits);
    free(p);
    free(expected);
}

START_TEST(softmax) {
    const size_t classes[] = {1, 2, 5, 16, 17, 33, 1000};
    for (size_t i = 0; i < 7; i++) {
        check_softmax(3, classes[i], 1);
        check_softmax(2, classes[i], 100); /* whole rows under the reach of exp but for one entry */
    }
    /* The largest entry in every place of a row of two blocks and a tail. */
    for (size_t k = 0; k < 37; k++) {
        float *row = filled_new(37, -500);
        row[k] = 500;
        vit_softmax_rows(1, 37, row, row);
        for (size_t j = 0; j < 37; j++) {
            ck_assert(row[j] == (j == k ? 1.0f : 0.0f));
        }
        free(row);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("loss");
    TCase *c = tcase_create("loss");
    tcase_add_test(c, soft_targets_golden);
    tcase_add_test(c, odd_shapes);
    tcase_add_test(c, extreme_logits);
    tcase_add_test(c, not_a_number_is_passed_on);
    tcase_add_test(c, smoothing);
    tcase_add_test(c, softmax);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
