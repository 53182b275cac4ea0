/* The projections around every attention core. */
#include "vit/attention/attention.h"

#include "vit/attention/core.h"
#include "vit/gemm.h"
#include "vit/heap.h"
#include "vit/layers.h"

#include <omp.h>
#include <stdint.h>
#include <stdio.h>

/* ---- the variants ---- */

#define ROW(kind, name, family, core) name,
const char *const vit_attention_names[] = {VIT_ATTENTION_VARIANTS(ROW) NULL};
#undef ROW

#define ROW(kind, name, family, core) &core,
static const vit_attention_core *const cores[] = {VIT_ATTENTION_VARIANTS(ROW)};
#undef ROW

/* NULL when there is no such kind, or no such form of it. */
const vit_attention_core *vit_attention_core_of(const vit_attention_config *config) {
    if ((unsigned)config->kind >= VIT_ATTENTION_KINDS) {
        return NULL;
    }
    const vit_attention_core *core = cores[config->kind];
    return config->causal ? core->causal : core;
}

bool vit_attention_has_head_norm(vit_attention_kind kind) {
    return cores[kind]->head_norm;
}

bool vit_attention_has_zero_order(vit_attention_kind kind) {
    return cores[kind]->zero_order;
}

bool vit_attention_has_causal(vit_attention_kind kind) {
    return cores[kind]->causal != NULL;
}

bool vit_attention_has_shares(vit_attention_kind kind) {
    return cores[kind]->shares;
}

void vit_attention_names_with(bool (*has)(vit_attention_kind kind), char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (int kind = 0; kind < VIT_ATTENTION_KINDS && used < size; kind++) {
        if (has((vit_attention_kind)kind)) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                                     vit_attention_names[kind]);
        }
    }
}

double vit_attention_flops(const vit_attention_config *config) {
    const vit_attention_core *core = vit_attention_core_of(config);
    double N = (double)config->tokens, D = (double)config->dim, H = (double)config->heads;
    double columns = (double)core->projections * D + (core->gated ? 3 * H : 0);
    return 2 * N * D * (columns + D) + H * core->flops(config);
}

/* ---- checking the configuration ---- */

/* With neither tokens nor dim above this, every size of one picture fits in 64 bits and every
 * dimension of a product in BLAS's int. */
#define DIMENSION_MAX ((size_t)1 << 24)

static vit_status check_sizes(const vit_attention_config *c) {
    if (c->tokens < 1 || c->tokens > DIMENSION_MAX) {
        return vit_fail(VIT_ERROR_ARGUMENT, "attention tokens: %zu (expected 1 to %zu)", c->tokens,
                        DIMENSION_MAX);
    }
    if (c->dim < 1 || c->dim > DIMENSION_MAX) {
        return vit_fail(VIT_ERROR_ARGUMENT, "attention dim: %zu (expected 1 to %zu)", c->dim,
                        DIMENSION_MAX);
    }
    if (c->heads < 1 || c->dim % c->heads != 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "attention heads: %zu (expected a divisor of dim %zu)",
                        c->heads, c->dim);
    }
    return VIT_OK;
}

static vit_status check_rope(const vit_attention_config *c) {
    size_t d = c->dim / c->heads;
    switch (c->rope) {
    case VIT_ROPE_NONE:
        return VIT_OK;
    case VIT_ROPE_1D:
        if (d % 2 != 0) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "attention rope 1d: head width %zu (expected an even number)", d);
        }
        return VIT_OK;
    case VIT_ROPE_2D:
        if (d % 4 != 0) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "attention rope 2d: head width %zu (expected a multiple of 4)", d);
        }
        /* Divided, not multiplied: the grid may be anything. */
        if (c->prefix >= c->tokens || c->grid_w < 1 || (c->tokens - c->prefix) % c->grid_w != 0 ||
            (c->tokens - c->prefix) / c->grid_w != c->grid_h) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "attention rope 2d: %zu tokens (expected a grid of %zu x %zu after %zu "
                            "prefix tokens)",
                            c->tokens, c->grid_h, c->grid_w, c->prefix);
        }
        return VIT_OK;
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "attention rope: %d (expected 0, 1 or 2)", (int)c->rope);
}

