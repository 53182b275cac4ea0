/* A verb that several ranks of a launcher (mpirun) run together: joining them, and who computes
 * where. */
#ifndef ZVIT_RANKS_H
#define ZVIT_RANKS_H

#include "tools/cmd.h"
#include "train/comm.h"

typedef struct cli_ranks {
    vit_comm *comm;      /* NULL: one process */
    size_t local_ranks;  /* on this machine */
    char placement[512]; /* one line: ranks, machines, threads, processors; "" for one process */
} cli_ranks;

/* Joins the other ranks, if a launcher started several; gives each its part of the machine's
 * processors unless whoever started it chose, and sets the number of threads: --threads, else
 * OMP_NUM_THREADS, else as many as it has processors. status: what this rank's command line came
 * to. A failure is one of all ranks. */
vit_status cli_ranks_join(const cli_common *common, vit_status status, cli_ranks *ranks);

/* The exit code for a failure of all ranks, which one of them prints; usage: as a mistake in the
 * command line, when it is one in an argument. */
int cli_ranks_fail(const cli_verb *verb, const cli_ranks *ranks, vit_status status, bool usage);

/* Whether this rank is the one that prints: rank 0, or whichever lost another one. */
bool cli_ranks_speaks(const cli_ranks *ranks);

/* Leaves, once all is printed; ends the other ranks when this one is on its own. */
void cli_ranks_leave(cli_ranks *ranks);

#endif
