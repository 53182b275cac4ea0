/* One attention layer with everything that a forward and a backward need, for the attention
 * suites. */
#ifndef VIT_TEST_ATTENTION_CASE_H
#define VIT_TEST_ATTENTION_CASE_H

#include "reference_attention.h"

typedef struct attention_case {
    vit_attention attention;
    vit_param_table table;
    reference_row row; /* the definition to compare with; NULL: reference_attention.c has it */
    size_t B;
    float *params, *grads;  /* (table.total) */
    float *x, *dy, *y, *dx; /* (B,N,D) */
    vit_arena arena;
    vit_attention_saved saved;
    float *scratch;
} attention_case;

/* A layer with random parameters, inputs and cotangents, keyed by seed. Fails the test when the
 * configuration is refused. */
void attention_open(attention_case *c, const vit_attention_config *config, size_t B,
                    unsigned long long seed);
void attention_close(attention_case *c);
/* Forward, and backward into grads (cleared first) and dx. What no backward should read of earlier
 * calls is NaN. */
void attention_run(attention_case *c);

/* The values, or the gradients, of the parameter of that name (without prefix). */
float *attention_param(const attention_case *c, const char *name, size_t *size);
float *attention_grad(const attention_case *c, const char *name, size_t *size);

/* Runs, and compares y with the definition and the gradients of x and of every parameter with its
 * central differences: at most `samples` entries of each. */
void attention_check(attention_case *c, const char *what, size_t samples, double y_bound,
                     double gradient_bound);

/* The largest errors against a golden file of the authors' layer. */
typedef struct attention_errors {
    double y, x, params;
    const char *worst; /* parameter, of static storage until the next call */
} attention_errors;
/* attention_open with a golden file's shape, parameters, x and cotangent. */
void attention_golden_open(attention_case *c, const char *file, vit_attention_kind kind);
attention_errors attention_golden(const char *file, vit_zeros_form form, vit_attention_kind kind);

#endif
