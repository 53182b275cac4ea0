/* Messages by MPI: the whole of the module libzvit_mpi.so, and the one file that knows mpi.h. All
 * of it is called by one thread, which is also the one that initialises MPI: MPI_THREAD_FUNNELED.
 */
#include "train/comm_transport.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

/* Open MPI announces a message of more than 64 KB and lets the other side ask for it, which over a
 * slow link waits behind the messages of the other direction: sums took nearly twice the time of
 * their bytes at 1 Gbit/s. Receives are posted as early here as sends, so messages may just be
 * sent. Whoever sets the parameter goes before. */
static void prefer_short_ways(void) {
    setenv("OMPI_MCA_btl_tcp_eager_limit", "524288", 0);
}

static const char *open_mpi(vit_transport *transport) {
    int given, rank, size;
    prefer_short_ways();
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given) != MPI_SUCCESS) {
        return "MPI cannot be initialised";
    }
    if (given < MPI_THREAD_FUNNELED) {
        MPI_Finalize();
        return "this MPI does not allow threads (expected MPI_THREAD_FUNNELED)";
    }
    /* A failure is a status for us to report, where MPI lives on to give one. */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    transport->rank = (size_t)rank;
    transport->size = (size_t)size;
    return NULL;
}

/* A request of any MPI fits a message: it is a pointer or an integer. */
_Static_assert(sizeof(MPI_Request) <= sizeof(vit_message), "a request does not fit");

static bool send_mpi(void *context, size_t to, int tag, const void *data, size_t bytes,
                     vit_message *message) {
    (void)context;
    MPI_Request request;
    bool ok = MPI_Isend(data, (int)bytes, MPI_BYTE, (int)to, tag, MPI_COMM_WORLD, &request) ==
              MPI_SUCCESS;
    memcpy(message, &request, sizeof request);
    return ok;
}

static bool receive_mpi(void *context, size_t from, int tag, void *data, size_t bytes,
                        vit_message *message) {
    (void)context;
    MPI_Request request;
    bool ok = MPI_Irecv(data, (int)bytes, MPI_BYTE, (int)from, tag, MPI_COMM_WORLD, &request) ==
              MPI_SUCCESS;
    memcpy(message, &request, sizeof request);
    return ok;
}

static bool test_mpi(void *context, vit_message *message, bool *done) {
    (void)context;
    MPI_Request request;
    int flag = 0;
    memcpy(&request, message, sizeof request);
    bool ok = MPI_Test(&request, &flag, MPI_STATUS_IGNORE) == MPI_SUCCESS;
    memcpy(message, &request, sizeof request);
    *done = flag;
    return ok;
}

static void close_mpi(void *context) {
    (void)context;
    MPI_Finalize();
}

static void abort_mpi(void *context) {
    (void)context;
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Looked for by name (VIT_TRANSPORT_SYMBOL), and declared nowhere else. */
__attribute__((visibility("default"))) bool zvit_mpi_transport(int version,
                                                               vit_transport *transport);

bool zvit_mpi_transport(int version, vit_transport *transport) {
    *transport = (vit_transport){
        .open = open_mpi,
        .send = send_mpi,
        .receive = receive_mpi,
        .test = test_mpi,
        .close = close_mpi,
        .abort = abort_mpi,
    };
    return version == VIT_TRANSPORT_VERSION;
}
