/* The canvas: what is drawn is where it was put, in both formats, and bad text does no harm. */
#include "eval/canvas.h"
#include "support/pictures.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A PNG canvas drawn by `draw`, decoded; transparent parts come out white. */
static vit_image drawn(double width, double height, double scale, void (*draw)(vit_canvas *)) {
    vit_canvas *canvas = NULL;
    vit_bytes bytes = {0};
    vit_image image = {0};
    const vit_decode_options options = vit_decode_defaults();
    ck_vit_ok(vit_canvas_create(VIT_CANVAS_PNG, width, height, scale, &canvas));
    draw(canvas);
    ck_vit_ok(vit_canvas_finish(canvas, &bytes));
    ck_vit_ok(vit_image_decode(bytes.data, bytes.size, "canvas", &options, &image));
    vit_bytes_free(&bytes);
    vit_canvas_free(canvas);
    return image;
}

static unsigned pixel(const vit_image *image, size_t x, size_t y) {
    const uint8_t *p = image->pixels + (y * image->width + x) * 3;
    return (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
}

static void draw_shapes(vit_canvas *canvas) {
    vit_canvas_fill(canvas, vit_color_hex(0x102030));
    vit_canvas_rect(canvas, 2, 3, 4, 5, vit_color_hex(0xff0000));
    vit_canvas_frame(canvas, 10, 10, 8, 8, 1, vit_color_hex(0x00ff00));
    vit_canvas_line(canvas, 0, 25.5, 30, 25.5, 1, vit_color_hex(0x0000ff));
    vit_canvas_disc(canvas, 25, 5, 3, vit_color_hex(0xffff00));
}

START_TEST(shapes_are_where_they_were_put) {
    vit_image image = drawn(30, 40, 1, draw_shapes);
    ck_assert_uint_eq(image.width, 30);
    ck_assert_uint_eq(image.height, 40);
    ck_assert_uint_eq(pixel(&image, 0, 0), 0x102030);
    ck_assert_uint_eq(pixel(&image, 2, 3), 0xff0000);
    ck_assert_uint_eq(pixel(&image, 5, 7), 0xff0000);
    ck_assert_uint_eq(pixel(&image, 6, 7), 0x102030);
    ck_assert_uint_eq(pixel(&image, 5, 8), 0x102030);
    ck_assert_uint_eq(pixel(&image, 10, 10), 0x00ff00);
    ck_assert_uint_eq(pixel(&image, 17, 17), 0x00ff00);
    ck_assert_uint_eq(pixel(&image, 11, 11), 0x102030);
    ck_assert_uint_eq(pixel(&image, 29, 25), 0x0000ff);
    ck_assert_uint_eq(pixel(&image, 29, 26), 0x102030);
    ck_assert_uint_eq(pixel(&image, 25, 5), 0xffff00);
    vit_image_free(&image);
}
END_TEST

START_TEST(scale_makes_more_pixels_of_the_same_drawing) {
    vit_image image = drawn(30, 40, 2, draw_shapes);
    ck_assert_uint_eq(image.width, 60);
    ck_assert_uint_eq(image.height, 80);
    ck_assert_uint_eq(pixel(&image, 4, 6), 0xff0000);
    ck_assert_uint_eq(pixel(&image, 11, 15), 0xff0000);
    ck_assert_uint_eq(pixel(&image, 12, 15), 0x102030);
    vit_image_free(&image);
}
END_TEST

static void draw_broken_line(vit_canvas *canvas) {
    const double points[] = {0, 5.5, 8, 5.5, NAN, 5.5, 12, 5.5, 20, 5.5};
    vit_canvas_fill(canvas, vit_color_hex(0xffffff));
    vit_canvas_polyline(canvas, points, 5, 1, vit_color_hex(0x000000));
}

START_TEST(a_missing_point_breaks_the_line) {
    vit_image image = drawn(20, 10, 1, draw_broken_line);
    ck_assert_uint_eq(pixel(&image, 4, 5), 0x000000);
    ck_assert_uint_eq(pixel(&image, 10, 5), 0xffffff);
    ck_assert_uint_eq(pixel(&image, 15, 5), 0x000000);
    vit_image_free(&image);
}
END_TEST

static void draw_picture_twice_as_large(vit_canvas *canvas) {
    uint8_t pixels[] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
    const vit_image image = {.width = 2, .height = 2, .pixels = pixels};
    vit_canvas_image(canvas, 1, 1, 4, 4, &image, false);
}

START_TEST(a_picture_keeps_its_colours_and_its_edges) {
    vit_image image = drawn(6, 6, 1, draw_picture_twice_as_large);
    ck_assert_uint_eq(pixel(&image, 0, 0), 0xffffff);
    ck_assert_uint_eq(pixel(&image, 1, 1), 0xff0000);
    ck_assert_uint_eq(pixel(&image, 2, 2), 0xff0000);
    ck_assert_uint_eq(pixel(&image, 3, 1), 0x00ff00);
    ck_assert_uint_eq(pixel(&image, 1, 4), 0x0000ff);
    ck_assert_uint_eq(pixel(&image, 4, 4), 0x0a141e);
    ck_assert_uint_eq(pixel(&image, 5, 5), 0xffffff);
    vit_image_free(&image);
}
END_TEST

static size_t count_ink(const vit_image *image, size_t x0, size_t x1) {
    size_t ink = 0;
    for (size_t y = 0; y < image->height; y++) {
        for (size_t x = x0; x < x1; x++) {
            ink += pixel(image, x, y) != 0xffffff;
        }
    }
    return ink;
}

static void draw_right_aligned(vit_canvas *canvas) {
    const vit_text_style style = {
        .size = 14, .align = VIT_ALIGN_RIGHT, .color = vit_color_hex(0x000000)};
    vit_canvas_text(canvas, 50, 15, &style, "ab");
}

START_TEST(text_ends_where_it_is_aligned_to) {
    vit_image image = drawn(100, 20, 1, draw_right_aligned);
    ck_assert_uint_gt(count_ink(&image, 20, 51), 20);
    ck_assert_uint_eq(count_ink(&image, 52, 100), 0);
    vit_image_free(&image);
}
END_TEST

static void draw_bad_text(vit_canvas *canvas) {
    const vit_text_style style = {.size = 10, .color = vit_color_hex(0x000000)};
    vit_canvas_text(canvas, 5, 15, &style, "\xff\xc3\x28 \x01\x1b[31m <b>&\"");
    vit_canvas_text(canvas, 5, 15, &style, "");
    ck_assert_double_gt(vit_canvas_text_width(canvas, &style, "\xed\xa0\x80"), 0);
}

START_TEST(text_that_is_no_utf8_is_drawn_all_the_same) {
    vit_image image = drawn(200, 20, 1, draw_bad_text);
    ck_assert_uint_gt(count_ink(&image, 0, 200), 20);
    vit_image_free(&image);
}
END_TEST

START_TEST(an_svg_is_a_whole_document) {
    vit_canvas *canvas = NULL;
    vit_bytes bytes = {0};
    ck_vit_ok(vit_canvas_create(VIT_CANVAS_SVG, 120, 50, 1, &canvas));
    draw_shapes(canvas);
    draw_bad_text(canvas);
    ck_vit_ok(vit_canvas_finish(canvas, &bytes));
    ck_assert_ptr_nonnull(memmem(bytes.data, bytes.size, "<svg", 4));
    ck_assert_ptr_nonnull(memmem(bytes.data, bytes.size, "</svg>", 6));
    ck_assert_ptr_nonnull(memmem(bytes.data, bytes.size, "120px", 5));
    /* Text is outlines, so nothing of it can be markup. */
    ck_assert_ptr_null(memmem(bytes.data, bytes.size, "<b>", 3));
    vit_bytes_free(&bytes);
    vit_canvas_free(canvas);
}
END_TEST

START_TEST(a_canvas_is_freed_unfinished) {
    vit_canvas *canvas = NULL;
    ck_vit_ok(vit_canvas_create(VIT_CANVAS_SVG, 10, 10, 1, &canvas));
    draw_shapes(canvas);
    vit_canvas_free(canvas);
    vit_canvas_free(NULL);
}
END_TEST

START_TEST(sizes_that_cannot_be_are_refused) {
    vit_canvas *canvas = NULL;
    const double sizes[][3] = {{0, 5, 1}, {5, 40000, 1}, {20000, 5, 2}, {NAN, 5, 1}, {5, 5, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        vit_status status =
            vit_canvas_create(VIT_CANVAS_PNG, sizes[i][0], sizes[i][1], sizes[i][2], &canvas);
        ck_assert_int_eq(status, VIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(canvas);
    }
}
END_TEST

START_TEST(without_cairo_the_message_says_how_to_have_it) {
    vit_canvas *canvas = NULL;
    ck_vit_fails(vit_canvas_create(VIT_CANVAS_PNG, 5, 5, 1, &canvas), VIT_ERROR_UNSUPPORTED,
                 "libcairo2-dev");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("canvas");
    TCase *cases = tcase_create("canvas");
    if (vit_canvas_available()) {
        tcase_add_test(cases, shapes_are_where_they_were_put);
        tcase_add_test(cases, scale_makes_more_pixels_of_the_same_drawing);
        tcase_add_test(cases, a_missing_point_breaks_the_line);
        tcase_add_test(cases, a_picture_keeps_its_colours_and_its_edges);
        tcase_add_test(cases, text_ends_where_it_is_aligned_to);
        tcase_add_test(cases, text_that_is_no_utf8_is_drawn_all_the_same);
        tcase_add_test(cases, an_svg_is_a_whole_document);
        tcase_add_test(cases, a_canvas_is_freed_unfinished);
        tcase_add_test(cases, sizes_that_cannot_be_are_refused);
    } else {
        tcase_add_test(cases, without_cairo_the_message_says_how_to_have_it);
    }
    suite_add_tcase(suite, cases);
    return test_run(suite);
}
