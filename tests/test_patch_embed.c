/* Patch embedding against a naive convolution in double precision. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>

typedef struct reference {
    vit_patch_shape s;
    size_t B, across, patches;
    const double *images, *weight, *bias, *cotangent /* (B,patches,D) */;
} reference;

/* Token `patch` of picture b, channel d of the output: a P x P convolution of stride P. */
static double output(const reference *r, size_t b, size_t patch, size_t d) {
    const vit_patch_shape *s = &r->s;
    size_t top = patch / r->across * s->patch, left = patch % r->across * s->patch;
    double sum = r->bias[d];
    for (size_t c = 0; c < s->channels; c++) {
        for (size_t i = 0; i < s->patch; i++) {
            for (size_t j = 0; j < s->patch; j++) {
                sum +=
                    r->images[((b * s->channels + c) * s->height + top + i) * s->width + left + j] *
                    r->weight[((d * s->channels + c) * s->patch + i) * s->patch + j];
            }
        }
    }
    return sum;
}

static double loss(const void *context) {
    const reference *r = context;
    double sum = 0;
    for (size_t i = 0; i < r->B * r->patches * r->s.dim; i++) {
        size_t d = i % r->s.dim, patch = i / r->s.dim % r->patches;
        sum += r->cotangent[i] * output(r, i / r->s.dim / r->patches, patch, d);
    }
    return sum;
}

static size_t pixels(const vit_patch_shape *s) {
    return s->channels * s->height * s->width;
}

static size_t patch_floats(const vit_patch_shape *s) {
    return s->channels * s->patch * s->patch;
}

static void check_forward(const reference *r, const float *images, const float *weight,
                          const float *bias, float *columns) {
    const vit_patch_shape *s = &r->s;
    size_t N = s->prefix + r->patches, D = s->dim;
    float *tokens = filled_new(r->B * N * D, 12345);
    float *actual = filled_new(r->B * r->patches * D, NAN);
    double *expected = to_double(actual, r->B * r->patches * D);
    vit_patch_embed_forward(s, r->B, images, weight, bias, columns, tokens);
    size_t n = 0;
    for (size_t b = 0; b < r->B; b++) {
        for (size_t i = 0; i < N * D; i++) {
            float value = tokens[b * N * D + i];
            if (i < s->prefix * D) {
                ck_assert(value == 12345); /* untouched */
            } else {
                size_t patch = i / D - s->prefix;
                actual[n] = value;
                expected[n++] = output(r, b, patch, i % D);
            }
        }
    }
    check_close("tokens", n, actual, expected, 1e-6);
    free(tokens);
    free(actual);
    free(expected);
}

/* dtokens with NaN in the prefix rows, which are not read. */
static float *with_prefix(const reference *r, const float *dy) {
    size_t N = r->s.prefix + r->patches, D = r->s.dim;
    float *dtokens = filled_new(r->B * N * D, NAN);
    for (size_t i = 0; i < r->B * r->patches * D; i++) {
        size_t b = i / D / r->patches, patch = i / D % r->patches;
        dtokens[(b * N + r->s.prefix + patch) * D + i % D] = dy[i];
    }
    return dtokens;
}

static void check_backward(reference *r, const float *weight, const float *columns,
                           const float *dy) {
    const vit_patch_shape *s = &r->s;
    size_t K = patch_floats(s), D = s->dim;
    float *dtokens = with_prefix(r, dy);
    float *dweight0 = random_new(10, D * K, 1), *dweight = random_new(10, D * K, 1);
    float *dbias0 = random_new(11, D, 1), *dbias = random_new(11, D, 1);
    float *dcolumns = filled_new(r->patches * K, NAN);
    float *dimages = filled_new(r->B * pixels(s), NAN);
    vit_patch_embed_backward(s, r->B, columns, weight, dtokens, dweight, dbias, dcolumns, dimages);
    take_out(D * K, dweight, dweight0);
    take_out(D, dbias, dbias0);
    check_gradient_of("dweight", loss, r, &r->weight, D * K, dweight, 40, 1e-5);
    check_gradient_of("dbias", loss, r, &r->bias, D, dbias, 40, 1e-5);
    check_gradient_of("dimages", loss, r, &r->images, r->B * pixels(s), dimages, 40, 1e-5);
    float *again = random_new(10, D * K, 1), *bias_again = random_new(11, D, 1);
    vit_patch_embed_backward(s, r->B, columns, weight, dtokens, again, bias_again, NULL, NULL);
    take_out(D * K, again, dweight0);
    check_same_bits("dweight without dimages", D * K, again, dweight);
    free(dtokens);
    free(dweight0);
    free(dweight);
    free(dbias0);
    free(dbias);
    free(dcolumns);
    free(dimages);
    free(again);
    free(bias_again);
}

