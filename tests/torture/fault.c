#include "tests/torture/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAULT_NAME(id, name, calls) name,
const char *const fault_names[FAULT_KINDS] = {FAULTS(FAULT_NAME)};

static atomic_int armed = FAULT_KINDS; /* the saver writes from a thread of its own */
static atomic_ulong calls;
static unsigned long target;

void fault_arm(fault_kind kind, unsigned long n) {
    atomic_store(&calls, 0);
    target = n;
    atomic_store(&armed, (int)kind);
}

bool fault_disarm(void) {
    atomic_store(&armed, FAULT_KINDS);
    return atomic_load(&calls) >= target;
}

bool fault_fails(fault_kind kind, int number) {
    if (atomic_load(&armed) != (int)kind || atomic_fetch_add(&calls, 1) + 1 != target) {
        return false;
    }
    errno = number;
    return true;
}

/* How much of size a call may do; 0: it is interrupted, every third time. */
static size_t little(size_t size) {
    enum { MOST = 97, TURN = 3 };
    if (atomic_load(&armed) != FAULT_SHORT) {
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
    return fault_fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_malloc(size);
}

WRAP(void *, calloc, (size_t count, size_t size)) {
    return fault_fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_calloc(count, size);
}

WRAP(void *, realloc, (void *block, size_t size)) {
    return fault_fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_realloc(block, size);
}

WRAP(void *, aligned_alloc, (size_t alignment, size_t size)) {
    return fault_fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_aligned_alloc(alignment, size);
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
    return fault_fails(FAULT_OPEN, EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...);
int __wrap_openat(int folder, const char *path, int flags, ...) {
    return fault_fails(FAULT_OPEN, EMFILE) ? -1 : __real_openat(folder, path, flags);
}

WRAP(DIR *, fdopendir, (int file)) {
    return fault_fails(FAULT_MEMORY, ENOMEM) ? NULL : __real_fdopendir(file);
}

WRAP(FILE *, fopen, (const char *path, const char *mode)) {
    return fault_fails(FAULT_OPEN, EMFILE) ? NULL : __real_fopen(path, mode);
}

WRAP(DIR *, opendir, (const char *path)) {
    return fault_fails(FAULT_OPEN, EMFILE) ? NULL : __real_opendir(path);
}

WRAP(ssize_t, read, (int file, void *out, size_t size)) {
    size_t most = little(size);
    return fault_fails(FAULT_READ, EIO) || (most == 0 && size > 0) ? -1
                                                                   : __real_read(file, out, most);
}

WRAP(ssize_t, pread, (int file, void *out, size_t size, off_t offset)) {
    size_t most = little(size);
    return fault_fails(FAULT_READ, EIO) || (most == 0 && size > 0)
               ? -1
               : __real_pread(file, out, most, offset);
}

WRAP(struct dirent *, readdir, (DIR * folder)) {
    return fault_fails(FAULT_READ, EIO) ? NULL : __real_readdir(folder);
}

WRAP(ssize_t, getrandom, (void *out, size_t size, unsigned flags)) {
    return fault_fails(FAULT_READ, ENOSYS) ? -1 : __real_getrandom(out, size, flags);
}

WRAP(ssize_t, write, (int file, const void *data, size_t size)) {
    size_t most = little(size);
    return fault_fails(FAULT_WRITE, ENOSPC) || (most == 0 && size > 0)
               ? -1
               : __real_write(file, data, most);
}

WRAP(int, mkdir, (const char *path, mode_t mode)) {
    return fault_fails(FAULT_WRITE, ENOSPC) ? -1 : __real_mkdir(path, mode);
}

WRAP(int, ftruncate, (int file, off_t size)) {
    return fault_fails(FAULT_WRITE, EIO) ? -1 : __real_ftruncate(file, size);
}

WRAP(int, stat, (const char *path, struct stat *out)) {
    return fault_fails(FAULT_STAT, EIO) ? -1 : __real_stat(path, out);
}

WRAP(int, fstat, (int file, struct stat *out)) {
    return fault_fails(FAULT_STAT, EIO) ? -1 : __real_fstat(file, out);
}

WRAP(int, lstat, (const char *path, struct stat *out)) {
    return fault_fails(FAULT_STAT, EIO) ? -1 : __real_lstat(path, out);
}

WRAP(int, fstatat, (int folder, const char *path, struct stat *out, int flags)) {
    return fault_fails(FAULT_STAT, EIO) ? -1 : __real_fstatat(folder, path, out, flags);
}

WRAP(int, access, (const char *path, int mode)) {
    return fault_fails(FAULT_STAT, EIO) ? -1 : __real_access(path, mode);
}

WRAP(char *, realpath, (const char *path, char *out)) {
    return fault_fails(FAULT_STAT, EIO) ? NULL : __real_realpath(path, out);
}

/* The descriptor is gone, as after a real failure. */
WRAP(int, close, (int file)) {
    bool failed = fault_fails(FAULT_CLOSE, EIO);
    int result = __real_close(file);
    errno = failed ? EIO : errno;
    return failed ? -1 : result;
}

WRAP(int, fsync, (int file)) {
    return fault_fails(FAULT_SYNC, EIO) ? -1 : __real_fsync(file);
}

WRAP(int, syncfs, (int file)) {
    return fault_fails(FAULT_SYNC, EIO) ? -1 : __real_syncfs(file);
}

WRAP(int, rename, (const char *from, const char *to)) {
    return fault_fails(FAULT_RENAME, EACCES) ? -1 : __real_rename(from, to);
}

WRAP(int, renameat2,
     (int from_folder, const char *from, int to_folder, const char *to, unsigned flags)) {
    return fault_fails(FAULT_RENAME, EACCES)
               ? -1
               : __real_renameat2(from_folder, from, to_folder, to, flags);
}

WRAP(int, link, (const char *from, const char *to)) {
    return fault_fails(FAULT_RENAME, EACCES) ? -1 : __real_link(from, to);
}

WRAP(int, pthread_create,
     (pthread_t * out, const pthread_attr_t *settings, void *(*start)(void *), void *context)) {
    return fault_fails(FAULT_THREAD, EAGAIN) ? EAGAIN
                                             : __real_pthread_create(out, settings, start, context);
}

/* foreign.c has its own. */
__attribute__((weak)) bool fault_has_foreign(void) {
    return false;
}
