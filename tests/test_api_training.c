/* Training through the public interface: its settings, callbacks, stopping and going on. */
#include "support/files.h"
#include "support/pictures.h"
#include "support/support.h"

#include "train/settings.h"
#include "train/trainer.h"
#include "vit/file.h"
#include "vit/zvit.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const char *const classes[] = {"ant", "bee", "cat"};
static char *base;
static char data[1024];

static void make_base(void) {
    base = temp_folder();
    make_pictures(temp_path(data, base, "data"), "train", classes, 3, 8, 20, 18, 1);
    make_pictures(data, "val", classes, 3, 4, 20, 18, 2);
}

static void remove_base(void) {
    temp_folder_remove(base);
    base = NULL;
}

static void set(vit_training *training, const char *name, const char *value) {
    vit_status status = vit_training_set(training, name, value);
    ck_assert_msg(status == VIT_OK, "%s %s: %s", name, value, vit_last_error());
}

static void check_value(vit_training *training, const char *name, const char *value) {
    const char *found = vit_training_get(training, name);
    ck_assert_msg(found != NULL, "%s: %s", name, vit_last_error());
    ck_assert_str_eq(found, value);
}

static vit_training *make_training(const char *folder, const vit_training_options *options) {
    vit_training *training;
    char path[1024];
    ck_vit_ok(vit_training_create(&training, data, temp_path(path, base, "%s", folder), options));
    set(training, "img-size", "16");
    set(training, "patch-size", "8");
    set(training, "embed-dim", "16");
    set(training, "depth", "1");
    set(training, "num_heads", "2");
    set(training, "batch-size", "6");
    set(training, "epochs", "3");
    return training;
}

/* ---- the list of settings ---- */

START_TEST(settings_are_listed) {
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t index = 0, found = 0;
    const vit_setting *s;
    bool has_model = false, has_auto = false;
    vit_train_setting_groups(&settings, NULL, groups);
    for (; (s = vit_get_setting(index)) != NULL; index++) {
        size_t g, i;
        has_model = has_model || strcmp(s->name, "model") == 0;
        ck_assert_msg(s->help != NULL && *s->help, "%s", s->name);
        ck_assert_ptr_nonnull(s->group);
        ck_assert_ptr_nonnull(s->default_value);
        ck_assert_msg(s->min_count >= 1 && s->max_count >= s->min_count, "%s", s->name);
        ck_assert_int_eq(s->type == VIT_SETTING_CHOICE, s->choices != NULL);
        if (vit_settings_find(groups, s->name, &g, &i)) {
            ck_assert_str_eq(s->help, groups[g].options[i].help);
            found++;
        }
        if (strcmp(s->name, "scale") == 0) {
            ck_assert_uint_eq(s->max_count, 2);
            ck_assert_int_eq(s->type, VIT_SETTING_NUMBER);
        }
        if (strcmp(s->name, "img-size") == 0) {
            ck_assert_uint_eq(s->min_count, 1);
            ck_assert_uint_eq(s->max_count, 2);
            ck_assert_str_eq(s->default_value, "64 64"); /* of the default model */
        }
        if (strcmp(s->name, "epochs") == 0) {
            ck_assert(s->bounded && s->min == 1 && s->max == 100000);
            ck_assert_int_eq(s->type, VIT_SETTING_INTEGER);
            ck_assert_str_eq(s->default_value, "100");
            ck_assert_str_eq(s->group, "Training");
        }
        if (strcmp(s->name, "batch-size") == 0) {
            has_auto = s->zero_word != NULL && strcmp(s->zero_word, "auto") == 0;
        }
        if (strcmp(s->name, "on-error") == 0) {
            ck_assert_str_eq(s->default_value, "skip"); /* training's own */
            ck_assert_str_eq(s->choices[0], "fail");
        }
        if (strcmp(s->name, "seed") == 0) {
            ck_assert(!s->bounded);
        }
    }
    ck_assert(has_model && has_auto);
    ck_assert_uint_eq(found, vit_train_setting_count());
    ck_assert_uint_eq(index, vit_train_setting_count() + VIT_SETTINGS_START_OPTIONS);
}
END_TEST

