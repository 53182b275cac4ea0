/* Files: read whole with a bound, written so that a reader sees the old file or the new one, never
 * half of one. */
#ifndef VIT_FILE_H
#define VIT_FILE_H

#include "vit/status.h"

#include <stdbool.h>

/* A reusable byte buffer. Zero-initialise; release with vit_bytes_free. */
typedef struct vit_bytes {
    unsigned char *data;
    size_t size;
    size_t capacity;
} vit_bytes;
void vit_bytes_free(vit_bytes *bytes);
/* Makes room for capacity bytes. */
vit_status vit_bytes_reserve(vit_bytes *bytes, size_t capacity, const char *what);
/* Adds behind what is there; room at least doubles, so that many small ones cost little. */
vit_status vit_bytes_append(vit_bytes *bytes, const void *data, size_t size, const char *what);

/* Reads a regular file whole into bytes (reusing its memory); larger than limit fails with
 * VIT_ERROR_LIMIT. "-" reads standard input. */
vit_status vit_file_read(const char *path, size_t limit, vit_bytes *bytes);

/* A regular file, open for reading at any place. What is read is copied; nothing here is mapped
 * into memory, where a file that somebody shortens meanwhile, or a disk that does not answer, ends
 * the process (SIGBUS) instead of giving an error. Of much that is read once, the page faults of a
 * mapping cost more than the copy. */
typedef struct vit_file {
    size_t size; /* when it was opened */
    int handle;  /* the descriptor plus one; 0: none */
} vit_file;
vit_status vit_file_open(const char *path, vit_file *out);
void vit_file_close(vit_file *file);
/* what names the file in messages. Thread-safe. */
vit_status vit_file_read_at(const vit_file *file, size_t offset, size_t size, void *out,
                            const char *what);
/* Asks the kernel to have a part of it ready soon. Only a hint. */
void vit_file_announce(const vit_file *file, size_t offset, size_t size);
/* Tells the kernel that it is read in no order, so that it reads what is asked for and no more. */
void vit_file_expect_random(const vit_file *file);

/* Writing: into path's folder under a temporary name; commit flushes, fsyncs, renames, fsyncs the
 * folder. Any failure, or abort, removes the temporary. After commit or abort the handle is gone.
 * path is a new name or a regular file (a symbolic link is followed), never a device or a folder.
 */
typedef struct vit_file_writer vit_file_writer;
vit_status vit_file_begin(const char *path, vit_file_writer **out);
vit_status vit_file_write(vit_file_writer *writer, const void *data, size_t size);
vit_status vit_file_printf(vit_file_writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
vit_status vit_file_commit(vit_file_writer *writer);
/* The same, but never replaces (when something has the name by now, *taken is set, the temporary is
 * removed and that is no failure), and does not wait for the disk: for many files, which one
 * vit_folder_flush then brings there together. */
vit_status vit_file_commit_new(vit_file_writer *writer, bool *taken);
/* Waits until what was written to the folder's file system is on disk. */
vit_status vit_folder_flush(const char *path);
void vit_file_abort(vit_file_writer *writer); /* NULL is fine */

/* To a descriptor, past signals: how many of the bytes were put, and when not all were, errno says
 * why not (ENOSPC where the kernel does not); fsync. For files that are appended to in place. */
size_t vit_fd_write(int fd, const void *data, size_t size);
int vit_fd_sync(int fd);

/* begin + write + commit. */
vit_status vit_file_replace(const char *path, const void *data, size_t size);

/* What has a name, links followed. That it cannot be told (a disk that does not answer, a folder on
 * the way that may not be entered) is an error, and not the same as nothing. */
typedef enum vit_path_kind {
    VIT_PATH_NONE, /* nothing, or a part of the path is no folder */
    VIT_PATH_FILE, /* a regular one */
    VIT_PATH_FOLDER,
    VIT_PATH_OTHER
} vit_path_kind;
vit_status vit_path_look(const char *path, vit_path_kind *kind);

/* Makes a folder and its parents; an existing folder is fine. */
vit_status vit_folder_make(const char *path);

/* True when the path ends so (".png"), in capitals or not. */
bool vit_path_ends(const char *path, const char *ending);

/* "FOLDER/NAME" into buffer of size bytes; fails when it does not fit. */
vit_status vit_path_join(char *buffer, size_t size, const char *folder, const char *name);

#endif
