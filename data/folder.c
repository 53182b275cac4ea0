#include "data/folder.h"

#include "data/classes.h"
#include "data/csv.h"
#include "data/hold_out.h"
#include "data/pack.h"
#include "vit/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where the pictures are named ---- */

typedef enum part { PART_ALL, PART_TRAIN, PART_VAL } part;

typedef struct source {
    char *path; /* a folder of class folders, a list, or PACK/SECTION; NULL: there is none */
    bool is_list;
    const vit_pack_section *section; /* of the query's pack */
    bool is_data;                    /* the list is DATA itself */
    bool whole;                      /* DATA is not divided into splits */
    part part;                       /* which of its pictures */
} source;

static vit_status look_for(const char *path, vit_path_kind wanted, bool *there) {
    vit_path_kind kind;
    vit_status status = vit_path_look(path, &kind);
    *there = kind == wanted;
    return status;
}

static vit_status find_section(const char *data, const vit_pack *pack, const char *name,
                               source *out) {
    out->section = vit_pack_find(pack, name);
    if (!out->section) {
        return VIT_OK;
    }
    out->path = *name ? vit_list_join(data, name) : vit_strdup(data);
    out->whole = !*name;
    return out->path ? VIT_OK : vit_list_no_memory(data);
}

/* The pack's section; else DATA/NAME.csv, else the folder DATA/NAME: the list first, as it says
 * more. */
static vit_status find_named(const char *data, const vit_pack *pack, const char *name,
                             source *out) {
    if (pack) {
        return find_section(data, pack, name, out);
    }
    char *list_name = NULL, *path = NULL;
    bool there = false;
    vit_status status =
        vit_asprintf(&list_name, "%s.csv", name) < 0 ? vit_list_no_memory(data) : VIT_OK;
    if (status != VIT_OK) {
        return status;
    }
    for (int i = 0; i < 2 && !out->path; i++) {
        path = vit_list_join(data, i == 0 ? list_name : name);
        VIT_TRY(path ? VIT_OK : vit_list_no_memory(data));
        VIT_TRY(look_for(path, i == 0 ? VIT_PATH_FILE : VIT_PATH_FOLDER, &there));
        if (there) {
            out->path = path;
            out->is_list = i == 0;
        } else {
            vit_free(path);
        }
        path = NULL;
    }
cleanup:
    vit_free(path);
    vit_free(list_name);
    return status;
}

/* The same by any of the split's names. */
static vit_status find_split(const char *data, const vit_pack *pack, const char *split,
                             source *out) {
    const char *names[] = {split, "validation", "test"};
    size_t count = strcmp(split, "val") == 0 ? 3 : 1;
    vit_status status = VIT_OK;
    *out = (source){0};
    for (size_t i = 0; i < count && !out->path && status == VIT_OK; i++) {
        status = find_named(data, pack, names[i], out);
    }
    return status;
}

static vit_status fail_both(const vit_dataset_query *q, const char *path) {
    return vit_fail(VIT_ERROR_ARGUMENT,
                    "--val-split %g: there is %s already (expected one or the other)", q->val_split,
                    path);
}

/* DATA has the split, or train from which it is held out, or neither: *out has no path then. */
static vit_status find_in_folder(const vit_dataset_query *q, const vit_pack *pack, bool val,
                                 source *out) {
    vit_status status = VIT_OK;
    source other = {0};
    VIT_TRY(find_split(q->data, pack, q->split, out));
    VIT_TRY(find_split(q->data, pack, val ? "train" : "val", &other));
    if (q->val_split > 0 && (val ? out->path : other.path)) {
        VIT_TRY(fail_both(q, val ? out->path : other.path));
    }
    if (q->val_split > 0 && val) {
        *out = other;
        other.path = NULL;
    }
    if (q->val_split > 0 && out->path) {
        out->part = val ? PART_VAL : PART_TRAIN;
    }
    if (pack && !out->path && !other.path) {
        VIT_TRY(find_section(q->data, pack, "", out));
    } else if (!out->path && !other.path) {
        *out = (source){.path = vit_strdup(q->data), .whole = true};
        VIT_TRY(out->path ? VIT_OK : vit_list_no_memory(q->data));
    }
cleanup:
    vit_free(other.path);
    return status;
}

