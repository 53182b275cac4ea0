/* What ranks do together, as messages of a link. Every rank calls the same, in the same order; what
 * each means is said in train/comm.h. */
#ifndef VIT_COMM_COLLECTIVES_H
#define VIT_COMM_COLLECTIVES_H

#include "train/comm_link.h"

#include <stdint.h>

void vit_link_broadcast(vit_link *link, size_t root, void *data, size_t bytes);
/* offsets (size + 1) */
void vit_link_all_gather(vit_link *link, char *data, const size_t *offsets);

/* The sum of data (n <= VIT_SUM_PIECE) over the ranks. received: room for what comes in,
 * (VIT_SUM_PIECE / 2 + 1); *sent: bytes, added to. */
#define VIT_SUM_PIECE ((size_t)1 << 20)
void vit_link_sum_piece(vit_link *link, float *data, size_t n, float *received, uint64_t *sent);

#endif
