#include "support.h"

#include "vit/rng.h"

#include <stdlib.h>

void random_floats(unsigned long long seed, size_t n, double scale, float *out) {
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)(scale * vit_rng_normal(&rng));
    }
}

/* Blocks have their exact size, so that a sanitizer sees one element too many; none at all is one.
 */
float *random_new(unsigned long long seed, size_t n, double scale) {
    float *out = calloc(n ? n : 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: %zu floats", n);
    random_floats(seed, n, scale, out);
    return out;
}

double *to_double(const float *x, size_t n) {
    double *out = calloc(n ? n : 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: %zu doubles", n);
    for (size_t i = 0; i < n; i++) {
        out[i] = x[i];
    }
    return out;
}

float *filled_new(size_t n, float value) {
    float *out = calloc(n ? n : 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: %zu floats", n);
    for (size_t i = 0; i < n; i++) {
        out[i] = value;
    }
    return out;
}

void take_out(size_t n, float *a, const float *b) {
    for (size_t i = 0; i < n; i++) {
        a[i] -= b[i];
    }
}
