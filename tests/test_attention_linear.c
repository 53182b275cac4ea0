/* Linear attention (elu + 1) against its definition, all weights written out, in double precision.
 */
#include "support/attention_properties.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

START_TEST(definition) {
    attention_check_shape(VIT_ATTENTION_LINEAR, _i);
}
END_TEST

START_TEST(weights_sum_to_one) {
    attention_check_sum_of_one(VIT_ATTENTION_LINEAR);
}
END_TEST

START_TEST(large_inputs) {
    attention_check_large_inputs(VIT_ATTENTION_LINEAR);
}
END_TEST

/* Keys whose features are hardly floats, and queries that are as far on the other side: sums over
 * the keys begin at nothing at all. */
START_TEST(tiny_keys) {
    enum { N = 3, D = 4, HEAD = 2 };
    attention_case c;
    vit_attention_config config = {
        .kind = VIT_ATTENTION_LINEAR, .tokens = N, .dim = D, .heads = D / HEAD};
    attention_open(&c, &config, 1, 90);
    float *weight = attention_param(&c, "proj.weight", NULL);
    float *bias = attention_param(&c, "qkv.bias", NULL);
    memset(c.params, 0, c.table.total * sizeof *c.params);
    double expected[N * D], features = exp(-86.0) * 1e36 * N * HEAD;
    for (size_t j = 0; j < D; j++) {
        weight[j * D + j] = 1;
        bias[j] = 1e36f;
        bias[D + j] = -86;
        bias[2 * D + j] = (float)(j + 1);
    }
    for (size_t i = 0; i < N * D; i++) {
        expected[i] = (double)(i % D + 1) * features / (features + 1e-6);
    }
    attention_run(&c);
    check_close("y", N * D, c.y, expected, 1e-4);
    attention_close(&c);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention_linear");
    TCase *tcase = tcase_create("linear");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, definition, 0, ATTENTION_SHAPES);
    tcase_add_test(tcase, weights_sum_to_one);
    tcase_add_test(tcase, large_inputs);
    tcase_add_test(tcase, tiny_keys);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
