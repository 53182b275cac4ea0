/* A batch is cut in fixed slots; a thread takes a slot and runs forward and backward for its
 * pictures; the slots' gradients are summed in a fixed binary tree. So the sum has the same bits on
 * any number of threads. See the README's architecture. */
#ifndef VIT_SLOTS_H
#define VIT_SLOTS_H

#include "data/loader.h"
#include "data/mix.h"
#include "train/comm.h"
#include "train/distill.h"
#include "vit/model.h"

/* The number of slots for a batch when the recipe says 0: the largest power of two that leaves at
 * least 4 pictures a slot. */
size_t vit_slots_auto(size_t batch_size);

typedef struct vit_slots vit_slots; /* workspaces and gradient blocks */

typedef struct vit_slots_config {
    const vit_model *model;
    size_t batch_size;
    size_t slots; /* a power of two, at most batch_size */
    size_t chunk; /* pictures in flight in a thread; 0 = chosen by the model's size */
    int threads;
    uint64_t seed;
    bool checkpoint; /* VIT_TRAINING_CHECKPOINTED */
    double drop_path;
    double smoothing;
    vit_mix_options mix;        /* mixup and CutMix; all 0: off */
    const vit_teacher *teacher; /* NULL for none; must outlive the slots */
    /* (classes) of a picture's loss, by its label, or by both labels' shares when it is mixed;
     * outlives the slots; NULL: all 1 */
    const float *class_weights;
    /* Each rank has slots / ranks of them, in order: a number of ranks that is a power of two, at
     * most slots. NULL: one rank. */
    vit_comm *comm;
    size_t ranks;       /* without a comm, only to be planned: as the first of so many; 0: one */
    size_t part_floats; /* of the gradient that ranks sum at a time, at least; 0: chosen */
} vit_slots_config;
vit_status vit_slots_create(const vit_slots_config *config, vit_slots **out);
void vit_slots_free(vit_slots *slots);
/* Bytes that vit_slots_create takes: for the gradients of slots, and for what the threads compute
 * with. Either is SIZE_MAX when it does not fit. */
typedef struct vit_slots_memory {
    size_t gradients, activations;
} vit_slots_memory;
vit_status vit_slots_bytes(const vit_slots_config *config, vit_slots_memory *bytes);
/* How vit_slots_create cuts the work: pictures that a thread has in flight, and parts of the
 * gradient that ranks sum one after another. */
vit_status vit_slots_cut(const vit_slots_config *config, size_t *chunk, size_t *parts);

typedef struct vit_step_result {
    double loss;            /* mean over the batch */
    size_t correct;         /* by the pictures' own labels, also where they were mixed */
    size_t first_bad;       /* place in the batch of the first picture whose loss is not finite, or
                               SIZE_MAX */
    double compute_seconds; /* the slots, and the last sum of their gradients */
    double wait_seconds;    /* from the last slot's end until the next batch was filled */
    vit_comm_times comm;    /* of the sums over ranks */
} vit_step_result;

/* Mean-loss gradient of a filled batch into grads (params.total floats, overwritten), while threads
 * that have no slot left fill `next` (NULL, or prepared) through the loader. All ranks: each
 * computes its slots of the batch, of which it needs no more than its share of the pictures, and
 * every one gets the same gradient and result. Errors of fetches stay in next->error. Allocates
 * nothing. A loss that is not finite gives VIT_ERROR_NUMERIC, with result and grads filled. */
vit_status vit_slots_step(vit_slots *slots, const float *params, const vit_batch *batch,
                          vit_loader *loader, vit_batch *next, float *grads,
                          vit_step_result *result);

#endif
