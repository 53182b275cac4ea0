/* The way from a picture to the network's input, against torchvision's geometry and pixels. */
#include "data/transform.h"
#include "support/support.h"
#include "vit/rng.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const vit_preprocess imagenet = {.interpolation = VIT_BICUBIC,
                                        .crop_pct = 0.875,
                                        .mean = {0.485, 0.456, 0.406},
                                        .std = {0.229, 0.224, 0.225}};

/* Crop and flips only. */
static vit_augment plain_augment(void) {
    vit_augment augment;
    vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &augment};
    ck_vit_ok(vit_options_defaults(&group));
    augment.color_jitter = 0;
    augment.train_interpolation = VIT_BICUBIC;
    return augment;
}

static void fill_random(vit_image *image, size_t width, size_t height, uint64_t seed) {
    ck_vit_ok(vit_image_reserve(image, width, height, "test"));
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < width * height * 3; i++) {
        image->pixels[i] = (uint8_t)vit_rng_u32(&rng);
    }
}

static float *planes_new(size_t height, size_t width) {
    float *out = malloc(3 * height * width * sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (size_t i = 0; i < 3 * height * width; i++) {
        out[i] = NAN; /* whatever is not written shows */
    }
    return out;
}

/* As torch: (x / 255 - mean) / std, each step rounded to float. */
static float normalized(const vit_preprocess *p, uint8_t value, size_t c) {
    volatile float x = (float)value / 255.0f;
    x = x - (float)p->mean[c];
    return x / (float)p->std[c];
}

/* Fails unless out is pixels (height,width,3), normalised. */
static void check_planes(const char *what, const vit_preprocess *p, const uint8_t *pixels,
                         size_t height, size_t width, const float *out) {
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < height * width; i++) {
            float expected = normalized(p, pixels[3 * i + c], c);
            if (out[c * height * width + i] == expected) {
                continue; /* an assertion that passes costs a write to a file */
            }
            ck_abort_msg("%s: channel %zu, pixel (%zu, %zu) is %.9g, expected %.9g", what, c,
                         i % width, i / width, out[c * height * width + i], expected);
        }
    }
}

/* ---- evaluation ---- */

START_TEST(eval_gives_torchvisions_pixels) {
    vit_safetensors *file = golden_open("image_transforms.safetensors");
    static const char *const people[] = {"china", "flower"};
    static const char *const filters[] = {"bicubic", "bilinear"};
    vit_image image = {0};
    vit_transform_scratch scratch = {0};
    for (int i = 0; i < 4; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s.decoded", people[i / 2]);
        const vit_tensor *t = vit_safetensors_find(file, name);
        ck_assert_ptr_nonnull(t);
        ck_vit_ok(vit_image_reserve(&image, t->shape[1], t->shape[0], "test"));
        memcpy(image.pixels, t->data, t->count);
        snprintf(name, sizeof name, "%s.resize73_crop64.%s", people[i / 2], filters[i % 2]);
        t = vit_safetensors_find(file, name);
        ck_assert_ptr_nonnull(t);
        vit_preprocess p = imagenet;
        p.interpolation = i % 2;
        float *out = planes_new(64, 64);
        ck_vit_ok(vit_transform_eval(&p, 64, 64, &image, &scratch, out));
        check_planes(name, &p, t->data, 64, 64, out);
        free(out);
    }
    vit_image_free(&image);
    vit_transform_scratch_free(&scratch);
    vit_safetensors_close(file);
}
END_TEST

/* Computed with torchvision's and timm's formulas in Python: width and height of the picture, of
 * the model, crop_pct; then the size it is scaled to, where the crop begins in it, and where it
 * lands in the result. */
