/* Calls of the C library that fail when told to: the program is linked with --wrap for each of
 * them (tests/CMakeLists.txt), so that every call of ours, and none of a shared library's, passes
 * through here. */
#ifndef ZVIT_TORTURE_FAULT_H
#define ZVIT_TORTURE_FAULT_H

#include <stdbool.h>

typedef enum fault_kind {
    FAULT_MEMORY, /* malloc, calloc, realloc, aligned_alloc, strdup, strndup, asprintf */
    FAULT_OPEN,   /* open, openat, fopen, opendir: no more descriptors */
    FAULT_READ,   /* read, pread, mmap: the disk does not answer */
    FAULT_WRITE,  /* write, mkdir: the disk is full */
    FAULT_SYNC,   /* fsync, syncfs */
    FAULT_RENAME, /* rename, renameat2, link */
    FAULT_SHORT,  /* no failure: read, pread and write do a few bytes at a time, or are interrupted
                   */
    FAULT_KINDS
} fault_kind;
extern const char *const fault_names[FAULT_KINDS];

/* From now on, until fault_disarm, the n-th call (from 1) of that kind fails; with FAULT_SHORT,
 * every call does little. One thread at a time. */
void fault_arm(fault_kind kind, unsigned long n);
/* Whether the call was reached. */
bool fault_disarm(void);

#endif
