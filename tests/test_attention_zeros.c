/* ZeroS, encoder form: against the authors' layer, against its definition, and its properties. */
#include "support/attention_properties.h"
#include "support/support.h"

#include "vit/attention/core.h"
#include "vit/attention/deviation.h"
#include "vit/attention/zero_sum.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- golden ---- */

static const char *const golden_files[] = {
    "zeros_encoder",    "zeros_encoder_nonorm", "zeros_rope1d",    "zeros_rope2d",
    "zeros_rope2d_cls", "zeros_zero_order",     "zeros_one_token", "zeros_deit_tiny"};

START_TEST(golden_linear) {
    attention_check_golden(golden_files[_i], VIT_ZEROS_LINEAR, VIT_ATTENTION_ZEROS);
}
END_TEST

START_TEST(golden_explicit) {
    attention_check_golden(golden_files[_i], VIT_ZEROS_EXPLICIT, VIT_ATTENTION_ZEROS);
}
END_TEST

/* ---- the definition, in double ---- */

static const struct {
    const char *name;
    size_t B;
    vit_attention_config config;
} variants[] = {
    {"one token", 2, {.tokens = 1, .dim = 12, .heads = 3, .zero_order = true}},
    {"two tokens", 2, {.tokens = 2, .dim = 10, .heads = 2, .head_norm = true}},
    {"odd width", 2, {.tokens = 7, .dim = 15, .heads = 3, .head_norm = true}},
    {"one head", 1, {.tokens = 9, .dim = 17, .heads = 1}},
    {"width 2", 1, {.tokens = 6, .dim = 6, .heads = 3}},
    {"rope 1d", 2, {.tokens = 11, .dim = 12, .heads = 2, .rope = VIT_ROPE_1D, .head_norm = true}},
    {"rope 2d",
     2,
     {.tokens = 15,
      .dim = 24,
      .heads = 2,
      .rope = VIT_ROPE_2D,
      .grid_h = 3,
      .grid_w = 5,
      .head_norm = true}},
    {"rope 2d, class token, zero order",
     3,
     {.tokens = 11,
      .prefix = 1,
      .dim = 16,
      .heads = 2,
      .rope = VIT_ROPE_2D,
      .grid_h = 5,
      .grid_w = 2,
      .zero_order = true}},
    {"zero order, head norm",
     2,
     {.tokens = 13, .dim = 12, .heads = 2, .zero_order = true, .head_norm = true}},
    {"the usual width", 1, {.tokens = 5, .dim = 128, .heads = 2, .rope = VIT_ROPE_1D}},
    {"the usual width, zero order",
     1,
     {.tokens = 5, .dim = 128, .heads = 2, .zero_order = true, .head_norm = true}},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static void check_variant(int index, vit_zeros_form form) {
    attention_case c;
    vit_attention_config config = variants[index].config;
    config.form = form;
    attention_open(&c, &config, variants[index].B, 10);
    attention_check(&c, variants[index].name, 40, 2e-6, 2e-5);
    attention_close(&c);
}

START_TEST(definition_linear) {
    check_variant(_i, VIT_ZEROS_LINEAR);
}
END_TEST

START_TEST(definition_explicit) {
    check_variant(_i, VIT_ZEROS_EXPLICIT);
}
END_TEST

/* More tokens than either form takes at a time. */
START_TEST(several_blocks) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, 301, 12, 3);
    config.form = (vit_zeros_form)_i;
    config.zero_order = true;
    config.rope = VIT_ROPE_1D;
    attention_open(&c, &config, 1, 20);
    attention_check(&c, "301 tokens", 3, 2e-6, 2e-5);
    attention_close(&c);
}
END_TEST

START_TEST(clipped_tau) {
    attention_check_clipped_tau(false, 2e-6);
}
END_TEST

/* At the very ends of the clip the gradient is still that of inside. (At the upper one there is
 * nothing to see in this form: mean_u is then mu to the last bit.) */
