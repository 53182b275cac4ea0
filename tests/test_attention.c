/* What all attentions share: configuration, parameters, memory, threads. */
#include "support/attention_case.h"
#include "support/guarded.h"
#include "support/support.h"

#include "vit/attention/core.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parameters ---- */

static const char *const zeros_names[] = {
    "q.weight",        "k.weight",      "v.weight", "u.weight",      "gate.weight",
    "q.bias",          "k.bias",        "v.bias",   "u.bias",        "gate.bias",
    "out_proj.weight", "out_proj.bias", "prior_mu", "prior_log_tau", NULL};
static const char *const sm_names[] = {
    "q.weight", "k.weight",  "v.weight",        "gate.weight",   "q.bias", "k.bias",
    "v.bias",   "gate.bias", "out_proj.weight", "out_proj.bias", NULL};
static const char *const timm_names[] = {"qkv.weight", "qkv.bias", "proj.weight", "proj.bias",
                                         NULL};
static const char *const *const names_of[] = {zeros_names, sm_names, timm_names, timm_names};

static void check_kind(const vit_param *p) {
    bool matrix = p->ndim == 2;
    ck_assert_uint_eq(p->flags, matrix ? VIT_PARAM_DECAY : 0);
    ck_assert_int_eq(p->init.kind, matrix ? VIT_INIT_TRUNC_NORMAL : VIT_INIT_CONSTANT);
    ck_assert(p->init.scale == (matrix ? 0.02f : 0.0f));
}

START_TEST(parameters) {
    const size_t H = 3, D = 12, columns[] = {4 * D + 3 * H, 3 * D + 3 * H, 3 * D, 3 * D};
    vit_attention_config config = {
        .kind = (vit_attention_kind)_i, .tokens = 5, .dim = D, .heads = H};
    attention_case c;
    attention_open(&c, &config, 1, 1);
    const char *const *names = names_of[_i];
    for (size_t i = 0; names[i] || i < c.table.count; i++) {
        ck_assert(names[i] && i < c.table.count);
        ck_assert_str_eq(c.table.items[i].name + strlen("attn."), names[i]);
        check_kind(&c.table.items[i]);
    }
    const vit_attention *a = &c.attention;
    ck_assert_uint_eq(a->columns, columns[_i]);
    ck_assert_uint_eq(a->in_bias, a->in_weight + a->columns * D);
    ck_assert_uint_eq(a->out_weight, a->in_bias + a->columns);
    ck_assert_uint_eq(a->out_bias, a->out_weight + D * D);
    if (_i == VIT_ATTENTION_ZEROS) {
        const vit_param *mu = vit_params_find(&c.table, "attn.prior_mu");
        const vit_param *tau = vit_params_find(&c.table, "attn.prior_log_tau");
        ck_assert_uint_eq(mu->offset, a->mu);
        ck_assert_uint_eq(tau->offset, a->tau);
        ck_assert(mu->ndim == 4 && mu->shape[2] == H && mu->shape[3] == D / H);
        ck_assert(tau->ndim == 4 && tau->shape[2] == H && tau->shape[3] == 1);
    }
    attention_close(&c);
}
END_TEST

/* ---- refused configurations ---- */

