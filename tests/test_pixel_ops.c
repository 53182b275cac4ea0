/* RandAugment's operations against Pillow's pixels. */
#include "data/pixel_ops.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEIGHT = 40, WIDTH = 48, BYTES = HEIGHT * WIDTH * 3 };
static const uint8_t fill[3] = {124, 116, 104};

static uint8_t *golden_pixels(const char *name) {
    vit_safetensors *file = golden_open("pillow_ops.safetensors");
    const vit_tensor *tensor = vit_safetensors_find(file, name);
    ck_assert_msg(tensor && tensor->dtype == VIT_U8 && tensor->count == BYTES, "golden %s", name);
    uint8_t *pixels = malloc(BYTES);
    memcpy(pixels, tensor->data, BYTES);
    vit_safetensors_close(file);
    return pixels;
}

static vit_image golden_input(void) {
    vit_image image = {0};
    ck_vit_ok(vit_image_reserve(&image, WIDTH, HEIGHT, "test"));
    uint8_t *pixels = golden_pixels("input");
    memcpy(image.pixels, pixels, BYTES);
    free(pixels);
    return image;
}

/* Share of values that differ from the golden ones by more than `levels`. */
static double share_off(const vit_image *image, const char *name, int levels) {
    ck_assert_uint_eq(image->width, WIDTH);
    ck_assert_uint_eq(image->height, HEIGHT);
    uint8_t *expected = golden_pixels(name);
    size_t off = 0;
    for (size_t i = 0; i < BYTES; i++) {
        off += abs((int)image->pixels[i] - (int)expected[i]) > levels;
    }
    free(expected);
    return (double)off / BYTES;
}

START_TEST(operations_in_place_equal_pillow) {
    static const char *const names[] = {"autocontrast", "equalize",     "invert",
                                        "posterize_4",  "solarize_100", "solarize_add_40",
                                        "color_1.6",    "contrast_0.5", "brightness_1.4"};
    vit_image image = golden_input();
    switch (_i) {
    case 0:
        vit_op_autocontrast(&image);
        break;
    case 1:
        vit_op_equalize(&image);
        break;
    case 2:
        vit_op_invert(&image);
        break;
    case 3:
        vit_op_posterize(&image, 4);
        break;
    case 4:
        vit_op_solarize(&image, 100);
        break;
    case 5:
        vit_op_solarize_add(&image, 40);
        break;
    case 6:
        vit_op_color(&image, 1.6);
        break;
    case 7:
        vit_op_contrast(&image, 0.5);
        break;
    default:
        vit_op_brightness(&image, 1.4);
    }
    ck_assert_msg(share_off(&image, names[_i], 0) == 0, "%s differs", names[_i]);
    vit_image_free(&image);
}
END_TEST

START_TEST(sharpness_equals_pillow) {
    vit_image image = golden_input(), out = {0};
    ck_vit_ok(vit_op_sharpness(&image, 1.7, &out));
    /* Within a level: the smoothed value is a sum of floats whose order is the compiler's in
     * Pillow. */
    ck_assert(share_off(&out, "sharpness_1.7", 1) == 0);
    vit_image_free(&image);
    vit_image_free(&out);
}
END_TEST

START_TEST(affine_transforms_equal_pillow) {
    static const char *const names[] = {"rotate_17_bilinear", "shear_x_0.3_bilinear",
                                        "translate_x_7_bilinear"};
    vit_image image = golden_input(), out = {0};
    vit_affine matrices[] = {vit_affine_rotate(17, WIDTH, HEIGHT), vit_affine_shear_x(0.3),
                             vit_affine_translate(7, 0)};
    ck_vit_ok(vit_op_affine(&image, &matrices[_i], VIT_BILINEAR, fill, &out));
    ck_assert_msg(share_off(&out, names[_i], 1) == 0, "%s: %g", names[_i],
                  share_off(&out, names[_i], 1));
    vit_image_free(&image);
    vit_image_free(&out);
}
END_TEST

