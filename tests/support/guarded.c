#include "guarded.h"

#include "support.h"

#include <math.h>

static float guard_value(size_t i) {
    return -12345.0f - (float)i;
}

void guard_set(float *x, size_t n) {
    for (size_t i = 0; i < GUARD; i++) {
        x[n + i] = guard_value(i);
    }
}

void guard_check(const char *what, const float *x, size_t n) {
    for (size_t i = 0; i < GUARD; i++) {
        ck_assert_msg(x[n + i] == guard_value(i), "%s: float %zu of %zu was written", what, n + i,
                      n);
    }
}

float *guarded_new(size_t n) {
    float *x = filled_new(n + GUARD, NAN);
    guard_set(x, n);
    return x;
}
