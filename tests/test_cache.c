/* The cache: the same bits as without it, decoded once, and refused up front when it does not fit.
 */
#include "data/cache.h"
#include "data/loader.h"
#include "support/allocator.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "vit/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PER_CLASS = 4, CLASSES = 2, PICTURES = PER_CLASS * CLASSES, W = 37, H = 23, SIDE = 12 };

static void setup(void) {
    static const char *const classes[CLASSES] = {"a", "b"};
    make_folder();
    make_pictures(folder, "train", classes, CLASSES, PER_CLASS, W, H, 1);
}

/* Two epochs' pictures, malloc'ed. */
static float *read_epochs(bool cache, bool train, int threads, size_t repeats) {
    const size_t floats = 3 * SIDE * SIDE;
    vit_dataset *dataset;
    vit_augment augment;
    vit_loader *loader;
    vit_batch *batch;
    vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &augment};
    ck_vit_ok(vit_options_defaults(&group));
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &dataset, NULL));
    vit_loader_config config = {
        .dataset = dataset,
        .batch_size = PICTURES,
        .height = SIDE,
        .width = SIDE,
        .preprocess = {.crop_pct = 0.9, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}},
        .augment = train ? &augment : NULL,
        .shuffle = train,
        .repeats = repeats,
        .seed = 5,
        .decode = vit_decode_defaults(),
        .cache = cache};
    float *all = malloc(2 * PICTURES * floats * sizeof *all);
    ck_vit_ok(vit_loader_create(&config, threads, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    for (uint32_t epoch = 0; epoch < 2; epoch++) {
        vit_loader_start_epoch(loader, epoch);
        vit_loader_prepare(loader, 0, batch);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
        for (size_t j = 0; j < PICTURES; j++) {
            vit_loader_fetch(loader, batch, j);
        }
        ck_vit_ok(vit_first_error_raise(&batch->error));
        memcpy(all + epoch * PICTURES * floats, batch->images, PICTURES * floats * sizeof *all);
    }
    vit_batch_free(batch);
    vit_loader_free(loader);
    vit_dataset_free(dataset);
    return all;
}

START_TEST(the_same_bits_with_and_without) {
    for (int train = 0; train < 2; train++) {
        float *without = read_epochs(false, train, 1, 0);
        for (int threads = 1; threads <= 3; threads++) {
            float *with = read_epochs(true, train, threads, 0);
            check_same_bits("pictures", 2 * PICTURES * 3 * SIDE * SIDE, with, without);
            free(with);
        }
        free(without);
    }
}
END_TEST

/* Two threads may want the same picture at once. */
START_TEST(repeated_pictures_share_an_entry) {
    float *without = read_epochs(false, true, 1, 4);
    for (int i = 0; i < 10; i++) {
        float *with = read_epochs(true, true, 4, 4);
        check_same_bits("pictures", 2 * PICTURES * 3 * SIDE * SIDE, with, without);
        free(with);
    }
    free(without);
}
END_TEST

START_TEST(pictures_are_decoded_once) {
    vit_dataset *dataset;
    vit_cache *cache;
    vit_bytes file = {0};
    vit_image spare = {0};
    const vit_image *first, *again;
    vit_decode_options decode = vit_decode_defaults();
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &dataset, NULL));
    ck_vit_ok(vit_cache_create(dataset, &decode, 1, 0, &cache));
    ck_vit_ok(vit_cache_get(cache, 3, &file, &spare, &first));
    ck_assert_uint_eq(first->width, W);
    ck_assert_uint_eq(first->height, H);
    ck_assert_int_eq(unlink(dataset->samples[3].path), 0);
    ck_assert_int_eq(unlink(dataset->samples[4].path), 0);
    ck_vit_ok(vit_cache_get(cache, 3, &file, &spare, &again));
    ck_assert_ptr_eq(first, again);
    ck_vit_fails(vit_cache_get(cache, 4, &file, &spare, &again), VIT_ERROR_IO,
                 dataset->samples[4].path);
    vit_cache_free(cache);
    vit_dataset_free(dataset);
    vit_bytes_free(&file);
}
END_TEST

/* Room for two and a half pictures: two stay, the others come anew each time, the same. */
START_TEST(a_partial_cache_keeps_what_fits) {
    vit_dataset *dataset;
    vit_cache *cache, *whole;
    vit_bytes file = {0};
    vit_image spare = {0}, other = {0};
    const vit_image *image, *expected;
    vit_decode_options decode = vit_decode_defaults();
    uint64_t room = 5 * (W * H * 3 + sizeof(vit_image)) / 2;
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &dataset, NULL));
    ck_vit_ok(vit_cache_create(dataset, &decode, 1, 0, &whole));
    ck_vit_ok(vit_cache_create_partial(dataset, &decode, 3, 3 * room * 5 / 4 + 9, &cache));
    for (size_t i = 0; i < 2 * PICTURES; i++) {
        ck_vit_ok(vit_cache_get(cache, i % PICTURES, &file, &spare, &image));
        ck_assert_int_eq(image == &spare, i % PICTURES >= 2);
        ck_vit_ok(vit_cache_get(whole, i % PICTURES, &file, &other, &expected));
        ck_assert_mem_eq(image->pixels, expected->pixels, W * H * 3);
    }
    ck_assert_int_eq(unlink(dataset->samples[1].path), 0);
    ck_assert_int_eq(unlink(dataset->samples[2].path), 0);
    ck_vit_ok(vit_cache_get(cache, 1, &file, &spare, &image));
    ck_assert_int_eq(vit_cache_get(cache, 2, &file, &spare, &image), VIT_ERROR_IO);
    vit_image_free(&spare);
    vit_image_free(&other);
    vit_bytes_free(&file);
    vit_cache_free(cache);
    vit_cache_free(whole);
    vit_dataset_free(dataset);
}
END_TEST

