/* JPEGs made byte by byte for what no ordinary encoder writes: bombs of scans, sizes, stray bytes.
 */
#include "data/decode.h"
#include "support/support.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
    uint8_t *data;
    size_t size;
} bytes;

static void put(bytes *b, const void *data, size_t size) {
    b->data = realloc(b->data, b->size + size + 1);
    ck_assert_ptr_nonnull(b->data);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static void put_marker(bytes *b, uint8_t marker, const void *data, size_t size) {
    uint8_t head[4] = {0xff, marker, (uint8_t)((size + 2) >> 8), (uint8_t)(size + 2)};
    put(b, head, 4);
    put(b, data, size);
}

/* One scan of coefficients first..last whose data is one code of one bit: nothing changes. */
static void put_scan(bytes *b, int first, int last, int high, int low) {
    uint8_t sos[6] = {1, 1, 0, (uint8_t)first, (uint8_t)last, (uint8_t)(high << 4 | low)};
    put_marker(b, 0xda, sos, 6);
    put(b, "\x7f", 1);
}

/* A progressive grey picture of one block: a DC scan, then AC scans, each coefficient first without
 * and then with its last bit, and a last scan of all coefficients that are left. missing: that last
 * scan is left out. */
static bytes make_progressive(uint16_t width, uint16_t height, int scans, bool missing) {
    bytes b = {0};
    uint8_t quantisers[65];
    memset(quantisers, 1, sizeof quantisers);
    quantisers[0] = 0;
    uint8_t frame[9] = {8,
                        (uint8_t)(height >> 8),
                        (uint8_t)height,
                        (uint8_t)(width >> 8),
                        (uint8_t)width,
                        1,
                        1,
                        0x11,
                        0};
    /* One code, "0", for the symbol 0: no difference, or end of block. */
    uint8_t table[18] = {0, 1};
    put(&b, "\xff\xd8", 2);
    put_marker(&b, 0xdb, quantisers, sizeof quantisers);
    put_marker(&b, 0xc2, frame, sizeof frame);
    put_marker(&b, 0xc4, table, sizeof table);
    table[0] = 0x10;
    put_marker(&b, 0xc4, table, sizeof table);
    put_scan(&b, 0, 0, 0, 0);
    int k = 1, left = scans - 1;
    for (; left > 2; left -= 2, k++) {
        put_scan(&b, k, k, 0, 1);
        put_scan(&b, k, k, 1, 0);
    }
    if (left == 2) {
        put_scan(&b, k, k, 0, 0);
        k++;
    }
    if (left > 0 && !missing) {
        put_scan(&b, k, 63, 0, 0);
    }
    put(&b, "\xff\xd9", 2);
    return b;
}

static vit_status decode(const bytes *b, vit_image *image) {
    vit_decode_options options = vit_decode_defaults();
    return vit_image_decode(b->data, b->size, "x.jpg", &options, image);
}

START_TEST(a_hundred_scans_are_enough) {
    vit_image image = {0};
    bytes b = make_progressive(8, 8, 100, false);
    ck_vit_ok(decode(&b, &image));
    ck_assert_uint_eq(image.width, 8);
    for (size_t i = 0; i < 8 * 8 * 3; i++) {
        ck_assert_int_eq(image.pixels[i], 128);
    }
    free(b.data);
    b = make_progressive(8, 8, 101, false);
    ck_assert_int_eq(decode(&b, &image), VIT_ERROR_LIMIT);
    ck_assert_str_eq(vit_last_error(), "x.jpg: the JPEG has more than 100 scans");
    free(b.data);
    vit_image_free(&image);
}
END_TEST

START_TEST(missing_scans_are_refused) {
    vit_image image = {0};
    for (int scans = 2; scans < 8; scans++) {
        bytes b = make_progressive(8, 8, scans, false);
        ck_vit_ok(decode(&b, &image));
        free(b.data);
        b = make_progressive(8, 8, scans, true);
        ck_vit_fails(decode(&b, &image), VIT_ERROR_FORMAT, "x.jpg: the progressive JPEG lacks its");
        free(b.data);
    }
    vit_image_free(&image);
}
END_TEST

/* A sequential picture of three components in scans of their own, one block each. */
START_TEST(missing_components_are_refused) {
    for (int components = 1; components <= 3; components++) {
        vit_image image = {0};
        bytes b = {0};
        uint8_t quantisers[65], table[18] = {0, 1};
        memset(quantisers, 1, sizeof quantisers);
        quantisers[0] = 0;
        put(&b, "\xff\xd8", 2);
        put_marker(&b, 0xdb, quantisers, sizeof quantisers);
        put_marker(&b, 0xc0, "\x08\0\x08\0\x08\3\1\x11\0\2\x11\0\3\x11\0", 15);
        put_marker(&b, 0xc4, table, sizeof table);
        table[0] = 0x10;
        put_marker(&b, 0xc4, table, sizeof table);
        for (int i = 1; i <= components; i++) {
            put_marker(&b, 0xda, (uint8_t[]){1, (uint8_t)i, 0, 0, 63, 0}, 6);
            put(&b, "\x3f", 1);
        }
        put(&b, "\xff\xd9", 2);
        if (components == 3) {
            ck_vit_ok(decode(&b, &image));
        } else {
            char expected[80];
            snprintf(expected, sizeof expected, "x.jpg: the JPEG lacks the scan of component %d",
                     components + 1);
            ck_vit_fails(decode(&b, &image), VIT_ERROR_FORMAT, expected);
        }
        free(b.data);
        vit_image_free(&image);
    }
}
END_TEST

START_TEST(sizes_are_checked_first) {
    vit_image image = {0};
    bytes b = make_progressive(65500, 65500, 1, false);
    ck_vit_fails(decode(&b, &image), VIT_ERROR_LIMIT, "65500 x 65500 pixels");
    free(b.data);
    b = make_progressive(0, 8, 1, false);
    ck_assert_int_eq(decode(&b, &image), VIT_ERROR_FORMAT);
    free(b.data);
    b = make_progressive(8, 0, 1, false); /* height to come in a DNL marker */
    ck_assert_int_eq(decode(&b, &image), VIT_ERROR_FORMAT);
    free(b.data);
    ck_assert_ptr_null(image.pixels);
}
END_TEST

static bytes read_golden(const char *name) {
    char path[1024];
    vit_bytes file = {0};
    bytes b = {0};
    ck_vit_ok(vit_file_read(golden_path(name, path), 1u << 30, &file));
    put(&b, file.data, file.size);
    vit_bytes_free(&file);
    return b;
}

/* Puts data into the file at `at`. */
static void insert(bytes *b, size_t at, const void *data, size_t size) {
    put(b, data, size); /* makes room */
    memmove(b->data + at + size, b->data + at, b->size - size - at);
    memcpy(b->data + at, data, size);
}

/* Padding between segments is common (cameras, old editors) and costs no pixel. */
START_TEST(stray_bytes_between_segments_are_harmless) {
    vit_image image = {0}, padded = {0};
    bytes b = read_golden("formats/baseline_420.jpg");
    ck_vit_ok(decode(&b, &image));
    insert(&b, b.size - 2, "\0\0\0\0\0\0", 6); /* before EOI */
    put(&b, "trailing bytes", 14);             /* after it */
    ck_vit_ok(decode(&b, &padded));
    ck_assert_mem_eq(image.pixels, padded.pixels, image.width * image.height * 3);
    free(b.data);
    vit_image_free(&image);
    vit_image_free(&padded);
}
END_TEST

/* An early EOI: libjpeg would fill the rest with grey and only warn. */
START_TEST(missing_blocks_are_an_error) {
    vit_image image = {0};
    bytes b = read_golden("formats/baseline_420.jpg");
    insert(&b, b.size * 2 / 3, "\xff\xd9", 2);
    ck_vit_fails(decode(&b, &image), VIT_ERROR_FORMAT, "x.jpg: damaged JPEG: ");
    free(b.data);
    vit_image_free(&image);
}
END_TEST

/* A sound file that libjpeg cannot decode is not called damaged. */
START_TEST(what_libjpeg_cannot_do_is_unsupported) {
    vit_image image = {0};
    bytes b = read_golden("formats/baseline_420.jpg");
    size_t frame = 0;
    while (b.data[frame] != 0xff || b.data[frame + 1] != 0xc0) {
        frame++;
    }
    b.data[frame + 4] = 12; /* bits a sample */
    ck_vit_fails(decode(&b, &image), VIT_ERROR_UNSUPPORTED,
                 "x.jpg: this kind of JPEG cannot be decoded");
    b.data[frame + 4] = 8;
    b.data[frame + 1] = 0xc3; /* lossless, which is a process of its own */
    ck_vit_fails(decode(&b, &image), VIT_ERROR_UNSUPPORTED,
                 "x.jpg: this kind of JPEG cannot be decoded");
    free(b.data);
    ck_assert_ptr_null(image.pixels);
}
END_TEST

/* APP1 holds XMP as well as EXIF, in any order. */
START_TEST(orientation_is_found_behind_xmp) {
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>";
    vit_image image = {0};
    bytes b = read_golden("formats/exif_orientation_6.jpg"), xmp_marker = {0};
    put_marker(&xmp_marker, 0xe1, xmp, sizeof xmp);
    insert(&b, 2, xmp_marker.data, xmp_marker.size);
    ck_vit_ok(decode(&b, &image));
    ck_assert_uint_eq(image.width, 64);
    ck_assert_uint_eq(image.height, 96);
    free(b.data);
    free(xmp_marker.data);
    vit_image_free(&image);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("jpeg");
    TCase *c = tcase_create("jpeg");
    tcase_add_test(c, a_hundred_scans_are_enough);
    tcase_add_test(c, missing_scans_are_refused);
    tcase_add_test(c, missing_components_are_refused);
    tcase_add_test(c, sizes_are_checked_first);
    tcase_add_test(c, what_libjpeg_cannot_do_is_unsupported);
    tcase_add_test(c, stray_bytes_between_segments_are_harmless);
    tcase_add_test(c, missing_blocks_are_an_error);
    tcase_add_test(c, orientation_is_found_behind_xmp);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