/* pack: q->data as one, or NULL. */
static vit_status find_source(const vit_dataset_query *q, const vit_pack *pack, source *out) {
    bool val = strcmp(q->split, "val") == 0, train = strcmp(q->split, "train") == 0, list = false;
    vit_status status = VIT_OK;
    *out = (source){0};
    if (!(q->val_split >= 0 && q->val_split < 1)) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--val-split %g (expected 0 up to but not including 1)",
                        q->val_split);
    }
    if (q->val_split > 0 && !val && !train) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--val-split %g makes train and val only (asked for split '%s')",
                        q->val_split, q->split);
    }
    if (vit_path_ends(q->data, ".csv")) {
        VIT_TRY(look_for(q->data, VIT_PATH_FILE, &list));
    }
    if (list) {
        *out =
            (source){.path = vit_strdup(q->data), .is_list = true, .is_data = true, .whole = true};
        VIT_TRY(out->path ? VIT_OK : vit_list_no_memory(q->data));
    } else if (val || train) {
        VIT_TRY(find_in_folder(q, pack, val, out));
    } else {
        VIT_TRY(find_split(q->data, pack, q->split, out));
    }
    if (out->whole && q->val_split > 0) {
        out->part = val ? PART_VAL : PART_TRAIN;
        out->whole = false;
    }
cleanup:
    return status;
}

/* *out is NULL when data is no pack. */
static vit_status open_pack(const char *data, vit_pack **out) {
    bool there = false;
    *out = NULL;
    vit_status status = vit_pack_is_name(data) ? look_for(data, VIT_PATH_FILE, &there) : VIT_OK;
    return there ? vit_pack_open(data, out) : status;
}

vit_status vit_dataset_has(const vit_dataset_query *query, bool *has) {
    source found = {0};
    vit_pack *pack;
    vit_status status = open_pack(query->data, &pack);
    if (status == VIT_OK) {
        status = find_source(query, pack, &found);
    }
    *has = status == VIT_OK && found.path && (!found.whole || strcmp(query->split, "train") == 0);
    vit_free(found.path);
    vit_pack_close(pack);
    return status;
}

static vit_status fail_missing_split(const char *data, const char *split) {
    bool either = strcmp(split, "val") == 0 || strcmp(split, "train") == 0;
    vit_path_kind kind;
    vit_status status = vit_path_look(data, &kind);
    if (status != VIT_OK) {
        return status;
    }
    if (kind != VIT_PATH_FOLDER) {
        return vit_fail(VIT_ERROR_IO,
                        "%s: %s (expected a folder with %s/%s/CLASS/pictures, or a .csv list)",
                        data, strerror(kind == VIT_PATH_NONE ? ENOENT : ENOTDIR), data, split);
    }
    const char *others = strcmp(split, "val") == 0 ? ", 'validation' or 'test'" : "";
    return vit_fail(
        VIT_ERROR_IO, "%s: no folder '%s'%s in it%s (expected %s/%s/CLASS/pictures or %s/%s.csv)",
        data, split, others, either ? " and no class folder" : "", data, split, data, split);
}

static vit_status fail_missing_section(const vit_dataset_query *q) {
    return vit_fail(VIT_ERROR_IO, "%s: no split '%s' in the pack", q->data, q->split);
}

/* Folders that are splits under another name are no classes. */
static vit_status check_whole(const char *data, const vit_name_list *folders) {
    static const char *const splits[] = {"train", "training", "val",  "valid",  "validation",
                                         "dev",   "test",     "eval", "testing"};
    for (size_t i = 0; i < folders->count; i++) {
        for (size_t j = 0; j < sizeof splits / sizeof *splits; j++) {
            if (strcasecmp(folders->names[i], splits[j]) == 0) {
                return vit_fail(VIT_ERROR_IO,
                                "%s: no folder 'train' in it, but '%s' (expected the splits to be "
                                "called train and val)",
                                data, folders->names[i]);
            }
        }
    }
    return VIT_OK;
}

/* ---- folders ---- */

