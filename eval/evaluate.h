/* Measuring a model on a data set. */
#ifndef VIT_EVALUATE_H
#define VIT_EVALUATE_H

#include "data/data_options.h"
#include "data/loader.h"
#include "vit/model.h"

typedef struct vit_eval_result {
    size_t images, classes;              /* measured */
    size_t skipped;                      /* could not be read and were left out */
    char first_skipped[VIT_MESSAGE_MAX]; /* why the first of them */
    double top1, top5;                   /* percent; top5 counts the min(5, K) best */
    double loss;                         /* mean cross-entropy, no smoothing */
    double seconds, images_per_second;
} vit_eval_result;

typedef void (*vit_eval_progress)(void *context, size_t done, size_t total);

/* An evaluator keeps workspaces and batches, so that training can evaluate each epoch without
 * allocating. reading: how pictures are decoded and what to do with one that cannot be read; NULL:
 * as its table's defaults. */
typedef struct vit_evaluator vit_evaluator;
/* Pictures that a thread computes at once. */
size_t vit_evaluation_chunk(const vit_model *model);
vit_status vit_evaluator_create(const vit_model *model, const vit_preprocess *preprocess,
                                const vit_dataset *dataset, size_t batch_size, int threads,
                                const vit_data_options *reading, vit_evaluator **out);
void vit_evaluator_free(vit_evaluator *evaluator);
/* Bytes that an evaluator takes for a data set of so many pictures, which ranks share (1: it has
 * all); SIZE_MAX when they do not fit. */
size_t vit_evaluator_bytes(const vit_model *model, size_t images, size_t ranks, size_t batch_size,
                           int threads);

/* ---- several ranks ----
 *
 * Processes that measure together: each computes a contiguous share of the data set, what is said
 * of each picture is gathered, and every rank sums all of it in the order of the data set. So no
 * picture counts twice, and the result has the bits of one rank's. */
typedef struct vit_eval_ranks {
    size_t rank, ranks;
    void *context;
    /* Every rank calls these, in the same order. Of gather's data, rank r has filled the bytes
     * [offsets[r], offsets[r + 1]), and everybody gets all; of collect's, rank 0 gets all, and the
     * others have room for no more than their own, which begin at data[0]. agree fails on every
     * rank when it is given a failure on one. */
    vit_status (*gather)(void *context, void *data, const size_t *offsets);
    vit_status (*collect)(void *context, void *data, const size_t *offsets);
    vit_status (*agree)(void *context, vit_status status);
} vit_eval_ranks;

/* As vit_evaluator_create, for one of several ranks; ranks NULL: the only one. All have the same
 * arguments but for threads. */
vit_status vit_evaluator_create_share(const vit_model *model, const vit_preprocess *preprocess,
                                      const vit_dataset *dataset, size_t batch_size, int threads,
                                      const vit_data_options *reading, const vit_eval_ranks *ranks,
                                      vit_evaluator **out);
/* The rows that logits of vit_evaluate have here: all pictures on rank 0, else the rank's own. */
size_t vit_evaluator_rows(const vit_evaluator *evaluator);
/* A block for these logits, (rows, K), which the caller frees (vit_free). */
vit_status vit_evaluator_logits(const vit_evaluator *evaluator, float **out);

/* Test-time augmentation (eval/tta.h), from the next call on. Flip: what is measured (and given out
 * as logits) is log of the mean of the softmax probabilities of the picture and of its mirror
 * image. Twice the work. */
vit_status vit_evaluator_set_tta(vit_evaluator *evaluator, vit_tta tta);
/* From the next call on should_stop (NULL: nobody) is asked before each batch: true ends the call
 * with VIT_ERROR_STOPPED. */
void vit_evaluator_set_stop(vit_evaluator *evaluator, bool (*should_stop)(void *context),
                            void *context);

/* A picture that cannot be read is an error, or is left out and counted; when none is left, that is
 * an error. logits (vit_evaluator_rows,K), (dataset->count,K) on the only rank, may be NULL; rows
 * of what was left out are NaN; they are what vit_outcome_create makes everything else of. The
 * result does not depend on threads, batch size or ranks. Several ranks call it together, with
 * logits on all or none; progress is of the rank's own share. */
vit_status vit_evaluate(vit_evaluator *evaluator, const float *params, vit_eval_progress progress,
                        void *context, float *logits, vit_eval_result *result);

#endif
