#include "data/walk.h"

#include "data/folder.h"
#include "vit/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 64 /* folders within folders; each holds a file descriptor while it is read */

/* ---- lists of names ---- */

vit_status(vit_list_no_memory)(const char *what) {
    return vit_fail(VIT_ERROR_MEMORY, "%s: no memory for the list of files", what);
}

/* Takes name over, also on failure. NULL is a failed allocation. */
vit_status vit_list_add(vit_name_list *list, char *name, const char *what) {
    if (!name) {
        return vit_list_no_memory(what);
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        char **names = vit_reallocarray(list->names, capacity, sizeof *names);
        if (!names) {
            vit_free(name);
            return vit_list_no_memory(what);
        }
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = name;
    return VIT_OK;
}

void vit_list_free(vit_name_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        vit_free(list->names[i]);
    }
    vit_free(list->names);
    *list = (vit_name_list){0};
}

/* By bytes, not by the locale: the same order on every machine. */
static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void vit_list_sort(vit_name_list *list) {
    if (list->count) {
        qsort(list->names, list->count, sizeof *list->names, compare_names);
    }
}

/* "FOLDER/NAME", or NULL. A folder given with a slash at its end gets no second one. */
char *vit_list_join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    char *path;
    const char *slash = n && folder[n - 1] == '/' ? "" : "/";
    return vit_asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

static bool is_picture_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (vit_path_ends(name, endings[i])) {
            return true;
        }
    }
    return false;
}

/* ---- reading folders ---- */

static vit_status fail_folder(const char *path) {
    return vit_fail(VIT_ERROR_IO, "%s: cannot read the folder: %s", path, strerror(errno));
}

/* Opens the folder `name` (relative to up, or to the working directory) into *here. *loop is set,
 * and nothing is opened, when it is one of those above. */
vit_status vit_level_open(vit_level *here, const vit_level *up, const char *name, const char *path,
                          bool *loop) {
    *here = (vit_level){.up = up, .depth = up ? up->depth + 1 : 0};
    *loop = false;
    if (here->depth > MAX_DEPTH) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: more than %d folders within each other", path,
                        MAX_DEPTH);
    }
    int fd = openat(up ? dirfd(up->dir) : AT_FDCWD, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail_folder(path);
    }
    struct stat s;
    vit_status status = VIT_OK;
    if (fstat(fd, &s) != 0) {
        status = fail_folder(path);
        close(fd);
        return status;
    }
    here->device = s.st_dev;
    here->inode = s.st_ino;
    for (const vit_level *above = up; above; above = above->up) {
        if (above->device == s.st_dev && above->inode == s.st_ino) {
            *loop = true;
            close(fd);
            return VIT_OK;
        }
    }
    here->dir = fdopendir(fd);
    if (!here->dir) {
        status = fail_folder(path);
        close(fd);
    }
    return status;
}

void vit_level_close(vit_level *here) {
    if (here->dir) {
        closedir(here->dir);
    }
}

/* What an entry is once symlinks are followed. A dangling link counts as a file: if it is named as
 * a picture, reading it says what is wrong. */
vit_entry_kind vit_level_look(const vit_level *here, const struct dirent *entry) {
    if (entry->d_type == DT_REG) {
        return VIT_ENTRY_FILE;
    }
    if (entry->d_type == DT_DIR) {
        return VIT_ENTRY_FOLDER;
    }
    struct stat s;
    if (fstatat(dirfd(here->dir), entry->d_name, &s, 0) != 0) {
        return VIT_ENTRY_FILE;
    }
    return S_ISDIR(s.st_mode)   ? VIT_ENTRY_FOLDER
           : S_ISREG(s.st_mode) ? VIT_ENTRY_FILE
                                : VIT_ENTRY_OTHER;
}

/* The next entry that is not hidden; NULL at the end. */
vit_status vit_level_next(vit_level *here, const char *path, struct dirent **entry) {
    do {
        errno = 0;
        *entry = readdir(here->dir);
    } while (*entry && (*entry)->d_name[0] == '.');
    return !*entry && errno ? fail_folder(path) : VIT_OK;
}

/* Appends the pictures below the folder `name` of up, whose whole path is given. */
vit_status vit_level_walk(vit_name_list *list, const vit_level *up, const char *name,
                          const char *path) {
    vit_level here;
    bool loop;
    struct dirent *entry;
    char *below = NULL;
    vit_status status;
    VIT_TRY(vit_level_open(&here, up, name, path, &loop));
    while (!loop) {
        VIT_TRY(vit_level_next(&here, path, &entry));
        if (!entry) {
            break;
        }
        vit_entry_kind kind = vit_level_look(&here, entry);
        if (kind == VIT_ENTRY_FILE && is_picture_name(entry->d_name)) {
            VIT_TRY(vit_list_add(list, vit_list_join(path, entry->d_name), path));
        } else if (kind == VIT_ENTRY_FOLDER) {
            below = vit_list_join(path, entry->d_name);
            status = below ? vit_level_walk(list, &here, entry->d_name, below)
                           : vit_list_no_memory(path);
            VIT_TRY(status);
            vit_free(below);
            below = NULL;
        } else if (list->others++ == 0) {
            snprintf(list->other, sizeof list->other, "%s", entry->d_name);
        }
    }
cleanup:
    vit_free(below);
    vit_level_close(&here);
    return status;
}

vit_status vit_collect_images(const char *path, char ***paths, size_t *count) {
    vit_name_list list = {0};
    char **grown;
    struct stat s;
    vit_status status = VIT_OK;
    if (stat(path, &s) != 0) {
        return vit_fail(VIT_ERROR_IO, "%s: %s (expected a picture or a folder)", path,
                        strerror(errno));
    }
    if (!S_ISDIR(s.st_mode)) {
        VIT_TRY(vit_list_add(&list, vit_strdup(path), path));
    } else {
        VIT_TRY(vit_level_walk(&list, NULL, path, path));
    }
    vit_list_sort(&list);
    if (list.count) {
        grown = vit_reallocarray(*paths, *count + list.count, sizeof *grown);
        VIT_TRY(grown ? VIT_OK : vit_list_no_memory(path));
        memcpy(grown + *count, list.names, list.count * sizeof *grown);
        *paths = grown;
        *count += list.count;
        list.count = 0; /* the names have gone over */
    }
cleanup:
    vit_list_free(&list);
    return status;
}
