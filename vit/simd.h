/* How the hot loops of the layers are vectorised: plain C over fixed blocks of VIT_LANES floats,
 * compiled for several instruction sets and chosen by the processor at run time.
 *
 * A sum of many floats runs over VIT_LANES accumulators whatever the register width, and products
 * are never contracted into fused ones (-ffp-contract=off), so these loops give the same bits on
 * every x86-64.
 *
 * Keep OpenMP out of a VIT_CLONES function: let a driver share out rows and call it. And make it a
 * sizeable piece of work: it is called through a pointer. Its name must be the only one of its kind
 * in the program, static or not: clang makes the function that chooses the clone a global one. */
#ifndef VIT_SIMD_H
#define VIT_SIMD_H

#include <stddef.h>

#define VIT_LANES 16

/* Before release 18 clang gives the resolvers of static clones to the whole program: functions of
 * the same name in two files clash, or, worse, one silently stands in for the other
 * (github.com/llvm/llvm-project/issues/65114). There every processor runs the default. */
#if defined(__clang__) && __clang_major__ < 18 && !defined(VIT_NO_CLONES)
#define VIT_NO_CLONES
#endif

#if defined(__x86_64__) && defined(__linux__) && !defined(VIT_NO_CLONES)
#define VIT_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define VIT_CLONES
#endif

/* Helpers for use inside VIT_CLONES functions. */
#define VIT_INLINE static inline __attribute__((always_inline, unused))

VIT_INLINE float vit_lanes_sum(const float lanes[VIT_LANES]) {
    float eight[8], four[4];
    for (int i = 0; i < 8; i++) {
        eight[i] = lanes[i] + lanes[i + 8];
    }
    for (int i = 0; i < 4; i++) {
        four[i] = eight[i] + eight[i + 4];
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* Sum of n floats. */
VIT_INLINE float vit_sum(size_t n, const float *x) {
    float lanes[VIT_LANES] = {0};
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (int j = 0; j < VIT_LANES; j++) {
            lanes[j] += x[i + (size_t)j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lanes[j] += x[i + j];
    }
    return vit_lanes_sum(lanes);
}

/* Inner product of two rows of n floats. */
VIT_INLINE float vit_dot(size_t n, const float *x, const float *y) {
    float lanes[VIT_LANES] = {0};
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (int j = 0; j < VIT_LANES; j++) {
            lanes[j] += x[i + (size_t)j] * y[i + (size_t)j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lanes[j] += x[i + j] * y[i + j];
    }
    return vit_lanes_sum(lanes);
}

#endif
