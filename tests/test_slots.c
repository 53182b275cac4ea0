/* A step in slots against the plain sum over single pictures, and that threads do not show. */
#include "support/models.h"
#include "support/support.h"

#include "eval/metrics.h"
#include "train/slots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, CLASSES = 7, SEED = 5 };
#define DROP_PATH 0.4
#define SMOOTHING 0.1

typedef struct fixture {
    vit_model model;
    float *params;
    vit_batch batch;
    vit_mix_options mix;
    const float *weights; /* of the classes, or NULL */
} fixture;

/* A batch of `count` random pictures, in no order of the data set. */
static void set_up(fixture *f, size_t count) {
    vit_config config = small_oblong_config(CLASSES);
    ck_vit_ok(vit_model_init(&f->model, &config));
    /* Large random weights everywhere, so that no gradient is lost among the others. */
    f->params = random_new(1, f->model.params.total, 0.3);
    size_t pixels = 3 * 16 * 24;
    f->batch = (vit_batch){.count = count, .capacity = BATCH, .number = 3, .epoch = 2};
    f->batch.indices = malloc(BATCH * sizeof *f->batch.indices);
    f->batch.labels = malloc(BATCH * sizeof *f->batch.labels);
    f->mix = (vit_mix_options){0};
    f->weights = NULL;
    f->batch.repeats = NULL;
    f->batch.images = random_new(2, BATCH * pixels, 1);
    ck_assert(f->batch.indices && f->batch.labels);
    for (unsigned i = 0; i < BATCH; i++) {
        f->batch.indices[i] = (i * 17 + 3) % 101;
        f->batch.labels[i] = (int)(i * 5 % CLASSES);
    }
}

static void tear_down(fixture *f) {
    vit_model_free(&f->model);
    free(f->params);
    free(f->batch.indices);
    free(f->batch.labels);
    free(f->batch.images);
}

static vit_slots_config slots_config(const fixture *f, size_t count, size_t chunk, int threads) {
    return (vit_slots_config){
        .model = &f->model,
        .batch_size = BATCH,
        .slots = count,
        .chunk = chunk,
        .threads = threads,
        .seed = SEED,
        .drop_path = DROP_PATH,
        .smoothing = SMOOTHING,
        .mix = f->mix,
        .class_weights = f->weights,
    };
}

/* One step into new memory that held something else before. */
static float *step(const fixture *f, size_t slot_count, size_t chunk, int threads,
                   vit_step_result *result) {
    vit_slots_config config = slots_config(f, slot_count, chunk, threads);
    vit_slots *slots;
    ck_vit_ok(vit_slots_create(&config, &slots));
    float *grads = random_new(9, f->model.params.total, 100);
    ck_vit_ok(vit_slots_step(slots, f->params, &f->batch, NULL, NULL, grads, result));
    vit_slots_free(slots);
    return grads;
}

/* ---- the plain sum ---- */

typedef struct plain {
    double *grads;
    double loss;
    size_t correct;
} plain;

