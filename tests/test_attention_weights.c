/* The weights of every attention written out: against their definition, and against the forward
 * that they stand for. */
#include "support/attention_case.h"
#include "support/guarded.h"
#include "support/reference_attention.h"
#include "support/support.h"

#include "vit/attention/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define GRID .rope = VIT_ROPE_2D, .prefix = 1, .grid_h = 3, .grid_w = 4

static const struct {
    const char *name;
    vit_attention_config config;
} variants[] = {
    {"zeros", {.kind = VIT_ATTENTION_ZEROS, .tokens = 13, .dim = 16, .heads = 2, GRID}},
    {"zeros, linear form",
     {.kind = VIT_ATTENTION_ZEROS, .tokens = 40, .dim = 15, .heads = 3, .head_norm = true}},
    {"zeros, zero order",
     {.kind = VIT_ATTENTION_ZEROS,
      .tokens = 13,
      .dim = 16,
      .heads = 2,
      .head_norm = true,
      .zero_order = true,
      GRID}},
    {"zeros, one token", {.kind = VIT_ATTENTION_ZEROS, .tokens = 1, .dim = 6, .heads = 2}},
    {"zeros, causal",
     {.kind = VIT_ATTENTION_ZEROS,
      .tokens = 71,
      .dim = 12,
      .heads = 2,
      .rope = VIT_ROPE_1D,
      .causal = true}},
    {"zeros, causal, zero order",
     {.kind = VIT_ATTENTION_ZEROS,
      .tokens = 9,
      .dim = 10,
      .heads = 2,
      .head_norm = true,
      .zero_order = true,
      .causal = true}},
    {"zeros-sm", {.kind = VIT_ATTENTION_ZEROS_SM, .tokens = 13, .dim = 16, .heads = 2, GRID}},
    {"zeros-sm, head norm",
     {.kind = VIT_ATTENTION_ZEROS_SM, .tokens = 7, .dim = 15, .heads = 3, .head_norm = true}},
    {"softmax", {.kind = VIT_ATTENTION_SOFTMAX, .tokens = 13, .dim = 16, .heads = 2, GRID}},
    {"softmax, no rope", {.kind = VIT_ATTENTION_SOFTMAX, .tokens = 70, .dim = 15, .heads = 3}},
    {"linear", {.kind = VIT_ATTENTION_LINEAR, .tokens = 13, .dim = 16, .heads = 2, GRID}},
    {"zeros, causal, wide",
     {.kind = VIT_ATTENTION_ZEROS, .tokens = 33, .dim = 128, .heads = 2, .causal = true}},
    {"linear, no rope", {.kind = VIT_ATTENTION_LINEAR, .tokens = 8, .dim = 15, .heads = 3}},
};
enum { VARIANTS = sizeof variants / sizeof *variants, PICTURES = 2 };

/* One row of the head's output as the norm leaves it. */
static void norm_row(size_t d, double *o) {
    double mean = 0, variance = 0;
    for (size_t j = 0; j < d; j++) {
        mean += o[j] / (double)d;
    }
    for (size_t j = 0; j < d; j++) {
        variance += (o[j] - mean) * (o[j] - mean) / (double)d;
    }
    for (size_t j = 0; j < d; j++) {
        o[j] = (o[j] - mean) / sqrt(variance + (double)VIT_HEAD_NORM_EPS);
    }
}

/* W v, through the head norm where there is one, is what the forward left in mixed. */
static void check_output(const attention_case *c, const char *name, size_t b, size_t h,
                         const float *W) {
    const vit_attention *a = &c->attention;
    size_t N = a->config.tokens, D = a->config.dim, d = a->d;
    const float *v = c->saved.packed + b * N * a->columns + 2 * D + h * d;
    const float *mixed = c->saved.mixed + b * N * D + h * d;
    double *expected = calloc(N * d, sizeof *expected);
    float *actual = calloc(N * d, sizeof *actual);
    for (size_t t = 0; t < N; t++) {
        for (size_t i = 0; i < N; i++) {
            for (size_t j = 0; j < d; j++) {
                expected[t * d + j] += (double)W[t * N + i] * (double)v[i * a->columns + j];
            }
        }
        if (a->config.head_norm) {
            norm_row(d, expected + t * d);
        }
        for (size_t j = 0; j < d; j++) {
            actual[t * d + j] = mixed[t * D + j];
        }
    }
    check_close(name, N * d, actual, expected, 1e-5);
    free(expected);
    free(actual);
}

static void check_definition(const attention_case *c, const char *name, size_t b, size_t h,
                             const float *W) {
    size_t N = c->attention.config.tokens, D = c->attention.config.dim;
    double *params = to_double(c->params, c->table.total), *x = to_double(c->x + b * N * D, N * D);
    double *expected = calloc(N * N, sizeof *expected);
    reference_weights(&c->attention, c->row, params, h, x, expected);
    check_close(name, N * N, W, expected, 3e-6);
    free(params);
    free(x);
    free(expected);
}

START_TEST(weights_of_every_attention) {
    attention_case c;
    attention_open(&c, &variants[_i].config, PICTURES, 40 + (unsigned long long)_i);
    size_t N = c.attention.config.tokens;
    size_t floats = vit_attention_weights_scratch(&c.attention);
    float *scratch = guarded_new(floats), *W = guarded_new(N * N);
    vit_attention_forward(&c.attention, c.params, PICTURES, c.x, &c.saved, c.scratch, c.y);
    for (size_t pair = 0; pair < PICTURES * c.attention.config.heads; pair++) {
        size_t b = pair / c.attention.config.heads, h = pair % c.attention.config.heads;
        vit_attention_weights(&c.attention, c.params, &c.saved, b, h, scratch, W);
        check_definition(&c, variants[_i].name, b, h, W);
        check_output(&c, variants[_i].name, b, h, W);
    }
    guard_check("scratch", scratch, floats);
    guard_check("W", W, N * N);
    free(W);
    free(scratch);
    attention_close(&c);
}
END_TEST

/* The authors' layer: its parameters and pictures give weights that make its output. */
START_TEST(weights_of_golden_layers) {
    static const char *const files[] = {"zeros_rope2d_cls.safetensors",
                                        "zeros_deit_tiny.safetensors",
                                        "zeros_zero_order.safetensors"};
    attention_case c;
    attention_golden_open(&c, files[_i], VIT_ATTENTION_ZEROS);
    size_t N = c.attention.config.tokens;
    size_t floats = vit_attention_weights_scratch(&c.attention);
    float *scratch = guarded_new(floats), *W = guarded_new(N * N);
    vit_attention_forward(&c.attention, c.params, c.B, c.x, &c.saved, c.scratch, c.y);
    for (size_t h = 0; h < c.attention.config.heads; h++) {
        vit_attention_weights(&c.attention, c.params, &c.saved, c.B - 1, h, scratch, W);
        check_output(&c, files[_i], c.B - 1, h, W);
    }
    guard_check("scratch", scratch, floats);
    guard_check("W", W, N * N);
    free(W);
    free(scratch);
    attention_close(&c);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("attention weights");
    TCase *tc = tcase_create("weights");
    tcase_add_loop_test(tc, weights_of_every_attention, 0, VARIANTS);
    tcase_add_loop_test(tc, weights_of_golden_layers, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
