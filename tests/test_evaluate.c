/* Evaluation against one picture at a time, and that batches and threads do not show. */
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include "eval/evaluate.h"
#include "eval/metrics.h"
#include "vit/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 9, IMAGES = 26, HEIGHT = 16, WIDTH = 24 };
static const char *const classes[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};
static const vit_preprocess preprocess = {
    .crop_pct = 0.9, .mean = {0.5, 0.4, 0.3}, .std = {0.2, 0.3, 0.25}};

/* 26 pictures: no multiple of any chunk. */
static void make_base(void) {
    char path[1024];
    make_folder();
    make_pictures(folder, "val", classes, CLASSES, 3, 30, 26, 3);
    remove(temp_path(path, folder, "val/e/001.png"));
}

typedef struct fixture {
    vit_model model;
    float *params;
    vit_dataset *dataset;
} fixture;

static void set_up(fixture *f) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.img_size[0] = HEIGHT;
    config.img_size[1] = WIDTH;
    config.num_classes = CLASSES;
    config.embed_dim = 24;
    config.depth = 2;
    config.num_heads = 2;
    ck_vit_ok(vit_model_init(&f->model, &config));
    f->params = random_new(1, f->model.params.total, 0.3);
    ck_vit_ok(vit_dataset_open(folder, "val", classes, CLASSES, &f->dataset, NULL));
    ck_assert_uint_eq(f->dataset->count, IMAGES);
}

static void tear_down(fixture *f) {
    vit_model_free(&f->model);
    free(f->params);
    vit_dataset_free(f->dataset);
}

typedef struct run {
    vit_eval_result result;
    float *logits;
    size_t calls, done;
} run;

static void on_progress(void *context, size_t done, size_t total) {
    run *r = context;
    ck_assert_uint_gt(done, r->done);
    ck_assert_uint_eq(total, IMAGES);
    r->done = done;
    r->calls++;
}

static run evaluate(const fixture *f, size_t batch_size, int threads) {
    run r = {.logits = random_new(1, IMAGES * CLASSES, 1)};
    vit_evaluator *evaluator;
    ck_vit_ok(vit_evaluator_create(&f->model, &preprocess, f->dataset, batch_size, threads, NULL,
                                   &evaluator));
    ck_vit_ok(vit_evaluate(evaluator, f->params, on_progress, &r, r.logits, &r.result));
    ck_assert_uint_eq(r.done, IMAGES);
    vit_evaluator_free(evaluator);
    return r;
}

/* ---- one picture at a time ---- */

static void mirror_input(float *input) {
    for (size_t y = 0; y < 3 * HEIGHT; y++) {
        float row[WIDTH];
        memcpy(row, input + y * WIDTH, sizeof row);
        for (size_t x = 0; x < WIDTH; x++) {
            input[y * WIDTH + x] = row[WIDTH - 1 - x];
        }
    }
}

static void plain_logits(const fixture *f, bool mirrored, float *logits) {
    vit_workspace *workspace;
    vit_bytes bytes = {0};
    vit_image image = {0};
    vit_transform_scratch scratch = {0};
    vit_decode_options decode = vit_decode_defaults();
    float input[3 * HEIGHT * WIDTH];
    ck_vit_ok(vit_workspace_create(&f->model, 1, false, &workspace));
    for (size_t i = 0; i < IMAGES; i++) {
        ck_vit_ok(vit_image_load(f->dataset->samples[i].path, &decode, &bytes, &image));
        ck_vit_ok(vit_transform_eval(&preprocess, HEIGHT, WIDTH, &image, &scratch, input));
        if (mirrored) {
            mirror_input(input);
        }
        vit_model_forward(&f->model, f->params, workspace, 1, input, NULL, logits + i * CLASSES);
    }
    vit_transform_scratch_free(&scratch);
    vit_image_free(&image);
    vit_bytes_free(&bytes);
    vit_workspace_free(workspace);
}

