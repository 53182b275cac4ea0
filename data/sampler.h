/* Which pictures an epoch shows, and in which order. */
#ifndef VIT_SAMPLER_H
#define VIT_SAMPLER_H

#include "data/folder.h"

typedef enum vit_sampler {
    VIT_SAMPLER_UNIFORM = 0, /* every picture once an epoch */
    VIT_SAMPLER_BALANCED = 1 /* every class as often, to within one; see vit_sample_balanced */
} vit_sampler;
extern const char *const vit_sampler_names[];

/* A permutation of 0..count-1 keyed by (seed, epoch). */
void vit_shuffle(uint64_t seed, uint32_t epoch, uint32_t *order, size_t count);

/* An epoch as long as the data set in which every class that has pictures comes as often, to within
 * one (who has one more is drawn). No picture of a class comes a second time before all others
 * came once, and so on: repeats says how often the epoch had the picture before. All in a random
 * order, keyed by (seed, epoch). work, order, repeats: (dataset->count). */
void vit_sample_balanced(const vit_dataset *dataset, uint64_t seed, uint32_t epoch, uint32_t *work,
                         uint32_t *order, uint32_t *repeats);

#endif
