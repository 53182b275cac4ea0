/* Decoded pictures of a data set, kept in memory. */
#ifndef VIT_CACHE_H
#define VIT_CACHE_H

#include "data/folder.h"
#include "data/image.h"

typedef struct vit_cache vit_cache;

/* Reads every picture's header, on `threads` threads, to learn what all of them take, and fails
 * with VIT_ERROR_LIMIT, naming the sizes, when that is more than 80 % of the memory that is
 * available. available: in bytes; 0: asks the system. No pixel is decoded yet. */
vit_status vit_cache_create(const vit_dataset *dataset, const vit_decode_options *decode,
                            int threads, uint64_t available, vit_cache **out);
/* A cache that keeps what it can: the first pictures that are asked for, up to 80 % of this one's
 * part of the available memory, which `ranks` of them share, or until memory runs out. Nothing is
 * read yet and nothing refused: what does not fit is decoded each time. */
vit_status vit_cache_create_partial(const vit_dataset *dataset, const vit_decode_options *decode,
                                    size_t ranks, uint64_t available, vit_cache **out);
void vit_cache_free(vit_cache *cache);

/* Picture i, whole and upright; decoded when it is asked for the first time. file: a buffer to
 * read into; spare: one to decode into. *image is valid as long as the cache, or lies in spare when
 * it is not kept. Thread-safe. */
vit_status vit_cache_get(vit_cache *cache, size_t i, vit_bytes *file, vit_image *spare,
                         const vit_image **image);

#endif
