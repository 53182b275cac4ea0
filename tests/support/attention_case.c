#include "attention_case.h"

#include "guarded.h"
#include "reference_attention.h"
#include "support.h"
#include "vit/attention/core.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t floats_of(const attention_case *c) {
    return c->B * c->attention.config.tokens * c->attention.config.dim;
}

/* Weights that keep the scale of x, and everything else of a size that matters. */
static void randomise(attention_case *c, unsigned long long seed) {
    for (size_t i = 0; i < c->table.count; i++) {
        const vit_param *p = &c->table.items[i];
        double scale = p->ndim == 2 ? 1 / sqrt((double)p->shape[1]) : 0.4;
        random_floats(seed + i, p->size, scale, c->params + p->offset);
    }
}

static size_t extra_floats(const attention_case *c) {
    const vit_attention *a = &c->attention;
    return c->B * a->config.heads * vit_attention_core_of(&a->config)->extra_floats(a);
}

/* The saved tensors and the scratch, and behind each what nobody may write. */
static void plan(attention_case *c) {
    vit_attention_plan(&c->attention, c->B, true, &c->arena, &c->saved);
    vit_arena_floats(&c->arena, GUARD);
    c->scratch = vit_arena_floats(&c->arena, vit_attention_scratch(&c->attention, c->B, true));
    vit_arena_floats(&c->arena, GUARD);
}

void attention_open(attention_case *c, const vit_attention_config *config, size_t B,
                    unsigned long long seed) {
    *c = (attention_case){.B = B};
    ck_vit_ok(vit_attention_init(&c->attention, config, "attn.", &c->table));
    size_t n = floats_of(c);
    c->params = random_new(seed, c->table.total, 1);
    c->grads = random_new(seed, c->table.total, 0);
    c->x = random_new(seed + 1001, n, 1);
    c->dy = random_new(seed + 1002, n, 1);
    c->y = random_new(0, n, 0);
    c->dx = random_new(0, n, 0);
    randomise(c, seed);
    plan(c);
    ck_vit_ok(vit_arena_allocate(&c->arena, "attention test"));
    plan(c);
    ck_assert(!c->arena.overflow);
}

void attention_close(attention_case *c) {
    free(c->params);
    free(c->grads);
    free(c->x);
    free(c->dy);
    free(c->y);
    free(c->dx);
    vit_arena_free(&c->arena);
    vit_attention_free(&c->attention);
    vit_params_free(&c->table);
}

static void spoil(size_t n, float *x) {
    for (size_t i = 0; i < n; i++) {
        x[i] = NAN;
    }
}

void attention_run(attention_case *c) {
    size_t n = floats_of(c);
    size_t scratch = vit_attention_scratch(&c->attention, c->B, true);
    spoil(c->arena.capacity / sizeof(float), (float *)(void *)c->arena.base);
    spoil(n, c->y);
    spoil(n, c->dx);
    memset(c->grads, 0, c->table.total * sizeof *c->grads);
    guard_set(c->saved.extra, extra_floats(c));
    guard_set(c->scratch, scratch);
    vit_attention_forward(&c->attention, c->params, c->B, c->x, &c->saved, c->scratch, c->y);
    spoil(scratch, c->scratch);
    vit_attention_backward(&c->attention, c->params, c->grads, c->B, c->x, &c->saved, c->dy,
                           c->scratch, c->dx);
    guard_check("extra", c->saved.extra, extra_floats(c));
    guard_check("scratch", c->scratch, scratch);
}

static const vit_param *find(const attention_case *c, const char *name) {
    char full[VIT_NAME_MAX];
    snprintf(full, sizeof full, "attn.%s", name);
    const vit_param *p = vit_params_find(&c->table, full);
    ck_assert_msg(p != NULL, "no parameter %s", name);
    return p;
}

float *attention_param(const attention_case *c, const char *name, size_t *size) {
    const vit_param *p = find(c, name);
    if (size) {
        *size = p->size;
    }
    return c->params + p->offset;
}

float *attention_grad(const attention_case *c, const char *name, size_t *size) {
    return c->grads + (attention_param(c, name, size) - c->params);
}

void attention_scale(const attention_case *c, const char *name, float factor) {
    size_t n;
    float *values = attention_param(c, name, &n);
    for (size_t i = 0; i < n; i++) {
        values[i] *= factor;
    }
}

/* ---- against the reference ---- */

typedef struct loss_context {
    const attention_case *c;
    double *params, *x, *y;
    double *at; /* what is varied: a parameter in params, or x */
    size_t n;
} loss_context;

