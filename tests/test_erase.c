/* Random erasing: how often, how much, and with what. */
#include "data/erase.h"
#include "tests/support/support.h"

#include <math.h>

enum { C = 3, H = 24, W = 31, N = C * H * W };

/* Erases a picture of sevens; returns the number of pixels (all channels alike) that are no longer
 * seven. */
static size_t erase(const vit_erase_options *options, uint64_t sample, float *image) {
    for (size_t i = 0; i < N; i++) {
        image[i] = 7;
    }
    vit_rng rng = vit_rng_make(4, 2, sample, VIT_RNG_ERASE);
    vit_random_erase(options, &rng, C, H, W, image);
    size_t erased = 0, uneven = 0;
    for (size_t i = 0; i < H * W; i++) {
        bool gone = image[i] != 7;
        erased += gone;
        uneven += (image[H * W + i] != 7) != gone || (image[2 * H * W + i] != 7) != gone;
    }
    ck_assert_uint_eq(uneven,
                      0); /* one assertion a picture: each passed one is written to a pipe */
    return erased;
}

START_TEST(probability_and_area) {
    vit_erase_options options = {.reprob = 0.25, .remode = _i, .recount = 1};
    float image[N];
    int hits = 0;
    for (uint64_t sample = 0; sample < 2000; sample++) {
        size_t erased = erase(&options, sample, image);
        if (erased > 0) {
            hits++;
            ck_assert_uint_ge(erased, (size_t)(0.01 * H * W));
            ck_assert_uint_le(erased, (size_t)(0.40 * H * W));
        }
    }
    ck_assert_int_ge(hits, 400);
    ck_assert_int_le(hits, 600);
}
END_TEST

START_TEST(fill_follows_the_mode) {
    vit_erase_options options = {.reprob = 1, .remode = _i, .recount = 1};
    float image[N];
    double sum = 0, square = 0;
    size_t values = 0, distinct = 0;
    for (uint64_t sample = 0; sample < 50; sample++) {
        erase(&options, sample, image);
        float last = 7;
        for (size_t i = 0; i < N; i++) {
            if (image[i] != 7) {
                sum += image[i];
                square += (double)image[i] * image[i];
                values++;
                distinct += image[i] != last;
                last = image[i];
            }
        }
    }
    ck_assert_uint_gt(values, 1000);
    if (_i == VIT_ERASE_CONST) {
        ck_assert(square == 0);
    } else if (_i == VIT_ERASE_PIXEL) {
        ck_assert_double_le(fabs(sum / (double)values), 0.05);
        ck_assert_double_le(fabs(square / (double)values - 1), 0.05);
        ck_assert_uint_gt(distinct, values - 10);
    } else {
        ck_assert_uint_le(distinct, 50 * C); /* one value a channel */
        ck_assert_uint_ge(distinct, 40 * C);
    }
}
END_TEST

START_TEST(several_boxes_and_tiny_pictures) {
    vit_erase_options options = {.reprob = 1, .remode = VIT_ERASE_CONST, .recount = 3};
    float image[N], pixel[3] = {1, 2, 3};
    for (uint64_t sample = 0; sample < 100; sample++) {
        ck_assert_uint_le(erase(&options, sample, image), (size_t)(0.40 * H * W));
        vit_rng rng = vit_rng_make(4, 2, sample, VIT_RNG_ERASE);
        vit_random_erase(&options, &rng, 3, 1, 1, pixel); /* must not write outside */
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("erase");
    TCase *t = tcase_create("erase");
    tcase_add_loop_test(t, probability_and_area, 0, 3);
    tcase_add_loop_test(t, fill_follows_the_mode, 0, 3);
    tcase_add_test(t, several_boxes_and_tiny_pictures);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