START_TEST(affine_identity_and_symmetry) {
    vit_image image = golden_input(), out = {0}, back = {0};
    for (int interpolation = 0; interpolation < 2; interpolation++) {
        vit_affine identity = vit_affine_translate(0, 0);
        ck_vit_ok(vit_op_affine(&image, &identity, (vit_interpolation)interpolation, fill, &out));
        ck_assert_mem_eq(out.pixels, image.pixels, BYTES);
        /* A whole number of pixels there and back: only the strip that left is filled. */
        vit_affine there = vit_affine_translate(0, 5), home = vit_affine_translate(0, -5);
        ck_vit_ok(vit_op_affine(&image, &there, (vit_interpolation)interpolation, fill, &out));
        ck_vit_ok(vit_op_affine(&out, &home, (vit_interpolation)interpolation, fill, &back));
        ck_assert_mem_eq(back.pixels + 5 * WIDTH * 3, image.pixels + 5 * WIDTH * 3,
                         BYTES - 5 * WIDTH * 3);
        ck_assert_mem_eq(back.pixels, fill, 3);
    }
    vit_image_free(&image);
    vit_image_free(&out);
    vit_image_free(&back);
}
END_TEST

/* The weight of a sample at distance t: Keys 1981, a = -1. */
static double keys(double t) {
    t = fabs(t);
    return t < 1 ? (t - 2) * t * t + 1 : t < 2 ? ((-t + 5) * t - 8) * t + 4 : 0;
}

START_TEST(bicubic_is_keys_kernel) {
    vit_image image = golden_input(), out = {0};
    static const double shifts[][2] = {{0.3, 0.7}, {-3.25, 2.5}, {5.9, -4.1}};
    double right = shifts[_i][0], down = shifts[_i][1];
    vit_affine moved = vit_affine_translate(right, down);
    ck_vit_ok(vit_op_affine(&image, &moved, VIT_BICUBIC, fill, &out));
    size_t inside = 0;
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
            double x = column + right, y = row + down; /* of a pixel's centre, from the first's */
            if (x < -0.5 || x >= WIDTH - 0.5 || y < -0.5 || y >= HEIGHT - 0.5) {
                ck_assert_mem_eq(out.pixels + (row * WIDTH + column) * 3, fill, 3);
                continue;
            }
            inside++;
            for (int c = 0; c < 3; c++) {
                double sum = 0;
                for (int i = (int)floor(y) - 1; i <= (int)floor(y) + 2; i++) {
                    for (int j = (int)floor(x) - 1; j <= (int)floor(x) + 2; j++) {
                        int k = i < 0 ? 0 : i >= HEIGHT ? HEIGHT - 1 : i;
                        int l = j < 0 ? 0 : j >= WIDTH ? WIDTH - 1 : j;
                        sum += keys(y - i) * keys(x - j) * image.pixels[(k * WIDTH + l) * 3 + c];
                    }
                }
                /* Cut off, as Pillow does, not rounded: a sum that is whole may be either. */
                double expected = sum < 0 ? 0 : sum > 255 ? 255 : sum;
                double got = out.pixels[(row * WIDTH + column) * 3 + c];
                ck_assert_msg(got <= expected + 1e-9 && got > expected - 1 - 1e-9,
                              "row %d, column %d: %g, expected %g", row, column, got, expected);
            }
        }
    }
    ck_assert_uint_gt(inside, BYTES / 3 / 2);
    vit_image_free(&image);
    vit_image_free(&out);
}
END_TEST

START_TEST(the_border_is_inside) {
    /* Half a pixel to the side, the first column's place is the picture's very edge: not fill. */
    for (int interpolation = 0; interpolation < 2; interpolation++) {
        vit_image image = golden_input(), out = {0};
        vit_affine aside = vit_affine_translate(-0.5, 0), up = vit_affine_translate(0, -0.5);
        ck_vit_ok(vit_op_affine(&image, &aside, (vit_interpolation)interpolation, fill, &out));
        for (size_t row = 0; interpolation == VIT_BILINEAR && row < HEIGHT; row++) {
            ck_assert_mem_eq(out.pixels + row * WIDTH * 3, image.pixels + row * WIDTH * 3, 3);
        }
        ck_assert_mem_ne(out.pixels, fill, 3);
        ck_vit_ok(vit_op_affine(&image, &up, (vit_interpolation)interpolation, fill, &out));
        if (interpolation == VIT_BILINEAR) {
            ck_assert_mem_eq(out.pixels, image.pixels, (size_t)WIDTH * 3);
        }
        ck_assert_mem_ne(out.pixels, fill, 3);
        vit_image_free(&image);
        vit_image_free(&out);
    }
}
END_TEST

