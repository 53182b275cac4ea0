#include "data/folder.h"

#include "vit/arena.h"
#include "vit/rng.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 64 /* folders within folders; each holds a file descriptor while it is read */

/* ---- lists of names ---- */

typedef struct name_list {
    char **names;
    size_t count, capacity;
    /* What the walk left out, for the message when nothing is left: files without a picture's
     * ending. */
    size_t others;
    char other[NAME_MAX + 1]; /* the first of them */
} name_list;

static vit_status no_memory(const char *what) {
    return vit_fail(VIT_ERROR_MEMORY, "%s: no memory for the list of files", what);
}

/* Takes name over, also on failure. NULL is a failed allocation. */
static vit_status list_add(name_list *list, char *name, const char *what) {
    if (!name) {
        return no_memory(what);
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        char **names = reallocarray(list->names, capacity, sizeof *names);
        if (!names) {
            free(name);
            return no_memory(what);
        }
        list->names = names;
        list->capacity = capacity;
    }
    list->names[list->count++] = name;
    return VIT_OK;
}

static void list_free(name_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->names[i]);
    }
    free(list->names);
    *list = (name_list){0};
}

/* By bytes, not by the locale: the same order on every machine. */
static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_sort(name_list *list) {
    if (list->count) {
        qsort(list->names, list->count, sizeof *list->names, compare_names);
    }
}

/* "FOLDER/NAME", or NULL. A folder given with a slash at its end gets no second one. */
static char *join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    char *path;
    const char *slash = n && folder[n - 1] == '/' ? "" : "/";
    return asprintf(&path, "%s%s%s", folder, slash, name) < 0 ? NULL : path;
}

