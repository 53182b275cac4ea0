/* Classifiers of the public interface: pictures of every kind, results, features. */
#include "support/api_case.h"
#include "support/pictures.h"
#include "support/support.h"

#include "eval/predict.h"
#include "vit/file.h"

#include <math.h>
#include <string.h>

/* ---- pictures ---- */

/* A picture as a file, as its bytes, and as pixels with gaps between rows that go down or up. */
START_TEST(every_kind_of_picture_is_the_same) {
    enum { STRIDE = 3 * API_WIDTH + 7 };
    vit_model *model = api_model_open();
    vit_classifier *classifier = api_classifier_make(model, NULL);
    uint8_t rgb[3 * API_WIDTH * API_HEIGHT], down[API_HEIGHT][STRIDE], up[API_HEIGHT][STRIDE];
    vit_bytes file = {0};
    api_draw(2, rgb);
    memset(down, 9, sizeof down);
    memset(up, 9, sizeof up);
    for (size_t y = 0; y < API_HEIGHT; y++) {
        memcpy(down[y], rgb + 3 * API_WIDTH * y, 3 * API_WIDTH);
        memcpy(up[API_HEIGHT - 1 - y], rgb + 3 * API_WIDTH * y, 3 * API_WIDTH);
    }
    ck_vit_ok(vit_file_read(api_paths[2], 1 << 20, &file));
    const vit_picture pictures[] = {
        vit_picture_file(api_paths[2]),
        vit_picture_encoded(file.data, file.size, "bytes"),
        vit_picture_rgb(rgb, API_WIDTH, API_HEIGHT, 0, NULL),
        vit_picture_rgb(down, API_WIDTH, API_HEIGHT, STRIDE, "down"),
        vit_picture_rgb(up[API_HEIGHT - 1], API_WIDTH, API_HEIGHT, -STRIDE, "up"),
    };
    ck_vit_ok(vit_classify(classifier, pictures, 5));
    for (size_t i = 0; i < 5; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        ck_assert_msg(result->status == VIT_OK, "%zu: %s", i, result->message);
        check_same_bits("kind of picture", API_CLASSES, result->probabilities,
                        vit_classifier_get_probabilities(classifier));
    }
    vit_bytes_free(&file);
    vit_classifier_free(classifier);
    vit_model_close(model);
}
END_TEST

