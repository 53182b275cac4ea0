/* The head against a naive double-precision one that normalises in timm's order: with the class
 * token every token first, then token 0; with mean pooling the mean first. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS, NORM_WEIGHT, NORM_BIAS, WEIGHT, BIAS, INPUTS };
static const char *const names[INPUTS] = {"dtokens", "dnorm.weight", "dnorm.bias", "dweight",
                                          "dbias"};

typedef struct reference {
    vit_head_shape s;
    size_t B;
    const double *in[INPUTS];
    const double *cotangent;
} reference;

static void normalise(const reference *r, const double *x, double *y) {
    size_t D = r->s.dim;
    double mean = 0, variance = 0;
    for (size_t j = 0; j < D; j++) {
        mean += x[j] / (double)D;
    }
    for (size_t j = 0; j < D; j++) {
        variance += (x[j] - mean) * (x[j] - mean) / (double)D;
    }
    for (size_t j = 0; j < D; j++) {
        y[j] = (x[j] - mean) / sqrt(variance + 1e-6) * r->in[NORM_WEIGHT][j] + r->in[NORM_BIAS][j];
    }
}

static void picture(const reference *r, size_t b, double *features, double *logits) {
    size_t D = r->s.dim, N = r->s.tokens;
    const double *tokens = r->in[TOKENS] + b * N * D;
    double pooled[256] = {0};
    ck_assert_uint_le(D, 256);
    for (size_t i = r->s.prefix; r->s.mean_pool && i < N; i++) {
        for (size_t j = 0; j < D; j++) {
            pooled[j] += tokens[i * D + j] / (double)(N - r->s.prefix);
        }
    }
    normalise(r, r->s.mean_pool ? pooled : tokens, features);
    for (size_t k = 0; k < r->s.classes; k++) {
        logits[k] = r->in[BIAS][k];
        for (size_t j = 0; j < D; j++) {
            logits[k] += features[j] * r->in[WEIGHT][k * D + j];
        }
    }
}

static double loss(const void *context) {
    const reference *r = context;
    size_t K = r->s.classes;
    double features[256], logits[256], sum = 0;
    ck_assert_uint_le(K, 256);
    for (size_t b = 0; b < r->B; b++) {
        picture(r, b, features, logits);
        for (size_t k = 0; k < K; k++) {
            sum += r->cotangent[b * K + k] * logits[k];
        }
    }
    return sum;
}

static void check_forward(const reference *r, const vit_head_weights *w, const float *tokens,
                          const vit_head_saved *saved) {
    size_t K = r->s.classes, D = r->s.dim, B = r->B;
    float *logits = filled_new(B * K, NAN);
    double *expected = to_double(logits, B * K), *features = to_double(saved->features, B * D);
    vit_head_forward(&r->s, B, w, tokens, saved, logits);
    for (size_t b = 0; b < B; b++) {
        picture(r, b, features + b * D, expected + b * K);
    }
    check_close("logits", B * K, logits, expected, 5e-6);
    check_close("features", B * D, saved->features, features, 5e-6);
    free(logits);
    free(expected);
    free(features);
}

/* Tokens that the pooling leaves out get a gradient of exactly 0. */
static void check_left_out(const reference *r, const float *dtokens) {
    for (size_t i = 0; i < r->B * r->s.tokens; i++) {
        size_t token = i % r->s.tokens;
        bool used = r->s.mean_pool ? token >= r->s.prefix : token == 0;
        for (size_t j = 0; j < r->s.dim && !used; j++) {
            ck_assert(dtokens[i * r->s.dim + j] == 0);
        }
    }
}

static void check_shape(vit_head_shape s, size_t B) {
    size_t N = s.tokens, D = s.dim, K = s.classes;
    const size_t sizes[INPUTS] = {B * N * D, D, D, K * D, K};
    float *in[INPUTS], *before[INPUTS], *grad[INPUTS];
    double *in64[INPUTS];
    reference r = {.s = s, .B = B};
    for (int i = 0; i < INPUTS; i++) {
        in[i] = random_new((unsigned)i, sizes[i], 1);
        in64[i] = to_double(in[i], sizes[i]);
        r.in[i] = in64[i];
        before[i] = random_new(20 + (unsigned)i, sizes[i], 1);
        grad[i] = random_new(20 + (unsigned)i, sizes[i], 1);
    }
    memset(before[TOKENS], 0, sizes[TOKENS] * sizeof **before); /* dtokens is overwritten */
    float *dlogits = random_new(10, B * K, 1), *scratch = filled_new(2 * B * D, NAN);
    double *dlogits64 = to_double(dlogits, B * K);
    r.cotangent = dlogits64;
    const vit_head_weights w = {in[NORM_WEIGHT], in[NORM_BIAS], in[WEIGHT], in[BIAS]};
    const vit_head_grads g = {grad[NORM_WEIGHT], grad[NORM_BIAS], grad[WEIGHT], grad[BIAS]};
    const vit_head_saved saved = {filled_new(B * D, NAN), filled_new(B * D, NAN),
                                  filled_new(B, NAN), filled_new(B, NAN)};
    check_forward(&r, &w, in[TOKENS], &saved);
    vit_head_backward(&s, B, &w, &saved, dlogits, scratch, grad[TOKENS], &g);
    check_left_out(&r, grad[TOKENS]);
    for (int i = 0; i < INPUTS; i++) {
        take_out(sizes[i], grad[i], before[i]);
        check_gradient_of(names[i], loss, &r, &r.in[i], sizes[i], grad[i], 400, 2e-5);
    }
    for (int i = 0; i < INPUTS; i++) {
        free(in[i]);
        free(in64[i]);
        free(before[i]);
        free(grad[i]);
    }
    free(dlogits);
    free(dlogits64);
    free(scratch);
    free(saved.pooled);
    free(saved.features);
    free(saved.mean);
    free(saved.rstd);
}

START_TEST(class_token) {
    check_shape((vit_head_shape){1, 1, 5, 3, false}, 1);
    check_shape((vit_head_shape){5, 1, 16, 1, false}, 2);
    check_shape((vit_head_shape){17, 1, 33, 7, false}, 3);
    check_shape((vit_head_shape){3, 1, 4, 3, false}, 9); /* more pictures than channels */
}
END_TEST

START_TEST(mean_pooling) {
    check_shape((vit_head_shape){1, 0, 5, 3, true}, 1);
    check_shape((vit_head_shape){4, 0, 16, 2, true}, 3);
    check_shape((vit_head_shape){10, 1, 33, 7, true}, 2);
    check_shape((vit_head_shape){17, 2, 70, 11, true}, 2);
}
END_TEST

/* Exactly 0: what was in memory before, however small, adds nothing. */
START_TEST(mean_of_zeros) {
    enum { B = 2, N = 5, D = 17, K = 3 };
    vit_head_shape s = {N, 1, D, K, true};
    float *tokens = filled_new(B * N * D, 0), *weight = random_new(1, K * D, 1);
    float norm[D] = {0}, bias[K] = {0}, logits[B * K];
    const vit_head_weights w = {norm, norm, weight, bias};
    float pooled[B * D], features[B * D], mean[B], rstd[B];
    const vit_head_saved saved = {pooled, features, mean, rstd};
    vit_head_forward(&s, B, &w, tokens, &saved, logits);
    for (size_t i = 0; i < (size_t)B * D; i++) {
        ck_assert(pooled[i] == 0);
    }
    free(tokens);
    free(weight);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("head");
    TCase *c = tcase_create("head");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, class_token);
    tcase_add_test(c, mean_pooling);
    tcase_add_test(c, mean_of_zeros);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
