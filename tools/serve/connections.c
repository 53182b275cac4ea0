#include "tools/serve/connections.h"

#include "vit/arena.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

struct serve_connections {
    pthread_mutex_t lock;
    serve_connection *first;
    size_t count, most;
    double timeout;
};

/* The youngest that may be made to give way. */
#define LEAST_AGE 1.0

vit_status serve_connections_create(size_t most, double timeout, serve_connections **out) {
    vit_status status = vit_alloc((void **)out, 1, sizeof **out, "connections");
    if (status == VIT_OK) {
        (*out)->most = most;
        (*out)->timeout = timeout;
        pthread_mutex_init(&(*out)->lock, NULL);
    }
    return status;
}

void serve_connections_free(serve_connections *all) {
    if (!all) {
        return;
    }
    while (all->first) {
        serve_connection *next = all->first->next;
        free(all->first);
        all->first = next;
    }
    pthread_mutex_destroy(&all->lock);
    vit_free(all);
}

/* The HTTP library sees the end of the stream, cleans up and closes the descriptor. */
static void shut_down(serve_connection *connection) {
    if (!connection->closing) {
        connection->closing = true;
        shutdown(connection->fd, SHUT_RDWR);
    }
}

/* Before heads and bodies, idle ones; of those alike, the oldest. */
static bool gives_way_before(const serve_connection *a, const serve_connection *b) {
    return a->phase != b->phase ? a->phase < b->phase : a->since < b->since;
}

static void make_room(serve_connections *all, serve_connection *added, double now) {
    serve_connection *out = NULL;
    size_t open = 0;
    for (serve_connection *c = all->first; c; c = c->next) {
        open += !c->closing;
        if (!c->closing && c->phase != SERVE_WORK && now - c->since > LEAST_AGE &&
            (!out || gives_way_before(c, out))) {
            out = c;
        }
    }
    if (open > all->most) {
        shut_down(out ? out : added);
    }
}

serve_connection *serve_connections_add(serve_connections *all, int fd, double now) {
    serve_connection *added = calloc(1, sizeof *added);
    if (!added) {
        return NULL;
    }
    added->fd = fd;
    added->since = now;
    pthread_mutex_lock(&all->lock);
    added->next = all->first;
    if (all->first) {
        all->first->previous = added;
    }
    all->first = added;
    if (++all->count > all->most) {
        make_room(all, added, now);
    }
    pthread_mutex_unlock(&all->lock);
    return added;
}

void serve_connections_remove(serve_connections *all, serve_connection *connection) {
    pthread_mutex_lock(&all->lock);
    if (connection->next) {
        connection->next->previous = connection->previous;
    }
    *(connection->previous ? &connection->previous->next : &all->first) = connection->next;
    all->count--;
    pthread_mutex_unlock(&all->lock);
    free(connection);
}

void serve_connections_phase(serve_connections *all, serve_connection *connection,
                             serve_phase phase, double now) {
    pthread_mutex_lock(&all->lock);
    if (phase != SERVE_BODY) { /* one deadline for head and body */
        connection->since = now;
    }
    connection->phase = phase;
    pthread_mutex_unlock(&all->lock);
}

void serve_connections_reap(serve_connections *all, double now) {
    static const char late[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                               "Content-Type: application/json\r\nContent-Length: 53\r\n\r\n"
                               "{\"error\":\"the request did not arrive whole in time\"}\n";
    pthread_mutex_lock(&all->lock);
    for (serve_connection *c = all->first; c; c = c->next) {
        if (c->closing || c->phase == SERVE_WORK || now - c->since <= all->timeout) {
            continue;
        }
        if (c->phase == SERVE_HEAD || c->phase == SERVE_BODY) {
            (void)!send(c->fd, late, sizeof late - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        shut_down(c);
    }
    pthread_mutex_unlock(&all->lock);
}

size_t serve_connections_busy(serve_connections *all) {
    size_t busy = 0;
    pthread_mutex_lock(&all->lock);
    for (const serve_connection *c = all->first; c; c = c->next) {
        busy += c->phase != SERVE_IDLE && !c->closing;
    }
    pthread_mutex_unlock(&all->lock);
    return busy;
}

size_t serve_connections_count(serve_connections *all) {
    pthread_mutex_lock(&all->lock);
    size_t count = all->count;
    pthread_mutex_unlock(&all->lock);
    return count;
}