START_TEST(wrong_pictures) {
    vit_model *model = api_model_open();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.max_pixels = API_WIDTH * API_HEIGHT;
    vit_classifier *classifier = api_classifier_make(model, &options);
    uint8_t rgb[3 * API_WIDTH * (API_HEIGHT + 1)] = {0};
    const vit_picture wrong[] = {
        vit_picture_rgb(rgb, 0, 4, 0, NULL),
        vit_picture_rgb(rgb, 4, 4, 11, "narrow"),
        vit_picture_rgb(rgb, 4, 4, -11, "narrow"),
        vit_picture_rgb(rgb, SIZE_MAX / 2, 1, 0, "wide"),
        vit_picture_rgb(rgb, SIZE_MAX / 2, 1, PTRDIFF_MIN, "wide"),
        vit_picture_rgb(NULL, 4, 4, 0, NULL),
        vit_picture_encoded(NULL, 4, NULL),
        vit_picture_file(NULL),
        {.kind = (vit_picture_kind)9, .name = "a", .data = rgb},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(vit_classify(classifier, &wrong[i], 1), VIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(vit_classifier_get_result(classifier, 0));
        ck_assert_ptr_null(vit_classifier_get_probabilities(classifier));
    }
    ck_vit_fails(vit_classify(classifier, NULL, 1), VIT_ERROR_ARGUMENT, "is NULL");
    ck_vit_fails(vit_classify_files(classifier, NULL, 2), VIT_ERROR_ARGUMENT, "is NULL");
    ck_vit_ok(vit_classify(classifier, NULL, 0));
    /* Those fail alone. "-" is a file, not standard input. */
    const vit_picture odd[] = {
        vit_picture_rgb(rgb, API_WIDTH, API_HEIGHT, 0, "fits"),
        vit_picture_rgb(rgb, API_WIDTH, API_HEIGHT + 1, 0, "large"),
        vit_picture_encoded("", 0, "empty"),
        vit_picture_encoded(NULL, 0, NULL),
        vit_picture_file(api_paths[API_FILES]),
        vit_picture_file("-"),
    };
    static const char *const parts[] = {"", "large: ", "empty: ", "picture: ", "text: ", "./-: "};
    ck_vit_ok(vit_classify(classifier, odd, 6));
    for (size_t i = 0; i < 6; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        ck_assert_msg(strstr(result->message, parts[i]) != NULL, "%s", result->message);
        ck_assert_int_eq(result->status == VIT_OK, i == 0);
        ck_assert_int_eq(*result->message == 0, i == 0);
        if (i > 0) {
            ck_assert_ptr_null(result->probabilities);
            ck_assert_ptr_null(result->top);
            ck_assert_uint_eq(result->top_count, 0);
            ck_assert(isnan(vit_classifier_get_probabilities(classifier)[i * API_CLASSES]));
        }
    }
    ck_assert_int_eq(vit_classifier_get_result(classifier, 1)->status, VIT_ERROR_LIMIT);
    ck_assert_int_eq(vit_classifier_get_result(classifier, 5)->status, VIT_ERROR_IO);
    vit_classifier_free(classifier);
    vit_model_close(model);
}
END_TEST

/* A transparent pixel shows what the caller chose, which is copied. */
START_TEST(background_is_chosen) {
    vit_model *model = api_model_open();
    unsigned char black[3] = {0, 0, 0};
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.background = black;
    vit_classifier *on_black = api_classifier_make(model, &options),
                   *on_white = api_classifier_make(model, NULL);
    memset(black, 255, sizeof black);
    /* 1 x 1, grey with alpha 0 */
    static const unsigned char png[] = "\211PNG\r\n\032\n\000\000\000\015IHDR\000\000\000\001\000"
                                       "\000\000\001\010\004\000\000\000\265"
                                       "\034\014\002\000\000\000\013IDAT\170\332\143\150\140\000"
                                       "\000\001\003\000\201\255\350\262\164\000"
                                       "\000\000\000IEND\256\102\140\202";
    const uint8_t pixels[2][3] = {{0, 0, 0}, {255, 255, 255}};
    const vit_picture pictures[] = {vit_picture_encoded(png, sizeof png - 1, "clear"),
                                    vit_picture_rgb(pixels[0], 1, 1, 0, "black"),
                                    vit_picture_rgb(pixels[1], 1, 1, 0, "white")};
    for (size_t i = 0; i < 2; i++) {
        vit_classifier *classifier = i == 0 ? on_black : on_white;
        ck_vit_ok(vit_classify(classifier, pictures, 3));
        const vit_result *result = vit_classifier_get_result(classifier, 0);
        ck_assert_msg(result->status == VIT_OK, "%s", result->message);
        check_same_bits("background", API_CLASSES, result->probabilities,
                        vit_classifier_get_result(classifier, 1 + i)->probabilities);
    }
    vit_classifier_free(on_black);
    vit_classifier_free(on_white);
    vit_model_close(model);
}
END_TEST

START_TEST(pictures_are_found) {
    char **found = (char **)1, missing[1024];
    size_t count = 9;
    ck_vit_ok(vit_find_pictures(&found, &count, api_base));
    ck_assert_uint_eq(count, API_FILES);
    for (size_t i = 0; i < count; i++) {
        ck_assert_str_eq(found[i], api_paths[i]);
    }
    vit_free_paths(found, count);
    ck_vit_ok(
        vit_find_pictures(&found, &count, api_paths[API_FILES])); /* a file, whatever its name */
    ck_assert_uint_eq(count, 1);
    vit_free_paths(found, count);
    ck_vit_fails(vit_find_pictures(&found, &count, temp_path(missing, api_base, "gone")),
                 VIT_ERROR_IO, "gone");
    ck_assert_ptr_null(found);
    ck_assert_uint_eq(count, 0);
    vit_free_paths(NULL, 0);
}
END_TEST

/* ---- results ---- */

/* Against the predictor; in calls of growing and shrinking size. */
START_TEST(results_of_any_number) {
    vit_model *model = api_model_open();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.threads = 2;
    vit_classifier *classifier = api_classifier_make(model, &options);
    vit_model_bundle *bundle;
    vit_predictor *predictor;
    vit_prediction expected[API_FILES];
    const char *files[100];
    ck_vit_ok(vit_model_bundle_load(api_model_path, &bundle));
    ck_vit_ok(vit_predictor_create(bundle, API_FILES, 1, NULL, &predictor));
    for (size_t i = 0; i < 100; i++) {
        files[i] = api_paths[i % API_FILES];
    }
    ck_vit_ok(vit_predict_files(predictor, files, API_FILES, expected));
    static const size_t counts[] = {1, 4, 5, 64, 65, 3, 0, 100, 10};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        ck_vit_ok(vit_classify_files(classifier, files, counts[n]));
        for (size_t i = 0; i < counts[n]; i++) {
            const vit_result *r = vit_classifier_get_result(classifier, i);
            const float *p = r->probabilities;
            check_same_bits("result", API_CLASSES, p, expected[i % API_FILES].probabilities);
            check_same_bits("block", API_CLASSES, p,
                            vit_classifier_get_probabilities(classifier) + i * API_CLASSES);
            ck_assert_uint_eq(r->top_count, API_CLASSES); /* 5, but there are no more */
            ck_assert(p[r->top[0]] >= p[r->top[1]] && p[r->top[1]] >= p[r->top[2]]);
            ck_assert_int_eq(r->top[0] + r->top[1] + r->top[2], 3);
            ck_assert_double_gt(r->milliseconds, 0);
            ck_assert_ptr_null(r->features);
        }
        ck_assert_ptr_null(vit_classifier_get_result(classifier, counts[n]));
        ck_assert_ptr_null(vit_classifier_get_features(classifier));
    }
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
    vit_classifier_free(classifier);
    vit_classifier_free(NULL);
    vit_model_close(model);
}
END_TEST