static void check_shape(vit_patch_shape s, size_t B) {
    reference r = {.s = s, .B = B, .across = s.width / s.patch, .patches = vit_patch_count(&s)};
    ck_assert_uint_eq(r.patches, (s.height / s.patch) * (s.width / s.patch));
    size_t K = patch_floats(&s), images_n = B * pixels(&s), dy_n = B * r.patches * s.dim;
    float *images = random_new(1, images_n, 1), *weight = random_new(2, s.dim * K, 1);
    float *bias = random_new(3, s.dim, 1), *dy = random_new(4, dy_n, 1);
    float *columns = filled_new(B * r.patches * K, NAN);
    double *images64 = to_double(images, images_n), *weight64 = to_double(weight, s.dim * K);
    double *bias64 = to_double(bias, s.dim), *dy64 = to_double(dy, dy_n);
    r.images = images64;
    r.weight = weight64;
    r.bias = bias64;
    r.cotangent = dy64;
    check_forward(&r, images, weight, bias, columns);
    check_backward(&r, weight, columns, dy);
    free(images);
    free(weight);
    free(bias);
    free(dy);
    free(columns);
    free(images64);
    free(weight64);
    free(bias64);
    free(dy64);
}

START_TEST(odd_shapes) {
    /* channels, height, width, patch, prefix, dim */
    check_shape((vit_patch_shape){1, 1, 1, 1, 0, 1}, 1);
    check_shape((vit_patch_shape){3, 8, 8, 4, 0, 5}, 2);
    check_shape((vit_patch_shape){3, 4, 12, 4, 1, 16}, 3);
    check_shape((vit_patch_shape){2, 9, 6, 3, 2, 33}, 2);
    check_shape((vit_patch_shape){3, 16, 16, 16, 1, 7}, 2);
}
END_TEST

/* Right and below, 1 to P-1 pixels belong to no patch: never read, their gradient 0. */
START_TEST(pixels_left_over) {
    check_shape((vit_patch_shape){3, 11, 14, 4, 1, 6}, 2);
    check_shape((vit_patch_shape){1, 5, 3, 2, 0, 3}, 3);
    vit_patch_shape s = {1, 3, 3, 2, 0, 1};
    float images[9] = {1, 2, NAN, 3, 4, NAN, NAN, NAN, NAN};
    float weight[4] = {1, 10, 100, 1000}, bias = 0.5f, columns[4], token = NAN, dtoken = 2;
    vit_patch_embed_forward(&s, 1, images, weight, &bias, columns, &token);
    ck_assert_float_eq(token, 4321.5f);
    float dweight[4] = {0}, dbias = 0, dcolumns[4], dimages[9];
    vit_patch_embed_backward(&s, 1, columns, weight, &dtoken, dweight, &dbias, dcolumns, dimages);
    const float expected[9] = {2, 20, 0, 200, 2000, 0, 0, 0, 0};
    check_same_bits("dimages", 9, dimages, expected);
}
END_TEST

START_TEST(picture_smaller_than_a_patch) {
    vit_patch_shape s = {3, 4, 9, 5, 0, 2};
    ck_assert_uint_eq(vit_patch_count(&s), 0);
}
END_TEST

/* Large enough to be gathered by several threads: the columns are the same. */
START_TEST(threads_do_not_change_bits) {
    vit_patch_shape s = {3, 112, 113, 16, 1, 8};
    enum { B = 3 };
    size_t patches = vit_patch_count(&s), n = B * patches * patch_floats(&s);
    float *images = random_new(1, B * pixels(&s), 1);
    float *weight = random_new(2, s.dim * patch_floats(&s), 1), *bias = random_new(3, s.dim, 1);
    float *shared = filled_new(n, NAN), *alone = filled_new(n, NAN);
    float *tokens = filled_new(B * (1 + patches) * s.dim, 0);
    vit_patch_embed_forward(&s, B, images, weight, bias, shared, tokens);
#pragma omp parallel num_threads(1)
    vit_patch_embed_forward(&s, B, images, weight, bias, alone, tokens);
    check_same_bits("columns", n, shared, alone);
    free(images);
    free(weight);
    free(bias);
    free(shared);
    free(alone);
    free(tokens);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("patch_embed");
    TCase *c = tcase_create("patch_embed");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, odd_shapes);
    tcase_add_test(c, pixels_left_over);
    tcase_add_test(c, picture_smaller_than_a_patch);
    tcase_add_test(c, threads_do_not_change_bits);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