/* Every default that is told is what a training has, and may be set. */
START_TEST(defaults_are_values) {
    vit_training *training;
    const vit_setting *s;
    ck_vit_ok(vit_training_create(&training, data, "run", NULL));
    for (size_t i = 0; (s = vit_get_setting(i)) != NULL; i++) {
        char value[256];
        snprintf(value, sizeof value, "%s", s->default_value);
        check_value(training, s->name, value);
        if (strcmp(s->name, "config") != 0) {
            set(training, s->name, value);
            check_value(training, s->name, value);
        }
    }
    vit_training_free(training);
    vit_training_free(NULL);
}
END_TEST

/* ---- setting them ---- */

START_TEST(nearer_values_go_first) {
    vit_training *training;
    char path[1024];
    ck_vit_ok(vit_training_create(&training, data, "run", NULL));
    /* In an order that is not that of their ranks. */
    set(training, "epochs", "7");
    static const char own[] = "{\"epochs\":9,\"lr\":0.5,\"model\":\"zeros_micro_patch4_28\"}";
    write_text(temp_path(path, base, "own.json"), own);
    set(training, "config", path);
    check_value(training, "config", path);
    check_value(training, "epochs", "7");
    check_value(training, "lr", "0.5");
    check_value(training, "model", "zeros_micro_patch4_28");
    check_value(training, "img-size", "28 28");
    set(training, "recipe", "finetune");
    check_value(training, "recipe", "finetune");
    check_value(training, "lr", "0.5");
    check_value(training, "warmup_epochs", "2");
    set(training, "model", "zeros_mini_patch8_64");
    check_value(training, "img-size", "64 64");
    set(training, "img-size", "32");
    set(training, "model", "zeros_micro_patch4_28");
    check_value(training, "img-size", "32 32");
    set(training, "img-size", "32,40");
    check_value(training, "img-size", "32 40");
    set(training, "hflip", "0");
    set(training, "head-norm", "false");
    check_value(training, "head-norm", "false");
    vit_training_free(training);
}
END_TEST

START_TEST(wrong_settings_change_nothing) {
    vit_training *training;
    char path[1024];
    ck_vit_ok(vit_training_create(&training, data, "run", NULL));
    set(training, "epochs", "7");
    ck_vit_fails(vit_training_set(training, "epochs", "0"), VIT_ERROR_ARGUMENT, "1 to 100000");
    ck_vit_fails(vit_training_set(training, "epochs", "many"), VIT_ERROR_ARGUMENT, "epochs");
    check_value(training, "epochs", "7");
    ck_vit_fails(vit_training_set(training, "lr", "nan"), VIT_ERROR_ARGUMENT, "lr");
    ck_vit_fails(vit_training_set(training, "epoch", "3"), VIT_ERROR_ARGUMENT, "epoch: no such");
    ck_vit_fails(vit_training_set(training, "recipe", "none"), VIT_ERROR_ARGUMENT, "finetune");
    check_value(training, "recipe", "default");
    ck_vit_fails(vit_training_set(training, "model", "none"), VIT_ERROR_ARGUMENT, "none");
    check_value(training, "model", "zeros_mini_patch8_64");
    ck_vit_fails(vit_training_set(training, NULL, "1"), VIT_ERROR_ARGUMENT, "name is NULL");
    ck_vit_fails(vit_training_set(training, "lr", NULL), VIT_ERROR_ARGUMENT, "value is NULL");
    ck_vit_fails(vit_training_set(training, "config", temp_path(path, base, "gone.json")),
                 VIT_ERROR_IO, "gone.json");
    write_text(temp_path(path, base, "bad.json"), "{\"epoch\":9}");
    ck_vit_fails(vit_training_set(training, "config", path), VIT_ERROR_FORMAT, "epoch: unknown");
    write_text(path, "{\"epochs\":-9}");
    ck_vit_fails(vit_training_set(training, "config", path), VIT_ERROR_FORMAT, "epochs");
    check_value(training, "config", "");
    check_value(training, "epochs", "7");
    ck_assert_ptr_null(vit_training_get(training, "epoch"));
    ck_assert_ptr_null(vit_training_get(training, NULL));
    /* What only the whole of the settings shows. */
    set(training, "batch-size", "4");
    set(training, "slots", "8");
    ck_vit_fails(vit_training_run(training), VIT_ERROR_ARGUMENT, "--slots 8");
    vit_training_free(training);
    ck_vit_fails(vit_training_create(&training, NULL, "run", NULL), VIT_ERROR_ARGUMENT, "data");
    ck_vit_fails(vit_training_create(&training, data, NULL, NULL), VIT_ERROR_ARGUMENT, "folder");
    ck_assert_ptr_null(training);
}
END_TEST

