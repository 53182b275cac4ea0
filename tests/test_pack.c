/* Packs: what goes in comes out, training sees the same bits, and nothing malformed is believed. */
#include "data/checksum.h"
#include "data/loader.h"
#include "data/pack.h"
#include "support/files.h"
#include "support/pictures.h"
#include "support/support.h"
#include "vit/rng.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PER_CLASS = 5, CLASSES = 3, SIDE = 16 };
static const char *const class_names[CLASSES] = {"c10", "c2", "d"};

static char *root;

static void setup(void) {
    root = temp_folder();
    char data[1024];
    temp_path(data, root, "data");
    make_pictures(data, "train", class_names, CLASSES, PER_CLASS, 23, 31, 1);
    make_pictures(data, "val", class_names, CLASSES, 2, 40, 29, 2);
    temp_path(data, root, "flat");
    make_pictures(data, ".", class_names, CLASSES, PER_CLASS, 23, 19, 1);
}

static void teardown(void) {
    temp_folder_remove(root);
    root = NULL;
}

static vit_pack_result pack(const char *data, const char *file, vit_pack_options options) {
    char from[1024], to[1024];
    vit_pack_result result;
    options.decode = vit_decode_defaults();
    options.threads = 1;
    ck_vit_ok(vit_pack_write(temp_path(from, root, "%s", data), temp_path(to, root, "%s", file),
                             &options, &result));
    return result;
}

/* Pointers into two opened copies of one data set. */
static void check_same_samples(const vit_dataset *a, const vit_dataset *b) {
    vit_bytes file_a = {0}, file_b = {0};
    ck_assert_uint_eq(a->count, b->count);
    ck_assert_uint_eq(a->class_count, b->class_count);
    for (size_t i = 0; i < a->class_count; i++) {
        ck_assert_str_eq(a->class_names[i], b->class_names[i]);
    }
    for (size_t i = 0; i < a->count; i++) {
        const void *bytes_a, *bytes_b;
        size_t size_a, size_b;
        ck_assert_int_eq(a->samples[i].label, b->samples[i].label);
        ck_vit_ok(vit_sample_read(&a->samples[i], &file_a, &bytes_a, &size_a));
        ck_vit_ok(vit_sample_read(&b->samples[i], &file_b, &bytes_b, &size_b));
        ck_assert_uint_eq(size_a, size_b);
        ck_assert_mem_eq(bytes_a, bytes_b, size_a);
        vit_sample_announce(&a->samples[i]);
    }
    vit_bytes_free(&file_a);
    vit_bytes_free(&file_b);
}

static void check_same_set(vit_dataset_query query, const char *data, const char *file) {
    char from[1024], to[1024];
    vit_dataset *folder, *packed;
    size_t missing[2];
    query.data = temp_path(from, root, "%s", data);
    ck_vit_ok(vit_dataset_find(&query, &folder, &missing[0]));
    query.data = temp_path(to, root, "%s", file);
    ck_vit_ok(vit_dataset_find(&query, &packed, &missing[1]));
    ck_assert_uint_eq(missing[0], missing[1]);
    ck_assert_int_eq(folder->whole, packed->whole);
    check_same_samples(packed, folder);
    ck_assert_uint_eq(vit_dataset_hash(packed, 2), vit_dataset_hash(folder, 1));
    vit_dataset_free(folder);
    vit_dataset_free(packed);
}

START_TEST(a_pack_is_the_folder_again) {
    static const char *const known[] = {"x", "d", "c2", "c10"};
    vit_pack_result result = pack("data", "a.zpk", (vit_pack_options){0});
    ck_assert_uint_eq(result.pictures, CLASSES * (PER_CLASS + 2));
    ck_assert_uint_eq(result.shrunk, 0);
    ck_assert_uint_eq(result.bytes_read, result.bytes_written);
    check_same_set((vit_dataset_query){.split = "train"}, "data", "a.zpk");
    check_same_set((vit_dataset_query){.split = "val"}, "data", "a.zpk");
    check_same_set((vit_dataset_query){.split = "train", .class_order = "natural"}, "data",
                   "a.zpk");
    check_same_set((vit_dataset_query){.split = "val", .known_classes = known, .known_count = 4},
                   "data", "a.zpk");
    char path[1024];
    vit_dataset_query query = {.data = temp_path(path, root, "a.zpk"), .split = "test"};
    vit_dataset *none;
    ck_vit_fails(vit_dataset_find(&query, &none, NULL), VIT_ERROR_IO, "'test'");
    ck_assert(has_split(path, "val"));
    ck_assert(!has_split(path, "test"));
}
END_TEST

