/* Resizing against Pillow's pixels and against a naive reference in double precision. */
#include "data/resize.h"
#include "support/support.h"
#include "vit/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    vit_image source, out;
    vit_resize_scratch scratch;
} fixture;

static void fixture_free(fixture *f) {
    vit_image_free(&f->source);
    vit_image_free(&f->out);
    vit_resize_scratch_free(&f->scratch);
}

static void fill_random(vit_image *image, size_t width, size_t height, uint64_t seed) {
    ck_vit_ok(vit_image_reserve(image, width, height, "test"));
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < width * height * 3; i++) {
        image->pixels[i] = (uint8_t)vit_rng_u32(&rng);
    }
}

/* ---- Pillow ---- */

static void load_decoded(const vit_safetensors *file, const char *who, vit_image *image) {
    char name[128];
    snprintf(name, sizeof name, "%s.decoded", who);
    const vit_tensor *t = vit_safetensors_find(file, name);
    ck_assert_ptr_nonnull(t);
    ck_vit_ok(vit_image_reserve(image, t->shape[1], t->shape[0], "test"));
    memcpy(image->pixels, t->data, t->count);
}

/* Fails unless the picture's first rows are the tensor. */
static void check_equal(const vit_safetensors *file, const char *who, const char *what,
                        const vit_image *image) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", who, what);
    const vit_tensor *t = vit_safetensors_find(file, name);
    ck_assert_msg(t != NULL, "no golden tensor %s", name);
    ck_assert_uint_eq(image->width, t->shape[1]);
    ck_assert_uint_ge(image->height, t->shape[0]);
    const uint8_t *e = t->data;
    size_t differ = 0;
    int most = 0;
    for (size_t i = 0; i < t->count; i++) {
        int d = abs(image->pixels[i] - e[i]);
        differ += d != 0;
        most = d > most ? d : most;
    }
    ck_assert_msg(differ == 0, "%s: %zu of %zu values differ, by up to %d", name, differ, t->count,
                  most);
}

static const char *const people[] = {"china", "flower"};
static const char *const filters[] = {"bicubic", "bilinear"};

START_TEST(resize_and_centre_crop_as_pillow) {
    vit_safetensors *file = golden_open("image_transforms.safetensors");
    fixture f = {0};
    load_decoded(file, people[_i], &f.source);
    vit_view view = vit_view_all(&f.source);
    for (int k = 0; k < 2; k++) {
        /* 401 x 301, short side to 73, the middle 64 x 64 */
        vit_window middle = {.x = 16, .y = 4, .width = 64, .height = 64};
        char name[64];
        snprintf(name, sizeof name, "resize73_crop64.%s", filters[k]);
        ck_vit_ok(vit_resize_view(&view, NULL, 97, 73, &middle, (vit_interpolation)k, &f.scratch,
                                  &f.out));
        check_equal(file, people[_i], name, &f.out);
    }
    fixture_free(&f);
    vit_safetensors_close(file);
}
END_TEST

START_TEST(upscaling_as_pillow) {
    vit_safetensors *file = golden_open("image_transforms.safetensors");
    fixture f = {0};
    load_decoded(file, people[_i], &f.source);
    for (int k = 0; k < 2; k++) {
        char name[64];
        snprintf(name, sizeof name, "upscale_700x500.%s.top8rows", filters[k]);
        ck_vit_ok(vit_resize(&f.source, NULL, 700, 500, (vit_interpolation)k, &f.scratch, &f.out));
        check_equal(file, people[_i], name, &f.out);
    }
    fixture_free(&f);
    vit_safetensors_close(file);
}
END_TEST

static size_t count_differences(const vit_image *a, const uint8_t *b) {
    size_t differ = 0;
    for (size_t i = 0; i < a->width * a->height * 3; i++) {
        differ += a->pixels[i] != b[i];
    }
    return differ;
}