static const struct geometry {
    size_t W, H, h, w;
    double crop_pct;
    size_t scaled_h, scaled_w, y, x, top, left;
} geometries[] = {
    {401, 301, 64, 64, 0.875, 73, 97, 4, 16, 0, 0},
    {301, 401, 64, 64, 0.875, 97, 73, 16, 4, 0, 0},
    {97, 50, 32, 32, 1, 32, 62, 0, 15, 0, 0},
    {100, 100, 32, 32, 0.95, 33, 33, 0, 0, 0, 0}, /* half a pixel rounds down, */
    {35, 32, 32, 32, 1, 32, 35, 0, 2, 0, 0},      /* one and a half up, */
    {37, 32, 32, 32, 1, 32, 37, 0, 2, 0, 0},      /* two and a half down */
    {39, 32, 32, 32, 1, 32, 39, 0, 4, 0, 0},
    {1, 9, 8, 8, 0.9, 72, 8, 32, 0, 0, 0},
    {500, 375, 224, 224, 0.9, 248, 330, 12, 53, 0, 0},
    {401, 301, 48, 96, 0.9, 80, 106, 16, 5, 0, 0}, /* not square */
    {301, 401, 48, 96, 0.9, 141, 106, 46, 5, 0, 0},
    {200, 100, 32, 64, 0.875, 36, 73, 2, 4, 0, 0},
    {64, 64, 20, 37, 1, 37, 37, 8, 0, 0, 0},
    {2000, 3, 16, 16, 0.875, 18, 12000, 1, 5992, 0, 0},
    {50, 41, 32, 32, 1.5, 21, 25, 0, 0, 5, 3}, /* smaller than the crop: padded */
    {300, 20, 32, 32, 2, 16, 240, 0, 104, 8, 0},
};

START_TEST(eval_has_torchvisions_geometry) {
    const struct geometry *g = &geometries[_i];
    vit_image image = {0}, scaled = {0};
    vit_transform_scratch scratch = {0};
    vit_resize_scratch resize = {0};
    vit_preprocess p = imagenet;
    p.crop_pct = g->crop_pct;
    fill_random(&image, g->W, g->H, 7);
    float *out = planes_new(g->h, g->w);
    ck_vit_ok(vit_transform_eval(&p, g->h, g->w, &image, &scratch, out));

    ck_vit_ok(vit_resize(&image, NULL, g->scaled_w, g->scaled_h, VIT_BICUBIC, &resize, &scaled));
    uint8_t *expected = calloc(g->h * g->w, 3); /* black where the picture does not reach */
    for (size_t y = g->top; y < g->h && y - g->top + g->y < g->scaled_h; y++) {
        for (size_t x = g->left; x < g->w && x - g->left + g->x < g->scaled_w; x++) {
            size_t from = (y - g->top + g->y) * g->scaled_w + x - g->left + g->x;
            memcpy(expected + (y * g->w + x) * 3, scaled.pixels + from * 3, 3);
        }
    }
    check_planes("geometry", &p, expected, g->h, g->w, out);
    free(expected);
    free(out);
    vit_image_free(&image);
    vit_image_free(&scaled);
    vit_resize_scratch_free(&resize);
    vit_transform_scratch_free(&scratch);
}
END_TEST

/* ---- the random crop ---- */

enum { DRAWS = 3000 };

START_TEST(crops_keep_their_ranges) {
    static const size_t sizes[][2] = {{500, 375}, {375, 500}, {64, 64}, {7, 5}, {1, 1}, {1, 40}};
    vit_augment augment = plain_augment();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t W = sizes[s][0], H = sizes[s][1];
        for (uint64_t i = 0; i < DRAWS; i++) {
            vit_sample_key key = {3, 1, i};
            vit_window c = vit_random_crop(&augment, H, W, &key);
            ck_assert(c.width >= 1 && c.height >= 1);
            ck_assert(c.x + c.width <= W && c.y + c.height <= H);
            if (W < 64) {
                continue; /* rounding to whole pixels leaves the ranges */
            }
            double ratio = (double)c.width / (double)c.height;
            double share = (double)(c.width * c.height) / (double)(W * H);
            double slack = 1.0 / (double)(c.width < c.height ? c.width : c.height);
            ck_assert_msg(ratio > 0.75 * (1 - slack) && ratio < 4.0 / 3 * (1 + slack), "ratio %g",
                          ratio);
            ck_assert_msg(share > 0.08 * (1 - slack) && share < 1 + 1e-9, "share %g", share);
        }
    }
}
END_TEST

/* With a share of at most a half every try fits a square picture, so area, logarithm of the aspect
 * and position are uniform. Bounds: five standard errors. */
