/* Which pictures of a batch, or of a list, one of several ranks works on. A rank is one process of
 * a run that several share; ranks are numbered from 0. */
#ifndef VIT_SHARE_H
#define VIT_SHARE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct vit_range {
    size_t first, end; /* end is not in it */
} vit_range;

static inline bool vit_range_has(vit_range range, size_t i) {
    return i >= range.first && i < range.end;
}

/* ---- batches ---- */

/* A batch is cut in `slots` slots (train/slots.h), and each rank has as many, in order. All 0: the
 * only rank, which has everything. */
typedef struct vit_share {
    size_t rank, ranks;
    size_t slots; /* a multiple of ranks */
} vit_share;

/* Pictures of slot `slot` of a batch of count, or whatever else is dealt in order: sizes differ by
 * one at most. */
vit_range vit_slot_range(size_t slots, size_t slot, size_t count);

/* Those of the rank's slots. Over the ranks, each picture comes once, in order. */
vit_range vit_share_range(const vit_share *share, size_t count);

/* The pictures that those in range are mixed with (data/mix.h): i is with count - 1 - i. They may
 * overlap range. */
vit_range vit_range_partners(vit_range range, size_t count);

/* The most pictures that a rank holds of a batch of up to count, with their partners or without. */
size_t vit_share_most(const vit_share *share, size_t count, bool partners);

/* ---- lists ---- */

/* The rank's part of a list of count, cut at multiples of unit: over the ranks, each place comes
 * once, in order. May be empty. */
vit_range vit_share_of_list(size_t rank, size_t ranks, size_t count, size_t unit);

#endif
