/* Augmentation policies: their spelling, their draws, and what they do to a picture. */
#include "data/auto_augment.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 32, HEIGHT = 24, BYTES = WIDTH * HEIGHT * 3 };
static const uint8_t fill[3] = {1, 2, 3};

static vit_image gradient_picture(void) {
    vit_image image = {0};
    ck_vit_ok(vit_image_reserve(&image, WIDTH, HEIGHT, "test"));
    for (size_t i = 0; i < BYTES; i++) {
        image.pixels[i] = (uint8_t)(20 + (i * 7 + i / WIDTH * 3) % 180);
    }
    return image;
}

START_TEST(spelling_is_timms) {
    vit_auto_augment p;
    ck_vit_ok(vit_auto_augment_parse("rand-m9-mstd0.5-inc1", &p));
    ck_assert_int_eq(p.policy, VIT_POLICY_RAND);
    ck_assert(p.magnitude == 9 && p.magnitude_std == 0.5 && p.increasing);
    ck_assert(p.layers == 2 && p.probability == 0.5 && p.magnitude_max == 10);
    ck_vit_ok(vit_auto_augment_parse("rand-n3-p0.9-m15-mmax20-mstd101", &p));
    ck_assert(p.layers == 3 && p.probability == 0.9 && p.magnitude == 15);
    ck_assert(p.magnitude_max == 20 && isinf(p.magnitude_std) && !p.increasing);
    ck_vit_ok(vit_auto_augment_parse("", &p));
    ck_assert_int_eq(p.policy, VIT_POLICY_NONE);
    ck_vit_ok(vit_auto_augment_parse("none", &p));
    ck_assert_int_eq(p.policy, VIT_POLICY_NONE);
    ck_vit_ok(vit_auto_augment_parse("3a", &p));
    ck_assert_int_eq(p.policy, VIT_POLICY_THREE);
    ck_vit_ok(vit_auto_augment_parse("trivial", &p));
    ck_assert_int_eq(p.policy, VIT_POLICY_TRIVIAL);
}
END_TEST

START_TEST(wrong_spelling_names_the_part) {
    static const char *const wrong[][2] = {
        {"rand-m9-foo", "foo"},   {"rand-mx", "mx"},    {"rand-p1.5", "p1.5"},
        {"rand-n2.5", "n2.5"},    {"rand-n17", "n17"},  {"rand-m-3", "'m'"},
        {"original", "original"}, {"random", "random"}, {"rand--m9", "part ''"},
        {"rand-mmax0", "mmax0"},
    };
    vit_auto_augment p;
    ck_vit_fails(vit_auto_augment_parse(wrong[_i][0], &p), VIT_ERROR_ARGUMENT, wrong[_i][1]);
}
END_TEST

static const char *const policies[] = {"rand-m9-mstd0.5-inc1", "rand-m10-n4-p1-mstd101", "3a",
                                       "trivial"};

/* The policy applied to the same picture with the draws of one sample. */
static vit_image augmented(const char *policy, uint64_t sample) {
    vit_auto_augment p;
    ck_vit_ok(vit_auto_augment_parse(policy, &p));
    vit_image image = gradient_picture(), scratch = {0};
    vit_rng rng = vit_rng_make(3, 1, sample, VIT_RNG_AUTO_AUG);
    ck_vit_ok(vit_auto_augment_apply(&p, &rng, fill, &image, &scratch));
    vit_image_free(&scratch);
    ck_assert(image.width == WIDTH && image.height == HEIGHT);
    return image;
}

START_TEST(draws_are_keyed_and_varied) {
    vit_image original = gradient_picture();
    int changed = 0, differing = 0;
    vit_image last = augmented(policies[_i], 0);
    for (uint64_t sample = 0; sample < 200; sample++) {
        vit_image once = augmented(policies[_i], sample), again = augmented(policies[_i], sample);
        ck_assert_mem_eq(once.pixels, again.pixels, BYTES);
        changed += memcmp(once.pixels, original.pixels, BYTES) != 0;
        differing += memcmp(once.pixels, last.pixels, BYTES) != 0;
        vit_image_free(&again);
        vit_image_free(&last);
        last = once;
    }
    vit_image_free(&last);
    vit_image_free(&original);
    /* Two operations at probability 1/2 leave a quarter untouched; trivial leaves 1/14 and weak
     * ones. */
    ck_assert_msg(changed >= 120, "%d of 200 changed", changed);
    ck_assert_msg(differing >= 100, "%d of 199 differ from the one before", differing);
}
END_TEST

