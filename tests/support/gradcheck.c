#include "support.h"

#include "vit/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The five-point rule errs by h^4 and by round-off / h: at 1e-3 times the size of x both are far
 * below float32. */
static double central_difference(loss_function loss, void *context, double *x, size_t i) {
    double at = x[i];
    double h = 1e-3 * fmax(1.0, fabs(at));
    double value[4];
    const double step[4] = {-2, -1, 1, 2};
    for (int j = 0; j < 4; j++) {
        x[i] = at + step[j] * h;
        value[j] = loss(context, x);
    }
    x[i] = at;
    return (value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * h);
}

/* The first `samples` entries of order become a random choice without repetition. */
static void choose(size_t n, size_t samples, size_t *order) {
    vit_rng rng = vit_rng_make(n, 0, samples, VIT_RNG_TEST);
    for (size_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (size_t i = 0; i < samples; i++) {
        size_t j = i + vit_rng_below(&rng, (uint32_t)(n - i));
        size_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

void check_gradient(const char *what, loss_function loss, void *context, size_t n, const double *x,
                    const float *analytic, size_t samples, double bound) {
    size_t count = samples < n ? samples : n;
    ck_assert_msg(count > 0, "%s: a gradient check of nothing", what);
    double *at = malloc(n * sizeof *at);
    size_t *order = malloc(n * sizeof *order);
    float *actual = malloc(count * sizeof *actual);
    double *numeric = malloc(count * sizeof *numeric);
    ck_assert_msg(at && order && actual && numeric, "%s: out of memory", what);
    memcpy(at, x, n * sizeof *at);
    choose(n, samples < n ? samples : 0, order);
    for (size_t i = 0; i < count; i++) {
        actual[i] = analytic[order[i]];
        numeric[i] = central_difference(loss, context, at, order[i]);
    }
    check_close(what, count, actual, numeric, bound);
    free(at);
    free(order);
    free(actual);
    free(numeric);
}

typedef struct varied {
    loss_of_inputs loss;
    const void *context;
    const double **input;
} varied;

static double loss_at(void *context, const double *value) {
    const varied *v = context;
    *v->input = value;
    return v->loss(v->context);
}

void check_gradient_of(const char *what, loss_of_inputs loss, const void *context,
                       const double **input, size_t n, const float *analytic, size_t samples,
                       double bound) {
    const double *original = *input;
    varied v = {loss, context, input};
    check_gradient(what, loss_at, &v, n, original, analytic, samples, bound);
    *input = original;
}
