/* What the training options do to a run, and the recipes. */
#include "support/pictures.h"
#include "support/runs.h"
#include "support/support.h"

#include "train/recipes.h"
#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 6 }; /* of an epoch: 60 pictures in batches of 10 */

/* Into BASE/NAME, whose path is put into out. */
static vit_status train(const vit_train_settings *settings, char out[1024], const char *name,
                        bool resume, run_watch *s) {
    *s = (run_watch){0};
    vit_train_callbacks callbacks = run_callbacks(s);
    vit_train_request request = {.settings = settings,
                                 .data = run_data,
                                 .out = temp_path(out, run_base, "%s", name),
                                 .resume = resume};
    vit_train_result result;
    omp_set_num_threads(2);
    return vit_train(&request, &callbacks, &result);
}

static vit_train_settings settings_for(int epochs) {
    vit_train_settings settings = small_run_settings();
    settings.recipe.epochs = epochs;
    settings.recipe.warmup_epochs = 0;
    return settings;
}

static float *tensor_of(const char *folder, const char *file, const char *name, size_t *count) {
    char path[1024];
    vit_safetensors *opened;
    ck_vit_ok(safetensors_load(temp_path(path, folder, "%s", file), &opened));
    const vit_tensor *tensor = vit_safetensors_find(opened, name);
    ck_assert_msg(tensor != NULL, "%s: no tensor %s", path, name);
    float *values = malloc(tensor->count * sizeof *values);
    ck_assert_ptr_nonnull(values);
    vit_tensor_to_f32(tensor, values);
    *count = tensor->count;
    vit_safetensors_close(opened);
    return values;
}

static bool same_tensor(const char *a, const char *file_a, const char *name_a, const char *b,
                        const char *file_b, const char *name_b) {
    size_t m, n;
    float *x = tensor_of(a, file_a, name_a, &m), *y = tensor_of(b, file_b, name_b, &n);
    bool same = m == n && memcmp(x, y, n * sizeof *x) == 0;
    free(x);
    free(y);
    return same;
}

/* ---- steps ---- */

/* Two batches of 10 make the step of one of 20: draws are keyed by picture, not by batch. */
START_TEST(batches_add_up) {
    char a[1024], b[1024];
    run_watch s, t;
    vit_train_settings settings = settings_for(2);
    settings.recipe.drop_path = 0.2;
    settings.recipe.batch_size = 20;
    ck_vit_ok(train(&settings, a, "whole", false, &s));
    settings.recipe.batch_size = 10;
    settings.recipe.grad_accum_steps = 2;
    ck_vit_ok(train(&settings, b, "halves", false, &t));
    ck_assert_int_eq(t.progress, s.progress);
    ck_assert_uint_eq(t.rows[1].step, 6);
    size_t n, m;
    float *x = tensor_of(a, "last.safetensors", "head.weight", &n);
    float *y = tensor_of(b, "last.safetensors", "head.weight", &m);
    double *expected = to_double(x, n);
    check_close("head.weight", n, y, expected, 1e-3);
    ck_assert_double_le(fabs(s.rows[0].train_loss - t.rows[0].train_loss), 1e-4);
    free(x);
    free(y);
    free(expected);
    settings.recipe.grad_accum_steps = 4; /* 6 batches: 4 and 2 */
    ck_vit_ok(train(&settings, b, "uneven", false, &t));
    ck_assert_uint_eq(t.rows[1].step, 4);
}
END_TEST

START_TEST(the_average_is_what_is_saved) {
    char out[1024];
    run_watch s;
    vit_train_settings settings = settings_for(2);
    settings.recipe.model_ema = true;
    settings.recipe.model_ema_decay = 0.9;
    ck_vit_ok(train(&settings, out, "ema", false, &s));
    const char *state = "last.state.safetensors", *last = "last.safetensors";
    ck_assert(same_tensor(out, last, "head.weight", out, state, "ema.head.weight"));
    ck_assert(!same_tensor(out, last, "head.weight", out, state, "model.head.weight"));
    settings.recipe.model_ema_decay = 0; /* no average at all */
    ck_vit_ok(train(&settings, out, "ema0", false, &s));
    ck_assert(same_tensor(out, last, "head.weight", out, state, "model.head.weight"));
}
END_TEST

