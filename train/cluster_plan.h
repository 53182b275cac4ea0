/* What a training on several machines takes of time and network, told before it is begun. The
 * formula and what it assumes: docs/cluster.md. */
#ifndef VIT_CLUSTER_PLAN_H
#define VIT_CLUSTER_PLAN_H

#include "train/recipe.h"
#include "vit/model.h"

typedef struct vit_cluster_request {
    const vit_model *model;
    const vit_recipe *recipe; /* batch size, slots, epochs, mixing, what the optimiser keeps */
    size_t images, val_images;
    int nodes, node_ranks; /* machines, ranks on each; their product is a power of two */
    int cores; /* of a machine, which its ranks share evenly: a multiple of node_ranks */
    /* Of a machine whose cores all train: products of 3 forward passes a picture in 10^9 a second,
     * as vit_config_flops counts them and zvit bench train measures them. */
    double gflops;
    double bandwidth;      /* of a machine's link, each way, in 10^9 bit/s */
    double latency;        /* seconds, of a message between machines */
    double copy_seconds;   /* of a core, for a byte sent between machines and one received */
    double decode_seconds; /* of one core, for a picture: reading, decoding, cropping */
    double image_bytes;    /* of a picture's file */
    double update_seconds; /* of the optimiser's update; 0: by the parameters' bytes */
} vit_cluster_request;

typedef struct vit_cluster_plan {
    size_t ranks, slots;
    size_t rounds;       /* slots that a thread computes one after another */
    double busy;         /* share of the threads' time in rounds that has a slot, 0..1 */
    double work;         /* operations of a picture's step */
    size_t parts;        /* of the gradient, which are exchanged one after another */
    double compute;      /* seconds: a batch's forward and backward passes, and what delays them */
    double exchange;     /* seconds: a batch's gradients among the ranks */
    double exchange_cpu; /* seconds of a rank's cores that the exchange takes */
    double window;       /* seconds of the backward passes in which parts are complete already */
    double exposed;      /* seconds of the exchange that no computing hides */
    double update;       /* seconds: the optimiser, once a step */
    double step;         /* seconds of a step, of grad_accum_steps batches */
    double hidden;       /* share of the exchange that computing hides, 0..1 */
    double step_bytes;   /* that a machine sends in a step, and receives */
    double steps;        /* of the training */
    double epoch, evaluation, total; /* seconds; epoch: without its evaluation */
    double images_per_second;        /* of training */
    double efficiency;               /* against one machine's speed times their number, 0..1 */
    double total_bytes;              /* that a machine sends in the training */
    double read_bytes_per_second;    /* of pictures' files, by one machine */
} vit_cluster_plan;

/* Errors: values out of range; ranks that are no power of two, or more than slots. */
vit_status vit_plan_cluster(const vit_cluster_request *request, vit_cluster_plan *plan);

#endif