static vit_status fail_without(const vit_attention_config *c, const char *what,
                               bool (*has)(vit_attention_kind kind)) {
    char names[256];
    vit_attention_names_with(has, names, sizeof names);
    return vit_fail(VIT_ERROR_ARGUMENT, "attention %s: %s (expected only with %s)",
                    vit_attention_names[c->kind], what, names);
}

static vit_status check_config(const vit_attention_config *c) {
    if ((unsigned)c->kind >= VIT_ATTENTION_KINDS) {
        return vit_fail(VIT_ERROR_ARGUMENT, "attention kind: %d (expected 0 to %d)", (int)c->kind,
                        VIT_ATTENTION_KINDS - 1);
    }
    if (c->causal && !vit_attention_has_causal(c->kind)) {
        return fail_without(c, "causal", vit_attention_has_causal);
    }
    if (c->zero_order && !vit_attention_has_zero_order(c->kind)) {
        return fail_without(c, "zero_order", vit_attention_has_zero_order);
    }
    if (c->form != VIT_ZEROS_AUTO && c->form != VIT_ZEROS_LINEAR && c->form != VIT_ZEROS_EXPLICIT) {
        return vit_fail(VIT_ERROR_ARGUMENT, "attention form: %d (expected 0, 1 or 2)",
                        (int)c->form);
    }
    vit_status status = check_sizes(c);
    return status != VIT_OK ? status : check_rope(c);
}

/* ---- declaring the parameters ---- */

/* All weights, then all biases, of the input projections: one (R,D) matrix and one (R) vector. */
static vit_status declare_input(vit_attention *attention, const vit_attention_core *core,
                                const char *prefix, vit_param_table *table) {
    vit_status status = VIT_OK;
    size_t D = attention->config.dim, gates = 3 * attention->config.heads, ignored;
    size_t names = 0; /* one at least */
    do {
        names++;
    } while (core->projection_names[names]);
    size_t rows = core->projections * D / names;
    attention->in_weight = table->total;
    for (size_t i = 0; i < names; i++) {
        VIT_TRY(vit_params_add_weight(table, prefix, core->projection_names[i], rows, D, &ignored));
    }
    if (core->gated) {
        VIT_TRY(vit_params_add_weight(table, prefix, "gate", gates, D, &ignored));
    }
    attention->in_bias = table->total;
    for (size_t i = 0; i < names; i++) {
        VIT_TRY(vit_params_add_bias(table, prefix, core->projection_names[i], rows, &ignored));
    }
    if (core->gated) {
        VIT_TRY(vit_params_add_bias(table, prefix, "gate", gates, &ignored));
    }
cleanup:
    return status;
}

static vit_status declare(vit_attention *attention, const vit_attention_core *core,
                          const char *prefix, vit_param_table *table) {
    vit_status status = VIT_OK;
    size_t D = attention->config.dim;
    VIT_TRY(declare_input(attention, core, prefix, table));
    VIT_TRY(vit_params_add_linear(table, prefix, core->output_name, D, D, &attention->out_weight,
                                  &attention->out_bias));
    if (core->declare) {
        VIT_TRY(core->declare(attention, prefix, table));
    }
cleanup:
    return status;
}

static vit_status make_rope(vit_attention *attention) {
    const vit_attention_config *c = &attention->config;
    if (c->rope == VIT_ROPE_NONE) {
        return VIT_OK;
    }
    if (c->rope_of) {
        attention->cosine = c->rope_of->cosine;
        attention->sine = c->rope_of->sine;
        return VIT_OK;
    }
    vit_status status = VIT_OK;
    void *block;
    size_t pairs = attention->d / 2;
    VIT_TRY(vit_alloc(&block, c->tokens * pairs, sizeof(float), "rotary cosines"));
    attention->cosine = block;
    VIT_TRY(vit_alloc(&block, c->tokens * pairs, sizeof(float), "rotary sines"));
    attention->sine = block;
    vit_rope_table(c->rope, c->tokens, c->prefix, c->grid_h, c->grid_w, attention->d,
                   attention->cosine, attention->sine);
cleanup:
    return status;
}

