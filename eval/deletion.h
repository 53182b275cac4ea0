/* Whether a map tells the truth about the model: hide the patches in its order and watch the
 * class's probability fall (Samek et al. 2017; the deletion game of Petsiuk et al. 2018). A hidden
 * patch is 0 after normalising, the data's mean colour. */
#ifndef VIT_DELETION_H
#define VIT_DELETION_H

#include "eval/explain.h"

/* The map's patches, row by row from 0, those that speak most for the class first; of equal ones
 * the first. */
vit_status vit_deletion_order(const vit_heat_map *map, uint32_t *order /* (patches) */);
void vit_deletion_reverse(size_t count, uint32_t *order);

/* For each of `count` orders: the class's probability with its first 0, 1, ... all patches hidden,
 * and the area under that over the share hidden, 0 to 1: small for an order that finds what the
 * class rests on. curves may be NULL. An order names each patch once. */
vit_status vit_deletion_curve(const vit_model_bundle *bundle, const vit_image *picture,
                              int class_index, size_t count,
                              const uint32_t *orders /* (count,patches) */,
                              float *curves /* (count,patches+1) or NULL */,
                              double *areas /* (count) */);

/* The mean area of `count` random orders, keyed by seed. */
vit_status vit_deletion_random(const vit_model_bundle *bundle, const vit_image *picture,
                               int class_index, size_t count, uint64_t seed, double *area);

#endif