static double plain_loss(const float *x, int label) {
    double most = -INFINITY, sum = 0;
    for (int k = 0; k < CLASSES; k++) {
        most = fmax(most, x[k]);
    }
    for (int k = 0; k < CLASSES; k++) {
        sum += exp(x[k] - most);
    }
    return log(sum) + most - (double)x[label];
}

START_TEST(as_one_at_a_time) {
    fixture f;
    set_up(&f);
    run r = evaluate(&f, 8, 2);
    float *logits = random_new(2, IMAGES * CLASSES, 1);
    plain_logits(&f, false, logits);
    double *expected = to_double(logits, IMAGES * CLASSES), loss = 0, best = 0, five = 0;
    check_close("logits", IMAGES * CLASSES, r.logits, expected, 1e-6);
    for (size_t i = 0; i < IMAGES; i++) {
        const float *x = logits + i * CLASSES;
        size_t above = 0, own = (size_t)f.dataset->samples[i].label;
        for (size_t k = 0; k < CLASSES; k++) {
            above += x[k] > x[own];
        }
        best += above < 1;
        five += above < 5;
        loss += plain_loss(x, f.dataset->samples[i].label);
    }
    ck_assert_uint_eq(r.result.images, IMAGES);
    ck_assert_uint_eq(r.result.classes, CLASSES);
    ck_assert_double_eq(r.result.top1, 100 * best / IMAGES);
    ck_assert_double_eq(r.result.top5, 100 * five / IMAGES);
    ck_assert(best > 0 && five > best && five < IMAGES); /* or it would prove little */
    ck_assert_double_le(fabs(r.result.loss - loss / IMAGES), 1e-6 * loss / IMAGES);
    ck_assert_double_gt(r.result.images_per_second, 0);
    free(expected);
    free(logits);
    free(r.logits);
    tear_down(&f);
}
END_TEST

START_TEST(batch_and_threads_do_not_show) {
    fixture f;
    set_up(&f);
    run one = evaluate(&f, 1, 1);
    const size_t batches[] = {1, 3, 7, 8, 25, 26, 1000};
    for (size_t b = 0; b < 7; b++) {
        for (int threads = 1; threads <= 3; threads++) {
            run other = evaluate(&f, batches[b], threads);
            ck_assert_msg(memcmp(other.logits, one.logits, IMAGES * CLASSES * sizeof *one.logits) ==
                              0,
                          "batch %zu, %d threads", batches[b], threads);
            ck_assert_double_eq(other.result.loss, one.result.loss);
            ck_assert_double_eq(other.result.top1, one.result.top1);
            ck_assert_double_eq(other.result.top5, one.result.top5);
            free(other.logits);
        }
    }
    free(one.logits);
    tear_down(&f);
}
END_TEST

/* ---- mirrored ---- */

static void softmax(const float *x, double *p) {
    double sum = 0;
    for (int k = 0; k < CLASSES; k++) {
        sum += exp(x[k]);
    }
    for (int k = 0; k < CLASSES; k++) {
        p[k] = exp(x[k]) / sum;
    }
}