START_TEST(a_pack_without_splits_holds_out_the_same) {
    pack("flat", "b.zpk", (vit_pack_options){0});
    const char *const splits[] = {"train", "val"};
    for (int i = 0; i < 2; i++) {
        check_same_set((vit_dataset_query){.split = splits[i]}, "flat", "b.zpk");
        check_same_set((vit_dataset_query){.split = splits[i], .val_split = 0.3}, "flat", "b.zpk");
    }
    pack("flat", "c.zpk", (vit_pack_options){.val_split = 0.3});
    char path[1024];
    ck_assert(has_split(temp_path(path, root, "c.zpk"), "val"));
    ck_assert(!has_split(temp_path(path, root, "b.zpk"), "val"));
}
END_TEST

/* A list of the first pictures of each class of a folder beside it. */
static void write_list(const char *path, const char *folder, int per_class) {
    char whole[1024];
    FILE *file = fopen(temp_path(whole, root, "%s", path), "w");
    ck_assert_ptr_nonnull(file);
    fputs("path,label\n", file);
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < per_class; i++) {
            fprintf(file, "%s/%s/%03d.png,%s\n", folder, class_names[c], i, class_names[c]);
        }
    }
    fclose(file);
}

/* Lists in the folder, one of whose names begins as its pictures' folder does; a list that is DATA
 * itself; a folder that is named like a list. */
START_TEST(a_pack_of_lists_is_the_lists_again) {
    static const char *const splits[] = {"train", "val"};
    char folder[1024];
    temp_path(folder, root, "lists");
    make_pictures(folder, "train", class_names, CLASSES, PER_CLASS, 23, 31, 1);
    make_pictures(folder, "val.d", class_names, CLASSES, 2, 40, 29, 2);
    write_list("lists/train.csv", "train", 3);
    write_list("lists/val.csv", "val.d", 2);
    make_pictures(temp_path(folder, root, "named.csv"), ".", class_names, CLASSES, PER_CLASS, 23,
                  19, 1);
    pack("lists", "lists.zpk", (vit_pack_options){0});
    pack("lists/train.csv", "list.zpk", (vit_pack_options){0});
    pack("named.csv", "named.zpk", (vit_pack_options){0});
    for (int i = 0; i < 2; i++) {
        vit_dataset_query query = {.split = splits[i]};
        check_same_set(query, "lists", "lists.zpk");
        for (int held_out = 0; held_out < 2; held_out++) {
            query.val_split = held_out ? 0.4 : 0;
            check_same_set(query, "lists/train.csv", "list.zpk");
            check_same_set(query, "named.csv", "named.zpk");
        }
    }
}
END_TEST

/* All pictures of an epoch in its order, (count,3,SIDE,SIDE), malloc'ed. */
static float *read_epoch(const char *file, bool train, size_t *floats) {
    char path[1024];
    vit_dataset *dataset;
    vit_augment augment;
    vit_loader *loader;
    vit_batch *batch;
    vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &augment};
    ck_vit_ok(vit_options_defaults(&group));
    ck_vit_ok(
        vit_dataset_open(temp_path(path, root, "%s", file), "train", NULL, 0, &dataset, NULL));
    vit_loader_config config = {
        .dataset = dataset,
        .batch_size = 4,
        .height = SIDE,
        .width = SIDE,
        .preprocess = {.crop_pct = 0.9, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}},
        .augment = train ? &augment : NULL,
        .shuffle = train,
        .seed = 5,
        .decode = vit_decode_defaults()};
    const size_t picture = 3 * SIDE * SIDE;
    float *all = malloc(dataset->count * picture * sizeof *all);
    *floats = 0;
    ck_vit_ok(vit_loader_create(&config, 1, &loader));
    ck_vit_ok(vit_batch_create(loader, &batch));
    for (size_t n = 0; n < vit_loader_batches(loader); n++) {
        vit_loader_prepare(loader, n, batch);
        for (size_t j = 0; j < batch->count; j++) {
            vit_loader_fetch(loader, batch, j);
        }
        ck_vit_ok(vit_first_error_raise(&batch->error));
        memcpy(all + *floats, batch->images, batch->count * picture * sizeof *all);
        *floats += batch->count * picture;
    }
    vit_batch_free(batch);
    vit_loader_free(loader);
    vit_dataset_free(dataset);
    return all;
}

