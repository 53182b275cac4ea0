/* The public interface, as a program sees it: models, options, names, threads. */
#include "support/api_case.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/file.h"
#include "vit/json.h"
#include "vit/model_file.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- models ---- */

START_TEST(model_is_described) {
    vit_model *model = api_model_open();
    const vit_model_info *info = vit_model_get_info(model);
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_load(api_model_path, &bundle));
    ck_assert_str_eq(info->architecture, "custom");
    ck_assert_uint_eq(info->class_count, API_CLASSES);
    for (int i = 0; i < API_CLASSES; i++) {
        ck_assert_str_eq(info->class_names[i], api_classes[i]);
    }
    ck_assert_uint_eq(info->height, 28);
    ck_assert_uint_eq(info->width, 28);
    ck_assert_uint_eq(info->patch_size, 4);
    ck_assert_uint_eq(info->feature_count, API_FEATURES);
    ck_assert_uint_eq(info->depth, 2);
    ck_assert_uint_eq(info->head_count, 2);
    ck_assert_str_eq(info->attention, "zeros");
    ck_assert_uint_eq(info->parameter_count, bundle->model.params.total);
    ck_assert_double_eq(info->flops, vit_config_flops(&bundle->model.config));
    ck_assert_str_eq(info->interpolation, "bicubic");
    ck_assert_double_eq(info->crop_pct, 0.9);
    ck_assert_double_eq(info->mean[1], 0.4);
    ck_assert_double_eq(info->std[2], 0.25);
    vit_json *config;
    ck_vit_ok(vit_json_parse(info->config, strlen(info->config), "config", &config));
    ck_assert_str_eq(vit_json_string(vit_json_get(config, "architecture"), ""), "custom");
    vit_json_free(config);
    vit_model_bundle_free(bundle);
    vit_model_close(model);
    vit_model_close(NULL);
}
END_TEST

START_TEST(model_comes_from_memory) {
    vit_bytes file = {0};
    vit_model *model, *whole = api_model_open();
    ck_vit_ok(vit_file_read(api_model_path, 1 << 24, &file));
    ck_vit_ok(vit_model_open_memory(&model, file.data, file.size, "upload", NULL));
    memset(file.data, 0, file.size); /* borrowed during the call only */
    vit_classifier *a = api_classifier_make(model, NULL), *b = api_classifier_make(whole, NULL);
    const vit_picture picture = vit_picture_file(api_paths[0]);
    ck_vit_ok(vit_classify(a, &picture, 1));
    ck_vit_ok(vit_classify(b, &picture, 1));
    check_same_bits("from memory", API_CLASSES, vit_classifier_get_probabilities(a),
                    vit_classifier_get_probabilities(b));
    vit_classifier_free(a);
    vit_classifier_free(b);
    vit_model_close(model);
    vit_model_close(whole);
    vit_bytes_free(&file);
}
END_TEST

START_TEST(model_is_refused) {
    vit_bytes file = {0};
    char missing[1024];
    vit_model *model = (vit_model *)1;
    ck_vit_fails(vit_model_open(&model, temp_path(missing, api_base, "gone"), NULL), VIT_ERROR_IO,
                 "gone");
    ck_assert_ptr_null(model);
    ck_vit_fails(vit_model_open(&model, NULL, NULL), VIT_ERROR_ARGUMENT, "path is NULL");
    ck_vit_fails(vit_model_open(&model, api_paths[API_FILES], NULL), VIT_ERROR_LIMIT,
                 api_paths[API_FILES]);
    ck_vit_fails(vit_model_open_memory(&model, NULL, 3, NULL, NULL), VIT_ERROR_ARGUMENT,
                 "bytes is NULL");
    ck_vit_ok(vit_file_read(api_model_path, 1 << 24, &file));
    ck_vit_fails(vit_model_open_memory(&model, file.data, file.size / 2, "half", NULL),
                 VIT_ERROR_FORMAT, "half");
    ck_assert_ptr_null(model);
    vit_model_options options = VIT_MODEL_OPTIONS_INIT;
    options.threads = -1;
    ck_vit_fails(vit_model_open(&model, api_model_path, &options), VIT_ERROR_ARGUMENT,
                 "-1 threads");
    options.threads = 1;
    ck_vit_ok(vit_model_open(&model, api_model_path, &options));
    vit_model_close(model);
    vit_bytes_free(&file);
}
END_TEST

