/* Batches of float tensors from a data set. The loader has no threads of its own: whoever has a
 * parallel region calls vit_loader_fetch for one picture at a time from any thread, so decoding
 * fills the gaps between slots. Two batches alternate: one is computed on while the next is filled;
 * files of the one after are announced to the kernel. */
#ifndef VIT_LOADER_H
#define VIT_LOADER_H

#include "data/folder.h"
#include "data/mix.h"
#include "data/sampler.h"
#include "data/share.h"
#include "data/transform.h"
#include "vit/arena.h"

#define VIT_NO_ROW UINT32_MAX

typedef struct vit_batch {
    size_t count; /* pictures in this batch, of all ranks; 0 past the end of the epoch */
    size_t capacity;
    uint64_t number; /* position in the epoch, from 0 */
    uint32_t epoch;
    uint32_t *indices; /* (count) into dataset->samples */
    uint32_t *repeats; /* (count) how often the sample came before in the epoch */
    int *labels;       /* (count) */
    /* (count) the row of images that picture j lies in, VIT_NO_ROW when this rank does not hold it;
     * NULL: j. A rank's own pictures come first, in order. */
    uint32_t *rows;
    uint32_t *wanted; /* (wanted_count) the pictures that are to be fetched */
    size_t wanted_count;
    float *images; /* (rows,3,H,W): all pictures, or those of this rank and their partners */
    bool settled;  /* vit_loader_drop_failed was there: another failure is an error */
    vit_first_error error; /* of fetches into this batch */
    /* (count) with config.skip: could not be read, and its pixels mean nothing. Of the pictures
     * that this rank fetches. */
    bool *failed;
    vit_first_error skipped; /* the first of these */
    vit_arena memory;        /* of vit_batch_create: that the arrays lie in */
} vit_batch;

/* The key of picture j's draws: each repeat of a sample has draws of its own. */
static inline uint64_t vit_batch_key(const vit_batch *batch, size_t j) {
    return batch->indices[j] | (uint64_t)(batch->repeats ? batch->repeats[j] : 0) << 32;
}

/* Picture j, (3,H,W) of n floats, which this rank holds. */
static inline float *vit_batch_image(const vit_batch *batch, size_t j, size_t n) {
    return batch->images + (batch->rows ? batch->rows[j] : j) * n;
}

typedef struct vit_loader_config {
    const vit_dataset *dataset; /* outlives the loader */
    size_t batch_size;
    size_t height, width;
    vit_preprocess preprocess;
    const vit_augment *augment; /* NULL: the evaluation transform */
    bool shuffle;
    int sampler;    /* vit_sampler; balanced orders the epoch at random too */
    bool drop_last; /* leave out a last short batch */
    bool skip;      /* unreadable pictures are marked in the batch instead of failing it */
    /* Repeated augmentation (Hoffer et al. 2020), as timm's RepeatAugSampler on one rank: each
     * sample comes `repeats` times running, with other draws; the epoch keeps its length, so it
     * shows 1 / repeats of the samples. 0 and 1: off. (timm also rounds the length down to 256.) */
    size_t repeats;
    uint64_t seed;
    vit_decode_options decode;
    /* Decoded pictures are kept. They are whole: augment's fast_decode then changes nothing, and
     * the pixels are those without it. */
    bool cache;
    /* Under several ranks, a batch is that of all of them, and a rank reads what it computes with:
     * the pictures of its slots and, in a batch that mix mixes, those that they are mixed with. */
    vit_share share;
    vit_mix_options mix;
    size_t cache_ranks; /* ranks that share this machine's memory, for cache; 0: one */
} vit_loader_config;

typedef struct vit_loader vit_loader;
/* threads: the most threads that will ever fetch at once (each has its own scratch, by
 * omp_get_thread_num()). Errors: no picture, a batch size of 0, drop_last with fewer pictures than
 * a batch, ranks that do not divide the slots, a cache that does not fit in memory. */
vit_status vit_loader_create(const vit_loader_config *config, int threads, vit_loader **out);
void vit_loader_free(vit_loader *loader);

size_t vit_loader_batches(const vit_loader *loader); /* in an epoch */

vit_status vit_batch_create(const vit_loader *loader, vit_batch **out);
void vit_batch_free(vit_batch *batch);
/* Bytes that vit_batch_create takes for a batch of which rows pictures (vit_share_most) of height x
 * width are held; SIZE_MAX when they do not fit. */
size_t vit_batch_bytes(size_t batch_size, size_t rows, size_t height, size_t width);

/* Orders an epoch; not thread-safe. */
void vit_loader_start_epoch(vit_loader *loader, uint32_t epoch);
/* Sets up batch `number` of the epoch: count, indices, labels, what is wanted, no pixels yet; asks
 * the kernel to read ahead the files of the batch after it (and its own, when it is the first). Not
 * thread-safe. */
void vit_loader_prepare(vit_loader *loader, size_t number, vit_batch *batch);
/* Decodes and transforms the i-th wanted picture of the batch in place; on the only rank that is
 * picture i. Thread-safe for different i. A failure is noted in batch->error, or in batch->failed
 * and batch->skipped when they are to be skipped (but for lack of memory, which is no picture's
 * fault). */
void vit_loader_fetch(vit_loader *loader, vit_batch *batch, size_t i);

/* Once every wanted picture is fetched, and under several ranks batch->failed is that of all of
 * them (a flag is true where it is for any): takes those that failed out of the batch, which gets
 * smaller; the others keep their order. Returns how many were taken out. What is left is dealt
 * anew, so that a rank may want pictures that were another's: wanted_count says how many are to be
 * fetched now, which is none on the only rank. */
size_t vit_loader_drop_failed(const vit_loader *loader, vit_batch *batch);

#endif
