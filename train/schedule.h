/* The learning rate as a pure function of the step. */
#ifndef VIT_SCHEDULE_H
#define VIT_SCHEDULE_H

#include <stdint.h>

typedef enum vit_schedule_kind {
    VIT_SCHED_COSINE,
    VIT_SCHED_LINEAR,
    VIT_SCHED_CONSTANT
} vit_schedule_kind;
extern const char *const vit_schedule_names[]; /* "cosine", "linear", "constant" */

typedef struct vit_schedule {
    double lr, warmup_lr, min_lr;
    double warmup_steps, total_steps; /* total includes the warm-up */
    int kind;                         /* vit_schedule_kind */
} vit_schedule;

/* Linear from warmup_lr to lr over warmup_steps, then by kind over the whole length as timm's
 * CosineLRScheduler (linear: PolyLRScheduler of power 1) does, down to min_lr: the argument is
 * step/total_steps, not counted from the end of the warm-up. Constant stays at lr. step may be
 * fractional. */
double vit_schedule_lr(const vit_schedule *schedule, double step);

#endif
