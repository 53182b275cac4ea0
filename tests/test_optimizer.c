/* AdamW and clipping against torch, every optimiser against its definition in double, and that
 * threads do not show. */
#include "support/support.h"

#include "train/optimizer.h"
#include "vit/arena.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const vit_init zero = {VIT_INIT_CONSTANT, 0};

static void add(vit_param_table *table, const char *name, size_t size, unsigned flags) {
    size_t offset;
    ck_vit_ok(vit_params_add(table, "", name, 1, &size, flags, zero, &offset));
}

static void load(const vit_safetensors *file, const char *name, int step, size_t count,
                 float *out) {
    char full[64];
    snprintf(full, sizeof full, "%s.%d", name, step);
    size_t found;
    float *values = golden_f32(file, full, &found);
    ck_assert_uint_eq(found, count);
    memcpy(out, values, count * sizeof *out);
    free(values);
}

static void compare(const vit_safetensors *file, const char *name, int step, size_t count,
                    const float *actual, double bound) {
    char full[64];
    snprintf(full, sizeof full, "%s.%d", name, step);
    double *expected = golden_f64(file, full, NULL);
    check_close(full, count, actual, expected, bound);
    free(expected);
}

START_TEST(as_torch) {
    enum { W = 35, B = 7, N = W + B };
    vit_safetensors *file = golden_open("adamw.safetensors");
    vit_param_table table = {0};
    add(&table, "w", W, VIT_PARAM_DECAY);
    add(&table, "b", B, 0);
    float params[N], grads[N], moment1[N] = {0}, moment2[N] = {0};
    load(file, "w", 0, W, params);
    load(file, "b", 0, B, params + W);
    for (int step = 0; step < 6; step++) {
        load(file, "w.grad", step, W, grads);
        load(file, "b.grad", step, B, grads + W);
        float norm = (float)vit_grad_norm(N, grads);
        compare(file, "grad_norm", step, 1, &norm, 1e-6);
        vit_optimizer options = {.lr = 0.01,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8,
                                 .weight_decay = 0.05,
                                 .step = step + 1};
        double scale = fmin(1.0, 5.0 / ((double)norm + 1e-6));
        vit_optimizer_blocks blocks = {.params = params, .moment1 = moment1, .moment2 = moment2};
        vit_optimizer_step(&options, &table, scale, grads, &blocks);
        compare(file, "w", step + 1, W, params, 3e-7);
        compare(file, "b", step + 1, B, params + W, 3e-7);
    }
    vit_params_free(&table);
    vit_safetensors_close(file);
}
END_TEST

/* A table whose parameters straddle the chunks that threads take. */
static void odd_table(vit_param_table *table) {
    add(table, "a", 3, 0);
    add(table, "large", 70001, VIT_PARAM_DECAY);
    add(table, "frozen", 20011, VIT_PARAM_FROZEN | VIT_PARAM_DECAY);
    add(table, "empty", 0, 0);
    add(table, "tail", 1, 0);
}

static float *updated(int threads, const vit_param_table *table) {
    omp_set_num_threads(threads);
    size_t n = table->total;
    float *params = random_new(1, n, 1), *grads = random_new(2, n, 0.1);
    float *moments = calloc(2 * n, sizeof *moments);
    ck_assert_ptr_nonnull(moments);
    vit_optimizer options = {
        .lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.5};
    for (options.step = 1; options.step <= 3; options.step++) {
        vit_optimizer_blocks blocks = {
            .params = params, .moment1 = moments, .moment2 = moments + n};
        vit_optimizer_step(&options, table, 0.7, grads, &blocks);
    }
    free(grads);
    free(moments);
    return params;
}

START_TEST(threads_do_not_show) {
    vit_param_table table = {0};
    odd_table(&table);
    float *one = updated(1, &table);
    for (int threads = 2; threads <= 5; threads++) {
        float *many = updated(threads, &table);
        ck_assert_msg(memcmp(one, many, table.total * sizeof *one) == 0, "%d threads", threads);
        free(many);
    }
    free(one);
    vit_params_free(&table);
}
END_TEST

/* Every element against the textbook in double, one at a time. */
START_TEST(every_element_by_its_flags) {
    vit_param_table table = {0};
    odd_table(&table);
    size_t n = table.total;
    float *before = random_new(1, n, 1), *grads = random_new(2, n, 0.1);
    float *after = updated(3, &table);
    double *expected = to_double(before, n);
    for (size_t p = 0; p < table.count; p++) {
        const vit_param *param = &table.items[p];
        for (size_t i = param->offset; i < param->offset + param->size; i++) {
            double m = 0, v = 0, g = 0.7 * (double)grads[i];
            for (int t = 1; t <= 3 && !(param->flags & VIT_PARAM_FROZEN); t++) {
                m = 0.9 * m + 0.1 * g;
                v = 0.99 * v + 0.01 * g * g;
                expected[i] *= param->flags & VIT_PARAM_DECAY ? 1 - 0.1 * 0.5 : 1;
                expected[i] -=
                    0.1 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.99, t))) + 1e-8);
            }
        }
        check_close(param->name, param->size, after + param->offset, expected + param->offset,
                    param->flags & VIT_PARAM_FROZEN ? 0 : 2e-6);
    }
    free(before);
    free(grads);
    free(after);
    free(expected);
    vit_params_free(&table);
}
END_TEST

