#include "tests/support/allocator.h"

#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

/* Returns whether this one is to fail; *number: from 1. */
static bool fails(counting *c, long *number) {
    *number = atomic_fetch_add(&c->calls, 1) + 1;
    return *number == c->fail_at;
}

static void *allocate(void *context, size_t size, size_t alignment) {
    enum { FILLED = 1 << 16 };
    counting *c = context;
    void *block = NULL;
    long number;
    if (size == 0 || alignment == 0 || (alignment & (alignment - 1)) != 0 ||
        alignment > (size_t)2 << 20) {
        atomic_store(&c->wrong, true);
    }
    if (fails(c, &number) || posix_memalign(&block, alignment < 16 ? 16 : alignment, size) != 0) {
        return NULL;
    }
    memset(block, 1 + (int)(number % 100), size < FILLED ? size : FILLED);
    atomic_fetch_add(&c->alive, 1);
    atomic_fetch_add(&c->bytes, (long)size);
    return block;
}

static void *resize(void *context, void *block, size_t size) {
    counting *c = context;
    long number;
    if (size == 0 || block == NULL) {
        atomic_store(&c->wrong, true);
    }
    return fails(c, &number) ? NULL : realloc(block, size);
}

static void release(void *context, void *block) {
    counting *c = context;
    if (block == NULL) {
        atomic_store(&c->wrong, true);
    }
    atomic_fetch_sub(&c->alive, 1);
    free(block);
}

void counting_install(counting *c) {
    const vit_allocator allocator = {
        .size = sizeof allocator,
        .context = c,
        .allocate = allocate,
        .resize = resize,
        .release = release,
    };
    ck_vit_ok(vit_set_allocator(&allocator));
}

void counting_check_all_back(const counting *c, const char *what) {
    ck_assert_msg(atomic_load(&c->alive) == 0, "%s: %ld blocks are left", what,
                  atomic_load(&c->alive));
    ck_assert_msg(!atomic_load(&c->wrong), "%s: a wrong call of the allocator", what);
}

void counting_remove(const counting *c, const char *what) {
    counting_check_all_back(c, what);
    ck_vit_ok(vit_set_allocator(NULL));
}
