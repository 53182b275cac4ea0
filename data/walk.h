/* Lists of names, and folders read one entry at a time. Private to data/. */
#ifndef VIT_WALK_H
#define VIT_WALK_H

#include "vit/status.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* Zero-initialise; release with vit_list_free. */
typedef struct vit_name_list {
    char **names; /* each malloc'ed */
    size_t count, capacity;
    /* What a walk left out, for the message when nothing is left: files without a picture's ending.
     */
    size_t others;
    char other[NAME_MAX + 1]; /* the first of them */
} vit_name_list;

/* Takes name over, also on failure. NULL is a failed allocation. what: for the message. */
vit_status vit_list_add(vit_name_list *list, char *name, const char *what);
void vit_list_free(vit_name_list *list);
/* By bytes, not by the locale: the same order on every machine. */
void vit_list_sort(vit_name_list *list);
/* "FOLDER/NAME", malloc'ed, or NULL. A folder given with a slash at its end gets no second one. */
char *vit_list_join(const char *folder, const char *name);
vit_status vit_list_no_memory(const char *what);
#ifdef __clang_analyzer__ /* see vit_fail */
#define vit_list_no_memory(what) ((void)(vit_list_no_memory)(what), VIT_ERROR_MEMORY)
#endif

/* A folder that is being read, and those it lies in: to follow symlinks but no loop. */
typedef struct vit_level {
    DIR *dir;
    dev_t device;
    ino_t inode;
    int depth;
    const struct vit_level *up;
} vit_level;

/* Opens the folder `name` (relative to up, or to the working directory) into *here. *loop is set,
 * and nothing is opened, when it is one of those above. */
vit_status vit_level_open(vit_level *here, const vit_level *up, const char *name, const char *path,
                          bool *loop);
void vit_level_close(vit_level *here);
/* The next entry that is not hidden; NULL at the end. */
vit_status vit_level_next(vit_level *here, const char *path, struct dirent **entry);

typedef enum vit_entry_kind { VIT_ENTRY_OTHER, VIT_ENTRY_FILE, VIT_ENTRY_FOLDER } vit_entry_kind;
/* What an entry is once symlinks are followed. A dangling link counts as a file: if it is named as
 * a picture, reading it says what is wrong. */
vit_entry_kind vit_level_look(const vit_level *here, const struct dirent *entry);

/* Appends the pictures below the folder `name` of up, whose whole path is given. */
vit_status vit_level_walk(vit_name_list *list, const vit_level *up, const char *name,
                          const char *path);

#endif
