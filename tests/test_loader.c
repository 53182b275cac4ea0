/* Batches: every sample once an epoch, the same bits on any number of threads, errors that name the
 * file. */
#include "data/loader.h"
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PER_CLASS = 7, CLASSES = 3, PICTURES = PER_CLASS * CLASSES, H = 12, W = 16 };

static void setup(void) {
    static const char *const classes[CLASSES] = {"ant", "bee", "cat"};
    make_folder();
    make_pictures(folder, "train", classes, CLASSES, PER_CLASS, 23, 19, 1);
}

typedef struct fixture {
    vit_dataset *dataset;
    vit_augment augment;
    vit_loader_config config;
} fixture;

/* Shuffled, augmented batches of 4. */
static void fixture_open(fixture *f) {
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &f->dataset, NULL));
    vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &f->augment};
    ck_vit_ok(vit_options_defaults(&group));
    f->config = (vit_loader_config){
        .dataset = f->dataset,
        .batch_size = 4,
        .height = H,
        .width = W,
        .preprocess = {.crop_pct = 0.9, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}},
        .augment = &f->augment,
        .shuffle = true,
        .seed = 5,
        .decode = vit_decode_defaults()};
}

/* An epoch's pictures in the order of the data set, (PICTURES,3,H,W), read by `threads` threads;
 * samples that no batch held stay NaN. Checks what every batch must keep. */
