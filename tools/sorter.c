#include "tools/sorter.h"

#include "tools/cmd.h"
#include "tools/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const sort_by_names[] = {"copy", "hardlink", "symlink", NULL};

enum {
    NUMBER_ROOM = 24, /* "-18446744073709551615" */
    ENDING_ROOM = 16  /* ".jpeg"; what is longer is no ending */
};

/* How often a name was used, so that the n-th picture of one name does not try the n - 1 before. */
typedef struct counter {
    size_t used;
    char key[]; /* "FOLDER/NAME" */
} counter;

struct sorter {
    const char *dir;
    sort_by by;
    size_t K;
    char **folders; /* (K + 1) names; "unknown" is the last */
    bool *made;     /* (K + 1) */
    void *counters; /* a tree, see tsearch(3) */
    cli_content file;
    char target[PATH_MAX];
};

static vit_status no_memory(void) {
    return vit_fail(VIT_ERROR_MEMORY, "out of memory for sorting");
}

/* ---- names ---- */

static int compare_counters(const void *a, const void *b) {
    return strcmp(((const counter *)a)->key, ((const counter *)b)->key);
}

/* The counter of "FOLDER/NAME", new with 0; NULL when memory ran out. */
static counter *find_counter(sorter *s, const char *folder, const char *name) {
    size_t size = strlen(folder) + 1 + strlen(name) + 1;
    counter *key = malloc(sizeof *key + size);
    if (key == NULL) {
        return NULL;
    }
    key->used = 0;
    snprintf(key->key, size, "%s/%s", folder, name);
    counter **found = tsearch(key, &s->counters, compare_counters);
    counter *kept = found != NULL ? *found : NULL;
    if (kept != key) {
        free(key);
    }
    return kept;
}

/* The longest part of text of at most most bytes that does not end within a character. */
static size_t cut(const char *text, size_t length, size_t most) {
    if (length <= most) {
        return length;
    }
    while (most > 0 && ((unsigned char)text[most] & 0xc0) == 0x80) {
        most--;
    }
    return most;
}

/* NAME, then NAME-2, NAME-3, ..., the number before the ending when there is one; NAME is cut where
 * the whole would be too long for a file's name. */
static void number_name(char out[NAME_MAX + 1], const char *name, bool ending, size_t number) {
    const char *dot = ending ? strrchr(name, '.') : NULL;
    size_t length = strlen(name), stem = length;
    if (dot != NULL && dot > name && strlen(dot) <= ENDING_ROOM) {
        stem = (size_t)(dot - name);
    }
    char tail[NUMBER_ROOM + ENDING_ROOM + 1];
    int size = number > 1 ? snprintf(tail, sizeof tail, "-%zu%s", number, name + stem)
                          : snprintf(tail, sizeof tail, "%s", name + stem);
    stem = cut(name, stem, NAME_MAX - (size_t)size);
    memcpy(out, name, stem);
    memcpy(out + stem, tail, (size_t)size + 1);
}

static void make_safe(char out[NAME_MAX + 1], const char *name) {
    size_t length = cut(name, strlen(name), NAME_MAX - NUMBER_ROOM);
    memcpy(out, name, length);
    out[length] = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)out[i];
        bool unsafe = c < 0x20 || c == 0x7f || c == '/' || c == '\\';
        /* U+0080 to U+009F, control characters as well. */
        if (c == 0xc2 && (unsigned char)out[i + 1] >= 0x80 && (unsigned char)out[i + 1] < 0xa0) {
            unsafe = true;
            out[i + 1] = '_';
        }
        out[i] = unsafe ? '_' : out[i];
    }
    if (*out == '.' || *out == '-') { /* "..", hidden, or a flag to whoever names it */
        *out = '_';
    }
    if (length == 0) {
        snprintf(out, NAME_MAX + 1, "_");
    }
}

/* Every folder's name once. */
static vit_status name_folder(sorter *s, size_t index, const char *class_name) {
    char safe[NAME_MAX + 1], numbered[NAME_MAX + 1];
    make_safe(safe, class_name);
    counter *c = find_counter(s, "", safe);
    for (size_t number = c != NULL ? c->used + 1 : 0; c != NULL; number++) {
        number_name(numbered, safe, false, number);
        counter *own = number > 1 ? find_counter(s, "", numbered) : c;
        if (own != NULL && own->used == 0) {
            own->used = 1;
            c->used = number;
            s->folders[index] = strdup(numbered);
            return s->folders[index] != NULL ? VIT_OK : no_memory();
        }
        if (own == NULL) {
            break;
        }
    }
    return no_memory();
}

vit_status sorter_create(const char *dir, sort_by by, size_t K, const char *const *class_names,
                         bool with_unknown, sorter **out) {
    *out = NULL;
    sorter *s = NULL;
    vit_status status = VIT_OK;
    s = calloc(1, sizeof *s);
    VIT_TRY(s != NULL ? VIT_OK : no_memory());
    s->dir = dir;
    s->by = by;
    s->K = K;
    s->folders = calloc(K + 1, sizeof *s->folders);
    s->made = calloc(K + 1, sizeof *s->made);
    VIT_TRY(s->folders != NULL && s->made != NULL ? VIT_OK : no_memory());
    if (with_unknown) {
        VIT_TRY(name_folder(s, K, "unknown"));
    }
    for (size_t k = 0; k < K; k++) {
        VIT_TRY(name_folder(s, k, class_names[k]));
    }
    VIT_TRY(cli_folder_make(dir));
    *out = s;
cleanup:
    if (status != VIT_OK) {
        sorter_free(s);
    }
    return status;
}

