#include "vit/arena.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

/* Blocks of at least this many bytes lie in huge pages where the system has them: 512 times fewer
 * page faults, and a row of a long tensor no longer costs a look-up of its own page. */
#define HUGE_PAGE ((size_t)2 << 20)

/* aligned_alloc wants a multiple of the alignment. */
static void *aligned_block(size_t bytes) {
    size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : VIT_ALIGNMENT;
    void *block = vit_aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
#ifdef MADV_HUGEPAGE
    if (block && alignment == HUGE_PAGE) {
        madvise(block, bytes, MADV_HUGEPAGE); /* a wish: where it is not heard, nothing is lost */
    }
#endif
    return block;
}

vit_status vit_alloc_raw(void **out, size_t count, size_t size, const char *what) {
    *out = NULL;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - HUGE_PAGE) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: %zu items of %zu bytes do not fit in memory", what,
                        count, size);
    }
    if (bytes == 0) {
        return VIT_OK;
    }
    void *block = aligned_block(bytes);
    if (!block) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu bytes)", what, bytes);
    }
    *out = block;
    return VIT_OK;
}

vit_status vit_alloc(void **out, size_t count, size_t size, const char *what) {
    vit_status status = vit_alloc_raw(out, count, size, what);
    if (*out) {
        memset(*out, 0, count * size);
    }
    return status;
}

size_t vit_size_times(size_t a, size_t b) {
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

size_t vit_size_plus(size_t a, size_t b) {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

void *vit_arena_take(vit_arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, (size_t)VIT_ALIGNMENT - 1, &bytes)) {
        arena->overflow = true;
        return NULL;
    }
    bytes = bytes / VIT_ALIGNMENT * VIT_ALIGNMENT;
    size_t start = arena->used;
    if (__builtin_add_overflow(start, bytes, &arena->used) ||
        (arena->base && arena->used > arena->capacity)) {
        arena->overflow = true;
        arena->used = start;
        return NULL;
    }
    return arena->base ? arena->base + start : NULL;
}

float *vit_arena_floats(vit_arena *arena, size_t count) {
    return vit_arena_take(arena, count, sizeof(float));
}

vit_status vit_arena_allocate(vit_arena *arena, const char *what) {
    if (arena->overflow) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: the size does not fit in memory", what);
    }
    void *block;
    vit_status status = vit_alloc(&block, arena->used, 1, what);
    if (status != VIT_OK) {
        return status;
    }
    arena->base = block;
    arena->capacity = arena->used;
    arena->used = 0;
    return VIT_OK;
}

void vit_arena_free(vit_arena *arena) {
    vit_free(arena->base);
    *arena = (vit_arena){0};
}