START_TEST(crops_are_uniform) {
    vit_augment augment = plain_augment();
    augment.scale[1] = 0.5;
    double area = 0, aspect = 0, aspect2 = 0, x = 0, y = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        vit_sample_key key = {11, 2, i};
        vit_window c = vit_random_crop(&augment, 1000, 1000, &key);
        double a = log((double)c.width / (double)c.height);
        area += (double)(c.width * c.height) / 1e6;
        aspect += a;
        aspect2 += a * a;
        x += (double)c.x / (double)(1000 - c.width);
        y += (double)c.y / (double)(1000 - c.height);
    }
    double range = log(4.0 / 3) - log(0.75), error = 5 / sqrt(12.0 * DRAWS);
    ck_assert_double_eq_tol(area / DRAWS, (0.08 + 0.5) / 2, 0.42 * error);
    ck_assert_double_eq_tol(aspect / DRAWS, 0, range * error);
    ck_assert_double_eq_tol(aspect2 / DRAWS, range * range / 12, 0.05 * range * range / 12);
    ck_assert_double_eq_tol(x / DRAWS, 0.5, error);
    ck_assert_double_eq_tol(y / DRAWS, 0.5, error);
}
END_TEST

START_TEST(extreme_pictures_get_the_centre) {
    vit_augment augment = plain_augment();
    for (uint64_t i = 0; i < 20; i++) {
        vit_sample_key key = {1, 1, i};
        vit_window c = vit_random_crop(&augment, 10, 1000, &key);
        ck_assert(c.x == 493 && c.y == 0 && c.width == 13 && c.height == 10);
        c = vit_random_crop(&augment, 1000, 10, &key);
        ck_assert(c.x == 0 && c.y == 493 && c.width == 10 && c.height == 13);
    }
    /* A tall crop asked of a flat picture rounds to nothing; one column is left. */
    augment.ratio[0] = augment.ratio[1] = 0.01;
    augment.scale[0] = augment.scale[1] = 1;
    vit_sample_key key = {1, 1, 1};
    vit_window c = vit_random_crop(&augment, 10, 1000, &key);
    ck_assert(c.width == 1 && c.height == 10);
}
END_TEST

/* ---- training ---- */

typedef struct fixture {
    vit_image image;
    vit_transform_scratch scratch;
    vit_auto_augment policy; /* none */
} fixture;

static float *train_with(const vit_preprocess *p, fixture *f, const vit_augment *augment,
                         uint64_t seed, uint32_t epoch, uint64_t sample) {
    float *out = planes_new(24, 20);
    vit_sample_key key = {seed, epoch, sample};
    ck_vit_ok(vit_augment_check(augment, &f->policy));
    ck_vit_ok(
        vit_transform_train(p, augment, &f->policy, 24, 20, &f->image, &key, &f->scratch, out));
    return out;
}

static float *train(fixture *f, const vit_augment *augment, uint64_t seed, uint32_t epoch,
                    uint64_t sample) {
    return train_with(&imagenet, f, augment, seed, epoch, sample);
}

static bool same(const float *a, const float *b) {
    return memcmp(a, b, 3 * 24 * 20 * sizeof *a) == 0;
}

static void fixture_free(fixture *f) {
    vit_image_free(&f->image);
    vit_transform_scratch_free(&f->scratch);
}

/* Crop first, then resize: the pixels around the crop do not count. */
START_TEST(train_is_crop_resize_flip) {
    for (int flips = 0; flips < 4; flips++) {
        fixture f = {0};
        vit_augment augment = plain_augment();
        augment.hflip = flips & 1;
        augment.vflip = flips >> 1;
        fill_random(&f.image, 61, 47, 5);
        float *out = train(&f, &augment, 9, 4, 17);

        vit_sample_key key = {9, 4, 17};
        vit_window c = vit_random_crop(&augment, 47, 61, &key);
        vit_image crop = {0}, resized = {0};
        vit_resize_scratch resize = {0};
        ck_vit_ok(vit_image_reserve(&crop, c.width, c.height, "test"));
        for (size_t y = 0; y < c.height; y++) {
            memcpy(crop.pixels + y * c.width * 3, f.image.pixels + ((c.y + y) * 61 + c.x) * 3,
                   c.width * 3);
        }
        ck_vit_ok(vit_resize(&crop, NULL, 20, 24, VIT_BICUBIC, &resize, &resized));
        uint8_t expected[24 * 20 * 3];
        for (size_t y = 0; y < 24; y++) {
            for (size_t x = 0; x < 20; x++) {
                size_t from = (flips & 2 ? 23 - y : y) * 20 + (flips & 1 ? 19 - x : x);
                memcpy(expected + (y * 20 + x) * 3, resized.pixels + from * 3, 3);
            }
        }
        check_planes("train", &imagenet, expected, 24, 20, out);
        free(out);
        vit_image_free(&crop);
        vit_image_free(&resized);
        vit_resize_scratch_free(&resize);
        fixture_free(&f);
    }
}
END_TEST

