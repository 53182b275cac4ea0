/* ZeroS-SM: against what the paper's section 3.2 says, computed in float64, against its definition,
 * and its properties. */
#include "support/attention_properties.h"
#include "support/support.h"

static const char *const golden_files[] = {"zeros_sm_encoder", "zeros_sm_nonorm"};

START_TEST(golden) {
    attention_check_golden(golden_files[_i], VIT_ZEROS_AUTO, VIT_ATTENTION_ZEROS_SM);
}
END_TEST

START_TEST(definition) {
    attention_check_shape(VIT_ATTENTION_ZEROS_SM, _i);
}
END_TEST

static void open_plain(attention_case *c, size_t tokens, size_t dim, unsigned long long seed) {
    vit_attention_config config = {
        .kind = VIT_ATTENTION_ZEROS_SM, .tokens = tokens, .dim = dim, .heads = 2};
    attention_open(c, &config, 1, seed);
}

START_TEST(large_logits) {
    attention_case c;
    vit_attention_config config = {
        .kind = VIT_ATTENTION_ZEROS_SM, .tokens = 37, .dim = 24, .heads = 2, .head_norm = true};
    attention_open(&c, &config, 1, 70);
    attention_scale(&c, "q.weight", 10);
    attention_scale(&c, "k.weight", 3);
    attention_check_output(&c, "y at large logits", 1e-4);
    attention_close(&c);
}
END_TEST

/* Constant values weigh nothing, whatever the angles. */
START_TEST(weights_sum_to_zero) {
    attention_case c;
    open_plain(&c, 70, 12, 50);
    attention_scale(&c, "out_proj.bias", 0);
    double change = attention_change_of_y(&c, "v.bias", 3);
    ck_assert_msg(change <= 1e-5, "y changed by %g", change);
    attention_close(&c);
}
END_TEST

/* Only the higher orders, at small logits. */
START_TEST(small_logits) {
    attention_case c;
    open_plain(&c, 197, 24, 80);
    attention_scale(&c, "q.weight", 0.05f);
    attention_scale(&c, "q.bias", 0.05f);
    attention_leave_higher_orders(&c);
    attention_check_output(&c, "higher orders alone", 1e-5);
    attention_close(&c);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention_zeros_sm");
    TCase *tcase = tcase_create("zeros_sm");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, golden, 0, 2);
    tcase_add_loop_test(tcase, definition, 0, ATTENTION_SHAPES);
    tcase_add_test(tcase, large_logits);
    tcase_add_test(tcase, weights_sum_to_zero);
    tcase_add_test(tcase, small_logits);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
