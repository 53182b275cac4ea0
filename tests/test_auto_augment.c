/* Augmentation policies: their spelling, their draws, and what they do to a picture. */
#include "data/auto_augment.h"
#include "tests/support/support.h"

#include <math.h>
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

static Suite *suite(void) {
    Suite *s = suite_create("auto_augment");
    TCase *t = tcase_create("auto_augment");
    tcase_add_test(t, spelling_is_timms);
    tcase_add_loop_test(t, wrong_spelling_names_the_part, 0, 10);
    tcase_add_loop_test(t, draws_are_keyed_and_varied, 0, 4);
    tcase_add_test(t, probability_zero_and_one);
    tcase_add_test(t, increasing_at_zero_is_gentle);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