vit_status vit_attention_init(vit_attention *attention, const vit_attention_config *config,
                              const char *prefix, vit_param_table *table) {
    vit_status status = VIT_OK;
    *attention = (vit_attention){.config = *config};
    VIT_TRY(check_config(config));
    const vit_attention_core *core = vit_attention_core_of(config);
    attention->d = config->dim / config->heads;
    attention->columns = core->projections * config->dim + (core->gated ? 3 * config->heads : 0);
    VIT_TRY(declare(attention, core, prefix, table));
    VIT_TRY(make_rope(attention));
cleanup:
    if (status != VIT_OK) {
        vit_attention_free(attention);
    }
    return status;
}

void vit_attention_free(vit_attention *attention) {
    if (!attention->config.rope_of) {
        vit_free(attention->cosine);
        vit_free(attention->sine);
    }
    *attention = (vit_attention){0};
}

/* Of the smallest layer of every variant. */
bool vit_attention_declares(const char *name, const char *prefix) {
    bool found = false;
    for (int kind = 0; kind < VIT_ATTENTION_KINDS && !found; kind++) {
        const vit_attention_config config = {
            .kind = (vit_attention_kind)kind, .tokens = 1, .dim = 1, .heads = 1};
        vit_attention attention;
        vit_param_table table = {0};
        found = vit_attention_init(&attention, &config, prefix, &table) == VIT_OK &&
                vit_params_find(&table, name) != NULL;
        vit_attention_free(&attention);
        vit_params_free(&table);
    }
    return found;
}

/* ---- planning ---- */

void vit_attention_plan(const vit_attention *attention, size_t B, bool training, vit_arena *arena,
                        vit_attention_saved *saved) {
    (void)training; /* a forward writes all of it either way */
    const vit_attention_config *c = &attention->config;
    size_t M = vit_size_times(B, c->tokens);
    size_t extra = vit_attention_core_of(c)->extra_floats(attention);
    saved->packed = vit_arena_floats(arena, vit_size_times(M, attention->columns));
    saved->mixed = vit_arena_floats(arena, vit_size_times(M, c->dim));
    saved->extra = vit_arena_floats(arena, vit_size_times(vit_size_times(B, c->heads), extra));
}

size_t vit_attention_scratch(const vit_attention *attention, size_t B, bool training) {
    const vit_attention_config *c = &attention->config;
    const vit_attention_core *core = vit_attention_core_of(c);
    /* One piece for each thread that a forward can keep busy. */
    size_t forward = vit_size_times(vit_size_times(B, c->heads), core->forward_scratch(attention));
    if (!training) {
        return forward;
    }
    size_t M = vit_size_times(B, c->tokens);
    size_t backward = vit_size_plus(
        vit_size_plus(vit_size_times(M, c->dim), vit_size_times(M, attention->columns)),
        core->backward_scratch(attention));
    return forward > backward ? forward : backward;
}

/* ---- running ---- */

vit_head_columns vit_attention_head(const vit_attention *attention, float *packed, size_t b,
                                    size_t h) {
    const vit_attention_core *core = vit_attention_core_of(&attention->config);
    size_t D = attention->config.dim;
    float *row = packed + b * attention->config.tokens * attention->columns;
    float *first = row + h * attention->d;
    return (vit_head_columns){
        .q = first,
        .k = first + D,
        .v = first + 2 * D,
        .u = core->projections > 3 ? first + 3 * D : NULL,
        .gate = core->gated ? row + core->projections * D + 3 * h : NULL,
    };
}