START_TEST(batches_are_the_same_bits) {
    pack("data", "d.zpk", (vit_pack_options){0});
    for (int train = 0; train < 2; train++) {
        size_t n, m;
        float *a = read_epoch("data", train, &n), *b = read_epoch("d.zpk", train, &m);
        ck_assert_uint_eq(n, m);
        check_same_bits("pictures", n, a, b);
        free(a);
        free(b);
    }
}
END_TEST

START_TEST(short_side_shrinks_the_larger_ones) {
    char path[1024];
    vit_pack_result result = pack("data", "e.zpk", (vit_pack_options){.short_side = 25});
    ck_assert_uint_eq(result.shrunk, CLASSES * 2); /* val's are 40 x 29, train's 23 x 31 */
    check_same_set((vit_dataset_query){.split = "train"}, "data", "e.zpk");
    vit_dataset *d;
    vit_image image = {0}, whole = {0}, small = {0};
    vit_bytes buffer = {0};
    vit_resize_scratch scratch = {0};
    vit_decode_options options = vit_decode_defaults();
    ck_vit_ok(vit_dataset_open(temp_path(path, root, "e.zpk"), "val", NULL, 0, &d, NULL));
    for (size_t i = 0; i < d->count; i++) {
        const void *bytes;
        size_t size;
        double sum = 0;
        ck_vit_ok(vit_sample_read(&d->samples[i], &buffer, &bytes, &size));
        ck_assert_int_eq(vit_image_sniff(bytes, size), VIT_IMAGE_JPEG);
        ck_vit_ok(vit_image_decode(bytes, size, "packed", &options, &image));
        ck_assert_uint_eq(image.width, 25 * 40 / 29);
        ck_assert_uint_eq(image.height, 25);
        char original[1024];
        const char *below = d->samples[i].path + strlen(path) + 1;
        temp_path(original, root, "data/%s", below);
        ck_vit_ok(vit_image_load(original, &options, &buffer, &whole));
        ck_vit_ok(
            vit_resize(&whole, NULL, image.width, image.height, VIT_BICUBIC, &scratch, &small));
        for (size_t k = 0; k < image.width * image.height * 3; k++) {
            sum += abs(image.pixels[k] - small.pixels[k]);
        }
        /* Chroma at half size over coloured noise. */
        ck_assert_double_lt(sum / (double)(image.width * image.height * 3), 16);
    }
    vit_dataset_free(d);
    vit_image_free(&image);
    vit_image_free(&whole);
    vit_image_free(&small);
    vit_bytes_free(&buffer);
    vit_resize_scratch_free(&scratch);
}
END_TEST

START_TEST(encoding_keeps_a_photograph) {
    char path[1024];
    vit_bytes file = {0}, jpeg = {0};
    vit_image image = {0}, again = {0};
    vit_decode_options options = vit_decode_defaults();
    ck_vit_ok(vit_image_load(golden_path("china_420.jpg", path), &options, &file, &image));
    ck_vit_ok(vit_image_encode_jpeg(&image, 95, &jpeg));
    ck_vit_ok(vit_image_decode(jpeg.data, jpeg.size, "again", &options, &again));
    ck_assert_uint_eq(image.width, again.width);
    ck_assert_uint_eq(image.height, again.height);
    double sum = 0;
    size_t n = image.width * image.height * 3;
    for (size_t i = 0; i < n; i++) {
        sum += abs(image.pixels[i] - again.pixels[i]);
    }
    ck_assert_double_lt(sum / (double)n, 2.5);
    image.width = 70000;
    ck_assert_int_eq(vit_image_encode_jpeg(&image, 95, &jpeg), VIT_ERROR_LIMIT);
    vit_bytes_free(&file);
    vit_bytes_free(&jpeg);
    vit_image_free(&image);
    vit_image_free(&again);
}
END_TEST