static const struct {
    vit_attention_config config;
    const char *message;
} refused[] = {
    {{.kind = 99, .tokens = 4, .dim = 8, .heads = 2}, "attention kind: 99 (expected 0 to "},
    {{.tokens = 0, .dim = 8, .heads = 2}, "attention tokens: 0 (expected 1 to 16777216)"},
    {{.tokens = (size_t)1 << 25, .dim = 8, .heads = 2}, "attention tokens: 33554432 (expected"},
    {{.tokens = 4, .dim = 0, .heads = 1}, "attention dim: 0 (expected 1 to 16777216)"},
    {{.tokens = 4, .dim = (size_t)-1, .heads = 1}, "attention dim: 1844674407"},
    {{.tokens = 4, .dim = 8, .heads = 0}, "attention heads: 0 (expected a divisor of dim 8)"},
    {{.tokens = 4, .dim = 8, .heads = 3}, "attention heads: 3 (expected a divisor of dim 8)"},
    {{.tokens = 4, .dim = 6, .heads = 2, .rope = VIT_ROPE_1D},
     "attention rope 1d: head width 3 (expected an even number)"},
    {{.tokens = 4, .dim = 12, .heads = 2, .rope = VIT_ROPE_2D, .grid_h = 2, .grid_w = 2},
     "attention rope 2d: head width 6 (expected a multiple of 4)"},
    {{.tokens = 7,
      .prefix = 1,
      .dim = 8,
      .heads = 2,
      .rope = VIT_ROPE_2D,
      .grid_h = 2,
      .grid_w = 2},
     "attention rope 2d: 7 tokens (expected a grid of 2 x 2 after 1 prefix tokens)"},
    {{.tokens = 1, .prefix = 1, .dim = 8, .heads = 2, .rope = VIT_ROPE_2D},
     "attention rope 2d: 1 tokens (expected a grid of 0 x 0"},
    {{.tokens = 4, .dim = 8, .heads = 2, .rope = 9}, "attention rope: 9 (expected 0, 1 or 2)"},
    {{.tokens = 4, .dim = 8, .heads = 2, .form = 5}, "attention form: 5 (expected 0, 1 or 2)"},
    {{.kind = VIT_ATTENTION_SOFTMAX, .tokens = 4, .dim = 8, .heads = 2, .causal = true},
     "attention softmax: causal (expected only with zeros"},
    {{.kind = VIT_ATTENTION_ZEROS_SM, .tokens = 4, .dim = 8, .heads = 2, .zero_order = true},
     "attention zeros-sm: zero_order (expected only with zeros"},
};

START_TEST(refusals) {
    vit_attention attention;
    vit_param_table table = {0};
    vit_status status = vit_attention_init(&attention, &refused[_i].config, "", &table);
    ck_assert_int_eq(status, VIT_ERROR_ARGUMENT);
    ck_assert_msg(strncmp(vit_last_error(), refused[_i].message, strlen(refused[_i].message)) == 0,
                  "the message is \"%s\", expected \"%s\"", vit_last_error(), refused[_i].message);
    ck_assert_uint_eq(table.count, 0);
    ck_assert_ptr_null(attention.cosine);
    vit_params_free(&table);
}
END_TEST

