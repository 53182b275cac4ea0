/* What this machine is, for zvit info, zvit bench and RUN/machine.json. */
#ifndef ZVIT_MACHINE_H
#define ZVIT_MACHINE_H

#include "vit/json.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_machine {
    char cpu[128];   /* "AMD EPYC ..." */
    int processors;  /* that this process may run on */
    int threads;     /* that zvit computes with */
    const char *isa; /* of our own loops */
    const char *
        offers; /* widest of "avx512", "avx2", "avx", "sse2" that the processor has; "" elsewhere */
    char blas[64];       /* "OpenBLAS 0.3.21 (openmp)" */
    const char *kernel;  /* that BLAS chose */
    double memory_bytes; /* 0: unknown */
    double available_bytes;
} cli_machine;

cli_machine cli_machine_look(void);
/* As JSON, but for what changes from one moment to the next. The caller frees it. */
vit_json *cli_machine_json(const cli_machine *machine);

/* True when BLAS chose a kernel for narrower registers than the processor has; the buffer then says
 * so and what to do. */
bool cli_machine_blas_warning(const cli_machine *machine, char *buffer, size_t size);

#endif
