/* Deadlines and numbers of connections. The HTTP library closes those that are silent; this closes
 * also those that trickle, and makes room for new ones when there are too many, so that clients
 * that hold connections without using them never keep others out. */
#ifndef ZVIT_SERVE_CONNECTIONS_H
#define ZVIT_SERVE_CONNECTIONS_H

#include "vit/status.h"

#include <stdbool.h>

typedef enum serve_phase {
    SERVE_IDLE = 0, /* no request has begun */
    SERVE_HEAD = 1, /* the head is arriving */
    SERVE_BODY = 2, /* the body is arriving */
    SERVE_WORK = 3, /* whole: waits or is being computed; has no deadline */
    SERVE_SEND = 4  /* the answer is being sent */
} serve_phase;

typedef struct serve_connection {
    int fd;
    serve_phase phase;
    double since; /* when the phase, or the request for head and body, began; vit_seconds() */
    bool closing; /* was shut down here */
    struct serve_connection *previous, *next;
} serve_connection;

typedef struct serve_connections serve_connections;
/* most: connections at a time; timeout: seconds within which a request must have arrived. */
vit_status serve_connections_create(size_t most, double timeout, serve_connections **out);
void serve_connections_free(serve_connections *all);

/* A new one. When there are too many, the one idle, receiving or being sent to for the longest is
 * shut down, if for more than a second; else the new one. NULL: memory ran out. Removed before its
 * descriptor is closed. */
serve_connection *serve_connections_add(serve_connections *all, int fd, double now);
void serve_connections_remove(serve_connections *all, serve_connection *connection);
void serve_connections_phase(serve_connections *all, serve_connection *connection,
                             serve_phase phase, double now);

/* Shuts down those that are late: silently when no request has begun, else with a 408 written past
 * the HTTP library, which cannot answer while it receives. */
void serve_connections_reap(serve_connections *all, double now);
/* Those with a request that has begun; all there are. */
size_t serve_connections_busy(serve_connections *all);
size_t serve_connections_count(serve_connections *all);

#endif