START_TEST(the_brightest_value_has_its_place_in_tables) {
    vit_image image = {0};
    ck_vit_ok(vit_image_reserve(&image, 3, 1, "test"));
    static const uint8_t values[9] = {105, 255, 255, 255, 105, 255, 180, 180, 105};
    memcpy(image.pixels, values, sizeof values);
    vit_op_autocontrast(&image); /* (v - 105) * 255 / 150; of the third channel alone 180 is less */
    static const uint8_t stretched[9] = {0, 255, 255, 255, 0, 255, 127, 127, 0};
    ck_assert_mem_eq(image.pixels, stretched, sizeof stretched);
    vit_op_posterize(&image, 3);
    static const uint8_t posterized[9] = {0, 224, 224, 224, 0, 224, 96, 96, 0};
    ck_assert_mem_eq(image.pixels, posterized, sizeof posterized);
    vit_image_free(&image);
}
END_TEST

START_TEST(no_radius_no_blur) {
    vit_image image = golden_input(), scratch = {0};
    uint8_t *before = golden_pixels("input");
    ck_vit_ok(vit_op_gaussian_blur(&image, _i ? 0.0 : -1.0, &scratch));
    ck_assert_mem_eq(image.pixels, before, BYTES);
    free(before);
    vit_image_free(&image);
    vit_image_free(&scratch);
}
END_TEST

START_TEST(blur_keeps_the_mean_and_has_the_width_asked_for) {
    /* A bright column spreads to the variance radius^2. At 1.45 the box has just become one pixel
     * wider on each side. */
    static const double radii[] = {0.5, 1, 1.45, 1.5, 2, 2.5};
    double radius = radii[_i];
    vit_image image = {0}, scratch = {0};
    ck_vit_ok(vit_image_reserve(&image, 41, 5, "test"));
    memset(image.pixels, 0, 41 * 5 * 3);
    for (size_t y = 0; y < 5; y++) {
        memset(image.pixels + (y * 41 + 20) * 3, 255, 3);
    }
    ck_vit_ok(vit_op_gaussian_blur(&image, radius, &scratch));
    double sum = 0, square = 0;
    for (int x = 0; x < 41; x++) {
        double value = image.pixels[(2 * 41 + x) * 3 + 1];
        sum += value;
        square += value * (x - 20) * (x - 20);
    }
    ck_assert_double_le(fabs(sum - 255), 12);
    ck_assert_double_le(fabs(square / sum - radius * radius), 0.12 * radius * radius + 0.1);
    vit_image_free(&image);
    vit_image_free(&scratch);
}
END_TEST

START_TEST(tiny_and_flat_pictures_are_fine) {
    for (size_t width = 1; width <= 3; width++) {
        for (size_t height = 1; height <= 3; height++) {
            vit_image image = {0}, out = {0};
            ck_vit_ok(vit_image_reserve(&image, width, height, "test"));
            memset(image.pixels, 77, width * height * 3);
            vit_op_autocontrast(&image);
            vit_op_equalize(&image);
            vit_op_contrast(&image, 0.3);
            vit_op_color(&image, 1.7);
            for (size_t i = 0; i < width * height * 3; i++) {
                ck_assert_uint_eq(image.pixels[i], 77); /* flat stays flat */
            }
            ck_vit_ok(vit_op_sharpness(&image, 2, &out));
            ck_assert_mem_eq(out.pixels, image.pixels, width * height * 3);
            ck_vit_ok(vit_op_gaussian_blur(&image, 2, &out));
            ck_assert_uint_eq(image.pixels[0], 77);
            vit_affine turn = vit_affine_rotate(30, width, height);
            ck_vit_ok(vit_op_affine(&image, &turn, VIT_BICUBIC, fill, &out));
            vit_image_free(&image);
            vit_image_free(&out);
        }
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("pixel_ops");
    TCase *t = tcase_create("pixel_ops");
    tcase_add_loop_test(t, operations_in_place_equal_pillow, 0, 9);
    tcase_add_test(t, sharpness_equals_pillow);
    tcase_add_loop_test(t, affine_transforms_equal_pillow, 0, 3);
    tcase_add_test(t, affine_identity_and_symmetry);
    tcase_add_loop_test(t, bicubic_is_keys_kernel, 0, 3);
    tcase_add_test(t, the_border_is_inside);
    tcase_add_test(t, the_brightest_value_has_its_place_in_tables);
    tcase_add_loop_test(t, no_radius_no_blur, 0, 2);
    tcase_add_loop_test(t, blur_keeps_the_mean_and_has_the_width_asked_for, 0, 6);
    tcase_add_test(t, tiny_and_flat_pictures_are_fine);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
