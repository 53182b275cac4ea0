/* Classifying pictures: one, many, and broken ones among them. */
#include "support/files.h"
#include "support/folder.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"

#include "eval/predict.h"
#include "vit/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of more than 64 tokens, which a product outside of a parallel region cuts into blocks. */
enum { CLASSES = 4, FILES = 9, SIDE = 36 };
static const char *const classes[] = {"a", "b", "c", "d"};
static char paths[FILES + 2][1024]; /* then one that is no picture, and one that is not there */

static void make_base(void) {
    make_folder();
    uint8_t rgb[3 * 31 * 40];
    for (int i = 0; i < FILES; i++) {
        size_t width = 31 - (size_t)i, height = 20 + (size_t)i * 2;
        draw_picture(i % CLASSES, (uint64_t)i, width, height, rgb);
        write_png(temp_path(paths[i], folder, "%d.png", i), width, height, rgb);
    }
    write_text(temp_path(paths[FILES], folder, "text.png"), "no picture");
    temp_path(paths[FILES + 1], folder, "missing.png");
}

static vit_model_bundle *make_bundle(void) {
    return small_model_new(&(small_model){.classes = classes,
                                          .num_classes = CLASSES,
                                          .img_size = SIDE,
                                          .embed_dim = 24,
                                          .depth = 2,
                                          .num_heads = 2,
                                          .seed = 1,
                                          .scale = 0.3});
}

/* The picture's probabilities, or its mirror image's, in double from the logits. */
static void plain(const vit_model_bundle *bundle, const char *path, bool mirrored,
                  double p[CLASSES]) {
    vit_workspace *workspace;
    vit_bytes bytes = {0};
    vit_image image = {0};
    vit_transform_scratch scratch = {0};
    vit_decode_options decode = vit_decode_defaults();
    float input[3 * SIDE * SIDE], logits[CLASSES];
    ck_vit_ok(vit_workspace_create(&bundle->model, 1, false, &workspace));
    ck_vit_ok(vit_image_load(path, &decode, &bytes, &image));
    ck_vit_ok(vit_transform_eval(&bundle->preprocess, SIDE, SIDE, &image, &scratch, input));
    for (size_t i = 0; mirrored && i < sizeof input / sizeof *input; i++) {
        size_t other = i / SIDE * SIDE + SIDE - 1 - i % SIDE;
        if (i < other) {
            float t = input[i];
            input[i] = input[other];
            input[other] = t;
        }
    }
    vit_model_forward(&bundle->model, bundle->params, workspace, 1, input, NULL, logits);
    double sum = 0;
    for (int k = 0; k < CLASSES; k++) {
        p[k] = exp((double)logits[k]);
        sum += p[k];
    }
    for (int k = 0; k < CLASSES; k++) {
        p[k] /= sum;
    }
    vit_transform_scratch_free(&scratch);
    vit_image_free(&image);
    vit_bytes_free(&bytes);
    vit_workspace_free(workspace);
}

static void check_prediction(const vit_model_bundle *bundle, const char *path,
                             const vit_prediction *prediction) {
    double expected[CLASSES];
    ck_assert_msg(prediction->status == VIT_OK, "%s", prediction->error);
    ck_assert_str_eq(prediction->error, "");
    ck_assert_double_gt(prediction->milliseconds, 0);
    plain(bundle, path, false, expected);
    check_close(path, CLASSES, prediction->probabilities, expected, 1e-6);
}

