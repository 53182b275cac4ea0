/* Decoding against Pillow's pixels, refusals, and files cut at every byte. What PNG and JPEG can
 * hold beyond the golden files is in test_png.c and test_jpeg.c. */
#include "data/decode.h"
#include "support/support.h"
#include "vit/arena.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct loaded {
    vit_bytes bytes;
    vit_image image;
} loaded;

static void loaded_free(loaded *l) {
    vit_bytes_free(&l->bytes);
    vit_image_free(&l->image);
}

static vit_status load(const char *name, loaded *l) {
    char path[1024];
    vit_decode_options options = vit_decode_defaults();
    return vit_image_load(golden_path(name, path), &options, &l->bytes, &l->image);
}

/* Compares with expected (H,W,3) U8; fails when the mean or the largest difference is above. */
static void check_pixels(const char *name, const vit_image *image, const vit_tensor *expected,
                         double mean_bound, int max_bound) {
    ck_assert_msg(expected != NULL, "no expected pixels for %s", name);
    ck_assert_int_eq(expected->dtype, VIT_U8);
    ck_assert_msg(image->height == expected->shape[0] && image->width == expected->shape[1],
                  "%s: %zu x %zu, expected %zu x %zu", name, image->width, image->height,
                  expected->shape[1], expected->shape[0]);
    const uint8_t *e = expected->data;
    double sum = 0;
    int most = 0;
    for (size_t i = 0; i < expected->count; i++) {
        int d = abs(image->pixels[i] - e[i]);
        sum += d;
        most = d > most ? d : most;
    }
    double mean = sum / (double)expected->count;
    if (getenv("ZVIT_TEST_VERBOSE")) {
        printf("%-24s mean %.5f max %d\n", name, mean, most);
    }
    ck_assert_msg(mean <= mean_bound && most <= max_bound,
                  "%s: mean difference %g (bound %g), largest %d (bound %d)", name, mean,
                  mean_bound, most, max_bound);
}

START_TEST(every_format_gives_pillows_pixels) {
    vit_safetensors *expected = golden_open("formats_expected.safetensors");
    ck_assert_uint_eq(vit_safetensors_count(expected), 24);
    loaded l = {0};
    for (size_t i = 0; i < vit_safetensors_count(expected); i++) {
        const vit_tensor *t = vit_safetensors_at(expected, i);
        char name[256];
        snprintf(name, sizeof name, "formats/%s", t->name);
        ck_vit_ok(load(name, &l));
        if (strcmp(t->name, "cmyk.jpg") == 0) {
            check_pixels(t->name, &l.image, t, 0.05, 2);
        } else if (vit_image_sniff(l.bytes.data, l.bytes.size) == VIT_IMAGE_PNG) {
            check_pixels(t->name, &l.image, t, 0, 0);
        } else {
            check_pixels(t->name, &l.image, t, 0.05, 1);
        }
    }
    loaded_free(&l);
    vit_safetensors_close(expected);
}
END_TEST

START_TEST(photographs_give_pillows_pixels) {
    vit_safetensors *expected = golden_open("image_transforms.safetensors");
    loaded l = {0};
    ck_vit_ok(load("china_420.jpg", &l));
    check_pixels("china_420.jpg", &l.image, vit_safetensors_find(expected, "china.decoded"), 0.05,
                 1);
    ck_vit_ok(load("flower_420.jpg", &l));
    check_pixels("flower_420.jpg", &l.image, vit_safetensors_find(expected, "flower.decoded"), 0.05,
                 1);
    loaded_free(&l);
    vit_safetensors_close(expected);
}
END_TEST

/* Name, status, and words that the message must hold besides the file's name. */
static const struct {
    const char *name;
    vit_status status;
    const char *words;
} bad_files[] = {
    {"formats/bad_empty.jpg", VIT_ERROR_FORMAT, "empty"},
    {"formats/bad_garbage.png", VIT_ERROR_FORMAT, "damaged PNG"},
    {"formats/bad_header_only.jpg", VIT_ERROR_FORMAT, "cut short"},
    {"formats/bad_text.jpg", VIT_ERROR_FORMAT, "is text"},
    {"formats/bad_truncated.jpg", VIT_ERROR_FORMAT, "cut short"},
    {"formats/bad_truncated.png", VIT_ERROR_FORMAT, "cut short"},
    {"formats/not_there.png", VIT_ERROR_IO, "No such file"},
    {"formats", VIT_ERROR_IO, "folder"},
};

START_TEST(bad_files_are_refused_by_name) {
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        loaded l = {0};
        ck_assert_int_eq(load(bad_files[i].name, &l), bad_files[i].status);
        const char *message = vit_last_error();
        ck_assert_msg(strstr(message, bad_files[i].name) != NULL, "without the name: %s", message);
        ck_assert_msg(strstr(message, bad_files[i].words) != NULL, "without '%s': %s",
                      bad_files[i].words, message);
        loaded_free(&l);
    }
}
END_TEST

