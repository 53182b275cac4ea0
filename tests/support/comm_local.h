/* Ranks that are threads of one process: their messages are copies from one's memory to another's.
 */
#ifndef VIT_TEST_COMM_LOCAL_H
#define VIT_TEST_COMM_LOCAL_H

#include "train/comm.h"

/* comms[r] (size) is for the thread that is rank r, and is freed by it. After a failure there are
 * none. */
vit_status local_ranks_open(size_t size, vit_comm **comms);

#endif