/* A name that the table refuses, after the first parameters are in it. */
START_TEST(declared_twice) {
    vit_attention attention;
    vit_param_table table = {0};
    vit_attention_config config = {.tokens = 4, .dim = 8, .heads = 2, .rope = VIT_ROPE_1D};
    ck_vit_ok(vit_attention_init(&attention, &config, "a.", &table));
    vit_attention_free(&attention);
    ck_assert_int_eq(vit_attention_init(&attention, &config, "a.", &table), VIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(attention.cosine);
    vit_params_free(&table);
}
END_TEST

START_TEST(sizes_that_do_not_fit) {
    vit_attention attention;
    vit_param_table table = {0};
    vit_arena arena = {0};
    vit_attention_saved saved;
    vit_attention_config config = {
        .kind = (vit_attention_kind)_i, .tokens = 1 << 20, .dim = 1 << 12, .heads = 1};
    ck_vit_ok(vit_attention_init(&attention, &config, "", &table));
    vit_attention_plan(&attention, (size_t)1 << 40, true, &arena, &saved);
    ck_assert(arena.overflow);
    ck_assert_uint_eq(vit_attention_scratch(&attention, (size_t)1 << 40, true), SIZE_MAX);
    vit_attention_free(&attention);
    vit_params_free(&table);
}
END_TEST

/* ---- what the variants have ---- */

static bool nobody_has(vit_attention_kind kind) {
    (void)kind;
    return false;
}

static bool everybody_has(vit_attention_kind kind) {
    (void)kind;
    return true;
}

START_TEST(names_of_variants) {
    char text[64] = "before";
    vit_attention_names_with(nobody_has, text, sizeof text);
    ck_assert_str_eq(text, "");
    vit_attention_names_with(vit_attention_has_causal, text, sizeof text);
    ck_assert_str_eq(text, "zeros");
    vit_attention_names_with(vit_attention_has_shares, text, sizeof text);
    ck_assert_str_eq(text, "softmax, linear");
    vit_attention_names_with(everybody_has, text, sizeof text);
    ck_assert_str_eq(text, "zeros, zeros-sm, softmax, linear");
    vit_attention_names_with(everybody_has, text, 9);
    ck_assert_str_eq(text, "zeros, z");
}
END_TEST

/* Those of every variant, the last one too, and no others. */
START_TEST(names_that_are_declared) {
    for (size_t kind = 0; kind < sizeof names_of / sizeof *names_of; kind++) {
        for (const char *const *name = names_of[kind]; *name; name++) {
            char full[64];
            snprintf(full, sizeof full, "blocks.3.attn.%s", *name);
            ck_assert_msg(vit_attention_declares(full, "blocks.3.attn."), "%s", full);
            ck_assert_msg(!vit_attention_declares(full, "blocks.2.attn."), "%s", full);
        }
    }
    ck_assert(!vit_attention_declares("attn.qkv", "attn."));
    ck_assert(!vit_attention_declares("", "attn."));
}
END_TEST

/* A multiply-add counts 2: both projections of 2 rows x columns a token, and the cores as
 * docs/zeros.md counts them. */
START_TEST(operations_of_a_forward) {
    const double N = 40, D = 12, H = 3, d = 4;
    const double quadratic = 4 * N * N * d, linear = 4 * N * d * d;
    const struct {
        vit_attention_config config;
        double columns, core;
    } cases[] = {
        {{.kind = VIT_ATTENTION_SOFTMAX}, 3 * D, quadratic},
        {{.kind = VIT_ATTENTION_LINEAR}, 3 * D, linear},
        {{.kind = VIT_ATTENTION_ZEROS_SM}, 3 * D + 3 * H, quadratic},
        {{.kind = VIT_ATTENTION_ZEROS}, 4 * D + 3 * H, 2 * linear}, /* two states */
        {{.kind = VIT_ATTENTION_ZEROS, .zero_order = true}, 4 * D + 3 * H, 3 * linear},
        {{.kind = VIT_ATTENTION_ZEROS, .causal = true}, 4 * D + 3 * H, 3 * linear},
        {{.kind = VIT_ATTENTION_ZEROS, .form = VIT_ZEROS_EXPLICIT}, 4 * D + 3 * H, quadratic},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vit_attention_config config = cases[i].config;
        config.tokens = 40;
        config.dim = 12;
        config.heads = 3;
        double expected = 2 * N * D * cases[i].columns + 2 * N * D * D + H * cases[i].core;
        double actual = vit_attention_flops(&config);
        ck_assert_msg(actual == expected, "case %zu: %g, expected %g", i, actual, expected);
    }
    /* Where the forms cost the same, at N = 2 d, the linear one is taken. */
    vit_attention_config config = {.kind = VIT_ATTENTION_ZEROS, .tokens = 7, .dim = 4, .heads = 1};
    ck_assert(vit_attention_flops(&config) == 2 * 7 * 4 * (4 * 4 + 3 + 4) + 4 * 7 * 7 * 4);
    config.tokens = 9;
    ck_assert(vit_attention_flops(&config) == 2 * 9 * 4 * (4 * 4 + 3 + 4) + 8 * 9 * 4 * 4);
}
END_TEST

/* ---- memory ---- */

static vit_attention_config small(vit_attention_kind kind, bool causal) {
    return (vit_attention_config){.kind = kind,
                                  .rope = VIT_ROPE_1D,
                                  .tokens = 15,
                                  .dim = 24,
                                  .heads = 3,
                                  .head_norm = true,
                                  .causal = causal};
}

/* Every kind, then causal zeros. */
enum { VARIANTS = VIT_ATTENTION_KINDS + 1 };
static vit_attention_config variant(int i) {
    bool causal = i == VIT_ATTENTION_KINDS;
    return small(causal ? VIT_ATTENTION_ZEROS : (vit_attention_kind)i, causal);
}

typedef struct core_memory {
    float *extra, *forward, *backward, *weights, *W;
    size_t extra_floats, forward_floats, backward_floats, weights_floats;
} core_memory;

static core_memory memory_open(const vit_attention *a) {
    const vit_attention_core *core = vit_attention_core_of(&a->config);
    core_memory m = {.extra_floats = core->extra_floats(a),
                     .forward_floats = core->forward_scratch(a),
                     .backward_floats = core->backward_scratch(a),
                     .weights_floats = core->weights_scratch(a)};
    m.extra = guarded_new(m.extra_floats);
    m.forward = guarded_new(m.forward_floats);
    m.backward = guarded_new(m.backward_floats);
    m.weights = guarded_new(m.weights_floats);
    m.W = guarded_new(a->config.tokens * a->config.tokens);
    return m;
}

static void memory_close(const vit_attention *a, core_memory *m) {
    guard_check("extra", m->extra, m->extra_floats);
    guard_check("forward's scratch", m->forward, m->forward_floats);
    guard_check("backward's scratch", m->backward, m->backward_floats);
    guard_check("weights' scratch", m->weights, m->weights_floats);
    guard_check("weights", m->W, a->config.tokens * a->config.tokens);
    free(m->extra);
    free(m->forward);
    free(m->backward);
    free(m->weights);
    free(m->W);
}

/* A core of one head, with exactly the memory that it asked for, writes nothing beside it. */
static void check_memory(const vit_attention_config *config) {
    attention_case c;
    attention_open(&c, config, 1, 10);
    attention_run(&c);
    const vit_attention *a = &c.attention;
    const vit_attention_core *core = vit_attention_core_of(config);
    size_t M = config->tokens, D = config->dim;
    core_memory m = memory_open(a);
    float *packed = random_new(1, M * a->columns, 1), *dpacked = filled_new(M * a->columns, 0);
    float *mixed = filled_new(M * D, 0), *dmixed = random_new(2, M * D, 1);
    core->forward(a, &(vit_core_forward_args){.params = c.params,
                                              .packed = vit_attention_head(a, packed, 0, 0),
                                              .mixed = mixed,
                                              .extra = m.extra,
                                              .scratch = m.forward});
    core->backward(a, &(vit_core_backward_args){.params = c.params,
                                                .grads = c.grads,
                                                .packed = vit_attention_head(a, packed, 0, 0),
                                                .mixed = mixed,
                                                .extra = m.extra,
                                                .dmixed = dmixed,
                                                .dpacked = vit_attention_head(a, dpacked, 0, 0),
                                                .scratch = m.backward});
    core->weights(a, &(vit_core_weights_args){.params = c.params,
                                              .packed = vit_attention_head(a, packed, 0, 0),
                                              .scratch = m.weights,
                                              .W = m.W});
    memory_close(a, &m);
    free(packed);
    free(dpacked);
    free(mixed);
    free(dmixed);
    attention_close(&c);
}

START_TEST(memory_of_a_core) {
    const size_t tokens[] = {1, 15, 64, 150, 300};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        for (int form = VIT_ZEROS_LINEAR; form <= VIT_ZEROS_EXPLICIT; form++) {
            vit_attention_config config = variant(_i);
            config.tokens = tokens[i];
            config.dim = 6;
            config.heads = 1;
            config.form = (vit_zeros_form)form;
            check_memory(&config);
            config.zero_order = vit_attention_has_zero_order(config.kind);
            check_memory(&config);
        }
    }
}
END_TEST

