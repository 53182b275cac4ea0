#include "vit/file.h"

#include "vit/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* "PATH: cannot VERB: errno's text". */
static vit_status fail_errno(const char *path, const char *verb, int error) {
    char text[128];
    vit_status status = error == ENOMEM ? VIT_ERROR_MEMORY : VIT_ERROR_IO;
    return vit_fail(status, "%s: cannot %s: %s", path, verb, strerror_r(error, text, sizeof text));
}

/* ---- byte buffer ---- */

void vit_bytes_free(vit_bytes *bytes) {
    vit_free(bytes->data);
    *bytes = (vit_bytes){0};
}

vit_status vit_bytes_reserve(vit_bytes *bytes, size_t capacity, const char *what) {
    if (capacity <= bytes->capacity) {
        return VIT_OK;
    }
    unsigned char *data = vit_realloc(bytes->data, capacity);
    if (!data) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu bytes)", what, capacity);
    }
    bytes->data = data;
    bytes->capacity = capacity;
    return VIT_OK;
}

vit_status vit_bytes_append(vit_bytes *bytes, const void *data, size_t size, const char *what) {
    enum { FIRST = 4096 };
    size_t needed, room = bytes->capacity > SIZE_MAX / 2 ? SIZE_MAX : 2 * bytes->capacity;
    if (__builtin_add_overflow(bytes->size, size, &needed)) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: does not fit in memory", what);
    }
    if (needed > bytes->capacity) {
        room = room < FIRST ? FIRST : room;
        vit_status status = vit_bytes_reserve(bytes, needed > room ? needed : room, what);
        if (status != VIT_OK) {
            return status;
        }
    }
    if (size > 0) {
        memcpy(bytes->data + bytes->size, data, size);
        bytes->size = needed;
    }
    return VIT_OK;
}

/* ---- reading ---- */

static const char *kind_name(mode_t mode) {
    if (S_ISDIR(mode)) {
        return "a folder";
    }
    if (S_ISFIFO(mode)) {
        return "a pipe";
    }
    if (S_ISSOCK(mode)) {
        return "a socket";
    }
    return "a device";
}

/* O_NONBLOCK: opening a pipe that nobody writes to must not wait. It means nothing for files. */
static vit_status open_regular(const char *path, int *out, size_t *size) {
    *out = -1;
    int fd;
    do {
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return errno == ENXIO ? vit_fail(VIT_ERROR_IO, "%s: not a regular file", path)
                              : fail_errno(path, "open", errno);
    }
    struct stat info;
    vit_status status = VIT_OK;
    if (fstat(fd, &info) != 0) {
        status = fail_errno(path, "read", errno);
    } else if (!S_ISREG(info.st_mode)) {
        status =
            vit_fail(VIT_ERROR_IO, "%s: is %s (expected a file)", path, kind_name(info.st_mode));
    } else if ((uintmax_t)info.st_size > SIZE_MAX) {
        status = vit_fail(VIT_ERROR_LIMIT, "%s: too large for this machine", path);
    }
    if (status != VIT_OK) {
        close(fd);
        return status;
    }
    *out = fd;
    *size = (size_t)info.st_size;
    return VIT_OK;
}

static ssize_t read_some(int fd, void *data, size_t size) {
    ssize_t got;
    do {
        got = read(fd, data, size < SSIZE_MAX ? size : SSIZE_MAX);
    } while (got < 0 && errno == EINTR);
    return got;
}

static vit_status fail_limit(const char *what, size_t limit) {
    return vit_fail(VIT_ERROR_LIMIT, "%s: larger than the limit of %zu bytes", what, limit);
}

/* Until the end: a file may have grown since its size was asked for, standard input has none. One
 * byte more than the limit shows that there is more. */
static vit_status read_all(int fd, const char *what, size_t expected, size_t limit,
                           vit_bytes *bytes) {
    bytes->size = 0;
    size_t want = expected < SIZE_MAX ? expected + 1 : SIZE_MAX;
    for (;;) {
        if (bytes->size == bytes->capacity || bytes->capacity < want) {
            size_t doubled = bytes->capacity < SIZE_MAX / 2 ? bytes->capacity * 2 : SIZE_MAX;
            size_t capacity = bytes->capacity < want ? want : doubled;
            vit_status status = vit_bytes_reserve(bytes, capacity, what);
            if (status != VIT_OK) {
                return status;
            }
        }
        ssize_t got = read_some(fd, bytes->data + bytes->size, bytes->capacity - bytes->size);
        if (got < 0) {
            return fail_errno(what, "read", errno);
        }
        if (got == 0) {
            return VIT_OK;
        }
        bytes->size += (size_t)got;
        if (bytes->size > limit) {
            return fail_limit(what, limit);
        }
    }
}

