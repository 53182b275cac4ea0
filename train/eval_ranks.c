#include "train/eval_ranks.h"

#include "vit/arena.h"

/* What a rank that only listens has room for. */
#define PIECE ((size_t)1 << 22)

static vit_status gather(void *context, void *data, const size_t *offsets) {
    return vit_comm_all_gather(context, data, offsets);
}

/* Rank r's bytes, of which it has the first at data[0], and rank 0 at data[first]. */
static vit_status pass_on(vit_comm *comm, size_t r, size_t first, size_t end, char *data,
                          char *spare) {
    size_t rank = vit_comm_rank(comm);
    vit_status status = VIT_OK;
    for (size_t at = first; status == VIT_OK && at < end; at += PIECE) {
        size_t bytes = end - at < PIECE ? end - at : PIECE;
        char *place = rank == 0 ? data + at : rank == r ? data + (at - first) : spare;
        status = vit_comm_broadcast(comm, r, place, bytes);
    }
    return status;
}

static vit_status collect(void *context, void *data, const size_t *offsets) {
    vit_comm *comm = context;
    void *spare = NULL;
    vit_status status;
    VIT_TRY(vit_alloc(&spare, PIECE, 1, "what other ranks measured"));
    for (size_t r = 1; r < vit_comm_size(comm); r++) {
        VIT_TRY(pass_on(comm, r, offsets[r], offsets[r + 1], data, spare));
    }
cleanup:
    vit_free(spare);
    return status;
}

static vit_status agree(void *context, vit_status status) {
    return vit_comm_agree(context, status);
}

vit_eval_ranks vit_comm_eval_ranks(vit_comm *comm) {
    return (vit_eval_ranks){.rank = vit_comm_rank(comm),
                            .ranks = vit_comm_size(comm),
                            .context = comm,
                            .gather = gather,
                            .collect = collect,
                            .agree = agree};
}
