/* Memory: checked aligned blocks, and arenas that are planned once and carved many times. */
#ifndef VIT_ARENA_H
#define VIT_ARENA_H

#include "vit/heap.h"
#include "vit/status.h"

#include <stdbool.h>

#define VIT_ALIGNMENT 64 /* bytes: one cache line, one AVX-512 register */

/* count * size bytes, aligned to VIT_ALIGNMENT and zeroed; the product is checked. *out is NULL on
 * failure and when count is 0. what names the block in the message. Release with vit_free. */
vit_status vit_alloc(void **out, size_t count, size_t size, const char *what);
/* The same, but what is in the memory is left to chance: for what is overwritten whole. */
vit_status vit_alloc_raw(void **out, size_t count, size_t size, const char *what);

/* Products and sums of sizes; what does not fit becomes SIZE_MAX, which no arena has room for. */
size_t vit_size_times(size_t a, size_t b);
size_t vit_size_plus(size_t a, size_t b);

/* A bump allocator. The same planning code runs twice: with base == NULL it only adds up `used`,
 * after vit_arena_allocate it hands out the same pieces of one real block.
 *
 *   vit_arena arena = {0};
 *   plan(&arena, &tensors);                 // measures; every pointer is NULL
 *   VIT_TRY(vit_arena_allocate(&arena));
 *   plan(&arena, &tensors);                 // carves
 *   ...
 *   vit_arena_free(&arena);
 */
typedef struct vit_arena {
    char *base;
    size_t used;
    size_t capacity;
    bool overflow; /* a size did not fit in size_t, or carving took more than was measured */
} vit_arena;

/* The next count * size bytes, aligned to VIT_ALIGNMENT; NULL while measuring or on overflow. */
void *vit_arena_take(vit_arena *arena, size_t count, size_t size);
float *vit_arena_floats(vit_arena *arena, size_t count);

/* Takes the measured bytes in one zeroed block and rewinds, ready for the carving pass. */
vit_status vit_arena_allocate(vit_arena *arena, const char *what);
void vit_arena_free(vit_arena *arena);

#endif
