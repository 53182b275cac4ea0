#include "attention_properties.h"

#include "support.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    size_t B;
    vit_attention_config config;
    size_t samples;
} shapes[ATTENTION_SHAPES] = {
    {"one token", 2, {.tokens = 1, .dim = 12, .heads = 3, .head_norm = true}, 60},
    {"two tokens", 2, {.tokens = 2, .dim = 10, .heads = 2}, 60},
    {"odd width", 2, {.tokens = 7, .dim = 15, .heads = 3, .head_norm = true}, 60},
    {"rope 1d", 2, {.tokens = 11, .dim = 12, .heads = 2, .rope = VIT_ROPE_1D}, 60},
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
     60},
    {"several blocks of rows", 1, {.tokens = 139, .dim = 9, .heads = 3, .head_norm = true}, 8},
};

void attention_check_shape(vit_attention_kind kind, int shape) {
    attention_case c;
    vit_attention_config config = shapes[shape].config;
    config.kind = kind;
    attention_open(&c, &config, shapes[shape].B, 10);
    attention_check(&c, shapes[shape].name, shapes[shape].samples, 2e-6, 2e-5);
    attention_close(&c);
}

double attention_change_of_y(attention_case *c, const char *name, float amount) {
    size_t n, count = c->B * c->attention.config.tokens * c->attention.config.dim;
    attention_run(c);
    double *before = to_double(c->y, count);
    float *values = attention_param(c, name, &n);
    for (size_t i = 0; i < n; i++) {
        values[i] += amount;
    }
    attention_run(c);
    double change = relative_error(count, c->y, before);
    free(before);
    return change;
}

void attention_check_sum_of_one(vit_attention_kind kind) {
    enum { N = 70, D = 12 };
    attention_case c;
    vit_attention_config config = {.kind = kind, .tokens = N, .dim = D, .heads = 2};
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

void attention_check_large_inputs(vit_attention_kind kind) {
    enum { D = 24 };
    attention_case c;
    vit_attention_config config = {.kind = kind, .tokens = 37, .dim = D, .heads = 2};
    attention_open(&c, &config, 1, 70);
    float *weight = attention_param(&c, "qkv.weight", NULL);
    for (size_t i = 0; i < D * D; i++) {
        weight[i] *= 10;
        weight[D * D + i] *= 4;
    }
    attention_check_output(&c, "y", 1e-4);
    attention_close(&c);
}

/* ---- ZeroS ---- */

vit_attention_config attention_zeros_config(bool causal, size_t tokens, size_t dim, size_t heads) {
    return (vit_attention_config){.kind = VIT_ATTENTION_ZEROS,
                                  .tokens = tokens,
                                  .dim = dim,
                                  .heads = heads,
                                  .head_norm = true,
                                  .causal = causal};
}

void attention_leave_higher_orders(const attention_case *c) {
    attention_scale(c, "out_proj.bias", 0);
    float *bias = attention_param(c, "gate.bias", NULL);
    bias[0] = bias[3] = -60; /* the first order is shut */
}

void attention_open_small_logits(attention_case *c, bool causal) {
    vit_attention_config config = attention_zeros_config(causal, 197, 24, 2);
    config.head_norm = false;
    attention_open(c, &config, 1, 80);
    attention_scale(c, "u.weight", 0.25f);
    attention_scale(c, "u.bias", 0);
    attention_leave_higher_orders(c);
}

void attention_check_clipped_tau(bool causal, double y_bound) {
    attention_case c;
    vit_attention_config config = attention_zeros_config(causal, 7, 12, 3);
    attention_open(&c, &config, 1, 30);
    float *tau = attention_param(&c, "prior_log_tau", NULL);
    tau[0] = -51;
    tau[1] = 31;
    tau[2] = 2;
    attention_check(&c, "clipped tau", 40, y_bound, 2e-5);
    const float *dtau = attention_grad(&c, "prior_log_tau", NULL);
    ck_assert(dtau[0] == 0 && dtau[1] == 0 && dtau[2] != 0);
    attention_close(&c);
}

void attention_check_memory_grows_with_tokens(bool causal, vit_zeros_form form) {
    double floats[2];
    for (size_t i = 0; i < 2; i++) {
        vit_attention attention;
        vit_param_table table = {0};
        vit_arena arena = {0};
        vit_attention_saved saved;
        vit_attention_config config = attention_zeros_config(causal, (size_t)4096 << i, 64, 1);
        config.form = form;
        ck_vit_ok(vit_attention_init(&attention, &config, "", &table));
        vit_attention_plan(&attention, 1, true, &arena, &saved);
        floats[i] = (double)(arena.used / sizeof(float)) +
                    (double)vit_attention_scratch(&attention, 1, true);
        vit_attention_free(&attention);
        vit_params_free(&table);
    }
    ck_assert_msg(floats[1] < 2.05 * floats[0], "%g floats, then %g", floats[0], floats[1]);
}
