/* Random erasing: how often, where, how much, and with what. */
#include "data/erase.h"
#include "tests/support/guarded.h"
#include "tests/support/support.h"

#include <math.h>
#include <stdlib.h>

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
    /* One assertion a picture: each passed one is written to a pipe. */
    ck_assert_uint_eq(uneven, 0);
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

/* ---- the draws, one box a picture ---- */

typedef struct rectangle {
    size_t top, left, height, width;
} rectangle;

/* The smallest rectangle about the values that are `value` (or, when that is 7, are not) in a plane
 * of a picture that was all sevens; of no height when there are none. */
static rectangle bounds_of(const float *plane, size_t height, size_t width, float value) {
    size_t top = height, left = width, bottom = 0, right = 0;
    for (size_t i = 0; i < height * width; i++) {
        if ((plane[i] == value) != (value == 7)) {
            size_t y = i / width, x = i % width;
            top = y < top ? y : top;
            left = x < left ? x : left;
            bottom = y + 1 > bottom ? y + 1 : bottom;
            right = x + 1 > right ? x + 1 : right;
        }
    }
    return bottom ? (rectangle){top, left, bottom - top, right - left} : (rectangle){0};
}

/* What is looked at of a box: its share of the picture, and the logarithm of its aspect. */
enum { SHARE, SHARE2, ASPECT, ASPECT2, STATISTICS };

static void add_box(double share, double aspect, double sums[STATISTICS]) {
    sums[SHARE] += share;
    sums[SHARE2] += share * share;
    sums[ASPECT] += aspect;
    sums[ASPECT2] += aspect * aspect;
}

/* Means over a fine grid of the areas and aspects that are drawn from, without those that do not
 * fit: they are drawn again. Returns the share of those that fit. */
static double expected_boxes(double height, double width, double means[STATISTICS]) {
    enum { GRID = 500 };
    double count = 0;
    for (int i = 0; i < STATISTICS; i++) {
        means[i] = 0;
    }
    for (int i = 0; i < GRID * GRID; i++) {
        double share = 0.02 + (1.0 / 3 - 0.02) * (i % GRID + 0.5) / GRID;
        double aspect = log(0.3) * (1 - 2 * ((double)(i / GRID) + 0.5) / GRID);
        double h = round(sqrt(share * height * width * exp(aspect)));
        double w = round(sqrt(share * height * width / exp(aspect)));
        if (h < height && w < width) {
            add_box(h * w / (height * width), log(h / w), means);
            count++;
        }
    }
    for (int i = 0; i < STATISTICS; i++) {
        means[i] /= count;
    }
    return count / (GRID * GRID);
}

START_TEST(areas_aspects_and_places) {
    enum { TALL = 90, WIDE = 70, DRAWS = 4000 };
    static const size_t sizes[][2] = {{TALL, WIDE}, {WIDE, TALL}};
    const size_t height = sizes[_i][0], width = sizes[_i][1], n = TALL * WIDE;
    const vit_erase_options options = {.reprob = 1, .remode = VIT_ERASE_CONST, .recount = 1};
    double sums[STATISTICS] = {0}, expected[STATISTICS], y = 0, x = 0;
    bool edges[4] = {false};
    float *image = malloc(n * sizeof *image);
    for (uint64_t sample = 0; sample < DRAWS; sample++) {
        for (size_t i = 0; i < n; i++) {
            image[i] = 7;
        }
        vit_rng rng = vit_rng_make(5, 1, sample, VIT_RNG_ERASE);
        vit_random_erase(&options, &rng, 1, height, width, image);
        rectangle b = bounds_of(image, height, width, 7);
        ck_assert(b.height > 0 && b.height < height && b.width < width);
        size_t erased = 0;
        for (size_t i = 0; i < n; i++) {
            erased += image[i] == 0;
        }
        ck_assert_uint_eq(erased, b.height * b.width); /* all of it, and nothing else */
        add_box((double)erased / (double)n, log((double)b.height / (double)b.width), sums);
        y += (double)b.top / (double)(height - b.height);
        x += (double)b.left / (double)(width - b.width);
        edges[0] |= b.top == 0, edges[1] |= b.top + b.height == height;
        edges[2] |= b.left == 0, edges[3] |= b.left + b.width == width;
    }
    free(image);
    expected_boxes((double)height, (double)width, expected);
    for (int i = 0; i < STATISTICS; i++) {
        /* Five standard errors of what lies within 0 .. 1/3, 0 .. 1/9, -1.2 .. 1.2 and 0 .. 1.4. */
        static const double ranges[STATISTICS] = {0.32, 0.11, 2.41, 1.45};
        ck_assert_msg(fabs(sums[i] / DRAWS - expected[i]) < 5 * ranges[i] / sqrt(12.0 * DRAWS),
                      "statistic %d: %g, expected %g", i, sums[i] / DRAWS, expected[i]);
    }
    ck_assert_double_eq_tol(y / DRAWS, 0.5, 5 / sqrt(12.0 * DRAWS));
    ck_assert_double_eq_tol(x / DRAWS, 0.5, 5 / sqrt(12.0 * DRAWS));
    ck_assert_msg(edges[0] && edges[1] && edges[2] && edges[3], "%d%d%d%d", edges[0], edges[1],
                  edges[2], edges[3]);
}
END_TEST

