#include "data/csv.h"

#include "vit/file.h"
#include "vit/heap.h"

#include <string.h>
#include <strings.h>

#define MAX_LIST_BYTES ((size_t)1 << 30)
#define MAX_COLUMNS 256

/* Where the reading stands, and the line's fields: each is unquoted in place and ends in zero. */
typedef struct reader {
    const char *path;
    const vit_csv_columns *columns;
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
            if (r->count == 1 && !*r->fields[0]) {
                r->count = 0;
            }
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
static bool read_header(const reader *r, size_t *first, size_t *second) {
    bool has_first = false, has_second = false;
    for (size_t i = 0; i < r->count; i++) {
        if (!has_first && is_one_of(r->fields[i], r->columns->first)) {
            has_first = true;
            *first = i;
        } else if (!has_second && is_one_of(r->fields[i], r->columns->second)) {
            has_second = true;
            *second = i;
        }
    }
    return has_first && has_second;
}

static vit_status add_line(const reader *r, size_t a, size_t b, vit_name_list *first,
                           vit_name_list *second) {
    if (r->count <= a || r->count <= b || !*r->fields[a] || !*r->fields[b]) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: line %zu: %s (expected %s)", r->path, r->line,
                        r->count <= a || r->count <= b ? "too few columns" : "an empty field",
                        r->columns->expected);
    }
    vit_status status = vit_list_add(first, vit_strdup(r->fields[a]), r->path);
    return status == VIT_OK ? vit_list_add(second, vit_strdup(r->fields[b]), r->path) : status;
}

static vit_status read_lines(reader *r, vit_name_list *first, vit_name_list *second) {
    size_t a = 0, b = 1;
    bool at_first = true;
    vit_status status = VIT_OK;
    while (r->at < r->end) {
        char *start = r->at;
        VIT_TRY(read_line(r));
        if (memchr(start, '\n', (size_t)(r->at - start - (r->at > start)))) {
            VIT_TRY(fail_line(r, "a line break within quotes"));
        }
        if (r->count > 0 && !(at_first && read_header(r, &a, &b))) {
            VIT_TRY(add_line(r, a, b, first, second));
        }
        at_first = at_first && r->count == 0;
    }
    if (first->count == 0) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT, "%s: nothing in the list (expected lines %s)", r->path,
                         r->columns->expected));
    }
cleanup:
    return status;
}

vit_status vit_csv_read(const char *path, const vit_csv_columns *columns, vit_name_list *first,
                        vit_name_list *second) {
    vit_bytes bytes = {0};
    reader r = {.path = path, .columns = columns};
    vit_status status;
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
    status = read_lines(&r, first, second);
cleanup:
    vit_bytes_free(&bytes);
    return status;
}
