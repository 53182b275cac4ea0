/* Mixup and CutMix: the distribution of their draws, the pictures and the targets. */
#include "data/mix.h"
#include "tests/support/support.h"
#include "vit/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

START_TEST(off_and_never_leave_the_batch_alone) {
    vit_mix_options off = {.prob = 1}, never = {.mixup = 0.8, .cutmix = 1, .switch_prob = 0.5};
    for (uint64_t batch = 0; batch < 50; batch++) {
        vit_mix a = vit_mix_draw(&off, 1, 0, batch, 8, 8);
        vit_mix b = vit_mix_draw(&never, 1, 0, batch, 8, 8);
        ck_assert(a.lambda == 1 && !a.cutmix && b.lambda == 1 && !b.cutmix);
    }
}
END_TEST

/* The integral of (x (1 - x))^(a - 1) from 0 to `to` <= 1/2; in x^a, as the integrand itself has no
 * bound for a < 1. */
static double beta_integral(double a, double to) {
    enum { STEPS = 2000 };
    double sum = 0, end = pow(to, a);
    for (int i = 0; i < STEPS; i++) {
        sum += pow(1 - pow(end * (i + 0.5) / STEPS, 1 / a), a - 1);
    }
    return sum * end / STEPS / a;
}

/* Kolmogorov and Smirnov: the shares of draws below 1/64, 2/64 ... are those of the distribution,
 * up to 1.95 / sqrt(n) but once in a thousand times. */
START_TEST(lambda_is_beta) {
    static const double alphas[] = {0.2, 0.8, 1.0, 4.0};
    enum { DRAWS = 200000, BINS = 64 };
    vit_mix_options options = {.mixup = alphas[_i], .prob = 1};
    int counts[BINS + 1] = {0}, below = 0;
    for (uint64_t batch = 0; batch < DRAWS; batch++) {
        vit_mix mix = vit_mix_draw(&options, 5, 1, batch, 8, 8);
        if (mix.cutmix || !(mix.lambda >= 0 && mix.lambda <= 1)) {
            ck_abort_msg("batch %llu: lambda %g", (unsigned long long)batch, mix.lambda);
        }
        counts[(int)(mix.lambda * BINS)]++;
    }
    double half = beta_integral(alphas[_i], 0.5);
    for (int i = 1; i < BINS; i++) {
        below += counts[i - 1];
        double x = (double)i / BINS, tail = beta_integral(alphas[_i], fmin(x, 1 - x)) / half / 2;
        ck_assert_double_eq_tol((double)below / DRAWS, x < 0.5 ? tail : 1 - tail,
                                1.95 / sqrt(DRAWS));
    }
}
END_TEST

/* Beta(a, a) is nearly a fair coin when a is small: between its ends its density is a / 2 / (x (1 -
 * x)), whose integral from t to 1 - t is a log((1 - t) / t). */
START_TEST(small_alphas_are_a_coin) {
    enum { DRAWS = 4000 };
    vit_mix_options options = {.mixup = _i ? 1e-3 : 0.02, .prob = 1};
    int low = 0, high = 0;
    for (uint64_t batch = 0; batch < DRAWS; batch++) {
        vit_mix mix = vit_mix_draw(&options, 5, 1, batch, 8, 8);
        low += mix.lambda < 0.01;
        high += mix.lambda > 0.99;
    }
    double between = options.mixup * log(0.99 / 0.01) * DRAWS; /* 366 and 18 */
    ck_assert_double_le(fabs((double)(DRAWS - low - high) - between), 5 * sqrt(between));
    ck_assert_double_le(abs(high - low), 5 * sqrt(DRAWS));
}
END_TEST

START_TEST(switch_probability_and_probability) {
    vit_mix_options options = {.mixup = 0.8, .cutmix = 1, .prob = 0.7, .switch_prob = 0.25};
    int cut = 0, mixed = 0;
    enum { DRAWS = 8000 };
    for (uint64_t batch = 0; batch < DRAWS; batch++) {
        vit_mix mix = vit_mix_draw(&options, 9, 2, batch, 32, 32);
        cut += mix.cutmix;
        mixed += mix.cutmix || mix.lambda < 1;
    }
    ck_assert_int_le(abs(mixed - (int)(0.7 * DRAWS)), 170);
    ck_assert_int_le(abs(cut - (int)(0.175 * DRAWS)), 140);
}
END_TEST

/* Draws are from 0 up to 1 and without 1: below its probability a thing happens. */
START_TEST(a_probability_itself_is_not_below_it) {
    vit_rng rng = vit_rng_make(1, 2, 3, VIT_RNG_MIX);
    double first = vit_rng_uniform(&rng), second = vit_rng_uniform(&rng);
    vit_mix_options options = {.mixup = 1, .cutmix = 1, .prob = first, .switch_prob = second};
    ck_assert(!vit_mix_draw(&options, 1, 2, 3, 9, 9).cutmix);
    ck_assert(vit_mix_draw(&options, 1, 2, 3, 9, 9).lambda == 1);
    options.prob = nextafter(first, 1);
    ck_assert(!vit_mix_draw(&options, 1, 2, 3, 9, 9).cutmix);
    ck_assert(vit_mix_draw(&options, 1, 2, 3, 9, 9).lambda < 1);
    options.switch_prob = nextafter(second, 1);
    ck_assert(vit_mix_draw(&options, 1, 2, 3, 9, 9).cutmix);
}
END_TEST

