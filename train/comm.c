#include "train/comm.h"

#include "train/comm_transport.h"
#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/simd.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* One thread of each rank does all that has to do with other ranks: it takes jobs in order, moves
 * messages, adds, and tells its neighbour each second that it lives. So the transport is called by
 * one thread only, sums go on while other threads compute, and a rank that stopped is told from one
 * that is slow. */

#define TAG_DATA 1
#define TAG_BEAT 2
#define MESSAGE_BYTES ((size_t)1 << 26)
#define BEAT_SECONDS 1.0
#define SILENCE_SECONDS 20.0    /* of a neighbour that sends no beat */
#define GRACE_SECONDS 5.0       /* for what a neighbour sent before it left */
#define PATIENCE_SECONDS 1800.0 /* with ranks that live and do not come to a meeting */

/* Looks at once after something came, and how long naps between later ones are. */
#define EAGER_LOOKS 4
#define NAP_SHARE 0.25
#define SHORTEST_NAP 40e-6 /* seconds */
#define LONGEST_NAP 500e-6

/* Floats that are summed at a time, and in a message of these: what comes in is added while the
 * next is on its way. */
#define PIECE ((size_t)1 << 20)
#define PART ((size_t)1 << 16)
enum { PARTS = PIECE / PART / 2 };

typedef enum job_kind { JOB_BARRIER, JOB_BROADCAST, JOB_GATHER, JOB_SUM, JOB_LEAVE } job_kind;

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
    vit_transport transport;
    size_t rank, size;
    pthread_t thread;
    atomic_bool broken; /* set after why, which stays as it is then */
    char why[256];

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

    /* The thread's own. */
    float *received; /* (PIECE / 2) */
    vit_message *messages;
    size_t message_count;
    double heard, beat_sent, left, looked; /* when */
    vit_message beat_in, beat_out;
    bool beat_in_open, beat_out_open, neighbour_left;
    char in, out;
};

size_t vit_comm_rank(const vit_comm *comm) {
    return comm ? comm->rank : 0;
}

size_t vit_comm_size(const vit_comm *comm) {
    return comm ? comm->size : 1;
}

/* ---- messages; all by the comm's thread ---- */

static void fail(vit_comm *c, const char *format, size_t rank) {
    if (!c->broken) {
        snprintf(c->why, sizeof c->why, format, rank);
        c->broken = true;
    }
}

static const char network_failed[] = "rank %zu: the network failed";

/* Sends a beat when it is time, and looks for the neighbour's. 'a': alive; 'l': leaving, at once;
 * 0: only looks. */
static void beat(vit_comm *c, char what) {
    const vit_transport *t = &c->transport;
    double now = vit_seconds();
    if (now - c->looked > SILENCE_SECONDS / 4) {
        c->heard = now; /* it was this process that stood still; what came meanwhile is unread */
    }
    c->looked = now;
    size_t next = (c->rank + 1) % c->size, previous = (c->rank + c->size - 1) % c->size;
    bool done = false;
    if (c->beat_out_open && !t->test(t->context, &c->beat_out, &done)) {
        fail(c, network_failed, next);
        return;
    }
    c->beat_out_open = c->beat_out_open && !done;
    if (!c->beat_out_open && what && (now - c->beat_sent >= BEAT_SECONDS || what == 'l')) {
        c->out = what;
        c->beat_out_open = t->send(t->context, next, TAG_BEAT, &c->out, 1, &c->beat_out);
        c->beat_sent = now;
        if (!c->beat_out_open) {
            fail(c, network_failed, next);
        }
    }
    done = false;
    if (c->beat_in_open && !t->test(t->context, &c->beat_in, &done)) {
        fail(c, network_failed, previous);
        return;
    }
    if (done) {
        c->heard = now;
        c->beat_in_open = false;
        c->neighbour_left = c->in == 'l';
        c->left = now;
    }
    if (!c->beat_in_open && !c->neighbour_left) {
        c->beat_in_open = t->receive(t->context, previous, TAG_BEAT, &c->in, 1, &c->beat_in);
    }
    if (!c->neighbour_left && now - c->heard > SILENCE_SECONDS) {
        fail(c, "rank %zu has not been heard of for 20 seconds", previous);
    }
}

/* Between two looks at what has not come yet, for which it has waited so many seconds. The
 * processors are for those that compute, and a look costs as much as sending ten kilobytes: naps
 * are a part of the time that was waited already, so that what comes is seen late by that part. */
