/* Matrix products: the only place that calls BLAS. All matrices are row-major float32. */
#ifndef VIT_GEMM_H
#define VIT_GEMM_H

#include <stdbool.h>
#include <stddef.h>

/* C (M,N) = alpha op(A) op(B) + beta C, where op(A) is (M,K), op(B) is (K,N), and op transposes
 * when asked. lda, ldb, ldc: floats from one stored row to the next. beta == 0 overwrites C,
 * whatever it held.
 *
 * Inside a parallel region the product runs on the calling thread alone. Outside one, C is cut in
 * tiles, which depend on its shape alone, and the OpenMP threads share them. Either way the bits do
 * not depend on the number of threads. */
void vit_gemm(bool transpose_a, bool transpose_b, size_t M, size_t N, size_t K, float alpha,
              const float *A, size_t lda, const float *B, size_t ldb, float beta, float *C,
              size_t ldc);

/* True when the caller is not in a parallel region (of any size, one thread included): work may
 * then be shared out inside an operation. */
bool vit_may_parallelise(void);

/* "OpenBLAS 0.3.21 (openmp)" and the name of the kernel it chose ("Haswell", "SkylakeX"). Static
 * strings. */
const char *vit_blas_name(void);
const char *vit_blas_kernel(void);

#endif
