/* Contact sheets: the PNG writer, the font, and that a sheet shows what training sees. */
#include "data/encode.h"
#include "data/image.h"
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "tools/font.h"
#include "tools/sheet.h"
#include "vit/rng.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static vit_image noise(size_t width, size_t height, uint64_t seed) {
    vit_image image = {0};
    ck_vit_ok(vit_image_reserve(&image, width, height, "noise"));
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < 3 * width * height; i++) {
        image.pixels[i] = (uint8_t)vit_rng_u32(&rng);
    }
    return image;
}

/* ---- PNG ---- */

START_TEST(what_is_written_reads_back) {
    static const size_t sizes[][2] = {{1, 1}, {3, 5}, {640, 1}, {1, 200}, {257, 129}};
    const vit_decode_options options = vit_decode_defaults();
    char path[1024];
    temp_path(path, folder, "x.png");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        vit_image image = noise(sizes[i][0], sizes[i][1], i), back = {0};
        vit_bytes bytes = {0}, encoded = {0};
        ck_vit_ok(vit_png_write(path, &image));
        ck_vit_ok(vit_image_load(path, &options, &bytes, &back));
        ck_assert_uint_eq(back.width, image.width);
        ck_assert_uint_eq(back.height, image.height);
        ck_assert_mem_eq(back.pixels, image.pixels, 3 * image.width * image.height);
        for (int again = 0; again < 2; again++) { /* the memory is used again */
            ck_vit_ok(vit_png_encode(&image, "noise", &encoded));
            ck_assert_uint_eq(encoded.size, bytes.size);
            ck_assert_mem_eq(encoded.data, bytes.data, bytes.size);
        }
        vit_bytes_free(&encoded);
        vit_bytes_free(&bytes);
        vit_image_free(&back);
        vit_image_free(&image);
    }
    ck_assert_uint_eq(count_entries(folder), 1);
}
END_TEST

START_TEST(a_failed_write_leaves_nothing) {
    char path[1024];
    vit_image image = noise(200, 200, 1), empty = {0};
    ck_assert_int_eq(vit_png_write(temp_path(path, folder, "no/x.png"), &image), VIT_ERROR_IO);
    ck_assert_int_eq(vit_png_write(temp_path(path, folder, "x.png"), &empty), VIT_ERROR_LIMIT);
    limit_files(10000);
    ck_vit_fails(vit_png_write(path, &image), VIT_ERROR_IO, path);
    ck_assert_uint_eq(count_entries(folder), 0);
    vit_image_free(&image);
}
END_TEST

/* ---- the font ---- */

static const uint8_t black[3] = {0, 0, 0};

static vit_image paper(size_t width, size_t height) {
    vit_image image = {0};
    ck_vit_ok(vit_image_reserve(&image, width, height, "paper"));
    memset(image.pixels, 255, 3 * width * height);
    return image;
}

static size_t ink(const vit_image *image) {
    size_t count = 0;
    for (size_t i = 0; i < image->width * image->height; i++) {
        count += image->pixels[3 * i] == 0;
    }
    return count;
}

static size_t ink_of(const char *text, size_t width) {
    vit_image image = paper(200, 10);
    font_draw(&image, 0, 0, width, 1, black, text);
    size_t count = ink(&image);
    vit_image_free(&image);
    return count;
}

START_TEST(every_character_has_its_own_shape) {
    vit_image seen[95];
    for (int c = ' '; c <= '~'; c++) {
        const char text[2] = {(char)c, 0};
        vit_image image = paper(FONT_WIDTH, FONT_HEIGHT);
        font_draw(&image, 0, 0, FONT_WIDTH, 1, black, text);
        ck_assert((ink(&image) == 0) == (c == ' '));
        for (size_t y = 0; y < FONT_HEIGHT; y++) { /* the gap to the next stays free */
            ck_assert_uint_eq(image.pixels[3 * (y * FONT_WIDTH + FONT_WIDTH - 1)], 255);
        }
        for (int d = 0; d < c - ' '; d++) {
            ck_assert_msg(memcmp(seen[d].pixels, image.pixels, 3 * FONT_WIDTH * FONT_HEIGHT) != 0,
                          "%c is drawn as %c", c, d + ' ');
        }
        seen[c - ' '] = image;
    }
    for (int c = 0; c < 95; c++) {
        vit_image_free(&seen[c]);
    }
}
END_TEST

