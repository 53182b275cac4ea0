/* Data sets with many pictures of some classes and few of others: weights, the balanced sampler. */
#include "data/loader.h"
#include "data/sampler.h"
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "train/class_weights.h"
#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 4, PICTURES = 23 };
static const size_t sizes[CLASSES] = {3, 17, 0, 3}; /* one class without a picture */

static vit_dataset make_set(void) {
    static char *names[CLASSES] = {"a", "b", "none", "c,d"};
    static vit_sample samples[PICTURES];
    static char path[] = "x.png", root[] = "set";
    vit_dataset d = {
        .root = root, .class_names = names, .class_count = CLASSES, .samples = samples};
    for (int c = 0; c < CLASSES; c++) {
        for (size_t i = 0; i < sizes[c]; i++) {
            samples[d.count++] = (vit_sample){.path = path, .label = c};
        }
    }
    return d;
}

START_TEST(every_class_is_as_often) {
    vit_dataset d = make_set();
    uint32_t work[PICTURES], order[PICTURES], repeats[PICTURES];
    size_t extra[CLASSES] = {0}, seen[PICTURES] = {0};
    for (uint32_t epoch = 0; epoch < 300; epoch++) {
        size_t of[CLASSES] = {0}, times[PICTURES] = {0};
        vit_sample_balanced(&d, 7, epoch, work, order, repeats);
        for (size_t i = 0; i < PICTURES; i++) {
            ck_assert_uint_lt(order[i], PICTURES);
            int c = d.samples[order[i]].label;
            of[c]++;
            /* In the order of their repeats, whatever the place. */
            ck_assert_uint_lt(repeats[i], (8 + sizes[c] - 1) / sizes[c]);
            times[order[i]] |= (size_t)1 << repeats[i];
            seen[order[i]]++;
        }
        for (int c = 0; c < CLASSES; c++) {
            /* 23 = 8 + 8 + 7 */
            ck_assert(sizes[c] == 0 ? of[c] == 0 : of[c] == 7 || of[c] == 8);
            extra[c] += of[c] == 8;
        }
        for (size_t i = 0; i < PICTURES; i++) {
            /* Draws of a picture have the repeats 0, 1, 2 ..., each once. */
            ck_assert_uint_eq(times[i] & (times[i] + 1), 0);
            int c = d.samples[i].label;
            ck_assert(sizes[c] != 3 || times[i] == 3 || times[i] == 7); /* 2 or 3 times */
            ck_assert(sizes[c] != 17 || times[i] <= 1);
        }
    }
    for (int c = 0; c < CLASSES; c++) { /* 200 expected, standard deviation 8 */
        ck_assert_msg(sizes[c] == 0 || (extra[c] > 160 && extra[c] < 240), "%zu", extra[c]);
    }
    for (size_t i = 0; i < PICTURES; i++) {
        double expected = 300 * (23.0 / 3) / (double)sizes[d.samples[i].label];
        ck_assert_msg(fabs((double)seen[i] - expected) < 50, "%zu: %zu, not %g", i, seen[i],
                      expected);
    }
}
END_TEST

START_TEST(epochs_are_keyed) {
    vit_dataset d = make_set();
    uint32_t work[PICTURES], a[PICTURES], b[PICTURES], repeats[PICTURES], again[PICTURES];
    vit_sample_balanced(&d, 7, 1, work, a, repeats);
    vit_sample_balanced(&d, 7, 1, work, b, again);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_mem_eq(repeats, again, sizeof repeats);
    vit_sample_balanced(&d, 7, 2, work, b, again);
    ck_assert_mem_ne(a, b, sizeof a);
    vit_sample_balanced(&d, 8, 1, work, b, again);
    ck_assert_mem_ne(a, b, sizeof a);
}
END_TEST

