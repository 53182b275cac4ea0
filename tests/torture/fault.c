#include "tests/torture/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const fault_names[FAULT_KINDS] = {"memory", "open",   "read", "write",
                                              "sync",   "rename", "short"};

static fault_kind armed = FAULT_KINDS;
static atomic_ulong calls;
static unsigned long target;

void fault_arm(fault_kind kind, unsigned long n) {
    atomic_store(&calls, 0);
    target = n;
    armed = kind;
}

bool fault_disarm(void) {
    armed = FAULT_KINDS;
    return atomic_load(&calls) >= target;
}

/* Counts a call; true when it is the one to fail. */
static bool fails(fault_kind kind, int number) {
    if (armed != kind || atomic_fetch_add(&calls, 1) + 1 != target) {
        return false;
    }
    errno = number;
    return true;
}

/* How much of size a call may do; 0: it is interrupted, every third time. */
static size_t little(size_t size) {
    enum { MOST = 97, TURN = 3 };
    if (armed != FAULT_SHORT) {
        return size;
    }
    if (atomic_fetch_add(&calls, 1) % TURN == 0) {
        errno = EINTR;
        return 0;
    }
    return size < MOST ? size : MOST;
}

/* The linker's names for the real function and for ours. */
#define WRAP(type, name, parameters)                                                               \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters

WRAP(void *, malloc, (size_t size)) {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_malloc(size);
}

WRAP(void *, calloc, (size_t count, size_t size)) {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_calloc(count, size);
}

WRAP(void *, realloc, (void *block, size_t size)) {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_realloc(block, size);
}

WRAP(void *, aligned_alloc, (size_t alignment, size_t size)) {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_aligned_alloc(alignment, size);
}

WRAP(char *, strdup, (const char *text)) {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_strdup(text);
}

WRAP(char *, strndup, (const char *text, size_t size)) {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_strndup(text, size);
}

int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **out, const char *format, ...) {
    va_list arguments;
    if (fails(FAULT_MEMORY, ENOMEM)) {
        return -1;
    }
    va_start(arguments, format);
    int length = vasprintf(out, format, arguments);
    va_end(arguments);
    return length;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return fails(FAULT_OPEN, EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...) {
    return fails(FAULT_OPEN, EMFILE) ? -1 : __real_openat(folder, path, flags);
}

WRAP(FILE *, fopen, (const char *path, const char *mode)) {
    return fails(FAULT_OPEN, EMFILE) ? NULL : __real_fopen(path, mode);
}

WRAP(DIR *, opendir, (const char *path)) {
    return fails(FAULT_OPEN, EMFILE) ? NULL : __real_opendir(path);
}

WRAP(ssize_t, read, (int file, void *out, size_t size)) {
    size_t most = little(size);
    return fails(FAULT_READ, EIO) || (most == 0 && size > 0) ? -1 : __real_read(file, out, most);
}

WRAP(ssize_t, pread, (int file, void *out, size_t size, off_t offset)) {
    size_t most = little(size);
    return fails(FAULT_READ, EIO) || (most == 0 && size > 0)
               ? -1
               : __real_pread(file, out, most, offset);
}

WRAP(void *, mmap, (void *at, size_t size, int protection, int flags, int file, off_t offset)) {
    return fails(FAULT_READ, ENODEV) ? MAP_FAILED
                                     : __real_mmap(at, size, protection, flags, file, offset);
}

WRAP(ssize_t, write, (int file, const void *data, size_t size)) {
    size_t most = little(size);
    return fails(FAULT_WRITE, ENOSPC) || (most == 0 && size > 0) ? -1
                                                                 : __real_write(file, data, most);
}

WRAP(int, mkdir, (const char *path, mode_t mode)) {
    return fails(FAULT_WRITE, ENOSPC) ? -1 : __real_mkdir(path, mode);
}

WRAP(int, fsync, (int file)) {
    return fails(FAULT_SYNC, EIO) ? -1 : __real_fsync(file);
}

WRAP(int, syncfs, (int file)) {
    return fails(FAULT_SYNC, EIO) ? -1 : __real_syncfs(file);
}

WRAP(int, rename, (const char *from, const char *to)) {
    return fails(FAULT_RENAME, EACCES) ? -1 : __real_rename(from, to);
}

WRAP(int, renameat2,
     (int from_folder, const char *from, int to_folder, const char *to, unsigned flags)) {
    return fails(FAULT_RENAME, EACCES) ? -1
                                       : __real_renameat2(from_folder, from, to_folder, to, flags);
}

WRAP(int, link, (const char *from, const char *to)) {
    return fails(FAULT_RENAME, EACCES) ? -1 : __real_link(from, to);
}
