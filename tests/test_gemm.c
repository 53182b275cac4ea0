/* Matrix products against a naive double-precision one. */
#include "support/support.h"

#include "vit/gemm.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

typedef struct product {
    bool ta, tb;
    size_t M, N, K;
    size_t lda, ldb, ldc;
    float *A, *B, *C;
} product;

enum { PAD = 7 };

static product product_new(bool ta, bool tb, size_t M, size_t N, size_t K, size_t pad) {
    product p = {.ta = ta, .tb = tb, .M = M, .N = N, .K = K};
    /* BLAS wants strides of at least 1. */
    p.lda = (ta ? M : K) + pad + (pad == 0 && (ta ? M : K) == 0);
    p.ldb = (tb ? K : N) + pad + (pad == 0 && (tb ? K : N) == 0);
    p.ldc = N + pad + (pad == 0 && N == 0);
    p.A = random_new(1 + M, (ta ? K : M) * p.lda, 1);
    p.B = random_new(2 + N, (tb ? N : K) * p.ldb, 1);
    p.C = random_new(3 + K, M * p.ldc, 1);
    return p;
}

static void product_free(product *p) {
    free(p->A);
    free(p->B);
    free(p->C);
}

/* The entry, and the sum of the magnitudes that went into it: what rounding is proportional to. */
static double naive(const product *p, float alpha, float beta, size_t i, size_t j,
                    double *magnitude) {
    double sum = 0;
    *magnitude = 0;
    for (size_t k = 0; k < p->K; k++) {
        double a = p->ta ? p->A[k * p->lda + i] : p->A[i * p->lda + k];
        double b = p->tb ? p->B[j * p->ldb + k] : p->B[k * p->ldb + j];
        sum += alpha * a * b;
        *magnitude += fabs(alpha * a * b);
    }
    double before = beta == 0 ? 0 : beta * (double)p->C[i * p->ldc + j];
    *magnitude += fabs(before);
    return sum + before;
}

static void check_entry(const product *p, float alpha, float beta, size_t i, size_t j, float c) {
    double magnitude;
    double expected = naive(p, alpha, beta, i, j, &magnitude);
    double bound = 0x1p-24 * (double)(p->K + 3) * magnitude;
    if (!(fabs(c - expected) <= bound)) {
        ck_abort_msg("ta %d tb %d M %zu N %zu K %zu alpha %g beta %g: C[%zu,%zu] = %.9g, expected "
                     "%.9g within %.2g",
                     p->ta, p->tb, p->M, p->N, p->K, (double)alpha, (double)beta, i, j, (double)c,
                     expected, bound);
    }
}

static void check_product(const product *p, float alpha, float beta) {
    size_t floats = p->M * p->ldc;
    float *C = filled_new(floats, NAN);
    if (beta != 0) {
        memcpy(C, p->C, floats * sizeof *C);
    }
    vit_gemm(p->ta, p->tb, p->M, p->N, p->K, alpha, p->A, p->lda, p->B, p->ldb, beta, C, p->ldc);
    for (size_t i = 0; i < p->M; i++) {
        float *row = C + i * p->ldc;
        for (size_t j = 0; j < p->N; j++) {
            check_entry(p, alpha, beta, i, j, row[j]);
            row[j] = beta != 0 ? p->C[i * p->ldc + j] : NAN;
        }
    }
    /* Between the rows nothing may be written. */
    float *untouched = beta != 0 ? p->C : filled_new(floats, NAN);
    check_same_bits("gaps between rows", floats, C, untouched);
    if (beta == 0) {
        free(untouched);
    }
    free(C);
}

static void check_shape(size_t M, size_t N, size_t K) {
    for (int transposes = 0; transposes < 4; transposes++) {
        for (size_t pad = 0; pad <= PAD; pad += PAD) {
            product p = product_new(transposes & 1, transposes & 2, M, N, K, pad);
            check_product(&p, 1, 0);
            check_product(&p, 1, 1);
            check_product(&p, -0.5f, 0.25f);
            product_free(&p);
        }
    }
}

START_TEST(small_shapes) {
    const size_t sizes[] = {0, 1, 2, 3, 17};
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            for (size_t k = 0; k < 5; k++) {
                check_shape(sizes[i], sizes[j], sizes[k]);
            }
        }
    }
}
END_TEST

/* More than one tile of rows, of columns, of both, with remainders. */
START_TEST(large_shapes) {
    check_shape(63, 33, 192);
    check_shape(64, 50, 31);
    check_shape(65, 192, 65);
    check_shape(197, 65, 129);
    check_shape(5, 300, 700);
    check_shape(210, 260, 40);
}
END_TEST

START_TEST(inside_a_region) {
#pragma omp parallel num_threads(2)
    {
#pragma omp single
        {
            check_shape(65, 17, 33);
            check_shape(3, 0, 5);
        }
    }
}
END_TEST

static float *multiply(const product *p) {
    float *C = filled_new(p->M * p->ldc, 0);
    vit_gemm(p->ta, p->tb, p->M, p->N, p->K, 1, p->A, p->lda, p->B, p->ldb, 0, C, p->ldc);
    return C;
}

static void check_same_product(const product *p, const float *first, const char *what) {
    float *C = multiply(p);
    check_same_bits(what, p->M * p->ldc, C, first);
    free(C);
}

START_TEST(threads_do_not_change_bits) {
    for (int transposes = 0; transposes < 4; transposes++) {
        product p = product_new(transposes & 1, transposes & 2, 197, 191, 193, PAD);
        omp_set_num_threads(1);
        float *outside = multiply(&p);
        for (int threads = 2; threads <= 3; threads++) {
            omp_set_num_threads(threads);
            check_same_product(&p, outside, "outside a parallel region");
            ck_assert_int_eq(omp_get_max_threads(), threads); /* left as it was */
        }
        float *inside = NULL;
#pragma omp parallel num_threads(1)
        inside = multiply(&p);
        for (int threads = 2; threads <= 3; threads++) {
            float *each[3] = {NULL};
#pragma omp parallel num_threads(threads)
            each[omp_get_thread_num()] = multiply(&p);
            for (int i = 0; i < threads; i++) {
                check_same_bits("inside a parallel region", p.M * p.ldc, each[i], inside);
                free(each[i]);
            }
        }
        free(outside);
        free(inside);
        product_free(&p);
    }
}
END_TEST

START_TEST(where_work_may_be_shared) {
    ck_assert(vit_may_parallelise());
    for (int threads = 1; threads <= 2; threads++) {
        int may = 0;
#pragma omp parallel num_threads(threads) reduction(+ : may)
        may += vit_may_parallelise();
        ck_assert_int_eq(may, 0);
    }
}
END_TEST

START_TEST(names) {
    ck_assert_ptr_nonnull(strstr(vit_blas_name(), "OpenBLAS"));
    ck_assert_uint_gt(strlen(vit_blas_kernel()), 0);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("gemm");
    TCase *c = tcase_create("gemm");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, small_shapes);
    tcase_add_test(c, large_shapes);
    tcase_add_test(c, inside_a_region);
    tcase_add_test(c, threads_do_not_change_bits);
    tcase_add_test(c, where_work_may_be_shared);
    tcase_add_test(c, names);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
