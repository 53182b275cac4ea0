/* What a run starts from and learns from besides its pictures: the weights of another model, and
 * the answers of another model. */
#ifndef VIT_TRANSFER_H
#define VIT_TRANSFER_H

#include "vit/options.h"

#include <limits.h>

typedef struct vit_transfer {
    char init[PATH_MAX];    /* weights to start from, "" for fresh ones; vit_init_from */
    char distill[PATH_MAX]; /* the teacher's model file, "" for none */
    double distill_alpha;   /* share of the teacher in the loss, 0..1 */
    double distill_temperature;
} vit_transfer;
extern const vit_option vit_transfer_options[];
extern const size_t vit_transfer_option_count;

#endif
