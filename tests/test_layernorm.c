/* LayerNorm against a naive double-precision one. */
#include "support/support.h"

#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows lie apart by their own strides; what lies between them is nobody's. */
typedef struct reference {
    size_t M, D;
    double eps;
    double offset; /* added to every x, so that differences are taken around small numbers */
    const double *x /* (M,D) */, *gamma, *beta, *cotangent /* (M,D) */;
} reference;

static void normalise_row(const reference *r, size_t i, double *y) {
    const double *x = r->x + i * r->D;
    double mean = 0, variance = 0;
    for (size_t j = 0; j < r->D; j++) {
        mean += (x[j] + r->offset) / (double)r->D;
    }
    for (size_t j = 0; j < r->D; j++) {
        variance += pow(x[j] + r->offset - mean, 2) / (double)r->D;
    }
    for (size_t j = 0; j < r->D; j++) {
        y[j] = (x[j] + r->offset - mean) / sqrt(variance + r->eps);
        y[j] = r->gamma ? y[j] * r->gamma[j] + r->beta[j] : y[j];
    }
}

static double loss(const void *context) {
    const reference *r = context;
    double y[512];
    ck_assert_uint_le(r->D, 512);
    double sum = 0;
    for (size_t i = 0; i < r->M; i++) {
        normalise_row(r, i, y);
        for (size_t j = 0; j < r->D; j++) {
            sum += r->cotangent[i * r->D + j] * y[j];
        }
    }
    return sum;
}

/* (M,D) packed from rows `stride` apart. */
static float *packed(size_t M, size_t D, const float *x, size_t stride) {
    float *out = filled_new(M * D, NAN);
    for (size_t i = 0; i < M * D; i++) {
        out[i] = x[i / D * stride + i % D];
    }
    return out;
}

static void check_gap(const char *what, size_t M, size_t D, const float *x, size_t stride) {
    for (size_t i = 0; i < M * stride; i++) {
        if (i % stride >= D && !isnan(x[i])) {
            ck_abort_msg("%s: wrote between its rows", what);
        }
    }
}

typedef struct tensors {
    float *x, *gamma, *beta, *dy, *mean, *rstd;
    size_t x_stride, y_stride, dx_stride;
} tensors;

static void check_forward(const reference *r, const tensors *t) {
    size_t M = r->M, D = r->D;
    float *y = filled_new(M * t->y_stride, NAN);
    vit_layernorm_forward(M, D, (float)r->eps, t->x, t->x_stride, t->gamma, t->beta, y, t->y_stride,
                          t->mean, t->rstd);
    float *actual = packed(M, D, y, t->y_stride);
    double *expected = to_double(actual, M * D);
    for (size_t i = 0; i < M; i++) {
        normalise_row(r, i, expected + i * D);
    }
    check_close("y", M * D, actual, expected, r->offset != 0 ? 1e-4 : 1e-6);
    check_gap("y", M, D, y, t->y_stride);
    if (t->gamma && t->x_stride == D) {
        float *again = filled_new(M * D, NAN);
        vit_layernorm_again(M, D, t->x, t->gamma, t->beta, t->mean, t->rstd, again);
        check_same_bits("y again", M * D, again, actual);
        free(again);
    }
    free(y);
    free(actual);
    free(expected);
}

static void check_backward(reference *r, const tensors *t, bool in_place) {
    size_t M = r->M, D = r->D;
    float *dx = filled_new(M * t->dx_stride, NAN);
    float *dgamma0 = random_new(10, D, 1), *dgamma = random_new(10, D, 1);
    float *dbeta0 = random_new(11, D, 1), *dbeta = random_new(11, D, 1);
    size_t dy_stride = t->y_stride;
    const float *dy = t->dy;
    if (in_place) {
        ck_assert_uint_eq(t->dx_stride, t->y_stride);
        memcpy(dx, t->dy, M * dy_stride * sizeof *dx);
        dy = dx;
    }
    vit_layernorm_backward(M, D, t->x, t->x_stride, t->gamma, t->mean, t->rstd, dy, dy_stride, dx,
                           t->dx_stride, dgamma, dbeta);
    take_out(D, dgamma, dgamma0);
    take_out(D, dbeta, dbeta0);
    float *actual = packed(M, D, dx, t->dx_stride);
    double bound = r->offset != 0 ? 1e-4 : 1e-5;
    if (D > 1) {
        check_gradient_of("dx", loss, r, &r->x, M * D, actual, 60, bound);
    } else { /* one channel is its own mean: nothing comes back */
        for (size_t i = 0; i < M; i++) {
            ck_assert_float_eq(actual[i], 0);
        }
    }
    if (r->gamma && D > 1) {
        check_gradient_of("dgamma", loss, r, &r->gamma, D, dgamma, 60, bound);
    }
    if (r->gamma) {
        check_gradient_of("dbeta", loss, r, &r->beta, D, dbeta, 60, 1e-5);
    }
    if (!in_place) {
        check_gap("dx", M, D, dx, t->dx_stride);
    }
    free(dx);
    free(dgamma0);
    free(dgamma);
    free(dbeta0);
    free(dbeta);
    free(actual);
}