START_TEST(tau_at_its_clip) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, 7, 12, 3);
    attention_open(&c, &config, 1, 30);
    float *tau = attention_param(&c, "prior_log_tau", NULL);
    const float *dtau = attention_grad(&c, "prior_log_tau", NULL);
    for (int h = 0; h < 3; h++) {
        tau[h] = -49.99f;
    }
    attention_run(&c);
    float inside[3];
    double expected[3];
    for (int h = 0; h < 3; h++) {
        expected[h] = (double)dtau[h] * exp(-0.01); /* in proportion to e^tau */
        tau[h] = -50;
    }
    attention_run(&c);
    memcpy(inside, dtau, sizeof inside);
    check_close("at the lower end", 3, inside, expected, 1e-5);
    attention_close(&c);
}
END_TEST

/* ---- properties ---- */

/* The same direction for every token's q and k, so that the weights are r times a constant. */
static void align(attention_case *c) {
    attention_scale(c, "q.weight", 0);
    attention_scale(c, "k.weight", 0);
}

/* Constant values weigh nothing, because the weights sum to zero; with the zero order they do. */
START_TEST(weights_sum_to_zero) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, 23, 12, 3);
    config.head_norm = false;
    config.form = _i % 2 ? VIT_ZEROS_EXPLICIT : VIT_ZEROS_LINEAR;
    config.zero_order = _i >= 2;
    attention_open(&c, &config, 2, 40);
    align(&c);
    attention_scale(&c, "out_proj.bias", 0);
    double change = attention_change_of_y(&c, "v.bias", 3);
    ck_assert_msg(config.zero_order ? change > 0.1 : change < 2e-5, "y changed by %g", change);
    attention_close(&c);
}
END_TEST

/* u gets a channel that is the same for all tokens and 0 elsewhere: it shifts every s alike. */
START_TEST(logits_shifted_alike) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, 19, 12, 2);
    attention_open(&c, &config, 2, 50);
    float *weight = attention_param(&c, "u.weight", NULL);
    float *bias = attention_param(&c, "u.bias", NULL);
    for (size_t h = 0; h < 2; h++) {
        memset(weight + h * 6 * 12, 0, 12 * sizeof *weight);
        bias[h * 6] = 0;
    }
    attention_run(&c);
    size_t n = 2 * 19 * 12;
    double *before = to_double(c.y, n);
    bias[0] = bias[6] = 3;
    attention_run(&c);
    check_close("y after a shift of s", n, c.y, before, 1e-5);
    free(before);
    attention_close(&c);
}
END_TEST

/* All gradients of both forms, at a size where both work in several pieces. */
START_TEST(forms_agree) {
    attention_case a, b;
    vit_attention_config config = attention_zeros_config(false, 290, 32, 2);
    config.zero_order = _i;
    config.form = VIT_ZEROS_LINEAR;
    attention_open(&a, &config, 2, 60);
    config.form = VIT_ZEROS_EXPLICIT;
    attention_open(&b, &config, 2, 60);
    attention_run(&a);
    attention_run(&b);
    size_t n = 2 * 290 * 32;
    double *y = to_double(b.y, n), *dx = to_double(b.dx, n);
    double *grads = to_double(b.grads, b.table.total);
    check_close("y of the linear form", n, a.y, y, 2e-6);
    check_close("dx of the linear form", n, a.dx, dx, 1e-5);
    for (size_t i = 0; i < a.table.count; i++) {
        const vit_param *p = &a.table.items[i];
        check_close(p->name, p->size, a.grads + p->offset, grads + p->offset, 1e-5);
    }
    free(y);
    free(dx);
    free(grads);
    attention_close(&a);
    attention_close(&b);
}
END_TEST

static bool all_finite(size_t n, const float *x) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

/* The spread of s in the reference. */
static double logit_spread(const attention_case *c) {
    size_t n = c->B * c->attention.config.tokens * c->attention.config.dim;
    size_t logits = c->B * c->attention.config.tokens * c->attention.config.heads;
    double *params = to_double(c->params, c->table.total), *x = to_double(c->x, n);
    double *y = to_double(c->x, n);
    double *s = malloc(logits * sizeof *s), low = INFINITY, high = -INFINITY;
    ck_assert_ptr_nonnull(s);
    reference_attention(&c->attention, c->row, params, c->B, x, y, s);
    for (size_t i = 0; i < logits; i++) {
        low = fmin(low, s[i]);
        high = fmax(high, s[i]);
    }
    free(params);
    free(x);
    free(y);
    free(s);
    return high - low;
}