/* The room that was reckoned is not there: the picture comes all the same, and none is kept any
 * more. */
START_TEST(a_partial_cache_does_without_memory) {
    vit_dataset *dataset;
    vit_cache *cache;
    vit_bytes file = {0};
    vit_image spare = {0};
    const vit_image *image;
    counting c = {0};
    vit_decode_options decode = vit_decode_defaults();
    counting_install(&c);
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &dataset, NULL));
    ck_vit_ok(vit_cache_create_partial(dataset, &decode, 1, 1 << 20, &cache));
    ck_vit_ok(vit_cache_get(cache, 0, &file, &spare, &image));
    ck_assert_ptr_ne(image, &spare);
    c.fail_at = atomic_load(&c.calls) + 1; /* the copy: file and spare have their memory */
    ck_vit_ok(vit_cache_get(cache, 1, &file, &spare, &image));
    ck_assert_int_ge(atomic_load(&c.calls), c.fail_at);
    ck_assert_ptr_eq(image, &spare);
    ck_vit_ok(vit_cache_get(cache, 2, &file, &spare, &image));
    ck_assert_ptr_eq(image, &spare);
    ck_vit_ok(vit_cache_get(cache, 0, &file, &spare, &image));
    ck_assert_ptr_ne(image, &spare);
    vit_image_free(&spare);
    vit_bytes_free(&file);
    vit_cache_free(cache);
    vit_dataset_free(dataset);
    counting_remove(&c, "a partial cache");
}
END_TEST

START_TEST(what_does_not_fit_is_refused_with_its_size) {
    vit_dataset *dataset;
    vit_cache *cache;
    vit_decode_options decode = vit_decode_defaults();
    uint64_t least = (uint64_t)PICTURES * W * H * 3 * 5 / 4;
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &dataset, NULL));
    ck_assert_int_eq(vit_cache_create(dataset, &decode, 1, least, &cache), VIT_ERROR_LIMIT);
    ck_assert_ptr_null(cache);
    check_message("--cache ram");
    check_message("GB");
    ck_vit_ok(vit_cache_create(dataset, &decode, 1, least + PICTURES * 100, &cache));
    vit_cache_free(cache);
    vit_dataset_free(dataset);
}
END_TEST

START_TEST(headers_tell_the_size) {
    static const char *const names[] = {"china_420.jpg", "formats/exif_orientation_6.jpg"};
    char path[1024];
    vit_bytes file = {0};
    vit_image image = {0};
    vit_decode_options options = vit_decode_defaults();
    uint64_t pixels;
    for (int i = 0; i < 2; i++) {
        ck_vit_ok(vit_image_load(golden_path(names[i], path), &options, &file, &image));
        ck_vit_ok(vit_image_pixels(file.data, file.size, path, &options, &pixels));
        ck_assert_uint_eq(pixels, image.width * image.height);
        options.max_pixels = pixels - 1;
        ck_assert_int_eq(vit_image_pixels(file.data, file.size, path, &options, &pixels),
                         VIT_ERROR_LIMIT);
        options.max_pixels = 0;
        ck_assert_int_eq(vit_image_pixels(file.data, 20, path, &options, &pixels),
                         VIT_ERROR_FORMAT);
    }
    ck_assert_int_eq(vit_image_pixels("\x89PNG\r\n\x1a\n", 8, "a.png", &options, &pixels),
                     VIT_ERROR_FORMAT);
    ck_assert_int_eq(vit_image_pixels("what", 4, "a.txt", &options, &pixels), VIT_ERROR_FORMAT);
    vit_bytes_free(&file);
    vit_image_free(&image);
}
END_TEST

START_TEST(the_system_tells_its_memory) {
    ck_assert_uint_gt(vit_memory_available(), 1u << 20);
    ck_assert_uint_lt(vit_memory_available(), (uint64_t)1 << 50);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cache");
    TCase *cache = tcase_create("cache");
    tcase_add_checked_fixture(cache, setup, remove_folder);
    tcase_add_test(cache, the_same_bits_with_and_without);
    tcase_add_test(cache, repeated_pictures_share_an_entry);
    tcase_add_test(cache, pictures_are_decoded_once);
    tcase_add_test(cache, a_partial_cache_keeps_what_fits);
    tcase_add_test(cache, a_partial_cache_does_without_memory);
    tcase_add_test(cache, what_does_not_fit_is_refused_with_its_size);
    tcase_add_test(cache, headers_tell_the_size);
    tcase_add_test(cache, the_system_tells_its_memory);
    suite_add_tcase(suite, cache);
    return test_run(suite);
}
