/* The allocator of the public interface: what it hands out comes back, and every one of its
 * failures is an error with a message and leaves nothing behind. */
#include "support/allocator.h"
#include "support/files.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/zvit.h"

#include <stdio.h>
#include <string.h>

static const char *const classes[] = {"ant", "bee"};
static char *base;
static char model_path[1024], data[1024];

static void make_base(void) {
    base = temp_folder();
    make_pictures(temp_path(data, base, "data"), "train", classes, 2, 6, 20, 18, 1);
    make_pictures(data, "val", classes, 2, 3, 20, 18, 2);
    small_model_save(
        &(small_model){
            .classes = classes, .num_classes = 2, .embed_dim = 16, .depth = 1, .num_heads = 2},
        temp_path(model_path, base, "model.safetensors"));
}

static void remove_base(void) {
    vit_set_allocator(NULL);
    temp_folder_remove(base);
    base = NULL;
}

/* ---- setting it ---- */

static void *never_allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    (void)size;
    (void)alignment;
    return NULL;
}

static void never_release(void *context, void *block) {
    (void)context;
    (void)block;
}

START_TEST(allocator_is_set_while_nothing_is_in_use) {
    counting c = {0};
    vit_model *model;
    vit_allocator incomplete = VIT_ALLOCATOR_INIT;
    ck_assert_int_eq(vit_set_allocator(&incomplete), VIT_ERROR_ARGUMENT);
    incomplete.allocate = never_allocate;
    incomplete.release = never_release;
    ck_vit_fails(vit_set_allocator(&incomplete), VIT_ERROR_ARGUMENT, "resize is NULL");
    ck_vit_ok(vit_model_open(&model, model_path, NULL));
    ck_vit_fails(vit_set_allocator(NULL), VIT_ERROR_ARGUMENT, "in use");
    vit_model_close(model);
    counting_install(&c);
    ck_vit_ok(vit_model_open(&model, model_path, NULL));
    ck_assert_int_gt(atomic_load(&c.alive), 0);
    ck_assert_int_eq(vit_set_allocator(NULL), VIT_ERROR_ARGUMENT);
    vit_model_close(model);
    counting_remove(&c, "model");
    long calls = atomic_load(&c.calls);
    ck_vit_ok(vit_model_open(&model, model_path, NULL));
    vit_model_close(model);
    ck_assert_int_eq(atomic_load(&c.calls), calls); /* it is not asked any more */
}
END_TEST

/* ---- what is done with it ---- */

static double result_of; /* a number that tells one result from another */

static vit_status open_and_classify(int threads) {
    vit_model *model = NULL;
    vit_classifier *classifier = NULL;
    char **paths = NULL;
    size_t count = 0;
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    vit_status status = VIT_OK;
    options.threads = threads;
    options.features = true;
    VIT_TRY(vit_find_pictures(&paths, &count, data));
    VIT_TRY(vit_model_open(&model, model_path, NULL));
    VIT_TRY(vit_classifier_create(&classifier, model, &options));
    VIT_TRY(vit_classify_files(classifier, (const char *const *)paths, 1));
    VIT_TRY(vit_classify_files(classifier, (const char *const *)paths, count));
    for (size_t i = 0; i < count; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        if (result->status != VIT_OK) {
            ck_assert_msg(*result->message, "a failure without a message");
            VIT_TRY(vit_fail(result->status, "%s", result->message));
        }
        result_of = 2 * result_of + (double)result->probabilities[1];
    }
cleanup:
    vit_classifier_free(classifier);
    vit_model_close(model);
    vit_free_paths(paths, count);
    return status;
}

static vit_status measure(int threads) {
    vit_model *model = NULL;
    vit_evaluation *evaluation = NULL;
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    vit_status status = VIT_OK;
    options.threads = threads;
    VIT_TRY(vit_model_open(&model, model_path, NULL));
    VIT_TRY(vit_evaluation_run(&evaluation, model, data, &options));
    result_of = vit_evaluation_get_result(evaluation)->loss;
cleanup:
    vit_evaluation_free(evaluation);
    vit_model_close(model);
    return status;
}

