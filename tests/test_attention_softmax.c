/* Softmax attention against its definition in double precision. */
#include "support/attention_properties.h"
#include "support/support.h"

START_TEST(definition) {
    attention_check_shape(VIT_ATTENTION_SOFTMAX, _i);
}
END_TEST

START_TEST(weights_sum_to_one) {
    attention_check_sum_of_one(VIT_ATTENTION_SOFTMAX);
}
END_TEST

START_TEST(large_inputs) {
    attention_check_large_inputs(VIT_ATTENTION_SOFTMAX);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention_softmax");
    TCase *tcase = tcase_create("softmax");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, definition, 0, ATTENTION_SHAPES);
    tcase_add_test(tcase, weights_sum_to_one);
    tcase_add_test(tcase, large_inputs);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