START_TEST(one_and_many) {
    vit_model_bundle *bundle = make_bundle();
    for (int threads = 1; threads <= 3; threads++) {
        vit_predictor *predictor;
        vit_prediction predictions[FILES];
        const char *files[FILES];
        ck_vit_ok(vit_predictor_create(bundle, FILES, threads, NULL, &predictor));
        for (int i = 0; i < FILES; i++) {
            files[i] = paths[i];
            ck_vit_ok(vit_predict_files(predictor, &files[i], 1, predictions));
            check_prediction(bundle, paths[i], predictions);
        }
        for (size_t count = 2; count <= FILES; count += 7) {
            ck_vit_ok(vit_predict_files(predictor, files, count, predictions));
            for (size_t i = 0; i < count; i++) {
                check_prediction(bundle, paths[i], &predictions[i]);
            }
        }
        ck_vit_ok(vit_predict_files(predictor, files, 0, predictions));
        vit_predictor_prefer_latency(predictor);
        ck_vit_ok(vit_predict_files(predictor, files, 1, predictions));
        check_prediction(bundle, paths[0], predictions);
        vit_predictor_free(predictor);
    }
    vit_model_bundle_free(bundle);
}
END_TEST

/* The same bits whoever the neighbours are, none included, and however many threads there are. */
START_TEST(neighbours_do_not_show) {
    vit_model_bundle *bundle = make_bundle();
    float first[CLASSES];
    for (int threads = 1; threads <= 3; threads++) {
        vit_predictor *predictor;
        vit_prediction predictions[FILES];
        ck_vit_ok(vit_predictor_create(bundle, FILES, threads, NULL, &predictor));
        for (size_t count = 1; count <= FILES; count++) {
            const char *files[FILES];
            for (size_t i = 0; i < count; i++) {
                files[i] = paths[i + 1 < count ? i + 1 : 0]; /* ours is the last */
            }
            ck_vit_ok(vit_predict_files(predictor, files, count, predictions));
            const float *ours = predictions[count - 1].probabilities;
            if (threads == 1 && count == 1) {
                memcpy(first, ours, sizeof first);
            }
            ck_assert_msg(memcmp(first, ours, sizeof first) == 0, "%zu files, %d threads", count,
                          threads);
        }
        vit_predictor_free(predictor);
    }
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(broken_ones_do_not_stop_the_others) {
    vit_model_bundle *bundle = make_bundle();
    vit_predictor *predictor;
    vit_prediction predictions[5];
    const char *files[] = {paths[0], paths[FILES], paths[1], paths[FILES + 1], paths[2]};
    const vit_status expected[] = {VIT_OK, VIT_ERROR_FORMAT, VIT_OK, VIT_ERROR_IO, VIT_OK};
    ck_vit_ok(vit_predictor_create(bundle, 5, 2, NULL, &predictor));
    ck_vit_ok(vit_predict_files(predictor, files, 5, predictions));
    for (int i = 0; i < 5; i++) {
        if (expected[i] == VIT_OK) {
            check_prediction(bundle, files[i], &predictions[i]);
            continue;
        }
        ck_assert_int_eq(predictions[i].status, expected[i]);
        ck_assert_msg(strstr(predictions[i].error, files[i]) != NULL, "%s", predictions[i].error);
        ck_assert_ptr_null(predictions[i].probabilities);
        vit_prediction alone;
        ck_vit_ok(vit_predict_files(predictor, &files[i], 1, &alone));
        ck_assert_int_eq(alone.status, expected[i]);
        ck_assert_str_eq(alone.error, predictions[i].error);
    }
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(output_that_is_not_finite) {
    vit_model_bundle *bundle = make_bundle();
    vit_predictor *predictor;
    vit_prediction predictions[2];
    const char *files[] = {paths[0], paths[1]};
    ck_vit_ok(vit_predictor_create(bundle, 2, 2, NULL, &predictor));
    bundle->params[bundle->model.head_bias + 1] = NAN;
    ck_vit_ok(vit_predict_files(predictor, files, 2, predictions));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(predictions[i].status, VIT_ERROR_NUMERIC);
        ck_assert_ptr_nonnull(strstr(predictions[i].error, files[i]));
    }
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(flipped_as_well) {
    vit_model_bundle *bundle = make_bundle();
    vit_predictor *predictor;
    vit_prediction predictions[FILES];
    const char *files[FILES];
    for (int i = 0; i < FILES; i++) {
        files[i] = paths[i];
    }
    ck_vit_ok(vit_predictor_create(bundle, FILES, 2, NULL, &predictor));
    vit_predictor_set_tta(predictor, VIT_TTA_FLIP);
    ck_vit_ok(vit_predict_files(predictor, files, FILES, predictions));
    for (int i = 0; i < FILES; i++) {
        double mean[CLASSES], mirrored[CLASSES];
        ck_assert_int_eq(predictions[i].status, VIT_OK);
        plain(bundle, paths[i], false, mean);
        plain(bundle, paths[i], true, mirrored);
        for (int k = 0; k < CLASSES; k++) {
            mean[k] = (mean[k] + mirrored[k]) / 2;
        }
        check_close(paths[i], CLASSES, predictions[i].probabilities, mean, 1e-6);
    }
    vit_predictor_set_tta(predictor, VIT_TTA_NONE);
    ck_vit_ok(vit_predict_files(predictor, files, 1, predictions));
    check_prediction(bundle, paths[0], predictions);
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(wrong_arguments) {
    vit_model_bundle *bundle = make_bundle();
    vit_predictor *predictor;
    vit_prediction predictions[3];
    const char *files[] = {paths[0], paths[1], paths[2]};
    ck_assert_int_eq(vit_predictor_create(bundle, 0, 1, NULL, &predictor), VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_predictor_create(bundle, 1, 0, NULL, &predictor), VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_predictor_create(bundle, SIZE_MAX, 1, NULL, &predictor), VIT_ERROR_MEMORY);
    ck_assert_ptr_null(predictor);
    ck_vit_ok(vit_predictor_create(bundle, 2, 4, NULL, &predictor));
    ck_assert_int_eq(vit_predict_files(predictor, files, 3, predictions), VIT_ERROR_ARGUMENT);
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
}
END_TEST

/* Bytes in memory give what the file gives, and messages call them by their name. */
START_TEST(bytes_in_memory) {
    vit_model_bundle *bundle = make_bundle();
    vit_predictor *predictor;
    vit_prediction prediction, predictions[4];
    vit_bytes bytes = {0};
    float from_file[CLASSES];
    ck_vit_ok(vit_predictor_create(bundle, 4, 2, NULL, &predictor));
    ck_vit_ok(vit_file_read(paths[3], 1 << 20, &bytes));
    const char *file = paths[3];
    ck_vit_ok(vit_predict_files(predictor, &file, 1, &prediction));
    memcpy(from_file, prediction.probabilities, sizeof from_file);
    const vit_predict_input inputs[4] = {
        {.name = "upload", .bytes = bytes.data, .size = bytes.size},
        {.name = paths[3]},
        {.name = "half of it", .bytes = bytes.data, .size = bytes.size / 2},
        {.name = "nothing", .bytes = "", .size = 0}};
    ck_vit_ok(vit_predict(predictor, inputs, 1, &prediction));
    ck_assert_int_eq(prediction.status, VIT_OK);
    ck_assert_mem_eq(prediction.probabilities, from_file, sizeof from_file);
    ck_vit_ok(vit_predict(predictor, inputs, 4, predictions));
    check_prediction(bundle, paths[3], &predictions[0]);
    ck_assert_mem_eq(predictions[0].probabilities, predictions[1].probabilities, sizeof from_file);
    for (int i = 2; i < 4; i++) {
        ck_assert_int_eq(predictions[i].status, VIT_ERROR_FORMAT);
        ck_assert_ptr_null(predictions[i].probabilities);
        ck_assert_msg(strncmp(predictions[i].error, inputs[i].name, strlen(inputs[i].name)) == 0,
                      "%s", predictions[i].error);
    }
    vit_bytes_free(&bytes);
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("predict");
    TCase *tc = tcase_create("predict");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_base, remove_folder);
    tcase_add_test(tc, one_and_many);
    tcase_add_test(tc, neighbours_do_not_show);
    tcase_add_test(tc, broken_ones_do_not_stop_the_others);
    tcase_add_test(tc, output_that_is_not_finite);
    tcase_add_test(tc, bytes_in_memory);
    tcase_add_test(tc, flipped_as_well);
    tcase_add_test(tc, wrong_arguments);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
