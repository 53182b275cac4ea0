/* The learning rate as a pure function of the step. */
#ifndef VIT_SCHEDULE_H
#define VIT_SCHEDULE_H

#include <stdint.h>

typedef struct vit_schedule {
    double lr, warmup_lr, min_lr;
    double warmup_steps, total_steps; /* total includes the warm-up */
} vit_schedule;

/* Linear from warmup_lr to lr over warmup_steps, then cosine over the whole length as timm's
 * CosineLRScheduler does (the cosine's argument is step/total_steps, not counted from the end of
 * the warm-up), down to min_lr. step may be fractional. */
double vit_schedule_lr(const vit_schedule *schedule, double step);

#endif
