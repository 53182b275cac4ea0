#include "tools/eval_table.h"

#include "tools/progress.h"

#include <stdlib.h>
#include <string.h>

vit_status cli_eval_row_fill(cli_eval_row *row, const vit_model_bundle *bundle,
                             const vit_outcome *outcome) {
    *row = (cli_eval_row){
        .model = strdup(outcome->model),
        .root = strdup(outcome->dataset->root),
        .json = vit_outcome_json(outcome, false),
        .parameters = bundle->model.params.total,
        .skipped = outcome->skipped,
        .figures = outcome->metrics,
        .seconds = outcome->seconds,
        .images_per_second = outcome->images_per_second,
    };
    row->figures.confusion = NULL;
    row->figures.per_class = NULL;
    if (!row->model || !row->root || !row->json) {
        cli_eval_row_free(row);
        return vit_fail(VIT_ERROR_MEMORY, "out of memory for the results");
    }
    return VIT_OK;
}

void cli_eval_row_free(cli_eval_row *row) {
    free(row->model);
    free(row->root);
    vit_json_free(row->json);
    *row = (cli_eval_row){0};
}

vit_json *cli_eval_json(const cli_eval_row *rows, size_t count) {
    if (count == 1) {
        return vit_json_copy(rows[0].json);
    }
    vit_json *all = vit_json_array();
    for (size_t i = 0; i < count; i++) {
        vit_json_add(all, NULL, vit_json_copy(rows[i].json));
    }
    return all;
}

static void print_one(const cli_eval_row *row) {
    const vit_metrics *m = &row->figures;
    char number[32], duration[32];
    fputs("model     ", stdout);
    cli_put(stdout, row->model);
    fputs("\ndata      ", stdout);
    cli_put(stdout, row->root);
    printf("\npictures  %s in %zu classes\n", cli_thousands((double)m->images, number), m->classes);
    printf("top-1     %.2f %%\n", m->top1);
    printf("top-5     %.2f %%\n", m->top5);
    printf("loss      %.4f\n", m->loss);
    printf("balanced  %.2f %%\n", m->balanced_accuracy);
    printf("macro F1  %.2f %%\n", m->macro_f1);
    printf("ECE       %.4f\n", m->ece);
    printf("speed     %s pictures/s (%s)\n", cli_thousands(row->images_per_second, number),
           cli_duration(row->seconds, duration));
}

/* ---- several ---- */

static void print_line(const cli_eval_row *row, size_t width) {
    const vit_metrics *m = &row->figures;
    char parameters[32], speed[32];
    cli_put_padded(stdout, row->model, width);
    printf("  %11s  %6.2f %%  %6.2f %%  %7.4f  %6.2f %%  %6.2f %%  %7.4f  %10s\n",
           cli_thousands((double)row->parameters, parameters), m->top1, m->top5, m->loss,
           m->balanced_accuracy, m->macro_f1, m->ece, cli_thousands(row->images_per_second, speed));
}

static void print_table(const cli_eval_row *rows, size_t count) {
    char number[32];
    size_t width = strlen("model");
    for (size_t i = 0; i < count; i++) {
        size_t length = cli_put(NULL, rows[i].model);
        width = length > width ? length : width;
    }
    fputs("data      ", stdout);
    cli_put(stdout, rows[0].root);
    printf("\npictures  %s\n\n", cli_thousands((double)rows[0].figures.images, number));
    cli_put_padded(stdout, "model", width);
    printf("  %11s  %8s  %8s  %7s  %8s  %8s  %7s  %10s\n", "parameters", "top-1", "top-5", "loss",
           "balanced", "macro F1", "ECE", "pictures/s");
    for (size_t i = 0; i < count; i++) {
        print_line(&rows[i], width);
    }
}

void cli_eval_print(const cli_eval_row *rows, size_t count) {
    if (count == 1) {
        print_one(&rows[0]);
    } else {
        print_table(rows, count);
    }
}
