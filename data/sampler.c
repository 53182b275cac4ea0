#include "data/sampler.h"

#include "vit/rng.h"

const char *const vit_sampler_names[] = {"uniform", "balanced", NULL};

/* Keys of the shuffles of one epoch; the plain shuffle of all pictures has 0. */
enum { KEY_CLASSES = 1, KEY_FIRST_CLASS = 2 };

static void swap(uint32_t *values, size_t i, size_t j) {
    uint32_t t = values[i];
    values[i] = values[j];
    values[j] = t;
}

/* Fisher and Yates, from the end; more (may be NULL) goes along. */
static void shuffle(vit_rng rng, size_t n, uint32_t *values, uint32_t *more) {
    for (size_t i = n; i > 1; i--) {
        size_t j = vit_rng_below(&rng, (uint32_t)i);
        swap(values, i - 1, j);
        if (more) {
            swap(more, i - 1, j);
        }
    }
}

void vit_shuffle(uint64_t seed, uint32_t epoch, uint32_t *order, size_t count) {
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
    }
    shuffle(vit_rng_make(seed, epoch, 0, VIT_RNG_SHUFFLE), count, order, NULL);
}

/* The first place of each class that has pictures, drawn in a random order; returns how many. */
static size_t list_classes(const vit_dataset *d, vit_rng rng, uint32_t *starts) {
    size_t count = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (i == 0 || d->samples[i].label != d->samples[i - 1].label) {
            starts[count++] = (uint32_t)i;
        }
    }
    shuffle(rng, count, starts, NULL);
    return count;
}

static size_t class_size(const vit_dataset *d, size_t start) {
    size_t end = start;
    while (end < d->count && d->samples[end].label == d->samples[start].label) {
        end++;
    }
    return end - start;
}

/* quota draws from the class at start: all of it as often as it fits, then a choice of it by
 * selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S). They come in their order, which the
 * shuffle of the epoch undoes. */
static void draw_class(const vit_dataset *d, uint64_t seed, uint32_t epoch, size_t start,
                       size_t quota, uint32_t *order, uint32_t *repeats) {
    size_t size = class_size(d, start);
    uint64_t key = KEY_FIRST_CLASS + (uint64_t)d->samples[start].label;
    for (size_t done = 0, round = 0; done < quota; round++) {
        vit_rng rng = vit_rng_make(seed, epoch, (uint64_t)round << 32 | key, VIT_RNG_SHUFFLE);
        size_t take = quota - done < size ? quota - done : size;
        for (size_t i = 0, left = take; left > 0; i++) {
            if (vit_rng_below(&rng, (uint32_t)(size - i)) < left) {
                order[done] = (uint32_t)(start + i);
                repeats[done++] = (uint32_t)round;
                left--;
            }
        }
    }
}

void vit_sample_balanced(const vit_dataset *dataset, uint64_t seed, uint32_t epoch, uint32_t *work,
                         uint32_t *order, uint32_t *repeats) {
    size_t n = dataset->count;
    size_t classes =
        list_classes(dataset, vit_rng_make(seed, epoch, KEY_CLASSES, VIT_RNG_SHUFFLE), work);
    for (size_t c = 0, at = 0; c < classes; c++) {
        size_t quota = n / classes + (c < n % classes);
        draw_class(dataset, seed, epoch, work[c], quota, order + at, repeats + at);
        at += quota;
    }
    shuffle(vit_rng_make(seed, epoch, 0, VIT_RNG_SHUFFLE), n, order, repeats);
}