START_TEST(large_logits) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, 37, 24, 2);
    config.form = _i ? VIT_ZEROS_EXPLICIT : VIT_ZEROS_LINEAR;
    attention_open(&c, &config, 2, 70);
    attention_scale(&c, "u.weight", 14);
    double spread = logit_spread(&c);
    ck_assert_msg(spread > 160, "the logits only spread over %g", spread);
    attention_check_output(&c, "y at large logits", 2e-5);
    attention_close(&c);
}
END_TEST

/* Only the higher orders, at the logits of a layer that has just begun to learn. */
START_TEST(small_logits) {
    attention_case c;
    attention_open_small_logits(&c, false);
    double spread = logit_spread(&c);
    ck_assert_msg(spread < 0.6, "the logits spread over %g", spread);
    attention_check_output(&c, "higher orders alone", 1e-5);
    attention_close(&c);
}
END_TEST

/* q and k of no length stay so, and their gradient is finite. */
START_TEST(zero_queries) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, 5, 8, 2);
    attention_open(&c, &config, 1, 90);
    align(&c);
    attention_scale(&c, "q.bias", 0);
    attention_run(&c);
    attention_check_finite(&c);
    attention_close(&c);
}
END_TEST

START_TEST(memory_grows_with_tokens) {
    attention_check_memory_grows_with_tokens(false, (vit_zeros_form)_i);
}
END_TEST

static size_t floats_of_a_head(size_t tokens, vit_zeros_form form, size_t *scratch) {
    vit_attention attention;
    vit_param_table table = {0};
    vit_attention_config config = attention_zeros_config(false, tokens, 12, 2);
    config.form = form;
    ck_vit_ok(vit_attention_init(&attention, &config, "", &table));
    size_t kept = vit_zeros_core.extra_floats(&attention);
    *scratch = vit_zeros_core.forward_scratch(&attention);
    vit_attention_free(&attention);
    vit_params_free(&table);
    return kept;
}

/* The states of the linear form cost as much as the weights of the other when N = 2d. */
START_TEST(form_by_cost) {
    size_t scratch[2], automatic = floats_of_a_head(11, VIT_ZEROS_AUTO, &scratch[0]);
    ck_assert_uint_eq(automatic, floats_of_a_head(11, VIT_ZEROS_EXPLICIT, &scratch[1]));
    ck_assert_uint_eq(scratch[0], scratch[1]);
    automatic = floats_of_a_head(12, VIT_ZEROS_AUTO, &scratch[0]);
    ck_assert_uint_eq(automatic, floats_of_a_head(12, VIT_ZEROS_LINEAR, &scratch[1]));
    ck_assert_uint_ne(automatic, floats_of_a_head(12, VIT_ZEROS_EXPLICIT, &scratch[1]));
}
END_TEST

/* The linear form has all weighted rows of few tokens, of many only some at a time: then one float
 * more a token, for the head norm. */
START_TEST(scratch_of_the_linear_form) {
    size_t few[2], many[2];
    for (size_t i = 0; i < 2; i++) {
        floats_of_a_head((size_t)8 << i, VIT_ZEROS_LINEAR, &few[i]);
        floats_of_a_head((size_t)512 << i, VIT_ZEROS_LINEAR, &many[i]);
    }
    ck_assert_uint_eq(few[0], 8 * (2 * 6 + 1));
    ck_assert_uint_eq(few[1], 2 * few[0]);
    ck_assert_uint_eq(many[1], many[0] + 512);
}
END_TEST

/* ---- the deviation logits by themselves ---- */