/* Pillow's box= sees the pixels around the box; torchvision's crop-then-resize does not. */
START_TEST(box_as_pillow_and_not_as_a_crop) {
    vit_safetensors *file = golden_open("image_transforms.safetensors");
    fixture f = {0};
    load_decoded(file, people[_i], &f.source);
    vit_box box = {31, 22, 31 + 180, 22 + 140};
    ck_vit_ok(vit_resize(&f.source, &box, 64, 64, VIT_BICUBIC, &f.scratch, &f.out));
    check_equal(file, people[_i], "crop31_22_180x140_to_64.bicubic", &f.out);
    char name[64];
    snprintf(name, sizeof name, "%s.crop31_22_180x140_to_64.bicubic", people[_i]);
    vit_view view = vit_view_of(&f.source, 31, 22, 180, 140);
    ck_vit_ok(vit_resize_view(&view, NULL, 64, 64, NULL, VIT_BICUBIC, &f.scratch, &f.out));
    size_t differ = count_differences(&f.out, vit_safetensors_find(file, name)->data);
    ck_assert_uint_gt(differ, 0);
    ck_assert_uint_lt(differ, 64 * 64); /* the edges only */
    fixture_free(&f);
    vit_safetensors_close(file);
}
END_TEST

/* ---- the reference ---- */

static double filter_at(vit_interpolation interpolation, double x) {
    x = fabs(x);
    if (interpolation == VIT_BILINEAR) {
        return x < 1 ? 1 - x : 0;
    }
    const double a = -0.5;
    if (x < 1) {
        return (a + 2) * x * x * x - (a + 3) * x * x + 1;
    }
    return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

/* A value, and whether it could as well be one off: fixed-point weights are off by up to 2^-23
 * each, which decides when a sum is about a half. */
typedef struct sample {
    double value;
    bool doubtful;
} sample;

/* One axis of n samples a stride apart: every output weighs every input. */
static void reference_axis(size_t n, const sample *in, size_t stride, double begin, double end,
                           size_t size, vit_interpolation interpolation, sample *out,
                           size_t out_stride) {
    double scale = (end - begin) / (double)size, stretch = scale < 1 ? 1 : scale;
    for (size_t i = 0; i < size; i++) {
        double center = begin + ((double)i + 0.5) * scale, sum = 0, weights = 0, error = 0;
        bool doubtful = false;
        for (size_t x = 0; x < n; x++) {
            double w = filter_at(interpolation, ((double)x + 0.5 - center) / stretch);
            weights += w;
            sum += w * in[x * stride].value;
            error += fabs(w) > 1e-12 ? 255 * 0x1p-23 : 0;
            doubtful = doubtful || (fabs(w) > 1e-12 && in[x * stride].doubtful);
        }
        sum = sum / weights + 0.5;
        doubtful = doubtful || fabs(sum - rint(sum)) <= error;
        sum = floor(sum);
        out[i * out_stride] = (sample){sum < 0 ? 0 : sum > 255 ? 255 : sum, doubtful};
    }
}

/* (height,width,3) samples; malloc'ed. */
static sample *reference_resize(const vit_image *source, const vit_box *b, size_t width,
                                size_t height, vit_interpolation interpolation) {
    size_t W = source->width, H = source->height;
    sample *in = malloc(W * H * 3 * sizeof *in);
    sample *between = malloc(width * H * 3 * sizeof *between);
    sample *out = malloc(width * height * 3 * sizeof *out);
    ck_assert(in && between && out);
    for (size_t i = 0; i < W * H * 3; i++) {
        in[i] = (sample){source->pixels[i], false};
    }
    for (size_t c = 0; c < 3; c++) {
        for (size_t y = 0; y < H; y++) {
            reference_axis(W, in + y * W * 3 + c, 3, b->x0, b->x1, width, interpolation,
                           between + y * width * 3 + c, 3);
        }
        for (size_t x = 0; x < width; x++) {
            reference_axis(H, between + x * 3 + c, width * 3, b->y0, b->y1, height, interpolation,
                           out + x * 3 + c, width * 3);
        }
    }
    free(in);
    free(between);
    return out;
}

static void check_reference(const fixture *f, const sample *expected, const char *what) {
    size_t n = f->out.width * f->out.height * 3, doubtful = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(f->out.pixels[i] - expected[i].value);
        ck_assert_msg(d <= (expected[i].doubtful ? 1 : 0), "%s: value %zu is %d, expected %g", what,
                      i, f->out.pixels[i], expected[i].value);
        doubtful += expected[i].doubtful;
    }
    ck_assert_msg(doubtful <= n / 2, "%s: only %zu of %zu values are compared", what, n - doubtful,
                  n);
}

