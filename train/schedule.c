#include "train/schedule.h"

#include <math.h>
#include <stddef.h>

const char *const vit_schedule_names[] = {"cosine", "linear", "constant", NULL};

double vit_schedule_lr(const vit_schedule *schedule, double step) {
    if (step < schedule->warmup_steps) {
        return schedule->warmup_lr +
               (schedule->lr - schedule->warmup_lr) * step / schedule->warmup_steps;
    }
    if (schedule->kind == VIT_SCHED_CONSTANT) {
        return schedule->lr;
    }
    if (step >= schedule->total_steps) {
        return schedule->min_lr;
    }
    double done = step / schedule->total_steps;
    double share = schedule->kind == VIT_SCHED_LINEAR ? 1.0 - done
                                                      : 0.5 * (1.0 + cos(3.141592653589793 * done));
    return schedule->min_lr + (schedule->lr - schedule->min_lr) * share;
}