START_TEST(cutmix_takes_the_box_and_its_share) {
    enum { B = 5, C = 3, H = 7, W = 11, N = C * H * W };
    float *images = random_new(1, B * N, 1.0), *out = malloc(N * sizeof(float));
    vit_mix_options options = {.cutmix = 1, .prob = 1};
    size_t boxes = 0;
    for (uint64_t batch = 0; batch < 100; batch++) {
        vit_mix mix = vit_mix_draw(&options, 2, 3, batch, H, W);
        ck_assert(mix.cutmix && mix.y0 <= mix.y1 && mix.y1 <= H && mix.x1 <= W);
        double area = (double)((mix.y1 - mix.y0) * (mix.x1 - mix.x0));
        ck_assert_double_eq_tol(mix.lambda, 1 - area / (H * W), 1e-12);
        boxes += area > 0;
        size_t i = batch % B;
        vit_mix_image(&mix, C, H, W, images + i * N, images + (B - 1 - i) * N, out);
        for (size_t j = 0; j < N; j++) {
            size_t y = j / W % H, x = j % W;
            bool inside = y >= mix.y0 && y < mix.y1 && x >= mix.x0 && x < mix.x1;
            ck_assert(out[j] == images[(inside ? B - 1 - i : i) * N + j]);
        }
    }
    ck_assert_uint_gt(boxes, 50);
    free(images), free(out);
}
END_TEST

/* A box of sides s H and s W about a place anywhere covers s - s^2 / 4 of either side on average,
 * as half of what is beyond an edge is cut off. s^2 = 1 - lambda is uniform for alpha 1. */
START_TEST(boxes_have_the_area_and_place_of_rand_bbox) {
    enum { DRAWS = 4000, TALL = 900, WIDE = 700 };
    const double H = TALL, W = WIDE;
    vit_mix_options options = {.mixup = 5, .cutmix = 1, .prob = 1, .switch_prob = 0.5};
    double count = 0, area = 0, y = 0, x = 0, square = 0;
    bool edges[4] = {false};
    for (uint64_t batch = 0; batch < DRAWS; batch++) {
        vit_mix mix = vit_mix_draw(&options, 7, 1, batch, TALL, WIDE);
        if (!mix.cutmix) {
            square += (mix.lambda - 0.5) * (mix.lambda - 0.5);
            continue;
        }
        count++;
        area += 1 - mix.lambda;
        y += (double)(mix.y0 + mix.y1) / 2 / H;
        x += (double)(mix.x0 + mix.x1) / 2 / W;
        bool ends[4] = {mix.y0 == 0, mix.y1 == TALL, mix.x0 == 0, mix.x1 == WIDE};
        for (int i = 0; i < 4; i++) {
            edges[i] |= ends[i];
        }
        if (!ends[0] && !ends[1] && !ends[2] && !ends[3]) { /* nothing cut off: as the picture */
            double h = (double)(mix.y1 - mix.y0) / H, w = (double)(mix.x1 - mix.x0) / W;
            ck_assert_double_eq_tol(h, w, 2 / W + 2 / H);
        }
    }
    double error = 5 / sqrt(12 * count);
    ck_assert_double_eq_tol(area / count, 1.0 / 2 - 1.0 / 5 + 1.0 / 48, error);
    ck_assert_double_eq_tol(y / count, 0.5, error);
    ck_assert_double_eq_tol(x / count, 0.5, error);
    ck_assert(edges[0] && edges[1] && edges[2] && edges[3]);
    ck_assert_double_eq_tol(square / (DRAWS - count), 1 / (4 * (2 * 5.0 + 1)), 0.1 / 44);
}
END_TEST

START_TEST(mixup_blends_pictures_and_targets_alike) {
    enum { B = 4, C = 3, H = 5, W = 6, N = C * H * W, K = 3 };
    float *images = random_new(1, B * N, 1.0), out[N], target[K];
    int labels[B] = {0, 1, 0, 2};
    vit_mix mix = {.lambda = 0.3};
    vit_mix_image(&mix, C, H, W, images, images + (B - 1) * N, out);
    for (size_t j = 0; j < N; j++) {
        ck_assert_float_eq_tol(out[j], 0.3f * images[j] + 0.7f * images[3 * N + j], 1e-6f);
    }
    vit_mix_target(&mix, B, 0, K, labels, 0.1, target);
    ck_assert_float_eq_tol(target[0], 0.1f / 3 + 0.9f * 0.3f, 1e-6f);
    ck_assert_float_eq_tol(target[1], 0.1f / 3, 1e-6f);
    ck_assert_float_eq_tol(target[2], 0.1f / 3 + 0.9f * 0.7f, 1e-6f);
    for (size_t i = 0; i < B; i++) {
        vit_mix_target(&mix, B, i, K, labels, 0, target);
        for (int k = 0; k < K; k++) {
            float share = 0.3f * (float)(labels[i] == k) + 0.7f * (float)(labels[B - 1 - i] == k);
            ck_assert_float_eq_tol(target[k], share, 1e-6f);
        }
    }
    mix.lambda = 1; /* the other picture is not looked at */
    float *absent = filled_new(N, NAN);
    vit_mix_image(&mix, C, H, W, images + N, absent, out);
    ck_assert_mem_eq(out, images + N, sizeof out);
    free(absent);
    free(images);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("mix");
    TCase *t = tcase_create("mix");
    tcase_add_test(t, off_and_never_leave_the_batch_alone);
    tcase_add_loop_test(t, lambda_is_beta, 0, 4);
    tcase_add_loop_test(t, small_alphas_are_a_coin, 0, 2);
    tcase_add_test(t, switch_probability_and_probability);
    tcase_add_test(t, a_probability_itself_is_not_below_it);
    tcase_add_test(t, cutmix_takes_the_box_and_its_share);
    tcase_add_test(t, boxes_have_the_area_and_place_of_rand_bbox);
    tcase_add_test(t, mixup_blends_pictures_and_targets_alike);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
