/* The MLP against a naive double-precision one. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { X, FC1_WEIGHT, FC1_BIAS, FC2_WEIGHT, FC2_BIAS, INPUTS };
static const char *const names[INPUTS] = {"dx", "dfc1.weight", "dfc1.bias", "dfc2.weight",
                                          "dfc2.bias"};

typedef struct reference {
    size_t M, D, F;
    const double *in[INPUTS];
    const double *cotangent;
} reference;

static void row_forward(const reference *r, size_t i, double *hidden /* (F) */, double *y) {
    const double *x = r->in[X] + i * r->D;
    for (size_t f = 0; f < r->F; f++) {
        double sum = r->in[FC1_BIAS][f];
        for (size_t k = 0; k < r->D; k++) {
            sum += x[k] * r->in[FC1_WEIGHT][f * r->D + k];
        }
        hidden[f] = sum * 0.5 * (1 + erf(sum / sqrt(2)));
    }
    for (size_t j = 0; j < r->D; j++) {
        y[j] = r->in[FC2_BIAS][j];
        for (size_t f = 0; f < r->F; f++) {
            y[j] += hidden[f] * r->in[FC2_WEIGHT][j * r->F + f];
        }
    }
}

static double loss(const void *context) {
    const reference *r = context;
    double hidden[1024], y[256], sum = 0;
    ck_assert(r->F <= 1024 && r->D <= 256);
    for (size_t i = 0; i < r->M; i++) {
        row_forward(r, i, hidden, y);
        for (size_t j = 0; j < r->D; j++) {
            sum += r->cotangent[i * r->D + j] * y[j];
        }
    }
    return sum;
}

static void check_forward(const reference *r, float *const in[INPUTS], float *hidden,
                          float *activated) {
    size_t n = r->M * r->D;
    const vit_mlp_weights w = {in[FC1_WEIGHT], in[FC1_BIAS], in[FC2_WEIGHT], in[FC2_BIAS]};
    float *y = filled_new(n, NAN), *y2 = filled_new(n, NAN), *both = filled_new(r->M * r->F, NAN);
    double *expected = to_double(y, n), scratch[1024];
    vit_mlp_forward(r->M, r->D, r->F, &w, in[X], hidden, activated, y);
    for (size_t i = 0; i < r->M; i++) {
        row_forward(r, i, scratch, expected + i * r->D);
    }
    check_close("y", n, y, expected, 2e-6);
    vit_mlp_forward(r->M, r->D, r->F, &w, in[X], both, both, y2);
    check_same_bits("y with hidden activated in place", n, y2, y);
    free(y);
    free(y2);
    free(both);
    free(expected);
}

static void check_shape(size_t M, size_t D, size_t F) {
    const size_t sizes[INPUTS] = {M * D, F * D, F, D * F, D};
    float *in[INPUTS], *before[INPUTS], *grad[INPUTS];
    double *in64[INPUTS];
    reference r = {.M = M, .D = D, .F = F};
    for (int i = 0; i < INPUTS; i++) {
        in[i] = random_new((unsigned)i, sizes[i], 1);
        in64[i] = to_double(in[i], sizes[i]);
        r.in[i] = in64[i];
        before[i] = random_new(20 + (unsigned)i, sizes[i], 1);
        grad[i] = random_new(20 + (unsigned)i, sizes[i], 1);
    }
    memset(before[X], 0, sizes[X] * sizeof **before); /* dx is overwritten */
    float *dy = random_new(10, M * D, 1);
    double *dy64 = to_double(dy, M * D);
    r.cotangent = dy64;
    float *hidden = filled_new(M * F, NAN), *activated = filled_new(M * F, NAN);
    float *scratch = filled_new(2 * M * F, NAN);
    check_forward(&r, in, hidden, activated);
    const vit_mlp_weights w = {in[FC1_WEIGHT], in[FC1_BIAS], in[FC2_WEIGHT], in[FC2_BIAS]};
    const vit_mlp_grads g = {grad[FC1_WEIGHT], grad[FC1_BIAS], grad[FC2_WEIGHT], grad[FC2_BIAS]};
    vit_mlp_backward(M, D, F, &w, in[X], hidden, dy, scratch, grad[X], &g);
    check_same_bits("activated, made again", M * F, scratch, activated);
    for (int i = 0; i < INPUTS; i++) {
        take_out(sizes[i], grad[i], before[i]);
        check_gradient_of(names[i], loss, &r, &r.in[i], sizes[i], grad[i], 20, 1e-5);
    }
    for (int i = 0; i < INPUTS; i++) {
        free(in[i]);
        free(in64[i]);
        free(before[i]);
        free(grad[i]);
    }
    free(dy);
    free(dy64);
    free(hidden);
    free(activated);
    free(scratch);
}

START_TEST(odd_shapes) {
    check_shape(1, 1, 1);
    check_shape(3, 5, 7);
    check_shape(17, 16, 64);
    check_shape(50, 33, 20);
    check_shape(3, 192, 768);
    check_shape(90, 24, 96);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("mlp");
    TCase *c = tcase_create("mlp");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, odd_shapes);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