START_TEST(classifiers_keep_the_model) {
    vit_model *model = api_model_open();
    vit_classifier *first = api_classifier_make(model, NULL),
                   *second = api_classifier_make(model, NULL);
    const char *files[] = {api_paths[0]};
    vit_model_close(model);
    vit_classifier_free(first);
    ck_vit_ok(vit_classify_files(second, files, 1));
    ck_assert_int_eq(vit_classifier_get_result(second, 0)->status, VIT_OK);
    vit_classifier_free(second);
}
END_TEST

/* ---- models with int8 weights ---- */

static void check_same_results(const char *what, const vit_classifier *a, const vit_classifier *b) {
    check_same_bits(what, API_FILES * API_CLASSES, vit_classifier_get_probabilities(a),
                    vit_classifier_get_probabilities(b));
    check_same_bits(what, API_FILES * API_FEATURES, vit_classifier_get_features(a),
                    vit_classifier_get_features(b));
}

/* As any other, from a file and from memory: near what the float weights say, in the same bits
 * whatever computes them. */
START_TEST(int8_models_are_models) {
    char path[1024];
    const char *const files[] = {api_paths[0], api_paths[1], api_paths[2], api_paths[3],
                                 api_paths[4]};
    vit_bytes file = {0};
    vit_model *model, *upload, *floats = api_model_open();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    ck_vit_ok(vit_model_open(&model, api_model_make_int8(path), NULL));
    ck_vit_ok(vit_file_read(path, 1 << 24, &file));
    ck_vit_ok(vit_model_open_memory(&upload, file.data, file.size, "upload", NULL));
    memset(file.data, 0, file.size);
    const vit_model_info *info = vit_model_get_info(model);
    ck_assert_ptr_nonnull(strstr(info->config, "\"quantization\":\"int8\""));
    ck_assert_ptr_null(strstr(vit_model_get_info(floats)->config, "quantization"));
    ck_assert_uint_eq(info->parameter_count, vit_model_get_info(floats)->parameter_count);
    ck_assert_str_eq(info->class_names[1], "bee");
    options.features = true;
    options.threads = 1;
    vit_classifier *one = api_classifier_make(model, &options);
    vit_classifier *near = api_classifier_make(floats, &options);
    options.threads = 3;
    vit_classifier *three = api_classifier_make(upload, &options);
    options.prefer_latency = true;
    vit_classifier *together = api_classifier_make(model, &options);
    vit_model_close(model); /* the classifiers keep it */
    ck_vit_ok(vit_classify_files(one, files, API_FILES));
    ck_vit_ok(vit_classify_files(three, files, API_FILES));
    ck_vit_ok(vit_classify_files(near, files, API_FILES));
    check_same_results("threads", one, three);
    for (size_t i = 0; i < API_FILES; i++) {
        const vit_result *a = vit_classifier_get_result(one, i);
        const vit_result *b = vit_classifier_get_result(near, i);
        ck_assert_int_eq(a->status, VIT_OK);
        ck_vit_ok(vit_classify_files(together, &files[i], 1));
        check_same_bits("alone", API_CLASSES, a->probabilities,
                        vit_classifier_get_result(together, 0)->probabilities);
        for (size_t k = 0; k < API_CLASSES; k++) {
            ck_assert_float_eq_tol(a->probabilities[k], b->probabilities[k], 0.05f);
        }
        ck_assert(memcmp(a->features, b->features, API_FEATURES * sizeof(float)) !=
                  0); /* not the floats */
    }
    vit_classifier_free(one);
    vit_classifier_free(three);
    vit_classifier_free(near);
    vit_classifier_free(together);
    vit_model_close(upload);
    vit_model_close(floats);
    vit_bytes_free(&file);
}
END_TEST

/* ---- options ---- */

/* What a program built against a later header would hand over. */
typedef struct later_options {
    vit_classifier_options known;
    void *more;
} later_options;

