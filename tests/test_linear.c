/* The linear layer against a naive double-precision one. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>

typedef struct reference {
    size_t M, in, out;
    const double *x, *weight, *bias, *cotangent;
} reference;

static double output(const reference *r, size_t i, size_t o) {
    double sum = r->bias ? r->bias[o] : 0;
    for (size_t k = 0; k < r->in; k++) {
        sum += r->x[i * r->in + k] * r->weight[o * r->in + k];
    }
    return sum;
}

static double loss(const void *context) {
    const reference *r = context;
    double sum = 0;
    for (size_t i = 0; i < r->M; i++) {
        for (size_t o = 0; o < r->out; o++) {
            sum += r->cotangent[i * r->out + o] * output(r, i, o);
        }
    }
    return sum;
}

static void check_forward(const reference *r, const float *x, const float *weight,
                          const float *bias) {
    size_t n = r->M * r->out;
    float *y = filled_new(n, NAN);
    double *expected = to_double(y, n);
    vit_linear_forward(r->M, r->in, r->out, x, weight, bias, y);
    for (size_t i = 0; i < n; i++) {
        expected[i] = output(r, i / r->out, i % r->out);
    }
    check_close("y", n, y, expected, 1e-6);
    free(y);
    free(expected);
}

static void check_backward(reference *r, const float *x, const float *weight, const float *dy) {
    size_t M = r->M, in = r->in, out = r->out;
    float *dx = filled_new(M * in, NAN);
    float *dweight0 = random_new(10, out * in, 1), *dweight = random_new(10, out * in, 1);
    float *dbias0 = random_new(11, out, 1), *dbias = random_new(11, out, 1);
    vit_linear_backward(M, in, out, x, weight, dy, dx, dweight, r->bias ? dbias : NULL);
    take_out(out * in, dweight, dweight0);
    take_out(out, dbias, dbias0);
    check_gradient_of("dx", loss, r, &r->x, M * in, dx, 30, 1e-5);
    check_gradient_of("dweight", loss, r, &r->weight, out * in, dweight, 30, 1e-5);
    if (r->bias) {
        check_gradient_of("dbias", loss, r, &r->bias, out, dbias, 30, 1e-5);
    }
    /* Without dx the parameters get the same. */
    float *again = random_new(10, out * in, 1);
    vit_linear_backward(M, in, out, x, weight, dy, NULL, again, NULL);
    take_out(out * in, again, dweight0);
    check_same_bits("dweight without dx", out * in, again, dweight);
    free(dx);
    free(dweight0);
    free(dweight);
    free(dbias0);
    free(dbias);
    free(again);
}

static void check_shape(size_t M, size_t in, size_t out, bool with_bias) {
    float *x = random_new(1, M * in, 1), *weight = random_new(2, out * in, 1);
    float *bias = random_new(3, out, 1), *dy = random_new(4, M * out, 1);
    double *xd = to_double(x, M * in), *wd = to_double(weight, out * in);
    double *bd = to_double(bias, out), *dyd = to_double(dy, M * out);
    reference r = {M, in, out, xd, wd, with_bias ? bd : NULL, dyd};
    check_forward(&r, x, weight, with_bias ? bias : NULL);
    check_backward(&r, x, weight, dy);
    free(x);
    free(weight);
    free(bias);
    free(dy);
    free(xd);
    free(wd);
    free(bd);
    free(dyd);
}

START_TEST(odd_shapes) {
    const size_t shapes[][3] = {{1, 1, 1},   {3, 5, 2},     {17, 16, 33},  {50, 33, 5},
                                {1, 192, 7}, {50, 192, 64}, {65, 31, 130}, {197, 48, 65}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_shape(shapes[i][0], shapes[i][1], shapes[i][2], true);
        check_shape(shapes[i][0], shapes[i][1], shapes[i][2], false);
    }
}
END_TEST

/* Large enough for the bias to be laid out by several threads. */
START_TEST(shared_among_threads) {
    check_shape(300, 3, 257, true);
    check_shape(2100, 5, 3, true); /* more rows than go together */
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("linear");
    TCase *c = tcase_create("linear");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, odd_shapes);
    tcase_add_test(c, shared_among_threads);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
