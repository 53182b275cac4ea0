#include "table.h"

#include "support.h"
#include "vit/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One field from *at on: its text, malloc'ed; *at is left at what ends it. */
static char *take_field(const char **at) {
    const char *from = *at;
    char *text = calloc(strlen(from) + 1, 1);
    ck_assert_ptr_nonnull(text);
    size_t length = 0;
    if (*from != '"') {
        while (*from && *from != ',' && *from != '\n') {
            ck_assert_msg(*from != '"' && *from != '\r', "a bare '%c'", *from);
            text[length++] = *from++;
        }
        *at = from;
        return text;
    }
    for (from++;; from++) {
        ck_assert_msg(*from != 0, "a quote is not closed");
        if (*from == '"' && from[1] != '"') {
            break;
        }
        from += *from == '"';
        text[length++] = *from;
    }
    *at = from + 1;
    return text;
}

table table_read(const char *path) {
    table t = {0};
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, (size_t)1 << 24, &bytes));
    char *text = strndup((const char *)bytes.data, bytes.size);
    size_t count = 0, in_line = 0;
    for (const char *at = text; *at; at++) {
        t.cells = realloc(t.cells, (count + 1) * sizeof *t.cells);
        t.cells[count++] = take_field(&at);
        in_line++;
        ck_assert_msg(*at == ',' || *at == '\n', "%s: the last line is not ended", path);
        if (*at == '\n') {
            t.columns = t.columns ? t.columns : in_line;
            ck_assert_msg(in_line == t.columns, "%s: %zu fields, expected %zu", path, in_line,
                          t.columns);
            in_line = 0;
            t.rows++;
        }
    }
    ck_assert_uint_gt(t.rows, 0);
    t.rows--;
    free(text);
    vit_bytes_free(&bytes);
    return t;
}

void table_free(table *t) {
    for (size_t i = 0; i < (t->rows + 1) * t->columns; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (table){0};
}

const char *table_text(const table *t, size_t row, const char *column) {
    size_t c = 0;
    while (c < t->columns && strcmp(t->cells[c], column) != 0) {
        c++;
    }
    ck_assert_msg(c < t->columns && row < t->rows, "no column '%s' or no row %zu", column, row);
    return t->cells[(row + 1) * t->columns + c];
}

double table_number(const table *t, size_t row, const char *column) {
    const char *text = table_text(t, row, column);
    char *end;
    double value = strtod(text, &end);
    ck_assert_msg(*end == 0, "%s: '%s' is no number", column, text);
    return *text ? value : (double)NAN;
}
