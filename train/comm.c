#include "train/comm.h"

#include "train/comm_collectives.h"
#include "train/comm_link.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* One thread of each rank does all that has to do with other ranks: it takes jobs in order, moves
 * messages, adds, and tells its neighbour each second that it lives. So the transport is called by
 * one thread only, sums go on while other threads compute, and a rank that stopped is told from one
 * that is slow. */

typedef enum job_kind { JOB_BROADCAST, JOB_GATHER, JOB_SUM, JOB_LEAVE } job_kind;

typedef struct job {
    job_kind kind;
    char *data;
    size_t count; /* bytes; floats of a sum */
    size_t root;
    const size_t *offsets;
} job;

/* What a rank says when ranks agree. */
typedef struct report {
    uint64_t bits;
    int32_t status;
    char message[VIT_MESSAGE_MAX];
} report;

struct vit_comm {
    vit_link link; /* the thread's own, but for rank, size, broken and why */
    pthread_t thread;

    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t posted, finished;
    job queue[VIT_COMM_SUMS + 2]; /* a ring */
    uint64_t post_count, done_count;
    bool opened, closed; /* one of them, once the thread has tried to open the transport */
    double sum_seconds, sum_cpu;
    uint64_t sum_bytes;

    /* Of whoever makes calls, one at a time. */
    report *reports; /* (size) */
    size_t *offsets; /* (size + 1) */

    float *received; /* (VIT_SUM_PIECE / 2 + 1), the thread's own */
};

size_t vit_comm_rank(const vit_comm *comm) {
    return comm ? comm->link.rank : 0;
}

size_t vit_comm_size(const vit_comm *comm) {
    return comm ? comm->link.size : 1;
}

/* ---- jobs ---- */

