/* Allocations of other libraries. They are bound to the program's malloc before the C library's, so
 * this file defines one; it looks at who calls. Not with a sanitizer, whose malloc comes first. */
#include "tests/torture/fault.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own names for its functions. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);

/* Libraries that report a failure. libgomp and OpenBLAS end the process, which no caller can help;
 * Check is not what is tested. */
static const char *const looked_at[] = {"libcjson", "libjpeg",       "libpng",
                                        "libz.",    "libprotobuf-c", "libc.so"};

enum { MOST = 16 };
typedef struct range {
    uintptr_t begin, end;
} range;
static range ranges[MOST];
static size_t range_count;

static int note(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size, (void)context;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash ? slash + 1 : info->dlpi_name;
    for (size_t i = 0; i < sizeof looked_at / sizeof *looked_at; i++) {
        if (strncmp(name, looked_at[i], strlen(looked_at[i])) != 0) {
            continue;
        }
        for (int p = 0; p < info->dlpi_phnum && range_count < MOST; p++) {
            const ElfW(Phdr) *part = &info->dlpi_phdr[p];
            if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
                uintptr_t begin = info->dlpi_addr + part->p_vaddr;
                ranges[range_count++] = (range){begin, begin + part->p_memsz};
            }
        }
    }
    return 0;
}

bool fault_has_foreign(void) {
    range_count = 0;
    dl_iterate_phdr(note, NULL);
    return range_count > 0;
}

static bool fails(void *caller) {
    uintptr_t at = (uintptr_t)caller;
    for (size_t i = 0; i < range_count; i++) {
        if (at >= ranges[i].begin && at < ranges[i].end) {
            return fault_fails(FAULT_FOREIGN, ENOMEM);
        }
    }
    return false;
}

#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

void *malloc(size_t size) {
    return fails(CALLER) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    return fails(CALLER) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    return fails(CALLER) ? NULL : __libc_realloc(block, size);
}
