#include "support.h"

#include <math.h>
#include <string.h>

double relative_error(size_t n, const float *a, const double *b) {
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = a[i] - b[i];
        difference += d * d;
        norm += b[i] * b[i];
    }
    return norm == 0 ? sqrt(difference) : sqrt(difference / norm);
}

/* The entry that is off most, or the first that is not a number: where to begin looking. */
static size_t worst_entry(size_t n, const float *a, const double *b) {
    size_t worst = 0;
    double most = -1;
    for (size_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (isnan(d)) {
            return i;
        }
        if (d > most) {
            most = d;
            worst = i;
        }
    }
    return worst;
}

void check_close(const char *what, size_t n, const float *actual, const double *expected,
                 double bound) {
    double error = relative_error(n, actual, expected);
    if (error <= bound) { /* false for NaN */
        return;
    }
    size_t i = worst_entry(n, actual, expected);
    ck_abort_msg("%s: relative error %.3g is above %.3g; worst of %zu at %zu: %.9g, expected %.9g",
                 what, error, bound, n, i, n ? (double)actual[i] : 0.0, n ? expected[i] : 0.0);
}

void check_same_bits(const char *what, size_t n, const float *a, const float *b) {
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            ck_abort_msg("%s: entry %zu of %zu: %.9g and %.9g", what, i, n, (double)a[i],
                         (double)b[i]);
        }
    }
}

void check_message(const char *part) {
    ck_assert_msg(strstr(vit_last_error(), part) != NULL, "\"%s\" does not name %s",
                  vit_last_error(), part);
}
