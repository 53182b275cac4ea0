#include "tools/csv.h"

#include "data/csv_write.h"
#include "vit/arena.h"

#include <stdio.h>

struct cli_csv {
    vit_csv line;
};

vit_status cli_csv_create(cli_csv **out) {
    return vit_alloc((void **)out, 1, sizeof **out, "CSV");
}

void cli_csv_free(cli_csv *csv) {
    if (csv != NULL) {
        vit_csv_free(&csv->line);
        vit_free(csv);
    }
}

void cli_csv_text(cli_csv *csv, const char *text) {
    vit_csv_text(&csv->line, text);
}

void cli_csv_number(cli_csv *csv, double value) {
    vit_csv_number(&csv->line, value);
}

vit_status cli_csv_end_line(cli_csv *csv) {
    vit_csv *line = &csv->line;
    vit_csv_end_line(line);
    if (line->status == VIT_OK) {
        fwrite(line->text.data, 1, line->text.size, stdout);
    }
    line->text.size = 0;
    return line->status;
}