static double loss(void *context, const double *value) {
    loss_context *l = context;
    memcpy(l->at, value, l->n * sizeof *value);
    reference_attention(&l->c->attention, l->c->row, l->params, l->c->B, l->x, l->y, NULL);
    double sum = 0;
    for (size_t i = 0; i < floats_of(l->c); i++) {
        sum += l->y[i] * (double)l->c->dy[i];
    }
    return sum;
}

static double norm_of(size_t n, const float *x) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

/* Some gradients are zero by nature: that of a constant added to every value when the weights sum
 * to zero, that of a query when there is one token. True when the loss is flat in every direction.
 */
static bool is_flat(loss_context *l, const double *original) {
    double *at = malloc(l->n * sizeof *at);
    ck_assert_ptr_nonnull(at);
    memcpy(at, original, l->n * sizeof *at);
    double limit = 1e-8 * norm_of(floats_of(l->c), l->c->dy);
    bool flat = true;
    for (size_t i = 0; flat && i < l->n; i++) {
        at[i] = original[i] + 1e-2;
        double above = loss(l, at);
        at[i] = original[i] - 1e-2;
        flat = fabs(above - loss(l, at)) < 2e-2 * limit;
        at[i] = original[i];
    }
    free(at);
    return flat;
}

static void check_one(const char *what, const char *name, loss_context *l, double *at, size_t n,
                      const float *analytic, size_t samples, double bound) {
    char label[256];
    snprintf(label, sizeof label, "%s: gradient of %s", what, name);
    double *original = malloc(n * sizeof *original);
    ck_assert_ptr_nonnull(original);
    memcpy(original, at, n * sizeof *at);
    l->at = at;
    l->n = n;
    if (is_flat(l, original)) {
        double error = norm_of(n, analytic) / norm_of(floats_of(l->c), l->c->dy);
        ck_assert_msg(error <= bound, "%s: norm %.3g of the cotangent's, expected 0", label, error);
    } else {
        check_gradient(label, loss, l, n, original, analytic, samples, bound);
    }
    memcpy(at, original, n * sizeof *at);
    free(original);
}

void attention_check(attention_case *c, const char *what, size_t samples, double y_bound,
                     double gradient_bound) {
    size_t n = floats_of(c);
    loss_context l = {.c = c,
                      .params = to_double(c->params, c->table.total),
                      .x = to_double(c->x, n),
                      .y = to_double(c->x, n)};
    attention_run(c);
    reference_attention(&c->attention, c->row, l.params, c->B, l.x, l.y, NULL);
    check_close(what, n, c->y, l.y, y_bound);
    check_one(what, "x", &l, l.x, n, c->dx, samples, gradient_bound);
    for (size_t i = 0; i < c->table.count; i++) {
        const vit_param *p = &c->table.items[i];
        check_one(what, p->name, &l, l.params + p->offset, p->size, c->grads + p->offset, samples,
                  gradient_bound);
    }
    free(l.params);
    free(l.x);
    free(l.y);
}

void attention_check_finite(const attention_case *c) {
    for (size_t i = 0; i < floats_of(c); i++) {
        ck_assert_msg(isfinite(c->y[i]) && isfinite(c->dx[i]), "entry %zu: y %g, dx %g", i,
                      (double)c->y[i], (double)c->dx[i]);
    }
    for (size_t i = 0; i < c->table.total; i++) {
        ck_assert_msg(isfinite(c->grads[i]), "gradient %zu: %g", i, (double)c->grads[i]);
    }
}

void attention_check_output(attention_case *c, const char *what, double bound) {
    size_t n = floats_of(c);
    double *params = to_double(c->params, c->table.total), *x = to_double(c->x, n);
    double *y = to_double(c->x, n);
    reference_attention(&c->attention, c->row, params, c->B, x, y, NULL);
    attention_run(c);
    check_close(what, n, c->y, y, bound);
    attention_check_finite(c);
    free(params);
    free(x);
    free(y);
}

/* ---- against the authors' layer ---- */

static const char *setting(const vit_safetensors *file, const char *key, const char *absent) {
    const char *value = vit_safetensors_metadata(file, key);
    return value ? value : absent;
}

static bool is_true(const vit_safetensors *file, const char *key) {
    return strcmp(setting(file, key, "False"), "True") == 0;
}

