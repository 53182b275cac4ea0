/* A model with random weights, a picture, and what the model says of it. */
#ifndef VIT_TEST_EXPLAIN_CASE_H
#define VIT_TEST_EXPLAIN_CASE_H

#include "eval/explain.h"

enum { EXPLAIN_CLASSES = 4 }; /* "ant", "bee", "cat", "0" */

typedef struct explain_case {
    vit_model_bundle *bundle;
    vit_image picture;
    vit_workspace *workspace; /* for training, after the picture's forward */
    float *input;             /* (3,H,W) */
    float logits[EXPLAIN_CLASSES];
} explain_case;

/* Patches of 4 in pictures of 12 x 16; kind: vit_attention_kind; token: a class token, which the
 * head reads. */
void explain_open(explain_case *e, int kind, bool token);
void explain_open_size(explain_case *e, int kind, bool token, int height, int width);
void explain_close(explain_case *e);
/* A copy of the input, malloc'ed. */
float *explain_input(const explain_case *e);

#endif
