/* Ranking: ties, values that are not numbers, and agreement with a full sort. The figures: cases
 * worked out by hand, and random ones against plain formulas. */
#include "support/support.h"

#include "eval/metrics.h"
#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>

START_TEST(ties_go_to_the_lower_index) {
    const float scores[] = {1, 3, 3, 2, 3};
    ck_assert(vit_in_top_k(5, scores, 1, 1));
    ck_assert(!vit_in_top_k(5, scores, 2, 1));
    ck_assert(vit_in_top_k(5, scores, 2, 2));
    ck_assert(!vit_in_top_k(5, scores, 4, 2));
    ck_assert(vit_in_top_k(5, scores, 4, 3));
    int top[5];
    const int expected[] = {1, 2, 4, 3, 0};
    vit_top_k(5, scores, 5, top);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(top[i], expected[i]);
    }
}
END_TEST

START_TEST(not_a_number_is_never_right) {
    const float scores[] = {NAN, -INFINITY, 1, NAN};
    ck_assert(!vit_in_top_k(4, scores, 0, 4));
    ck_assert(vit_in_top_k(4, scores, 1, 2));
    ck_assert(!vit_in_top_k(4, scores, 1, 1));
    int top[4];
    vit_top_k(4, scores, 4, top);
    const int expected[] = {2, 1, 0, 3};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(top[i], expected[i]);
    }
}
END_TEST

START_TEST(one_class) {
    const float score = -2;
    int top = 7;
    vit_top_k(1, &score, 1, &top);
    ck_assert_int_eq(top, 0);
    ck_assert(vit_in_top_k(1, &score, 0, 1));
}
END_TEST

/* Coarse random scores make many ties. The rank of each label by counting must be its place in the
 * list. */
START_TEST(lists_and_counts_agree) {
    enum { K = 37 };
    for (unsigned trial = 0; trial < 50; trial++) {
        float scores[K];
        random_floats(trial, K, 2, scores);
        for (int i = 0; i < K; i++) {
            scores[i] = roundf(scores[i]);
        }
        for (size_t k = 1; k <= K; k += 6) {
            int top[K];
            vit_top_k(K, scores, k, top);
            for (size_t i = 0; i < k; i++) {
                ck_assert(vit_in_top_k(K, scores, top[i], i + 1));
                ck_assert(i == 0 || !vit_in_top_k(K, scores, top[i], i));
            }
        }
    }
}
END_TEST

/* ---- one picture ---- */

START_TEST(score_by_hand) {
    /* softmax of log(1), log(2), log(5): 1/8, 2/8, 5/8 */
    const float logits[] = {0, logf(2), logf(5)};
    vit_score score;
    vit_score_logits(3, logits, 1, &score);
    ck_assert_int_eq(score.prediction, 2);
    ck_assert(!score.top1 && score.top5);
    ck_assert_double_eq_tol(score.loss, log(4), 1e-7);
    ck_assert_double_eq_tol(score.confidence, 0.625, 1e-7);
    ck_assert_double_eq_tol(score.label_probability, 0.25, 1e-7);
    const float large[] = {3e38f, -3e38f, -INFINITY};
    vit_score_logits(3, large, 0, &score);
    ck_assert(score.top1 && score.loss == 0 && score.confidence == 1);
    vit_score_logits(3, large, 2, &score);
    ck_assert(score.loss == INFINITY && score.label_probability == 0);
    const float broken[] = {1, NAN, 0};
    vit_score_logits(3, broken, 0, &score);
    ck_assert(score.prediction == 0 && score.top1);
    ck_assert(isnan(score.loss) && isnan(score.confidence) && isnan(score.label_probability));
}
END_TEST

START_TEST(score_has_the_bits_of_the_loss) {
    enum { B = 20, K = 11 };
    float *logits = random_new(3, B * K, 4), targets[B * K];
    int labels[B];
    double losses[B];
    for (int b = 0; b < B; b++) {
        labels[b] = b * 7 % K;
    }
    vit_smooth_targets(B, K, labels, 0, targets);
    vit_cross_entropy(B, K, logits, targets, 1, losses, NULL);
    for (int b = 0; b < B; b++) {
        vit_score score;
        vit_score_logits(K, logits + b * K, labels[b], &score);
        ck_assert_double_eq(score.loss, losses[b]);
    }
    free(logits);
}
END_TEST

/* ---- many ---- */

static void add(vit_metrics *m, int label, int prediction, double confidence) {
    const vit_score score = {.prediction = prediction,
                             .top1 = label == prediction,
                             .top5 = true,
                             .loss = confidence,
                             .confidence = confidence};
    vit_metrics_add(m, label, &score);
}

/* Class 0: two pictures, one right. Class 1: two, both right. Class 2: one, wrong, and never
 * predicted. Class 3: none, but predicted once. Class 4: none, never predicted. */