START_TEST(frozen_parameters_stay) {
    char a[1024], b[1024];
    run_watch s;
    vit_train_settings settings = settings_for(1);
    settings.recipe.lr = settings.recipe.warmup_lr = settings.recipe.min_lr = 0;
    ck_vit_ok(train(&settings, a, "still", false, &s)); /* the weights that every run begins with */
    settings = settings_for(1);
    strcpy(settings.recipe.freeze, "blocks.0.*,pos_embed");
    ck_vit_ok(train(&settings, b, "frozen", false, &s));
    const char *last = "last.safetensors";
    ck_assert(same_tensor(a, last, "pos_embed", b, last, "pos_embed"));
    ck_assert(same_tensor(a, last, "blocks.0.mlp.fc1.weight", b, last, "blocks.0.mlp.fc1.weight"));
    ck_assert(!same_tensor(a, last, "blocks.1.mlp.fc1.weight", b, last, "blocks.1.mlp.fc1.weight"));
    strcpy(settings.recipe.freeze, "block.0.*");
    ck_vit_fails(train(&settings, b, "nosuch", false, &s), VIT_ERROR_ARGUMENT,
                 "--freeze block.0.*");
}
END_TEST

START_TEST(every_optimizer_learns) {
    static const double rates[VIT_OPTIMIZER_COUNT] = {3e-3, 0.1, 1e-3, 0.02};
    char out[1024], name[32];
    run_watch s;
    vit_train_settings settings = settings_for(12);
    settings.recipe.opt = _i;
    settings.recipe.lr = rates[_i];
    settings.recipe.warmup_epochs = 1;
    settings.recipe.smoothing = 0;
    settings.augment.no_aug = true;
    snprintf(name, sizeof name, "opt%d", _i);
    ck_vit_ok(train(&settings, out, name, false, &s));
    ck_assert_msg(s.rows[11].train_loss < 0.8 * s.rows[0].train_loss, "%s: %g, then %g",
                  vit_optimizer_names[_i], s.rows[0].train_loss, s.rows[11].train_loss);
}
END_TEST

/* The rows of the table between --opt and --layer-decay are what optimisers are told: a value that
 * trainer.c does not hand over changes nothing, whatever the optimiser. */
START_TEST(every_flag_of_the_optimizers_shows) {
    size_t flag = 0;
    while (strcmp(vit_recipe_options[flag].name, "opt") != 0) {
        flag++;
    }
    while (strcmp(vit_recipe_options[++flag].name, "layer-decay") != 0) {
        const vit_option *option = &vit_recipe_options[flag];
        bool shows = false;
        for (int kind = 0; kind < VIT_OPTIMIZER_COUNT && !shows; kind++) {
            char a[1024], b[1024], name[64];
            run_watch s;
            vit_train_settings settings = settings_for(1);
            settings.recipe.opt = kind;
            snprintf(name, sizeof name, "as_is%zu.%d", flag, kind);
            ck_vit_ok(train(&settings, a, name, false, &s));
            ck_assert_int_eq(option->type, VIT_OPT_DOUBLE);
            for (int i = 0; i < (option->count ? option->count : 1); i++) {
                ((double *)(void *)((char *)&settings.recipe + option->offset))[i] = 0.5;
            }
            snprintf(name, sizeof name, "other%zu.%d", flag, kind);
            ck_vit_ok(train(&settings, b, name, false, &s));
            shows = !same_tensor(a, "last.safetensors", "blocks.1.mlp.fc1.weight", b,
                                 "last.safetensors", "blocks.1.mlp.fc1.weight");
        }
        ck_assert_msg(shows, "--%s", option->name);
    }
}
END_TEST

/* ---- how long ---- */