/* Two evaluations, of the pictures and of mirrored inputs, averaged here. */
START_TEST(flip_is_the_mean_of_two) {
    fixture f;
    set_up(&f);
    run plain = evaluate(&f, 8, 2);
    float *mirrored = random_new(2, IMAGES * CLASSES, 1),
          *logits = random_new(1, IMAGES * CLASSES, 1);
    plain_logits(&f, true, mirrored);
    vit_evaluator *evaluator;
    vit_eval_result result;
    ck_vit_ok(vit_evaluator_create(&f.model, &preprocess, f.dataset, 8, 2, NULL, &evaluator));
    ck_vit_ok(vit_evaluator_set_tta(evaluator, VIT_TTA_FLIP));
    ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, logits, &result));
    double loss = 0, right = 0, difference = 0;
    for (size_t i = 0; i < IMAGES; i++) {
        double a[CLASSES], b[CLASSES], both[CLASSES], total = 0;
        int best = 0, label = f.dataset->samples[i].label;
        softmax(plain.logits + i * CLASSES, a);
        softmax(mirrored + i * CLASSES, b);
        softmax(logits + i * CLASSES, both);
        for (int k = 0; k < CLASSES; k++) {
            double mean = (a[k] + b[k]) / 2;
            ck_assert_double_eq_tol(both[k], mean, 1e-6);
            best = a[k] + b[k] > a[best] + b[best] ? k : best;
            total += exp(logits[i * CLASSES + (size_t)k]);
            difference = fmax(difference, fabs(a[k] - b[k]));
        }
        ck_assert_double_eq_tol(total, 1, 1e-6); /* they are logarithms of probabilities */
        loss -= log((a[label] + b[label]) / 2) / IMAGES;
        right += best == label;
    }
    ck_assert_double_gt(difference, 0.01); /* or it would prove little */
    ck_assert_double_eq_tol(result.loss, loss, 1e-5);
    ck_assert_double_eq(result.top1, 100 * right / IMAGES);
    /* And back. */
    ck_vit_ok(vit_evaluator_set_tta(evaluator, VIT_TTA_NONE));
    ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, logits, &result));
    check_same_bits("logits", IMAGES * CLASSES, logits, plain.logits);
    vit_evaluator_free(evaluator);
    free(plain.logits);
    free(mirrored);
    free(logits);
    tear_down(&f);
}
END_TEST

START_TEST(flip_batch_and_threads_do_not_show) {
    fixture f;
    set_up(&f);
    float *first = random_new(1, IMAGES * CLASSES, 1), *other = random_new(1, IMAGES * CLASSES, 1);
    for (int i = 0; i < 4; i++) {
        const size_t batches[] = {1, 7, 26, 13};
        vit_evaluator *evaluator;
        vit_eval_result result;
        ck_vit_ok(vit_evaluator_create(&f.model, &preprocess, f.dataset, batches[i], 1 + i % 3,
                                       NULL, &evaluator));
        ck_vit_ok(vit_evaluator_set_tta(evaluator, VIT_TTA_FLIP));
        ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, i == 0 ? first : other, &result));
        if (i > 0) {
            check_same_bits("logits", IMAGES * CLASSES, other, first);
        }
        vit_evaluator_free(evaluator);
    }
    free(first);
    free(other);
    tear_down(&f);
}
END_TEST

START_TEST(again_with_other_weights) {
    fixture f;
    set_up(&f);
    vit_evaluator *evaluator;
    vit_eval_result first, second, third;
    ck_vit_ok(vit_evaluator_create(&f.model, &preprocess, f.dataset, 5, 2, NULL, &evaluator));
    float *others = random_new(8, f.model.params.total, 0.3);
    ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, NULL, &first));
    ck_vit_ok(vit_evaluate(evaluator, others, NULL, NULL, NULL, &second));
    ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, NULL, &third));
    ck_assert_double_ne(first.loss, second.loss);
    ck_assert_double_eq(first.loss, third.loss);
    free(others);
    vit_evaluator_free(evaluator);
    tear_down(&f);
}
END_TEST

START_TEST(weights_that_are_not_finite) {
    fixture f;
    set_up(&f);
    for (size_t i = 0; i < f.model.params.total; i++) {
        f.params[i] = NAN;
    }
    run r = evaluate(&f, 8, 2);
    ck_assert_double_nan(r.result.loss);
    ck_assert_double_eq(r.result.top1, 0);
    ck_assert_double_eq(r.result.top5, 0);
    free(r.logits);
    tear_down(&f);
}
END_TEST