static vit_status train(int threads) {
    static const char *const settings[][2] = {
        {"img-size", "16"}, {"patch-size", "8"}, {"embed-dim", "16"}, {"depth", "1"},
        {"num-heads", "2"}, {"batch-size", "4"}, {"epochs", "1"},     {"recipe", "small-data"}};
    char folder[1024];
    vit_training *training = NULL;
    vit_training_options options = VIT_TRAINING_OPTIONS_INIT;
    vit_status status = VIT_OK;
    options.threads = threads;
    VIT_TRY(vit_training_create(&training, data, temp_path(folder, base, "run"), &options));
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        VIT_TRY(vit_training_set(training, settings[i][0], settings[i][1]));
    }
    VIT_TRY(vit_training_run(training));
cleanup:
    vit_training_free(training);
    return status;
}

typedef vit_status (*operation)(int threads);
static const struct {
    const char *name;
    operation run;
} operations[] = {{"classify", open_and_classify}, {"evaluate", measure}, {"train", train}};

START_TEST(every_block_comes_back) {
    for (int threads = 1; threads <= 2; threads++) {
        counting c = {0};
        counting_install(&c);
        ck_vit_ok(operations[_i].run(threads));
        ck_assert_int_gt(atomic_load(&c.calls), 20);
        ck_assert_int_gt(atomic_load(&c.bytes), 10000);
        counting_remove(&c, operations[_i].name);
        char folder[1024];
        temp_folder_remove(strdup(temp_path(folder, base, "run")));
    }
}
END_TEST

/* Settings alone, so that training's torture is short: what allocates before the run. */
static vit_status set_all(int threads) {
    vit_training *training = NULL;
    char file[1024];
    vit_status status = VIT_OK;
    (void)threads;
    VIT_TRY(vit_training_create(&training, data, "run", NULL));
    VIT_TRY(vit_training_set(training, "config", temp_path(file, base, "settings.json")));
    VIT_TRY(vit_training_set(training, "model", "zeros_micro_patch4_28"));
    VIT_TRY(vit_training_set(training, "epochs", "3"));
    VIT_TRY(vit_training_set(training, "epochs", "4"));
    ck_assert_str_eq(vit_training_get(training, "epochs"), "4");
    ck_assert_str_eq(vit_training_get(training, "lr"), "0.002");
cleanup:
    if (status != VIT_OK && training) {
        /* A setting that failed left the training as it was. */
        char message[VIT_MESSAGE_MAX];
        snprintf(message, sizeof message, "%s", vit_last_error());
        ck_assert_ptr_nonnull(vit_training_get(training, "epochs"));
        vit_fail(status, "%s", message);
    }
    vit_training_free(training);
    return status;
}

static const operation tortured[] = {open_and_classify, measure, set_all};

START_TEST(every_failure_is_an_error) {
    char path[1024];
    write_text(temp_path(path, base, "settings.json"), "{\"lr\": 0.002}");
    double expected = 0;
    long failures = 0;
    bool reached = true;
    for (long n = 0; reached; n++) { /* 0: none fails */
        counting c = {.fail_at = n};
        counting_install(&c);
        vit_fail(VIT_OK, "none");
        result_of = 0;
        vit_status status = tortured[_i](1);
        if (status != VIT_OK) {
            failures++;
            ck_assert_msg(status == VIT_ERROR_MEMORY, "call %ld: status %d, %s", n, status,
                          vit_last_error());
            ck_assert_msg(*vit_last_error() && strcmp(vit_last_error(), "none") != 0,
                          "call %ld: no message", n);
        } else if (n > 0) {
            /* What was not needed: the text of a message that nobody asked for. */
            ck_assert_msg(result_of == expected, "call %ld: another result", n);
        } else {
            expected = result_of;
        }
        reached = n == 0 || atomic_load(&c.calls) >= n;
        ck_assert_msg(n < 100000, "it does not end");
        counting_remove(&c, "after a failure");
    }
    ck_assert_int_gt(failures, 10);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("api_memory");
    TCase *tcase = tcase_create("api_memory");
    tcase_add_checked_fixture(tcase, make_base, remove_base);
    tcase_add_test(tcase, allocator_is_set_while_nothing_is_in_use);
    tcase_add_loop_test(tcase, every_block_comes_back, 0, 3);
    tcase_add_loop_test(tcase, every_failure_is_an_error, 0, 3);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