static bool is_picture_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++) {
        if (strcasecmp(dot, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- reading folders ---- */

/* A folder that is being read, and those it lies in: to follow symlinks but no loop. */
typedef struct level {
    DIR *dir;
    dev_t device;
    ino_t inode;
    int depth;
    const struct level *up;
} level;

static vit_status fail_folder(const char *path) {
    return vit_fail(VIT_ERROR_IO, "%s: cannot read the folder: %s", path, strerror(errno));
}

/* Opens the folder `name` (relative to up, or to the working directory) into *here. *loop is set,
 * and nothing is opened, when it is one of those above. */
static vit_status level_open(level *here, const level *up, const char *name, const char *path,
                             bool *loop) {
    *here = (level){.up = up, .depth = up ? up->depth + 1 : 0};
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
    for (const level *above = up; above; above = above->up) {
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

static void level_close(level *here) {
    if (here->dir) {
        closedir(here->dir);
    }
}

typedef enum entry_kind { ENTRY_OTHER, ENTRY_FILE, ENTRY_FOLDER } entry_kind;

/* What an entry is once symlinks are followed. A dangling link counts as a file: if it is named as
 * a picture, reading it says what is wrong. */
static entry_kind entry_look(const level *here, const struct dirent *entry) {
    if (entry->d_type == DT_REG) {
        return ENTRY_FILE;
    }
    if (entry->d_type == DT_DIR) {
        return ENTRY_FOLDER;
    }
    struct stat s;
    if (fstatat(dirfd(here->dir), entry->d_name, &s, 0) != 0) {
        return ENTRY_FILE;
    }
    return S_ISDIR(s.st_mode) ? ENTRY_FOLDER : S_ISREG(s.st_mode) ? ENTRY_FILE : ENTRY_OTHER;
}

/* The next entry that is not hidden; NULL at the end. */
static vit_status level_next(level *here, const char *path, struct dirent **entry) {
    do {
        errno = 0;
        *entry = readdir(here->dir);
    } while (*entry && (*entry)->d_name[0] == '.');
    return !*entry && errno ? fail_folder(path) : VIT_OK;
}

/* Appends the pictures below the folder `name` of up, whose whole path is given. */
static vit_status walk(name_list *list, const level *up, const char *name, const char *path) {
    level here;
    bool loop;
    struct dirent *entry;
    char *below = NULL;
    vit_status status;
    VIT_TRY(level_open(&here, up, name, path, &loop));
    while (!loop) {
        VIT_TRY(level_next(&here, path, &entry));
        if (!entry) {
            break;
        }
        entry_kind kind = entry_look(&here, entry);
        if (kind == ENTRY_FILE && is_picture_name(entry->d_name)) {
            VIT_TRY(list_add(list, join(path, entry->d_name), path));
        } else if (kind == ENTRY_FOLDER) {
            below = join(path, entry->d_name);
            status = below ? walk(list, &here, entry->d_name, below) : no_memory(path);
            VIT_TRY(status);
            free(below);
            below = NULL;
        } else if (list->others++ == 0) {
            snprintf(list->other, sizeof list->other, "%s", entry->d_name);
        }
    }
cleanup:
    free(below);
    level_close(&here);
    return status;
}

vit_status vit_collect_images(const char *path, char ***paths, size_t *count) {
    name_list list = {0};
    char **grown;
    struct stat s;
    vit_status status = VIT_OK;
    if (stat(path, &s) != 0) {
        return vit_fail(VIT_ERROR_IO, "%s: %s (expected a picture or a folder)", path,
                        strerror(errno));
    }
    if (!S_ISDIR(s.st_mode)) {
        VIT_TRY(list_add(&list, strdup(path), path));
    } else {
        VIT_TRY(walk(&list, NULL, path, path));
    }
    list_sort(&list);
    if (list.count) {
        grown = reallocarray(*paths, *count + list.count, sizeof *grown);
        VIT_TRY(grown ? VIT_OK : no_memory(path));
        memcpy(grown + *count, list.names, list.count * sizeof *grown);
        *paths = grown;
        *count += list.count;
        list.count = 0; /* the names have gone over */
    }
cleanup:
    list_free(&list);
    return status;
}

/* ---- finding DATA/SPLIT ---- */

static bool is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

/* *out is the path of the split's folder, NULL when there is none. */
static vit_status find_split(const char *data, const char *split, char **out) {
    const char *names[] = {split, strcmp(split, "val") == 0 ? "validation" : NULL};
    *out = NULL;
    for (int i = 0; i < 2 && names[i]; i++) {
        char *path = join(data, names[i]);
        if (!path) {
            return no_memory(data);
        }
        if (is_folder(path)) {
            *out = path;
            return VIT_OK;
        }
        free(path);
    }
    return VIT_OK;
}

int vit_dataset_has_split(const char *data, const char *split) {
    char *path;
    bool found = find_split(data, split, &path) == VIT_OK && path;
    free(path);
    return found;
}

/* The folders directly in here, sorted, and how many files lie beside them. */
static vit_status list_folders(level *here, const char *path, name_list *list) {
    struct dirent *entry;
    vit_status status;
    for (;;) {
        VIT_TRY(level_next(here, path, &entry));
        if (!entry) {
            break;
        }
        if (entry_look(here, entry) == ENTRY_FOLDER) {
            VIT_TRY(list_add(list, strdup(entry->d_name), path));
        } else {
            list->others++;
        }
    }
    list_sort(list);
cleanup:
    return status;
}

static vit_status fail_missing_split(const char *data, const char *split) {
    if (!is_folder(data)) {
        struct stat s;
        int reason = stat(data, &s) == 0 ? ENOTDIR : errno;
        return vit_fail(VIT_ERROR_IO, "%s: %s (expected a folder with %s/%s/CLASS/pictures)", data,
                        strerror(reason), data, split);
    }
    const char *other = strcmp(split, "val") == 0 ? " or 'validation'" : "";
    return vit_fail(VIT_ERROR_IO, "%s: no folder '%s'%s in it (expected %s/%s/CLASS/pictures)",
                    data, split, other, data, split);
}

/* ---- the data set ---- */

/* Class names of the data set, and for each folder the label it gets. */
typedef struct class_map {
    name_list folders;
    int *labels; /* (folders.count) */
} class_map;

static void class_map_free(class_map *map) {
    list_free(&map->folders);
    free(map->labels);
}

typedef struct known_class {
    const char *name;
    int label;
} known_class;

static int compare_known(const void *a, const void *b) {
    return strcmp(((const known_class *)a)->name, ((const known_class *)b)->name);
}

static vit_status match_folders(class_map *map, const vit_dataset *d, const known_class *known) {
    for (size_t i = 0; i < map->folders.count; i++) {
        known_class key = {.name = map->folders.names[i]};
        const known_class *found =
            bsearch(&key, known, d->class_count, sizeof *known, compare_known);
        if (!found) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s/%s: not a class of the model (expected one of its %zu classes, "
                            "'%s' to '%s')",
                            d->root, key.name, d->class_count, known[0].name,
                            known[d->class_count - 1].name);
        }
        map->labels[i] = found->label;
    }
    return VIT_OK;
}

/* Labels the folders by the model's classes. */
static vit_status map_known(class_map *map, const vit_dataset *d) {
    known_class *known = reallocarray(NULL, d->class_count, sizeof *known);
    if (!known) {
        return no_memory(d->root);
    }
    for (size_t i = 0; i < d->class_count; i++) {
        known[i] = (known_class){d->class_names[i], (int)i};
    }
    qsort(known, d->class_count, sizeof *known, compare_known);
    vit_status status = match_folders(map, d, known);
    free(known);
    return status;
}

/* Fills d's class names from the folders or the model, and the label of each folder. */
static vit_status make_classes(class_map *map, vit_dataset *d, const char *const *known,
                               size_t known_count) {
    const char *const *names = known ? known : (const char *const *)map->folders.names;
    size_t count = known ? known_count : map->folders.count;
    if (count == 0 || count > INT_MAX) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: a model of %zu classes (expected 1 to %d)",
                        d->root, count, INT_MAX);
    }
    map->labels = reallocarray(NULL, map->folders.count, sizeof *map->labels);
    d->class_names = calloc(count, sizeof *d->class_names);
    if (!map->labels || !d->class_names) {
        return no_memory(d->root);
    }
    d->class_count = count;
    for (size_t i = 0; i < count; i++) {
        d->class_names[i] = strdup(names[i]);
        if (!d->class_names[i]) {
            return no_memory(d->root);
        }
    }
    for (size_t i = 0; i < map->folders.count; i++) {
        map->labels[i] = (int)i;
    }
    return known ? map_known(map, d) : VIT_OK;
}

static vit_status fail_empty_class(const char *path, const name_list *list) {
    const char *expected = "expected files that end in .jpg, .jpeg or .png";
    if (list->others) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: no picture in this class (%s; %zu other files, such as '%s')", path,
                        expected, list->others, list->other);
    }
    return vit_fail(VIT_ERROR_FORMAT, "%s: no picture in this class (%s)", path, expected);
}

