#include "vit/gemm.h"

#include <cblas.h>
#include <omp.h>
#include <threads.h>

#if defined(__clang__) || defined(__GNUC__)
#define BLAS_INT(n) ((blasint)(n))
#endif

/* A product that is shared out is cut into tiles of C of at most these sizes, all nearly the same.
 * The 197 tokens of one picture times 192 channels then make four tiles, times 768 twelve. Measured
 * on two threads: of half as many rows, a quarter slower, as a tile packs its part of A and B anew;
 * of all rows or all columns, as fast, but they feed fewer threads. */
enum { TILE_ROWS = 104, TILE_COLUMNS = 128 };
/* The units of OpenBLAS's kernels: no tile ends within one. */
enum { UNIT_ROWS = 4, UNIT_COLUMNS = 16 };

bool vit_may_parallelise(void) {
    /* Not omp_in_parallel: it says no inside a region of one thread, and the blocks, so the bits,
     * would then depend on the number of threads. */
    return omp_get_level() == 0;
}

/* The pthread build of OpenBLAS would start threads of its own in every call. */
static void blas_setup(void) {
    if (openblas_get_parallel() == OPENBLAS_THREAD) {
        openblas_set_num_threads(1);
    }
}

/* The OpenMP build of OpenBLAS takes as many threads as its caller may have, unless it finds itself
 * in an active parallel region; a region of one thread is none. So it is told every time. */
static void gemm_one_thread(bool transpose_a, bool transpose_b, size_t M, size_t N, size_t K,
                            float alpha, const float *A, size_t lda, const float *B, size_t ldb,
                            float beta, float *C, size_t ldc) {
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, BLAS_INT(M), BLAS_INT(N), BLAS_INT(K),
                alpha, A, BLAS_INT(lda), B, BLAS_INT(ldb), beta, C, BLAS_INT(ldc));
    omp_set_num_threads(threads);
}

static size_t tile_count(size_t n, size_t size) {
    return n / size + (n % size != 0);
}

/* The smallest multiple of unit that cuts n into as few parts as parts of `most` do. */
static size_t tile_size(size_t n, size_t most, size_t unit) {
    size_t parts = n > most ? tile_count(n, most) : 1;
    size_t size = tile_count(n, parts);
    return size > 0 ? (size + unit - 1) / unit * unit : unit;
}

void vit_gemm(bool transpose_a, bool transpose_b, size_t M, size_t N, size_t K, float alpha,
              const float *A, size_t lda, const float *B, size_t ldb, float beta, float *C,
              size_t ldc) {
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, blas_setup);
    if (!vit_may_parallelise()) {
        gemm_one_thread(transpose_a, transpose_b, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    size_t height = tile_size(M, TILE_ROWS, UNIT_ROWS);
    size_t width = tile_size(N, TILE_COLUMNS, UNIT_COLUMNS);
    size_t across = tile_count(N, width), tiles = tile_count(M, height) * across;
#pragma omp parallel for schedule(static) if (tiles > 1)
    for (size_t tile = 0; tile < tiles; tile++) {
        size_t row = tile / across * height, column = tile % across * width;
        size_t rows = M - row < height ? M - row : height;
        size_t columns = N - column < width ? N - column : width;
        gemm_one_thread(transpose_a, transpose_b, rows, columns, K, alpha,
                        transpose_a ? A + row : A + row * lda, lda,
                        transpose_b ? B + column * ldb : B + column, ldb, beta,
                        C + row * ldc + column, ldc);
    }
}

const char *vit_blas_name(void) {
    return openblas_get_config();
}

const char *vit_blas_kernel(void) {
    return openblas_get_corename();
}
