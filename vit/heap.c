#include "vit/heap.h"

#include "vit/status.h"
#include "vit/versioned.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the allocator ---- */

static void *libc_allocate(void *context, size_t size, size_t alignment) {
    (void)context;
    return alignment <= _Alignof(max_align_t) ? malloc(size) : aligned_alloc(alignment, size);
}

static void *libc_resize(void *context, void *block, size_t size) {
    (void)context;
    return realloc(block, size);
}

static void libc_release(void *context, void *block) {
    (void)context;
    free(block);
}

#define LIBC_ALLOCATOR                                                                             \
    { sizeof(vit_allocator), NULL, libc_allocate, libc_resize, libc_release }

/* The one setting of the whole process, which is why it cannot be changed while a block is out. */
static vit_allocator allocator = LIBC_ALLOCATOR;
static atomic_size_t blocks_out;

vit_status vit_set_allocator(const vit_allocator *wanted) {
    vit_allocator next = LIBC_ALLOCATOR;
    size_t out = atomic_load(&blocks_out);
    if (out > 0) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "vit_set_allocator: %zu block%s of the present allocator in use "
                        "(expected before anything is opened, or after all is closed)",
                        out, out == 1 ? "" : "s");
    }
    if (wanted) {
        vit_status status = vit_versioned_take(&next, sizeof next, wanted, "vit_allocator");
        if (status != VIT_OK) {
            return status;
        }
        if (!next.allocate || !next.resize || !next.release) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "vit_set_allocator: %s is NULL (expected all three "
                            "functions)",
                            !next.allocate ? "allocate"
                            : !next.resize ? "resize"
                                           : "release");
        }
    }
    allocator = next;
    return VIT_OK;
}

static void *counted(void *block) {
    if (block) {
        atomic_fetch_add_explicit(&blocks_out, 1, memory_order_relaxed);
    }
    return block;
}

/* ---- blocks ---- */

void *vit_malloc(size_t size) {
    return counted(allocator.allocate(allocator.context, size ? size : 1, _Alignof(max_align_t)));
}

void *vit_aligned_alloc(size_t alignment, size_t size) {
    return counted(allocator.allocate(allocator.context, size, alignment));
}

void *vit_calloc(size_t count, size_t size) {
    size_t bytes;
    void *block = __builtin_mul_overflow(count, size, &bytes) ? NULL : vit_malloc(bytes);
    if (block) {
        memset(block, 0, bytes);
    }
    return block;
}

void *vit_realloc(void *block, size_t size) {
    return block ? allocator.resize(allocator.context, block, size ? size : 1) : vit_malloc(size);
}

void *vit_reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : vit_realloc(block, bytes);
}

void vit_free(void *block) {
    if (block) {
        allocator.release(allocator.context, block);
        atomic_fetch_sub_explicit(&blocks_out, 1, memory_order_relaxed);
    }
}

/* ---- text ---- */

char *vit_strndup(const char *text, size_t length) {
    length = strnlen(text, length);
    char *copy = length < SIZE_MAX ? vit_malloc(length + 1) : NULL;
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

char *vit_strdup(const char *text) {
    return vit_strndup(text, strlen(text));
}

int vit_vasprintf(char **out, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    *out = length >= 0 ? vit_malloc((size_t)length + 1) : NULL;
    if (*out) {
        vsnprintf(*out, (size_t)length + 1, format, again);
    }
    va_end(again);
    return *out ? length : -1;
}

int vit_asprintf(char **out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vit_vasprintf(out, format, args);
    va_end(args);
    return length;
}