/* Without training there is less scratch, and it is enough. */
START_TEST(memory_of_inference) {
    attention_case c;
    vit_attention_config config = variant(_i);
    attention_open(&c, &config, 2, 10);
    attention_run(&c);
    size_t floats = vit_attention_scratch(&c.attention, 2, false), n = 2 * 15 * 24;
    float *scratch = guarded_new(floats), *y = filled_new(n, NAN);
    vit_attention_forward(&c.attention, c.params, 2, c.x, &c.saved, scratch, y);
    guard_check("scratch", scratch, floats);
    check_same_bits("y", n, y, c.y);
    free(scratch);
    free(y);
    attention_close(&c);
}
END_TEST

/* ---- gradients are added ---- */

START_TEST(gradients_are_added) {
    attention_case c;
    vit_attention_config config = variant(_i);
    attention_open(&c, &config, 2, 10);
    attention_run(&c);
    double *expected = to_double(c.grads, c.table.total);
    random_floats(3, c.table.total, 1, c.grads);
    for (size_t i = 0; i < c.table.total; i++) {
        expected[i] += (double)c.grads[i];
    }
    vit_attention_backward(&c.attention, c.params, c.grads, c.B, c.x, &c.saved, c.dy, c.scratch,
                           c.dx);
    check_close("grads", c.table.total, c.grads, expected, 1e-6);
    free(expected);
    attention_close(&c);
}
END_TEST