START_TEST(train_depends_on_its_key_alone) {
    fixture f = {0}, other = {0};
    vit_augment augment = plain_augment();
    fill_random(&f.image, 90, 70, 5);
    fill_random(&other.image, 90, 70, 5);
    float *a = train(&f, &augment, 1, 2, 3);
    float *used = train(&f, &augment, 1, 2, 3); /* with scratch that has been used */
    float *fresh = train(&other, &augment, 1, 2, 3);
    ck_assert(same(a, used));
    ck_assert(same(a, fresh));
    float *different[] = {train(&f, &augment, 2, 2, 3), train(&f, &augment, 1, 3, 3),
                          train(&f, &augment, 1, 2, 4)};
    for (int i = 0; i < 3; i++) {
        ck_assert_msg(!same(a, different[i]), "key part %d changes nothing", i);
        free(different[i]);
    }
    free(a);
    free(used);
    free(fresh);
    fixture_free(&f);
    fixture_free(&other);
}
END_TEST

START_TEST(flips_come_as_often_as_asked) {
    fixture f = {0};
    vit_augment still = plain_augment(), left = still, down = still, random = still;
    still.hflip = 0;
    left.hflip = 1;
    down.hflip = 0;
    down.vflip = 1;
    random.hflip = 0.5;
    random.vflip = 0.1;
    fill_random(&f.image, 40, 40, 6);
    int seen[4] = {0}; /* none, mirrored, upside down, both */
    for (uint64_t i = 0; i < 1000; i++) {
        float *a = train(&f, &random, 1, 1, i), *b = train(&f, &still, 1, 1, i);
        float *c = train(&f, &left, 1, 1, i), *d = train(&f, &down, 1, 1, i);
        seen[same(a, b) ? 0 : same(a, c) ? 1 : same(a, d) ? 2 : 3]++;
        free(a);
        free(b);
        free(c);
        free(d);
    }
    /* 1000 draws; five standard deviations */
    ck_assert_int_lt(abs(seen[1] + seen[3] - 500), 79);
    ck_assert_int_lt(abs(seen[2] + seen[3] - 100), 48);
    ck_assert_int_lt(abs(seen[3] - 50), 35);
    fixture_free(&f);
}
END_TEST

START_TEST(no_aug_is_the_evaluation) {
    fixture f = {0};
    vit_augment augment = plain_augment();
    augment.no_aug = true;
    fill_random(&f.image, 61, 47, 8);
    float *a = train(&f, &augment, 1, 2, 3), *b = planes_new(24, 20);
    ck_vit_ok(vit_transform_eval(&imagenet, 24, 20, &f.image, &f.scratch, b));
    ck_assert(same(a, b));
    free(a);
    free(b);
    fixture_free(&f);
}
END_TEST

/* ---- what training does to pixels ---- */

/* The crop is the whole picture, of 20 by 24 times a number, and nothing is flipped. */
static vit_augment whole_augment(void) {
    vit_augment augment = plain_augment();
    augment.scale[0] = augment.scale[1] = 1;
    augment.ratio[0] = augment.ratio[1] = 20.0 / 24;
    augment.hflip = 0;
    return augment;
}

/* out as pixels (24,20,3) would be, normalised. */
static float *planes_of(const vit_preprocess *p, const uint8_t *pixels) {
    float *out = planes_new(24, 20);
    for (size_t i = 0; i < 24 * 20 * 3; i++) {
        out[i % 3 * 24 * 20 + i / 3] = normalized(p, pixels[i], i % 3);
    }
    return out;
}

