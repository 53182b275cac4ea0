/* ZeroS, causal form: against the authors' layer, against its definition, and its properties. */
#include "support/attention_case.h"
#include "support/reference_attention.h"
#include "support/support.h"

#include "vit/attention/causal_basis.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(golden) {
    attention_errors e =
        attention_golden("zeros_causal.safetensors", VIT_ZEROS_AUTO, VIT_ATTENTION_ZEROS);
    printf("zeros_causal: y %.1e  x %.1e  parameters %.1e (%s)\n", e.y, e.x, e.params, e.worst);
    ck_assert_msg(e.y <= 2e-6, "y is off by %g", e.y);
    ck_assert_msg(e.x <= 1e-5, "grad x is off by %g", e.x);
    ck_assert_msg(e.params <= 2e-5, "grad %s is off by %g", e.worst, e.params);
}
END_TEST

static vit_attention_config plain(size_t N, size_t D, size_t H) {
    return (vit_attention_config){.kind = VIT_ATTENTION_ZEROS,
                                  .tokens = N,
                                  .dim = D,
                                  .heads = H,
                                  .head_norm = true,
                                  .causal = true};
}

/* Lengths about the chunk of 64, and head widths about the 64 channels summed at a time. */
static const struct {
    size_t N, D, H, B;
    vit_rope_kind rope;
    bool head_norm, zero_order;
    size_t samples;
} variants[] = {
    {1, 12, 3, 2, VIT_ROPE_NONE, false, true, 40}, {2, 10, 2, 2, VIT_ROPE_NONE, false, false, 40},
    {9, 15, 3, 2, VIT_ROPE_NONE, true, false, 40}, {13, 12, 2, 3, VIT_ROPE_1D, true, true, 30},
    {12, 16, 2, 1, VIT_ROPE_2D, false, true, 30},  {64, 8, 1, 1, VIT_ROPE_1D, true, false, 15},
    {65, 8, 2, 2, VIT_ROPE_1D, false, true, 8},    {150, 6, 2, 1, VIT_ROPE_NONE, true, false, 8},
    {200, 10, 1, 1, VIT_ROPE_1D, false, false, 6}, {131, 66, 1, 1, VIT_ROPE_1D, true, true, 4},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

START_TEST(definition) {
    attention_case c;
    vit_attention_config config = plain(variants[_i].N, variants[_i].D, variants[_i].H);
    config.rope = variants[_i].rope;
    config.grid_h = 3;
    config.grid_w = 4;
    config.head_norm = variants[_i].head_norm;
    config.zero_order = variants[_i].zero_order;
    char name[64];
    snprintf(name, sizeof name, "N %zu, D %zu, H %zu", config.tokens, config.dim, config.heads);
    attention_open(&c, &config, variants[_i].B, 10);
    attention_check(&c, name, variants[_i].samples, 1e-5, 5e-5);
    attention_close(&c);
}
END_TEST

START_TEST(clipped_tau) {
    attention_case c;
    vit_attention_config config = plain(7, 12, 3);
    attention_open(&c, &config, 1, 30);
    float *tau = attention_param(&c, "prior_log_tau", NULL);
    tau[0] = -51;
    tau[1] = 31;
    tau[2] = 2;
    attention_check(&c, "clipped tau", 40, 5e-6, 2e-5);
    const float *dtau = attention_grad(&c, "prior_log_tau", NULL);
    ck_assert(dtau[0] == 0 && dtau[1] == 0 && dtau[2] != 0);
    attention_close(&c);
}
END_TEST

/* At the very ends of the clip the gradient is still that of inside: in proportion to e^tau at the
 * lower one, to e^-tau at the upper one. */
START_TEST(tau_at_its_clip) {
    attention_case c;
    vit_attention_config config = {.tokens = 9, .dim = 12, .heads = 2, .causal = true};
    attention_open(&c, &config, 1, 30);
    float *tau = attention_param(&c, "prior_log_tau", NULL);
    const float *dtau = attention_grad(&c, "prior_log_tau", NULL);
    tau[0] = -49.99f;
    tau[1] = 29.99f;
    attention_run(&c);
    double expected[2] = {(double)dtau[0] * exp(-0.01), (double)dtau[1] * exp(-0.01)};
    tau[0] = -50;
    tau[1] = 30;
    attention_run(&c);
    float lower = dtau[0], upper = dtau[1];
    check_close("at the lower end", 1, &lower, expected, 1e-5);
    check_close("at the upper end", 1, &upper, expected + 1, 0.05); /* differences of 1e-13 */
    attention_close(&c);
}
END_TEST

/* Logits that grow, fall, jump to and fro, or lie close together through the first chunk and jump
 * in the second: u is channel 0 of x, and its mean leans on the prior. */
enum { COURSES = 4, LONG = 150 };

static float course_at(int course, size_t t) {
    float place = (float)t / (LONG - 1) * 2 - 1;
    float jump = t % 2 ? 1 : -1;
    switch (course) {
    case 0:
        return place;
    case 1:
        return -place;
    case 2:
        return jump;
    default:
        return t < 80 ? 0.01f * place : jump;
    }
}

static void open_course(attention_case *c, int course, float size, float log_strength) {
    vit_attention_config config = plain(LONG, 8, 2);
    attention_open(c, &config, 1, 70);
    size_t H = config.heads, D = config.dim, d = c->attention.d;
    float *weight = attention_param(c, "u.weight", NULL);
    float *mu = attention_param(c, "prior_mu", NULL);
    float *tau = attention_param(c, "prior_log_tau", NULL);
    memset(weight, 0, D * D * sizeof *weight);
    memset(attention_param(c, "u.bias", NULL), 0, D * sizeof *weight);
    for (size_t h = 0; h < H; h++) {
        tau[h] = log_strength;
        weight[h * d * D] = 1;
        mu[h * d] = -sqrtf((float)d);
    }
    for (size_t t = 0; t < LONG; t++) {
        c->x[t * D] = size * course_at(course, t);
    }
}

START_TEST(wide_logits) {
    attention_case c;
    open_course(&c, _i, 4, 1);
    attention_check(&c, "logits of +-4", 8, 1e-5, 2e-4);
    attention_close(&c);
}
END_TEST

START_TEST(large_logits) {
    enum { D = 8 };
    attention_case c;
    open_course(&c, _i, 80, 12);
    double *params = to_double(c.params, c.table.total), *x = to_double(c.x, LONG * D);
    double *y = to_double(c.x, LONG * D);
    reference_attention(&c.attention, c.row, params, 1, x, y, NULL);
    attention_run(&c);
    check_close("y", LONG * D, c.y, y, 2e-5);
    for (size_t i = 0; i < LONG * D; i++) {
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

START_TEST(small_logits) {
    attention_case c;
    vit_attention_config config = plain(197, 24, 2);
    config.head_norm = false;
    attention_open(&c, &config, 1, 80);
    size_t n, count = 197 * 24;
    float *weight = attention_param(&c, "u.weight", &n);
    for (size_t i = 0; i < n; i++) {
        weight[i] *= 0.25f;
    }
    memset(attention_param(&c, "u.bias", NULL), 0, 24 * sizeof(float));
    memset(attention_param(&c, "out_proj.bias", NULL), 0, 24 * sizeof(float));
    float *bias = attention_param(&c, "gate.bias", NULL);
    bias[0] = bias[3] = -60; /* the first order is shut */
    double *params = to_double(c.params, c.table.total), *x = to_double(c.x, count);
    double *y = to_double(c.x, count);
    reference_attention(&c.attention, c.row, params, 1, x, y, NULL);
    attention_run(&c);
    printf("higher orders alone: error %.1e\n", relative_error(count, c.y, y));
    check_close("higher orders alone", count, c.y, y, 1e-5);
    free(params);
    free(x);
    free(y);
    attention_close(&c);
}
END_TEST

/* What comes later changes nothing, to the bit, before. */
START_TEST(future_is_unseen) {
    enum { N = 150, D = 12, CUT = 70 };
    attention_case c;
    vit_attention_config config = plain(N, D, 2);
    attention_open(&c, &config, 1, 40);
    attention_run(&c);
    float before[CUT * D];
    memcpy(before, c.y, sizeof before);
    for (size_t i = CUT * D; i < N * D; i++) {
        c.x[i] *= -30;
    }
    attention_run(&c);
    ck_assert(memcmp(before, c.y, sizeof before) == 0);
    attention_close(&c);
}
END_TEST

/* Constant values weigh nothing when all angles are the same. */
START_TEST(weights_sum_to_zero) {
    attention_case c;
    vit_attention_config config = plain(100, 12, 2);
    config.head_norm = false;
    attention_open(&c, &config, 1, 50);
    memset(attention_param(&c, "q.weight", NULL), 0, 144 * sizeof(float));
    memset(attention_param(&c, "k.weight", NULL), 0, 144 * sizeof(float));
    memset(attention_param(&c, "out_proj.bias", NULL), 0, 12 * sizeof(float));
    attention_run(&c);
    double *before = to_double(c.y, 1200);
    float *bias = attention_param(&c, "v.bias", NULL);
    for (size_t i = 0; i < 12; i++) {
        bias[i] += 3;
    }
    attention_run(&c);
    check_close("y after a shift of v", 1200, c.y, before, 2e-5);
    free(before);
    attention_close(&c);
}
END_TEST

START_TEST(memory_grows_with_tokens) {
    double floats[2];
    for (size_t i = 0; i < 2; i++) {
        vit_attention attention;
        vit_param_table table = {0};
        vit_arena arena = {0};
        vit_attention_saved saved;
        vit_attention_config config = plain((size_t)4096 << i, 64, 1);
        ck_vit_ok(vit_attention_init(&attention, &config, "", &table));
        vit_attention_plan(&attention, 1, true, &arena, &saved);
        floats[i] = (double)(arena.used / sizeof(float)) +
                    (double)vit_attention_scratch(&attention, 1, true);
        vit_attention_free(&attention);
        vit_params_free(&table);
    }
    ck_assert_msg(floats[1] < 2.05 * floats[0], "%g floats, then %g", floats[0], floats[1]);
}
END_TEST

/* exp(x) - 1 - x to where a step between bases has it by a series, whose first term left out is
 * x^6/720, and on from there by expm1. */
START_TEST(remainder_of_the_exponential) {
    for (int i = 1; i <= 24; i++) {
        double x = -i / 2048.0, expected = 0, term = 1;
        for (int n = 1; n <= 12; n++) {
            term *= x / n;
            expected += n > 1 ? term : 0;
        }
        const vit_causal_basis earlier = {x, false}, later = {0, false};
        vit_causal_step step = vit_causal_between(&earlier, &later);
        double bound = fabs(x) < 0.01 ? pow(x, 6) / 700 + 1e-15 * expected : 1e-17;
        ck_assert_double_eq_tol(step.f1, expected, bound);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention_zeros_causal");
    TCase *tcase = tcase_create("causal");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, golden);
    tcase_add_loop_test(tcase, definition, 0, VARIANTS);
    tcase_add_test(tcase, clipped_tau);
    tcase_add_test(tcase, tau_at_its_clip);
    tcase_add_loop_test(tcase, wide_logits, 0, COURSES);
    tcase_add_loop_test(tcase, large_logits, 0, COURSES);
    tcase_add_test(tcase, small_logits);
    tcase_add_test(tcase, future_is_unseen);
    tcase_add_test(tcase, weights_sum_to_zero);
    tcase_add_test(tcase, memory_grows_with_tokens);
    tcase_add_test(tcase, remainder_of_the_exponential);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