/* Appends the pictures of one class folder to d->samples. */
static vit_status add_class(vit_dataset *d, const level *root, const char *folder, int label) {
    name_list list = {0};
    vit_sample *grown;
    vit_status status = VIT_OK;
    char *path = join(d->root, folder);
    VIT_TRY(path ? VIT_OK : no_memory(d->root));
    VIT_TRY(walk(&list, root, folder, path));
    if (list.count == 0) {
        VIT_TRY(fail_empty_class(path, &list));
    }
    if (list.count > UINT32_MAX - d->count) {
        VIT_TRY(vit_fail(VIT_ERROR_LIMIT, "%s: more than %u pictures", d->root, UINT32_MAX));
    }
    list_sort(&list);
    grown = reallocarray(d->samples, d->count + list.count, sizeof *grown);
    VIT_TRY(grown ? VIT_OK : no_memory(path));
    d->samples = grown;
    for (size_t i = 0; i < list.count; i++) {
        d->samples[d->count++] = (vit_sample){list.names[i], label};
    }
    list.count = 0; /* the names have gone over */
cleanup:
    list_free(&list);
    free(path);
    return status;
}

/* Reads every class in the order of the labels. */
static vit_status add_classes(vit_dataset *d, const level *root, const class_map *map,
                              size_t *missing) {
    size_t *folder_of = calloc(d->class_count, sizeof *folder_of); /* index + 1; 0: no folder */
    if (!folder_of) {
        return no_memory(d->root);
    }
    for (size_t i = 0; i < map->folders.count; i++) {
        folder_of[map->labels[i]] = i + 1;
    }
    vit_status status = VIT_OK;
    size_t absent = 0;
    for (size_t c = 0; c < d->class_count && status == VIT_OK; c++) {
        if (folder_of[c]) {
            status = add_class(d, root, map->folders.names[folder_of[c] - 1], (int)c);
        } else {
            absent++;
        }
    }
    if (missing) {
        *missing = absent;
    }
    free(folder_of);
    return status;
}

vit_status vit_dataset_open(const char *data, const char *split, const char *const *known_classes,
                            size_t known_count, vit_dataset **out, size_t *missing) {
    level root = {0};
    class_map map = {0};
    bool loop;
    vit_status status = VIT_OK;
    *out = NULL;
    vit_dataset *d = calloc(1, sizeof *d);
    VIT_TRY(d ? VIT_OK : no_memory(data));
    VIT_TRY(find_split(data, split, &d->root));
    VIT_TRY(d->root ? VIT_OK : fail_missing_split(data, split));
    VIT_TRY(level_open(&root, NULL, d->root, d->root, &loop));
    VIT_TRY(list_folders(&root, d->root, &map.folders));
    if (map.folders.count == 0) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT,
                         "%s: no class folder in it (expected %s/CLASS/pictures; %zu files lie "
                         "directly in it)",
                         d->root, d->root, map.folders.others));
    }
    VIT_TRY(make_classes(&map, d, known_classes, known_count));
    VIT_TRY(add_classes(d, &root, &map, missing));
    *out = d;
    d = NULL;
cleanup:
    level_close(&root);
    class_map_free(&map);
    vit_dataset_free(d);
    return status;
}

void vit_dataset_free(vit_dataset *dataset) {
    if (!dataset) {
        return;
    }
    for (size_t i = 0; i < dataset->count; i++) {
        free(dataset->samples[i].path);
    }
    for (size_t i = 0; i < dataset->class_count; i++) {
        free(dataset->class_names[i]);
    }
    free(dataset->samples);
    free(dataset->class_names);
    free(dataset->root);
    free(dataset);
}

/* Fisher and Yates, from the end. */
void vit_shuffle(uint64_t seed, uint32_t epoch, uint32_t *order, size_t count) {
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
    }
    vit_rng rng = vit_rng_make(seed, epoch, 0, VIT_RNG_SHUFFLE);
    for (size_t i = count; i > 1; i--) {
        size_t j = vit_rng_below(&rng, (uint32_t)i);
        uint32_t t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}
