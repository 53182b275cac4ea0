/* A run: epochs of steps, evaluation after each epoch, the RUN folder. Prints nothing: the caller's
 * callbacks do. vit_train_progress and vit_epoch_row are in vit/zvit.h. */
#ifndef VIT_TRAINER_H
#define VIT_TRAINER_H

#include "eval/evaluate.h"
#include "train/comm.h"
#include "train/init_from.h"
#include "train/memory_plan.h"

/* A look into a run, for whoever writes about it. All is borrowed. */
typedef struct vit_train_look {
    const vit_train_settings *settings; /* as trained: what the data decided is filled in */
    const vit_model *model;
    const vit_dataset *train, *val; /* val may be NULL */
    vit_evaluator *evaluator;       /* of val; NULL without */
    int best_epoch;
    const vit_epoch_row *row; /* the epoch that ended; NULL at the end of the run */
    bool stopped;             /* at the end: by should_stop, before all was trained */
    const float *logits;      /* (val->count,K) of this epoch's model, as vit_evaluate fills them;
                                 NULL without val, and at the end */
} vit_train_look;

typedef struct vit_train_callbacks {
    void *context;
    /* When the run is about to begin: what it takes, of memory bytes (0: unknown). */
    void (*planned)(void *context, const vit_memory_plan *plan, uint64_t memory);
    void (*started)(void *context, const vit_model *model, size_t train_images, size_t val_images,
                    int epochs);
    /* A resumed run goes on after these, which may be all. */
    void (*resumed)(void *context, int epochs_done, size_t steps_done);
    void (*progress)(void *context, const vit_train_progress *progress);
    void (*evaluating)(void *context, size_t done, size_t total);
    void (*epoch)(void *context, const vit_epoch_row *row);
    void (*warning)(void *context, const char *message);
    /* Asked between steps; with several ranks also by a thread of rank 0's own, meanwhile. */
    bool (*should_stop)(void *context);
    /* with --init, before started: vit_init_listener */
    void (*initialised)(void *context, vit_init_action action, const char *tensor,
                        const char *detail);
    /* After an epoch, once its checkpoint is written and epoch was called; and before a run that
     * has finished an epoch comes to its end, also when it is stopped. */
    void (*look)(void *context, const vit_train_look *look);
} vit_train_callbacks; /* any may be NULL */

typedef struct vit_train_result {
    int epochs; /* of the whole run, as --steps or --epochs made them */
    int best_epoch;
    double best_top1, last_top1; /* percent; NaN without val */
    double seconds;
    vit_comm_times exchange;         /* of gradients among ranks, of all steps */
    size_t init[VIT_TENSOR_ACTIONS]; /* with --init: how many tensors */
} vit_train_result;

typedef struct vit_train_request {
    const vit_train_settings *settings; /* model.num_classes is taken from the data */
    const unsigned char *sources;       /* as vit_train_setting_groups, for args.json, or NULL */
    const char *data, *out;
    uint64_t memory; /* bytes that the run may take, or it is refused; 0: as vit_memory_limit */
    /* Go on in the folder out from its last checkpoint, bit for bit, or from the start when there
     * is none yet. Settings or data other than the run began with are refused, but for those that
     * do not decide what the steps compute. */
    bool resume;
    bool override; /* not refused, as long as the model's weights have the same shapes */
    /* Several ranks train together: all call vit_train, with the same settings and data. Rank 0
     * alone opens the folder and calls back, but for should_stop, which is asked on all. NULL: one
     * rank. */
    vit_comm *comm;
    size_t local_ranks; /* that share this machine; 0: one */
} vit_train_request;

/* Trains on DATA (train and, when present, val) into the folder out. A stop asked for saves and
 * returns VIT_ERROR_STOPPED, unless the last step was done already. A loss or gradient that is not
 * finite ends the run with VIT_ERROR_NUMERIC naming the step and the last good checkpoint. With
 * settings->data.on_error = skip, a picture that cannot be read is left out of its batch, whose
 * mean is over the others; each epoch that had one warns, and one in which none could be read is an
 * error. */
vit_status vit_train(const vit_train_request *request, const vit_train_callbacks *callbacks,
                     vit_train_result *result);

#endif
