/* What the command does with files beside pictures and models: the library's careful reading and
 * writing (vit/file.h), for verbs that otherwise know only vit/zvit.h. */
#ifndef ZVIT_FILES_H
#define ZVIT_FILES_H

#include "vit/zvit.h"

/* No picture's file is larger. */
#define CLI_MAX_PICTURE_BYTES ((size_t)1 << 31)

/* A file's content, "-" for standard input, of at most limit bytes. Zero-initialise; the memory is
 * used again by the next read; release with cli_content_free. */
typedef struct cli_content {
    unsigned char *data;
    size_t size, capacity;
} cli_content;
vit_status cli_content_read(cli_content *content, const char *path, size_t limit);
void cli_content_free(cli_content *content);

/* Writes a new file, which has its name only once it is whole; *taken when that name was there
 * already, and nothing was written. */
vit_status cli_write_new(const char *path, const void *bytes, size_t size, bool *taken);

/* Makes a folder and those above it; waits until what is in one is on disk. */
vit_status cli_folder_make(const char *path);
vit_status cli_folder_flush(const char *path);

/* Asks the kernel to have a file at hand soon. */
void cli_announce(const char *path);

#endif