static const size_t sizes[][4] = {
    {1, 1, 1, 7},    {1, 1, 5, 3},    {1, 7, 7, 1},     {7, 1, 1, 1},     {2, 2, 3, 5},
    {5, 3, 5, 9},    {5, 3, 2, 3},    {17, 16, 16, 17}, {15, 31, 64, 8},  {33, 32, 7, 40},
    {100, 3, 9, 50}, {3, 100, 65, 9}, {64, 48, 22, 21}, {21, 22, 64, 48}, {130, 47, 43, 16},
};

START_TEST(agrees_with_the_reference) {
    const size_t *z = sizes[_i];
    fixture f = {0};
    fill_random(&f.source, z[0], z[1], 100 + (uint64_t)_i);
    vit_box boxes[] = {{0, 0, (double)z[0], (double)z[1]},
                       {0.25 * (double)z[0], 0, 0.9 * (double)z[0], (double)z[1]},
                       {0.3, 0.1, (double)z[0] - 0.2, (double)z[1] - 0.4}};
    for (int k = 0; k < 2; k++) {
        for (int b = 0; b < 3; b++) {
            char what[128];
            snprintf(what, sizeof what, "%zux%zu to %zux%zu, box %d, %s", z[0], z[1], z[2], z[3], b,
                     filters[k]);
            sample *expected =
                reference_resize(&f.source, &boxes[b], z[2], z[3], (vit_interpolation)k);
            ck_vit_ok(vit_resize(&f.source, b ? &boxes[b] : NULL, z[2], z[3], (vit_interpolation)k,
                                 &f.scratch, &f.out));
            ck_assert_uint_eq(f.out.width, z[2]);
            ck_assert_uint_eq(f.out.height, z[3]);
            check_reference(&f, expected, what);
            free(expected);
        }
    }
    fixture_free(&f);
}
END_TEST

START_TEST(a_constant_picture_stays_constant) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int value = 0; value < 256; value += 51) {
            fixture f = {0};
            ck_vit_ok(vit_image_reserve(&f.source, sizes[i][0], sizes[i][1], "test"));
            memset(f.source.pixels, value, sizes[i][0] * sizes[i][1] * 3);
            for (int k = 0; k < 2; k++) {
                ck_vit_ok(vit_resize(&f.source, NULL, sizes[i][2], sizes[i][3],
                                     (vit_interpolation)k, &f.scratch, &f.out));
                for (size_t j = 0; j < sizes[i][2] * sizes[i][3] * 3; j++) {
                    ck_assert_int_eq(f.out.pixels[j], value);
                }
            }
            fixture_free(&f);
        }
    }
}
END_TEST

START_TEST(the_same_size_is_a_copy) {
    fixture f = {0};
    fill_random(&f.source, 37, 21, 1);
    for (int k = 0; k < 2; k++) {
        ck_vit_ok(vit_resize(&f.source, NULL, 37, 21, (vit_interpolation)k, &f.scratch, &f.out));
        ck_assert_mem_eq(f.out.pixels, f.source.pixels, 37 * 21 * 3);
    }
    fixture_free(&f);
}
END_TEST

/* A window of the result is what cutting it out of the whole result gives, whichever passes run. */
START_TEST(a_window_is_a_cut) {
    static const size_t results[][2] = {{30, 20}, {37, 20}, {30, 53}, {37, 53}, {80, 90}};
    fixture f = {0};
    vit_image part = {0};
    fill_random(&f.source, 37, 53, 2);
    vit_view view = vit_view_all(&f.source);
    for (size_t i = 0; i < 5; i++) {
        size_t W = results[i][0], H = results[i][1];
        vit_window windows[] = {{0, 0, W, H}, {3, 5, 20, 11}, {W - 1, H - 1, 1, 1}, {0, 7, W, 1}};
        ck_vit_ok(vit_resize(&f.source, NULL, W, H, VIT_BICUBIC, &f.scratch, &f.out));
        for (size_t k = 0; k < 4; k++) {
            vit_window *w = &windows[k];
            ck_vit_ok(vit_resize_view(&view, NULL, W, H, w, VIT_BICUBIC, &f.scratch, &part));
            ck_assert_uint_eq(part.width, w->width);
            ck_assert_uint_eq(part.height, w->height);
            for (size_t y = 0; y < w->height; y++) {
                ck_assert_msg(memcmp(part.pixels + y * w->width * 3,
                                     f.out.pixels + ((w->y + y) * W + w->x) * 3, w->width * 3) == 0,
                              "result %zu, window %zu, row %zu", i, k, y);
            }
        }
    }
    vit_image_free(&part);
    fixture_free(&f);
}
END_TEST