void sorter_free(sorter *s) {
    if (s == NULL) {
        return;
    }
    for (size_t k = 0; s->folders != NULL && k <= s->K; k++) {
        free(s->folders[k]);
    }
    tdestroy(s->counters, free);
    free(s->folders);
    free(s->made);
    cli_content_free(&s->file);
    free(s);
}

/* ---- one picture ---- */

/* The name that a picture gets, to be released with free. */
static char *own_name(const vit_picture *picture) {
    if (picture->kind != VIT_PICTURE_FILE) {
        static const char signature[] = "\x89PNG\r\n\x1a\n";
        size_t length = sizeof signature - 1;
        bool png = picture->size >= length && memcmp(picture->data, signature, length) == 0;
        return strdup(png ? "stdin.png" : "stdin.jpg");
    }
    const char *slash = strrchr(picture->name, '/');
    return strdup(slash != NULL ? slash + 1 : picture->name);
}

static vit_status copy(sorter *s, const vit_picture *picture, bool *taken) {
    struct stat info;
    const void *bytes = picture->data;
    size_t size = picture->size;
    vit_status status = VIT_OK;
    *taken = lstat(s->target, &info) == 0;
    if (*taken) {
        return VIT_OK;
    }
    if (picture->kind == VIT_PICTURE_FILE) {
        VIT_TRY(cli_content_read(&s->file, picture->name, CLI_MAX_PICTURE_BYTES));
        bytes = s->file.data;
        size = s->file.size;
    }
    VIT_TRY(cli_write_new(s->target, bytes, size, taken));
cleanup:
    return status;
}

static vit_status link_to(const sorter *s, const vit_picture *picture, bool *taken) {
    int failed;
    if (s->by == SORT_BY_HARDLINK) {
        /* Of the file itself, where the path is a symbolic link. */
        failed = linkat(AT_FDCWD, picture->name, AT_FDCWD, s->target, AT_SYMLINK_FOLLOW);
    } else {
        char *whole = realpath(picture->name, NULL);
        if (whole == NULL) {
            return vit_fail(VIT_ERROR_IO, "%s: %s", picture->name, strerror(errno));
        }
        failed = symlink(whole, s->target);
        int error = errno;
        free(whole);
        errno = error;
    }
    *taken = failed != 0 && errno == EEXIST;
    if (failed != 0 && !*taken) {
        return vit_fail(VIT_ERROR_IO, "%s: cannot link %s to it: %s%s", s->target, picture->name,
                        strerror(errno),
                        errno == EXDEV ? " (expected copy or symlink in --sort-by)" : "");
    }
    return VIT_OK;
}

static vit_status place(sorter *s, size_t folder, const vit_picture *picture, const char *name) {
    counter *c = find_counter(s, s->folders[folder], name);
    char numbered[NAME_MAX + 1];
    bool taken = true;
    vit_status status = c != NULL ? VIT_OK : no_memory();
    while (status == VIT_OK && taken) {
        number_name(numbered, name, true, ++c->used);
        int length =
            snprintf(s->target, sizeof s->target, "%s/%s/%s", s->dir, s->folders[folder], numbered);
        if (length >= (int)sizeof s->target) {
            return vit_fail(VIT_ERROR_LIMIT, "%s: the path of a picture in it is too long", s->dir);
        }
        status = s->by == SORT_BY_COPY ? copy(s, picture, &taken) : link_to(s, picture, &taken);
    }
    return status;
}

static vit_status make_folder(sorter *s, size_t folder) {
    if (s->made[folder]) {
        return VIT_OK;
    }
    int length = snprintf(s->target, sizeof s->target, "%s/%s", s->dir, s->folders[folder]);
    if (length >= (int)sizeof s->target) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: the path of a folder in it is too long", s->dir);
    }
    vit_status status = cli_folder_make(s->target);
    s->made[folder] = status == VIT_OK;
    return status;
}

vit_status sorter_put(sorter *s, int class_index, const vit_picture *picture, const char **target) {
    size_t folder = class_index < 0 ? s->K : (size_t)class_index;
    char *name = NULL;
    vit_status status = VIT_OK;
    if (picture->kind != VIT_PICTURE_FILE && s->by != SORT_BY_COPY) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "standard input: is no file to link to (expected --sort-by copy)");
    }
    VIT_TRY(make_folder(s, folder));
    name = own_name(picture);
    VIT_TRY(name != NULL ? VIT_OK : no_memory());
    VIT_TRY(place(s, folder, picture, name));
    *target = s->target;
cleanup:
    free(name);
    return status;
}

vit_status sorter_flush(const sorter *s) {
    return cli_folder_flush(s->dir);
}
