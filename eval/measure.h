/* Measuring a model from the file to the figures: an evaluator, and the outcome of what it says. */
#ifndef VIT_MEASURE_H
#define VIT_MEASURE_H

#include "eval/evaluate.h"
#include "eval/outcome.h"
#include "vit/model_file.h"

typedef struct vit_measure_request {
    const vit_model_bundle *bundle;
    const vit_dataset *dataset; /* with the bundle's classes */
    const char *model;          /* what to call it, in messages and in the outcome */
    const char *data, *split;   /* for the outcome */
    size_t batch_size;
    int threads;
    vit_tta tta;
    size_t topk; /* of each picture in the outcome */
    const vit_data_options *reading;
    vit_eval_progress progress;         /* may be NULL */
    bool (*should_stop)(void *context); /* as vit_evaluator_set_stop */
    void *context;
    const vit_eval_ranks *ranks; /* that measure together; NULL: one */
} vit_measure_request;

/* The outcome borrows from the request's bundle and data set, and its strings. result is filled in
 * also when what was measured is not finite. Of several ranks, rank 0 alone has an outcome; the
 * others' is NULL, and they do not hear how making it went. */
vit_status vit_measure(const vit_measure_request *request, vit_eval_result *result,
                       vit_outcome **out);

#endif
