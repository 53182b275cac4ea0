/* What the ranks' messages travel by: MPI (train/comm_mpi.c, a module of its own), or, in tests,
 * the memory of one process (tests/support/comm_local.c). Every function is called by one thread
 * only, the comm's own. */
#ifndef VIT_COMM_TRANSPORT_H
#define VIT_COMM_TRANSPORT_H

#include "vit/status.h"

#include <stdbool.h>
#include <stddef.h>

/* A message under way, in whatever form the transport keeps it. */
typedef struct vit_message {
    void *words[4];
} vit_message;

typedef struct vit_transport {
    void *context;
    size_t rank, size; /* set by open */
    /* NULL, or why it cannot: a text that lives on; there is then nothing to close. */
    const char *(*open)(struct vit_transport *transport);
    /* Both start and return; false: the transport is broken. Between two ranks messages of one tag
     * keep their order; data is left alone until test says that it is done. bytes <= 1 << 30. */
    bool (*send)(void *context, size_t to, int tag, const void *data, size_t bytes,
                 vit_message *message);
    bool (*receive)(void *context, size_t from, int tag, void *data, size_t bytes,
                    vit_message *message);
    bool (*test)(void *context, vit_message *message, bool *done);
    void (*close)(void *context); /* no message is under way; the context is gone afterwards */
    void (*abort)(void *context); /* ends all ranks, this process too where they are processes */
} vit_transport;

struct vit_comm;
/* Opens the transport in a thread that is the comm's own from then on. After a failure there is
 * nothing to close; what goes wrong once the other ranks are there is a broken comm. */
vit_status vit_comm_create(const vit_transport *transport, struct vit_comm **out);

/* The module's one symbol: fills everything but rank and size. */
#define VIT_TRANSPORT_VERSION 1
typedef bool vit_transport_function(int version, vit_transport *transport);
#define VIT_TRANSPORT_SYMBOL "zvit_mpi_transport"

#endif
