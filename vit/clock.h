/* The time since some moment, in seconds, by the clock that nobody sets: the clock on the wall is
 * put back now and then, and omp_get_wtime may be that one (it is in LLVM's OpenMP). */
#ifndef VIT_CLOCK_H
#define VIT_CLOCK_H

#include <time.h>

static inline double vit_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