vit_status vit_file_read(const char *path, size_t limit, vit_bytes *bytes) {
    bytes->size = 0;
    if (strcmp(path, "-") == 0) {
        size_t first = limit < 65536 ? limit : 65536;
        return read_all(STDIN_FILENO, "standard input", first, limit, bytes);
    }
    int fd;
    size_t size;
    vit_status status = open_regular(path, &fd, &size);
    if (status != VIT_OK) {
        return status;
    }
    status = size > limit ? fail_limit(path, limit) : read_all(fd, path, size, limit, bytes);
    close(fd);
    return status;
}

vit_status vit_file_open(const char *path, vit_file *out) {
    int fd;
    *out = (vit_file){0};
    vit_status status = open_regular(path, &fd, &out->size);
    out->handle = status == VIT_OK ? fd + 1 : 0;
    return status;
}

void vit_file_close(vit_file *file) {
    if (file->handle > 0) {
        close(file->handle - 1);
    }
    *file = (vit_file){0};
}

vit_status vit_file_read_at(const vit_file *file, size_t offset, size_t size, void *out,
                            const char *what) {
    if (offset > file->size || size > file->size - offset) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: %zu bytes at %zu (expected within its %zu)", what,
                        size, offset, file->size);
    }
    for (size_t done = 0; done < size;) {
        size_t left = size - done < SSIZE_MAX ? size - done : SSIZE_MAX;
        ssize_t got = pread(file->handle - 1, (char *)out + done, left, (off_t)(offset + done));
        if (got < 0 && errno != EINTR) {
            return fail_errno(what, "read", errno);
        }
        if (got == 0) {
            return vit_fail(VIT_ERROR_IO, "%s: became shorter while it was read", what);
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return VIT_OK;
}

void vit_file_announce(const vit_file *file, size_t offset, size_t size) {
    (void)posix_fadvise(file->handle - 1, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
}

void vit_file_expect_random(const vit_file *file) {
    (void)posix_fadvise(file->handle - 1, 0, 0, POSIX_FADV_RANDOM);
}

/* ---- writing ---- */

enum { WRITE_BUFFER = 65536 };

struct vit_file_writer {
    int fd;       /* -1 after a failure */
    char *shown;  /* the caller's path, for messages */
    char *target; /* where it goes, links resolved */
    char *temporary;
    size_t buffered;
    vit_status failure; /* the first one; its temporary is already gone */
    char message[VIT_MESSAGE_MAX];
    unsigned char buffer[WRITE_BUFFER];
};

static void writer_free(vit_file_writer *writer) {
    vit_free(writer->shown);
    vit_free(writer->target);
    vit_free(writer->temporary);
    vit_free(writer);
}

static void remove_temporary(vit_file_writer *writer) {
    if (writer->fd >= 0) {
        close(writer->fd);
        unlink(writer->temporary);
        writer->fd = -1;
    }
}

static vit_status writer_fail(vit_file_writer *writer, vit_status status) {
    remove_temporary(writer);
    writer->failure = status;
    snprintf(writer->message, sizeof writer->message, "%s", vit_last_error());
    return status;
}

/* The length of path's folder part with its slash: 0 when there is none. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* "FOLDER/.NAME.tmp-XXXXXX", with NAME cut so that the whole stays a valid file name. */
static vit_status make_temporary(vit_file_writer *writer) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const char *name = writer->target + folder_length(writer->target);
    if (vit_asprintf(&writer->temporary, "%.*s.%.200s.tmp-XXXXXX", (int)(name - writer->target),
                     writer->target, name) < 0) {
        writer->temporary = NULL;
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", writer->shown);
    }
    char *tail = writer->temporary + strlen(writer->temporary) - 6;
    for (int attempt = 0; attempt < 100; attempt++) {
        unsigned char random[6];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
            return fail_errno(writer->shown, "name a temporary file", errno);
        }
        for (size_t i = 0; i < sizeof random; i++) {
            tail[i] = letters[random[i] % (sizeof letters - 1)];
        }
        /* Not mkstemp: it ignores the umask, which cannot be asked for without changing it. */
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0) {
            return VIT_OK;
        }
        if (errno != EEXIST && errno != EINTR) {
            break;
        }
    }
    return fail_errno(writer->shown, "create", errno);
}

