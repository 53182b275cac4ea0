/* Mixup and CutMix: the distribution of their draws, the pictures and the targets. */
#include "data/mix.h"
#include "tests/support/support.h"

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

/* Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)). */
START_TEST(lambda_is_beta) {
    static const double alphas[] = {0.2, 0.8, 1.0, 4.0};
    vit_mix_options options = {.mixup = alphas[_i], .prob = 1};
    double sum = 0, square = 0;
    enum { DRAWS = 20000 };
    for (uint64_t batch = 0; batch < DRAWS; batch++) {
        vit_mix mix = vit_mix_draw(&options, 5, 1, batch, 8, 8);
        ck_assert(!mix.cutmix && mix.lambda >= 0 && mix.lambda <= 1);
        sum += mix.lambda;
        square += (mix.lambda - 0.5) * (mix.lambda - 0.5);
    }
    double variance = 1 / (4 * (2 * alphas[_i] + 1));
    ck_assert_double_le(fabs(sum / DRAWS - 0.5), 4 * sqrt(variance / DRAWS));
    ck_assert_double_le(fabs(square / DRAWS - variance), 0.03 * variance);
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

START_TEST(mixup_blends_pictures_and_targets_alike) {
    enum { B = 4, C = 3, H = 5, W = 6, N = C * H * W, K = 3 };
    float *images = random_new(1, B * N, 1.0), out[N], target[K];
    int labels[B] = {0, 1, 2, 2};
    vit_mix mix = {.lambda = 0.3};
    vit_mix_image(&mix, C, H, W, images, images + (B - 1) * N, out);
    for (size_t j = 0; j < N; j++) {
        ck_assert_float_eq_tol(out[j], 0.3f * images[j] + 0.7f * images[3 * N + j], 1e-6f);
    }
    vit_mix_target(&mix, B, 0, K, labels, 0.1, target);
    ck_assert_float_eq_tol(target[0], 0.1f / 3 + 0.9f * 0.3f, 1e-6f);
    ck_assert_float_eq_tol(target[1], 0.1f / 3, 1e-6f);
    ck_assert_float_eq_tol(target[2], 0.1f / 3 + 0.9f * 0.7f, 1e-6f);
    mix.lambda = 1;
    vit_mix_image(&mix, C, H, W, images + N, images + (B - 2) * N, out);
    ck_assert_mem_eq(out, images + N, sizeof out);
    free(images);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("mix");
    TCase *t = tcase_create("mix");
    tcase_add_test(t, off_and_never_leave_the_batch_alone);
    tcase_add_loop_test(t, lambda_is_beta, 0, 4);
    tcase_add_test(t, switch_probability_and_probability);
    tcase_add_test(t, cutmix_takes_the_box_and_its_share);
    tcase_add_test(t, mixup_blends_pictures_and_targets_alike);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