START_TEST(every_bad_golden_file_is_in_the_table) {
    char path[1024];
    DIR *dir = opendir(golden_path("formats", path));
    ck_assert_ptr_nonnull(dir);
    size_t bad = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        bad += strncmp(e->d_name, "bad_", 4) == 0;
    }
    closedir(dir);
    ck_assert_uint_eq(bad, 6);
}
END_TEST

static const struct {
    const char *bytes;
    size_t size;
    const char *words;
} other_formats[] = {
    {"GIF89a\1\0\1\0", 10, "is a GIF picture, which zvit does not read; convert it to PNG or JPEG"},
    {"RIFF\x24\0\0\0WEBPVP8 ", 16, "a WebP picture"},
    {"BM\x36\0\0\0", 6, "a BMP picture"},
    {"II*\0\x8\0\0\0", 8, "a TIFF picture"},
    {"MM\0*\0\0\0\x8", 8, "a TIFF picture"},
    {"\0\0\0\x18"
     "ftypheic",
     12, "a HEIC picture"},
    {"\0\0\0\x18"
     "ftypavif",
     12, "an AVIF picture"},
    {"\x89PNG", 4, "cut short"},
    {"\xff\xd8", 2, "cut short"},
    {"\1\2\3\4\5", 5, "begins with 01 02 03 04 (expected"},
};

START_TEST(other_formats_are_named) {
    vit_decode_options options = vit_decode_defaults();
    for (size_t i = 0; i < sizeof other_formats / sizeof *other_formats; i++) {
        vit_image image = {0};
        ck_assert_int_ne(vit_image_decode(other_formats[i].bytes, other_formats[i].size, "x.jpg",
                                          &options, &image),
                         VIT_OK);
        check_message(other_formats[i].words);
        ck_assert_msg(strncmp(vit_last_error(), "x.jpg: ", 7) == 0, "%s", vit_last_error());
        vit_image_free(&image);
    }
}
END_TEST

/* Every golden format, cut at every length. The copy has exactly the bytes that are left, so that a
 * sanitizer sees one read too many. */
START_TEST(cut_files_never_crash) {
    vit_safetensors *expected = golden_open("formats_expected.safetensors");
    const vit_tensor *t = vit_safetensors_at(expected, (size_t)_i);
    vit_decode_options options = vit_decode_defaults();
    char name[256];
    snprintf(name, sizeof name, "formats/%s", t->name);
    loaded l = {0};
    ck_vit_ok(load(name, &l));
    size_t opened = 0;
    for (size_t n = 0; n < l.bytes.size; n++) {
        unsigned char *copy = malloc(n ? n : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, l.bytes.data, n);
        vit_status status = vit_image_decode(copy, n, t->name, &options, &l.image);
        if (status == VIT_OK) {
            opened++;
        } else {
            check_message(t->name);
        }
        free(copy);
    }
    ck_assert_msg(opened == 0, "%s: %zu cut files passed as whole", t->name, opened);
    loaded_free(&l);
    vit_safetensors_close(expected);
}
END_TEST

/* Bytes changed at random: any result but a crash; pixels, when there are any, have a size. */
START_TEST(damaged_files_never_crash) {
    vit_safetensors *expected = golden_open("formats_expected.safetensors");
    const vit_tensor *t = vit_safetensors_at(expected, (size_t)_i);
    vit_decode_options options = vit_decode_defaults();
    options.max_pixels = 1u << 20; /* a damaged size must not make the test slow */
    char name[256];
    snprintf(name, sizeof name, "formats/%s", t->name);
    loaded l = {0};
    ck_vit_ok(load(name, &l));
    float *draws = random_new((unsigned long long)_i + 1, 600, 1e6);
    for (size_t round = 0; round < 200; round++) {
        unsigned char *copy = malloc(l.bytes.size);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, l.bytes.data, l.bytes.size);
        for (size_t k = 0; k < 3; k++) {
            size_t draw =
                (size_t)(draws[3 * round + k] < 0 ? -draws[3 * round + k] : draws[3 * round + k]);
            /* most of what a decoder decides on is at the beginning */
            size_t at = draw % (k == 0 && l.bytes.size > 700 ? 700 : l.bytes.size);
            copy[at] = (unsigned char)(draw >> 8);
        }
        if (vit_image_decode(copy, l.bytes.size, t->name, &options, &l.image) == VIT_OK) {
            ck_assert_uint_gt(l.image.width * l.image.height, 0);
        }
        free(copy);
    }
    free(draws);
    loaded_free(&l);
    vit_safetensors_close(expected);
}
END_TEST

