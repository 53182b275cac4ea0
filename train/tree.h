/* The gradients of a batch's slots, summed in a fixed binary tree: first among the slots of this
 * rank, then among the ranks (train/comm.h). The sum has the same bits whichever thread or rank
 * computes which slot.
 *
 * With several ranks the gradient is cut in parts, each summed by itself: those whose backward pass
 * is done are under way to the other ranks while the pass goes on. */
#ifndef VIT_TREE_H
#define VIT_TREE_H

#include "train/comm.h"

typedef struct vit_tree_config {
    size_t floats; /* of a gradient */
    size_t leaves; /* slots of this rank, a power of two */
    int threads;   /* that hold a leaf at once */
    vit_comm *comm;
    const size_t *cuts; /* (parts + 1) from 0 to floats, rising; copied */
    size_t parts;       /* 1 with one rank */
} vit_tree_config;

typedef struct vit_tree vit_tree;
vit_status vit_tree_create(const vit_tree_config *config, vit_tree **out);
void vit_tree_free(vit_tree *tree);
/* Gradient blocks that vit_tree_create takes. */
size_t vit_tree_blocks(const vit_tree_config *config);

/* A new sum, into grads (floats). */
void vit_tree_begin(vit_tree *tree, float *grads);
/* Room for a leaf, inside the critical section vit_slots, which is the caller's; false when there
 * is none just now. *block is the number by which the tree knows it. */
bool vit_tree_take(vit_tree *tree, size_t *block);
float *vit_tree_floats(const vit_tree *tree, size_t block);
/* Part `part` of a leaf's gradient is in its block: it is carried up the tree as far as siblings
 * are there. A leaf's parts come in falling order. */
void vit_tree_merge(vit_tree *tree, size_t leaf, size_t block, size_t part);
/* When every leaf is merged: called by every thread of the region. */
void vit_tree_last_sum(vit_tree *tree);
/* After it, by one thread: waits for the ranks' sums; adds to *times. */
vit_status vit_tree_finish(vit_tree *tree, vit_comm_times *times);

#endif
