/* What the test suites share: golden tensors, random numbers, comparisons, gradient checks. */
#ifndef VIT_TEST_SUPPORT_H
#define VIT_TEST_SUPPORT_H

#include "vit/safetensors.h"

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

/* Fails the test with the library's message when the status is not VIT_OK. */
#define ck_vit_ok(expression)                                                                      \
    do {                                                                                           \
        vit_status s_ = (expression);                                                              \
        ck_assert_msg(s_ == VIT_OK, "%s: %s", #expression, vit_last_error());                      \
    } while (0)

/* Fails the test unless the library's last message has this part. */
void check_message(const char *part);

/* Fails the test unless the status is that one, and the library's message has this part. */
#define ck_vit_fails(expression, expected, part)                                                   \
    do {                                                                                           \
        vit_status s_ = (expression);                                                              \
        ck_assert_msg(s_ == (expected), "%s: status %d, %s", #expression, (int)s_,                 \
                      vit_last_error());                                                           \
        check_message(part);                                                                       \
    } while (0)

/* Runs one suite under its name; the exit code for main. Honours CK_FORK. */
int test_run(Suite *suite);

/* ---- golden files: $ZVIT_GOLDEN_DIR, or the copy in tests/golden ---- */
const char *golden_path(const char *name, char buffer[1024]);
/* A file with its tensors' bytes in memory, which stay until the process ends. */
vit_status safetensors_load(const char *path, vit_safetensors **out);
vit_safetensors *golden_open(const char *name);
/* The tensor as malloc'ed float32 / float64; fails the test when absent. count may be NULL. */
float *golden_f32(const vit_safetensors *file, const char *name, size_t *count);
double *golden_f64(const vit_safetensors *file, const char *name, size_t *count);

/* ---- random numbers for tests, keyed by a seed ---- */
void random_floats(unsigned long long seed, size_t n, double scale, float *out); /* normal */
float *random_new(unsigned long long seed, size_t n, double scale);              /* malloc'ed */
double *to_double(const float *x, size_t n);                                     /* malloc'ed */
/* n floats of one value, malloc'ed; NAN for memory that is to be overwritten. */
float *filled_new(size_t n, float value);
/* a -= b: what a backward added to a gradient that held b before. */
void take_out(size_t n, float *a, const float *b);

/* ---- comparison ---- */
/* ||a - b|| / ||b||; ||a|| when b is zero. NaN anywhere gives NaN (which fails any bound). */
double relative_error(size_t n, const float *a, const double *b);
/* Fails the test, naming what, when the relative error is above the bound. */
void check_close(const char *what, size_t n, const float *actual, const double *expected,
                 double bound);
/* Fails the test unless a and b have the same bits. */
void check_same_bits(const char *what, size_t n, const float *a, const float *b);

/* ---- gradient check ----
 * loss(context, x) is a double-precision reference: sum of output * cotangent. The central
 * difference of every one of the n inputs (or of `samples` of them, chosen at random, when samples
 * < n) is compared with the analytic gradient as
 * ||analytic - numeric|| / ||numeric|| over those entries, signs included. */
typedef double (*loss_function)(void *context, const double *x);
void check_gradient(const char *what, loss_function loss, void *context, size_t n, const double *x,
                    const float *analytic, size_t samples, double bound);
/* The same of one input (n) among those that the loss has in its context: `input` is where it finds
 * it, and is left as it was. */
typedef double (*loss_of_inputs)(const void *context);
void check_gradient_of(const char *what, loss_of_inputs loss, const void *context,
                       const double **input, size_t n, const float *analytic, size_t samples,
                       double bound);

#endif
