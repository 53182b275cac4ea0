/* The learning rate against timm's CosineLRScheduler, and at its joints. */
#include "support/support.h"

#include "train/schedule.h"

#include <math.h>
#include <stdlib.h>

static double metadata_number(const vit_safetensors *file, const char *key) {
    const char *text = vit_safetensors_metadata(file, key);
    ck_assert_msg(text != NULL, "golden file without metadata %s", key);
    return strtod(text, NULL);
}

START_TEST(as_timm) {
    vit_safetensors *file = golden_open("cosine_schedule.safetensors");
    size_t count;
    double *expected = golden_f64(file, "lr_per_epoch", &count);
    vit_schedule schedule = {
        .lr = metadata_number(file, "lr"),
        .warmup_lr = metadata_number(file, "warmup_lr"),
        .min_lr = metadata_number(file, "min_lr"),
        .warmup_steps = metadata_number(file, "warmup_epochs"),
        .total_steps = metadata_number(file, "epochs"),
    };
    ck_assert_uint_eq(count, 300);
    for (size_t epoch = 0; epoch < count; epoch++) {
        double lr = vit_schedule_lr(&schedule, (double)epoch);
        ck_assert_msg(fabs(lr - expected[epoch]) <= 1e-12 * expected[epoch],
                      "epoch %zu: %.17g, timm has %.17g", epoch, lr, expected[epoch]);
    }
    free(expected);
    vit_safetensors_close(file);
}
END_TEST

START_TEST(linear_and_constant) {
    vit_schedule schedule = {.lr = 1,
                             .warmup_lr = 0.1,
                             .min_lr = 0.01,
                             .warmup_steps = 10,
                             .total_steps = 100,
                             .kind = VIT_SCHED_LINEAR};
    ck_assert_double_eq_tol(vit_schedule_lr(&schedule, 5), 0.55, 1e-15);
    ck_assert_double_eq_tol(vit_schedule_lr(&schedule, 50), 0.505, 1e-15);
    ck_assert_double_eq_tol(vit_schedule_lr(&schedule, 75), 0.01 + 0.99 / 4, 1e-15);
    ck_assert_double_eq(vit_schedule_lr(&schedule, 100), 0.01);
    schedule.kind = VIT_SCHED_CONSTANT;
    ck_assert_double_eq_tol(vit_schedule_lr(&schedule, 5), 0.55, 1e-15);
    ck_assert_double_eq(vit_schedule_lr(&schedule, 10), 1);
    ck_assert_double_eq(vit_schedule_lr(&schedule, 1e9), 1);
}
END_TEST

START_TEST(joints) {
    vit_schedule schedule = {
        .lr = 1, .warmup_lr = 0.1, .min_lr = 0.01, .warmup_steps = 10, .total_steps = 100};
    ck_assert_double_eq(vit_schedule_lr(&schedule, 0), 0.1);
    ck_assert_double_eq_tol(vit_schedule_lr(&schedule, 5), 0.55, 1e-15);
    ck_assert_double_eq_tol(vit_schedule_lr(&schedule, 50), 0.505, 1e-15);
    ck_assert_double_eq(vit_schedule_lr(&schedule, 100), 0.01);
    ck_assert_double_eq(vit_schedule_lr(&schedule, 1e9), 0.01);
    for (double step = 10; step < 100; step += 0.5) {
        double now = vit_schedule_lr(&schedule, step), later = vit_schedule_lr(&schedule, step + 1);
        ck_assert_msg(now > later && later >= 0.01, "does not fall at step %g", step);
    }
}
END_TEST

START_TEST(no_warm_up) {
    vit_schedule schedule = {.lr = 1, .warmup_lr = 0.1, .min_lr = 0, .total_steps = 10};
    ck_assert_double_eq(vit_schedule_lr(&schedule, 0), 1);
}
END_TEST

/* A run that ends where it begins is at its end: no 0 / 0. */
START_TEST(no_steps) {
    vit_schedule schedule = {.lr = 1, .min_lr = 0.01};
    ck_assert_double_eq(vit_schedule_lr(&schedule, 0), 0.01);
    schedule.kind = VIT_SCHED_LINEAR;
    ck_assert_double_eq(vit_schedule_lr(&schedule, 0), 0.01);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("schedule");
    TCase *tc = tcase_create("schedule");
    tcase_add_test(tc, as_timm);
    tcase_add_test(tc, linear_and_constant);
    tcase_add_test(tc, joints);
    tcase_add_test(tc, no_warm_up);
    tcase_add_test(tc, no_steps);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
