#include "data/cache.h"

#include "vit/arena.h"
#include "vit/memory.h"

#include <stdatomic.h>
#include <string.h>

#define SHARE 0.8 /* of the available memory; the rest is for the model and for other programs */

struct vit_cache {
    const vit_dataset *dataset;
    vit_decode_options decode;
    bool partial;
    _Atomic uint64_t room;        /* bytes that a partial one may still take */
    _Atomic(vit_image *) *images; /* (dataset->count); NULL: not decoded yet */
};

/* Bytes of the decoded picture. One that cannot be read takes none: whoever asks for it is told. */
static size_t decoded_bytes(const vit_cache *cache, size_t i, vit_bytes *file) {
    const vit_sample *sample = &cache->dataset->samples[i];
    const void *bytes;
    size_t size;
    uint64_t pixels = 0;
    if (vit_sample_read(sample, file, &bytes, &size) != VIT_OK ||
        vit_image_pixels(bytes, size, sample->path, &cache->decode, &pixels) != VIT_OK) {
        return 0;
    }
    return (size_t)pixels * 3 + sizeof(vit_image);
}

static uint64_t all_bytes(const vit_cache *cache, int threads) {
    uint64_t total = 0;
    long count = (long)cache->dataset->count;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        vit_bytes file = {0};
#pragma omp for schedule(dynamic, 16)
        for (long i = 0; i < count; i++) {
            total += decoded_bytes(cache, (size_t)i, &file);
        }
        vit_bytes_free(&file);
    }
    return total;
}

static vit_status create(const vit_dataset *dataset, const vit_decode_options *decode,
                         vit_cache **out) {
    void *block = NULL;
    vit_cache *cache = NULL;
    vit_status status;
    *out = NULL;
    VIT_TRY(vit_alloc(&block, 1, sizeof *cache, "picture cache"));
    cache = block;
    cache->dataset = dataset;
    cache->decode = *decode;
    VIT_TRY(vit_alloc(&block, dataset->count, sizeof *cache->images, "picture cache"));
    cache->images = block;
    *out = cache;
    cache = NULL;
cleanup:
    vit_cache_free(cache);
    return status;
}

vit_status vit_cache_create_partial(const vit_dataset *dataset, const vit_decode_options *decode,
                                    size_t ranks, uint64_t available, vit_cache **out) {
    vit_status status;
    VIT_TRY(create(dataset, decode, out));
    available = available ? available : vit_memory_available();
    (*out)->partial = true;
    (*out)->room = (uint64_t)(SHARE * (double)available / (double)ranks);
cleanup:
    return status;
}

vit_status vit_cache_create(const vit_dataset *dataset, const vit_decode_options *decode,
                            int threads, uint64_t available, vit_cache **out) {
    vit_cache *cache = NULL;
    vit_status status;
    *out = NULL;
    VIT_TRY(create(dataset, decode, &cache));
    uint64_t needed = all_bytes(cache, threads);
    available = available ? available : vit_memory_available();
    if (available && (double)needed > SHARE * (double)available) {
        VIT_TRY(vit_fail(VIT_ERROR_LIMIT,
                         "--cache ram: the %zu pictures of %s take %.2f GB when decoded (expected "
                         "at most %.2f GB, which is %.0f %% of the memory that is available); "
                         "zvit pack --short-side makes them smaller",
                         dataset->count, dataset->root, 1e-9 * (double)needed,
                         1e-9 * SHARE * (double)available, 100 * SHARE));
    }
    *out = cache;
    cache = NULL;
cleanup:
    vit_cache_free(cache);
    return status;
}

static void entry_free(vit_image *image) {
    if (image) {
        vit_image_free(image);
        vit_free(image);
    }
}

void vit_cache_free(vit_cache *cache) {
    if (!cache) {
        return;
    }
    for (size_t i = 0; cache->images && i < cache->dataset->count; i++) {
        entry_free(atomic_load(&cache->images[i]));
    }
    vit_free(cache->images);
    vit_free(cache);
}

static vit_status decode_entry(const vit_cache *cache, size_t i, vit_bytes *file, vit_image **out) {
    const vit_sample *sample = &cache->dataset->samples[i];
    const void *bytes;
    void *block = NULL;
    size_t size;
    vit_status status;
    VIT_TRY(vit_sample_read(sample, file, &bytes, &size));
    VIT_TRY(vit_alloc(&block, 1, sizeof **out, "picture cache"));
    VIT_TRY(vit_image_decode(bytes, size, sample->path, &cache->decode, block));
    *out = block;
    block = NULL;
cleanup:
    entry_free(block);
    return status;
}

/* Takes bytes of the room of a partial cache, if they are there. */
static bool take_room(vit_cache *cache, uint64_t bytes) {
    uint64_t room = atomic_load(&cache->room);
    while (room >= bytes) {
        if (atomic_compare_exchange_weak(&cache->room, &room, room - bytes)) {
            return true;
        }
    }
    return false;
}

static uint64_t kept_bytes(const vit_image *image) {
    return (uint64_t)image->width * image->height * 3 + sizeof *image;
}

static vit_status copy_image(const vit_image *from, vit_image **out) {
    void *block = NULL;
    vit_status status;
    VIT_TRY(vit_alloc(&block, 1, sizeof **out, "picture cache"));
    VIT_TRY(vit_image_reserve(block, from->width, from->height, "picture cache"));
    memcpy(((vit_image *)block)->pixels, from->pixels, from->width * from->height * 3);
    *out = block;
    block = NULL;
cleanup:
    entry_free(block);
    return status;
}

/* Decodes into spare; *out is a copy when it is to be kept, else NULL. The room was reckoned at the
 * start and may be gone by now: then what is kept so far is all, and nothing has failed. */
static vit_status decode_partial(vit_cache *cache, size_t i, vit_bytes *file, vit_image *spare,
                                 vit_image **out) {
    const vit_sample *sample = &cache->dataset->samples[i];
    const void *bytes;
    size_t size;
    vit_status status;
    VIT_TRY(vit_sample_read(sample, file, &bytes, &size));
    VIT_TRY(vit_image_decode(bytes, size, sample->path, &cache->decode, spare));
    if (take_room(cache, kept_bytes(spare)) && copy_image(spare, out) != VIT_OK) {
        atomic_store(&cache->room, 0);
    }
cleanup:
    return status;
}

vit_status vit_cache_get(vit_cache *cache, size_t i, vit_bytes *file, vit_image *spare,
                         const vit_image **image) {
    vit_image *kept = atomic_load(&cache->images[i]), *fresh = NULL;
    vit_status status = VIT_OK;
    if (!kept) {
        VIT_TRY(cache->partial ? decode_partial(cache, i, file, spare, &fresh)
                               : decode_entry(cache, i, file, &fresh));
        /* Another thread may have been first: its picture stays, and ours is the same. */
        if (!fresh) {
            kept = spare;
        } else if (atomic_compare_exchange_strong(&cache->images[i], &kept, fresh)) {
            kept = fresh;
        } else {
            atomic_fetch_add(&cache->room, kept_bytes(fresh));
            entry_free(fresh);
        }
    }
    *image = kept;
cleanup:
    return status;
}
