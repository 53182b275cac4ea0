/* Calls of the C library that fail when told to: the program is linked with --wrap for each of
 * them (tests/CMakeLists.txt), so that every call of ours passes through here. Allocations that
 * other libraries make for us (cJSON, libjpeg, libpng, zlib, protobuf-c, the C library itself) do
 * not; foreign.c sees those. */
#ifndef ZVIT_TORTURE_FAULT_H
#define ZVIT_TORTURE_FAULT_H

#include <stdbool.h>

/* Identifier, name, the calls, how they fail. */
#define FAULTS(X)                                                                                  \
    X(MEMORY, "memory", "malloc, calloc, realloc, aligned_alloc, fdopendir: no memory")            \
    X(FOREIGN, "foreign memory", "the same, called by another library")                            \
    X(OPEN, "open", "open, openat, fopen, opendir: no more descriptors")                           \
    X(READ, "read", "read, pread, readdir, getrandom: the disk does not answer")                   \
    X(WRITE, "write", "write, mkdir, ftruncate: the disk is full")                                 \
    X(STAT, "stat", "stat, fstat, lstat, fstatat, access, realpath: the disk does not answer")     \
    X(SYNC, "sync", "fsync, syncfs: what was written is lost")                                     \
    X(CLOSE, "close", "close, which does close: what was written is lost")                         \
    X(RENAME, "rename", "rename, renameat2, link: not permitted")                                  \
    X(THREAD, "thread", "pthread_create: no more threads")                                         \
    X(SHORT, "short", "no failure: read, pread, write do a few bytes or are interrupted, always")

#define FAULT_ID(id, name, calls) FAULT_##id,
typedef enum fault_kind { FAULTS(FAULT_ID) FAULT_KINDS } fault_kind;
#undef FAULT_ID
extern const char *const fault_names[FAULT_KINDS];

/* From now on, until fault_disarm, the n-th call (from 1) of that kind fails; with FAULT_SHORT,
 * every call does little. */
void fault_arm(fault_kind kind, unsigned long n);
/* Whether the call was reached. */
bool fault_disarm(void);

/* For foreign.c: counts a call and says whether it is the one to fail, errno then being number. */
bool fault_fails(fault_kind kind, int number);
/* Whether this program can make allocations of other libraries fail. */
bool fault_has_foreign(void);

#endif