START_TEST(figures_by_hand) {
    vit_metrics m;
    ck_vit_ok(vit_metrics_init(&m, 5));
    add(&m, 0, 0, 0.9);
    add(&m, 0, 3, 0.4);
    add(&m, 1, 1, 0.8);
    add(&m, 1, 1, 1.0);
    add(&m, 2, 1, 0.6);
    vit_metrics_finish(&m);
    ck_assert_uint_eq(m.images, 5);
    ck_assert_double_eq(m.top1, 60);
    ck_assert_double_eq(m.top5, 100);
    ck_assert_double_eq_tol(m.loss, 3.7 / 5, 1e-12);
    const double precision[] = {100, 200 / 3.0, NAN, 0, NAN}, recall[] = {50, 100, 0, NAN, NAN},
                 f1[] = {200 / 3.0, 80, 0, 0, NAN};
    const size_t support[] = {2, 2, 1, 0, 0}, predicted[] = {1, 3, 0, 1, 0};
    for (int k = 0; k < 5; k++) {
        const vit_class_metrics *c = &m.per_class[k];
        ck_assert_uint_eq(c->support, support[k]);
        ck_assert_uint_eq(c->predicted, predicted[k]);
        ck_assert(isnan(precision[k]) ? isnan(c->precision)
                                      : fabs(c->precision - precision[k]) < 1e-12);
        ck_assert(isnan(recall[k]) ? isnan(c->recall) : fabs(c->recall - recall[k]) < 1e-12);
        ck_assert(isnan(f1[k]) ? isnan(c->f1) : fabs(c->f1 - f1[k]) < 1e-12);
    }
    /* As scikit-learn: balanced_accuracy_score, f1_score(average="macro"). */
    ck_assert_double_eq_tol(m.balanced_accuracy, 50, 1e-12);
    ck_assert_double_eq_tol(m.macro_f1, (200 / 3.0 + 80) / 4, 1e-12);
    const size_t confusion[25] = {[0] = 1, [3] = 1, [6] = 2, [11] = 1};
    ck_assert_mem_eq(m.confusion, confusion, sizeof confusion);
    vit_metrics_free(&m);
}
END_TEST

/* Fifteen bins, closed above. Two pictures in the bin up to 0.6, none right; one alone at 1. */
START_TEST(calibration_by_hand) {
    vit_metrics m;
    ck_vit_ok(vit_metrics_init(&m, 2));
    add(&m, 0, 1, 0.6);
    add(&m, 0, 0, 0.55);
    add(&m, 0, 1, 0.6 + 1e-9);
    add(&m, 1, 1, 1.0);
    add(&m, 0, 0, 0.0);
    vit_metrics_finish(&m);
    const size_t counts[VIT_RELIABILITY_BINS] = {[0] = 1, [8] = 2, [9] = 1, [14] = 1};
    for (int b = 0; b < VIT_RELIABILITY_BINS; b++) {
        ck_assert_uint_eq(m.bins[b].count, counts[b]);
        ck_assert_int_eq(isnan(m.bins[b].accuracy) != 0, counts[b] == 0);
        ck_assert_int_eq(isnan(m.bins[b].confidence) != 0, counts[b] == 0);
    }
    ck_assert_double_eq_tol(m.bins[8].confidence, 0.575, 1e-12);
    ck_assert_double_eq(m.bins[8].accuracy, 0.5);
    ck_assert_double_eq_tol(m.ece, (1 + 2 * 0.075 + 0.6 + 0) / 5, 1e-9);
    vit_metrics_free(&m);
}
END_TEST

START_TEST(every_bound_belongs_to_the_bin_below) {
    for (int b = 1; b <= VIT_RELIABILITY_BINS; b++) {
        vit_metrics m;
        ck_vit_ok(vit_metrics_init(&m, 2));
        add(&m, 0, 0, (double)b / 15);
        add(&m, 0, 0, nextafter((double)b / 15, 0));
        vit_metrics_finish(&m);
        ck_assert_uint_eq(m.bins[b - 1].count, 2);
        vit_metrics_free(&m);
    }
}
END_TEST

START_TEST(no_picture_and_no_number) {
    vit_metrics m;
    ck_vit_ok(vit_metrics_init(&m, 3));
    vit_metrics_finish(&m);
    ck_assert(isnan(m.top1) && isnan(m.top5) && isnan(m.loss) && isnan(m.ece));
    ck_assert(isnan(m.balanced_accuracy) && isnan(m.macro_f1));
    vit_metrics_free(&m);
    ck_vit_ok(vit_metrics_init(&m, 3));
    add(&m, 0, 0, NAN);
    vit_metrics_finish(&m);
    ck_assert(m.top1 == 100 && isnan(m.ece) && isnan(m.loss));
    vit_metrics_free(&m);
}
END_TEST

START_TEST(too_many_classes_for_a_matrix) {
    vit_metrics m;
    ck_vit_ok(vit_metrics_init(&m, VIT_CONFUSION_MAX_CLASSES + 1));
    ck_assert_ptr_null(m.confusion);
    add(&m, VIT_CONFUSION_MAX_CLASSES, 5, 0.5);
    vit_metrics_finish(&m);
    ck_assert_uint_eq(m.per_class[5].predicted, 1);
    ck_assert_uint_eq(m.per_class[VIT_CONFUSION_MAX_CLASSES].support, 1);
    vit_metrics_free(&m);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");
    tcase_add_test(tc, ties_go_to_the_lower_index);
    tcase_add_test(tc, not_a_number_is_never_right);
    tcase_add_test(tc, one_class);
    tcase_add_test(tc, lists_and_counts_agree);
    tcase_add_test(tc, score_by_hand);
    tcase_add_test(tc, score_has_the_bits_of_the_loss);
    tcase_add_test(tc, figures_by_hand);
    tcase_add_test(tc, calibration_by_hand);
    tcase_add_test(tc, every_bound_belongs_to_the_bin_below);
    tcase_add_test(tc, no_picture_and_no_number);
    tcase_add_test(tc, too_many_classes_for_a_matrix);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