static void pause_a_little(size_t looks, double waited) {
    if (looks > EAGER_LOOKS) {
        double nap = waited * NAP_SHARE;
        nap = nap < SHORTEST_NAP ? SHORTEST_NAP : nap > LONGEST_NAP ? LONGEST_NAP : nap;
        nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * nap)}, NULL);
    }
}

/* Messages are tested in the order they were started. on_done (may be NULL) hears of each. */
static void wait_for(vit_comm *c, const vit_message *messages, size_t count,
                     void (*on_done)(void *context, size_t message), void *context) {
    const vit_transport *t = &c->transport;
    double start = vit_seconds(), last = start; /* when the one before came */
    size_t looks = 0;
    for (size_t i = 0; i < count && !c->broken;) {
        bool done = false;
        vit_message message = messages[i];
        if (!t->test(t->context, &message, &done)) {
            fail(c, network_failed, c->rank);
        } else if (done) {
            if (on_done) {
                on_done(context, i);
            }
            i++;
            looks = 0;
            last = vit_seconds();
            continue;
        }
        pause_a_little(++looks, vit_seconds() - last);
        if (looks % 256 == 0) {
            beat(c, 'a');
            if (vit_seconds() - start > PATIENCE_SECONDS) {
                fail(c, "rank %zu has waited half an hour for the others", c->rank);
            }
            if (c->neighbour_left && vit_seconds() - c->left > GRACE_SECONDS) {
                fail(c, "rank %zu has ended", (c->rank + c->size - 1) % c->size);
            }
        }
    }
}

static bool add_message(vit_comm *c) {
    if ((c->message_count & (c->message_count - 1)) == 0) {
        size_t room = c->message_count ? 2 * c->message_count : 1;
        vit_message *more = vit_realloc(c->messages, room * sizeof *more);
        if (!more) {
            fail(c, "rank %zu: out of memory for messages", c->rank);
            return false;
        }
        c->messages = more;
    }
    c->message_count++;
    return true;
}

static void start(vit_comm *c, bool sends, size_t other, void *data, size_t bytes) {
    const vit_transport *t = &c->transport;
    for (size_t at = 0; at < bytes && !c->broken; at += MESSAGE_BYTES) {
        size_t part = bytes - at < MESSAGE_BYTES ? bytes - at : MESSAGE_BYTES;
        if (!add_message(c)) {
            return;
        }
        vit_message *message = &c->messages[c->message_count - 1];
        char *from = (char *)data + at;
        if (!(sends ? t->send(t->context, other, TAG_DATA, from, part, message)
                    : t->receive(t->context, other, TAG_DATA, from, part, message))) {
            fail(c, network_failed, other);
        }
    }
}

static void finish_started(vit_comm *c) {
    wait_for(c, c->messages, c->message_count, NULL, NULL);
    c->message_count = 0;
}

/* ---- jobs ---- */

static void run_gather(vit_comm *c, const job *j) {
    const size_t *at = j->offsets;
    for (size_t r = 0; r < c->size; r++) {
        if (r != c->rank) {
            start(c, false, r, j->data + at[r], at[r + 1] - at[r]);
        }
    }
    for (size_t i = 1; i < c->size; i++) { /* not all to the same one first */
        start(c, true, (c->rank + i) % c->size, j->data + at[c->rank],
              at[c->rank + 1] - at[c->rank]);
    }
    finish_started(c);
}

static void run_barrier(vit_comm *c) {
    char mark = 1;
    for (size_t step = 1; step < c->size; step *= 2) {
        char other;
        start(c, false, (c->rank + c->size - step) % c->size, &other, 1);
        start(c, true, (c->rank + step) % c->size, &mark, 1);
        finish_started(c);
    }
}

/* A binomial tree from root. */
static void run_broadcast(vit_comm *c, const job *j) {
    size_t place = (c->rank + c->size - j->root) % c->size, step = 1;
    for (; step < c->size; step *= 2) {
        if (place & step) {
            start(c, false, (c->rank + c->size - step) % c->size, j->data, j->count);
            finish_started(c);
            break;
        }
    }
    for (step /= 2; step > 0; step /= 2) {
        if (place + step < c->size) {
            start(c, true, (c->rank + step) % c->size, j->data, j->count);
        }
    }
    finish_started(c);
}

