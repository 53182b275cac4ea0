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

/* Every value of that parameter times a factor. */
void attention_scale(const attention_case *c, const char *name, float factor);

/* Runs, and compares y with the definition and the gradients of x and of every parameter with its
 * central differences: at most `samples` entries of each. */
void attention_check(attention_case *c, const char *what, size_t samples, double y_bound,
                     double gradient_bound);
/* Runs, and compares y with the definition; gradients only have to be finite. */
void attention_check_output(attention_case *c, const char *what, double bound);
void attention_check_finite(const attention_case *c);

/* attention_open with a golden file's shape, parameters, x and cotangent. */
void attention_golden_open(attention_case *c, const char *file, vit_attention_kind kind);
/* Compares y and the gradients with tests/golden/NAME.safetensors. */
void attention_check_golden(const char *name, vit_zeros_form form, vit_attention_kind kind);

#endif