/* Where to write: the file that a link points to; refuses what is no regular file, so that no
 * device is replaced by a file of its name. */
static vit_status resolve_target(const char *path, char **out) {
    struct stat info;
    if (stat(path, &info) == 0) {
        if (!S_ISREG(info.st_mode)) {
            return vit_fail(VIT_ERROR_IO, "%s: is %s (expected a file, or a new name)", path,
                            kind_name(info.st_mode));
        }
        char resolved[PATH_MAX];
        if (!realpath(path, resolved)) {
            return fail_errno(path, "create", errno);
        }
        *out = vit_strdup(resolved);
        return *out ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
    }
    if (errno != ENOENT) {
        return fail_errno(path, "create", errno);
    }
    size_t length = strlen(path);
    if (length == 0 || path[length - 1] == '/') {
        return vit_fail(VIT_ERROR_IO, "\"%s\": is not a file name", path);
    }
    *out = vit_strdup(path);
    return *out ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
}

vit_status vit_file_begin(const char *path, vit_file_writer **out) {
    *out = NULL;
    vit_status status = VIT_OK;
    vit_file_writer *writer = vit_calloc(1, sizeof *writer);
    if (!writer) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
    }
    writer->fd = -1;
    writer->shown = vit_strdup(path);
    if (!writer->shown) {
        status = vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
        goto cleanup;
    }
    VIT_TRY(resolve_target(path, &writer->target));
    VIT_TRY(make_temporary(writer));
    *out = writer;
    return VIT_OK;
cleanup:
    writer_free(writer);
    return status;
}

size_t vit_fd_write(int fd, const void *data, size_t size) {
    size_t done = 0;
    while (done < size) {
        size_t left = size - done < SSIZE_MAX ? size - done : SSIZE_MAX;
        ssize_t put = write(fd, (const char *)data + done, left);
        if (put == 0 || (put < 0 && errno != EINTR)) {
            errno = put == 0 ? ENOSPC : errno;
            break;
        }
        done += put > 0 ? (size_t)put : 0;
    }
    return done;
}

static vit_status write_out(vit_file_writer *writer, const unsigned char *data, size_t size) {
    return vit_fd_write(writer->fd, data, size) == size
               ? VIT_OK
               : writer_fail(writer, fail_errno(writer->shown, "write", errno));
}

static vit_status flush_buffer(vit_file_writer *writer) {
    size_t size = writer->buffered;
    writer->buffered = 0;
    return write_out(writer, writer->buffer, size);
}

vit_status vit_file_write(vit_file_writer *writer, const void *data, size_t size) {
    if (writer->failure != VIT_OK) {
        return vit_fail(writer->failure, "%s", writer->message);
    }
    if (size > WRITE_BUFFER - writer->buffered) {
        vit_status status = flush_buffer(writer);
        if (status != VIT_OK) {
            return status;
        }
    }
    if (size >= WRITE_BUFFER) {
        return write_out(writer, data, size);
    }
    if (size > 0) {
        memcpy(writer->buffer + writer->buffered, data, size);
        writer->buffered += size;
    }
    return VIT_OK;
}

vit_status vit_file_printf(vit_file_writer *writer, const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vit_vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        return writer_fail(writer, vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", writer->shown));
    }
    vit_status status = vit_file_write(writer, text, (size_t)length);
    vit_free(text);
    return status;
}

int vit_fd_sync(int fd) {
    int result;
    do {
        result = fsync(fd);
    } while (result != 0 && errno == EINTR);
    return result;
}

/* Without this a crash may lose the new name. Some file systems cannot sync a folder (EINVAL). */
static vit_status sync_folder(const vit_file_writer *writer) {
    size_t length = folder_length(writer->target);
    char *folder = length ? vit_strndup(writer->target, length) : vit_strdup(".");
    if (!folder) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", writer->shown);
    }
    vit_status status = VIT_OK;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        /* A folder may be writable and not readable: then there is nothing to sync through. */
        status = errno == EACCES ? VIT_OK : fail_errno(folder, "open", errno);
    } else {
        if (vit_fd_sync(fd) != 0 && errno != EINVAL && errno != ENOTSUP) {
            status = fail_errno(folder, "flush", errno);
        }
        close(fd);
    }
    vit_free(folder);
    return status;
}

/* A rename that fails with EEXIST. Where the file system has none, a second name is given and the
 * first taken away. */
