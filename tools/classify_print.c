#include "tools/classify_print.h"

#include "tools/cmd.h"

#include <math.h>

int classify_decide(const classify_printer *printer, const vit_result *result) {
    int best = result->top[0];
    return (double)result->probabilities[best] < printer->threshold ? -1 : best;
}

static const char *name_of(const classify_printer *printer, int class_index) {
    return class_index < 0 ? CLI_UNKNOWN : printer->class_names[class_index];
}

/* ---- table ---- */

/* One line a class, the path on the first; before them, one that says that none of them is likely
 * enough. */
static void print_table(const classify_printer *printer, const char *path, int class_index,
                        const vit_result *result) {
    cli_put_padded(stdout, path, printer->path_width);
    if (class_index < 0) {
        puts("  " CLI_UNKNOWN);
    }
    for (size_t i = 0; i < printer->topk; i++) {
        int index = result->top[i];
        if (i > 0 || class_index < 0) {
            printf("%*s", (int)printer->path_width, "");
        }
        fputs("  ", stdout);
        cli_put_padded(stdout, printer->class_names[index], printer->class_width);
        printf("  %6.2f %%\n", 100 * (double)result->probabilities[index]);
    }
}

/* ---- JSON ---- */

static vit_status print_json(const classify_printer *printer, const char *path, int class_index,
                             const vit_result *result, const char *sorted_to, const char *error) {
    vit_json *root = vit_json_object(), *top = vit_json_array();
    vit_json_add_string(root, "path", path);
    vit_json_add_string(root, "prediction", name_of(printer, class_index));
    vit_json_add_bool(root, "unknown", class_index < 0);
    for (size_t i = 0; i < printer->topk; i++) {
        vit_json *entry = vit_json_object();
        int index = result->top[i];
        vit_json_add_string(entry, "class", printer->class_names[index]);
        vit_json_add_number(entry, "index", index);
        vit_json_add_number(entry, "probability", (double)result->probabilities[index]);
        vit_json_add(top, NULL, entry);
    }
    vit_json_add(root, "top", top);
    vit_json_add_number(root, "milliseconds", result->milliseconds);
    if (sorted_to != NULL) {
        vit_json_add_string(root, "sorted_to", sorted_to);
    }
    if (*error != 0) {
        vit_json_add_string(root, "error", error);
    }
    return cli_print_json(root, false);
}

/* ---- CSV ---- */

vit_status classify_print_head(classify_printer *printer) {
    if (printer->form != CLASSIFY_CSV) {
        return VIT_OK;
    }
    cli_csv *csv = printer->csv;
    cli_csv_text(csv, "path");
    cli_csv_text(csv, "prediction");
    for (size_t i = 0; i < printer->topk; i++) {
        char name[64];
        snprintf(name, sizeof name, "top%zu", i + 1);
        cli_csv_text(csv, name);
        snprintf(name, sizeof name, "top%zu_probability", i + 1);
        cli_csv_text(csv, name);
    }
    if (printer->sorted) {
        cli_csv_text(csv, "sorted_to");
    }
    cli_csv_text(csv, "error");
    return cli_csv_end_line(csv);
}

/* result NULL: error says why there is none. */
static vit_status print_csv(classify_printer *printer, const char *path, int class_index,
                            const vit_result *result, const char *sorted_to, const char *error) {
    cli_csv *csv = printer->csv;
    cli_csv_text(csv, path);
    cli_csv_text(csv, result != NULL ? name_of(printer, class_index) : "");
    for (size_t i = 0; i < printer->topk; i++) {
        int index = result != NULL ? result->top[i] : 0;
        cli_csv_text(csv, result != NULL ? printer->class_names[index] : "");
        cli_csv_number(csv, result != NULL ? (double)result->probabilities[index] : NAN);
    }
    if (printer->sorted) {
        cli_csv_text(csv, sorted_to != NULL ? sorted_to : "");
    }
    cli_csv_text(csv, error);
    return cli_csv_end_line(csv);
}

vit_status classify_print(classify_printer *printer, const char *path, int class_index,
                          const vit_result *result, const char *sorted_to, const char *error) {
    switch (printer->form) {
    case CLASSIFY_JSON:
        return print_json(printer, path, class_index, result, sorted_to, error);
    case CLASSIFY_CSV:
        return print_csv(printer, path, class_index, result, sorted_to, error);
    case CLASSIFY_TABLE:
        print_table(printer, path, class_index, result);
        break;
    }
    return VIT_OK;
}

vit_status classify_print_error(classify_printer *printer, const char *path, const char *error) {
    if (printer->form == CLASSIFY_CSV) {
        return print_csv(printer, path, -1, NULL, NULL, error);
    }
    if (printer->form == CLASSIFY_JSON) {
        vit_json *root = vit_json_object();
        vit_json_add_string(root, "path", path);
        vit_json_add_string(root, "error", error);
        return cli_print_json(root, false);
    }
    return VIT_OK;
}