static double thread_cpu(void) {
    return vit_seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

static void run_sum(vit_comm *c, const job *j) {
    double began = vit_seconds(), cpu = thread_cpu();
    float *data = (float *)(void *)j->data;
    uint64_t sent = 0;
    for (size_t at = 0; at < j->count && !c->link.broken; at += VIT_SUM_PIECE) {
        vit_link_beat(&c->link);
        size_t n = j->count - at < VIT_SUM_PIECE ? j->count - at : VIT_SUM_PIECE;
        vit_link_sum_piece(&c->link, data + at, n, c->received, &sent);
    }
    pthread_mutex_lock(&c->mutex);
    c->sum_seconds += vit_seconds() - began;
    c->sum_cpu += thread_cpu() - cpu;
    c->sum_bytes += sent;
    pthread_mutex_unlock(&c->mutex);
}

static void run(vit_comm *c, const job *j) {
    switch (j->kind) {
    case JOB_BROADCAST:
        vit_link_broadcast(&c->link, j->root, j->data, j->count);
        break;
    case JOB_GATHER:
        vit_link_all_gather(&c->link, j->data, j->offsets);
        break;
    case JOB_SUM:
        run_sum(c, j);
        break;
    case JOB_LEAVE:
        vit_link_leave(&c->link);
        break;
    }
}

/* ---- the thread ---- */

/* What depends on the number of ranks. These are there by now and wait for this one: without memory
 * it is broken, and ends them when it leaves. */
static void allocate(vit_comm *c) {
    if (vit_alloc((void **)&c->reports, c->link.size, sizeof *c->reports, "ranks") != VIT_OK ||
        vit_alloc((void **)&c->offsets, c->link.size + 1, sizeof *c->offsets, "ranks") != VIT_OK) {
        vit_link_fail(&c->link, "rank %zu: out of memory for what ranks say", c->link.rank);
    }
}

static bool open_transport(vit_comm *c) {
    bool opened = vit_link_open(&c->link);
    if (opened) {
        allocate(c);
    }
    pthread_mutex_lock(&c->mutex);
    c->opened = opened;
    c->closed = !opened;
    pthread_cond_broadcast(&c->finished);
    pthread_mutex_unlock(&c->mutex);
    return opened;
}

/* The next job; meanwhile it beats. */
static job next_job(vit_comm *c) {
    pthread_mutex_lock(&c->mutex);
    while (c->post_count == c->done_count) {
        const struct timespec until = vit_seconds_from_now(0.1);
        if (pthread_cond_clockwait(&c->posted, &c->mutex, CLOCK_MONOTONIC, &until) == ETIMEDOUT &&
            !c->link.broken) {
            pthread_mutex_unlock(&c->mutex);
            vit_link_beat(&c->link);
            pthread_mutex_lock(&c->mutex);
        }
    }
    job j = c->queue[c->done_count % (sizeof c->queue / sizeof *c->queue)];
    pthread_mutex_unlock(&c->mutex);
    return j;
}

static void *comm_main(void *context) {
    vit_comm *c = context;
    prctl(PR_SET_TIMERSLACK, 1000); /* naps of 20 microseconds that are no longer */
    if (!open_transport(c)) {
        return NULL;
    }
    for (;;) {
        job j = next_job(c);
        if (!c->link.broken) {
            if (j.kind != JOB_LEAVE) { /* which has a last beat of its own */
                vit_link_beat(&c->link);
            }
            run(c, &j);
        }
        if (j.kind == JOB_LEAVE) {
            vit_link_close(&c->link);
        }
        pthread_mutex_lock(&c->mutex);
        c->done_count++;
        pthread_cond_broadcast(&c->finished);
        pthread_mutex_unlock(&c->mutex);
        if (j.kind == JOB_LEAVE) {
            return NULL;
        }
    }
}

/* ---- those who ask ---- */

static uint64_t post(vit_comm *c, const job *j) {
    pthread_mutex_lock(&c->mutex);
    size_t room = sizeof c->queue / sizeof *c->queue;
    while (c->post_count - c->done_count == room) {
        pthread_cond_wait(&c->finished, &c->mutex);
    }
    c->queue[c->post_count++ % room] = *j;
    uint64_t number = c->post_count;
    pthread_cond_signal(&c->posted);
    pthread_mutex_unlock(&c->mutex);
    return number;
}

static vit_status check_whole(const vit_comm *c) {
    return c->link.broken ? vit_fail(VIT_ERROR_IO, "%s", c->link.why) : VIT_OK;
}

static vit_status wait_done(vit_comm *c, uint64_t number) {
    pthread_mutex_lock(&c->mutex);
    while (c->done_count < number) {
        pthread_cond_wait(&c->finished, &c->mutex);
    }
    pthread_mutex_unlock(&c->mutex);
    return check_whole(c);
}

static vit_status call(vit_comm *c, const job *j) {
    return c ? wait_done(c, post(c, j)) : VIT_OK;
}

vit_status vit_comm_broadcast(vit_comm *comm, size_t root, void *data, size_t bytes) {
    return call(comm, &(job){.kind = JOB_BROADCAST, .root = root, .data = data, .count = bytes});
}

vit_status vit_comm_all_gather(vit_comm *comm, void *data, const size_t *offsets) {
    return call(comm, &(job){.kind = JOB_GATHER, .data = data, .offsets = offsets});
}

vit_status vit_comm_gather_equal(vit_comm *comm, void *data, size_t bytes) {
    vit_status status = comm ? check_whole(comm) : VIT_OK; /* if not, offsets may not be there */
    if (!comm || status != VIT_OK) {
        return status;
    }
    for (size_t r = 0; r <= comm->link.size; r++) {
        comm->offsets[r] = r * bytes;
    }
    return vit_comm_all_gather(comm, data, comm->offsets);
}

vit_status vit_comm_any(vit_comm *comm, uint64_t *bits) {
    if (!comm) {
        return VIT_OK;
    }
    vit_status status = check_whole(comm); /* reports may not be there */
    if (status != VIT_OK) {
        return status;
    }
    uint64_t *all = (uint64_t *)(void *)comm->reports;
    all[comm->link.rank] = *bits;
    status = vit_comm_gather_equal(comm, all, sizeof *all);
    for (size_t r = 0; status == VIT_OK && r < comm->link.size; r++) {
        *bits |= all[r];
    }
    return status;
}

vit_status vit_comm_agree(vit_comm *comm, vit_status status) {
    if (!comm) {
        return status;
    }
    vit_status result = VIT_OK;
    if (comm->link.broken) {
        return status != VIT_OK ? status : check_whole(comm);
    }
    report *own = &comm->reports[comm->link.rank];
    own->status = (int32_t)status;
    snprintf(own->message, sizeof own->message, "%s", status == VIT_OK ? "" : vit_last_error());
    result = vit_comm_gather_equal(comm, comm->reports, sizeof *comm->reports);
    for (size_t r = 0; result == VIT_OK && r < comm->link.size; r++) {
        report *said = &comm->reports[r];
        said->message[sizeof said->message - 1] = 0;
        if (said->status != VIT_OK && r == 0) {
            result = vit_fail((vit_status)said->status, "%s", said->message);
        } else if (said->status != VIT_OK) {
            result = vit_fail((vit_status)said->status, "rank %zu: %s", r, said->message);
        }
    }
    return result;
}

void vit_comm_start_sum(vit_comm *comm, float *data, size_t n) {
    if (comm) {
        post(comm, &(job){.kind = JOB_SUM, .data = (char *)data, .count = n});
    }
}

vit_status vit_comm_finish(vit_comm *comm, vit_comm_times *times) {
    if (!comm) {
        return VIT_OK;
    }
    double began = vit_seconds();
    pthread_mutex_lock(&comm->mutex);
    uint64_t number = comm->post_count;
    pthread_mutex_unlock(&comm->mutex);
    vit_status status = wait_done(comm, number);
    pthread_mutex_lock(&comm->mutex);
    times->busy += comm->sum_seconds;
    times->cpu += comm->sum_cpu;
    times->bytes += comm->sum_bytes;
    comm->sum_seconds = comm->sum_cpu = 0;
    comm->sum_bytes = 0;
    pthread_mutex_unlock(&comm->mutex);
    times->exposed += vit_seconds() - began;
    return status;
}

/* ---- beginning and end ---- */

static void release(vit_comm *c) {
    pthread_cond_destroy(&c->posted);
    pthread_cond_destroy(&c->finished);
    pthread_mutex_destroy(&c->mutex);
    vit_free(c->received);
    vit_free(c->reports);
    vit_free(c->offsets);
    vit_free(c);
}

vit_status vit_comm_create(const vit_transport *transport, vit_comm **out) {
    vit_status status = VIT_OK;
    vit_comm *c = NULL;
    *out = NULL;
    VIT_TRY(vit_alloc((void **)&c, 1, sizeof *c, "ranks"));
    c->link.transport = *transport;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->posted, NULL);
    pthread_cond_init(&c->finished, NULL);
    VIT_TRY(vit_alloc((void **)&c->received, VIT_SUM_PIECE / 2 + 1, sizeof(float),
                      "what ranks receive"));
    if (pthread_create(&c->thread, NULL, comm_main, c) != 0) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "no thread for the ranks' messages: out of memory"));
    }
    pthread_mutex_lock(&c->mutex);
    while (!c->opened && !c->closed) {
        pthread_cond_wait(&c->finished, &c->mutex);
    }
    bool closed = c->closed;
    pthread_mutex_unlock(&c->mutex);
    if (closed) {
        pthread_join(c->thread, NULL);
        VIT_TRY(vit_fail(VIT_ERROR_IO, "%s", c->link.why));
    }
    *out = c;
    c = NULL;
cleanup:
    if (c) {
        release(c);
    }
    return status;
}

bool vit_comm_is_broken(const vit_comm *comm) {
    return comm && comm->link.broken;
}

void vit_comm_free(vit_comm *comm) {
    if (!comm) {
        return;
    }
    post(comm, &(job){.kind = JOB_LEAVE});
    pthread_join(comm->thread, NULL);
    release(comm);
}