START_TEST(unreadable_pictures_fail_or_are_left_out) {
    char data[1024], path[1024], bad[1024];
    vit_pack_result result;
    make_pictures(temp_path(data, root, "odd"), "train", class_names, CLASSES, 2, 9, 9, 3);
    temp_path(bad, root, "odd/train/c2/bad.png");
    write_text(bad, "nothing");
    vit_pack_options options = {.short_side = 4, .decode = vit_decode_defaults(), .threads = 1};
    temp_path(path, root, "f.zpk");
    ck_vit_fails(vit_pack_write(data, path, &options, &result), VIT_ERROR_FORMAT, "bad.png");
    ck_assert_int_ne(access(path, F_OK), 0);
    options.skip = true;
    ck_vit_ok(vit_pack_write(data, path, &options, &result));
    ck_assert_uint_eq(result.skipped, 1);
    ck_assert_uint_eq(result.pictures, CLASSES * 2);
    ck_assert_ptr_nonnull(strstr(result.first_skipped, "bad.png"));
    ck_assert_int_eq(vit_pack_write(data, temp_path(path, root, "g.txt"), &options, &result),
                     VIT_ERROR_ARGUMENT);
}
END_TEST

/* ---- malformed packs ---- */

static vit_status open_bytes(const unsigned char *bytes, size_t size) {
    char path[1024];
    vit_pack *opened;
    ck_vit_ok(vit_file_replace(temp_path(path, root, "bad.zpk"), bytes, size));
    vit_status status = vit_pack_open(path, &opened);
    ck_assert(status == VIT_OK || strstr(vit_last_error(), "bad.zpk"));
    vit_pack_close(opened);
    return status;
}

static vit_bytes small_pack(void) {
    char data[1024], path[1024];
    vit_bytes bytes = {0};
    make_pictures(temp_path(data, root, "tiny"), "train", class_names, 2, 2, 2, 1, 4);
    pack("tiny", "tiny.zpk", (vit_pack_options){0});
    ck_vit_ok(vit_file_read(temp_path(path, root, "tiny.zpk"), 1 << 20, &bytes));
    return bytes;
}

START_TEST(every_truncation_is_refused) {
    vit_bytes whole = small_pack();
    ck_vit_ok(open_bytes(whole.data, whole.size));
    for (size_t size = 0; size < whole.size; size++) {
        ck_assert_int_eq(open_bytes(whole.data, size), VIT_ERROR_FORMAT);
    }
    vit_bytes_free(&whole);
}
END_TEST

/* A flipped bit in a picture is found when that is read, any other when the pack is opened. */
START_TEST(every_flipped_byte_is_noticed) {
    char path[1024];
    vit_bytes whole = small_pack(), buffer = {0};
    for (size_t i = 0; i < whole.size; i++) {
        whole.data[i] ^= (unsigned char)(1u << i % 8);
        vit_status status = open_bytes(whole.data, whole.size);
        vit_dataset *d = NULL;
        if (status == VIT_OK) {
            const void *bytes;
            size_t size;
            temp_path(path, root, "bad.zpk");
            ck_vit_ok(vit_dataset_open(path, "train", NULL, 0, &d, NULL));
            for (size_t k = 0; k < d->count && status == VIT_OK; k++) {
                status = vit_sample_read(&d->samples[k], &buffer, &bytes, &size);
            }
        }
        ck_assert_msg(status == VIT_ERROR_FORMAT || status == VIT_ERROR_UNSUPPORTED,
                      "byte %zu of %zu is not noticed", i, whole.size);
        vit_dataset_free(d);
        whole.data[i] ^= (unsigned char)(1u << i % 8);
    }
    vit_bytes_free(&whole);
    vit_bytes_free(&buffer);
}
END_TEST

