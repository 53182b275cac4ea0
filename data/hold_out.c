#include "data/hold_out.h"

#include "data/walk.h"
#include "vit/heap.h"
#include "vit/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ranked {
    uint64_t hash;
    const char *path; /* relative */
    size_t index;
} ranked;

static int compare_ranked(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : strcmp(x->path, y->path);
}

/* FNV-1a's last characters reach its low bits only; one block of the generator spreads them. */
static uint64_t hash_path(const char *path) {
    vit_rng rng = vit_rng_make(vit_hash_string(path), 0, 0, VIT_RNG_SPLIT);
    uint64_t high = vit_rng_u32(&rng);
    return high << 32 | vit_rng_u32(&rng);
}

/* How many of a class's n pictures are held out. */
static size_t held_out(size_t n, double share) {
    double wanted = rint((double)n * share);
    size_t most = n - 1;
    size_t count = wanted < 1 ? 1 : wanted > (double)most ? most : (size_t)wanted;
    return n > 1 ? count : 0;
}

vit_status vit_hold_out(vit_dataset *d, double share, bool val) {
    size_t kept = 0;
    ranked *ranks = vit_calloc(d->count ? d->count : 1, sizeof *ranks);
    bool *out = vit_calloc(d->count ? d->count : 1, sizeof *out);
    vit_status status = ranks && out ? VIT_OK : vit_list_no_memory(d->root);
    for (size_t i = 0; status == VIT_OK && i < d->count; i++) {
        const char *path = vit_dataset_path_below(d, i);
        ranks[i] = (ranked){hash_path(path), path, i};
    }
    for (size_t first = 0, end; status == VIT_OK && first < d->count; first = end) {
        for (end = first; end < d->count && d->samples[end].label == d->samples[first].label;) {
            end++;
        }
        qsort(ranks + first, end - first, sizeof *ranks, compare_ranked);
        for (size_t i = 0; i < held_out(end - first, share); i++) {
            out[ranks[first + i].index] = true;
        }
    }
    for (size_t i = 0; status == VIT_OK && i < d->count; i++) {
        if (out[i] == val) {
            d->samples[kept++] = d->samples[i];
        } else {
            vit_free(d->samples[i].path);
        }
    }
    d->count = status == VIT_OK ? kept : d->count;
    vit_free(ranks);
    vit_free(out);
    return status;
}
