/* What the ranks of a run tell each other beside gradients, so that each takes every decision as
 * the others do. With one rank all of it is nothing. */
#ifndef VIT_RANKS_H
#define VIT_RANKS_H

#include "train/run.h"

/* Rank 0 writes and speaks. */
static inline bool vit_run_leads(const vit_run *run) {
    return vit_comm_rank(run->comm) == 0;
}

/* All ranks: refuses ranks of another build, with other options or other data than rank 0. */
vit_status vit_ranks_check(const vit_run *run);

/* All ranks: the same for a measurement. options: those that matter, as text. */
vit_status vit_ranks_check_measurement(vit_comm *comm, const vit_model_bundle *bundle,
                                       const vit_dataset *dataset, const char *options,
                                       int threads);

/* All ranks: everybody goes on where rank 0 does: position, weights, and what the optimiser keeps.
 */
vit_status vit_ranks_take_state(vit_run *run);

/* All ranks, with a batch that each has filled as far as it needs: fails on all when a fetch failed
 * on one; what could not be read on any is taken out of the batch everywhere, and what a rank then
 * needs is fetched. *dropped: how many pictures were taken out. */
vit_status vit_ranks_settle_batch(vit_run *run, vit_batch *batch, size_t *dropped);

/* What is decided between two steps. */
typedef struct vit_decisions {
    bool stop;        /* any rank was asked to */
    bool out_of_time; /* by rank 0's clock, as is the next */
    bool save;
} vit_decisions;
/* All ranks: one decision. */
vit_status vit_ranks_decide(const vit_run *run, vit_decisions *decisions);

#endif
