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
        .figures = outcome->metrics,
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

/* ---- one ---- */

enum { WORST = 3 };

/* Of count classes, or cells of the confusion matrix: which are listed, and in what order. */
typedef bool (*is_listed)(const vit_metrics *m, size_t i);
typedef bool (*is_worse)(const vit_metrics *m, size_t a, size_t b);

/* The next of the list behind `last` (-1: the first); -1 when there is none. Ties go by index. */
static long next_worst(const vit_metrics *m, size_t count, is_listed listed, is_worse worse,
                       long last) {
    long best = -1;
    for (size_t i = 0; i < count; i++) {
        size_t before = (size_t)last;
        bool after = last < 0 || worse(m, before, i) || (!worse(m, i, before) && i > before);
        if (listed(m, i) && after && (best < 0 || worse(m, i, (size_t)best))) {
            best = (long)i;
        }
    }
    return best;
}

static bool class_listed(const vit_metrics *m, size_t k) {
    return m->per_class[k].right < m->per_class[k].support;
}

static bool class_worse(const vit_metrics *m, size_t a, size_t b) {
    return m->per_class[a].recall < m->per_class[b].recall;
}

static bool cell_listed(const vit_metrics *m, size_t i) {
    return i / m->classes != i % m->classes && m->confusion[i] > 0;
}

static bool cell_worse(const vit_metrics *m, size_t a, size_t b) {
    return m->confusion[a] > m->confusion[b];
}

static void print_weakest(const vit_outcome *outcome) {
    const vit_metrics *m = &outcome->metrics;
    long k = next_worst(m, m->classes, class_listed, class_worse, -1);
    for (int n = 0; n < WORST && k >= 0; n++) {
        fputs(n == 0 ? "weakest   " : ", ", stdout);
        cli_put(stdout, outcome->class_names[k]);
        printf(" (%.2f %%)", m->per_class[k].recall);
        k = next_worst(m, m->classes, class_listed, class_worse, k);
        if (n + 1 == WORST || k < 0) {
            putchar('\n');
        }
    }
}

static void print_mistaken(const vit_outcome *outcome) {
    const vit_metrics *m = &outcome->metrics;
    size_t cells = m->confusion ? m->classes * m->classes : 0;
    long i = next_worst(m, cells, cell_listed, cell_worse, -1);
    for (int n = 0; n < WORST && i >= 0; n++) {
        fputs(n == 0 ? "mistaken  " : ", ", stdout);
        cli_put(stdout, outcome->class_names[(size_t)i / m->classes]);
        fputs(" for ", stdout);
        cli_put(stdout, outcome->class_names[(size_t)i % m->classes]);
        printf(" (%zu of %zu)", m->confusion[i], m->per_class[(size_t)i / m->classes].support);
        i = next_worst(m, cells, cell_listed, cell_worse, i);
        if (n + 1 == WORST || i < 0) {
            putchar('\n');
        }
    }
}

void cli_eval_print_one(const vit_outcome *outcome) {
    const vit_metrics *m = &outcome->metrics;
    char number[32], duration[32];
    fputs("model     ", stdout);
    cli_put(stdout, outcome->model);
    fputs("\ndata      ", stdout);
    cli_put(stdout, outcome->dataset->root);
    printf("\npictures  %s in %zu classes\n", cli_thousands((double)m->images, number), m->classes);
    printf("top-1     %.2f %%\n", m->top1);
    printf("top-5     %.2f %%\n", m->top5);
    printf("loss      %.4f\n", m->loss);
    printf("balanced  %.2f %%\n", m->balanced_accuracy);
    printf("macro F1  %.2f %%\n", m->macro_f1);
    printf("ECE       %.4f\n", m->ece);
    print_weakest(outcome);
    print_mistaken(outcome);
    printf("speed     %s pictures/s (%s)\n", cli_thousands(outcome->images_per_second, number),
           cli_duration(outcome->seconds, duration));
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

void cli_eval_print_table(const cli_eval_row *rows, size_t count) {
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