/* Of zeros and a prior at zero the mean and the logits are zeros to the last bit. */
START_TEST(no_deviation) {
    enum { N = 5, D = 12 };
    attention_case c;
    vit_attention_config config = attention_zeros_config(false, N, D, 1);
    attention_open(&c, &config, 1, 30);
    attention_scale(&c, "prior_mu", 0);
    float *u = filled_new(N * c.attention.columns, 0);
    float mean[D], s[2 * N];
    vit_deviation_forward(&c.attention, c.params, 0, u, mean, s);
    vit_deviation_causal_forward(&c.attention, c.params, 0, u, s + N);
    for (size_t j = 0; j < D; j++) {
        ck_assert(mean[j] == 0);
    }
    for (size_t t = 0; t < (size_t)2 * N; t++) {
        ck_assert(s[t] == 0);
    }
    free(u);
    attention_close(&c);
}
END_TEST

/* ---- the zero-sum softmax by itself ---- */

static void zero_sum_double(size_t N, const float *s, double *first, double *higher) {
    double n = (double)N, mean = 0, highest = -INFINITY, sum = 0;
    for (size_t i = 0; i < N; i++) {
        mean += (double)s[i] / n;
        highest = fmax(highest, (double)s[i]);
    }
    for (size_t i = 0; i < N; i++) {
        sum += exp((double)s[i] - highest);
    }
    for (size_t i = 0; i < N; i++) {
        first[i] = ((double)s[i] - mean) / n;
        higher[i] = exp((double)s[i] - highest) / sum - 1 / n - first[i];
    }
}

/* softmax - 1/N - delta/N as written, in float32. */
static void zero_sum_naive(size_t N, const float *s, float *higher) {
    float n = (float)N, mean = 0, highest = -INFINITY, sum = 0;
    for (size_t i = 0; i < N; i++) {
        mean += s[i] / n;
        highest = fmaxf(highest, s[i]);
    }
    for (size_t i = 0; i < N; i++) {
        sum += expf(s[i] - highest);
    }
    for (size_t i = 0; i < N; i++) {
        higher[i] = expf(s[i] - highest) / sum - 1 / n - (s[i] - mean) / n;
    }
}

START_TEST(zero_sum_accuracy) {
    const double scales[] = {0.001, 0.05, 0.5, 1, 5, 30};
    enum { N = 197 };
    float first[N], higher[N], whole[N];
    double first_reference[N], higher_reference[N];
    float *s = random_new(5, N, scales[_i]);
    zero_sum_double(N, s, first_reference, higher_reference);
    vit_zero_sum_forward(N, s, first, higher, whole);
    check_close("first order", N, first, first_reference, 2e-7);
    double error = relative_error(N, higher, higher_reference);
    double sums[3] = {0};
    for (size_t i = 0; i < N; i++) {
        sums[0] += (double)first[i];
        sums[1] += (double)higher[i];
        sums[2] += (double)whole[i];
        higher_reference[i] += first_reference[i];
    }
    check_close("softmax - 1/N", N, whole, higher_reference, 1e-6);
    ck_assert_msg(error < 3e-6, "higher orders at %g: error %g", scales[_i], error);
    for (int i = 0; i < 3; i++) {
        ck_assert_msg(fabs(sums[i]) < 1e-6 * fmax(1, scales[_i]), "sum %d is %g", i, sums[i]);
    }
    if (scales[_i] <= 0.05) { /* what the careful form is for */
        float naive[N];
        zero_sum_naive(N, s, naive);
        zero_sum_double(N, s, first_reference, higher_reference);
        double naive_error = relative_error(N, naive, higher_reference);
        printf("higher orders at |s| = %g: error %.1e, naive %.1e\n", scales[_i], error,
               naive_error);
        ck_assert_msg(naive_error > 30 * error, "the naive form errs only by %g", naive_error);
    }
    free(s);
}
END_TEST

typedef struct zero_sum_context {
    size_t N;
    const float *dfirst, *dhigher;
} zero_sum_context;

static double zero_sum_loss(void *context, const double *s) {
    const zero_sum_context *z = context;
    double n = (double)z->N, mean = 0, highest = -INFINITY, sum = 0, loss = 0;
    for (size_t i = 0; i < z->N; i++) {
        mean += s[i] / n;
        highest = fmax(highest, s[i]);
    }
    for (size_t i = 0; i < z->N; i++) {
        sum += exp(s[i] - highest);
    }
    for (size_t i = 0; i < z->N; i++) {
        double first = (s[i] - mean) / n;
        loss += 0.7 * (double)z->dfirst[i] * first +
                1.3 * (double)z->dhigher[i] * (exp(s[i] - highest) / sum - 1 / n - first);
    }
    return loss;
}