/* The folders directly in here, sorted, and how many files lie beside them. */
static vit_status list_folders(vit_level *here, const char *path, vit_name_list *list) {
    struct dirent *entry;
    vit_status status;
    for (;;) {
        VIT_TRY(vit_level_next(here, path, &entry));
        if (!entry) {
            break;
        }
        if (vit_level_look(here, entry) == VIT_ENTRY_FOLDER) {
            VIT_TRY(vit_list_add(list, vit_strdup(entry->d_name), path));
        } else {
            list->others++;
        }
    }
    vit_list_sort(list);
cleanup:
    return status;
}

static vit_status fail_empty_class(const char *path, const vit_name_list *list) {
    const char *expected = "expected files that end in .jpg, .jpeg or .png";
    if (list->others) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: no picture in this class (%s; %zu other files, such as '%s')", path,
                        expected, list->others, list->other);
    }
    return vit_fail(VIT_ERROR_FORMAT, "%s: no picture in this class (%s)", path, expected);
}

/* Takes the path over, also on failure. d->samples grows by doubling: its memory is for a power of
 * two of them. */
static vit_status add_sample(vit_dataset *d, char *path, int label) {
    if ((d->count & (d->count - 1)) == 0) {
        size_t capacity = d->count ? 2 * d->count : 1;
        vit_sample *grown = vit_reallocarray(d->samples, capacity, sizeof *grown);
        if (!grown || d->count == UINT32_MAX / 2 + 1) {
            d->samples = grown ? grown : d->samples;
            vit_free(path);
            return grown ? vit_fail(VIT_ERROR_LIMIT, "%s: more than %u pictures", d->root,
                                    UINT32_MAX / 2 + 1)
                         : vit_list_no_memory(d->root);
        }
        d->samples = grown;
    }
    d->samples[d->count++] = (vit_sample){.path = path, .label = label};
    return VIT_OK;
}

/* Appends the pictures of one class folder to d->samples. */
static vit_status add_class(vit_dataset *d, const vit_level *root, const char *folder, int label,
                            bool keep_empty) {
    vit_name_list list = {0};
    vit_status status = VIT_OK;
    size_t taken = 0;
    char *path = vit_list_join(d->root, folder);
    VIT_TRY(path ? VIT_OK : vit_list_no_memory(d->root));
    VIT_TRY(vit_level_walk(&list, root, folder, path));
    if (list.count == 0 && !keep_empty) {
        VIT_TRY(fail_empty_class(path, &list));
    }
    for (; taken < list.count; taken++) {
        char *name = list.names[taken];
        list.names[taken] = NULL;
        VIT_TRY(add_sample(d, name, label));
    }
cleanup:
    vit_list_free(&list);
    vit_free(path);
    return status;
}

static vit_status open_folders(vit_dataset *d, const vit_dataset_query *q) {
    vit_level root = {0};
    vit_name_list folders = {0};
    int *labels = NULL;
    bool loop;
    vit_status status;
    VIT_TRY(vit_level_open(&root, NULL, d->root, d->root, &loop));
    VIT_TRY(list_folders(&root, d->root, &folders));
    if (folders.count == 0 && strcmp(d->root, q->data) == 0) {
        VIT_TRY(fail_missing_split(q->data, q->split));
    }
    if (folders.count == 0) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT,
                         "%s: no class folder in it (expected %s/CLASS/pictures; %zu files lie "
                         "directly in it)",
                         d->root, d->root, folders.others));
    }
    if (strcmp(d->root, q->data) == 0) {
        VIT_TRY(check_whole(q->data, &folders));
    }
    labels = vit_reallocarray(NULL, folders.count, sizeof *labels);
    VIT_TRY(labels ? VIT_OK : vit_list_no_memory(d->root));
    VIT_TRY(vit_classes_make(d, q, &folders, labels));
    for (size_t i = 0; i < folders.count; i++) {
        VIT_TRY(add_class(d, &root, folders.names[i], labels[i], q->keep_empty));
    }
cleanup:
    vit_level_close(&root);
    vit_list_free(&folders);
    vit_free(labels);
    return status;
}

/* ---- lists ---- */