START_TEST(too_many_pixels_are_refused) {
    static const char *const names[] = {"formats/rgb.png", "formats/baseline_420.jpg"};
    char path[1024];
    for (int i = 0; i < 2; i++) {
        loaded l = {0};
        vit_decode_options options = vit_decode_defaults();
        options.max_pixels = 96 * 64;
        ck_vit_ok(vit_image_load(golden_path(names[i], path), &options, &l.bytes, &l.image));
        vit_image_free(&l.image);
        options.max_pixels = 96 * 64 - 1;
        ck_vit_fails(vit_image_load(path, &options, &l.bytes, &l.image), VIT_ERROR_LIMIT,
                     "96 x 64 pixels (expected at most 6143");
        ck_assert_ptr_null(l.image.pixels); /* refused before memory is taken */
        options.max_pixels = 0;             /* the default */
        ck_vit_ok(vit_image_load(path, &options, &l.bytes, &l.image));
        loaded_free(&l);
    }
    vit_decode_options options = vit_decode_defaults();
    ck_assert_int_eq(vit_check_pixels(UINT64_MAX, UINT64_MAX, &options, "x"), VIT_ERROR_LIMIT);
    ck_assert_int_eq(vit_check_pixels(178956970, 1, &options, "x"), VIT_OK);
    ck_assert_int_eq(vit_check_pixels(1, 178956971, &options, "x"), VIT_ERROR_LIMIT);
}
END_TEST

/* ---- EXIF ---- */

static const uint8_t exif_big[] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
static const uint8_t exif_little[] =
    "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";

START_TEST(exif_both_byte_orders) {
    ck_assert_int_eq(vit_exif_orientation(exif_big, sizeof exif_big - 1), 6);
    ck_assert_int_eq(vit_exif_orientation(exif_little, sizeof exif_little - 1), 6);
    ck_assert_int_eq(vit_exif_orientation(exif_big + 6, sizeof exif_big - 7), 6); /* PNG's eXIf */
    ck_assert_int_eq(vit_exif_orientation(exif_little + 6, sizeof exif_little - 7), 6);
}
END_TEST

START_TEST(exif_out_of_bounds) {
    size_t whole = sizeof exif_little - 1;
    for (size_t n = 0; n < whole; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, exif_little, n);
        ck_assert_int_eq(vit_exif_orientation(copy, n), 1);
        free(copy);
    }
    for (int value = 0; value < 256; value++) { /* every value of every byte */
        for (size_t at = 0; at < whole; at++) {
            uint8_t *copy = malloc(whole);
            memcpy(copy, exif_little, whole);
            copy[at] = (uint8_t)value;
            int orientation = vit_exif_orientation(copy, whole);
            ck_assert(orientation >= 1 && orientation <= 8);
            free(copy);
        }
    }
    uint8_t nine[sizeof exif_little];
    memcpy(nine, exif_little, sizeof nine);
    nine[24] = 9;
    ck_assert_int_eq(vit_exif_orientation(nine, whole), 1);
    nine[24] = 0;
    ck_assert_int_eq(vit_exif_orientation(nine, whole), 1);
}
END_TEST

/* Orientations as sequences of two generators, on odd sizes: turning four times is nothing. */
START_TEST(orientations_compose) {
    static const size_t sizes[][2] = {{1, 1}, {1, 7}, {7, 1}, {5, 3}, {33, 65}};
    for (size_t s = 0; s < 5; s++) {
        vit_image image = {0};
        ck_vit_ok(vit_image_reserve(&image, sizes[s][0], sizes[s][1], "test"));
        size_t bytes = sizes[s][0] * sizes[s][1] * 3;
        for (size_t i = 0; i < bytes; i++) {
            image.pixels[i] = (uint8_t)(i * 37 + i / 256);
        }
        uint8_t *before = malloc(bytes);
        memcpy(before, image.pixels, bytes);
        static const int inverse[9] = {0, 1, 2, 3, 4, 5, 8, 7, 6};
        for (int o = 1; o <= 8; o++) {
            ck_vit_ok(vit_image_orient(&image, o, "test"));
            ck_assert_uint_eq(image.width, sizes[s][o >= 5]);
            ck_vit_ok(vit_image_orient(&image, inverse[o], "test"));
            ck_assert_uint_eq(image.width, sizes[s][0]);
            ck_assert_msg(memcmp(before, image.pixels, bytes) == 0, "orientation %d", o);
        }
        for (int i = 0; i < 4; i++) {
            ck_vit_ok(vit_image_orient(&image, 6, "test"));
            if (i == 0 && sizes[s][0] > 1) {
                /* turned clockwise: the top left pixel was the bottom left one */
                ck_assert_mem_eq(image.pixels, before + (sizes[s][1] - 1) * sizes[s][0] * 3, 3);
            }
        }
        ck_assert_mem_eq(before, image.pixels, bytes);
        free(before);
        vit_image_free(&image);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("decode");
    TCase *c = tcase_create("decode");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, every_format_gives_pillows_pixels);
    tcase_add_test(c, photographs_give_pillows_pixels);
    tcase_add_test(c, bad_files_are_refused_by_name);
    tcase_add_test(c, every_bad_golden_file_is_in_the_table);
    tcase_add_test(c, other_formats_are_named);
    tcase_add_loop_test(c, cut_files_never_crash, 0, 24);
    tcase_add_loop_test(c, damaged_files_never_crash, 0, 24);
    tcase_add_test(c, too_many_pixels_are_refused);
    tcase_add_test(c, exif_both_byte_orders);
    tcase_add_test(c, exif_out_of_bounds);
    tcase_add_test(c, orientations_compose);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
