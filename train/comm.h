/* Ranks: processes that train one model together, each computing its share of every batch. A NULL
 * comm is one rank, for which every call here is a success that does nothing.
 *
 * A call that says "all ranks" is made by every rank, in the same order, with sizes that agree.
 * Each returns the same status on every rank, or one that ends the run: when a rank is gone or
 * cannot be reached the comm is broken, its calls fail at once with VIT_ERROR_IO, and vit_comm_free
 * ends the other ranks too. */
#ifndef VIT_COMM_H
#define VIT_COMM_H

#include "vit/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vit_comm vit_comm;

size_t vit_comm_rank(const vit_comm *comm); /* from 0; rank 0 alone writes and prints */
size_t vit_comm_size(const vit_comm *comm);

/* All ranks: root's bytes into everybody's data. */
vit_status vit_comm_broadcast(vit_comm *comm, size_t root, void *data, size_t bytes);

/* All ranks: rank r's bytes [offsets[r], offsets[r + 1]) of data become everybody's. offsets has
 * size + 1 entries, the same on every rank; a share may be empty. */
vit_status vit_comm_all_gather(vit_comm *comm, void *data, const size_t *offsets);
/* All ranks: the same with `bytes` of each: rank r's are at r * bytes of data (size * bytes). */
vit_status vit_comm_gather_equal(vit_comm *comm, void *data, size_t bytes);

/* All ranks: every rank fails when one does: with the status and the message of the lowest rank
 * that failed, or VIT_OK on all. Another's message begins with "rank R: ". */
vit_status vit_comm_agree(vit_comm *comm, vit_status status);

/* All ranks: the bits that any of them has. */
vit_status vit_comm_any(vit_comm *comm, uint64_t *bits);

/* ---- sums ----
 *
 * data (n) becomes its sum over the ranks, whose number is a power of two, in a fixed binary tree:
 * neighbours 2r and 2r + 1 first, always left + right, as the slots of a batch (train/slots.h), so
 * that ranks of S/R slots go on where one rank of S slots would. The vector is halved between
 * neighbours at each level of the tree and put together again on the way back (Thakur et al. 2005,
 * "Rabenseifner's algorithm"): each rank sends and receives 2 (R - 1) / R of it. Nothing is copied
 * but what is received. Adding is done by the comm's own thread. */

/* All ranks: queues a sum and returns; any thread, but all ranks in the same order. data is left
 * alone until vit_comm_finish returned. At most VIT_COMM_SUMS wait at a time. */
enum { VIT_COMM_SUMS = 256 };
void vit_comm_start_sum(vit_comm *comm, float *data, size_t n);

typedef struct vit_comm_times {
    double busy;    /* seconds in which sums were under way */
    double exposed; /* of these, seconds that vit_comm_finish waited */
    double cpu;     /* seconds of a processor that the comm's thread took for sums */
    uint64_t bytes; /* sent by this rank for sums */
} vit_comm_times;
/* Waits for all sums that were started; adds to *times. */
vit_status vit_comm_finish(vit_comm *comm, vit_comm_times *times);

/* ---- beginning and end ---- */

/* What the ranks of a launcher (mpirun) say of themselves in the environment. */
typedef struct vit_comm_launch {
    bool launched; /* under a launcher, perhaps with one rank */
    size_t rank;
    size_t size; /* 0: the launcher does not say */
} vit_comm_launch;
vit_comm_launch vit_comm_look(void);

/* Joins the other ranks of the launcher: *out is NULL when there is none, or only one rank.
 * Several ranks without support for MPI are an error. */
vit_status vit_comm_open(vit_comm **out);

/* A rank is gone or out of reach; vit_last_error of the call that failed says which. */
bool vit_comm_is_broken(const vit_comm *comm);

/* All ranks: leaves. A comm that is broken, or that goes while others wait, ends the process and
 * the other ranks with exit code 1: print what there is to say before. NULL is fine. */
void vit_comm_free(vit_comm *comm);

#endif
