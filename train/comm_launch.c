/* Joining the ranks that a launcher (mpirun, srun) started. libmpi takes longer to start than most
 * commands take in all, and only a module of ours is linked with it, which is loaded under a
 * launcher only. */
#include "train/comm.h"
#include "train/comm_transport.h"

#include "vit/library.h"

#include <stdio.h>
#include <stdlib.h>

/* A number in the environment, or `otherwise`. */
static size_t number(const char *const *names, size_t otherwise) {
    for (; *names; names++) {
        const char *text = getenv(*names);
        char *end;
        if (text && *text) {
            unsigned long value = strtoul(text, &end, 10);
            return *end ? otherwise : (size_t)value;
        }
    }
    return otherwise;
}

/* Open MPI's own, those of PMI (MPICH, Intel MPI), and Slurm's beside PMIx. */
vit_comm_launch vit_comm_look(void) {
    static const char *const ranks[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", NULL};
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS",
                                        NULL};
    size_t rank = number(ranks, SIZE_MAX);
    if (rank == SIZE_MAX) {
        return (vit_comm_launch){.size = 1};
    }
    return (vit_comm_launch){.launched = true, .rank = rank, .size = number(sizes, 0)};
}

#ifdef ZVIT_HAVE_MPI

/* Beside the program or library that this is part of, where both were built; where they were
 * installed, also when the whole was moved. */
static bool open_module(vit_library *library) {
    return vit_library_open_beside(library, "libzvit_mpi.so") ||
           vit_library_open_beside(library, "zvit/libzvit_mpi.so") ||
           vit_library_open_beside(library, ZVIT_MODULE_FROM_BIN "/libzvit_mpi.so") ||
           vit_library_open_global(library, ZVIT_MODULE_DIR "/libzvit_mpi.so");
}

static vit_status join(vit_comm **out) {
    vit_library library;
    vit_transport transport = {0};
    vit_transport_function *fill = NULL;
    if (!open_module(&library)) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "several ranks: libzvit_mpi.so cannot be loaded: %s (expected beside this "
                        "program or in %s)",
                        vit_library_error(), ZVIT_MODULE_DIR);
    }
    vit_library_find(&library, VIT_TRANSPORT_SYMBOL, &fill);
    if (!library.complete || !fill(VIT_TRANSPORT_VERSION, &transport)) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "several ranks: libzvit_mpi.so is of another zvit (expected that of this "
                        "build)");
    }
    return vit_comm_create(&transport, out);
}

#else

static vit_status join(vit_comm **out) {
    (void)out;
    return vit_fail(
        VIT_ERROR_UNSUPPORTED,
        "started as one of several ranks, but this zvit was built without MPI (expected "
        "one process, or a build with -DZVIT_MPI=ON)");
}

#endif

vit_status vit_comm_open(vit_comm **out) {
    vit_comm_launch launch = vit_comm_look();
    *out = NULL;
    if (!launch.launched || launch.size == 1) {
        return VIT_OK;
    }
    vit_status status = join(out);
    if (status == VIT_OK && vit_comm_size(*out) == 1) {
        vit_comm_free(*out);
        *out = NULL;
    }
    return status;
}