static int rename_new(const char *from, const char *to) {
    int failed = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (failed != 0 && (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP)) {
        failed = link(from, to);
        failed = failed == 0 ? unlink(from) : failed;
    }
    return failed;
}

/* taken NULL: what has the name is replaced, and all is flushed. */
static vit_status finish(vit_file_writer *writer, bool *taken) {
    vit_status status = flush_buffer(writer);
    if (status != VIT_OK) {
        return status;
    }
    if (!taken && vit_fd_sync(writer->fd) != 0) {
        return writer_fail(writer, fail_errno(writer->shown, "flush", errno));
    }
    int closed = close(writer->fd);
    writer->fd = -1;
    /* After EINTR the descriptor is gone on Linux, and the data was synced above. */
    if ((closed != 0 && errno != EINTR) ||
        (taken ? rename_new : rename)(writer->temporary, writer->target) != 0) {
        int error = errno;
        unlink(writer->temporary);
        if (taken && closed == 0 && error == EEXIST) {
            *taken = true;
            return VIT_OK;
        }
        return fail_errno(writer->shown, closed != 0 ? "close" : "rename", error);
    }
    return taken ? VIT_OK : sync_folder(writer);
}

static vit_status commit(vit_file_writer *writer, bool *taken) {
    vit_status status = writer->failure != VIT_OK ? vit_fail(writer->failure, "%s", writer->message)
                                                  : finish(writer, taken);
    writer_free(writer);
    return status;
}

vit_status vit_file_commit(vit_file_writer *writer) {
    return commit(writer, NULL);
}

vit_status vit_file_commit_new(vit_file_writer *writer, bool *taken) {
    *taken = false;
    return commit(writer, taken);
}

void vit_file_abort(vit_file_writer *writer) {
    if (writer) {
        remove_temporary(writer);
        writer_free(writer);
    }
}

vit_status vit_file_replace(const char *path, const void *data, size_t size) {
    vit_file_writer *writer;
    vit_status status = vit_file_begin(path, &writer);
    if (status != VIT_OK) {
        return status;
    }
    vit_file_write(writer, data, size); /* commit reports a failure */
    return vit_file_commit(writer);
}

/* ---- folders and paths ---- */

vit_status vit_path_look(const char *path, vit_path_kind *kind) {
    struct stat info;
    *kind = VIT_PATH_NONE;
    if (stat(path, &info) != 0) {
        return errno == ENOENT || errno == ENOTDIR ? VIT_OK : fail_errno(path, "look at it", errno);
    }
    *kind = S_ISREG(info.st_mode)   ? VIT_PATH_FILE
            : S_ISDIR(info.st_mode) ? VIT_PATH_FOLDER
                                    : VIT_PATH_OTHER;
    return VIT_OK;
}

static vit_status make_one_folder(const char *path) {
    if (mkdir(path, 0777) == 0) {
        return VIT_OK;
    }
    int error = errno;
    struct stat info;
    if (stat(path, &info) == 0) {
        return S_ISDIR(info.st_mode)
                   ? VIT_OK
                   : vit_fail(VIT_ERROR_IO, "%s: is not a folder (cannot make one there)", path);
    }
    return fail_errno(path, "make the folder", error);
}

vit_status vit_folder_make(const char *path) {
    char *partial = vit_strdup(path);
    if (!partial) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
    }
    vit_status status = VIT_OK;
    for (char *c = partial; *c && status == VIT_OK; c++) {
        if (*c == '/' && c > partial && c[-1] != '/') {
            *c = 0;
            status = make_one_folder(partial);
            *c = '/';
        }
    }
    if (status == VIT_OK) {
        status = make_one_folder(path);
    }
    vit_free(partial);
    return status;
}

vit_status vit_folder_flush(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(path, "open", errno);
    }
    vit_status status = syncfs(fd) == 0 ? VIT_OK : fail_errno(path, "flush", errno);
    close(fd);
    return status;
}

bool vit_path_ends(const char *path, const char *ending) {
    size_t length = strlen(path), wanted = strlen(ending);
    return length >= wanted && strcasecmp(path + length - wanted, ending) == 0;
}

vit_status vit_path_join(char *buffer, size_t size, const char *folder, const char *name) {
    size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] != '/' ? "/" : "";
    int written = snprintf(buffer, size, "%s%s%s", folder, slash, name);
    if (written < 0 || (size_t)written >= size) {
        return vit_fail(VIT_ERROR_LIMIT, "%s%s%s: the path is too long (expected under %zu bytes)",
                        folder, slash, name, size);
    }
    return VIT_OK;
}
