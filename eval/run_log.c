#include "eval/run_log.h"

#include "vit/file.h"
#include "vit/heap.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char *const vit_log_names[VIT_LOG_COLUMNS] = {
    "epoch",     "step",    "lr",     "train_loss", "val_loss", "top1", "top5", "images_per_second",
    "data_wait", "seconds", "skipped"};
enum { MAX_FIELDS = 64 };
#define MAX_LOG_BYTES ((size_t)256 << 20)

void vit_run_log_free(vit_run_log *log) {
    vit_free(log->values);
    *log = (vit_run_log){0};
}

/* The field at *at, which moves behind it and its comma; false at the end of the line. */
static bool next_field(const char **at, const char *end, const char **field, size_t *length) {
    if (*at > end) {
        return false;
    }
    const char *comma = memchr(*at, ',', (size_t)(end - *at));
    const char *stop = comma ? comma : end;
    *field = *at;
    *length = (size_t)(stop - *at);
    *at = stop + 1;
    return true;
}

/* columns[i]: which column field i is, or -1. */
static size_t read_head(const char *line, const char *end, int columns[MAX_FIELDS]) {
    const char *field;
    size_t length, count = 0;
    while (count < MAX_FIELDS && next_field(&line, end, &field, &length)) {
        columns[count] = -1;
        for (int i = 0; i < VIT_LOG_COLUMNS; i++) {
            if (strlen(vit_log_names[i]) == length &&
                memcmp(vit_log_names[i], field, length) == 0) {
                columns[count] = i;
            }
        }
        count++;
    }
    return count;
}

static bool read_number(const char *field, size_t length, double *out) {
    char buffer[64], *stop = NULL;
    if (length == 0 || length >= sizeof buffer) {
        return false;
    }
    memcpy(buffer, field, length);
    buffer[length] = 0;
    *out = strtod(buffer, &stop);
    return *stop == 0 && stop != buffer;
}

static vit_status read_row(const char *line, const char *end, const int *columns, size_t fields,
                           double *row) {
    const char *field;
    size_t length, count = 0;
    for (int i = 0; i < VIT_LOG_COLUMNS; i++) {
        row[i] = NAN;
    }
    while (next_field(&line, end, &field, &length)) {
        double value = NAN;
        if (count >= fields || !read_number(field, length, &value)) {
            return VIT_ERROR_FORMAT;
        }
        if (columns[count] >= 0) {
            row[columns[count]] = value;
        }
        count++;
    }
    return count == fields ? VIT_OK : VIT_ERROR_FORMAT;
}

/* As training chooses it. */
static void find_best(vit_run_log *log) {
    for (size_t i = 0; i < log->count; i++) {
        double top1 = vit_log_value(log, i, VIT_LOG_TOP1);
        double loss = vit_log_value(log, i, VIT_LOG_VAL_LOSS);
        double best = vit_log_value(log, log->best, VIT_LOG_TOP1);
        if (isnan(top1) || i == 0 || top1 > best ||
            (top1 == best && loss < vit_log_value(log, log->best, VIT_LOG_VAL_LOSS))) {
            log->best = i;
        }
        double seconds = vit_log_value(log, i, VIT_LOG_SECONDS);
        log->seconds += isfinite(seconds) ? seconds : 0;
    }
}

vit_status vit_run_log_parse(const char *text, const char *what, vit_run_log *log) {
    int columns[MAX_FIELDS];
    size_t fields = 0, capacity = 0, line = 0;
    vit_status status = VIT_OK;
    *log = (vit_run_log){0};
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, "\n");
        const char *end = at + length;
        const char *next = *end ? end + 1 : end;
        end -= length > 0 && end[-1] == '\r';
        line++;
        if (line == 1) {
            fields = read_head(at, end, columns);
        } else if (end > at) {
            if (log->count == capacity) {
                capacity = capacity ? 2 * capacity : 64;
                double *values =
                    vit_realloc(log->values, capacity * VIT_LOG_COLUMNS * sizeof *values);
                if (!values) {
                    VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", what));
                }
                log->values = values;
            }
            status = read_row(at, end, columns, fields, log->values + log->count * VIT_LOG_COLUMNS);
            if (status != VIT_OK) {
                VIT_TRY(vit_fail(status, "%s:%zu: not a row of %zu numbers", what, line, fields));
            }
            log->count++;
        }
        at = next;
    }
    find_best(log);
cleanup:
    if (status != VIT_OK) {
        vit_run_log_free(log);
    }
    return status;
}

vit_status vit_run_log_read(const char *path, vit_run_log *log) {
    vit_bytes bytes = {0};
    vit_status status = VIT_OK;
    *log = (vit_run_log){0};
    VIT_TRY(vit_file_read(path, MAX_LOG_BYTES, &bytes));
    VIT_TRY(vit_bytes_reserve(&bytes, bytes.size + 1, path));
    bytes.data[bytes.size] = 0;
    VIT_TRY(vit_run_log_parse((const char *)bytes.data, path, log));
cleanup:
    vit_bytes_free(&bytes);
    return status;
}