/* What the head makes of the features, in double, is what the classifier says. */
static void check_features(const vit_model_bundle *bundle, const float *features,
                           const float *probabilities) {
    const float *weight = bundle->params + bundle->model.head_weight;
    const float *bias = bundle->params + bundle->model.head_bias;
    double expected[API_CLASSES], sum = 0;
    for (size_t k = 0; k < API_CLASSES; k++) {
        double logit = (double)bias[k];
        for (size_t i = 0; i < API_FEATURES; i++) {
            logit += (double)weight[k * API_FEATURES + i] * (double)features[i];
        }
        sum += expected[k] = exp(logit);
    }
    for (size_t k = 0; k < API_CLASSES; k++) {
        expected[k] /= sum;
    }
    check_close("head of the features", API_CLASSES, probabilities, expected, 1e-5);
}

START_TEST(features_are_what_the_head_reads) {
    vit_model *model = api_model_open();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.features = true;
    vit_classifier *classifier = api_classifier_make(model, &options);
    vit_model_bundle *bundle;
    const char *files[API_FILES + 1];
    ck_vit_ok(vit_model_bundle_load(api_model_path, &bundle));
    for (size_t i = 0; i <= API_FILES; i++) {
        files[i] = api_paths[i];
    }
    ck_vit_ok(vit_classify_files(classifier, files, API_FILES + 1));
    const float *block = vit_classifier_get_features(classifier);
    for (size_t i = 0; i < API_FILES; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        ck_assert_ptr_eq(result->features, block + i * API_FEATURES);
        check_features(bundle, result->features, result->probabilities);
    }
    ck_assert_ptr_null(vit_classifier_get_result(classifier, API_FILES)->features);
    for (size_t i = 0; i < API_FEATURES; i++) {
        ck_assert(isnan(block[API_FILES * API_FEATURES + i]));
    }
    vit_model_bundle_free(bundle);
    vit_classifier_free(classifier);
    vit_model_close(model);
}
END_TEST