START_TEST(interpolation_is_as_asked) {
    static const char *const names[] = {"bicubic", "bilinear", "random"};
    fixture f = {0};
    vit_augment augment = whole_augment();
    fill_random(&f.image, 40, 48, 6);
    vit_image resized = {0};
    vit_resize_scratch resize = {0};
    float *expected[2];
    for (int i = 0; i < 2; i++) {
        ck_vit_ok(
            vit_resize(&f.image, NULL, 20, 24, i ? VIT_BILINEAR : VIT_BICUBIC, &resize, &resized));
        expected[i] = planes_of(&imagenet, resized.pixels);
    }
    for (int asked = 0; asked < 3; asked++) {
        ck_assert_str_eq(vit_train_interpolation_names[asked], names[asked]);
        augment.train_interpolation = asked;
        int seen[3] = {0}; /* bicubic, bilinear, neither */
        for (uint64_t i = 0; i < 400; i++) {
            float *out = train(&f, &augment, 1, 1, i);
            seen[same(out, expected[0]) ? 0 : same(out, expected[1]) ? 1 : 2]++;
            free(out);
        }
        ck_assert_int_eq(seen[2], 0);
        if (asked < 2) {
            ck_assert_int_eq(seen[asked], 400);
        } else { /* five standard deviations */
            ck_assert_int_lt(abs(seen[0] - 200), 50);
        }
    }
    free(expected[0]);
    free(expected[1]);
    vit_image_free(&resized);
    vit_resize_scratch_free(&resize);
    fixture_free(&f);
}
END_TEST

/* Brightness alone changes a grey picture: its factor shows. torchvision draws it uniformly from
 * max(0, 1 - jitter) to 1 + jitter. */
START_TEST(jitter_has_torchvisions_range) {
    static const double jitters[] = {0.1, 0.4, 1, 1.5};
    enum { SAMPLES = 1000, GREY = 100 };
    double low = fmax(0, 1 - jitters[_i]), high = 1 + jitters[_i];
    fixture f = {0};
    vit_augment augment = whole_augment();
    augment.color_jitter = jitters[_i];
    fill_random(&f.image, 20, 24, 6);
    memset(f.image.pixels, GREY, 20 * 24 * 3);
    double least = INFINITY, most = 0, sum = 0;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        float *out = train(&f, &augment, 1, 1, i);
        double value = 255 * (out[0] * imagenet.std[0] + imagenet.mean[0]);
        double factor = (rint(value) + 0.5) / GREY; /* a pixel is truncated */
        least = fmin(least, factor);
        most = fmax(most, factor);
        sum += factor;
        free(out);
    }
    double step = 1.0 / GREY, near = 0.01 * (high - low) + step;
    ck_assert_double_ge(least, low - step);
    ck_assert_double_le(least, low + near);
    ck_assert_double_le(most, high + step);
    ck_assert_double_ge(most, high - near);
    /* five standard deviations */
    double error = 5 * (high - low) / sqrt(12.0 * SAMPLES);
    ck_assert_double_eq_tol(sum / SAMPLES, (low + high) / 2, error + step / 10);
    fixture_free(&f);
}
END_TEST

/* Two numbers of a sample's stream make the order and the next three are the factors, in the order
 * of use: one of six pictures. */
START_TEST(jitter_has_every_order) {
    static void (*const operations[3])(vit_image *, double) = {vit_op_brightness, vit_op_contrast,
                                                               vit_op_color};
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    enum { SAMPLES = 600 };
    double jitter = _i ? 1.5 : 0.4, low = fmax(0, 1 - jitter), high = 1 + jitter;
    fixture f = {0};
    vit_augment augment = whole_augment();
    augment.color_jitter = jitter;
    fill_random(&f.image, 20, 24, 6); /* of its size, so that resizing leaves it */
    vit_image changed = {0};
    ck_vit_ok(vit_image_reserve(&changed, 20, 24, "test"));
    int seen[6] = {0};
    for (uint64_t i = 0; i < SAMPLES; i++) {
        float *out = train(&f, &augment, 1, 1, i);
        double factors[3];
        vit_rng rng = vit_rng_make(1, 1, i, VIT_RNG_COLOR);
        vit_rng_u32(&rng);
        vit_rng_u32(&rng);
        for (int j = 0; j < 3; j++) {
            factors[j] = low + (high - low) * vit_rng_uniform(&rng);
        }
        int found = -1, alike = 0;
        for (int o = 0; o < 6; o++) {
            memcpy(changed.pixels, f.image.pixels, 20 * 24 * 3);
            for (int j = 0; j < 3; j++) {
                operations[orders[o][j]](&changed, factors[j]);
            }
            float *expected = planes_of(&imagenet, changed.pixels);
            if (same(out, expected)) {
                found = o;
                alike++;
            }
            free(expected);
        }
        if (alike == 0) {
            ck_abort_msg("jitter %g: sample %d is none of the six orders", jitter, (int)i);
        }
        seen[found] += alike == 1; /* a factor near 0 makes some alike: all black, all grey */
        free(out);
    }
    for (int o = 0; o < 6; o++) { /* five standard deviations */
        ck_assert_msg(abs(seen[o] - SAMPLES / 6) < 46, "order %d came %d times", o, seen[o]);
    }
    vit_image_free(&changed);
    fixture_free(&f);
}
END_TEST