static void forward_head(const vit_attention *attention, const float *params,
                         const vit_attention_saved *saved, size_t pair, float *scratch) {
    const vit_attention_config *c = &attention->config;
    const vit_attention_core *core = vit_attention_core_of(c);
    size_t b = pair / c->heads, h = pair % c->heads;
    vit_core_forward_args args = {
        .params = params,
        .head = h,
        .packed = vit_attention_head(attention, saved->packed, b, h),
        .mixed = saved->mixed + b * c->tokens * c->dim + h * attention->d,
        .extra = saved->extra + pair * core->extra_floats(attention),
        .scratch = scratch,
    };
    core->forward(attention, &args);
}

/* A core runs in a parallel region even when there is one thread: its products then take the same
 * path, and give the same bits, as in a slot. The region has all threads, though a picture may have
 * fewer heads: libgomp ends the threads that a smaller region leaves out and starts them anew in
 * the next. (static, 1): thread t takes the pairs t, t + threads, ..., so those that work are
 * below `pairs`, as many as there are pieces of scratch. */
static void forward_heads_shared(const vit_attention *attention, const float *params,
                                 const vit_attention_saved *saved, size_t pairs, float *scratch) {
    size_t piece = vit_attention_core_of(&attention->config)->forward_scratch(attention);
#pragma omp parallel for schedule(static, 1)
    for (size_t pair = 0; pair < pairs; pair++) {
        size_t thread = (size_t)omp_get_thread_num();
        forward_head(attention, params, saved, pair, scratch + thread * piece);
    }
}

void vit_attention_mix(const vit_attention *attention, const float *params, size_t B,
                       const vit_attention_saved *saved, float *scratch) {
    size_t pairs = B * attention->config.heads;
    if (vit_may_parallelise() && pairs > 0) {
        forward_heads_shared(attention, params, saved, pairs, scratch);
    } else {
        for (size_t pair = 0; pair < pairs; pair++) {
            forward_head(attention, params, saved, pair, scratch);
        }
    }
}

void vit_attention_forward(const vit_attention *attention, const float *params, size_t B,
                           const float *x, const vit_attention_saved *saved, float *scratch,
                           float *y) {
    const vit_attention_config *c = &attention->config;
    size_t M = B * c->tokens, D = c->dim;
    vit_linear_forward(M, D, attention->columns, x, params + attention->in_weight,
                       params + attention->in_bias, saved->packed);
    vit_attention_mix(attention, params, B, saved, scratch);
    vit_linear_forward(M, D, D, saved->mixed, params + attention->out_weight,
                       params + attention->out_bias, y);
}

void vit_attention_backward(const vit_attention *attention, const float *params, float *grads,
                            size_t B, const float *x, const vit_attention_saved *saved,
                            const float *dy, float *scratch, float *dx) {
    const vit_attention_config *c = &attention->config;
    const vit_attention_core *core = vit_attention_core_of(c);
    size_t M = B * c->tokens, D = c->dim;
    float *dmixed = scratch;                         /* (B,N,D) */
    float *dpacked = dmixed + M * D;                 /* (B,N,R) */
    float *inner = dpacked + M * attention->columns; /* the core's */
    vit_linear_backward(M, D, D, saved->mixed, params + attention->out_weight, dy, dmixed,
                        grads + attention->out_weight, grads + attention->out_bias);
    for (size_t pair = 0; pair < B * c->heads; pair++) {
        size_t b = pair / c->heads, h = pair % c->heads;
        size_t mixed = b * c->tokens * D + h * attention->d;
        vit_core_backward_args args = {
            .params = params,
            .grads = grads,
            .head = h,
            .packed = vit_attention_head(attention, saved->packed, b, h),
            .mixed = saved->mixed + mixed,
            .extra = saved->extra + pair * core->extra_floats(attention),
            .dmixed = dmixed + mixed,
            .dpacked = vit_attention_head(attention, dpacked, b, h),
            .scratch = inner,
        };
        core->backward(attention, &args);
    }
    vit_linear_backward(M, D, attention->columns, x, params + attention->in_weight, dpacked, dx,
                        grads + attention->in_weight, grads + attention->in_bias);
}