START_TEST(length_in_steps) {
    char out[1024];
    run_watch s;
    vit_train_settings settings = settings_for(100);
    settings.recipe.steps = 2 * STEPS + 2;
    ck_vit_ok(train(&settings, out, "steps", false, &s));
    ck_assert_int_eq(s.progress, 2 * STEPS + 2);
    ck_assert_int_eq(s.epochs, 3);
    ck_assert_uint_eq(s.rows[2].step, 2 * STEPS + 2);
    double share = 13.0 / 14; /* the schedule ends with them */
    double lr = 1e-5 + 0.5 * (3e-3 - 1e-5) * (1 + cos(M_PI * share));
    ck_assert_double_eq_tol(s.rows[2].lr, lr, 1e-12);
}
END_TEST

START_TEST(early_stop) {
    char out[1024];
    run_watch s;
    vit_train_settings settings = settings_for(20);
    settings.recipe.lr = settings.recipe.warmup_lr = settings.recipe.min_lr = 0; /* no better */
    settings.recipe.early_stop = 3;
    ck_vit_ok(train(&settings, out, "early", false, &s));
    ck_assert_int_eq(s.epochs, 4);
    ck_vit_ok(train(&settings, out, "early", true, &s)); /* still at its end */
    ck_assert_int_eq(s.epochs, 0);
    settings.recipe.early_stop = 5;
    ck_vit_ok(train(&settings, out, "early", true, &s));
    ck_assert_int_eq(s.epochs, 2);
}
END_TEST

START_TEST(time_limit) {
    char out[1024];
    run_watch s;
    vit_train_settings settings = settings_for(2);
    settings.recipe.time_limit = 1e-9;
    ck_vit_ok(train(&settings, out, "time", false, &s));
    ck_assert_int_eq(s.progress, 1); /* the epoch is cut short, but measured */
    ck_assert_int_eq(s.epochs, 1);
    ck_assert(s.rows[0].top1 >= 0);
    ck_vit_ok(train(&settings, out, "time", true, &s));
    ck_assert_int_eq(s.progress, 0);
    settings.recipe.time_limit = 0;
    ck_vit_ok(train(&settings, out, "time", true, &s));
    ck_assert_int_eq(s.epochs, 1);
    ck_assert_uint_eq(s.rows[0].step, 1 + STEPS);
}
END_TEST

/* ---- numbers that are not finite ---- */

START_TEST(bad_steps_are_left_out) {
    char out[1024];
    run_watch s;
    vit_train_settings settings = settings_for(2);
    settings.recipe.lr = 1e30; /* the first step explodes; from then on nothing is finite */
    strcpy(settings.recipe.on_nan, "skip:3");
    ck_vit_fails(train(&settings, out, "nan", false, &s), VIT_ERROR_NUMERIC,
                 "epoch 1, step 5 of 6");
    ck_assert_int_eq(s.warnings, 3);
    ck_assert_ptr_nonnull(strstr(s.warning, "step 4 of 6"));
    ck_assert_ptr_nonnull(strstr(s.warning, "3 of at most 3"));
    settings.recipe.grad_accum_steps = 2;
    strcpy(settings.recipe.on_nan, "skip 1");
    ck_vit_fails(train(&settings, out, "nan2", false, &s), VIT_ERROR_NUMERIC,
                 "epoch 1, step 3 of 3");
    ck_assert_int_eq(s.warnings, 1);
}
END_TEST