START_TEST(options_of_other_versions) {
    vit_model *model = api_model_open();
    vit_classifier *classifier;
    /* Of an earlier header: what is behind its end is not looked at. */
    vit_classifier_options earlier = VIT_CLASSIFIER_OPTIONS_INIT;
    earlier.size = offsetof(vit_classifier_options, tta);
    earlier.top = 2;
    earlier.tta = (vit_tta)77;
    ck_vit_ok(vit_classifier_create(&classifier, model, &earlier));
    const char *files[] = {api_paths[0]};
    ck_vit_ok(vit_classify_files(classifier, files, 1));
    ck_assert_uint_eq(vit_classifier_get_result(classifier, 0)->top_count, 2);
    vit_classifier_free(classifier);
    later_options later = {.known = VIT_CLASSIFIER_OPTIONS_INIT};
    later.known.size = sizeof later;
    ck_vit_ok(vit_classifier_create(&classifier, model, &later.known));
    vit_classifier_free(classifier);
    later.more = &later;
    ck_vit_fails(vit_classifier_create(&classifier, model, &later.known), VIT_ERROR_UNSUPPORTED,
                 "vit_classifier_options");
    ck_assert_ptr_null(classifier);
    earlier.size = 0;
    ck_vit_fails(vit_classifier_create(&classifier, model, &earlier), VIT_ERROR_ARGUMENT,
                 "its size is 0");
    earlier.size = (size_t)1 << 40;
    ck_vit_fails(vit_classifier_create(&classifier, model, &earlier), VIT_ERROR_ARGUMENT,
                 "its size is");
    vit_classifier_options wrong = VIT_CLASSIFIER_OPTIONS_INIT;
    wrong.tta = (vit_tta)2;
    ck_vit_fails(vit_classifier_create(&classifier, model, &wrong), VIT_ERROR_ARGUMENT, "tta is 2");
    ck_vit_fails(vit_classifier_create(&classifier, NULL, NULL), VIT_ERROR_ARGUMENT,
                 "model is NULL");
    vit_model_close(model);
}
END_TEST

/* ---- threads ---- */

typedef struct job {
    vit_model *model;
    float first[API_FILES * API_CLASSES]; /* what came of the first call */
    char error[256];
} job;

/* Classifies again and again, opening and failing in between: each time to the same bits. */
static void *work(void *argument) {
    job *j = argument;
    const char *files[API_FILES];
    char own[64];
    snprintf(own, sizeof own, "/%p/missing", argument);
    for (size_t i = 0; i < API_FILES; i++) {
        files[i] = api_paths[i];
    }
    for (int round = 0; round < 20 && !*j->error; round++) {
        vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
        vit_classifier *classifier = NULL;
        vit_model *none;
        options.threads = 1 + round % 2;
        if (vit_model_open(&none, own, NULL) != VIT_ERROR_IO || !strstr(vit_last_error(), own)) {
            snprintf(j->error, sizeof j->error, "another thread's error: %s", vit_last_error());
        } else if (vit_classifier_create(&classifier, j->model, &options) != VIT_OK ||
                   vit_classify_files(classifier, files, API_FILES) != VIT_OK) {
            snprintf(j->error, sizeof j->error, "%s", vit_last_error());
        } else if (round == 0) {
            memcpy(j->first, vit_classifier_get_probabilities(classifier), sizeof j->first);
        } else if (memcmp(j->first, vit_classifier_get_probabilities(classifier),
                          sizeof j->first) != 0) {
            snprintf(j->error, sizeof j->error, "round %d has other bits", round);
        }
        vit_classifier_free(classifier);
    }
    return NULL;
}

START_TEST(two_models_in_four_threads) {
    char other[1024];
    vit_model *models[2] = {api_model_open()};
    api_model_make(temp_path(other, api_base, "other.safetensors"), 2, 0.9);
    ck_vit_ok(vit_model_open(&models[1], other, NULL));
    pthread_t threads[4];
    job jobs[4] = {0};
    for (int i = 0; i < 4; i++) {
        jobs[i].model = models[i % 2];
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(!*jobs[i].error, "%s", jobs[i].error);
    }
    ck_assert_mem_eq(jobs[0].first, jobs[2].first, sizeof jobs[0].first);
    ck_assert_mem_eq(jobs[1].first, jobs[3].first, sizeof jobs[1].first);
    ck_assert(memcmp(jobs[0].first, jobs[1].first, sizeof jobs[0].first) != 0);
    vit_model_close(models[0]);
    vit_model_close(models[1]);
}
END_TEST

