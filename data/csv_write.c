#include "data/csv_write.h"

#include "vit/number.h"

#include <math.h>
#include <string.h>

void vit_csv_free(vit_csv *csv) {
    vit_bytes_free(&csv->text);
    *csv = (vit_csv){0};
}

static void append(vit_csv *csv, const char *bytes, size_t size) {
    if (csv->status == VIT_OK) {
        csv->status = vit_bytes_append(&csv->text, bytes, size, "CSV");
    }
}

static void begin_field(vit_csv *csv) {
    if (csv->within) {
        append(csv, ",", 1);
    }
    csv->within = true;
}

void vit_csv_text(vit_csv *csv, const char *text) {
    begin_field(csv);
    if (!text[strcspn(text, ",\"\r\n")]) {
        append(csv, text, strlen(text));
        return;
    }
    append(csv, "\"", 1);
    while (*text) {
        size_t plain = strcspn(text, "\"");
        append(csv, text, plain);
        text += plain;
        if (*text) {
            append(csv, "\"\"", 2);
            text++;
        }
    }
    append(csv, "\"", 1);
}

void vit_csv_number(vit_csv *csv, double value) {
    char number[VIT_NUMBER_MAX] = "";
    if (isfinite(value)) {
        vit_number_round(value, 10, number, sizeof number);
    }
    begin_field(csv);
    append(csv, number, strlen(number));
}

void vit_csv_raw(vit_csv *csv, const char *line) {
    append(csv, line, strlen(line));
    csv->within = true;
}

void vit_csv_end_line(vit_csv *csv) {
    append(csv, "\n", 1);
    csv->within = false;
}

vit_status vit_csv_save(const vit_csv *csv, const char *path) {
    return csv->status != VIT_OK ? csv->status
                                 : vit_file_replace(path, csv->text.data, csv->text.size);
}