static void add_picture(const fixture *f, vit_workspace *workspace, size_t i, plain *sum) {
    const vit_batch *batch = &f->batch;
    float logits[CLASSES], targets[CLASSES], dlogits[CLASSES], scale[6];
    double loss;
    uint64_t key = batch->indices[i] + ((uint64_t)(batch->repeats ? batch->repeats[i] : 0) << 32);
    for (unsigned branch = 0; branch < 6; branch++) { /* rates 0, 0.2, 0.4 */
        scale[branch] =
            vit_drop_path_scale(DROP_PATH * (branch / 2) / 2.0, SEED, batch->epoch, key, branch);
    }
    size_t n = f->model.params.total;
    float *grads = calloc(n, sizeof *grads);
    ck_assert_ptr_nonnull(grads);
    float image[3 * 16 * 24];
    vit_mix mix = vit_mix_draw(&f->mix, SEED, batch->epoch, batch->number, 16, 24);
    size_t floats = 3 * 16 * 24;
    vit_mix_image(&mix, 3, 16, 24, batch->images + i * floats,
                  batch->images + (batch->count - 1 - i) * floats, image);
    vit_model_forward(&f->model, f->params, workspace, 1, image, scale, logits);
    int other = batch->labels[batch->count - 1 - i];
    double weight = 1;
    if (f->weights) {
        weight = mix.lambda * f->weights[batch->labels[i]] + (1 - mix.lambda) * f->weights[other];
    }
    for (int k = 0; k < CLASSES; k++) {
        double one_hot = mix.lambda * (k == batch->labels[i]) + (1 - mix.lambda) * (k == other);
        targets[k] = (float)(weight * (SMOOTHING / CLASSES + (1 - SMOOTHING) * one_hot));
    }
    vit_cross_entropy(1, CLASSES, logits, targets, 1, &loss, dlogits);
    vit_model_backward(&f->model, f->params, grads, workspace, 1, scale, dlogits, NULL);
    for (size_t p = 0; p < n; p++) {
        sum->grads[p] += grads[p] / (double)batch->count;
    }
    sum->loss += loss / (double)batch->count;
    sum->correct += vit_in_top_k(CLASSES, logits, batch->labels[i], 1);
    free(grads);
}

static plain plain_sum(const fixture *f) {
    plain sum = {.grads = calloc(f->model.params.total, sizeof *sum.grads)};
    vit_workspace *workspace;
    ck_assert_ptr_nonnull(sum.grads);
    ck_vit_ok(vit_workspace_create(&f->model, 1, true, &workspace));
    for (size_t i = 0; i < f->batch.count; i++) {
        add_picture(f, workspace, i, &sum);
    }
    vit_workspace_free(workspace);
    return sum;
}

/* ---- tests ---- */

static const size_t batch_counts[] = {BATCH, 29, 11, 3, 1}; /* short ones leave slots empty */

START_TEST(sum_of_single_pictures) {
    fixture f;
    set_up(&f, batch_counts[_i]);
    plain expected = plain_sum(&f);
    const size_t slots[] = {1, 2, 8, 32}, chunks[] = {0, 1, 3};
    for (size_t s = 0; s < 4; s++) {
        for (size_t c = 0; c < 3; c++) {
            vit_step_result result;
            float *grads = step(&f, slots[s], chunks[c], 2, &result);
            check_close("gradient", f.model.params.total, grads, expected.grads, 1e-5);
            ck_assert_double_le(fabs(result.loss - expected.loss), 1e-6 * expected.loss);
            ck_assert_uint_eq(result.correct, expected.correct);
            ck_assert_uint_eq(result.first_bad, SIZE_MAX);
            ck_assert_double_ge(result.compute_seconds, 0);
            ck_assert_double_ge(result.wait_seconds, 0);
            free(grads);
        }
    }
    free(expected.grads);
    tear_down(&f);
}
END_TEST

/* Mixed with their partners, which other slots hold; drop-path draws of their own for repeats. */
START_TEST(sum_of_mixed_pictures) {
    const vit_mix_options cases[] = {{0.8, 0, 1, 0.5}, {0, 1, 1, 0.5}, {0.8, 1, 1, 0.5}};
    uint32_t repeats[BATCH];
    fixture f;
    set_up(&f, BATCH - 3);
    for (uint32_t i = 0; i < BATCH; i++) {
        repeats[i] = i % 3;
    }
    float *before = random_new(2, BATCH * 3 * 16 * 24, 1);
    plain unmixed = plain_sum(&f);
    f.batch.repeats = repeats;
    for (size_t c = 0; c < 3; c++) {
        f.mix = cases[c];
        vit_mix mix = vit_mix_draw(&f.mix, SEED, f.batch.epoch, f.batch.number, 16, 24);
        ck_assert(mix.lambda < 0.98); /* else nothing is tested */
        plain expected = plain_sum(&f);
        for (size_t chunk = 1; chunk <= 3; chunk += 2) {
            vit_step_result result;
            float *grads = step(&f, 8, chunk, 3, &result);
            check_close("gradient", f.model.params.total, grads, expected.grads, 1e-5);
            ck_assert_double_le(fabs(result.loss - expected.loss), 1e-6 * expected.loss);
            ck_assert_double_gt(fabs(result.loss - unmixed.loss), 1e-4 * expected.loss);
            ck_assert_uint_eq(result.correct, expected.correct);
            free(grads);
        }
        free(expected.grads);
    }
    check_same_bits("pictures", BATCH * 3 * 16 * 24, f.batch.images, before);
    free(before);
    free(unmixed.grads);
    tear_down(&f);
}
END_TEST