static void check_shape(size_t M, size_t D, size_t gap, bool affine, double offset, bool in_place) {
    tensors t = {.x_stride = D + gap,
                 .y_stride = D + 2 * gap,
                 .dx_stride = in_place ? D + 2 * gap : D + 3 * gap};
    t.x = random_new(1, M * t.x_stride, 1);
    for (size_t i = 0; i < M * t.x_stride; i++) {
        t.x[i] += (float)offset;
    }
    float *gamma = random_new(2, D, 1), *beta = random_new(3, D, 1);
    t.gamma = affine ? gamma : NULL;
    t.beta = affine ? beta : NULL;
    t.dy = random_new(4, M * t.y_stride, 1);
    t.mean = filled_new(M, NAN);
    t.rstd = filled_new(M, NAN);
    float *x = packed(M, D, t.x, t.x_stride), *dy = packed(M, D, t.dy, t.y_stride);
    double *xd = to_double(x, M * D), *gd = to_double(gamma, D), *bd = to_double(beta, D);
    double *dyd = to_double(dy, M * D);
    for (size_t i = 0; i < M * D; i++) {
        xd[i] -= offset;
    }
    /* The library takes eps in float32. */
    reference r = {M,  D, VIT_LAYERNORM_EPS, offset, xd, affine ? gd : NULL, affine ? bd : NULL,
                   dyd};
    check_forward(&r, &t);
    check_backward(&r, &t, in_place);
    free(t.x);
    free(gamma);
    free(beta);
    free(t.dy);
    free(t.mean);
    free(t.rstd);
    free(x);
    free(dy);
    free(xd);
    free(gd);
    free(bd);
    free(dyd);
}

START_TEST(odd_shapes) {
    const size_t rows[] = {1, 3, 17, 50};
    /* Not 2: two channels become +-1 whatever they are, and the gradient is what is left of eps. */
    const size_t widths[] = {1, 3, 5, 16, 33, 64, 192};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 7; j++) {
            check_shape(rows[i], widths[j], 0, true, 0, false);
            check_shape(rows[i], widths[j], 3, true, 0, false);
            check_shape(rows[i], widths[j], 5, false, 0, false);
        }
    }
}
END_TEST

START_TEST(backward_in_place) {
    check_shape(17, 33, 3, true, 0, true);
    check_shape(17, 64, 0, false, 0, true);
}
END_TEST

/* Around 1000 a float32 holds four digits of what remains after the mean. */
START_TEST(large_offset) {
    check_shape(17, 192, 0, true, 1000, false);
    check_shape(3, 33, 1, false, -1000, false);
}
END_TEST

START_TEST(forward_in_place) {
    enum { M = 5, D = 20, STRIDE = 60 };
    float *x = random_new(1, M * STRIDE, 1), *apart = filled_new(M * STRIDE, NAN);
    memcpy(apart, x, M * STRIDE * sizeof *x);
    float mean[M], rstd[M];
    vit_layernorm_forward(M, D, 1e-5f, x + D, STRIDE, NULL, NULL, apart + D, STRIDE, mean, rstd);
    vit_layernorm_forward(M, D, 1e-5f, x + D, STRIDE, NULL, NULL, x + D, STRIDE, mean, rstd);
    check_same_bits("one head in place", M * STRIDE, x, apart);
    free(x);
    free(apart);
}
END_TEST

