/* A shared library that is loaded before others (LD_PRELOAD): the clock that people set runs
 * backwards, an hour a second. The one that nobody sets (CLOCK_MONOTONIC) is left alone. */
#include <dlfcn.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static int real_gettime(clockid_t clock, struct timespec *out) {
    int (*real)(clockid_t, struct timespec *);
    void *address = dlsym(RTLD_NEXT, "clock_gettime");
    memcpy(&real, &address, sizeof real); /* C has no cast for it */
    return real(clock, out);
}

static time_t backwards(void) {
    struct timespec since;
    const time_t begin = 1800000000; /* 2027 */
    real_gettime(CLOCK_MONOTONIC, &since);
    return begin - since.tv_sec % 100000 * 3600 - since.tv_nsec / 1000000;
}

int clock_gettime(clockid_t clock, struct timespec *out) {
    int result = real_gettime(clock, out);
    if (clock == CLOCK_REALTIME) {
        out->tv_sec = backwards();
    }
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    (void)zone;
    *out = (struct timeval){.tv_sec = backwards()};
    return 0;
}

time_t time(time_t *out) {
    time_t now = backwards();
    if (out) {
        *out = now;
    }
    return now;
}
