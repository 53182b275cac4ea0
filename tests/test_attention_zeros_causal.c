/* ZeroS, causal form: against the authors' layer, against its definition, and its properties. */
#include "support/attention_properties.h"
#include "support/support.h"

#include "vit/attention/causal_basis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

START_TEST(golden) {
    attention_check_golden("zeros_causal", VIT_ZEROS_AUTO, VIT_ATTENTION_ZEROS);
}
END_TEST

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
    vit_attention_config config =
        attention_zeros_config(true, variants[_i].N, variants[_i].D, variants[_i].H);
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
    attention_check_clipped_tau(true, 5e-6);
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
    vit_attention_config config = attention_zeros_config(true, LONG, 8, 2);
    attention_open(c, &config, 1, 70);
    size_t H = config.heads, D = config.dim, d = c->attention.d;
    float *weight = attention_param(c, "u.weight", NULL);
    float *mu = attention_param(c, "prior_mu", NULL);
    float *tau = attention_param(c, "prior_log_tau", NULL);
    attention_scale(c, "u.weight", 0);
    attention_scale(c, "u.bias", 0);
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
    attention_case c;
    open_course(&c, _i, 80, 12);
    attention_check_output(&c, "y", 2e-5);
    attention_close(&c);
}
END_TEST

START_TEST(small_logits) {
    attention_case c;
    attention_open_small_logits(&c, true);
    attention_check_output(&c, "higher orders alone", 1e-5);
    attention_close(&c);
}
END_TEST

/* What comes later changes nothing, to the bit, before. */
START_TEST(future_is_unseen) {
    enum { N = 150, D = 12, CUT = 70 };
    attention_case c;
    vit_attention_config config = attention_zeros_config(true, N, D, 2);
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
    vit_attention_config config = attention_zeros_config(true, 100, 12, 2);
    config.head_norm = false;
    attention_open(&c, &config, 1, 50);
    attention_scale(&c, "q.weight", 0);
    attention_scale(&c, "k.weight", 0);
    attention_scale(&c, "out_proj.bias", 0);
    double change = attention_change_of_y(&c, "v.bias", 3);
    ck_assert_msg(change <= 2e-5, "y changed by %g", change);
    attention_close(&c);
}
END_TEST

START_TEST(memory_grows_with_tokens) {
    attention_check_memory_grows_with_tokens(true, VIT_ZEROS_AUTO);
}
END_TEST

/* exp(x) - 1 - x to where a step between bases has it by a series, whose first term left out is
 * x^6/720, and on from there, from 0.01 itself, by expm1. */
START_TEST(remainder_of_the_exponential) {
    for (int i = 1; i <= 120; i++) {
        double x = -i / 10000.0, expected = 0, term = 1;
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

/* Logits as far apart as the narrow basis bears, and by the last bit farther. */
START_TEST(where_the_basis_turns_wide) {
    const double far = _i ? -4 : 4;
    vit_causal_prefix prefix = {.n = 0};
    ck_assert(vit_causal_add(&prefix, 0));
    vit_causal_add(&prefix, far);
    ck_assert(!prefix.basis.wide);
    ck_assert(vit_causal_add(&prefix, nextafter(far, 2 * far)));
    ck_assert(prefix.basis.wide);
    vit_causal_add(&prefix, 0); /* and never back */
    ck_assert(prefix.basis.wide);
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
    tcase_add_loop_test(tcase, where_the_basis_turns_wide, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
