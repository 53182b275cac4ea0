/* ZeroS-SM: against what the paper's section 3.2 says, computed in float64, against its definition,
 * and its properties. */
#include "support/attention_case.h"
#include "support/reference_attention.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const golden_files[] = {"zeros_sm_encoder", "zeros_sm_nonorm"};

START_TEST(golden) {
    char name[256];
    snprintf(name, sizeof name, "%s.safetensors", golden_files[_i]);
    attention_errors e = attention_golden(name, VIT_ZEROS_AUTO, VIT_ATTENTION_ZEROS_SM);
    printf("%-18s y %.1e  x %.1e  parameters %.1e (%s)\n", golden_files[_i], e.y, e.x, e.params,
           e.worst);
    ck_assert_msg(e.y <= 2e-6, "%s: y is off by %g", name, e.y);
    ck_assert_msg(e.x <= 1e-5, "%s: grad x is off by %g", name, e.x);
    ck_assert_msg(e.params <= 2e-5, "%s: grad %s is off by %g", name, e.worst, e.params);
}
END_TEST

static const struct {
    const char *name;
    size_t B;
    vit_attention_config config;
    size_t samples;
} variants[] = {
    {"one token", 2, {.tokens = 1, .dim = 12, .heads = 3, .head_norm = true}, 40},
    {"two tokens", 2, {.tokens = 2, .dim = 10, .heads = 2}, 40},
    {"odd width", 2, {.tokens = 7, .dim = 15, .heads = 3, .head_norm = true}, 40},
    {"rope 1d", 2, {.tokens = 11, .dim = 12, .heads = 2, .rope = VIT_ROPE_1D}, 40},
    {"rope 2d, class token",
     3,
     {.tokens = 11,
      .prefix = 1,
      .dim = 16,
      .heads = 2,
      .rope = VIT_ROPE_2D,
      .grid_h = 5,
      .grid_w = 2,
      .head_norm = true},
     40},
    {"several blocks of rows", 1, {.tokens = 139, .dim = 9, .heads = 3, .head_norm = true}, 5},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

START_TEST(definition) {
    attention_case c;
    vit_attention_config config = variants[_i].config;
    config.kind = VIT_ATTENTION_ZEROS_SM;
    attention_open(&c, &config, variants[_i].B, 10);
    attention_check(&c, variants[_i].name, variants[_i].samples, 2e-6, 2e-5);
    attention_close(&c);
}
END_TEST

static void scale_param(attention_case *c, const char *name, float by) {
    size_t n;
    float *values = attention_param(c, name, &n);
    for (size_t i = 0; i < n; i++) {
        values[i] *= by;
    }
}

START_TEST(large_logits) {
    enum { N = 37, D = 24 };
    attention_case c;
    vit_attention_config config = {
        .kind = VIT_ATTENTION_ZEROS_SM, .tokens = N, .dim = D, .heads = 2, .head_norm = true};
    attention_open(&c, &config, 1, 70);
    scale_param(&c, "q.weight", 10);
    scale_param(&c, "k.weight", 3);
    attention_run(&c);
    double *params = to_double(c.params, c.table.total), *x = to_double(c.x, N * D);
    double *y = to_double(c.x, N * D);
    reference_attention(&c.attention, c.row, params, 1, x, y, NULL);
    check_close("y at large logits", N * D, c.y, y, 1e-4);
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

/* Constant values weigh nothing, whatever the angles. */
START_TEST(weights_sum_to_zero) {
    enum { N = 70, D = 12 };
    attention_case c;
    vit_attention_config config = {
        .kind = VIT_ATTENTION_ZEROS_SM, .tokens = N, .dim = D, .heads = 2};
    attention_open(&c, &config, 1, 50);
    memset(attention_param(&c, "out_proj.bias", NULL), 0, D * sizeof(float));
    attention_run(&c);
    double *before = to_double(c.y, N * D);
    float *bias = attention_param(&c, "v.bias", NULL);
    for (size_t i = 0; i < D; i++) {
        bias[i] += 3;
    }
    attention_run(&c);
    check_close("y after a shift of v", N * D, c.y, before, 1e-5);
    free(before);
    attention_close(&c);
}
END_TEST

/* Only the higher orders, at small logits. */
START_TEST(small_logits) {
    enum { N = 197, D = 24 };
    attention_case c;
    vit_attention_config config = {
        .kind = VIT_ATTENTION_ZEROS_SM, .tokens = N, .dim = D, .heads = 2};
    attention_open(&c, &config, 1, 80);
    scale_param(&c, "q.weight", 0.05f);
    scale_param(&c, "q.bias", 0.05f);
    memset(attention_param(&c, "out_proj.bias", NULL), 0, D * sizeof(float));
    float *bias = attention_param(&c, "gate.bias", NULL);
    bias[0] = bias[3] = -60; /* the first order is shut */
    attention_run(&c);
    double *params = to_double(c.params, c.table.total), *x = to_double(c.x, N * D);
    double *y = to_double(c.x, N * D);
    reference_attention(&c.attention, c.row, params, 1, x, y, NULL);
    printf("higher orders alone: error %.1e\n", relative_error(N * D, c.y, y));
    check_close("higher orders alone", N * D, c.y, y, 1e-5);
    free(params);
    free(x);
    free(y);
    attention_close(&c);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention_zeros_sm");
    TCase *tcase = tcase_create("zeros_sm");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, golden, 0, 2);
    tcase_add_loop_test(tcase, definition, 0, VARIANTS);
    tcase_add_test(tcase, large_logits);
    tcase_add_test(tcase, weights_sum_to_zero);
    tcase_add_test(tcase, small_logits);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