static const char *const path_names[] = {"path", "file", "filename", "image", NULL};
static const char *const label_names[] = {"label", "class", NULL};
static const vit_csv_columns list_columns = {"path,label", path_names, label_names};

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in list, which is sorted, each once; they still belong to it. */
static vit_status unique_names(const vit_name_list *list, vit_name_list *out) {
    out->names = vit_calloc(list->count, sizeof *out->names);
    if (!out->names) {
        return vit_list_no_memory("list");
    }
    for (size_t i = 0; i < list->count; i++) {
        if (i == 0 || strcmp(list->names[i - 1], list->names[i]) != 0) {
            out->names[out->count++] = list->names[i];
        }
    }
    return VIT_OK;
}

/* Relative paths lie in the list's folder. Takes path over. */
static char *beside_list(const char *list, char *path) {
    const char *slash = strrchr(list, '/');
    char *whole = NULL;
    if (*path == '/' || !slash) {
        return path;
    }
    if (vit_asprintf(&whole, "%.*s%s", (int)(slash - list + 1), list, path) < 0) {
        whole = NULL;
    }
    vit_free(path);
    return whole;
}

static vit_status open_list(vit_dataset *d, const vit_dataset_query *q) {
    vit_name_list paths = {0}, labels = {0}, sorted = {0}, present = {0};
    int *numbers = NULL;
    vit_status status;
    VIT_TRY(vit_csv_read(d->root, &list_columns, &paths, &labels));
    sorted.names = vit_calloc(labels.count, sizeof *sorted.names);
    VIT_TRY(sorted.names ? VIT_OK : vit_list_no_memory(d->root));
    sorted.count = labels.count;
    memcpy(sorted.names, labels.names, labels.count * sizeof *sorted.names);
    vit_list_sort(&sorted);
    VIT_TRY(unique_names(&sorted, &present));
    numbers = vit_reallocarray(NULL, present.count, sizeof *numbers);
    VIT_TRY(numbers ? VIT_OK : vit_list_no_memory(d->root));
    VIT_TRY(vit_classes_make(d, q, &present, numbers));
    for (size_t i = 0; i < paths.count; i++) {
        char **found = bsearch(&labels.names[i], present.names, present.count,
                               sizeof *present.names, compare_names);
        char *path = beside_list(d->root, paths.names[i]);
        paths.names[i] = NULL;
        status = path ? add_sample(d, path, numbers[found - present.names])
                      : vit_list_no_memory(d->root);
        VIT_TRY(status);
    }
cleanup:
    vit_free(numbers);
    vit_free(present.names);
    vit_free(sorted.names);
    vit_list_free(&labels);
    vit_list_free(&paths);
    return status;
}

/* ---- packs ---- */

static vit_status open_section(vit_dataset *d, const vit_dataset_query *q,
                               const vit_pack_section *s) {
    vit_name_list present = {.names = s->class_names, .count = s->class_count};
    int *labels = vit_reallocarray(NULL, s->class_count, sizeof *labels);
    vit_status status = VIT_OK;
    if (s->class_count == 0) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT, "%s: no class in it", d->root));
    }
    VIT_TRY(labels ? VIT_OK : vit_list_no_memory(d->root));
    VIT_TRY(vit_classes_make(d, q, &present, labels));
    for (size_t i = 0; i < s->count; i++) {
        const vit_pack_entry *entry = &s->entries[i];
        char *path = vit_list_join(q->data, entry->path);
        VIT_TRY(path ? add_sample(d, path, labels[entry->class_index])
                     : vit_list_no_memory(d->root));
        d->samples[d->count - 1].entry = entry;
    }
cleanup:
    vit_free(labels);
    return status;
}

/* ---- the data set ---- */

static int compare_samples(const void *a, const void *b) {
    const vit_sample *x = a, *y = b;
    return x->label != y->label ? (x->label < y->label ? -1 : 1) : strcmp(x->path, y->path);
}

static size_t count_missing(const vit_dataset *d) {
    size_t present = 0; /* samples are sorted by class */
    for (size_t i = 0; i < d->count; i++) {
        present += i == 0 || d->samples[i].label != d->samples[i - 1].label;
    }
    return d->class_count - present;
}

