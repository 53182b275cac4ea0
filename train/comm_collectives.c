#include "train/comm_collectives.h"

#include "vit/rows.h"

/* Floats in a message of a sum: what comes in is added while the next is on its way. */
#define PART ((size_t)1 << 16)

void vit_link_all_gather(vit_link *l, char *data, const size_t *at) {
    for (size_t r = 0; r < l->size; r++) {
        if (r != l->rank) {
            vit_link_start(l, false, r, data + at[r], at[r + 1] - at[r]);
        }
    }
    for (size_t i = 1; i < l->size; i++) { /* not all to the same one first */
        vit_link_start(l, true, (l->rank + i) % l->size, data + at[l->rank],
                       at[l->rank + 1] - at[l->rank]);
    }
    vit_link_wait(l, NULL, NULL);
}

/* A binomial tree from root. */
void vit_link_broadcast(vit_link *l, size_t root, void *data, size_t bytes) {
    size_t place = (l->rank + l->size - root) % l->size, step = 1;
    for (; step < l->size; step *= 2) {
        if (place & step) {
            vit_link_start(l, false, (l->rank + l->size - step) % l->size, data, bytes);
            vit_link_wait(l, NULL, NULL);
            break;
        }
    }
    for (step /= 2; step > 0; step /= 2) {
        if (place + step < l->size) {
            vit_link_start(l, true, (l->rank + step) % l->size, data, bytes);
        }
    }
    vit_link_wait(l, NULL, NULL);
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
        vit_add(a->n - at < PART ? a->n - at : PART, a->other + at, a->own + at);
    }
}

static void start_parts(vit_link *l, bool sends, size_t other, float *data, size_t n) {
    for (size_t at = 0; at < n; at += PART) {
        size_t part = n - at < PART ? n - at : PART;
        vit_link_start(l, sends, other, data + at, part * sizeof *data);
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
void vit_link_sum_piece(vit_link *l, float *data, size_t n, float *received, uint64_t *sent) {
    enum { LEVELS = 8 * sizeof(size_t) };
    size_t first[LEVELS + 1], end[LEVELS + 1], depth = 0, mid;
    first[0] = 0;
    end[0] = n;
    for (size_t level = 1; level < l->size && !l->broken; level *= 2, depth++) {
        size_t lo = first[depth], hi = end[depth], other = l->rank ^ level;
        halve(l->rank, level, &lo, &hi, &mid);
        bool lower = !(l->rank & level);
        size_t away = lower ? mid : first[depth], away_end = lower ? end[depth] : mid;
        start_parts(l, false, other, received, hi - lo);
        start_parts(l, true, other, data + away, away_end - away);
        adding a = {data + lo, received, hi - lo};
        vit_link_wait(l, add_part, &a);
        *sent += (away_end - away) * sizeof *data;
        first[depth + 1] = lo;
        end[depth + 1] = hi;
    }
    for (size_t level = l->size / 2; depth > 0 && !l->broken; level /= 2, depth--) {
        size_t lo = first[depth], hi = end[depth], other = l->rank ^ level;
        bool lower = !(l->rank & level);
        size_t far = lower ? hi : first[depth - 1], far_end = lower ? end[depth - 1] : lo;
        start_parts(l, false, other, data + far, far_end - far);
        start_parts(l, true, other, data + lo, hi - lo);
        vit_link_wait(l, NULL, NULL);
        *sent += (hi - lo) * sizeof *data;
    }
}