START_TEST(text_is_cut_and_scaled) {
    ck_assert_uint_eq(ink_of("ab", 200), ink_of("a", 200) + ink_of("b", 200));
    /* Ten characters fit in 60 pixels, and in 59: the last one's gap may be missing. */
    ck_assert_uint_eq(ink_of("aaaaaaaaaa", 60), 10 * ink_of("a", 60));
    ck_assert_uint_eq(ink_of("aaaaaaaaaa", 59), 10 * ink_of("a", 60));
    ck_assert_uint_eq(ink_of("aaaaaaaaaa", 58), 7 * ink_of("a", 60) + 2 * ink_of(".", 60));
    ck_assert_uint_eq(ink_of("a", 3), 0);
    ck_assert_uint_eq(ink_of("\xc3\xa4\xff\x01\xe2\x82\xac", 200), 4 * ink_of("?", 60));
    vit_image image = paper(64, 64);
    font_draw(&image, 3, 5, 64, 3, black, "a");
    ck_assert_uint_eq(ink(&image), 9 * ink_of("a", 60));
    font_draw(&image, 60, 60, 64, 3, black, "W"); /* what lies outside is left out */
    font_draw(&image, 1000, 1000, 64, 3, black, "W");
    vit_image_free(&image);
}
END_TEST

/* ---- sheets ---- */

START_TEST(pictures_lie_in_their_places) {
    sheet s;
    ck_vit_ok(sheet_init(&s, 2, 3, 20, 10));
    ck_assert_uint_eq(s.zoom, 4); /* 96 / 20 */
    vit_image whole = noise(20, 10, 1), small = noise(2, 4, 2);
    size_t cell_w = 20 * 4 + 6, cell_h = 10 * 4 + 8 + 2 + 6;
    ck_assert_uint_eq(s.image.width, 2 * cell_w + 6);
    ck_assert_uint_eq(s.image.height, 3 * cell_h + 6);
    sheet_put(&s, 1, 2, &whole, "");
    sheet_put(&s, 0, 1, &small, "");
    size_t changed = 0;
    for (size_t i = 0; i < s.image.width * s.image.height; i++) {
        changed += memcmp(s.image.pixels + 3 * i, s.image.pixels, 3) != 0;
    }
    ck_assert_uint_eq(changed, 16 * (200 + 8));
    for (size_t y = 0; y < 40; y++) {
        for (size_t x = 0; x < 80; x++) {
            const uint8_t *at =
                s.image.pixels + 3 * ((6 + 2 * cell_h + y) * s.image.width + 6 + cell_w + x);
            ck_assert_mem_eq(at, whole.pixels + 3 * (y / 4 * 20 + x / 4), 3);
        }
    }
    const uint8_t *at = s.image.pixels + 3 * ((6 + cell_h + 12) * s.image.width + 6 + 36);
    ck_assert_mem_eq(at, small.pixels, 3); /* in the middle */
    vit_image_free(&whole);
    vit_image_free(&small);
    sheet_free(&s);
    ck_assert_int_eq(sheet_init(&s, (size_t)1 << 40, 3, 20, 10), VIT_ERROR_LIMIT);
    sheet_free(&s);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("preview");
    TCase *c = tcase_create("preview");
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, what_is_written_reads_back);
    tcase_add_test(c, a_failed_write_leaves_nothing);
    tcase_add_test(c, every_character_has_its_own_shape);
    tcase_add_test(c, text_is_cut_and_scaled);
    tcase_add_test(c, pictures_lie_in_their_places);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