/* ---- running ---- */

typedef struct seen {
    vit_training *training;
    size_t starts, steps, evaluated, epochs, warnings, infos;
    vit_training_start start;
    double top1[8];
    size_t stop_at; /* the step after which to stop; 0: never */
    bool by_call;   /* with vit_training_stop */
    pthread_t thread;
    bool other_thread; /* a callback came in another thread */
} seen;

static void look_at_thread(seen *s) {
    s->other_thread = s->other_thread || !pthread_equal(s->thread, pthread_self());
}

static void on_log(void *context, vit_log_level level, const char *message) {
    seen *s = context;
    look_at_thread(s);
    ck_assert(*message != 0 && strchr(message, '\n') == NULL);
    *(level == VIT_LOG_WARNING ? &s->warnings : &s->infos) += 1;
}

static void on_start(void *context, const vit_training_start *start) {
    seen *s = context;
    look_at_thread(s);
    s->start = *start;
    s->starts++;
}

static void on_progress(void *context, const vit_train_progress *progress) {
    seen *s = context;
    look_at_thread(s);
    s->steps++;
    ck_assert_uint_eq(progress->steps, 4);
    ck_assert_uint_eq(progress->run_steps, 12);
    ck_assert(isfinite(progress->loss));
    if (s->by_call && s->steps == s->stop_at) {
        vit_training_stop(s->training);
    }
}

static void on_evaluating(void *context, size_t done, size_t total) {
    seen *s = context;
    look_at_thread(s);
    ck_assert_uint_eq(total, 12);
    s->evaluated = done;
}

static void on_epoch(void *context, const vit_epoch_row *row) {
    seen *s = context;
    look_at_thread(s);
    s->top1[row->epoch] = row->top1;
    s->epochs++;
}

static bool should_stop(void *context) {
    const seen *s = context;
    return !s->by_call && s->stop_at > 0 && s->steps >= s->stop_at;
}

static vit_training_options watch(seen *s) {
    s->thread = pthread_self();
    return (vit_training_options){
        .size = sizeof(vit_training_options),
        .threads = 2,
        .context = s,
        .log = on_log,
        .started = on_start,
        .progress = on_progress,
        .evaluating = on_evaluating,
        .epoch = on_epoch,
        .should_stop = should_stop,
    };
}

