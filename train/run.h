/* What a run holds while it trains: between trainer.c, which does the steps, and setup.c, which
 * finds and frees all that they need. */
#ifndef VIT_RUN_H
#define VIT_RUN_H

#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/slots.h"
#include "train/trainer.h"

/* All that a run holds. Owned, unless said otherwise. */
typedef struct vit_run {
    vit_train_settings settings; /* as trained: what the data decided is filled in */
    vit_train_callbacks callbacks;
    int threads;
    vit_dataset *train, *val; /* val may be NULL */
    vit_model_bundle *bundle;
    vit_model_bundle *teacher_bundle;       /* NULL without --distill */
    vit_teacher teacher;                    /* its model and weights */
    size_t init_counts[VIT_TENSOR_ACTIONS]; /* with --init */
    vit_loader *loader;
    vit_batch *batches[2]; /* step s computes on batches[s % 2] */
    vit_slots *slots;
    vit_evaluator *evaluator; /* NULL without val */
    float *grads, *moment1, *moment2;
    float *class_weights; /* (classes), or NULL */
    vit_run_folder *folder;
    size_t epoch_steps;
    vit_schedule schedule;

    uint64_t step;           /* done so far */
    vit_first_error skipped; /* the epoch's first picture that was left out */
    double train_seconds, eval_seconds;
    int epochs_done;
    int best_epoch; /* 0: none yet */
    double best_top1, best_loss, last_top1;
} vit_run;

/* Data, model, memory, and last the folder, which is written to only when all else is there: a
 * mistake found earlier leaves nothing behind. run->settings, callbacks and threads are set; also
 * after a failure vit_run_tear_down is called. */
vit_status vit_run_set_up(vit_run *run, const unsigned char *sources, const char *data,
                          const char *out);
void vit_run_tear_down(vit_run *run);

/* Through the callback, if there is one. */
void vit_run_warn(const vit_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