static void put(unsigned char *to, uint64_t x, size_t width) {
    for (size_t i = 0; i < width; i++) {
        to[i] = (unsigned char)(x >> (8 * i));
    }
}

static uint64_t get64(const unsigned char *p) {
    uint64_t x = 0;
    for (size_t i = 0; i < 8; i++) {
        x |= (uint64_t)p[i] << (8 * i);
    }
    return x;
}

/* Makes the checksums right again, so that what they guard is looked at. */
static void sign(vit_bytes *file) {
    unsigned char *footer = file->data + file->size - 32, summed[40];
    put(footer + 16, vit_checksum(file->data + get64(footer), get64(footer + 8)), 8);
    memcpy(summed, file->data, 16);
    memcpy(summed + 16, footer, 24);
    put(footer + 24, vit_checksum(summed, 40), 8);
}

/* An index that was made wrong on purpose: any value in any of its bytes is refused or harmless. */
START_TEST(a_forged_index_does_no_harm) {
    vit_bytes whole = small_pack();
    uint64_t at = get64(whole.data + whole.size - 32), size = get64(whole.data + whole.size - 24);
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    size_t refused = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char kept = whole.data[at + i];
        for (size_t v = 0; v < sizeof values; v++) {
            whole.data[at + i] = values[v];
            sign(&whole);
            vit_status status = open_bytes(whole.data, whole.size);
            ck_assert(status == VIT_OK || status == VIT_ERROR_FORMAT);
            refused += status != VIT_OK;
        }
        whole.data[at + i] = kept;
    }
    ck_assert_uint_gt(refused, size);
    /* Sizes that overlap the index, or leave a gap before it. */
    sign(&whole);
    ck_vit_ok(open_bytes(whole.data, whole.size));
    size_t first = at + 4 + (4 + 5) + 4 + (4 + 3) + (4 + 2) + 8;
    uint64_t kept = get64(whole.data + first);
    for (int step = -1; step <= 1; step += 2) {
        put(whole.data + first, kept + (uint64_t)(int64_t)step, 8);
        sign(&whole);
        ck_assert_int_eq(open_bytes(whole.data, whole.size), VIT_ERROR_FORMAT);
    }
    put(whole.data + first, UINT64_MAX, 8);
    sign(&whole);
    ck_assert_int_eq(open_bytes(whole.data, whole.size), VIT_ERROR_FORMAT);
    vit_bytes_free(&whole);
}
END_TEST

START_TEST(newer_versions_are_refused_by_number) {
    vit_bytes whole = small_pack();
    put(whole.data + 8, 2, 4);
    ck_vit_fails(open_bytes(whole.data, whole.size), VIT_ERROR_UNSUPPORTED,
                 "version 2 (expected 1)");
    vit_bytes_free(&whole);
}
END_TEST

/* Known answers of xxHash's own XXH64 (seed 0). */
START_TEST(checksums_are_xxh64) {
    ck_assert(vit_checksum("", 0) == 0xef46db3751d8e999u);
    ck_assert(vit_checksum("a", 1) == 0xd24ec4f1a98c6e5bu);
    ck_assert(vit_checksum("abc", 3) == 0x44bc2cf5ad770999u);
    const char *text = "Nobody inspects the spammish repetition";
    ck_assert(vit_checksum(text, strlen(text)) == 0xfbcea83c8a378bf1u);
}
END_TEST

/* Pages of a file that are in memory. */
static size_t resident(const char *path) {
    vit_file file;
    ck_vit_ok(vit_file_open(path, &file));
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = (file.size + page - 1) / page, count = 0;
    void *map = mmap(NULL, file.size, PROT_READ, MAP_SHARED, file.handle - 1, 0);
    ck_assert(map != MAP_FAILED);
    unsigned char *in = calloc(pages, 1);
    ck_assert_int_eq(mincore(map, file.size, in), 0);
    for (size_t i = 0; i < pages; i++) {
        count += in[i] & 1;
    }
    free(in);
    munmap(map, file.size);
    vit_file_close(&file);
    return count;
}

