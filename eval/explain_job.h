/* One picture being explained. Private to eval/explain*.c. */
#ifndef VIT_EXPLAIN_JOB_H
#define VIT_EXPLAIN_JOB_H

#include "vit/model_file.h"

typedef struct vit_explain_job {
    const vit_model_bundle *bundle;
    vit_workspace *workspace; /* for training, after the picture's forward */
    const float *input;       /* (3,H,W) */
    const float *dlogits;     /* (K) the gradient of the class's log-odds by the logits */
    float *values;            /* (patches) to fill */
} vit_explain_job;

/* sum over a patch's pixels of gradient (3,H,W) x input, into values. */
void vit_patch_products(const vit_explain_job *job, const float *gradient);

/* The methods. */
vit_status vit_explain_gradient(const vit_explain_job *job);
vit_status vit_explain_zeros_rollout(const vit_explain_job *job);
vit_status vit_explain_rollout(const vit_explain_job *job);

#endif