START_TEST(training_tells_and_results) {
    seen s = {0};
    const vit_training_options options = watch(&s);
    char folder[1024];
    vit_training *training = s.training = make_training("run", &options);
    temp_path(folder, base, "run");
    ck_assert_ptr_null(vit_training_get_result(training));
    check_value(training, "num-classes", "1000"); /* of a preset; the data has 3 */
    ck_vit_ok(vit_training_run(training));
    check_value(training, "num-classes", "3");
    check_value(training, "epochs", "3");
    check_value(training, "model", "custom"); /* of other sizes than the named one */
    ck_assert_uint_eq(s.starts, 1);
    ck_assert_uint_eq(s.start.train_images, 24);
    ck_assert_uint_eq(s.start.val_images, 12);
    ck_assert_uint_eq(s.start.class_count, 3);
    ck_assert_int_eq(s.start.epochs, 3);
    ck_assert_int_eq(s.start.epochs_done, 0);
    ck_assert_uint_gt(s.start.parameter_count, 1000);
    ck_assert_uint_eq(s.steps, 12);
    ck_assert_uint_eq(s.evaluated, 12);
    ck_assert_uint_eq(s.epochs, 3);
    ck_assert_uint_ge(s.infos, 1);
    ck_assert(!s.other_thread);
    const vit_training_result *result = vit_training_get_result(training);
    ck_assert_str_eq(result->folder, folder);
    ck_assert_double_eq(result->best_top1, s.top1[result->best_epoch]);
    ck_assert_double_eq(result->last_top1, s.top1[3]);
    ck_assert_double_gt(result->seconds, 0);
    /* The model that was trained, its figure measured again, and by its folder. */
    vit_model *model;
    vit_evaluation *evaluation;
    ck_vit_ok(vit_model_open(&model, result->best_model, NULL));
    ck_assert_str_eq(vit_model_get_info(model)->class_names[2], "cat");
    ck_vit_ok(vit_evaluation_run(&evaluation, model, data, NULL));
    ck_assert_double_eq(vit_evaluation_get_result(evaluation)->top1, result->best_top1);
    vit_evaluation_free(evaluation);
    vit_model_close(model);
    ck_vit_ok(vit_model_open(&model, result->last_model, NULL));
    vit_model_close(model);
    ck_vit_fails(vit_training_run(training), VIT_ERROR_ARGUMENT, "has run already");
    ck_vit_fails(vit_training_set(training, "lr", "1"), VIT_ERROR_ARGUMENT, "has run already");
    vit_training_free(training);
    /* The folder is not taken twice. */
    training = make_training("run", NULL);
    ck_assert_int_eq(vit_training_run(training), VIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(vit_training_get_result(training));
    vit_training_free(training);
}
END_TEST

/* Stopped twice, by a call and by a callback, and gone on with to the same bits. */
START_TEST(training_goes_on_where_it_was_stopped) {
    char whole[1024], parts[1024], folder[1024];
    vit_training *training = make_training("whole", NULL);
    ck_vit_ok(vit_training_run(training));
    vit_training_free(training);
    seen s = {.stop_at = 5, .by_call = true};
    vit_training_options options = watch(&s);
    s.training = make_training("parts", &options);
    temp_path(folder, base, "parts");
    ck_vit_fails(vit_training_run(s.training), VIT_ERROR_STOPPED, "saved");
    ck_assert_uint_eq(s.steps, 5);
    ck_assert_ptr_null(vit_training_get_result(s.training));
    vit_training_free(s.training);
    s = (seen){.stop_at = 2};
    options = watch(&s);
    options.threads = 1;
    ck_vit_ok(vit_training_resume(&s.training, folder, NULL, &options));
    check_value(s.training, "epochs", "3");
    check_value(s.training, "embed-dim", "16");
    ck_vit_fails(vit_training_set(s.training, "config", "any"), VIT_ERROR_ARGUMENT, "resumed");
    ck_assert_int_eq(vit_training_run(s.training), VIT_ERROR_STOPPED);
    ck_assert_int_eq(s.start.epochs_done, 1);
    ck_assert_uint_eq(s.start.steps_done, 1);
    vit_training_free(s.training);
    s = (seen){0};
    options = watch(&s);
    ck_vit_ok(vit_training_resume(&s.training, folder, data, &options));
    ck_vit_ok(vit_training_run(s.training));
    ck_assert_uint_eq(s.steps, 5);
    vit_training_free(s.training);
    check_same_file(temp_path(whole, base, "whole/last.safetensors"),
                    temp_path(parts, base, "parts/last.safetensors"));
    check_same_file(temp_path(whole, base, "whole/best.safetensors"),
                    temp_path(parts, base, "parts/best.safetensors"));
}
END_TEST

START_TEST(resuming_is_refused) {
    char folder[1024];
    vit_training *training = make_training("run", NULL);
    ck_vit_ok(vit_training_run(training));
    vit_training_free(training);
    ck_assert_int_ne(vit_training_resume(&training, temp_path(folder, base, "none"), NULL, NULL),
                     VIT_OK);
    ck_assert_ptr_null(training);
    temp_path(folder, base, "run");
    ck_vit_ok(vit_training_resume(&training, folder, NULL, NULL));
    check_value(training, "model", "custom");
    check_value(training, "embed-dim", "16");
    set(training, "lr", "0.5");
    ck_vit_fails(vit_training_run(training), VIT_ERROR_ARGUMENT, "lr");
    vit_training_free(training);
    vit_training_options options = VIT_TRAINING_OPTIONS_INIT;
    options.override_run = true;
    ck_vit_ok(vit_training_resume(&training, folder, NULL, &options));
    set(training, "lr", "0.5");
    ck_vit_ok(vit_training_run(training));
    vit_training_free(training);
}
END_TEST

START_TEST(nothing_is_refused) {
    vit_training *training;
    ck_vit_fails(vit_training_create(NULL, data, "run", NULL), VIT_ERROR_ARGUMENT, "out is NULL");
    ck_vit_fails(vit_training_resume(NULL, "run", NULL, NULL), VIT_ERROR_ARGUMENT, "out is NULL");
    ck_vit_fails(vit_training_resume(&training, NULL, NULL, NULL), VIT_ERROR_ARGUMENT, "folder");
    ck_vit_fails(vit_training_set(NULL, "lr", "1"), VIT_ERROR_ARGUMENT, "training is NULL");
    ck_vit_fails(vit_training_run(NULL), VIT_ERROR_ARGUMENT, "training is NULL");
    ck_assert_ptr_null(vit_training_get(NULL, "lr"));
    ck_assert_ptr_null(vit_training_get_result(NULL));
    vit_training_stop(NULL);
    vit_training_free(NULL);
}
END_TEST

/* What is refused before the first step leaves no folder behind. */
START_TEST(memory_is_limited) {
    char folder[1024];
    vit_model *model;
    vit_training_options options = VIT_TRAINING_OPTIONS_INIT;
    options.memory_limit = 1000;
    vit_training *training = make_training("run", &options);
    ck_vit_fails(vit_training_run(training), VIT_ERROR_LIMIT, "memory");
    vit_training_free(training);
    ck_assert_int_eq(vit_model_open(&model, temp_path(folder, base, "run"), NULL), VIT_ERROR_IO);
    options.memory_limit = 0;
    options.threads = -3;
    ck_vit_fails(vit_training_create(&training, data, folder, &options), VIT_ERROR_ARGUMENT,
                 "-3 threads");
    ck_assert_ptr_null(training);
}
END_TEST

/* ---- two at once ---- */

static void *run_it(void *argument) {
    return vit_training_run(argument) == VIT_OK ? argument : NULL;
}

START_TEST(two_trainings_in_two_threads) {
    char a[1024], b[1024];
    vit_training *trainings[2] = {make_training("one", NULL), make_training("two", NULL)};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_it, trainings[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        void *done = NULL;
        pthread_join(threads[i], &done);
        ck_assert_ptr_eq(done, trainings[i]);
        vit_training_free(trainings[i]);
    }
    check_same_file(temp_path(a, base, "one/last.safetensors"),
                    temp_path(b, base, "two/last.safetensors"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("api_training");
    TCase *tcase = tcase_create("api_training");
    tcase_add_checked_fixture(tcase, make_base, remove_base);
    tcase_add_test(tcase, settings_are_listed);
    tcase_add_test(tcase, defaults_are_values);
    tcase_add_test(tcase, nearer_values_go_first);
    tcase_add_test(tcase, wrong_settings_change_nothing);
    tcase_add_test(tcase, training_tells_and_results);
    tcase_add_test(tcase, training_goes_on_where_it_was_stopped);
    tcase_add_test(tcase, resuming_is_refused);
    tcase_add_test(tcase, nothing_is_refused);
    tcase_add_test(tcase, memory_is_limited);
    tcase_add_test(tcase, two_trainings_in_two_threads);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