START_TEST(zero_sum_gradient) {
    const double scales[] = {0.05, 1, 20};
    enum { N = 41 };
    float first[N], higher[N], whole[N], ds[N];
    float *s = random_new(6, N, scales[_i]), *dfirst = random_new(7, N, 1);
    float *dhigher = random_new(8, N, 1);
    double *at = to_double(s, N);
    zero_sum_context context = {N, dfirst, dhigher};
    vit_zero_sum_forward(N, s, first, higher, whole);
    vit_zero_sum_backward(N, whole, 0.7f, dfirst, 1.3f, dhigher, ds);
    check_gradient("both orders", zero_sum_loss, &context, N, at, ds, N, 2e-6);
    memset(dfirst, 0, N * sizeof *dfirst); /* what is left is small when s is */
    vit_zero_sum_backward(N, whole, 0.7f, dfirst, 1.3f, dhigher, ds);
    check_gradient("higher orders", zero_sum_loss, &context, N, at, ds, N, 2e-6);
    free(s);
    free(dfirst);
    free(dhigher);
    free(at);
}
END_TEST

START_TEST(zero_sum_limits) {
    enum { N = 33 };
    float s[N], first[N], higher[N], whole[N];
    for (size_t i = 0; i < N; i++) {
        s[i] = i % 2 ? 80.0f : -80.0f;
    }
    vit_zero_sum_forward(N, s, first, higher, whole);
    ck_assert(all_finite(N, first) && all_finite(N, higher) && all_finite(N, whole));
    ck_assert_float_eq_tol(whole[1], 1.0f / 16 - 1.0f / N, 1e-7f);
    float one = 5, parts[3] = {1, 1, 1};
    vit_zero_sum_forward(1, &one, parts, parts + 1, parts + 2);
    ck_assert(parts[0] == 0 && parts[1] == 0 && parts[2] == 0);
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention_zeros");
    TCase *golden = tcase_create("golden");
    int files = sizeof golden_files / sizeof *golden_files;
    tcase_add_loop_test(golden, golden_linear, 0, files);
    tcase_add_loop_test(golden, golden_explicit, 0, files);
    suite_add_tcase(suite, golden);
    TCase *definition = tcase_create("definition");
    tcase_set_timeout(definition, 60);
    tcase_add_loop_test(definition, definition_linear, 0, VARIANTS);
    tcase_add_loop_test(definition, definition_explicit, 0, VARIANTS);
    tcase_add_loop_test(definition, several_blocks, VIT_ZEROS_LINEAR, VIT_ZEROS_EXPLICIT + 1);
    tcase_add_test(definition, clipped_tau);
    tcase_add_test(definition, tau_at_its_clip);
    suite_add_tcase(suite, definition);
    TCase *properties = tcase_create("properties");
    tcase_add_loop_test(properties, weights_sum_to_zero, 0, 4);
    tcase_add_test(properties, logits_shifted_alike);
    tcase_add_loop_test(properties, forms_agree, 0, 2);
    tcase_add_loop_test(properties, large_logits, 0, 2);
    tcase_add_test(properties, small_logits);
    tcase_add_test(properties, zero_queries);
    tcase_add_loop_test(properties, memory_grows_with_tokens, VIT_ZEROS_AUTO,
                        VIT_ZEROS_EXPLICIT + 1);
    tcase_add_test(properties, form_by_cost);
    tcase_add_test(properties, scratch_of_the_linear_form);
    tcase_add_test(properties, no_deviation);
    suite_add_tcase(suite, properties);
    TCase *zero_sum = tcase_create("zero sum");
    tcase_add_loop_test(zero_sum, zero_sum_accuracy, 0, 6);
    tcase_add_loop_test(zero_sum, zero_sum_gradient, 0, 3);
    tcase_add_test(zero_sum, zero_sum_limits);
    suite_add_tcase(suite, zero_sum);
    return suite;
}

int main(void) {
    return test_run(suite());
}
