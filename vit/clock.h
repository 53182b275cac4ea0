/* Time by the clock that nobody sets: the clock on the wall is put back now and then, and
 * omp_get_wtime may be that one (it is in LLVM's OpenMP). */
#ifndef VIT_CLOCK_H
#define VIT_CLOCK_H

#include <time.h>

static inline double vit_seconds_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Since some moment. */
static inline double vit_seconds(void) {
    return vit_seconds_of(CLOCK_MONOTONIC);
}

/* So many seconds (0 or more) from now, to wait until: pthread_cond_clockwait, CLOCK_MONOTONIC. */
static inline struct timespec vit_seconds_from_now(double seconds) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    time_t whole = (time_t)seconds;
    at.tv_sec += whole;
    at.tv_nsec += (long)((seconds - (double)whole) * 1e9);
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

#endif