/* ---- every optimiser ---- */

enum { TIMES = 5 };
#define EMA_DECAY 0.7
#define SCALE 0.7 /* of the gradients */

static const float lr_scales[] = {1, 0.5f, 1, 1, 0.25f}; /* of the odd table */

static vit_optimizer options_of(int kind, int64_t step) {
    return (vit_optimizer){.kind = kind,
                           .lr = 0.05,
                           .beta1 = 0.9,
                           .beta2 = 0.97,
                           .eps = 1e-6,
                           .weight_decay = 0.3,
                           .momentum = 0.8,
                           .step = step,
                           .ema_decay = EMA_DECAY,
                           .lr_scale = lr_scales};
}

/* Some elements never have one: Lion's sign of nothing is 0, not 1. */
static float *gradient(const vit_param_table *table, int step) {
    float *grads = random_new(100 + (uint64_t)step, table->total, 0.1);
    for (size_t i = 0; i < table->total; i += 13) {
        grads[i] = 0;
    }
    return grads;
}

typedef struct trained {
    float *params, *moment1, *moment2, *ema;
} trained;

static trained train(int kind, int threads, const vit_param_table *table) {
    size_t n = table->total;
    float trust[8];
    trained t = {random_new(1, n, 1), calloc(n, sizeof(float)), calloc(n, sizeof(float)),
                 random_new(1, n, 1)};
    ck_assert(t.moment1 && t.moment2);
    omp_set_num_threads(threads);
    vit_optimizer_blocks blocks = {t.params, t.moment1,
                                   vit_optimizer_has_moment2(kind) ? t.moment2 : NULL, t.ema,
                                   vit_optimizer_has_trust(kind) ? trust : NULL};
    for (int step = 1; step <= TIMES; step++) {
        vit_optimizer options = options_of(kind, step);
        float *grads = gradient(table, step);
        vit_optimizer_step(&options, table, SCALE, grads, &blocks);
        free(grads);
    }
    return t;
}

static void trained_free(trained *t) {
    free(t->params);
    free(t->moment1);
    free(t->moment2);
    free(t->ema);
}

/* One parameter's step from the papers, one element after the other. */
static void reference_step(int kind, double lr, double wd, int t, size_t n, const float *grads,
                           double *p, double *m, double *v) {
    double p_square = 0, u_square = 0;
    double *u = calloc(n, sizeof *u);
    ck_assert_ptr_nonnull(u);
    for (size_t i = 0; i < n; i++) {
        double g = SCALE * (double)grads[i];
        if (kind == VIT_SGD) {
            g += wd * p[i];
            m[i] = 0.8 * m[i] + g;
            u[i] = g + 0.8 * m[i];
        } else if (kind == VIT_LION) {
            double direction = 0.9 * m[i] + (1 - 0.9) * g;
            u[i] = (direction > 0 ? 1 : direction < 0 ? -1 : 0) + wd * p[i];
            m[i] = 0.97 * m[i] + (1 - 0.97) * g;
        } else {
            m[i] = 0.9 * m[i] + (1 - 0.9) * g;
            v[i] = 0.97 * v[i] + (1 - 0.97) * g * g;
            u[i] = m[i] / (1 - pow(0.9, t)) / (sqrt(v[i] / (1 - pow(0.97, t))) + 1e-6) + wd * p[i];
        }
        p_square += p[i] * p[i];
        u_square += u[i] * u[i];
    }
    bool adapts = kind == VIT_LAMB && wd > 0 && p_square > 0 && u_square > 0;
    double ratio = adapts ? sqrt(p_square / u_square) : 1;
    for (size_t i = 0; i < n; i++) {
        p[i] -= lr * ratio * u[i];
    }
    free(u);
}