START_TEST(probability_zero_and_one) {
    vit_image original = gradient_picture();
    for (uint64_t sample = 0; sample < 50; sample++) {
        vit_image image = augmented("rand-m9-p0", sample);
        ck_assert_mem_eq(image.pixels, original.pixels, BYTES);
        vit_image_free(&image);
    }
    vit_image_free(&original);
}
END_TEST

START_TEST(increasing_at_zero_is_gentle) {
    /* At m0 with inc1 solarize, posterize (4 bits), colour and geometry are at their weakest:
     * transforms leave the picture as it is, and only autocontrast, equalize, invert, posterize
     * change it. */
    vit_image original = gradient_picture();
    int same = 0;
    for (uint64_t sample = 0; sample < 300; sample++) {
        vit_image image = augmented("rand-m0-n1-p1-inc1", sample);
        same += memcmp(image.pixels, original.pixels, BYTES) == 0;
        vit_image_free(&image);
    }
    vit_image_free(&original);
    ck_assert_msg(same > 300 * 11 / 15 - 40 && same < 300 * 11 / 15 + 40, "%d of 300", same);
}
END_TEST

/* ---- strengths: every picture that a policy of one operation may give ---- */

enum { MAX_OUTCOMES = 1000 };
typedef struct outcome {
    char name[48];
    vit_image image;
    bool seen;
} outcome;
typedef struct outcomes {
    size_t count;
    outcome list[MAX_OUTCOMES];
} outcomes;

/* A further outcome, for now the picture as it is. */
static vit_image *add_outcome(outcomes *set, const char *name, double value) {
    ck_assert_uint_lt(set->count, MAX_OUTCOMES);
    outcome *o = &set->list[set->count++];
    snprintf(o->name, sizeof o->name, "%s %g", name, value);
    o->image = gradient_picture();
    return &o->image;
}

/* With either interpolation, as one is drawn. */
static void add_affine(outcomes *set, const char *name, double value, vit_affine matrix) {
    vit_image original = gradient_picture();
    ck_vit_ok(vit_op_affine(&original, &matrix, VIT_BILINEAR, fill, add_outcome(set, name, value)));
    ck_vit_ok(vit_op_affine(&original, &matrix, VIT_BICUBIC, fill, add_outcome(set, name, value)));
    vit_image_free(&original);
}

static void add_geometry(outcomes *set, double shear, double x, double y, double degrees) {
    add_affine(set, "shear x", shear, vit_affine_shear_x(shear));
    add_affine(set, "shear y", shear, vit_affine_shear_y(shear));
    add_affine(set, "translate x", x, vit_affine_translate(x, 0));
    add_affine(set, "translate y", y, vit_affine_translate(0, y));
    add_affine(set, "rotate", degrees, vit_affine_rotate(degrees, WIDTH, HEIGHT));
}

static void add_enhancements(outcomes *set, double factor) {
    vit_image original = gradient_picture();
    vit_op_color(add_outcome(set, "color", factor), factor);
    vit_op_contrast(add_outcome(set, "contrast", factor), factor);
    vit_op_brightness(add_outcome(set, "brightness", factor), factor);
    ck_vit_ok(vit_op_sharpness(&original, factor, add_outcome(set, "sharpness", factor)));
    vit_image_free(&original);
}

/* timm's level_to_arg functions at magnitude m, of rand_augment_transform without and with
 * increasing. */