/* From a cotangent of zeros they are zeros to the last bit. */
START_TEST(no_cotangent) {
    attention_case c;
    vit_attention_config config = variant(_i);
    attention_open(&c, &config, 2, 10);
    memset(c.dy, 0, 2 * 15 * 24 * sizeof(float));
    attention_run(&c);
    for (size_t i = 0; i < (size_t)2 * 15 * 24; i++) {
        ck_assert(c.dx[i] == 0);
    }
    for (size_t i = 0; i < c.table.total; i++) {
        ck_assert(c.grads[i] == 0);
    }
    attention_close(&c);
}
END_TEST

/* Gradients are linear in the cotangent: of one that is smaller by a power of two they are smaller
 * by it to the last bit, hardly above the smallest floats too. Nothing else is added to them. */
START_TEST(tiny_cotangent) {
    const float tiny = 0x1p-100f;
    attention_case c;
    vit_attention_config config = variant(_i);
    size_t n = 2 * config.tokens * config.dim;
    attention_open(&c, &config, 2, 10);
    attention_run(&c);
    float *grads = filled_new(c.table.total, 0), *dx = filled_new(n, 0);
    for (size_t i = 0; i < c.table.total; i++) {
        grads[i] = c.grads[i] * tiny;
    }
    for (size_t i = 0; i < n; i++) {
        dx[i] = c.dx[i] * tiny;
        c.dy[i] *= tiny;
    }
    attention_run(&c);
    check_same_bits("dx", n, c.dx, dx);
    check_same_bits("grads", c.table.total, c.grads, grads);
    free(grads);
    free(dx);
    attention_close(&c);
}
END_TEST

/* dx may be where dy is, or nowhere. */
START_TEST(places_of_dx) {
    attention_case c;
    vit_attention_config config = variant(_i);
    attention_open(&c, &config, 2, 10);
    attention_run(&c);
    vit_attention_backward(&c.attention, c.params, c.grads, c.B, c.x, &c.saved, c.dy, c.scratch,
                           NULL);
    vit_attention_backward(&c.attention, c.params, c.grads, c.B, c.x, &c.saved, c.dy, c.scratch,
                           c.dy);
    ck_assert(memcmp(c.dx, c.dy, 2 * 15 * 24 * sizeof(float)) == 0);
    attention_close(&c);
}
END_TEST

/* ---- threads ---- */

typedef struct outcome {
    float *y, *dx, *grads;
    size_t n, total;
} outcome;