/* Of each parameter by itself too: a small tensor must not hide behind a large one. */
START_TEST(every_parameter) {
    fixture f;
    set_up(&f, BATCH);
    plain expected = plain_sum(&f);
    vit_step_result result;
    float *grads = step(&f, 4, 0, 3, &result);
    for (size_t p = 0; p < f.model.params.count; p++) {
        const vit_param *param = &f.model.params.items[p];
        check_close(param->name, param->size, grads + param->offset, expected.grads + param->offset,
                    1e-4);
    }
    free(grads);
    free(expected.grads);
    tear_down(&f);
}
END_TEST

/* Weights of 1 change no bit; others weigh each picture, a mixed one by the shares of its two. */
START_TEST(class_weights_weigh) {
    fixture f;
    set_up(&f, BATCH);
    float weights[CLASSES];
    vit_step_result before, result;
    size_t n = f.model.params.total;
    float *without = step(&f, 4, 2, 2, &before);
    for (int k = 0; k < CLASSES; k++) {
        weights[k] = 1;
    }
    f.weights = weights;
    float *grads = step(&f, 4, 2, 2, &result);
    check_same_bits("gradient", n, grads, without);
    ck_assert_double_eq(result.loss, before.loss);
    free(grads);
    free(without);
    for (int k = 0; k < CLASSES; k++) {
        weights[k] = (float)k * 0.7f; /* the first class might as well not be there */
    }
    for (int mixed = 0; mixed < 2; mixed++) {
        f.mix = (vit_mix_options){.mixup = mixed ? 0.8 : 0, .prob = 1};
        plain expected = plain_sum(&f);
        grads = step(&f, 4, 2, 2, &result);
        ck_assert_double_le(fabs(result.loss - expected.loss), 1e-6 * expected.loss);
        check_close("gradient", n, grads, expected.grads, 1e-5);
        free(grads);
        free(expected.grads);
    }
    tear_down(&f);
}
END_TEST

START_TEST(threads_do_not_show) {
    fixture f;
    set_up(&f, batch_counts[_i]);
    const size_t slots[] = {1, 8, 32};
    const int threads[] = {2, 3, 5, 16};
    for (size_t s = 0; s < 3; s++) {
        vit_step_result one, many;
        float *expected = step(&f, slots[s], 1, 1, &one);
        for (size_t t = 0; t < 4; t++) {
            float *grads = step(&f, slots[s], 1, threads[t], &many);
            ck_assert_msg(memcmp(grads, expected, f.model.params.total * sizeof *grads) == 0,
                          "%zu slots: %d threads give other bits than 1", slots[s], threads[t]);
            ck_assert_double_eq(many.loss, one.loss);
            ck_assert_uint_eq(many.correct, one.correct);
            free(grads);
        }
        free(expected);
    }
    tear_down(&f);
}
END_TEST

