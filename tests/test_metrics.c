/* Ranking: ties, values that are not numbers, and agreement with a full sort. */
#include "support/support.h"

#include "eval/metrics.h"

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

static Suite *suite(void) {
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");
    tcase_add_test(tc, ties_go_to_the_lower_index);
    tcase_add_test(tc, not_a_number_is_never_right);
    tcase_add_test(tc, one_class);
    tcase_add_test(tc, lists_and_counts_agree);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
