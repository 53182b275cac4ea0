/* Evaluation by the ranks of a run (eval/evaluate.h), which knows nothing of how they talk. */
#ifndef VIT_EVAL_RANKS_H
#define VIT_EVAL_RANKS_H

#include "eval/evaluate.h"
#include "train/comm.h"

/* The ranks of comm, which outlives their use; of a NULL comm, the only one. */
vit_eval_ranks vit_comm_eval_ranks(vit_comm *comm);

#endif