static void rand_outcomes(double m, bool increasing, outcomes *set) {
    vit_op_autocontrast(add_outcome(set, "autocontrast", 0));
    vit_op_equalize(add_outcome(set, "equalize", 0));
    vit_op_invert(add_outcome(set, "invert", 0));
    int bits = (int)(m / 10 * 4), threshold = (int)fmin(256, m / 10 * 256);
    bits = increasing ? 4 - bits : bits;
    threshold = increasing ? 256 - threshold : threshold;
    vit_op_posterize(add_outcome(set, "posterize", bits), bits < 0 ? 0 : bits);
    vit_op_solarize(add_outcome(set, "solarize", threshold), threshold);
    int add = (int)fmin(128, m / 10 * 110);
    vit_op_solarize_add(add_outcome(set, "solarize add", add), add);
    if (!increasing) {
        add_enhancements(set, m / 10 * 1.8 + 0.1);
    }
    for (int sign = -1; sign <= 1; sign += 2) {
        double t = sign * (m / 10 * 0.45);
        add_geometry(set, sign * (m / 10 * 0.3), t * WIDTH, t * HEIGHT, sign * (m / 10 * 30));
        if (increasing) {
            add_enhancements(set, fmax(0.1, 1 + sign * (m / 10 * 0.9)));
        }
    }
}

/* TrivialAugmentWide._augmentation_space of torchvision, with 31 strengths. */
static void trivial_outcomes(outcomes *set) {
    add_outcome(set, "identity", 0);
    vit_op_autocontrast(add_outcome(set, "autocontrast", 0));
    vit_op_equalize(add_outcome(set, "equalize", 0));
    for (int k = 0; k <= 30; k++) {
        int bits = 8 - (int)rint(k / 5.0);
        vit_op_posterize(add_outcome(set, "posterize", bits), bits);
        int threshold = (int)ceil(255 - 8.5 * k); /* values are whole */
        vit_op_solarize(add_outcome(set, "solarize", threshold), threshold);
        for (int sign = -1; sign <= 1; sign += 2) {
            double s = sign * (k / 30.0);
            add_geometry(set, 0.99 * s, 32 * s, 32 * s, 135 * s);
            add_enhancements(set, 1 + 0.99 * s);
        }
    }
}

/* Marks every outcome that looks like this: some are alike, as all that leave the picture. */
static bool mark_outcomes(outcomes *set, const vit_image *image) {
    bool any = false;
    for (size_t i = 0; i < set->count; i++) {
        outcome *o = &set->list[i];
        if (memcmp(o->image.pixels, image->pixels, BYTES) == 0) {
            o->seen = any = true;
        }
    }
    return any;
}

/* Fails unless each of the draws gives one of the outcomes, and each outcome comes. */
static void check_outcomes(const char *policy, uint64_t draws, outcomes *set) {
    for (uint64_t sample = 0; sample < draws; sample++) {
        vit_image image = augmented(policy, sample);
        if (!mark_outcomes(set, &image)) {
            ck_abort_msg("%s: sample %d is no operation at its strength", policy, (int)sample);
        }
        vit_image_free(&image);
    }
    for (size_t i = 0; i < set->count; i++) {
        outcome *o = &set->list[i];
        if (!o->seen) {
            ck_abort_msg("%s: '%s' never came", policy, o->name);
        }
        vit_image_free(&o->image);
    }
    free(set);
}

static outcomes *outcomes_new(void) {
    outcomes *set = calloc(1, sizeof *set);
    ck_assert_ptr_nonnull(set);
    return set;
}

START_TEST(rand_has_timms_strengths) {
    /* 15 is above what the operations are made for: where their arguments are limited. */
    static const double magnitudes[] = {3, 7, 10, 15};
    double m = magnitudes[_i / 2];
    bool increasing = _i % 2;
    char policy[64];
    snprintf(policy, sizeof policy, "rand-n1-p1-mmax20-m%g-inc%d", m, increasing);
    outcomes *set = outcomes_new();
    rand_outcomes(m, increasing, set);
    check_outcomes(policy, 1000, set); /* the rarest come once in 60 draws */
}
END_TEST

START_TEST(trivial_has_torchvisions_strengths) {
    outcomes *set = outcomes_new();
    trivial_outcomes(set);
    check_outcomes("trivial", 25000, set); /* the rarest come once in 1736 draws */
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("auto_augment");
    TCase *t = tcase_create("auto_augment");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, spelling_is_timms);
    tcase_add_loop_test(t, wrong_spelling_names_the_part, 0, 10);
    tcase_add_loop_test(t, draws_are_keyed_and_varied, 0, 4);
    tcase_add_test(t, probability_zero_and_one);
    tcase_add_test(t, increasing_at_zero_is_gentle);
    tcase_add_loop_test(t, rand_has_timms_strengths, 0, 8);
    tcase_add_test(t, trivial_has_torchvisions_strengths);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