/* timm: min(255, round(255 mean)), which is taken up from 0 here. A picture of one colour that is
 * moved shows two, and no other operation does. */
START_TEST(what_shows_outside_is_the_mean) {
    static const struct {
        double mean[3];
        uint8_t fill[3];
    } cases[] = {
        {{0.485, 0.456, 0.406}, {124, 116, 104}},
        {{0.5, 0.25, 0.75}, {128, 64, 191}},
        {{0, 1, 0.001}, {0, 255, 0}},
        {{-0.25, 1.5, 0.999}, {0, 255, 255}},
    };
    static const uint8_t colour[3] = {200, 90, 40};
    vit_preprocess p = imagenet;
    memcpy(p.mean, cases[_i].mean, sizeof p.mean);
    fixture f = {0};
    vit_augment augment = whole_augment();
    snprintf(augment.aa, sizeof augment.aa, "trivial");
    fill_random(&f.image, 20, 24, 6);
    for (size_t i = 0; i < 20 * 24 * 3; i++) {
        f.image.pixels[i] = colour[i % 3];
    }
    int moved = 0;
    for (uint64_t i = 0; i < 200; i++) {
        float *out = train_with(&p, &f, &augment, 1, 1, i);
        uint8_t pixels[24 * 20 * 3];
        bool kept = false, left = false; /* some of the picture, some that is not */
        for (size_t k = 0; k < 24 * 20; k++) {
            bool inside = out[k] == normalized(&p, colour[0], 0);
            memcpy(pixels + 3 * k, inside ? colour : cases[_i].fill, 3);
            kept = kept || inside;
            left = left || !inside;
        }
        if (kept && left) {
            check_planes("fill", &p, pixels, 24, 20, out);
            moved++;
        }
        free(out);
    }
    ck_assert_int_gt(moved, 30);
    fixture_free(&f);
}
END_TEST

START_TEST(options_have_timms_defaults) {
    vit_augment augment = plain_augment();
    ck_assert(!augment.no_aug);
    ck_assert_double_eq(augment.scale[0], 0.08);
    ck_assert_double_eq(augment.scale[1], 1);
    ck_assert_double_eq(augment.ratio[0], 3.0 / 4);
    ck_assert_double_eq(augment.ratio[1], 4.0 / 3);
    ck_assert_double_eq(augment.hflip, 0.5);
    ck_assert_double_eq(augment.vflip, 0);
}
END_TEST

START_TEST(ranges_the_wrong_way_round_are_refused) {
    vit_augment augment = plain_augment();
    augment.scale[0] = 0.9;
    augment.scale[1] = 0.2;
    ck_vit_fails(vit_augment_check(&augment, NULL), VIT_ERROR_ARGUMENT, "--scale 0.9 0.2");
    augment = plain_augment();
    augment.ratio[0] = 1.5;
    ck_vit_fails(vit_augment_check(&augment, NULL), VIT_ERROR_ARGUMENT, "--ratio");
    augment.ratio[0] = NAN;
    ck_assert_int_eq(vit_augment_check(&augment, NULL), VIT_ERROR_ARGUMENT);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("transform");
    TCase *c = tcase_create("transform");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, eval_gives_torchvisions_pixels);
    tcase_add_loop_test(c, eval_has_torchvisions_geometry, 0,
                        (int)(sizeof geometries / sizeof *geometries));
    tcase_add_test(c, crops_keep_their_ranges);
    tcase_add_test(c, crops_are_uniform);
    tcase_add_test(c, extreme_pictures_get_the_centre);
    tcase_add_test(c, train_is_crop_resize_flip);
    tcase_add_test(c, train_depends_on_its_key_alone);
    tcase_add_test(c, flips_come_as_often_as_asked);
    tcase_add_test(c, no_aug_is_the_evaluation);
    tcase_add_test(c, interpolation_is_as_asked);
    tcase_add_loop_test(c, jitter_has_torchvisions_range, 0, 4);
    tcase_add_loop_test(c, jitter_has_every_order, 0, 2);
    tcase_add_loop_test(c, what_shows_outside_is_the_mean, 0, 4);
    tcase_add_test(c, options_have_timms_defaults);
    tcase_add_test(c, ranges_the_wrong_way_round_are_refused);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
