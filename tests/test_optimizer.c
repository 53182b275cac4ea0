/* AdamW and clipping against torch, and that threads do not show. */
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
        vit_adamw options = {.lr = 0.01,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .eps = 1e-8,
                             .weight_decay = 0.05,
                             .step = step + 1};
        double scale = fmin(1.0, 5.0 / ((double)norm + 1e-6));
        vit_adamw_step(&options, &table, scale, grads, params, moment1, moment2);
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
    vit_adamw options = {.lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.5};
    for (options.step = 1; options.step <= 3; options.step++) {
        vit_adamw_step(&options, table, 0.7, grads, params, moments, moments + n);
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
    tcase_add_test(tc, norm);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
