/* The parameter table: layout, refusals, initial values. */
#include "support/support.h"

#include "vit/params.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const vit_init zero = {VIT_INIT_CONSTANT, 0};

static size_t add(vit_param_table *table, const char *prefix, const char *name, int ndim,
                  const size_t *shape, vit_init init) {
    size_t offset = SIZE_MAX;
    ck_vit_ok(vit_params_add(table, prefix, name, ndim, shape, VIT_PARAM_DECAY, init, &offset));
    return offset;
}

START_TEST(one_after_another) {
    vit_param_table table = {0};
    const size_t shape[4] = {2, 3, 5, 7};
    ck_assert_uint_eq(add(&table, "blocks.0.", "a", 1, shape, zero), 0);
    ck_assert_uint_eq(add(&table, "blocks.0.", "b", 2, shape, zero), 2);
    ck_assert_uint_eq(add(&table, "blocks.1.", "a", 3, shape, zero), 8);
    ck_assert_uint_eq(add(&table, "", "c", 4, shape, zero), 38);
    ck_assert_uint_eq(table.count, 4);
    ck_assert_uint_eq(table.total, 248);
    const vit_param *param = vit_params_find(&table, "blocks.1.a");
    ck_assert_ptr_nonnull(param);
    ck_assert(param->offset == 8 && param->size == 30 && param->ndim == 3 && param->shape[2] == 5);
    ck_assert_uint_eq(param->flags, VIT_PARAM_DECAY);
    ck_assert_ptr_null(vit_params_find(&table, "blocks.1.b"));
    vit_params_free(&table);
    ck_assert(table.items == NULL && table.count == 0 && table.total == 0);
}
END_TEST

START_TEST(table_grows) {
    vit_param_table table = {0};
    const size_t shape[1] = {3};
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        ck_assert_uint_eq(add(&table, "", name, 1, shape, zero), (size_t)i * 3);
    }
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        ck_assert_uint_eq(vit_params_find(&table, name)->offset, (size_t)i * 3);
    }
    vit_params_free(&table);
}
END_TEST

static void refuse(vit_param_table *table, const char *name, int ndim, const size_t *shape,
                   vit_status expected) {
    size_t offset = 0, total = table->total, count = table->count;
    ck_assert_int_eq(vit_params_add(table, "p.", name, ndim, shape, 0, zero, &offset), expected);
    ck_assert_msg(strstr(vit_last_error(), name), "the message does not name it: %s",
                  vit_last_error());
    ck_assert(table->total == total && table->count == count);
}

START_TEST(refusals) {
    vit_param_table table = {0};
    const size_t shape[4] = {2, 3, 5, 7}, huge[4] = {SIZE_MAX / 2, 3, 1, 1};
    const size_t bytes[1] = {SIZE_MAX / 4 - 1};
    add(&table, "p.", "there", 1, shape, zero);
    char name[VIT_NAME_MAX];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    refuse(&table, "there", 2, shape, VIT_ERROR_ARGUMENT);
    refuse(&table, name, 1, shape, VIT_ERROR_ARGUMENT); /* too long with its prefix */
    refuse(&table, "no_dims", 0, shape, VIT_ERROR_LIMIT);
    refuse(&table, "five_dims", 5, shape, VIT_ERROR_LIMIT);
    refuse(&table, "huge", 2, huge, VIT_ERROR_LIMIT);
    refuse(&table, "bytes", 1, bytes, VIT_ERROR_LIMIT); /* beside the two floats already there */
    name[VIT_NAME_MAX - 3] = 0;                         /* the longest that fits after "p." */
    add(&table, "p.", name, 1, shape, zero);
    vit_params_free(&table);
}
END_TEST

/* Mean, standard deviation and largest magnitude. */
static void statistics(size_t n, const float *x, double out[3]) {
    memset(out, 0, 3 * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        out[0] += x[i] / (double)n;
        out[2] = fmax(out[2], fabs(x[i]));
    }
    for (size_t i = 0; i < n; i++) {
        out[1] += (x[i] - out[0]) * (x[i] - out[0]) / (double)n;
    }
    out[1] = sqrt(out[1]);
}