START_TEST(broken_pictures) {
    fixture f;
    set_up(&f);
    char *path = f.dataset->samples[17].path;
    vit_bytes kept = {0};
    ck_vit_ok(vit_file_read(path, 1 << 20, &kept));
    for (size_t batch = 4; batch <= 32; batch += 14) {
        vit_evaluator *evaluator;
        vit_eval_result result;
        ck_vit_ok(
            vit_evaluator_create(&f.model, &preprocess, f.dataset, batch, 3, NULL, &evaluator));
        ck_vit_ok(vit_file_replace(path, kept.data, kept.size / 2));
        ck_vit_fails(vit_evaluate(evaluator, f.params, NULL, NULL, NULL, &result), VIT_ERROR_FORMAT,
                     path);
        /* And it recovers. */
        ck_vit_ok(vit_file_replace(path, kept.data, kept.size));
        ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, NULL, &result));
        vit_evaluator_free(evaluator);
    }
    vit_bytes_free(&kept);
    tear_down(&f);
}
END_TEST

/* The others' results keep their bits; the broken picture's row is NaN. */
START_TEST(broken_pictures_are_left_out) {
    fixture f;
    set_up(&f);
    run whole = evaluate(&f, 8, 2);
    char *path = f.dataset->samples[17].path;
    vit_bytes kept = {0};
    ck_vit_ok(vit_file_read(path, 1 << 20, &kept));
    ck_vit_ok(vit_file_replace(path, kept.data, kept.size / 2));
    const vit_data_options reading = {.background = {255, 255, 255}, .on_error = VIT_ON_ERROR_SKIP};
    for (size_t batch = 4; batch <= 32; batch += 14) {
        vit_evaluator *evaluator;
        vit_eval_result result;
        float *logits = random_new(1, IMAGES * CLASSES, 1);
        ck_vit_ok(
            vit_evaluator_create(&f.model, &preprocess, f.dataset, batch, 3, &reading, &evaluator));
        ck_vit_ok(vit_evaluate(evaluator, f.params, NULL, NULL, logits, &result));
        ck_assert_uint_eq(result.images, IMAGES - 1);
        ck_assert_uint_eq(result.skipped, 1);
        ck_assert_ptr_nonnull(strstr(result.first_skipped, path));
        double loss = 0;
        for (size_t i = 0; i < IMAGES; i++) {
            float *row = logits + i * CLASSES;
            if (i == 17) {
                ck_assert(isnan(row[0]) && isnan(row[CLASSES - 1]));
            } else {
                check_same_bits("logits", CLASSES, row, whole.logits + i * CLASSES);
                loss += plain_loss(row, f.dataset->samples[i].label) / (IMAGES - 1);
            }
        }
        ck_assert_double_le(fabs(loss - result.loss), 1e-6 * loss);
        vit_evaluator_free(evaluator);
        free(logits);
    }
    ck_vit_ok(vit_file_replace(path, kept.data, kept.size));
    vit_bytes_free(&kept);
    free(whole.logits);
    tear_down(&f);
}
END_TEST

START_TEST(wrong_arguments) {
    fixture f;
    set_up(&f);
    vit_evaluator *evaluator;
    ck_assert_int_eq(vit_evaluator_create(&f.model, &preprocess, f.dataset, 0, 1, NULL, &evaluator),
                     VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_evaluator_create(&f.model, &preprocess, f.dataset, 1, 0, NULL, &evaluator),
                     VIT_ERROR_ARGUMENT);
    f.dataset->samples[5].label = CLASSES;
    ck_vit_fails(vit_evaluator_create(&f.model, &preprocess, f.dataset, 1, 1, NULL, &evaluator),
                 VIT_ERROR_ARGUMENT, f.dataset->samples[5].path);
    ck_assert_ptr_null(evaluator);
    tear_down(&f);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("evaluate");
    TCase *tc = tcase_create("evaluate");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_base, remove_folder);
    tcase_add_test(tc, as_one_at_a_time);
    tcase_add_test(tc, batch_and_threads_do_not_show);
    tcase_add_test(tc, flip_is_the_mean_of_two);
    tcase_add_test(tc, flip_batch_and_threads_do_not_show);
    tcase_add_test(tc, again_with_other_weights);
    tcase_add_test(tc, weights_that_are_not_finite);
    tcase_add_test(tc, broken_pictures);
    tcase_add_test(tc, broken_pictures_are_left_out);
    tcase_add_test(tc, wrong_arguments);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