START_TEST(constant_rows_stay_finite) {
    enum { D = 192 };
    const float values[] = {0, 1, -1000, 1e10f, 1e-30f};
    float *gamma = random_new(1, D, 1), *beta = random_new(2, D, 1), *dy = random_new(3, D, 1);
    for (size_t v = 0; v < 5; v++) {
        float *x = filled_new(D, values[v]), *y = filled_new(D, NAN), *dx = filled_new(D, NAN);
        float mean, rstd;
        vit_layernorm_forward(1, D, VIT_LAYERNORM_EPS, x, D, gamma, beta, y, D, &mean, &rstd);
        vit_layernorm_backward(1, D, x, D, gamma, &mean, &rstd, dy, D, dx, D, NULL, NULL);
        for (size_t j = 0; j < D; j++) {
            ck_assert(isfinite(y[j]) && isfinite(dx[j]));
        }
        if (fabsf(values[v]) <= 1) {
            check_same_bits("constant row", D, y, beta);
        }
        free(x);
        free(y);
        free(dx);
    }
    free(gamma);
    free(beta);
    free(dy);
}
END_TEST

/* A gradient that nobody asks for is not computed, and changes nothing in the others. */
START_TEST(optional_outputs) {
    enum { M = 6, D = 40 };
    float *x = random_new(1, M * D, 1), *dy = random_new(2, M * D, 1), *gamma = random_new(3, D, 1);
    float *y = filled_new(M * D, NAN), *dx = filled_new(M * D, NAN), *dx2 = filled_new(M * D, NAN);
    float *dg = filled_new(D, 0), *db = filled_new(D, 0);
    float *dg2 = filled_new(D, 0), *db2 = filled_new(D, 0);
    float mean[M], rstd[M];
    vit_layernorm_forward(M, D, 1e-6f, x, D, NULL, NULL, y, D, mean, rstd);
    vit_layernorm_backward(M, D, x, D, gamma, mean, rstd, dy, D, dx, D, dg, db);
    vit_layernorm_backward(M, D, x, D, gamma, mean, rstd, dy, D, dx2, D, NULL, NULL);
    vit_layernorm_backward(M, D, x, D, gamma, mean, rstd, dy, D, NULL, 0, dg2, NULL);
    vit_layernorm_backward(M, D, x, D, gamma, mean, rstd, dy, D, NULL, 0, NULL, db2);
    check_same_bits("dx", M * D, dx2, dx);
    check_same_bits("dgamma", D, dg2, dg);
    check_same_bits("dbeta", D, db2, db);
    free(x);
    free(dy);
    free(gamma);
    free(y);
    free(dx);
    free(dx2);
    free(dg);
    free(db);
    free(dg2);
    free(db2);
}
END_TEST

/* Shared out among threads or not, the bits are the same. */
START_TEST(threads_do_not_change_bits) {
    enum { M = 333, D = 192 };
    float *x = random_new(1, M * D, 1), *gamma = random_new(2, D, 1), *beta = random_new(3, D, 1);
    float *y[2], *mean[2], *rstd[2];
    for (int i = 0; i < 2; i++) {
        y[i] = filled_new(M * D, NAN);
        mean[i] = filled_new(M, NAN);
        rstd[i] = filled_new(M, NAN);
    }
    vit_layernorm_forward(M, D, 1e-6f, x, D, gamma, beta, y[0], D, mean[0], rstd[0]);
#pragma omp parallel num_threads(1)
    vit_layernorm_forward(M, D, 1e-6f, x, D, gamma, beta, y[1], D, mean[1], rstd[1]);
    check_same_bits("y", M * D, y[0], y[1]);
    check_same_bits("mean", M, mean[0], mean[1]);
    check_same_bits("rstd", M, rstd[0], rstd[1]);
    for (int i = 0; i < 2; i++) {
        free(y[i]);
        free(mean[i]);
        free(rstd[i]);
    }
    free(x);
    free(gamma);
    free(beta);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("layernorm");
    TCase *c = tcase_create("layernorm");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, odd_shapes);
    tcase_add_test(c, backward_in_place);
    tcase_add_test(c, large_offset);
    tcase_add_test(c, forward_in_place);
    tcase_add_test(c, constant_rows_stay_finite);
    tcase_add_test(c, optional_outputs);
    tcase_add_test(c, threads_do_not_change_bits);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
