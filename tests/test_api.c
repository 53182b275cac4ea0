/* The public interface, as a program sees it: models, pictures, classifiers, measuring. */
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"

#include "data/image.h"
#include "eval/predict.h"
#include "vit/zvit.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { CLASSES = 3, FILES = 5, WIDTH = 33, HEIGHT = 26, D = 24 };
static const char *const classes[] = {"ant", "bee", "c\xc3\xa4t"};
static char *base;
static char paths[FILES + 1][1024], model_path[1024]; /* the last is no picture */

static void make_model(const char *path, uint64_t seed, double crop_pct) {
    vit_model_bundle *bundle = small_model_new(&(small_model){.classes = classes,
                                                              .num_classes = CLASSES,
                                                              .embed_dim = D,
                                                              .depth = 2,
                                                              .num_heads = 2,
                                                              .seed = seed,
                                                              .scale = 0.3,
                                                              .crop_pct = crop_pct});
    snprintf(bundle->model.config.architecture, sizeof bundle->model.config.architecture, "custom");
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    vit_model_bundle_free(bundle);
}

static void draw(int i, uint8_t rgb[3 * WIDTH * HEIGHT]) {
    draw_picture(i % CLASSES, (uint64_t)i, WIDTH, HEIGHT, rgb);
}

static void make_base(void) {
    base = temp_folder();
    uint8_t rgb[3 * WIDTH * HEIGHT];
    for (int i = 0; i < FILES; i++) {
        draw(i, rgb);
        write_png(temp_path(paths[i], base, "%d.png", i), WIDTH, HEIGHT, rgb);
    }
    FILE *file = fopen(temp_path(paths[FILES], base, "text"), "w");
    ck_assert_ptr_nonnull(file);
    fputs("no picture", file);
    fclose(file);
    make_model(temp_path(model_path, base, "model.safetensors"), 1, 0.9);
}

static void remove_base(void) {
    temp_folder_remove(base);
    base = NULL;
}

static vit_model *open_model(void) {
    vit_model *model;
    ck_vit_ok(vit_model_open(&model, model_path, NULL));
    return model;
}

static vit_classifier *make_classifier(vit_model *model, const vit_classifier_options *options) {
    vit_classifier *classifier;
    ck_vit_ok(vit_classifier_create(&classifier, model, options));
    return classifier;
}

/* ---- models ---- */

START_TEST(model_is_described) {
    vit_model *model = open_model();
    const vit_model_info *info = vit_model_get_info(model);
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_load(model_path, &bundle));
    ck_assert_str_eq(info->architecture, "custom");
    ck_assert_uint_eq(info->class_count, CLASSES);
    for (int i = 0; i < CLASSES; i++) {
        ck_assert_str_eq(info->class_names[i], classes[i]);
    }
    ck_assert_uint_eq(info->height, 28);
    ck_assert_uint_eq(info->width, 28);
    ck_assert_uint_eq(info->patch_size, 4);
    ck_assert_uint_eq(info->feature_count, D);
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
    vit_model *model, *whole = open_model();
    ck_vit_ok(vit_file_read(model_path, 1 << 24, &file));
    ck_vit_ok(vit_model_open_memory(&model, file.data, file.size, "upload", NULL));
    memset(file.data, 0, file.size); /* borrowed during the call only */
    vit_classifier *a = make_classifier(model, NULL), *b = make_classifier(whole, NULL);
    const vit_picture picture = vit_picture_file(paths[0]);
    ck_vit_ok(vit_classify(a, &picture, 1));
    ck_vit_ok(vit_classify(b, &picture, 1));
    check_same_bits("from memory", CLASSES, vit_classifier_get_probabilities(a),
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
    ck_vit_fails(vit_model_open(&model, temp_path(missing, base, "gone"), NULL), VIT_ERROR_IO,
                 "gone");
    ck_assert_ptr_null(model);
    ck_vit_fails(vit_model_open(&model, NULL, NULL), VIT_ERROR_ARGUMENT, "path is NULL");
    ck_vit_fails(vit_model_open(&model, paths[FILES], NULL), VIT_ERROR_LIMIT, paths[FILES]);
    ck_vit_fails(vit_model_open_memory(&model, NULL, 3, NULL, NULL), VIT_ERROR_ARGUMENT,
                 "bytes is NULL");
    ck_vit_ok(vit_file_read(model_path, 1 << 24, &file));
    ck_vit_fails(vit_model_open_memory(&model, file.data, file.size / 2, "half", NULL),
                 VIT_ERROR_FORMAT, "half");
    ck_assert_ptr_null(model);
    vit_model_options options = VIT_MODEL_OPTIONS_INIT;
    options.threads = -1;
    ck_vit_fails(vit_model_open(&model, model_path, &options), VIT_ERROR_ARGUMENT, "-1 threads");
    options.threads = 1;
    ck_vit_ok(vit_model_open(&model, model_path, &options));
    vit_model_close(model);
    vit_bytes_free(&file);
}
END_TEST