START_TEST(bad_words) {
    char out[1024];
    run_watch s;
    const char *const bad_nan[] = {"", "skip", "skip:", "skip:0", "skip:1.5", "skip:x", "sink:3"};
    const char *const bad_save[] = {"0", "-3", "x", "5h", "2.5", "2.5s", "m", "1e99m"};
    for (size_t i = 0; i < sizeof bad_nan / sizeof *bad_nan; i++) {
        vit_train_settings settings = settings_for(1);
        strcpy(settings.recipe.on_nan, bad_nan[i]);
        ck_vit_fails(train(&settings, out, "bad", false, &s), VIT_ERROR_ARGUMENT, "--on-nan");
    }
    for (size_t i = 0; i < sizeof bad_save / sizeof *bad_save; i++) {
        vit_train_settings settings = settings_for(1);
        strcpy(settings.recipe.save_every, bad_save[i]);
        ck_vit_fails(train(&settings, out, "bad", false, &s), VIT_ERROR_ARGUMENT, "--save-every");
    }
    uint64_t steps;
    double minutes;
    vit_recipe recipe = settings_for(1).recipe;
    strcpy(recipe.save_every, "2.5m");
    ck_vit_ok(vit_recipe_save_every(&recipe, &steps, &minutes));
    ck_assert_uint_eq(steps, 0);
    ck_assert_double_eq(minutes, 2.5);
    strcpy(recipe.save_every, "40");
    ck_vit_ok(vit_recipe_save_every(&recipe, &steps, &minutes));
    ck_assert_uint_eq(steps, 40);
    ck_assert_double_eq(minutes, 0);
}
END_TEST

/* ---- recipes ---- */

START_TEST(recipes_apply) {
    const char *name, *help;
    size_t count = 0;
    for (; (name = vit_recipe_name(count, &help)) != NULL; count++) {
        vit_train_settings settings = small_run_settings();
        unsigned char *sources = calloc(vit_train_setting_count(), 1);
        vit_option_group groups[VIT_SETTING_GROUPS];
        ck_assert_ptr_nonnull(sources);
        size_t group_count = vit_train_setting_groups(&settings, sources, groups);
        ck_vit_ok(vit_recipe_apply(name, groups, group_count));
        snprintf(settings.recipe.recipe, sizeof settings.recipe.recipe, "%s", name);
        ck_vit_ok(vit_train_settings_check(&settings));
        size_t changed = 0;
        for (size_t i = 0; i < vit_train_setting_count(); i++) {
            ck_assert(sources[i] == VIT_FROM_DEFAULT || sources[i] == VIT_FROM_RECIPE);
            changed += sources[i] == VIT_FROM_RECIPE;
        }
        ck_assert((changed > 0) == (strcmp(name, "default") != 0));
        ck_assert_uint_gt(strlen(help), 0);
        free(sources);
    }
    ck_assert_uint_eq(count, 5);
    ck_vit_fails(vit_recipe_find("nosuch"), VIT_ERROR_ARGUMENT,
                 "default, deit-tiny, large-batch, small-data, finetune");
}
END_TEST

START_TEST(deit_scales_its_rate) {
    vit_train_settings settings = small_run_settings();
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&settings, NULL, groups);
    ck_vit_ok(vit_recipe_apply("deit-tiny", groups, count));
    ck_assert_double_eq(vit_recipe_lr(&settings.recipe), 1e-3);
    settings.recipe.batch_size = 64;
    settings.recipe.grad_accum_steps = 4;
    ck_assert_double_eq(vit_recipe_lr(&settings.recipe), 2.5e-4);
    ck_assert_double_eq(settings.recipe.model_ema_decay, 0.99996);
    ck_assert(settings.recipe.model_ema);
    ck_assert_str_eq(settings.augment.aa, "rand-m9-mstd0.5-inc1");
    settings.recipe.lr_base_size = 0;
    ck_assert_double_eq(vit_recipe_lr(&settings.recipe), 5e-4);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("training");
    TCase *tc = tcase_create("training");
    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, run_base_make, run_base_remove);
    tcase_add_test(tc, batches_add_up);
    tcase_add_test(tc, the_average_is_what_is_saved);
    tcase_add_test(tc, frozen_parameters_stay);
    tcase_add_test(tc, every_flag_of_the_optimizers_shows);
    tcase_add_loop_test(tc, every_optimizer_learns, 0, VIT_OPTIMIZER_COUNT);
    tcase_add_test(tc, length_in_steps);
    tcase_add_test(tc, early_stop);
    tcase_add_test(tc, time_limit);
    tcase_add_test(tc, bad_steps_are_left_out);
    tcase_add_test(tc, bad_words);
    tcase_add_test(tc, recipes_apply);
    tcase_add_test(tc, deit_scales_its_rate);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
