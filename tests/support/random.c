#include "support.h"

#include "vit/rng.h"

#include <stdlib.h>

void random_floats(unsigned long long seed, size_t n, double scale, float *out) {
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(scale * vit_rng_normal(&rng));
    }
}

/* One element more than asked for, so that n == 0 gives memory too. */
float *random_new(unsigned long long seed, size_t n, double scale) {
    float *out = calloc(n + 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: %zu floats", n);
    random_floats(seed, n, scale, out);
    return out;
}

double *to_double(const float *x, size_t n) {
    double *out = calloc(n + 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: %zu doubles", n);
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i];
    }
    return out;
}