static outcome run_with(int variant_index, size_t tokens, int threads, bool inside) {
    attention_case c;
    vit_attention_config config = variant(variant_index);
    config.tokens = tokens;
    config.dim = 12;
    attention_open(&c, &config, 2, 10);
    omp_set_num_threads(threads);
    if (inside) {
        /* As a slot does it: every thread could have its own. */
#pragma omp parallel num_threads(threads)
#pragma omp single
        attention_run(&c);
    } else {
        attention_run(&c);
    }
    size_t n = 2 * tokens * config.dim;
    outcome o = {random_new(0, n, 0), random_new(0, n, 0), random_new(0, c.table.total, 0), n,
                 c.table.total};
    memcpy(o.y, c.y, n * sizeof(float));
    memcpy(o.dx, c.dx, n * sizeof(float));
    memcpy(o.grads, c.grads, c.table.total * sizeof(float));
    attention_close(&c);
    return o;
}

static void free_outcome(outcome *o) {
    free(o->y);
    free(o->dx);
    free(o->grads);
}

static void check_same(const char *what, const outcome *a, const outcome *b) {
    ck_assert_msg(memcmp(a->y, b->y, a->n * sizeof(float)) == 0, "%s: y differs", what);
    ck_assert_msg(memcmp(a->dx, b->dx, a->n * sizeof(float)) == 0, "%s: dx differs", what);
    ck_assert_msg(memcmp(a->grads, b->grads, a->total * sizeof(float)) == 0, "%s: grads differ",
                  what);
}

static void check_threads(int index, size_t tokens, bool inside, const outcome *first) {
    for (int threads = 1; threads <= 3; threads++) {
        char what[64];
        snprintf(what, sizeof what, "%d threads, %s a region", threads,
                 inside ? "inside" : "outside");
        outcome o = run_with(index, tokens, threads, inside);
        check_same(what, &o, first);
        free_outcome(&o);
    }
}

/* The same bits for any number of threads, outside of a region and inside one. All products have
 * few enough rows not to be cut in blocks here, so both sides must agree as well. */
START_TEST(same_bits) {
    outcome first = run_with(_i, 15, 1, true);
    check_threads(_i, 15, true, &first);
    check_threads(_i, 15, false, &first);
    free_outcome(&first);
}
END_TEST

/* Enough tokens for several blocks of rows in every product. */
START_TEST(same_bits_in_blocks) {
    for (int inside = 0; inside < 2; inside++) {
        outcome first = run_with(_i, 150, 1, inside);
        check_threads(_i, 150, inside, &first);
        free_outcome(&first);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *suite = suite_create("attention");
    TCase *tcase = tcase_create("interface");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, parameters, 0, sizeof names_of / sizeof *names_of);
    tcase_add_loop_test(tcase, refusals, 0, sizeof refused / sizeof *refused);
    tcase_add_test(tcase, declared_twice);
    tcase_add_loop_test(tcase, sizes_that_do_not_fit, 0, VIT_ATTENTION_KINDS);
    tcase_add_test(tcase, names_of_variants);
    tcase_add_test(tcase, names_that_are_declared);
    tcase_add_test(tcase, operations_of_a_forward);
    tcase_add_loop_test(tcase, memory_of_a_core, 0, VARIANTS);
    tcase_add_loop_test(tcase, memory_of_inference, 0, VARIANTS);
    tcase_add_loop_test(tcase, gradients_are_added, 0, VARIANTS);
    tcase_add_loop_test(tcase, no_cotangent, 0, VARIANTS);
    tcase_add_loop_test(tcase, tiny_cotangent, 0, VARIANTS);
    tcase_add_loop_test(tcase, places_of_dx, 0, VARIANTS);
    tcase_add_loop_test(tcase, same_bits, 0, VARIANTS);
    tcase_add_loop_test(tcase, same_bits_in_blocks, 0, VARIANTS);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void) {
    return test_run(suite());
}