VIT_CLONES static void add_received(size_t n, float *restrict own, const float *restrict other) {
    for (size_t i = 0; i < n; i++) {
        own[i] += other[i];
    }
}

typedef struct adding {
    float *own;
    const float *other;
    size_t n;
} adding;

static void add_part(void *context, size_t part) {
    adding *a = context;
    size_t at = part * PART;
    if (at < a->n) { /* the messages after these are those sent */
        add_received(a->n - at < PART ? a->n - at : PART, a->own + at, a->other + at);
    }
}

static void start_parts(vit_comm *c, bool sends, size_t other, float *data, size_t n) {
    for (size_t at = 0; at < n; at += PART) {
        size_t part = n - at < PART ? n - at : PART;
        start(c, sends, other, data + at, part * sizeof *data);
    }
}

/* Which of its range a rank keeps: at each level the lower neighbour the first half. */
static void halve(size_t rank, size_t level, size_t *first, size_t *end, size_t *mid) {
    *mid = *first + (*end - *first) / 2;
    if (rank & level) {
        *first = *mid;
    } else {
        *end = *mid;
    }
}

/* Addition of two numbers gives the same bits in either order, so own + received is left + right.
 */
static void sum_piece(vit_comm *c, float *data, size_t n) {
    enum { LEVELS = 8 * sizeof(size_t) };
    size_t first[LEVELS + 1], end[LEVELS + 1], depth = 0, mid;
    first[0] = 0;
    end[0] = n;
    for (size_t level = 1; level < c->size && !c->broken; level *= 2, depth++) {
        size_t lo = first[depth], hi = end[depth], other = c->rank ^ level;
        halve(c->rank, level, &lo, &hi, &mid);
        bool lower = !(c->rank & level);
        size_t away = lower ? mid : first[depth], away_end = lower ? end[depth] : mid;
        start_parts(c, false, other, c->received, hi - lo);
        start_parts(c, true, other, data + away, away_end - away);
        adding a = {data + lo, c->received, hi - lo};
        wait_for(c, c->messages, c->message_count, add_part, &a);
        c->message_count = 0;
        c->sum_bytes += (away_end - away) * sizeof *data;
        first[depth + 1] = lo;
        end[depth + 1] = hi;
    }
    for (size_t level = c->size / 2; depth > 0 && !c->broken; level /= 2, depth--) {
        size_t lo = first[depth], hi = end[depth], other = c->rank ^ level;
        bool lower = !(c->rank & level);
        size_t far = lower ? hi : first[depth - 1], far_end = lower ? end[depth - 1] : lo;
        start_parts(c, false, other, data + far, far_end - far);
        start_parts(c, true, other, data + lo, hi - lo);
        finish_started(c);
        c->sum_bytes += (hi - lo) * sizeof *data;
    }
}