static size_t base_length(const char *data, bool is_list) {
    size_t length = strlen(data);
    if (is_list) {
        const char *slash = strrchr(data, '/');
        return slash ? (size_t)(slash - data) + 1 : 0;
    }
    return length && data[length - 1] == '/' ? length : length + 1;
}

const char *vit_dataset_path_below(const vit_dataset *d, size_t i) {
    const char *path = d->samples[i].path;
    bool below = d->base && strncmp(path, d->root, d->base - 1) == 0 && path[d->base - 1] == '/';
    return path + (below ? d->base : 0);
}

vit_status vit_dataset_find(const vit_dataset_query *query, vit_dataset **out, size_t *missing) {
    source from = {0};
    vit_status status = VIT_OK;
    *out = NULL;
    vit_dataset *d = vit_calloc(1, sizeof *d);
    VIT_TRY(d ? VIT_OK : vit_list_no_memory(query->data));
    VIT_TRY(open_pack(query->data, &d->pack));
    VIT_TRY(find_source(query, d->pack, &from));
    VIT_TRY(!d->pack || from.path ? VIT_OK : fail_missing_section(query));
    bool there = d->pack || (from.path && from.is_list);
    if (!there && from.path) {
        VIT_TRY(look_for(from.path, VIT_PATH_FOLDER, &there));
    }
    VIT_TRY(there ? VIT_OK : fail_missing_split(query->data, query->split));
    d->root = from.path;
    from.path = NULL;
    d->base = base_length(query->data, from.is_data);
    d->whole = from.whole;
    status = from.section   ? open_section(d, query, from.section)
             : from.is_list ? open_list(d, query)
                            : open_folders(d, query);
    VIT_TRY(status);
    if (d->count) {
        qsort(d->samples, d->count, sizeof *d->samples, compare_samples);
    }
    if (from.part != PART_ALL) {
        VIT_TRY(vit_hold_out(d, query->val_split, from.part == PART_VAL));
    }
    if (missing) {
        *missing = count_missing(d);
    }
    *out = d;
    d = NULL;
cleanup:
    vit_free(from.path);
    vit_dataset_free(d);
    return status;
}

vit_status vit_dataset_open(const char *data, const char *split, const char *const *known_classes,
                            size_t known_count, vit_dataset **out, size_t *missing) {
    const vit_dataset_query query = {
        .data = data, .split = split, .known_classes = known_classes, .known_count = known_count};
    return vit_dataset_find(&query, out, missing);
}

vit_status vit_dataset_check_labels(const vit_dataset *dataset, size_t K) {
    for (size_t i = 0; i < dataset->count; i++) {
        const vit_sample *sample = &dataset->samples[i];
        if (sample->label < 0 || (size_t)sample->label >= K) {
            return vit_fail(VIT_ERROR_ARGUMENT, "%s: class %d (expected 0 to %zu, the model's)",
                            sample->path, sample->label, K - 1);
        }
    }
    return VIT_OK;
}

void vit_dataset_free(vit_dataset *dataset) {
    if (!dataset) {
        return;
    }
    for (size_t i = 0; i < dataset->count; i++) {
        vit_free(dataset->samples[i].path);
    }
    for (size_t i = 0; i < dataset->class_count; i++) {
        vit_free(dataset->class_names[i]);
    }
    vit_free(dataset->samples);
    vit_free(dataset->class_names);
    vit_free(dataset->root);
    vit_pack_close(dataset->pack);
    vit_free(dataset);
}

vit_status vit_sample_read(const vit_sample *sample, vit_bytes *buffer, const void **bytes,
                           size_t *size) {
    vit_status status;
    VIT_TRY(sample->entry ? vit_pack_read(sample->entry, buffer, sample->path)
                          : vit_file_read(sample->path, VIT_MAX_FILE_BYTES, buffer));
    *bytes = buffer->data;
    *size = buffer->size;
cleanup:
    return status;
}

/* Only a hint: whatever fails here is reported when the picture is read. */
void vit_sample_announce(const vit_sample *sample) {
    if (sample->entry) {
        vit_file_announce(sample->entry->file, sample->entry->offset, sample->entry->size);
        return;
    }
    int fd = open(sample->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
        close(fd);
    }
}
