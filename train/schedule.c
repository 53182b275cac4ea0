#include "train/schedule.h"

#include <math.h>

double vit_schedule_lr(const vit_schedule *schedule, double step) {
    if (step < schedule->warmup_steps) {
        return schedule->warmup_lr +
               (schedule->lr - schedule->warmup_lr) * step / schedule->warmup_steps;
    }
    if (step >= schedule->total_steps) {
        return schedule->min_lr;
    }
    double cosine = cos(3.141592653589793 * step / schedule->total_steps);
    return schedule->min_lr + 0.5 * (schedule->lr - schedule->min_lr) * (1.0 + cosine);
}