/* ---- nothing ---- */

START_TEST(nothing_is_refused) {
    vit_model *model = api_model_open();
    vit_classifier *classifier;
    char **found;
    size_t count;
    const vit_picture picture = vit_picture_file(api_paths[0]);
    const char *files[] = {api_paths[0]};
    ck_vit_fails(vit_model_open(NULL, api_model_path, NULL), VIT_ERROR_ARGUMENT,
                 "vit_model_open: out");
    ck_vit_fails(vit_model_open_memory(NULL, "x", 1, NULL, NULL), VIT_ERROR_ARGUMENT,
                 "out is NULL");
    ck_vit_fails(vit_classifier_create(NULL, model, NULL), VIT_ERROR_ARGUMENT, "out is NULL");
    ck_vit_fails(vit_classifier_create(&classifier, NULL, NULL), VIT_ERROR_ARGUMENT, "model");
    ck_vit_fails(vit_classify(NULL, &picture, 1), VIT_ERROR_ARGUMENT, "vit_classify: classifier");
    ck_vit_fails(vit_classify_files(NULL, files, 1), VIT_ERROR_ARGUMENT, "classifier is NULL");
    ck_vit_fails(vit_evaluation_run(NULL, model, api_base, NULL), VIT_ERROR_ARGUMENT,
                 "out is NULL");
    ck_vit_fails(vit_evaluation_write(NULL, api_base), VIT_ERROR_ARGUMENT, "evaluation is NULL");
    ck_vit_fails(vit_find_pictures(NULL, &count, api_base), VIT_ERROR_ARGUMENT, "paths is NULL");
    ck_vit_fails(vit_find_pictures(&found, NULL, api_base), VIT_ERROR_ARGUMENT, "count is NULL");
    ck_assert_ptr_null(vit_model_get_info(NULL));
    ck_assert_ptr_null(vit_classifier_get_result(NULL, 0));
    ck_assert_ptr_null(vit_classifier_get_probabilities(NULL));
    ck_assert_ptr_null(vit_classifier_get_features(NULL));
    ck_assert_ptr_null(vit_evaluation_get_result(NULL));
    vit_free_paths(NULL, 3);
    vit_model_close(model);
}
END_TEST

/* ---- names ---- */

START_TEST(names_and_statuses) {
    const char *help = NULL;
    ck_assert_str_eq(vit_version(), VIT_VERSION_STRING);
    int major, minor, patch;
    ck_assert_int_eq(sscanf(VIT_VERSION_STRING, "%d.%d.%d", &major, &minor, &patch), 3);
    ck_assert_int_eq(VIT_VERSION_NUMBER, (major * 100 + minor) * 100 + patch);
    ck_assert_ptr_nonnull(vit_get_architecture(0));
    ck_assert_ptr_null(vit_get_architecture(1000));
    ck_assert_str_eq(vit_get_recipe(0, &help), "default");
    ck_assert(help != NULL && *help);
    ck_assert_ptr_null(vit_get_recipe(1000, NULL));
    for (int i = VIT_OK; i <= VIT_ERROR_STOPPED; i++) {
        ck_assert_str_ne(vit_status_string((vit_status)i), "unknown status");
    }
    ck_assert_str_eq(vit_status_string((vit_status)99), "unknown status");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("api");
    TCase *tcase = tcase_create("api");
    tcase_add_checked_fixture(tcase, api_base_make, api_base_remove);
    tcase_add_test(tcase, model_is_described);
    tcase_add_test(tcase, model_comes_from_memory);
    tcase_add_test(tcase, model_is_refused);
    tcase_add_test(tcase, classifiers_keep_the_model);
    tcase_add_test(tcase, int8_models_are_models);
    tcase_add_test(tcase, options_of_other_versions);
    tcase_add_test(tcase, two_models_in_four_threads);
    tcase_add_test(tcase, nothing_is_refused);
    tcase_add_test(tcase, names_and_statuses);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