/* The mean of the picture's and its mirror image's, which is a picture of its own here. */
START_TEST(mirror_images_are_averaged) {
    vit_model *model;
    char whole[1024];
    api_model_make(temp_path(whole, api_base, "whole.safetensors"), 3, 1); /* nothing is cut off */
    ck_vit_ok(vit_model_open(&model, whole, NULL));
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.features = true;
    vit_classifier *plain = api_classifier_make(model, &options);
    options.tta = VIT_TTA_FLIP;
    vit_classifier *flip = api_classifier_make(model, &options);
    enum { SIDE = 28 };
    uint8_t rgb[3 * SIDE * SIDE], mirrored[3 * SIDE * SIDE];
    draw_picture(1, 5, SIDE, SIDE, rgb);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        memcpy(mirrored + 3 * (i / SIDE * SIDE + SIDE - 1 - i % SIDE), rgb + 3 * i, 3);
    }
    const vit_picture pictures[] = {vit_picture_rgb(rgb, SIDE, SIDE, 0, NULL),
                                    vit_picture_rgb(mirrored, SIDE, SIDE, 0, NULL)};
    ck_vit_ok(vit_classify(plain, pictures, 2));
    ck_vit_ok(vit_classify(flip, pictures, 1));
    const float *p = vit_classifier_get_probabilities(plain);
    const float *f = vit_classifier_get_features(plain);
    double probabilities[API_CLASSES], features[API_FEATURES];
    for (size_t k = 0; k < API_CLASSES; k++) {
        probabilities[k] = 0.5 * ((double)p[k] + (double)p[API_CLASSES + k]);
    }
    for (size_t i = 0; i < API_FEATURES; i++) {
        features[i] = 0.5 * ((double)f[i] + (double)f[API_FEATURES + i]);
    }
    check_close("probabilities", API_CLASSES, vit_classifier_get_probabilities(flip), probabilities,
                1e-5);
    check_close("features", API_FEATURES, vit_classifier_get_features(flip), features, 1e-5);
    ck_assert(relative_error(API_CLASSES, p, probabilities) > 1e-3); /* the mirror image counts */
    vit_classifier_free(plain);
    vit_classifier_free(flip);
    vit_model_close(model);
}
END_TEST

START_TEST(latency_is_preferred) {
    vit_model *model = api_model_open();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.threads = 2;
    vit_classifier *plain = api_classifier_make(model, &options);
    options.prefer_latency = true;
    vit_classifier *soon = api_classifier_make(model, &options);
    const char *files[] = {api_paths[0], api_paths[1]};
    double expected[2 * API_CLASSES];
    ck_vit_ok(vit_classify_files(plain, files, 2));
    for (size_t i = 0; i < 2 * API_CLASSES; i++) {
        expected[i] = (double)vit_classifier_get_probabilities(plain)[i];
    }
    ck_vit_ok(vit_classify_files(soon, files, 1));
    check_close("alone", API_CLASSES, vit_classifier_get_probabilities(soon), expected, 1e-6);
    ck_vit_ok(vit_classify_files(soon, files, 2));
    /* More than are computed at a time, of which the last is not alone. */
    const char *many[65];
    for (size_t i = 0; i < 65; i++) {
        many[i] = api_paths[i % API_FILES];
    }
    ck_vit_ok(vit_classify_files(plain, many, 65));
    ck_vit_ok(vit_classify_files(soon, many, 65));
    check_same_bits("many", 65 * API_CLASSES, vit_classifier_get_probabilities(soon),
                    vit_classifier_get_probabilities(plain));
    ck_vit_ok(vit_classify_files(plain, files, 2));
    ck_vit_ok(vit_classify_files(soon, files, 2));
    check_same_bits("two", 2 * API_CLASSES, vit_classifier_get_probabilities(soon),
                    vit_classifier_get_probabilities(plain));
    vit_classifier_free(plain);
    vit_classifier_free(soon);
    vit_model_close(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("api_classify");
    TCase *tcase = tcase_create("api_classify");
    tcase_add_checked_fixture(tcase, api_base_make, api_base_remove);
    tcase_add_test(tcase, every_kind_of_picture_is_the_same);
    tcase_add_test(tcase, wrong_pictures);
    tcase_add_test(tcase, background_is_chosen);
    tcase_add_test(tcase, pictures_are_found);
    tcase_add_test(tcase, results_of_any_number);
    tcase_add_test(tcase, features_are_what_the_head_reads);
    tcase_add_test(tcase, mirror_images_are_averaged);
    tcase_add_test(tcase, latency_is_preferred);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