/* A rank reads its own pictures of a pack: the others' stay on the disk. */
START_TEST(only_what_is_asked_for_is_read) {
    enum { BIG = 200, MANY = 40 };
    char data[1024], path[1024];
    temp_path(data, root, "big");
    make_pictures(data, "train", class_names, CLASSES, MANY, BIG, BIG, 1);
    pack("big", "big.zpk", (vit_pack_options){0});
    int fd = open(temp_path(path, root, "big.zpk"), O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fsync(fd), 0);
    ck_assert_int_eq(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    bool gone = resident(path) == 0; /* else a file system in memory, or one that does not let go */
    vit_dataset *dataset;
    vit_bytes buffer = {0};
    const void *bytes;
    size_t size, page = (size_t)sysconf(_SC_PAGESIZE);
    ck_vit_ok(vit_dataset_open(path, "train", NULL, 0, &dataset, NULL));
    size_t before = gone ? resident(path) : 0;
    ck_assert_uint_le(before, 5); /* the header, the index and the footer */
    for (size_t i = 7; gone && i < dataset->count; i += 25) {
        ck_vit_ok(vit_sample_read(&dataset->samples[i], &buffer, &bytes, &size));
        size_t now = resident(path);
        ck_assert_uint_ge(now - before, size / page);
        ck_assert_msg(now - before <= size / page + 2, "%zu pages for %zu bytes", now - before,
                      size);
        before = now;
    }
    vit_bytes_free(&buffer);
    vit_dataset_free(dataset);
}
END_TEST

/* While it is being trained on. */
START_TEST(a_pack_that_is_cut_short_is_an_error) {
    char path[1024];
    vit_dataset *dataset;
    vit_bytes buffer = {0};
    const void *bytes;
    size_t size;
    pack("data", "cut.zpk", (vit_pack_options){0});
    ck_vit_ok(vit_dataset_open(temp_path(path, root, "cut.zpk"), "train", NULL, 0, &dataset, NULL));
    const vit_sample *last = &dataset->samples[dataset->count - 1];
    ck_vit_ok(vit_sample_read(last, &buffer, &bytes, &size));
    ck_assert_int_eq(truncate(path, 100), 0);
    vit_sample_announce(last);
    ck_assert_int_eq(vit_sample_read(last, &buffer, &bytes, &size), VIT_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(vit_last_error(), "became shorter"));
    vit_bytes_free(&buffer);
    vit_dataset_free(dataset);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pack");
    TCase *same = tcase_create("same");
    tcase_add_unchecked_fixture(same, setup, teardown);
    tcase_add_test(same, a_pack_is_the_folder_again);
    tcase_add_test(same, a_pack_without_splits_holds_out_the_same);
    tcase_add_test(same, a_pack_of_lists_is_the_lists_again);
    tcase_add_test(same, batches_are_the_same_bits);
    tcase_add_test(same, short_side_shrinks_the_larger_ones);
    tcase_add_test(same, encoding_keeps_a_photograph);
    tcase_add_test(same, only_what_is_asked_for_is_read);
    tcase_add_test(same, a_pack_that_is_cut_short_is_an_error);
    tcase_add_test(same, unreadable_pictures_fail_or_are_left_out);
    suite_add_tcase(suite, same);
    TCase *malformed = tcase_create("malformed");
    tcase_set_timeout(malformed, 120);
    tcase_add_unchecked_fixture(malformed, setup, teardown);
    tcase_add_test(malformed, every_truncation_is_refused);
    tcase_add_test(malformed, every_flipped_byte_is_noticed);
    tcase_add_test(malformed, a_forged_index_does_no_harm);
    tcase_add_test(malformed, newer_versions_are_refused_by_number);
    tcase_add_test(malformed, checksums_are_xxh64);
    suite_add_tcase(suite, malformed);
    return test_run(suite);
}
