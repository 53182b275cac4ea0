/* Sorting pictures into folders named after their classes. */
#ifndef ZVIT_SORTER_H
#define ZVIT_SORTER_H

#include "vit/zvit.h"

typedef enum sort_by { SORT_BY_COPY = 0, SORT_BY_HARDLINK = 1, SORT_BY_SYMLINK = 2 } sort_by;
extern const char *const sort_by_names[];

typedef struct sorter sorter;

/* Folders are made in dir when the first picture goes there, and are named after their classes;
 * what is unsafe in a folder's name becomes '_': slashes, control characters, a dot or dash at the
 * beginning. Two classes never share a folder: the later one's name gets a number. with_unknown:
 * the name "unknown" is kept for pictures of no class. class_names (K) are borrowed. */
vit_status sorter_create(const char *dir, sort_by by, size_t K, const char *const *class_names,
                         bool with_unknown, sorter **out);
void sorter_free(sorter *s); /* NULL is fine */

/* Puts a picture into the folder of a class (-1: "unknown") under its own name. Never overwrites: a
 * name that is taken gets a number, "img-2.jpg". A copy has its name only once it is whole. The
 * original stays. Bytes that are in memory are named "stdin.jpg" or "stdin.png", and can only be
 * copied. *target is where it went, until the next call. */
vit_status sorter_put(sorter *s, int class_index, const vit_picture *picture, const char **target);

/* Waits until all of it is on disk. */
vit_status sorter_flush(const sorter *s);

#endif