START_TEST(classifiers_keep_the_model) {
    vit_model *model = open_model();
    vit_classifier *first = make_classifier(model, NULL), *second = make_classifier(model, NULL);
    const char *files[] = {paths[0]};
    vit_model_close(model);
    vit_classifier_free(first);
    ck_vit_ok(vit_classify_files(second, files, 1));
    ck_assert_int_eq(vit_classifier_get_result(second, 0)->status, VIT_OK);
    vit_classifier_free(second);
}
END_TEST

/* ---- models with int8 weights ---- */

static const char *make_int8(char path[1024]) {
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_load(model_path, &bundle));
    ck_vit_ok(vit_model_bundle_save_int8(bundle, temp_path(path, base, "int8.safetensors")));
    vit_model_bundle_free(bundle);
    return path;
}

static void check_same_results(const char *what, const vit_classifier *a, const vit_classifier *b) {
    check_same_bits(what, FILES * CLASSES, vit_classifier_get_probabilities(a),
                    vit_classifier_get_probabilities(b));
    check_same_bits(what, FILES * D, vit_classifier_get_features(a),
                    vit_classifier_get_features(b));
}

/* As any other, from a file and from memory: near what the float weights say, in the same bits
 * whatever computes them. */
START_TEST(int8_models_are_models) {
    char path[1024];
    const char *const files[] = {paths[0], paths[1], paths[2], paths[3], paths[4]};
    vit_bytes file = {0};
    vit_model *model, *upload, *floats = open_model();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    ck_vit_ok(vit_model_open(&model, make_int8(path), NULL));
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
    vit_classifier *one = make_classifier(model, &options);
    vit_classifier *near = make_classifier(floats, &options);
    options.threads = 3;
    vit_classifier *three = make_classifier(upload, &options);
    options.prefer_latency = true;
    vit_classifier *together = make_classifier(model, &options);
    vit_model_close(model); /* the classifiers keep it */
    ck_vit_ok(vit_classify_files(one, files, FILES));
    ck_vit_ok(vit_classify_files(three, files, FILES));
    ck_vit_ok(vit_classify_files(near, files, FILES));
    check_same_results("threads", one, three);
    for (size_t i = 0; i < FILES; i++) {
        const vit_result *a = vit_classifier_get_result(one, i);
        const vit_result *b = vit_classifier_get_result(near, i);
        ck_assert_int_eq(a->status, VIT_OK);
        ck_vit_ok(vit_classify_files(together, &files[i], 1));
        check_same_bits("alone", CLASSES, a->probabilities,
                        vit_classifier_get_result(together, 0)->probabilities);
        for (size_t k = 0; k < CLASSES; k++) {
            ck_assert_float_eq_tol(a->probabilities[k], b->probabilities[k], 0.05f);
        }
        ck_assert(memcmp(a->features, b->features, D * sizeof(float)) != 0); /* not the floats */
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

START_TEST(int8_models_are_measured) {
    char path[1024], data[1024];
    vit_model *model;
    vit_evaluation *evaluation;
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    double loss = 0;
    temp_path(data, base, "int8_data");
    make_pictures(data, "val", classes, CLASSES, 6, WIDTH, HEIGHT, 3);
    ck_vit_ok(vit_model_open(&model, make_int8(path), NULL));
    for (options.threads = 1; options.threads <= 3; options.threads++) {
        ck_vit_ok(vit_evaluation_run(&evaluation, model, data, &options));
        const vit_evaluation_result *result = vit_evaluation_get_result(evaluation);
        ck_assert_uint_eq(result->images, 6 * CLASSES);
        ck_assert(isfinite(result->loss));
        ck_assert(options.threads == 1 || result->loss == loss);
        loss = result->loss;
        vit_evaluation_free(evaluation);
    }
    vit_model_close(model);
}
END_TEST

/* ---- options ---- */

/* What a program built against a later header would hand over. */
typedef struct later_options {
    vit_classifier_options known;
    void *more;
} later_options;

START_TEST(options_of_other_versions) {
    vit_model *model = open_model();
    vit_classifier *classifier;
    /* Of an earlier header: what is behind its end is not looked at. */
    vit_classifier_options earlier = VIT_CLASSIFIER_OPTIONS_INIT;
    earlier.size = offsetof(vit_classifier_options, tta);
    earlier.top = 2;
    earlier.tta = (vit_tta)77;
    ck_vit_ok(vit_classifier_create(&classifier, model, &earlier));
    const char *files[] = {paths[0]};
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

/* ---- pictures ---- */

/* A picture as a file, as its bytes, and as pixels with gaps between rows that go down or up. */
START_TEST(every_kind_of_picture_is_the_same) {
    enum { STRIDE = 3 * WIDTH + 7 };
    vit_model *model = open_model();
    vit_classifier *classifier = make_classifier(model, NULL);
    uint8_t rgb[3 * WIDTH * HEIGHT], down[HEIGHT][STRIDE], up[HEIGHT][STRIDE];
    vit_bytes file = {0};
    draw(2, rgb);
    memset(down, 9, sizeof down);
    memset(up, 9, sizeof up);
    for (size_t y = 0; y < HEIGHT; y++) {
        memcpy(down[y], rgb + 3 * WIDTH * y, 3 * WIDTH);
        memcpy(up[HEIGHT - 1 - y], rgb + 3 * WIDTH * y, 3 * WIDTH);
    }
    ck_vit_ok(vit_file_read(paths[2], 1 << 20, &file));
    const vit_picture pictures[] = {
        vit_picture_file(paths[2]),
        vit_picture_encoded(file.data, file.size, "bytes"),
        vit_picture_rgb(rgb, WIDTH, HEIGHT, 0, NULL),
        vit_picture_rgb(down, WIDTH, HEIGHT, STRIDE, "down"),
        vit_picture_rgb(up[HEIGHT - 1], WIDTH, HEIGHT, -STRIDE, "up"),
    };
    ck_vit_ok(vit_classify(classifier, pictures, 5));
    for (size_t i = 0; i < 5; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        ck_assert_msg(result->status == VIT_OK, "%zu: %s", i, result->message);
        check_same_bits("kind of picture", CLASSES, result->probabilities,
                        vit_classifier_get_probabilities(classifier));
    }
    vit_bytes_free(&file);
    vit_classifier_free(classifier);
    vit_model_close(model);
}
END_TEST

START_TEST(wrong_pictures) {
    vit_model *model = open_model();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.max_pixels = WIDTH * HEIGHT;
    vit_classifier *classifier = make_classifier(model, &options);
    uint8_t rgb[3 * WIDTH * (HEIGHT + 1)] = {0};
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
        vit_picture_rgb(rgb, WIDTH, HEIGHT, 0, "fits"),
        vit_picture_rgb(rgb, WIDTH, HEIGHT + 1, 0, "large"),
        vit_picture_encoded("", 0, "empty"),
        vit_picture_encoded(NULL, 0, NULL),
        vit_picture_file(paths[FILES]),
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
            ck_assert(isnan(vit_classifier_get_probabilities(classifier)[i * CLASSES]));
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
    vit_model *model = open_model();
    unsigned char black[3] = {0, 0, 0};
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.background = black;
    vit_classifier *on_black = make_classifier(model, &options),
                   *on_white = make_classifier(model, NULL);
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
        check_same_bits("background", CLASSES, result->probabilities,
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
    ck_vit_ok(vit_find_pictures(&found, &count, base));
    ck_assert_uint_eq(count, FILES);
    for (size_t i = 0; i < count; i++) {
        ck_assert_str_eq(found[i], paths[i]);
    }
    vit_free_paths(found, count);
    ck_vit_ok(vit_find_pictures(&found, &count, paths[FILES])); /* a file, whatever its name */
    ck_assert_uint_eq(count, 1);
    vit_free_paths(found, count);
    ck_vit_fails(vit_find_pictures(&found, &count, temp_path(missing, base, "gone")), VIT_ERROR_IO,
                 "gone");
    ck_assert_ptr_null(found);
    ck_assert_uint_eq(count, 0);
    vit_free_paths(NULL, 0);
}
END_TEST

/* ---- results ---- */

/* Against the predictor; in calls of growing and shrinking size. */
START_TEST(results_of_any_number) {
    vit_model *model = open_model();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.threads = 2;
    vit_classifier *classifier = make_classifier(model, &options);
    vit_model_bundle *bundle;
    vit_predictor *predictor;
    vit_prediction expected[FILES];
    const char *files[100];
    ck_vit_ok(vit_model_bundle_load(model_path, &bundle));
    ck_vit_ok(vit_predictor_create(bundle, FILES, 1, NULL, &predictor));
    for (size_t i = 0; i < 100; i++) {
        files[i] = paths[i % FILES];
    }
    ck_vit_ok(vit_predict_files(predictor, files, FILES, expected));
    static const size_t counts[] = {1, 4, 5, 64, 65, 3, 0, 100, 10};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        ck_vit_ok(vit_classify_files(classifier, files, counts[n]));
        for (size_t i = 0; i < counts[n]; i++) {
            const vit_result *r = vit_classifier_get_result(classifier, i);
            const float *p = r->probabilities;
            check_same_bits("result", CLASSES, p, expected[i % FILES].probabilities);
            check_same_bits("block", CLASSES, p,
                            vit_classifier_get_probabilities(classifier) + i * CLASSES);
            ck_assert_uint_eq(r->top_count, CLASSES); /* 5, but there are no more */
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
    double expected[CLASSES], sum = 0;
    for (size_t k = 0; k < CLASSES; k++) {
        double logit = (double)bias[k];
        for (size_t i = 0; i < D; i++) {
            logit += (double)weight[k * D + i] * (double)features[i];
        }
        sum += expected[k] = exp(logit);
    }
    for (size_t k = 0; k < CLASSES; k++) {
        expected[k] /= sum;
    }
    check_close("head of the features", CLASSES, probabilities, expected, 1e-5);
}

START_TEST(features_are_what_the_head_reads) {
    vit_model *model = open_model();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.features = true;
    vit_classifier *classifier = make_classifier(model, &options);
    vit_model_bundle *bundle;
    const char *files[FILES + 1];
    ck_vit_ok(vit_model_bundle_load(model_path, &bundle));
    for (size_t i = 0; i <= FILES; i++) {
        files[i] = paths[i];
    }
    ck_vit_ok(vit_classify_files(classifier, files, FILES + 1));
    const float *block = vit_classifier_get_features(classifier);
    for (size_t i = 0; i < FILES; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        ck_assert_ptr_eq(result->features, block + i * D);
        check_features(bundle, result->features, result->probabilities);
    }
    ck_assert_ptr_null(vit_classifier_get_result(classifier, FILES)->features);
    for (size_t i = 0; i < D; i++) {
        ck_assert(isnan(block[FILES * D + i]));
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
    make_model(temp_path(whole, base, "whole.safetensors"), 3, 1); /* nothing is cut off */
    ck_vit_ok(vit_model_open(&model, whole, NULL));
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.features = true;
    vit_classifier *plain = make_classifier(model, &options);
    options.tta = VIT_TTA_FLIP;
    vit_classifier *flip = make_classifier(model, &options);
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
    double probabilities[CLASSES], features[D];
    for (size_t k = 0; k < CLASSES; k++) {
        probabilities[k] = 0.5 * ((double)p[k] + (double)p[CLASSES + k]);
    }
    for (size_t i = 0; i < D; i++) {
        features[i] = 0.5 * ((double)f[i] + (double)f[D + i]);
    }
    check_close("probabilities", CLASSES, vit_classifier_get_probabilities(flip), probabilities,
                1e-5);
    check_close("features", D, vit_classifier_get_features(flip), features, 1e-5);
    ck_assert(relative_error(CLASSES, p, probabilities) > 1e-3); /* the mirror image counts */
    vit_classifier_free(plain);
    vit_classifier_free(flip);
    vit_model_close(model);
}
END_TEST

START_TEST(latency_is_preferred) {
    vit_model *model = open_model();
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    options.threads = 2;
    vit_classifier *plain = make_classifier(model, &options);
    options.prefer_latency = true;
    vit_classifier *soon = make_classifier(model, &options);
    const char *files[] = {paths[0], paths[1]};
    double expected[2 * CLASSES];
    ck_vit_ok(vit_classify_files(plain, files, 2));
    for (size_t i = 0; i < 2 * CLASSES; i++) {
        expected[i] = (double)vit_classifier_get_probabilities(plain)[i];
    }
    ck_vit_ok(vit_classify_files(soon, files, 1));
    check_close("alone", CLASSES, vit_classifier_get_probabilities(soon), expected, 1e-6);
    ck_vit_ok(vit_classify_files(soon, files, 2));
    /* More than are computed at a time, of which the last is not alone. */
    const char *many[65];
    for (size_t i = 0; i < 65; i++) {
        many[i] = paths[i % FILES];
    }
    ck_vit_ok(vit_classify_files(plain, many, 65));
    ck_vit_ok(vit_classify_files(soon, many, 65));
    check_same_bits("many", 65 * CLASSES, vit_classifier_get_probabilities(soon),
                    vit_classifier_get_probabilities(plain));
    ck_vit_ok(vit_classify_files(plain, files, 2));
    ck_vit_ok(vit_classify_files(soon, files, 2));
    check_same_bits("two", 2 * CLASSES, vit_classifier_get_probabilities(soon),
                    vit_classifier_get_probabilities(plain));
    vit_classifier_free(plain);
    vit_classifier_free(soon);
    vit_model_close(model);
}
END_TEST

/* ---- threads ---- */

typedef struct job {
    vit_model *model;
    float first[FILES * CLASSES]; /* what came of the first call */
    char error[256];
} job;

/* Classifies again and again, opening and failing in between: each time to the same bits. */
static void *work(void *argument) {
    job *j = argument;
    const char *files[FILES];
    char own[64];
    snprintf(own, sizeof own, "/%p/missing", argument);
    for (size_t i = 0; i < FILES; i++) {
        files[i] = paths[i];
    }
    for (int round = 0; round < 20 && !*j->error; round++) {
        vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
        vit_classifier *classifier = NULL;
        vit_model *none;
        options.threads = 1 + round % 2;
        if (vit_model_open(&none, own, NULL) != VIT_ERROR_IO || !strstr(vit_last_error(), own)) {
            snprintf(j->error, sizeof j->error, "another thread's error: %s", vit_last_error());
        } else if (vit_classifier_create(&classifier, j->model, &options) != VIT_OK ||
                   vit_classify_files(classifier, files, FILES) != VIT_OK) {
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
    vit_model *models[2] = {open_model()};
    make_model(temp_path(other, base, "other.safetensors"), 2, 0.9);
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
    temp_path(data, base, "data");
    make_pictures(data, "val", classes, 2, 6, WIDTH, HEIGHT, 3);
    return data;
}

START_TEST(model_is_measured) {
    char data[1024], path[1024], **found;
    size_t count, right = 0;
    vit_model *model = open_model();
    vit_classifier *classifier = make_classifier(model, NULL);
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
    ck_assert_uint_eq(result->classes, CLASSES);
    ck_assert_uint_eq(result->skipped, 0);
    ck_assert(s.calls > 0 && s.done == 12 && s.total == 12);
    ck_assert_uint_eq(s.warnings, 1); /* a class without a picture */
    ck_assert_msg(strstr(s.warning, "1 of the 3 classes") != NULL, "%s", s.warning);
    ck_vit_ok(vit_find_pictures(&found, &count, data));
    ck_vit_ok(vit_classify_files(classifier, (const char *const *)found, count));
    for (size_t i = 0; i < count; i++) {
        right +=
            strstr(found[i], classes[vit_classifier_get_result(classifier, i)->top[0]]) != NULL;
    }
    ck_assert_double_eq_tol(result->top1, 100.0 * (double)right / 12, 1e-9);
    vit_json *json;
    ck_vit_ok(vit_json_parse(result->json, strlen(result->json), "json", &json));
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "top1"), -1), result->top1);
    vit_json_free(json);
    ck_vit_ok(vit_evaluation_write(evaluation, temp_path(path, base, "figures")));
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
    vit_model *model = open_model();
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
    vit_model *model = open_model();
    vit_evaluation *evaluation;
    vit_evaluation_options options = VIT_EVALUATION_OPTIONS_INIT;
    seen s = {0};
    make_val(data);
    FILE *file = fopen(temp_path(broken, data, "val/ant/broken.png"), "w");
    fputs("no picture", file);
    fclose(file);
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

/* ---- nothing ---- */

START_TEST(nothing_is_refused) {
    vit_model *model = open_model();
    vit_classifier *classifier;
    char **found;
    size_t count;
    const vit_picture picture = vit_picture_file(paths[0]);
    const char *files[] = {paths[0]};
    ck_vit_fails(vit_model_open(NULL, model_path, NULL), VIT_ERROR_ARGUMENT, "vit_model_open: out");
    ck_vit_fails(vit_model_open_memory(NULL, "x", 1, NULL, NULL), VIT_ERROR_ARGUMENT,
                 "out is NULL");
    ck_vit_fails(vit_classifier_create(NULL, model, NULL), VIT_ERROR_ARGUMENT, "out is NULL");
    ck_vit_fails(vit_classifier_create(&classifier, NULL, NULL), VIT_ERROR_ARGUMENT, "model");
    ck_vit_fails(vit_classify(NULL, &picture, 1), VIT_ERROR_ARGUMENT, "vit_classify: classifier");
    ck_vit_fails(vit_classify_files(NULL, files, 1), VIT_ERROR_ARGUMENT, "classifier is NULL");
    ck_vit_fails(vit_evaluation_run(NULL, model, base, NULL), VIT_ERROR_ARGUMENT, "out is NULL");
    ck_vit_fails(vit_evaluation_write(NULL, base), VIT_ERROR_ARGUMENT, "evaluation is NULL");
    ck_vit_fails(vit_find_pictures(NULL, &count, base), VIT_ERROR_ARGUMENT, "paths is NULL");
    ck_vit_fails(vit_find_pictures(&found, NULL, base), VIT_ERROR_ARGUMENT, "count is NULL");
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
    tcase_add_checked_fixture(tcase, make_base, remove_base);
    tcase_add_test(tcase, model_is_described);
    tcase_add_test(tcase, model_comes_from_memory);
    tcase_add_test(tcase, model_is_refused);
    tcase_add_test(tcase, classifiers_keep_the_model);
    tcase_add_test(tcase, options_of_other_versions);
    tcase_add_test(tcase, every_kind_of_picture_is_the_same);
    tcase_add_test(tcase, wrong_pictures);
    tcase_add_test(tcase, background_is_chosen);
    tcase_add_test(tcase, pictures_are_found);
    tcase_add_test(tcase, results_of_any_number);
    tcase_add_test(tcase, features_are_what_the_head_reads);
    tcase_add_test(tcase, mirror_images_are_averaged);
    tcase_add_test(tcase, latency_is_preferred);
    tcase_add_test(tcase, two_models_in_four_threads);
    tcase_add_test(tcase, model_is_measured);
    tcase_add_test(tcase, measuring_is_stopped);
    tcase_add_test(tcase, measuring_is_refused);
    tcase_add_test(tcase, int8_models_are_models);
    tcase_add_test(tcase, int8_models_are_measured);
    tcase_add_test(tcase, nothing_is_refused);
    tcase_add_test(tcase, names_and_statuses);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