/* The same picture twice in an epoch is augmented in two ways. */
START_TEST(repeats_are_augmented_anew) {
    static const char *const classes[] = {"few", "many"};
    enum { FLOATS = 3 * 8 * 8 };
    make_pictures(folder, "train", classes, 1, 1, 20, 20, 1);
    make_pictures(folder, "train", classes, 2, 1, 20, 20, 1);
    char path[1024];
    for (int i = 1; i < 7; i++) {
        uint8_t rgb[20 * 20 * 3];
        draw_picture(1, (uint64_t)i, 20, 20, rgb);
        write_png(temp_path(path, folder, "train/many/%d.png", i), 20, 20, rgb);
    }
    vit_augment augment = {0};
    vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &augment};
    ck_vit_ok(vit_options_defaults(&group));
    vit_dataset *d;
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &d, NULL));
    vit_loader_config config = {.dataset = d,
                                .batch_size = 8,
                                .height = 8,
                                .width = 8,
                                .preprocess = {.crop_pct = 1, .std = {1, 1, 1}},
                                .augment = &augment,
                                .sampler = VIT_SAMPLER_BALANCED,
                                .decode = vit_decode_defaults()};
    vit_loader *loader;
    vit_batch *batch;
    ck_vit_ok(vit_loader_create(&config, 1, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    vit_loader_prepare(loader, 0, batch);
    const float *of[4];
    size_t count = 0;
    for (size_t j = 0; j < 8; j++) {
        vit_loader_fetch(loader, batch, j);
        if (batch->labels[j] == 0) {
            ck_assert_uint_lt(count, 4);
            of[count++] = batch->images + j * FLOATS;
        }
    }
    ck_vit_ok(vit_first_error_raise(&batch->error));
    ck_assert_uint_eq(count, 4);
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < i; j++) {
            ck_assert_mem_ne(of[i], of[j], FLOATS * sizeof(float));
        }
    }
    vit_batch_free(batch);
    vit_loader_free(loader);
    vit_dataset_free(d);
}
END_TEST

/* ---- weights ---- */

START_TEST(automatic_weights) {
    vit_dataset d = make_set();
    float *weights = (float *)&d;
    ck_vit_ok(vit_class_weights("none", &d, false, &weights));
    ck_assert_ptr_null(weights);
    ck_vit_ok(vit_class_weights("auto", &d, false, &weights));
    double sum = 0;
    for (size_t i = 0; i < d.count; i++) {
        sum += weights[d.samples[i].label];
    }
    ck_assert_double_le(fabs(sum / PICTURES - 1), 1e-6);
    ck_assert_float_eq(weights[0], weights[3]);
    ck_assert_double_le(fabs(weights[0] / weights[1] - 17.0 / 3), 1e-5);
    vit_free(weights);
}
END_TEST

static const struct {
    const char *text, *words; /* words NULL: weights 1, 2, 3, 4 in proportion */
} files[] = {
    {"class,weight\na,1\nb,2\nnone,3\n\"c,d\",4\n", NULL},
    {"weight,class\n4,\"c,d\"\n1,a\n2,b\n3e0,none", NULL},
    {"a,1\nb,2\nnone,3\n", "no weight of class 'c,d'"},
    {"a,1\nb,2\nnone,3\nx,3\n", "no class 'x' in set"},
    {"a,1\nb,2\nb,3\n", "class 'b' is named twice"},
    {"a,1\nb,-2\n", "class 'b': weight -2 (expected a number from 0 up)"},
    {"a,1\nb,2x\n", "weight 2x"},
    {"a,nan\n", "weight nan"},
    {"a,0\nb,0\nnone,1\n\"c,d\",0\n", "add up to 0"},
    {"a\n", "line 1: too few columns (expected class,weight)"},
};

START_TEST(weights_from_files) {
    vit_dataset d = make_set();
    char path[1024];
    float *weights;
    write_text(temp_path(path, folder, "weights.csv"), files[_i].text);
    if (files[_i].words) {
        ck_assert_int_eq(vit_class_weights(path, &d, false, &weights), VIT_ERROR_FORMAT);
        ck_assert_ptr_null(weights);
        check_message(files[_i].words);
    } else {
        for (int balanced = 0; balanced < 2; balanced++) {
            ck_vit_ok(vit_class_weights(path, &d, balanced, &weights));
            /* 3 * 1 + 17 * 2 + 3 * 4 = 49 of 23 pictures, or 1 + 2 + 4 of 3 classes */
            double unit = balanced ? 3 / 7.0 : 23 / 49.0;
            for (int c = 0; c < CLASSES; c++) {
                ck_assert_double_le(fabs(weights[c] - (c + 1) * unit), 1e-6);
            }
            vit_free(weights);
        }
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("imbalance");
    TCase *c = tcase_create("imbalance");
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, every_class_is_as_often);
    tcase_add_test(c, epochs_are_keyed);
    tcase_add_test(c, repeats_are_augmented_anew);
    tcase_add_test(c, automatic_weights);
    tcase_add_loop_test(c, weights_from_files, 0, (int)(sizeof files / sizeof *files));
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
