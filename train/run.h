/* What a run holds while it trains: between trainer.c, which does the steps, and setup.c, which
 * finds and frees all that they need. */
#ifndef VIT_RUN_H
#define VIT_RUN_H

#include "train/comm.h"
#include "train/memory_plan.h"
#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/saver.h"
#include "train/schedule.h"
#include "train/slots.h"
#include "train/trainer.h"

/* All that a run holds. Owned, unless said otherwise. */
typedef struct vit_run {
    vit_train_settings settings; /* as trained: what the data decided is filled in */
    vit_train_callbacks callbacks;
    int threads;
    vit_comm *comm; /* not owned; NULL: the only rank. Rank 0 has the folder and the callbacks */
    size_t local_ranks;       /* that share this machine and its memory */
    uint64_t memory;          /* bytes that the run may take; 0: unknown */
    vit_dataset *train, *val; /* val may be NULL */
    vit_model_bundle *bundle;
    vit_model_bundle *teacher_bundle;       /* NULL without --distill */
    vit_teacher teacher;                    /* its model and weights */
    size_t init_counts[VIT_TENSOR_ACTIONS]; /* with --init */
    vit_loader *loader;
    vit_batch *batches[2]; /* one is computed on while the other is filled */
    int current;           /* which is computed on */
    vit_slots *slots;
    vit_evaluator *evaluator; /* NULL without val */
    bool looks;               /* rank 0 has callbacks.look */
    float *logits;            /* (vit_evaluator_rows,K), for callbacks.look; else NULL */
    vit_comm_times exchange;  /* of gradients among ranks */
    float *grads, *moment1, *moment2;
    float *class_weights;         /* (classes), or NULL */
    float *sum;                   /* of the gradients of a step's batches; NULL when it has one */
    float *ema;                   /* NULL without --model-ema */
    float *trust;                 /* (parameters) scratch of the optimiser, or NULL */
    float *lr_scale;              /* (parameters) with --layer-decay, or NULL */
    vit_optimizer_blocks changed; /* of the above, by an update; not owned */
    vit_run_folder *folder;       /* of rank 0, else NULL */
    vit_saver *saver;             /* of rank 0 of several, with --save-every; else NULL */
    struct vit_keeper *keeper;    /* of rank 0 of several; else NULL */
    size_t epoch_batches, epoch_steps;
    uint64_t total_steps;
    uint64_t bad_steps;  /* --on-nan: that may be left out */
    bool out_of_time;    /* --time-limit */
    uint64_t save_steps; /* --save-every, in either unit; 0: none */
    double save_seconds;
    double saved; /* when: vit_seconds() */
    vit_schedule schedule;
    vit_memory_plan plan;

    vit_first_error unread; /* the epoch's first picture that was left out */
    vit_position at;
    vit_position finished; /* `at` after the last step */
} vit_run;

/* One of the blocks that a run holds beside the parameters. */
typedef struct vit_run_block {
    size_t offset; /* of the pointer in vit_run */
    size_t count;  /* floats */
    const char *name;
} vit_run_block;
enum { VIT_RUN_BLOCKS = 7 };
/* Those that the recipe needs; returns how many. */
size_t vit_run_list_blocks(const vit_recipe *recipe, const vit_param_table *table,
                           vit_run_block blocks[VIT_RUN_BLOCKS]);

/* The slots of a batch as the recipe wants them, without model, threads, teacher and class weights.
 */
vit_slots_config vit_recipe_slots(const vit_recipe *recipe, size_t batch_size);

/* Data, model, memory, and last the folder, which is written to only when all else is there: a
 * mistake found earlier leaves nothing behind. run->settings, callbacks and threads are set; also
 * after a failure vit_run_tear_down is called. */
vit_status vit_run_set_up(vit_run *run, const vit_train_request *request);
void vit_run_tear_down(vit_run *run);

/* Fetches what a batch wants, by all threads. */
void vit_run_fill(vit_run *run, vit_batch *batch);

/* The blocks that a checkpoint holds. */
void vit_run_blocks(const vit_run *run, float *blocks[VIT_STATE_BLOCKS]);

/* Through the callback, if there is one. */
void vit_run_warn(const vit_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