START_TEST(every_optimizer_by_definition) {
    vit_param_table table = {0};
    odd_table(&table);
    trained t = train(_i, 3, &table);
    for (size_t p = 0; p < table.count; p++) {
        const vit_param *param = &table.items[p];
        size_t n = param->size;
        float *before = random_new(1, table.total, 1);
        double *expected = to_double(before + param->offset, n);
        double *ema = to_double(before + param->offset, n);
        double *m = calloc(n + 1, sizeof *m), *v = calloc(n + 1, sizeof *v);
        bool frozen = param->flags & VIT_PARAM_FROZEN;
        for (int step = 1; step <= TIMES && !frozen; step++) {
            float *grads = gradient(&table, step);
            reference_step(_i, 0.05 * (double)lr_scales[p],
                           param->flags & VIT_PARAM_DECAY ? 0.3 : 0, step, n, grads + param->offset,
                           expected, m, v);
            for (size_t i = 0; i < n; i++) {
                ema[i] = EMA_DECAY * ema[i] + (1 - EMA_DECAY) * expected[i];
            }
            free(grads);
        }
        check_close(param->name, n, t.params + param->offset, expected, frozen ? 0 : 3e-6);
        check_close("average", n, t.ema + param->offset, ema, frozen ? 0 : 3e-6);
        free(before);
        free(expected);
        free(ema);
        free(m);
        free(v);
    }
    trained_free(&t);
    vit_params_free(&table);
}
END_TEST

/* One step of LAMB where it does not adapt: timm's trust ratio is 1 without decay, and for a
 * parameter of zeros, which could never leave them otherwise. */
static void check_lamb_step(const char *what, double wd, double scale) {
    enum { N = 37 };
    vit_param_table table = {0};
    add(&table, "w", N, VIT_PARAM_DECAY);
    float *params = random_new(1, N, scale), *grads = random_new(2, N, 0.1);
    float moment1[N] = {0}, moment2[N] = {0}, trust[1];
    double *expected = to_double(params, N), m[N] = {0}, v[N] = {0};
    reference_step(VIT_LAMB, 0.05, wd, 1, N, grads, expected, m, v);
    vit_optimizer options = options_of(VIT_LAMB, 1);
    options.weight_decay = wd;
    vit_optimizer_blocks blocks = {params, moment1, moment2, NULL, trust};
    vit_optimizer_step(&options, &table, SCALE, grads, &blocks);
    check_close(what, N, params, expected, 1e-6);
    free(params);
    free(grads);
    free(expected);
    vit_params_free(&table);
}

START_TEST(lamb_without_trust) {
    check_lamb_step("LAMB with decay", 0.3, 1);
    check_lamb_step("LAMB without decay", 0, 1);
    check_lamb_step("LAMB from zeros", 0.3, 0);
}
END_TEST

START_TEST(threads_do_not_show_in_any) {
    vit_param_table table = {0};
    odd_table(&table);
    trained one = train(_i, 1, &table);
    for (int threads = 2; threads <= 5; threads++) {
        trained many = train(_i, threads, &table);
        check_same_bits("parameters", table.total, many.params, one.params);
        check_same_bits("moments", table.total, many.moment1, one.moment1);
        check_same_bits("average", table.total, many.ema, one.ema);
        trained_free(&many);
    }
    trained_free(&one);
    vit_params_free(&table);
}
END_TEST

/* timm's ModelEmaV3 with gamma 1 and power 2/3. */
START_TEST(decay_of_the_average) {
    ck_assert_double_eq(vit_ema_decay(0.999, false, 1), 0.999);
    ck_assert_double_eq(vit_ema_decay(0.999, true, 1), 0);
    ck_assert_double_eq_tol(vit_ema_decay(0.999, true, 8), 0.75, 1e-15);
    ck_assert_double_eq_tol(vit_ema_decay(0.999, true, 1000), 0.99, 1e-15);
    ck_assert_double_eq(vit_ema_decay(0.999, true, 1000000), 0.999);
}
END_TEST

START_TEST(norm) {
    const size_t sizes[] = {0, 1, 7, 255, 256, 257, 100003};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        float *x = random_new(n, n, 3);
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        omp_set_num_threads(1);
        double one = vit_grad_norm(n, x);
        ck_assert_double_le(fabs(one - sqrt(sum)), 1e-12 * sqrt(sum));
        for (int threads = 2; threads <= 5; threads++) {
            omp_set_num_threads(threads);
            ck_assert_double_eq(vit_grad_norm(n, x), one);
        }
        if (n > 0) {
            x[n - 1] = NAN;
            ck_assert_double_nan(vit_grad_norm(n, x));
            x[n - 1] = INFINITY;
            ck_assert_double_infinite(vit_grad_norm(n, x));
            x[n - 1] = 1e38f; /* its square does not fit in a float */
            ck_assert_double_finite(vit_grad_norm(n, x));
        }
        free(x);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("optimizer");
    TCase *tc = tcase_create("optimizer");
    tcase_add_test(tc, as_torch);
    tcase_add_test(tc, threads_do_not_show);
    tcase_add_test(tc, every_element_by_its_flags);
    tcase_add_loop_test(tc, every_optimizer_by_definition, 0, VIT_OPTIMIZER_COUNT);
    tcase_add_test(tc, lamb_without_trust);
    tcase_add_loop_test(tc, threads_do_not_show_in_any, 0, VIT_OPTIMIZER_COUNT);
    tcase_add_test(tc, decay_of_the_average);
    tcase_add_test(tc, norm);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
