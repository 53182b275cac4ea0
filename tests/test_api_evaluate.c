/* Measuring through the public interface. */
#include "support/api_case.h"
#include "support/files.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- measuring ---- */

typedef struct seen {
    size_t calls, done, total, warnings;
    char warning[1024];
} seen;

static void on_progress(void *context, size_t done, size_t total) {
    seen *s = context;
    s->calls++;
    s->done = done;
    s->total = total;
}

static void on_log(void *context, vit_log_level level, const char *message) {
    seen *s = context;
    s->warnings += level == VIT_LOG_WARNING;
    snprintf(s->warning, sizeof s->warning, "%s", message);
}

/* DATA/val has two of the model's three classes. */
static const char *make_val(char data[1024]) {
    temp_path(data, api_base, "data");
    make_pictures(data, "val", api_classes, 2, 6, API_WIDTH, API_HEIGHT, 3);
    return data;
}

START_TEST(model_is_measured) {
    char data[1024], path[1024], **found;
    size_t count, right = 0;
    vit_model *model = api_model_open();
    vit_classifier *classifier = api_classifier_make(model, NULL);
    vit_evaluation *evaluation;
    seen s = {0};
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    options.context = &s;
    options.progress = on_progress;
    options.log = on_log;
    options.batch_size = 5;
    make_val(data);
    ck_vit_ok(vit_evaluation_run(&evaluation, model, data, &options));
    const vit_evaluation_result *result = vit_evaluation_get_result(evaluation);
    ck_assert_uint_eq(result->images, 12);
    ck_assert_uint_eq(result->classes, API_CLASSES);
    ck_assert_uint_eq(result->skipped, 0);
    ck_assert(s.calls > 0 && s.done == 12 && s.total == 12);
    ck_assert_uint_eq(s.warnings, 1); /* a class without a picture */
    ck_assert_msg(strstr(s.warning, "1 of the 3 classes") != NULL, "%s", s.warning);
    ck_vit_ok(vit_find_pictures(&found, &count, data));
    ck_vit_ok(vit_classify_files(classifier, (const char *const *)found, count));
    for (size_t i = 0; i < count; i++) {
        right +=
            strstr(found[i], api_classes[vit_classifier_get_result(classifier, i)->top[0]]) != NULL;
    }
    ck_assert_double_eq_tol(result->top1, 100.0 * (double)right / 12, 1e-9);
    vit_json *json;
    ck_vit_ok(vit_json_parse(result->json, strlen(result->json), "json", &json));
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "top1"), -1), result->top1);
    vit_json_free(json);
    ck_vit_ok(vit_evaluation_write(evaluation, temp_path(path, api_base, "figures")));
    ck_assert_uint_eq(count_entries(path), 4);
    vit_free_paths(found, count);
    vit_evaluation_free(evaluation);
    vit_evaluation_free(NULL);
    vit_classifier_free(classifier);
    vit_model_close(model);
}
END_TEST

static bool stop_after_first(void *context) {
    const seen *s = context;
    return s->calls > 0;
}

START_TEST(measuring_is_stopped) {
    char data[1024];
    vit_model *model = api_model_open();
    vit_evaluation *evaluation = (vit_evaluation *)1;
    seen s = {0};
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    options.context = &s;
    options.progress = on_progress;
    options.should_stop = stop_after_first;
    options.batch_size = 4;
    make_val(data);
    ck_vit_fails(vit_evaluation_run(&evaluation, model, data, &options), VIT_ERROR_STOPPED,
                 "4 of 12 pictures");
    ck_assert_ptr_null(evaluation);
    ck_assert_uint_eq(s.calls, 1);
    options.should_stop = NULL;
    ck_vit_ok(vit_evaluation_run(&evaluation, model, data, &options));
    vit_evaluation_free(evaluation);
    vit_model_close(model);
}
END_TEST

START_TEST(measuring_is_refused) {
    char data[1024], broken[1024];
    vit_model *model = api_model_open();
    vit_evaluation *evaluation;
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    seen s = {0};
    make_val(data);
    write_text(temp_path(broken, data, "val/ant/broken.png"), "no picture");
    ck_vit_fails(vit_evaluation_run(&evaluation, model, data, NULL), VIT_ERROR_FORMAT,
                 "broken.png");
    ck_assert_ptr_null(evaluation);
    options.skip_unreadable = true;
    options.context = &s;
    options.log = on_log;
    ck_vit_ok(vit_evaluation_run(&evaluation, model, data, &options));
    ck_assert_uint_eq(vit_evaluation_get_result(evaluation)->skipped, 1);
    ck_assert_msg(strstr(s.warning, "broken.png") != NULL, "%s", s.warning);
    vit_evaluation_free(evaluation);
    options.split = "train";
    ck_assert_int_ne(vit_evaluation_run(&evaluation, model, data, &options), VIT_OK);
    options.split = NULL;
    options.val_split = 1;
    ck_vit_fails(vit_evaluation_run(&evaluation, model, data, &options), VIT_ERROR_ARGUMENT,
                 "val_split 1");
    ck_vit_fails(vit_evaluation_run(&evaluation, model, NULL, NULL), VIT_ERROR_ARGUMENT, "NULL");
    vit_model_close(model);
}
END_TEST

START_TEST(int8_models_are_measured) {
    char path[1024], data[1024];
    vit_model *model;
    vit_evaluation *evaluation;
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    double loss = 0;
    temp_path(data, api_base, "int8_data");
    make_pictures(data, "val", api_classes, API_CLASSES, 6, API_WIDTH, API_HEIGHT, 3);
    ck_vit_ok(vit_model_open(&model, api_model_make_int8(path), NULL));
    for (options.threads = 1; options.threads <= 3; options.threads++) {
        ck_vit_ok(vit_evaluation_run(&evaluation, model, data, &options));
        const vit_evaluation_result *result = vit_evaluation_get_result(evaluation);
        ck_assert_uint_eq(result->images, 6 * API_CLASSES);
        ck_assert(isfinite(result->loss));
        ck_assert(options.threads == 1 || result->loss == loss);
        loss = result->loss;
        vit_evaluation_free(evaluation);
    }
    vit_model_close(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("api_evaluate");
    TCase *tcase = tcase_create("api_evaluate");
    tcase_add_checked_fixture(tcase, api_base_make, api_base_remove);
    tcase_add_test(tcase, model_is_measured);
    tcase_add_test(tcase, measuring_is_stopped);
    tcase_add_test(tcase, measuring_is_refused);
    tcase_add_test(tcase, int8_models_are_measured);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
