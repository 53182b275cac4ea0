/* Position embeddings for another grid, against timm's. */
#include "support/support.h"

#include "train/resample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 12 };

static void check_golden(const char *name, size_t h, size_t w) {
    vit_safetensors *file = golden_open("pos_embed_resample.safetensors");
    float *in = golden_f32(file, "in_4x4_cls", NULL);
    size_t count;
    double *expected = golden_f64(file, name, &count);
    ck_assert_uint_eq(count, (1 + h * w) * D);
    float *out = filled_new(h * w * D, NAN);
    ck_vit_ok(vit_resample_positions(D, 4, 4, in + D, h, w, out));
    check_close(name, h * w * D, out, expected + D, 1e-6); /* timm computes in float32 */
    free(in);
    free(expected);
    free(out);
    vit_safetensors_close(file);
}

START_TEST(timms_positions) {
    check_golden("out_3x5_cls", 3, 5);
    check_golden("out_6x6_cls", 6, 6);
}
END_TEST

START_TEST(the_same_grid_stays) {
    float *in = random_new(1, 6 * D, 1), *out = filled_new(6 * D, NAN);
    ck_vit_ok(vit_resample_positions(D, 2, 3, in, 2, 3, out));
    check_same_bits("2 x 3", 6 * D, out, in);
    free(in);
    free(out);
}
END_TEST

START_TEST(constants_stay_on_every_grid) {
    for (size_t from = 1; from < 6; from++) {
        for (size_t to = 1; to < 9; to++) {
            float *in = filled_new(from * 2 * D, 0.375f), *out = filled_new(to * 3 * D, NAN);
            ck_vit_ok(vit_resample_positions(D, from, 2, in, to, 3, out));
            for (size_t i = 0; i < to * 3 * D; i++) {
                ck_assert_double_eq_tol(out[i], 0.375, 1e-7);
            }
            free(in);
            free(out);
        }
    }
}
END_TEST

START_TEST(rows_and_columns_are_alike) {
    enum { H = 5, W = 3, TO_H = 4, TO_W = 7 };
    float *in = random_new(1, (size_t)H * W, 1), turned[H * W], out[TO_H * TO_W];
    float out_turned[TO_H * TO_W];
    for (size_t i = 0; i < (size_t)H * W; i++) {
        turned[i % W * H + i / W] = in[i];
    }
    ck_vit_ok(vit_resample_positions(1, H, W, in, TO_H, TO_W, out));
    ck_vit_ok(vit_resample_positions(1, W, H, turned, TO_W, TO_H, out_turned));
    for (size_t i = 0; i < (size_t)TO_H * TO_W; i++) {
        ck_assert_double_eq_tol(out[i], out_turned[i % TO_W * TO_H + i / TO_W], 1e-6);
    }
    free(in);
}
END_TEST

START_TEST(a_grid_that_does_not_fit_is_refused) {
    float in[D] = {0}, out[D];
    ck_vit_fails(vit_resample_positions(D, 2, 1, in, SIZE_MAX, 1, out), VIT_ERROR_MEMORY,
                 "position embedding");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("resample");
    TCase *t = tcase_create("resample");
    tcase_add_test(t, timms_positions);
    tcase_add_test(t, the_same_grid_stays);
    tcase_add_test(t, constants_stay_on_every_grid);
    tcase_add_test(t, rows_and_columns_are_alike);
    tcase_add_test(t, a_grid_that_does_not_fit_is_refused);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
