#include "tests/support/comm_local.h"

#include "train/comm_transport.h"

#include "vit/arena.h"

#include <pthread.h>
#include <string.h>

/* One side of a message that waits for its other side; or both have met, and it is done. */
typedef struct letter {
    struct letter *next; /* of those that wait */
    struct letter *all;  /* the one written before it */
    size_t from, to;
    int tag;
    bool sent, done;
    const void *source;
    void *target;
    size_t bytes;
} letter;

typedef struct post_office {
    pthread_mutex_t mutex;
    letter *waiting, **last;
    letter *all; /* kept until the last member leaves: one that breaks off asks after none */
    size_t members;
    bool closed; /* a rank aborted */
} post_office;

typedef struct member {
    post_office *office;
    size_t rank, size;
} member;

static const char *open_member(vit_transport *transport) {
    const member *m = transport->context;
    transport->rank = m->rank;
    transport->size = m->size;
    return NULL;
}

/* Finds the other side of the letter and copies, or leaves the letter there. */
static bool bring(member *m, const letter *mine, vit_message *message) {
    post_office *office = m->office;
    letter *l = vit_malloc(sizeof *l), **at;
    if (!l) {
        return false;
    }
    *l = *mine;
    message->words[0] = l;
    pthread_mutex_lock(&office->mutex);
    l->all = office->all;
    office->all = l;
    for (at = &office->waiting; *at && !office->closed; at = &(*at)->next) {
        letter *other = *at;
        if (other->sent != l->sent && other->from == l->from && other->to == l->to &&
            other->tag == l->tag) {
            const letter *source = l->sent ? l : other;
            const letter *target = l->sent ? other : l;
            memcpy(target->target, source->source,
                   source->bytes < target->bytes ? source->bytes : target->bytes);
            l->done = true;
            *at = other->next;
            if (office->last == &other->next) {
                office->last = at;
            }
            other->done = true;
            break;
        }
    }
    if (!l->done) {
        l->next = NULL;
        *office->last = l;
        office->last = &l->next;
    }
    bool closed = office->closed;
    pthread_mutex_unlock(&office->mutex);
    return !closed;
}

static bool send_local(void *context, size_t to, int tag, const void *data, size_t bytes,
                       vit_message *message) {
    member *m = context;
    const letter l = {
        .from = m->rank, .to = to, .tag = tag, .sent = true, .source = data, .bytes = bytes};
    return bring(m, &l, message);
}

static bool receive_local(void *context, size_t from, int tag, void *data, size_t bytes,
                          vit_message *message) {
    member *m = context;
    const letter l = {.from = from, .to = m->rank, .tag = tag, .target = data, .bytes = bytes};
    return bring(m, &l, message);
}

static bool test_local(void *context, vit_message *message, bool *done) {
    member *m = context;
    letter *l = message->words[0];
    pthread_mutex_lock(&m->office->mutex);
    *done = l->done;
    bool closed = m->office->closed;
    pthread_mutex_unlock(&m->office->mutex);
    return !closed || *done;
}

static void leave_office(post_office *office, bool abort) {
    pthread_mutex_lock(&office->mutex);
    office->closed |= abort;
    bool last = --office->members == 0;
    pthread_mutex_unlock(&office->mutex);
    if (last) {
        for (letter *l = office->all; l;) {
            letter *next = l->all;
            vit_free(l);
            l = next;
        }
        pthread_mutex_destroy(&office->mutex);
        vit_free(office);
    }
}

static void close_local(void *context) {
    leave_office(((member *)context)->office, false);
    vit_free(context);
}

static void abort_local(void *context) {
    leave_office(((member *)context)->office, true);
    vit_free(context);
}

static vit_status join(post_office *office, size_t rank, size_t size, vit_comm **comm) {
    member *m;
    vit_status status = vit_alloc((void **)&m, 1, sizeof *m, "ranks");
    if (status != VIT_OK) {
        return status;
    }
    *m = (member){office, rank, size};
    const vit_transport transport = {
        .context = m,
        .open = open_member,
        .send = send_local,
        .receive = receive_local,
        .test = test_local,
        .close = close_local,
        .abort = abort_local,
    };
    status = vit_comm_create(&transport, comm);
    if (status != VIT_OK) {
        vit_free(m);
    }
    return status;
}

/* The first `joined` ranks leave again; nobody comes after them. */
static void give_up(post_office *office, size_t joined, vit_comm **comms) {
    pthread_mutex_lock(&office->mutex);
    office->closed = true;
    office->members = joined + 1; /* and whoever calls this */
    pthread_mutex_unlock(&office->mutex);
    for (size_t r = 0; r < joined; r++) {
        vit_comm_free(comms[r]);
        comms[r] = NULL;
    }
    leave_office(office, true);
}

vit_status local_ranks_open(size_t size, vit_comm **comms) {
    post_office *office = NULL;
    size_t joined = 0;
    vit_status status = vit_alloc((void **)&office, 1, sizeof *office, "ranks");
    if (status != VIT_OK) {
        return status;
    }
    pthread_mutex_init(&office->mutex, NULL);
    office->last = &office->waiting;
    office->members = size;
    while (joined < size && status == VIT_OK) {
        status = join(office, joined, size, &comms[joined]);
        joined += status == VIT_OK;
    }
    if (status != VIT_OK) {
        give_up(office, joined, comms);
    }
    return status;
}
