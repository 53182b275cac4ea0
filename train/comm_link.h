/* Messages between this rank and the others, and the beat by which neighbours know that they live.
 * All by one thread, the comm's own (train/comm.c). Once the link is broken, calls do nothing. */
#ifndef VIT_COMM_LINK_H
#define VIT_COMM_LINK_H

#include "train/comm_transport.h"

#include <stdatomic.h>

typedef struct vit_link {
    vit_transport transport;
    size_t rank, size;
    atomic_bool broken; /* set after why, which stays as it is then; any thread may read both */
    char why[256];

    vit_message *messages; /* started and not waited for */
    size_t message_count;
    double heard, beat_sent, left, looked; /* when; vit_seconds() */
    vit_message beat_in, beat_out;
    bool beat_in_open, beat_out_open, neighbour_left;
    char in, out;
} vit_link;

/* Opens the transport, which the caller set. False, with why: it cannot, and nothing is to be
 * closed. */
bool vit_link_open(vit_link *link);
/* Closes the transport, or aborts it where the link is broken. */
void vit_link_close(vit_link *link);

/* Breaks the link, unless it is; format has one %zu for the rank. */
void vit_link_fail(vit_link *link, const char *format, size_t rank);

/* Sends a beat when it is time, and looks for the neighbour's. */
void vit_link_beat(vit_link *link);
/* Tells the neighbours that this rank leaves; returns when the one before it leaves as well. */
void vit_link_leave(vit_link *link);

/* Starts sending data to, or receiving it from, the rank `other`; data stays until vit_link_wait
 * returned. */
void vit_link_start(vit_link *link, bool sends, size_t other, void *data, size_t bytes);
/* Waits for all that was started. on_done (may be NULL) hears of each message in the order they
 * were started. */
void vit_link_wait(vit_link *link, void (*on_done)(void *context, size_t message), void *context);

#endif
