#include "vit/gemm.h"

#include <cblas.h>
#include <omp.h>
#include <threads.h>

#if defined(__clang__) || defined(__GNUC__)
#define BLAS_INT(n) ((blasint)(n))
#endif

/* Rows of C that one thread takes when a product is shared out: enough to use the packed B well,
 * little enough that the 197 tokens of one picture feed several threads. */
enum { ROW_BLOCK = 64 };

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

void vit_gemm(bool transpose_a, bool transpose_b, size_t M, size_t N, size_t K, float alpha,
              const float *A, size_t lda, const float *B, size_t ldb, float beta, float *C,
              size_t ldc) {
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, blas_setup);
    if (!vit_may_parallelise()) {
        gemm_one_thread(transpose_a, transpose_b, M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    size_t blocks = (M + ROW_BLOCK - 1) / ROW_BLOCK;
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (size_t block = 0; block < blocks; block++) {
        size_t row = block * ROW_BLOCK;
        size_t rows = M - row < ROW_BLOCK ? M - row : ROW_BLOCK;
        gemm_one_thread(transpose_a, transpose_b, rows, N, K, alpha,
                        transpose_a ? A + row : A + row * lda, lda, B, ldb, beta, C + row * ldc,
                        ldc);
    }
}

const char *vit_blas_name(void) {
    return openblas_get_config();
}

const char *vit_blas_kernel(void) {
    return openblas_get_corename();
}