/* A view gives what a copy of its rectangle gives: nothing outside is seen. */
START_TEST(a_view_is_a_crop) {
    fixture f = {0};
    vit_image copy = {0}, expected = {0};
    fill_random(&f.source, 61, 47, 3);
    ck_vit_ok(vit_image_reserve(&copy, 29, 31, "test"));
    for (size_t y = 0; y < 31; y++) {
        memcpy(copy.pixels + y * 29 * 3, f.source.pixels + ((9 + y) * 61 + 17) * 3, 29 * 3);
    }
    vit_view view = vit_view_of(&f.source, 17, 9, 29, 31);
    static const size_t results[][2] = {{8, 8}, {29, 8}, {8, 31}, {29, 31}, {64, 64}};
    for (size_t i = 0; i < 5; i++) {
        size_t W = results[i][0], H = results[i][1];
        ck_vit_ok(vit_resize(&copy, NULL, W, H, VIT_BICUBIC, &f.scratch, &expected));
        ck_vit_ok(vit_resize_view(&view, NULL, W, H, NULL, VIT_BICUBIC, &f.scratch, &f.out));
        ck_assert_mem_eq(f.out.pixels, expected.pixels, W * H * 3);
    }
    vit_image_free(&copy);
    vit_image_free(&expected);
    fixture_free(&f);
}
END_TEST

START_TEST(wrong_arguments_are_refused) {
    fixture f = {0};
    fill_random(&f.source, 8, 6, 4);
    vit_view view = vit_view_all(&f.source), empty = view;
    empty.width = 0;
    vit_box boxes[] = {{-1, 0, 8, 6}, {0, 0, 8.5, 6}, {0, 0, 8, 7},
                       {4, 0, 4, 6},  {5, 0, 4, 6},   {0, NAN, 8, 6}};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        ck_vit_fails(vit_resize(&f.source, &boxes[i], 4, 4, VIT_BICUBIC, &f.scratch, &f.out),
                     VIT_ERROR_ARGUMENT, "box");
    }
    vit_window windows[] = {{0, 0, 0, 4}, {0, 0, 5, 4}, {3, 0, 2, 4}, {0, 4, 4, 1}, {9, 0, 1, 1}};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        ck_vit_fails(
            vit_resize_view(&view, NULL, 4, 4, &windows[i], VIT_BICUBIC, &f.scratch, &f.out),
            VIT_ERROR_ARGUMENT, "window");
    }
    ck_assert_int_eq(vit_resize(&f.source, NULL, 0, 4, VIT_BICUBIC, &f.scratch, &f.out),
                     VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_resize_view(&empty, NULL, 4, 4, NULL, VIT_BICUBIC, &f.scratch, &f.out),
                     VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_resize(&f.source, NULL, SIZE_MAX / 2, 4, VIT_BICUBIC, &f.scratch, &f.out),
                     VIT_ERROR_LIMIT);
    fixture_free(&f);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("resize");
    TCase *c = tcase_create("resize");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, resize_and_centre_crop_as_pillow, 0, 2);
    tcase_add_loop_test(c, upscaling_as_pillow, 0, 2);
    tcase_add_loop_test(c, box_as_pillow_and_not_as_a_crop, 0, 2);
    tcase_add_loop_test(c, agrees_with_the_reference, 0, (int)(sizeof sizes / sizeof *sizes));
    tcase_add_test(c, a_constant_picture_stays_constant);
    tcase_add_test(c, the_same_size_is_a_copy);
    tcase_add_test(c, a_window_is_a_cut);
    tcase_add_test(c, a_view_is_a_crop);
    tcase_add_test(c, wrong_arguments_are_refused);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