/* The same object, again and again: nothing is left over from the step before. */
START_TEST(steps_repeat) {
    fixture f;
    set_up(&f, BATCH);
    vit_slots_config config = slots_config(&f, 32, 1, 3);
    vit_slots *slots;
    vit_step_result result;
    ck_vit_ok(vit_slots_create(&config, &slots));
    float *grads = random_new(9, f.model.params.total, 1);
    float *expected = step(&f, 32, 1, 1, &result);
    for (int i = 0; i < 40; i++) {
        f.batch.count = 13;
        ck_vit_ok(vit_slots_step(slots, f.params, &f.batch, NULL, NULL, grads, &result));
        f.batch.count = BATCH;
        ck_vit_ok(vit_slots_step(slots, f.params, &f.batch, NULL, NULL, grads, &result));
        ck_assert_msg(memcmp(grads, expected, f.model.params.total * sizeof *grads) == 0,
                      "round %d", i);
    }
    free(grads);
    free(expected);
    vit_slots_free(slots);
    tear_down(&f);
}
END_TEST

START_TEST(loss_that_is_not_finite) {
    fixture f;
    set_up(&f, BATCH);
    vit_slots_config config = slots_config(&f, 8, 0, 3);
    vit_slots *slots;
    vit_step_result result;
    ck_vit_ok(vit_slots_create(&config, &slots));
    float *grads = random_new(9, f.model.params.total, 1);
    f.batch.images[21 * (3 * 16 * 24) + 7] = NAN;
    f.batch.images[11 * (3 * 16 * 24) + 7] = NAN;
    vit_status status = vit_slots_step(slots, f.params, &f.batch, NULL, NULL, grads, &result);
    ck_assert_int_eq(status, VIT_ERROR_NUMERIC);
    ck_assert_uint_eq(result.first_bad, 11);
    check_message("picture 11");
    free(grads);
    vit_slots_free(slots);
    tear_down(&f);
}
END_TEST

START_TEST(bad_settings) {
    fixture f;
    set_up(&f, BATCH);
    vit_slots_config good = slots_config(&f, 8, 0, 2), bad[9];
    for (int i = 0; i < 9; i++) {
        bad[i] = good;
    }
    bad[0].slots = 0;
    bad[1].slots = 12;
    bad[2].slots = 64; /* over the batch */
    bad[3].threads = 0;
    bad[4].batch_size = 0;
    bad[5].drop_path = 1;
    bad[6].smoothing = NAN;
    bad[7].mix.mixup = -1;
    bad[8].mix.prob = 2;
    for (int i = 0; i < 9; i++) {
        vit_slots *slots = (vit_slots *)&good;
        ck_assert_msg(vit_slots_create(&bad[i], &slots) == VIT_ERROR_ARGUMENT, "case %d", i);
        ck_assert_ptr_null(slots);
    }
    vit_slots *slots;
    vit_step_result result;
    ck_vit_ok(vit_slots_create(&good, &slots));
    f.batch.count = 0;
    ck_assert_int_eq(vit_slots_step(slots, f.params, &f.batch, NULL, NULL, NULL, &result),
                     VIT_ERROR_ARGUMENT);
    vit_slots_free(slots);
    tear_down(&f);
}
END_TEST

START_TEST(slots_of_a_batch) {
    const size_t cases[][2] = {{1, 1},   {7, 1},    {8, 2},    {15, 2},    {16, 4},
                               {64, 16}, {100, 16}, {128, 32}, {1000, 128}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_uint_eq(vit_slots_auto(cases[i][0]), cases[i][1]);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("slots");
    TCase *tc = tcase_create("slots");
    int counts = sizeof batch_counts / sizeof *batch_counts;
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, sum_of_single_pictures, 0, counts);
    tcase_add_test(tc, sum_of_mixed_pictures);
    tcase_add_test(tc, every_parameter);
    tcase_add_test(tc, class_weights_weigh);
    tcase_add_loop_test(tc, threads_do_not_show, 0, counts);
    tcase_add_test(tc, steps_repeat);
    tcase_add_test(tc, loss_that_is_not_finite);
    tcase_add_test(tc, bad_settings);
    tcase_add_test(tc, slots_of_a_batch);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
