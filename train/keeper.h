/* A run that is asked to stop finishes its step, saves and ends. Whoever asked may not wait that
 * long: mpirun kills ranks two seconds after it was told to end, while a step may take minutes. So
 * rank 0 of several has a thread which, when a stop was asked for and the step goes on, writes what
 * the step before it left. That needs no copy: until a step's update its weights are the last
 * one's. */
#ifndef VIT_KEEPER_H
#define VIT_KEEPER_H

#include "train/run.h"

typedef struct vit_keeper vit_keeper;

/* *out is NULL where there is nothing to keep: one process, which nobody kills unasked, or a rank
 * that does not write. run is borrowed, and its folder and should_stop are used by the thread while
 * they are lent. */
vit_status vit_keeper_create(vit_run *run, vit_keeper **out);
/* NULL is fine, here and below. */
void vit_keeper_free(vit_keeper *keeper);

/* Until vit_keeper_take_back, which waits for what is being written, the run does not change its
 * weights, moments, average and `finished`, and writes nothing. */
void vit_keeper_lend(vit_keeper *keeper);
void vit_keeper_take_back(vit_keeper *keeper);

#endif