static float *read_epoch(const fixture *f, uint32_t epoch, int threads, int *times) {
    const size_t floats = 3 * H * W;
    vit_loader *loader;
    vit_batch *batch;
    float *all = filled_new(PICTURES * floats, NAN);
    ck_vit_ok(vit_loader_create(&f->config, threads, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    ck_assert_uint_eq(batch->capacity, f->config.batch_size);
    vit_loader_start_epoch(loader, epoch);
    for (size_t n = 0; n < vit_loader_batches(loader); n++) {
        vit_loader_prepare(loader, n, batch);
        ck_assert_uint_eq(batch->number, n);
        ck_assert_uint_eq(batch->epoch, epoch);
        ck_assert(batch->count >= 1 && batch->count <= batch->capacity);
        long count = (long)batch->count;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
        for (long j = 0; j < count; j++) {
            vit_loader_fetch(loader, batch, (size_t)j);
        }
        ck_vit_ok(vit_first_error_raise(&batch->error));
        for (size_t j = 0; j < batch->count; j++) {
            uint32_t i = batch->indices[j];
            ck_assert_uint_lt(i, PICTURES);
            ck_assert_int_eq(batch->labels[j], f->dataset->samples[i].label);
            memcpy(all + i * floats, batch->images + j * floats, floats * sizeof *all);
            times[i]++;
        }
    }
    vit_loader_prepare(loader, vit_loader_batches(loader), batch); /* past the end */
    ck_assert_uint_eq(batch->count, 0);
    vit_batch_free(batch);
    vit_loader_free(loader);
    return all;
}

START_TEST(every_sample_once_an_epoch) {
    fixture f;
    fixture_open(&f);
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        f.config.shuffle = shuffle;
        int times[PICTURES] = {0};
        float *all = read_epoch(&f, 0, 1, times);
        for (int i = 0; i < PICTURES; i++) {
            ck_assert_int_eq(times[i], 1);
        }
        for (size_t i = 0; i < PICTURES * 3 * H * W; i++) {
            ck_assert(isfinite(all[i]));
        }
        free(all);
    }
    vit_dataset_free(f.dataset);
}
END_TEST

START_TEST(the_same_bits_on_any_number_of_threads) {
    fixture f;
    fixture_open(&f);
    int times[PICTURES] = {0};
    float *one = read_epoch(&f, 3, 1, times);
    for (int threads = 2; threads <= 3; threads++) {
        float *many = read_epoch(&f, 3, threads, times);
        check_same_bits("pictures", PICTURES * 3 * H * W, many, one);
        free(many);
    }
    free(one);
    vit_dataset_free(f.dataset);
}
END_TEST

/* The batch size moves samples between batches, not their pixels. */
START_TEST(pixels_do_not_depend_on_the_batch) {
    fixture f;
    fixture_open(&f);
    int times[PICTURES] = {0};
    float *four = read_epoch(&f, 3, 1, times);
    f.config.batch_size = 9;
    f.config.shuffle = false;
    float *nine = read_epoch(&f, 3, 1, times);
    check_same_bits("pictures", PICTURES * 3 * H * W, nine, four);
    free(four);
    free(nine);
    vit_dataset_free(f.dataset);
}
END_TEST

/* timm's RepeatAugSampler: each sample three times running, as long an epoch, other draws. */
START_TEST(repeats_are_augmented_anew) {
    const size_t floats = 3 * H * W;
    fixture f;
    fixture_open(&f);
    vit_loader *plain, *repeating;
    vit_batch *batch, *other;
    f.config.batch_size = PICTURES;
    ck_vit_ok(vit_loader_create(&f.config, 1, &plain));
    f.config.repeats = 3;
    ck_vit_ok(vit_loader_create(&f.config, 1, &repeating));
    ck_assert_uint_eq(vit_loader_batches(repeating), vit_loader_batches(plain));
    ck_vit_ok(vit_batch_create(plain, &batch));
    ck_vit_ok(vit_batch_create(repeating, &other));
    vit_loader_start_epoch(plain, 2);
    vit_loader_start_epoch(repeating, 2);
    vit_loader_prepare(plain, 0, batch);
    vit_loader_prepare(repeating, 0, other);
    ck_assert_uint_eq(other->count, PICTURES);
    for (size_t j = 0; j < PICTURES; j++) {
        vit_loader_fetch(plain, batch, j);
        vit_loader_fetch(repeating, other, j);
        ck_assert_uint_eq(other->indices[j], batch->indices[j / 3]);
        ck_assert_int_eq(other->labels[j], batch->labels[j / 3]);
        ck_assert_uint_eq(vit_batch_key(other, j), other->indices[j] | (uint64_t)(j % 3) << 32);
    }
    ck_vit_ok(vit_first_error_raise(&other->error));
    for (size_t j = 0; j + 2 < PICTURES; j += 3) {
        const float *first = other->images + j * floats;
        check_same_bits("first", floats, first, batch->images + j / 3 * floats);
        ck_assert(memcmp(first, first + floats, floats * sizeof(float)) != 0);
        ck_assert(memcmp(first + floats, first + 2 * floats, floats * sizeof(float)) != 0);
        ck_assert(memcmp(first, first + 2 * floats, floats * sizeof(float)) != 0);
    }
    vit_batch_free(batch);
    vit_batch_free(other);
    vit_loader_free(plain);
    vit_loader_free(repeating);
    vit_dataset_free(f.dataset);
}
END_TEST

START_TEST(epochs_and_seeds_augment_anew) {
    fixture f;
    fixture_open(&f);
    int times[PICTURES] = {0};
    size_t bytes = PICTURES * 3 * H * W * sizeof(float);
    float *a = read_epoch(&f, 0, 1, times), *b = read_epoch(&f, 1, 1, times);
    f.config.seed = 6;
    float *c = read_epoch(&f, 0, 1, times);
    ck_assert(memcmp(a, b, bytes) != 0);
    ck_assert(memcmp(a, c, bytes) != 0);
    f.config.augment = NULL; /* the evaluation transform draws nothing */
    float *d = read_epoch(&f, 0, 1, times), *e = read_epoch(&f, 1, 1, times);
    check_same_bits("evaluation", PICTURES * 3 * H * W, e, d);
    free(a);
    free(b);
    free(c);
    free(d);
    free(e);
    vit_dataset_free(f.dataset);
}
END_TEST

static void read_order(const fixture *f, uint32_t epoch, uint32_t order[PICTURES]) {
    vit_loader *loader;
    vit_batch *batch;
    size_t at = 0;
    ck_vit_ok(vit_loader_create(&f->config, 1, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    vit_loader_start_epoch(loader, epoch);
    for (size_t n = 0; n < vit_loader_batches(loader); n++) {
        vit_loader_prepare(loader, n, batch);
        memcpy(order + at, batch->indices, batch->count * sizeof *order);
        at += batch->count;
    }
    ck_assert_uint_eq(at, PICTURES);
    vit_batch_free(batch);
    vit_loader_free(loader);
}

START_TEST(the_order_is_keyed) {
    fixture f;
    uint32_t a[PICTURES], b[PICTURES], expected[PICTURES];
    fixture_open(&f);
    read_order(&f, 0, a);
    vit_shuffle(5, 0, expected, PICTURES);
    ck_assert_mem_eq(a, expected, sizeof a);
    read_order(&f, 1, b);
    ck_assert_mem_ne(a, b, sizeof a);
    f.config.shuffle = false;
    read_order(&f, 1, a);
    for (uint32_t i = 0; i < PICTURES; i++) {
        ck_assert_uint_eq(a[i], i);
    }
    vit_dataset_free(f.dataset);
}
END_TEST

START_TEST(a_short_last_batch_is_kept_or_dropped) {
    fixture f;
    vit_loader *loader;
    vit_batch *batch;
    fixture_open(&f);
    ck_vit_ok(vit_loader_create(&f.config, 1, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    ck_assert_uint_eq(vit_loader_batches(loader), 6);
    vit_loader_prepare(loader, 4, batch);
    ck_assert_uint_eq(batch->count, 4);
    vit_loader_prepare(loader, 5, batch);
    ck_assert_uint_eq(batch->count, 1);
    vit_batch_free(batch);
    vit_loader_free(loader);
    f.config.drop_last = true;
    ck_vit_ok(vit_loader_create(&f.config, 1, &loader));
    ck_assert_uint_eq(vit_loader_batches(loader), 5);
    vit_loader_free(loader);
    f.config.batch_size = PICTURES;
    ck_vit_ok(vit_loader_create(&f.config, 1, &loader));
    ck_assert_uint_eq(vit_loader_batches(loader), 1);
    vit_loader_free(loader);
    f.config.batch_size = PICTURES + 1;
    ck_assert_int_eq(vit_loader_create(&f.config, 1, &loader), VIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(loader);
    check_message("21 pictures do not fill one batch of 22");
    vit_dataset_free(f.dataset);
}
END_TEST

START_TEST(wrong_configurations_are_refused) {
    fixture f;
    vit_loader *loader;
    fixture_open(&f);
    fixture wrong = f;
    wrong.config.batch_size = 0;
    ck_assert_int_eq(vit_loader_create(&wrong.config, 1, &loader), VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_loader_create(&f.config, 0, &loader), VIT_ERROR_ARGUMENT);
    wrong = f;
    wrong.augment.scale[0] = 2;
    wrong.config.augment = &wrong.augment;
    ck_vit_fails(vit_loader_create(&wrong.config, 1, &loader), VIT_ERROR_ARGUMENT, "--scale");
    wrong = f;
    wrong.config.height = wrong.config.width = SIZE_MAX / 2;
    ck_assert_int_eq(vit_loader_create(&wrong.config, 1, &loader), VIT_ERROR_MEMORY);
    wrong = f;
    wrong.config.batch_size = UINT32_MAX;
    wrong.config.height = wrong.config.width = (size_t)1 << 24;
    vit_batch *batch;
    ck_vit_ok(vit_loader_create(&wrong.config, 1, &loader));
    ck_assert_int_eq(vit_batch_create(loader, &batch), VIT_ERROR_MEMORY);
    ck_assert_ptr_null(batch);
    vit_loader_free(loader);
    vit_dataset_free(f.dataset);
}
END_TEST

/* The first of several bad pictures in the batch is named, whatever thread met which first; the
 * others of the batch are read all the same, and the next batch starts clean. */
START_TEST(unreadable_pictures_are_named) {
    fixture f;
    char bad[1024], gone[1024];
    vit_loader *loader;
    vit_batch *batch;
    write_text(temp_path(bad, folder, "train/ant/002x.png"), "no picture");
    ck_assert_int_eq(symlink("nowhere", temp_path(gone, folder, "train/ant/002y.png")), 0);
    fixture_open(&f);
    f.config.shuffle = false;
    f.config.batch_size = 8;
    ck_vit_ok(vit_loader_create(&f.config, 2, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    vit_loader_prepare(loader, 0, batch);
#pragma omp parallel for num_threads(2) schedule(dynamic, 1)
    for (long j = 7; j >= 0; j--) {
        vit_loader_fetch(loader, batch, (size_t)j);
    }
    ck_assert_int_eq(vit_first_error_raise(&batch->error), VIT_ERROR_FORMAT);
    ck_assert_msg(strncmp(vit_last_error(), bad, strlen(bad)) == 0, "%s", vit_last_error());
    unlink(bad);
    batch->error = (vit_first_error){0};
    for (size_t j = 0; j < 8; j++) {
        if (strcmp(f.dataset->samples[batch->indices[j]].path, bad) != 0) {
            vit_loader_fetch(loader, batch, j);
        }
    }
    ck_assert_int_eq(vit_first_error_raise(&batch->error), VIT_ERROR_IO);
    ck_assert_msg(strncmp(vit_last_error(), gone, strlen(gone)) == 0, "%s", vit_last_error());
    unlink(gone);
    vit_loader_prepare(loader, 1, batch);
    vit_loader_fetch(loader, batch, 0);
    ck_vit_ok(vit_first_error_raise(&batch->error));
    vit_batch_free(batch);
    vit_loader_free(loader);
    vit_dataset_free(f.dataset);
}
END_TEST

START_TEST(a_thread_too_many_is_an_error) {
    fixture f;
    vit_loader *loader;
    vit_batch *batch;
    fixture_open(&f);
    ck_vit_ok(vit_loader_create(&f.config, 1, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    vit_loader_prepare(loader, 0, batch);
    int team = 0;
#pragma omp parallel num_threads(2)
    {
#pragma omp single
        team = omp_get_num_threads();
        if (omp_get_thread_num() == 1) {
            vit_loader_fetch(loader, batch, 0);
        }
    }
    if (team == 2) { /* a machine may refuse the second thread */
        ck_vit_fails(vit_first_error_raise(&batch->error), VIT_ERROR_ARGUMENT,
                     "made for 1 threads");
    }
    vit_batch_free(batch);
    vit_loader_free(loader);
    vit_dataset_free(f.dataset);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("loader");
    TCase *c = tcase_create("loader");
    tcase_set_timeout(c, 60);
    tcase_add_unchecked_fixture(c, setup, remove_folder);
    tcase_add_test(c, every_sample_once_an_epoch);
    tcase_add_test(c, the_same_bits_on_any_number_of_threads);
    tcase_add_test(c, pixels_do_not_depend_on_the_batch);
    tcase_add_test(c, repeats_are_augmented_anew);
    tcase_add_test(c, epochs_and_seeds_augment_anew);
    tcase_add_test(c, the_order_is_keyed);
    tcase_add_test(c, a_short_last_batch_is_kept_or_dropped);
    tcase_add_test(c, wrong_configurations_are_refused);
    tcase_add_test(c, unreadable_pictures_are_named);
    tcase_add_test(c, a_thread_too_many_is_an_error);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