static vit_attention_config golden_config(const vit_safetensors *file, size_t *B) {
    const vit_tensor *x = vit_safetensors_find(file, "x");
    ck_assert(x && x->ndim == 3);
    vit_attention_config config = {.tokens = x->shape[1], .dim = x->shape[2]};
    *B = x->shape[0];
    config.heads = (size_t)strtoul(setting(file, "heads", "0"), NULL, 10);
    config.prefix = (size_t)strtoul(setting(file, "prefix_tokens", "0"), NULL, 10);
    config.head_norm = is_true(file, "head_norm");
    config.zero_order = is_true(file, "zero_order");
    config.causal = is_true(file, "causal");
    const char *rope = setting(file, "rope", "none");
    while (strcmp(vit_rope_names[config.rope], rope) != 0) {
        config.rope++;
    }
    sscanf(setting(file, "grid", ""), "(%zu, %zu)", &config.grid_h, &config.grid_w);
    return config;
}

static void golden_copy(const vit_safetensors *file, const char *name, size_t n, float *out) {
    size_t count;
    float *values = golden_f32(file, name, &count);
    ck_assert_msg(count == n, "%s: %zu values, expected %zu", name, count, n);
    memcpy(out, values, n * sizeof *out);
    free(values);
}

/* Relative error; where the expected gradient is nothing but the round-off of a zero, the error
 * relative to the cotangent, which is what scales every gradient. */
static double golden_error(const vit_safetensors *file, const char *name, size_t n,
                           const float *actual, double cotangent_norm) {
    size_t count;
    double *expected = golden_f64(file, name, &count);
    ck_assert_msg(count == n, "%s: %zu values, expected %zu", name, count, n);
    double norm = 0, difference = 0;
    for (size_t i = 0; i < n; i++) {
        norm += expected[i] * expected[i];
        difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
    }
    free(expected);
    bool zero = sqrt(norm) < 1e-9 * cotangent_norm;
    return sqrt(difference) / (zero ? cotangent_norm : sqrt(norm));
}

static void fill(attention_case *c, const vit_safetensors *file, vit_zeros_form form,
                 vit_attention_kind kind) {
    size_t B;
    vit_attention_config config = golden_config(file, &B);
    config.form = form;
    config.kind = kind;
    attention_open(c, &config, B, 1);
    size_t n = floats_of(c);
    char name[2 * VIT_NAME_MAX];
    golden_copy(file, "x", n, c->x);
    golden_copy(file, "grad_out", n, c->dy);
    for (size_t i = 0; i < c->table.count; i++) {
        const vit_param *p = &c->table.items[i];
        snprintf(name, sizeof name, "param.%s", p->name + strlen("attn."));
        golden_copy(file, name, p->size, c->params + p->offset);
    }
}

void attention_golden_open(attention_case *c, const char *file_name, vit_attention_kind kind) {
    vit_safetensors *file = golden_open(file_name);
    fill(c, file, VIT_ZEROS_AUTO, kind);
    vit_safetensors_close(file);
}

void attention_check_golden(const char *name, vit_zeros_form form, vit_attention_kind kind) {
    static const char *const form_names[] = {"auto", "linear", "explicit"};
    char text[2 * VIT_NAME_MAX], worst[VIT_NAME_MAX] = "";
    snprintf(text, sizeof text, "%s.safetensors", name);
    vit_safetensors *file = golden_open(text);
    attention_case c;
    fill(&c, file, form, kind);
    size_t n = floats_of(&c);
    attention_run(&c);
    double cotangent = norm_of(n, c.dy), most = 0;
    double y = golden_error(file, "y", n, c.y, cotangent);
    double x = golden_error(file, "grad.x", n, c.dx, cotangent);
    for (size_t i = 0; i < c.table.count; i++) {
        const vit_param *p = &c.table.items[i];
        snprintf(text, sizeof text, "grad.%s", p->name + strlen("attn."));
        double error = golden_error(file, text, p->size, c.grads + p->offset, cotangent);
        if (!(error <= most)) { /* NaN too */
            most = error;
            snprintf(worst, sizeof worst, "%s", p->name + strlen("attn."));
        }
    }
    printf("%-22s %-8s y %.1e  x %.1e  parameters %.1e (%s)\n", name, form_names[form], y, x, most,
           worst);
    ck_assert_msg(y <= 2e-6, "%s: y is off by %g", name, y);
    ck_assert_msg(x <= 1e-5, "%s: grad x is off by %g", name, x);
    ck_assert_msg(most <= 2e-5, "%s: grad %s is off by %g", name, worst, most);
    attention_close(&c);
    vit_safetensors_close(file);
}
