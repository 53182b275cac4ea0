/* Measuring a model on a data set. */
#ifndef VIT_EVALUATE_H
#define VIT_EVALUATE_H

#include "data/loader.h"
#include "vit/model.h"

typedef struct vit_eval_result {
    size_t images, classes;
    double top1, top5; /* percent; top5 counts the min(5, K) best */
    double loss;       /* mean cross-entropy, no smoothing */
    double seconds, images_per_second;
} vit_eval_result;

typedef void (*vit_eval_progress)(void *context, size_t done, size_t total);

/* An evaluator keeps workspaces and batches, so that training can evaluate each epoch without
 * allocating. */
typedef struct vit_evaluator vit_evaluator;
vit_status vit_evaluator_create(const vit_model *model, const vit_preprocess *preprocess,
                                const vit_dataset *dataset, size_t batch_size, int threads,
                                vit_evaluator **out);
void vit_evaluator_free(vit_evaluator *evaluator);

/* A picture that cannot be read is an error. logits (images,K) may be NULL. The result does not
 * depend on threads or batch size. */
vit_status vit_evaluate(vit_evaluator *evaluator, const float *params, vit_eval_progress progress,
                        void *context, float *logits, vit_eval_result *result);

#endif