/* In two rows only one in eight boxes fits: of ten tries each counts. */
START_TEST(ten_tries) {
    enum { WIDE = 40, DRAWS = 20000 };
    const vit_erase_options options = {.reprob = 1, .remode = VIT_ERASE_CONST, .recount = 1};
    float image[2 * WIDE];
    double unused[STATISTICS], fits = expected_boxes(2, WIDE, unused);
    int erased = 0;
    for (uint64_t sample = 0; sample < DRAWS; sample++) {
        for (size_t i = 0; i < 2 * WIDE; i++) {
            image[i] = 7;
        }
        vit_rng rng = vit_rng_make(8, 1, sample, VIT_RNG_ERASE);
        vit_random_erase(&options, &rng, 1, 2, WIDE, image);
        erased += bounds_of(image, 2, WIDE, 7).height > 0;
    }
    ck_assert_msg(fits > 0.05 && fits < 0.2, "%g fit", fits);
    double expected = 1 - pow(1 - fits, 10);
    ck_assert_double_eq_tol((double)erased / DRAWS, expected,
                            4 * sqrt(expected * (1 - expected) / DRAWS));
}
END_TEST

/* One box or more, each number as often; each box's area is that many times smaller. Every box has
 * a value of its own, so that they can be told apart. */
START_TEST(counts_and_their_shares) {
    enum { SIDE = 60, PIXELS = SIDE * SIDE, DRAWS = 1500, MOST = 3 };
    const int most = _i;
    const vit_erase_options options = {.reprob = 1, .remode = VIT_ERASE_RAND, .recount = most};
    int seen[MOST + 1] = {0};
    double largest[MOST + 1] = {0};
    float *image = malloc(PIXELS * sizeof *image);
    for (uint64_t sample = 0; sample < DRAWS; sample++) {
        for (size_t i = 0; i < PIXELS; i++) {
            image[i] = 7;
        }
        vit_rng rng = vit_rng_make(6, 1, sample, VIT_RNG_ERASE);
        vit_random_erase(&options, &rng, 1, SIDE, SIDE, image);
        float values[MOST + 1];
        int count = 0;
        for (size_t i = 0; i < PIXELS; i++) {
            int k = 0;
            while (k < count && values[k] != image[i]) {
                k++;
            }
            if (k == count && image[i] != 7) {
                ck_assert_int_lt(count, most);
                values[count++] = image[i];
            }
        }
        ck_assert_int_gt(count, 0);
        seen[count]++;
        for (int k = 0; k < count; k++) {
            rectangle b = bounds_of(image, SIDE, SIDE, values[k]);
            largest[count] = fmax(largest[count], (double)(b.height * b.width) / PIXELS);
        }
    }
    free(image);
    /* Six standard deviations of 1500 draws at a half are 117; now and then one box hides
     * another. */
    for (int count = 1; count <= most; count++) {
        ck_assert_msg(abs(seen[count] - DRAWS / most) < 120, "%d boxes: %d of %d", count,
                      seen[count], DRAWS);
        ck_assert_msg(largest[count] > 0.9 / 3 / count && largest[count] < 1.05 / 3 / count,
                      "%d boxes: the largest has %g", count, largest[count]);
    }
}
END_TEST

/* A box is lower and narrower than its picture. In a single line none is, whatever is drawn. */
START_TEST(where_none_fits_nothing_is_erased) {
    const vit_erase_options options = {.reprob = 1, .remode = VIT_ERASE_PIXEL, .recount = 1};
    float *line = guarded_new(40);
    for (uint64_t sample = 0; sample < 200; sample++) {
        for (size_t i = 0; i < 40; i++) {
            line[i] = 7;
        }
        vit_rng rng = vit_rng_make(7, 2, sample, VIT_RNG_ERASE);
        vit_random_erase(&options, &rng, 1, sample % 2 ? 1 : 40, sample % 2 ? 40 : 1, line);
        for (size_t i = 0; i < 40; i++) {
            ck_assert(line[i] == 7);
        }
        guard_check("a line", line, 40);
    }
    free(line);
}
END_TEST

/* The draw is from 0 up to 1 and without 1: a picture is erased when it is below reprob. */
START_TEST(the_probability_itself_is_not_below_it) {
    float image[N];
    vit_rng rng = vit_rng_make(4, 2, 3, VIT_RNG_ERASE);
    double draw = vit_rng_uniform(&rng);
    vit_erase_options options = {.reprob = draw, .remode = VIT_ERASE_CONST, .recount = 1};
    ck_assert_uint_eq(erase(&options, 3, image), 0);
    options.reprob = nextafter(draw, 1);
    ck_assert_uint_gt(erase(&options, 3, image), 0);
    options.reprob = 0;
    ck_assert_uint_eq(erase(&options, 3, image), 0);
    options.reprob = NAN;
    ck_assert_uint_eq(erase(&options, 3, image), 0);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("erase");
    TCase *t = tcase_create("erase");
    tcase_add_loop_test(t, probability_and_area, 0, 3);
    tcase_add_loop_test(t, fill_follows_the_mode, 0, 3);
    tcase_add_test(t, several_boxes_and_tiny_pictures);
    tcase_add_loop_test(t, areas_aspects_and_places, 0, 2);
    tcase_add_test(t, ten_tries);
    tcase_add_loop_test(t, counts_and_their_shares, 2, 4);
    tcase_add_test(t, where_none_fits_nothing_is_erased);
    tcase_add_test(t, the_probability_itself_is_not_below_it);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
