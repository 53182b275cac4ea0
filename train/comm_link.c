#include "train/comm_link.h"

#include "vit/arena.h"
#include "vit/clock.h"

#include <stdio.h>
#include <time.h>

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

/* ---- beats ---- */

void vit_link_fail(vit_link *l, const char *format, size_t rank) {
    if (!l->broken) {
        snprintf(l->why, sizeof l->why, format, rank);
        l->broken = true;
    }
}

static const char network_failed[] = "rank %zu: the network failed";

/* 'a': alive, when it is time; 'l': leaving, at once; 0: only looks. */
static void beat(vit_link *l, char what) {
    const vit_transport *t = &l->transport;
    double now = vit_seconds();
    if (now - l->looked > SILENCE_SECONDS / 4) {
        l->heard = now; /* it was this process that stood still; what came meanwhile is unread */
    }
    l->looked = now;
    size_t next = (l->rank + 1) % l->size, previous = (l->rank + l->size - 1) % l->size;
    bool done = false;
    if (l->beat_out_open && !t->test(t->context, &l->beat_out, &done)) {
        vit_link_fail(l, network_failed, next);
        return;
    }
    l->beat_out_open = l->beat_out_open && !done;
    if (!l->beat_out_open && what && (now - l->beat_sent >= BEAT_SECONDS || what == 'l')) {
        l->out = what;
        l->beat_out_open = t->send(t->context, next, TAG_BEAT, &l->out, 1, &l->beat_out);
        l->beat_sent = now;
        if (!l->beat_out_open) {
            vit_link_fail(l, network_failed, next);
        }
    }
    done = false;
    if (l->beat_in_open && !t->test(t->context, &l->beat_in, &done)) {
        vit_link_fail(l, network_failed, previous);
        return;
    }
    if (done) {
        l->heard = now;
        l->beat_in_open = false;
        l->neighbour_left = l->in == 'l';
        l->left = now;
    }
    if (!l->beat_in_open && !l->neighbour_left) {
        l->beat_in_open = t->receive(t->context, previous, TAG_BEAT, &l->in, 1, &l->beat_in);
    }
    if (!l->neighbour_left && now - l->heard > SILENCE_SECONDS) {
        vit_link_fail(l, "rank %zu has not been heard of for 20 seconds", previous);
    }
}

void vit_link_beat(vit_link *l) {
    beat(l, 'a');
}

/* ---- messages ---- */

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

void vit_link_wait(vit_link *l, void (*on_done)(void *context, size_t message), void *context) {
    const vit_transport *t = &l->transport;
    double start = vit_seconds(), last = start; /* when the one before came */
    size_t looks = 0;
    for (size_t i = 0; i < l->message_count && !l->broken;) {
        bool done = false;
        vit_message message = l->messages[i];
        if (!t->test(t->context, &message, &done)) {
            vit_link_fail(l, network_failed, l->rank);
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
            beat(l, 'a');
            if (vit_seconds() - start > PATIENCE_SECONDS) {
                vit_link_fail(l, "rank %zu has waited half an hour for the others", l->rank);
            }
            if (l->neighbour_left && vit_seconds() - l->left > GRACE_SECONDS) {
                vit_link_fail(l, "rank %zu has ended", (l->rank + l->size - 1) % l->size);
            }
        }
    }
    l->message_count = 0;
}

static bool add_message(vit_link *l) {
    if ((l->message_count & (l->message_count - 1)) == 0) {
        size_t room = l->message_count ? 2 * l->message_count : 1;
        vit_message *more = vit_realloc(l->messages, room * sizeof *more);
        if (!more) {
            vit_link_fail(l, "rank %zu: out of memory for messages", l->rank);
            return false;
        }
        l->messages = more;
    }
    l->message_count++;
    return true;
}

void vit_link_start(vit_link *l, bool sends, size_t other, void *data, size_t bytes) {
    const vit_transport *t = &l->transport;
    for (size_t at = 0; at < bytes && !l->broken; at += MESSAGE_BYTES) {
        size_t part = bytes - at < MESSAGE_BYTES ? bytes - at : MESSAGE_BYTES;
        if (!add_message(l)) {
            return;
        }
        vit_message *message = &l->messages[l->message_count - 1];
        char *from = (char *)data + at;
        if (!(sends ? t->send(t->context, other, TAG_DATA, from, part, message)
                    : t->receive(t->context, other, TAG_DATA, from, part, message))) {
            vit_link_fail(l, network_failed, other);
        }
    }
}

/* ---- beginning and end ---- */

bool vit_link_open(vit_link *l) {
    const char *why = l->transport.open(&l->transport);
    l->rank = l->transport.rank;
    l->size = l->transport.size;
    l->heard = l->beat_sent = l->looked = vit_seconds();
    if (why) {
        snprintf(l->why, sizeof l->why, "%s", why);
    }
    return !why;
}

void vit_link_leave(vit_link *l) {
    bool said = false;
    while (!l->broken && !(said && l->neighbour_left && !l->beat_out_open)) {
        beat(l, said ? 0 : 'l');
        said = said || l->out == 'l';
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

void vit_link_close(vit_link *l) {
    (l->broken ? l->transport.abort : l->transport.close)(l->transport.context);
    vit_free(l->messages);
    l->messages = NULL;
}
