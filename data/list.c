#include "data/list.h"

#include "vit/file.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_LIST_BYTES ((size_t)1 << 30)
#define MAX_COLUMNS 256

/* Where the reading stands, and the line's fields: each is unquoted in place and ends in zero. */
typedef struct reader {
    const char *path;
    char *at, *end; /* *end is a zero of ours */
    size_t line;
    char *fields[MAX_COLUMNS];
    size_t count;
} reader;

static vit_status fail_line(const reader *r, const char *why) {
    return vit_fail(VIT_ERROR_FORMAT, "%s: line %zu: %s", r->path, r->line, why);
}

/* Unquotes the field that begins at the quote; r->at is left behind its closing quote. */
static vit_status read_quoted(reader *r) {
    char *out = ++r->at;
    r->fields[r->count++] = out;
    for (;; r->at++) {
        if (r->at == r->end) {
            return fail_line(r, "a quote that is not closed");
        }
        if (*r->at == '"' && *++r->at != '"') {
            break;
        }
        *out++ = *r->at;
    }
    if (r->at != r->end && !strchr(",\r\n", *r->at)) {
        return fail_line(r, "text behind a closing quote (expected ',' or the end of the line)");
    }
    *out = 0; /* at the closing quote or before it */
    return VIT_OK;
}

/* The fields of the next line; none on an empty line. */
static vit_status read_line(reader *r) {
    r->count = 0;
    r->line++;
    for (;;) {
        if (r->count == MAX_COLUMNS) {
            return fail_line(r, "more than 256 columns");
        }
        if (*r->at == '"') {
            vit_status status = read_quoted(r);
            if (status != VIT_OK) {
                return status;
            }
        } else {
            r->fields[r->count++] = r->at;
            r->at += strcspn(r->at, ",\r\n");
        }
        char stop = *r->at;
        *r->at = 0;
        r->at += r->at != r->end;
        if (stop == '\r' && *r->at == '\n') {
            r->at++;
        }
        if (stop != ',') {
            r->count -= r->count == 1 && !*r->fields[0];
            return VIT_OK;
        }
    }
}

static bool is_one_of(const char *text, const char *const *names) {
    while (*names && strcasecmp(text, *names) != 0) {
        names++;
    }
    return *names != NULL;
}

/* Whether the line is a header, and which columns it names. */
static bool read_header(const reader *r, size_t *path, size_t *label) {
    static const char *const path_names[] = {"path", "file", "filename", "image", NULL};
    static const char *const label_names[] = {"label", "class", NULL};
    bool has_path = false, has_label = false;
    for (size_t i = 0; i < r->count; i++) {
        if (!has_path && is_one_of(r->fields[i], path_names)) {
            has_path = true;
            *path = i;
        } else if (!has_label && is_one_of(r->fields[i], label_names)) {
            has_label = true;
            *label = i;
        }
    }
    return has_path && has_label;
}

static vit_status add_line(const reader *r, const char *folder, size_t path, size_t label,
                           vit_name_list *paths, vit_name_list *labels) {
    if (r->count <= path || r->count <= label) {
        return fail_line(r, "too few columns (expected path,label)");
    }
    const char *file = r->fields[path], *name = r->fields[label];
    if (!*file || !*name) {
        return fail_line(r, *file ? "no label (expected path,label)"
                                  : "no path (expected path,label)");
    }
    char *whole = *file == '/' || !*folder ? strdup(file) : vit_list_join(folder, file);
    vit_status status = vit_list_add(paths, whole, r->path);
    return status == VIT_OK ? vit_list_add(labels, strdup(name), r->path) : status;
}

static vit_status read_lines(reader *r, const char *folder, vit_name_list *paths,
                             vit_name_list *labels) {
    size_t path = 0, label = 1;
    bool first = true;
    vit_status status = VIT_OK;
    while (r->at < r->end) {
        char *start = r->at;
        VIT_TRY(read_line(r));
        if (memchr(start, '\n', (size_t)(r->at - start - (r->at > start)))) {
            VIT_TRY(fail_line(r, "a line break within quotes"));
        }
        if (r->count > 0 && !(first && read_header(r, &path, &label))) {
            VIT_TRY(add_line(r, folder, path, label, paths, labels));
        }
        first = first && r->count == 0;
    }
    if (paths->count == 0) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT, "%s: no picture in the list (expected lines path,label)",
                         r->path));
    }
cleanup:
    return status;
}

vit_status vit_list_read(const char *path, vit_name_list *paths, vit_name_list *labels) {
    vit_bytes bytes = {0};
    char *folder = strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    reader r = {.path = path};
    vit_status status = folder ? VIT_OK : vit_list_no_memory(path);
    VIT_TRY(status);
    folder[slash ? slash + (slash == folder) - folder : 0] = 0;
    VIT_TRY(vit_file_read(path, MAX_LIST_BYTES, &bytes));
    if (bytes.size && memchr(bytes.data, 0, bytes.size)) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT, "%s: a zero byte in it (expected a CSV list)", path));
    }
    VIT_TRY(vit_bytes_reserve(&bytes, bytes.size + 1, path));
    bytes.data[bytes.size] = 0;
    r.at = (char *)bytes.data;
    r.end = r.at + bytes.size;
    if (strncmp(r.at, "\xef\xbb\xbf", 3) == 0) {
        r.at += 3;
    }
    status = read_lines(&r, folder, paths, labels);
cleanup:
    vit_bytes_free(&bytes);
    free(folder);
    return status;
}