static double thread_cpu(void) {
    return vit_seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

static void run_sum(vit_comm *c, const job *j) {
    double began = vit_seconds(), cpu = thread_cpu();
    float *data = (float *)(void *)j->data;
    for (size_t at = 0; at < j->count && !c->broken; at += PIECE) {
        beat(c, 'a');
        sum_piece(c, data + at, j->count - at < PIECE ? j->count - at : PIECE);
    }
    pthread_mutex_lock(&c->mutex);
    c->sum_seconds += vit_seconds() - began;
    c->sum_cpu += thread_cpu() - cpu;
    pthread_mutex_unlock(&c->mutex);
}

/* Until the neighbour leaves as well. */
static void run_leave(vit_comm *c) {
    bool said = false;
    while (!c->broken && !(said && c->neighbour_left && !c->beat_out_open)) {
        beat(c, said ? 0 : 'l');
        said = said || c->out == 'l';
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

static void run(vit_comm *c, const job *j) {
    switch (j->kind) {
    case JOB_BARRIER:
        run_barrier(c);
        break;
    case JOB_BROADCAST:
        run_broadcast(c, j);
        break;
    case JOB_GATHER:
        run_gather(c, j);
        break;
    case JOB_SUM:
        run_sum(c, j);
        break;
    case JOB_LEAVE:
        run_leave(c);
        break;
    }
}

/* ---- the thread ---- */

/* What depends on the number of ranks. These are there by now and wait for this one: without memory
 * it is broken, and ends them when it leaves. */
static void allocate(vit_comm *c) {
    if (vit_alloc((void **)&c->reports, c->size, sizeof *c->reports, "ranks") != VIT_OK ||
        vit_alloc((void **)&c->offsets, c->size + 1, sizeof *c->offsets, "ranks") != VIT_OK) {
        fail(c, "rank %zu: out of memory for what ranks say", c->rank);
    }
}

static bool open_transport(vit_comm *c) {
    const char *why = c->transport.open(&c->transport);
    c->rank = c->transport.rank;
    c->size = c->transport.size;
    c->heard = c->beat_sent = c->looked = vit_seconds();
    if (why) {
        snprintf(c->why, sizeof c->why, "%s", why);
    } else {
        allocate(c);
    }
    pthread_mutex_lock(&c->mutex);
    c->opened = !why;
    c->closed = why;
    pthread_cond_broadcast(&c->finished);
    pthread_mutex_unlock(&c->mutex);
    return !why;
}

/* The next job; meanwhile it beats. */
static job next_job(vit_comm *c) {
    pthread_mutex_lock(&c->mutex);
    while (c->post_count == c->done_count) {
        const struct timespec until = vit_seconds_from_now(0.1);
        if (pthread_cond_clockwait(&c->posted, &c->mutex, CLOCK_MONOTONIC, &until) == ETIMEDOUT &&
            !c->broken) {
            pthread_mutex_unlock(&c->mutex);
            beat(c, 'a');
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
        if (!c->broken) {
            beat(c, j.kind == JOB_LEAVE ? 0 : 'a');
            run(c, &j);
        }
        if (j.kind == JOB_LEAVE) {
            (c->broken ? c->transport.abort : c->transport.close)(c->transport.context);
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
    return c->broken ? vit_fail(VIT_ERROR_IO, "%s", c->why) : VIT_OK;
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

vit_status vit_comm_barrier(vit_comm *comm) {
    return call(comm, &(job){.kind = JOB_BARRIER});
}

vit_status vit_comm_broadcast(vit_comm *comm, size_t root, void *data, size_t bytes) {
    return call(comm, &(job){.kind = JOB_BROADCAST, .root = root, .data = data, .count = bytes});
}

vit_status vit_comm_all_gather(vit_comm *comm, void *data, const size_t *offsets) {
    return call(comm, &(job){.kind = JOB_GATHER, .data = data, .offsets = offsets});
}

/* Everybody's `bytes` of an array of size elements. */
static vit_status gather_equal(vit_comm *c, void *data, size_t bytes) {
    for (size_t r = 0; r <= c->size; r++) {
        c->offsets[r] = r * bytes;
    }
    return vit_comm_all_gather(c, data, c->offsets);
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
    all[comm->rank] = *bits;
    status = gather_equal(comm, all, sizeof *all);
    for (size_t r = 0; status == VIT_OK && r < comm->size; r++) {
        *bits |= all[r];
    }
    return status;
}

vit_status vit_comm_agree(vit_comm *comm, vit_status status) {
    if (!comm) {
        return status;
    }
    vit_status result = VIT_OK;
    if (comm->broken) {
        return status != VIT_OK ? status : check_whole(comm);
    }
    report *own = &comm->reports[comm->rank];
    own->status = (int32_t)status;
    snprintf(own->message, sizeof own->message, "%s", status == VIT_OK ? "" : vit_last_error());
    result = gather_equal(comm, comm->reports, sizeof *comm->reports);
    for (size_t r = 0; result == VIT_OK && r < comm->size; r++) {
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
    vit_free(c->messages);
    vit_free(c);
}

vit_status vit_comm_create(const vit_transport *transport, vit_comm **out) {
    vit_status status = VIT_OK;
    vit_comm *c = NULL;
    *out = NULL;
    VIT_TRY(vit_alloc((void **)&c, 1, sizeof *c, "ranks"));
    c->transport = *transport;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->posted, NULL);
    pthread_cond_init(&c->finished, NULL);
    VIT_TRY(vit_alloc((void **)&c->received, PIECE / 2 + 1, sizeof(float), "what ranks receive"));
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
        VIT_TRY(vit_fail(VIT_ERROR_IO, "%s", c->why));
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
    return comm && comm->broken;
}

void vit_comm_free(vit_comm *comm) {
    if (!comm) {
        return;
    }
    post(comm, &(job){.kind = JOB_LEAVE});
    pthread_join(comm->thread, NULL);
    release(comm);
}