START_TEST(initial_values) {
    enum { N = 20000 };
    const size_t shape[1] = {N};
    vit_param_table table = {0};
    add(&table, "", "constant", 1, shape, (vit_init){VIT_INIT_CONSTANT, 0.75f});
    add(&table, "", "trunc", 1, shape, (vit_init){VIT_INIT_TRUNC_NORMAL, 0.02f});
    add(&table, "", "cut", 1, shape, (vit_init){VIT_INIT_TRUNC_NORMAL, 1});
    add(&table, "", "normal", 1, shape, (vit_init){VIT_INIT_NORMAL, 1e-3f});
    add(&table, "", "uniform", 1, shape, (vit_init){VIT_INIT_UNIFORM, 0.5f});
    float *block = filled_new(table.total, NAN);
    vit_params_init(&table, 42, block);
    /* Standard deviations; that of a normal cut at two of its own is 0.8796. */
    const double expected[5] = {0, 0.02, 0.8796, 1e-3, 0.5 / sqrt(3)};
    const double least[5] = {0.75, 0.06, 1.99, 3e-3, 0.499};
    const double most[5] = {0.75, 0.12, 2, 6e-3, 0.5};
    for (size_t i = 0; i < 5; i++) {
        double s[3];
        statistics(N, block + i * N, s);
        double mean = i == 0 ? 0.75 : 0;
        ck_assert_double_le(fabs(s[0] - mean), 4 * expected[i] / sqrt(N) + 1e-9);
        ck_assert_double_le(fabs(s[1] - expected[i]), 0.03 * expected[i] + 1e-9);
        ck_assert_msg(s[2] >= least[i] && s[2] <= most[i], "%s reaches %g", table.items[i].name,
                      s[2]);
    }
    free(block);
    vit_params_free(&table);
}
END_TEST

/* A parameter's values depend on the seed and its name, not on what stands before it. */
START_TEST(initial_values_are_keyed) {
    const size_t shape[1] = {10};
    const vit_init normal = {VIT_INIT_NORMAL, 1};
    vit_param_table one = {0}, two = {0};
    add(&one, "", "a", 1, shape, normal);
    add(&two, "", "b", 1, shape, normal);
    size_t offset = add(&two, "", "a", 1, shape, normal);
    float first[10], both[20], other[10];
    vit_params_init(&one, 1, first);
    vit_params_init(&two, 1, both);
    vit_params_init(&one, 2, other);
    check_same_bits("a", 10, both + offset, first);
    ck_assert(memcmp(both, first, sizeof first) != 0);
    ck_assert(memcmp(other, first, sizeof first) != 0);
    vit_params_free(&one);
    vit_params_free(&two);
}
END_TEST

START_TEST(threads_do_not_change_initial_values) {
    const vit_init normal = {VIT_INIT_TRUNC_NORMAL, 0.5f};
    vit_param_table table = {0};
    const char *const names[5] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 5; i++) {
        add(&table, "", names[i], 1, (size_t[]){1000 * i + 1}, normal);
    }
    float *one = filled_new(table.total, NAN), *three = filled_new(table.total, NAN);
    omp_set_num_threads(1);
    vit_params_init(&table, 5, one);
    omp_set_num_threads(3);
    vit_params_init(&table, 5, three);
    check_same_bits("values", table.total, three, one);
    free(one), free(three);
    vit_params_free(&table);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("params");
    TCase *c = tcase_create("params");
    tcase_add_test(c, one_after_another);
    tcase_add_test(c, table_grows);
    tcase_add_test(c, refusals);
    tcase_add_test(c, initial_values);
    tcase_add_test(c, initial_values_are_keyed);
    tcase_add_test(c, threads_do_not_change_initial_values);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
