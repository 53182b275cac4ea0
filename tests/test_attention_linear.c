/* Linear attention (elu + 1) against its definition, all weights written out, in double precision.
 */
#include "support/attention_case.h"
#include "support/reference_attention.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t B;
    vit_attention_config config;
    size_t samples;
} variants[] = {
    {"one token", 2, {.tokens = 1, .dim = 12, .heads = 3}, 60},
    {"two tokens", 2, {.tokens = 2, .dim = 10, .heads = 2}, 60},
    {"odd width", 2, {.tokens = 7, .dim = 15, .heads = 3}, 60},
    {"rope 1d", 2, {.tokens = 11, .dim = 12, .heads = 2, .rope = VIT_ROPE_1D}, 60},
    {"rope 2d, class token",
     3,
     {.tokens = 11,
      .prefix = 1,
      .dim = 16,
      .heads = 2,
      .rope = VIT_ROPE_2D,
      .grid_h = 5,
      .grid_w = 2},
     60},
    {"several blocks of rows", 1, {.tokens = 139, .dim = 9, .heads = 3}, 8},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

START_TEST(definition) {
    attention_case c;
    vit_attention_config config = variants[_i].config;
    config.kind = VIT_ATTENTION_LINEAR;
    attention_open(&c, &config, variants[_i].B, 10);
    attention_check(&c, variants[_i].name, variants[_i].samples, 2e-6, 2e-5);
    attention_close(&c);
}
END_TEST

/* The weights sum to one: a constant added to v comes out as it is. */
START_TEST(weights_sum_to_one) {
    enum { N = 70, D = 12 };
    attention_case c;
    vit_attention_config config = {.kind = VIT_ATTENTION_LINEAR, .tokens = N, .dim = D, .heads = 2};
    attention_open(&c, &config, 1, 50);
    attention_run(&c);
    double *expected = to_double(c.y, N * D);
    float *bias = attention_param(&c, "qkv.bias", NULL);
    const float *weight = attention_param(&c, "proj.weight", NULL);
    for (size_t j = 0; j < D; j++) {
        bias[2 * D + j] += 3;
    }
    for (size_t i = 0; i < N * D; i++) {
        for (size_t j = 0; j < D; j++) {
            expected[i] += 3 * (double)weight[i % D * D + j];
        }
    }
    attention_run(&c);
    check_close("y after a shift of v", N * D, c.y, expected, 1e-5);
    free(expected);
    attention_close(&c);
}
END_TEST

/* Large and very uneven queries and keys. */
START_TEST(large_inputs) {
    enum { N = 37, D = 24 };
    attention_case c;
    vit_attention_config config = {.kind = VIT_ATTENTION_LINEAR, .tokens = N, .dim = D, .heads = 2};
    attention_open(&c, &config, 1, 70);
    float *weight = attention_param(&c, "qkv.weight", NULL);
    for (size_t i = 0; i < D * D; i++) {
        weight[i] *= 10;
        weight[D * D + i] *= 4;
    }
    attention_run(&c);
    double *params = to_double(c.params, c.table.total), *x = to_double(c.x, N * D);
    double *y = to_double(c.x, N * D);
    reference_attention(&c.attention, c.row, params, 1, x, y, NULL);
    check_close("y", N * D, c.y, y, 1e-4);
    for (size_t i = 0; i < N * D; i++) {
        ck_assert(isfinite(c.dx[i]));
    }
    for (size_t i = 0; i < c.table.total; i++) {
        ck_assert(isfinite(c.grads[i]));
    }
    free(params);
    free(x);
    free(y);
    attention_close(&c);
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
    tcase_add_loop_test(tcase, definition, 0, VARIANTS);
    tcase_add_test(tcase, weights_sum_to_one);
    tcase_add_test(tcase, large_inputs);
    tcase_add_test(tcase, tiny_keys);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
