/* What training and inference take of memory, told before it is taken. Sizes come from the code
 * that lays the memory out (vit_workspace_bytes, vit_slots_bytes, ...), not from a formula beside
 * it. */
#ifndef VIT_MEMORY_PLAN_H
#define VIT_MEMORY_PLAN_H

#include "train/recipe.h"
#include "vit/model.h"

#define VIT_PLAN_ROWS 16 /* VIT_RUN_BLOCKS, and those of a training beside them */

typedef struct vit_memory_row {
    const char *name; /* "activations" */
    size_t bytes;     /* SIZE_MAX: more than can be counted */
} vit_memory_row;

typedef struct vit_memory_plan {
    vit_memory_row rows[VIT_PLAN_ROWS];
    size_t count;
    size_t total; /* of the rows */
} vit_memory_plan;

typedef struct vit_plan_request {
    const vit_model *model;
    const vit_recipe *recipe; /* batch size, slots, optimiser, ... */
    int threads;
    size_t train_images;      /* of which a step takes at most the batch size */
    size_t val_images;        /* 0: nothing is measured */
    bool looks;               /* what the model says of val is kept, for a report */
    size_t ranks;             /* what the first of so many takes; 0: one */
    const vit_model *teacher; /* of --distill, loaded already; or NULL */
} vit_plan_request;

/* A training as the request says. Pictures kept by --cache ram come on top and are checked by the
 * cache. The last row, the program itself, is what this process holds now (a list of the pictures
 * and a teacher's weights, if they are loaded), with an allowance for each thread's decoded picture
 * and the panels that BLAS packs. */
vit_status vit_plan_training(const vit_plan_request *request, vit_memory_plan *plan);

/* zvit eval and zvit classify of a batch. */
vit_status vit_plan_evaluation(const vit_model *model, size_t batch_size, int threads,
                               vit_memory_plan *plan);
vit_status vit_plan_classification(const vit_model *model, size_t batch_size, int threads,
                                   vit_memory_plan *plan);

/* Refuses with VIT_ERROR_LIMIT, naming both amounts, the largest row and what to lower, when the
 * plan takes more than is available to this process (as vit_memory_limit counts); 0: unknown,
 * nothing is refused. */
vit_status vit_plan_check(const vit_memory_plan *plan, uint64_t available);

/* --batch-size auto: the largest power of two with which the training takes no more than half of
 * what is available, at most 1024 and a sixteenth of the pictures (an epoch should have steps to
 * learn in), at least 1. available 0: unknown; the other bounds decide. */
vit_status vit_plan_batch_size(const vit_plan_request *request, uint64_t available,
                               int *batch_size);

#endif
