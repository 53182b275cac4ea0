#include "tools/eval_table.h"
#include "tools/progress.h"
#include "tools/ranks.h"

#include "eval/measure.h"
#include "eval/results.h"
#include "eval/tta.h"
#include "train/eval_ranks.h"
#include "train/ranks.h"
#include "vit/arena.h"

#include <limits.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct eval_flags {
    char split[256], out[PATH_MAX], results_file[PATH_MAX];
    int batch_size, tta, topk;
} eval_flags;

static const vit_option eval_options[] = {
    {.name = "split",
     .type = VIT_OPT_STRING,
     .offset = offsetof(eval_flags, split),
     .count = sizeof((eval_flags *)0)->split,
     .value = "val",
     .metavar = "NAME",
     .help = "folder or list of DATA to measure on; val also finds validation and test"},
    {.name = "batch-size",
     .letter = 'b',
     .type = VIT_OPT_INT,
     .offset = offsetof(eval_flags, batch_size),
     .min = 1,
     .max = 65536,
     .value = "64",
     .help = "pictures at once; the result does not depend on it"},
    {.name = "tta",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(eval_flags, tta),
     .choices = vit_tta_names,
     .value = "none",
     .help = "flip: the mean of the probabilities of each picture and of its mirror image; twice "
             "the work"},
    {.name = "out",
     .type = VIT_OPT_STRING,
     .offset = offsetof(eval_flags, out),
     .count = sizeof((eval_flags *)0)->out,
     .metavar = "DIR",
     .help = "write eval.json, per_class.csv, confusion_matrix.csv and predictions.csv; of several "
             "models each into a folder of its own in DIR"},
    {.name = "topk",
     .type = VIT_OPT_INT,
     .offset = offsetof(eval_flags, topk),
     .min = 1,
     .max = 1000000,
     .value = "5",
     .help = "classes of each picture in predictions.csv, best first; at most all of them"},
    {.name = "results-file",
     .type = VIT_OPT_STRING,
     .offset = offsetof(eval_flags, results_file),
     .count = sizeof((eval_flags *)0)->results_file,
     .metavar = "CSV",
     .help = "append a row for each model, in the columns of timm's validate.py"},
};

/* One call of the verb. */
typedef struct evaluation {
    const cli_verb *verb;
    eval_flags flags;
    vit_data_options reading;
    cli_common common;
    char **models;
    size_t count; /* of models */
    const char *data;
    cli_progress progress;
    const char *current; /* the model at work when there are several, else "" */
    cli_ranks ranks;
    char options[4096]; /* what the ranks must have alike, as text */
} evaluation;

/* Rank 0 writes, warns and prints. */
static bool leads(const evaluation *e) {
    return vit_comm_rank(e->ranks.comm) == 0;
}

static vit_status agree(const evaluation *e, vit_status status) {
    return vit_comm_agree(e->ranks.comm, status);
}

/* A model and the data as it sees them. */
typedef struct subject {
    vit_model_bundle *bundle;
    vit_dataset *dataset;
    size_t missing; /* classes without a picture */
} subject;

static void subject_free(subject *s) {
    vit_dataset_free(s->dataset);
    vit_model_bundle_free(s->bundle);
    *s = (subject){0};
}

static vit_status subject_open(const evaluation *e, const char *model, subject *out) {
    vit_status status = VIT_OK;
    *out = (subject){0};
    VIT_TRY(vit_model_bundle_load(model, &out->bundle));
    vit_dataset_query query = vit_data_query(&e->reading, e->data, e->flags.split);
    query.known_classes = (const char *const *)out->bundle->class_names;
    query.known_count = (size_t)out->bundle->model.config.num_classes;
    status = vit_dataset_find(&query, &out->dataset, &out->missing);
    if (status != VIT_OK && e->count > 1) {
        VIT_TRY(vit_fail_context(status, "%s", model));
    }
    VIT_TRY(status);
cleanup:
    if (status != VIT_OK) {
        subject_free(out);
    }
    return status;
}

/* ---- what the figures do not show ---- */

static void warn_missing(const evaluation *e, const char *model, const subject *s) {
    if (s->missing > 0) {
        cli_warn(e->verb, "%s: %zu of the %zu classes of %s have no picture", s->dataset->root,
                 s->missing, s->dataset->class_count, e->count > 1 ? model : "the model");
    }
}

static void warn_whole(const evaluation *e, const subject *s) {
    if (s->dataset->whole) { // NOLINT: a failure agreed on is one
        cli_warn(e->verb,
                 "%s: is not divided into train and val; measuring on all its pictures (with "
                 "--val-split as in training, only on those that were held out)",
                 e->data);
    }
}

static void warn_skipped(const evaluation *e, const vit_eval_result *result) {
    if (result->skipped > 0) {
        cli_warn(e->verb, "%zu of %zu pictures could not be read and were left out; the first: %s",
                 result->skipped, result->skipped + result->images, result->first_skipped);
    }
}

/* ---- before the work: all that can be known to fail ---- */

/* Where a model's files go: DIR, or DIR/NUMBER-NAME when there are several models. */
static vit_status out_folder(const evaluation *e, size_t index, char *buffer, size_t size) {
    const char *model = e->models[index];
    size_t end = strlen(model);
    while (end > 1 && model[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && model[begin - 1] != '/') {
        begin--;
    }
    const char ending[] = ".safetensors";
    size_t length = end - begin, dropped = sizeof ending - 1;
    if (length > dropped && strncmp(model + end - dropped, ending, dropped) == 0) {
        length -= dropped;
    }
    int needed = e->count > 1 ? snprintf(buffer, size, "%s/%zu-%.*s", e->flags.out, index + 1,
                                         (int)length, model + begin)
                              : snprintf(buffer, size, "%s", e->flags.out);
    return needed >= 0 && (size_t)needed < size
               ? VIT_OK
               : vit_fail(VIT_ERROR_ARGUMENT, "--out %s: too long a path", e->flags.out);
}

static vit_status make_folders(const evaluation *e) {
    char path[PATH_MAX];
    for (size_t i = 0; *e->flags.out && i < e->count; i++) {
        vit_status status = out_folder(e, i, path, sizeof path);
        status = status == VIT_OK ? vit_folder_make(path) : status;
        if (status == VIT_OK && access(path, W_OK | X_OK) != 0) {
            status = vit_fail(VIT_ERROR_IO, "--out %s: is a folder that may not be written", path);
        }
        if (status != VIT_OK) {
            return status;
        }
    }
    return VIT_OK;
}

/* Of several models the last may be the broken one. */
static vit_status check_all(const evaluation *e) {
    vit_status status = VIT_OK;
    for (size_t i = 0; e->count > 1 && i < e->count; i++) {
        subject s;
        VIT_TRY(subject_open(e, e->models[i], &s));
        subject_free(&s);
    }
    if (*e->flags.results_file) {
        VIT_TRY(vit_results_check(e->flags.results_file));
    }
    VIT_TRY(make_folders(e));
cleanup:
    return status;
}

/* ---- the work ---- */

static void show_progress(void *context, size_t done, size_t total) {
    evaluation *e = context;
    cli_progress_count(&e->progress, e->current, done, total);
}

/* Measures on every picture. The outcome borrows from the subject. */
static vit_status measure(evaluation *e, const char *model, const subject *s, vit_outcome **out) {
    vit_eval_result result = {0};
    const vit_eval_ranks ranks = vit_comm_eval_ranks(e->ranks.comm);
    const vit_measure_request request = {
        .bundle = s->bundle,
        .dataset = s->dataset,
        .model = model,
        .data = e->data,
        .split = e->flags.split,
        .batch_size = (size_t)e->flags.batch_size,
        .threads = omp_get_max_threads(),
        .tta = (vit_tta)e->flags.tta,
        .topk = (size_t)e->flags.topk,
        .reading = &e->reading,
        .progress = show_progress,
        .context = e,
        .ranks = e->ranks.comm ? &ranks : NULL,
    };
    vit_status status = vit_measure(&request, &result, out);
    cli_progress_clear(&e->progress);
    if (result.skipped > 0 && leads(e)) {
        char message[VIT_MESSAGE_MAX];
        snprintf(message, sizeof message, "%s", vit_last_error());
        warn_skipped(e, &result);
        vit_fail(status, "%s", message);
    }
    return status;
}

/* Files, a row of results, and what is printed of one model or kept for the table of several. */
static vit_status keep(const evaluation *e, size_t index, const subject *s,
                       const vit_outcome *outcome, cli_eval_row *row) {
    const vit_metrics *m = &outcome->metrics;
    char path[PATH_MAX];
    vit_status status = VIT_OK;
    if (*e->flags.out) {
        VIT_TRY(out_folder(e, index, path, sizeof path));
        VIT_TRY(vit_outcome_write(outcome, path));
    }
    if (*e->flags.results_file) {
        VIT_TRY(
            vit_results_append(e->flags.results_file, outcome->model, s->bundle, m->top1, m->top5));
    }
    VIT_TRY(cli_eval_row_fill(row, s->bundle, outcome));
    if (e->count == 1 && !e->common.json) {
        cli_eval_print_one(outcome);
    }
cleanup:
    return status;
}

static vit_status evaluate_one(evaluation *e, size_t index, cli_eval_row *row) {
    const char *model = e->models[index];
    subject s;
    vit_outcome *outcome = NULL;
    vit_status status;
    VIT_TRY(agree(e, subject_open(e, model, &s)));
    e->current = e->count > 1 ? model : "";
    if (leads(e)) {
        warn_missing(e, model, &s);
    }
    if (index == 0 && leads(e)) {
        warn_whole(e, &s);
    }
    VIT_TRY(vit_ranks_check_measurement(e->ranks.comm, s.bundle, s.dataset, e->options,
                                        omp_get_max_threads()));
    VIT_TRY(agree(e, measure(e, model, &s, &outcome)));
    VIT_TRY(agree(e, leads(e) ? keep(e, index, &s, outcome, row) : VIT_OK));
cleanup:
    vit_outcome_free(outcome);
    subject_free(&s);
    return status;
}

/* Of several models DIR/eval.json holds all of them. */
static vit_status write_all(const evaluation *e, const cli_eval_row *rows) {
    char path[PATH_MAX];
    if (!*e->flags.out || e->count < 2) {
        return VIT_OK;
    }
    vit_status status = vit_path_join(path, sizeof path, e->flags.out, "eval.json");
    vit_json *all = cli_eval_json(rows, e->count);
    status = status == VIT_OK ? vit_json_save(all, path) : status;
    vit_json_free(all);
    return status;
}

static vit_status tell_all(const evaluation *e, const cli_eval_row *rows) {
    vit_status status = write_all(e, rows);
    if (status == VIT_OK && e->common.json) {
        status = cli_print_json(cli_eval_json(rows, e->count), true);
    } else if (status == VIT_OK && e->count > 1) {
        cli_eval_print_table(rows, e->count);
    }
    return status;
}

static vit_status evaluate_all(evaluation *e) {
    cli_eval_row *rows = NULL;
    vit_status status = VIT_OK;
    cli_progress_init(&e->progress, e->verb, &e->common);
    VIT_TRY(agree(e, leads(e) ? check_all(e) : VIT_OK));
    VIT_TRY(vit_alloc((void **)&rows, e->count, sizeof *rows, "results"));
    for (size_t i = 0; i < e->count; i++) {
        VIT_TRY(evaluate_one(e, i, &rows[i]));
    }
    VIT_TRY(leads(e) ? tell_all(e, rows) : VIT_OK);
cleanup:
    for (size_t i = 0; rows && i < e->count; i++) {
        cli_eval_row_free(&rows[i]);
    }
    vit_free(rows);
    return status;
}

/* ---- the command line ---- */

enum { GROUPS = 3 };

static vit_status read_words(evaluation *e, const vit_option_group *groups, int argc, char **argv) {
    int words = 0;
    vit_status status = VIT_OK;
    VIT_TRY(vit_options_parse(groups, GROUPS, argc, argv, &words));
    if (words < 2) {
        VIT_TRY(cli_wrong_arguments(words, "at least two: MODEL... DATA"));
    }
    e->models = argv;
    e->count = (size_t)words - 1;
    e->data = argv[words - 1];
cleanup:
    return status;
}

/* What decides the figures: the number of models, how they are measured, how pictures are read. */
static void list_options(evaluation *e, const vit_option_group *reading) {
    char value[512];
    size_t size = sizeof e->options;
    size_t at =
        (size_t)snprintf(e->options, size, "%zu %d %d", e->count, e->flags.tta, *e->flags.out != 0);
    for (size_t i = 0; i < reading->count && at < size; i++) {
        vit_option_format(&reading->options[i], reading->target, value, sizeof value);
        at += (size_t)snprintf(e->options + at, size - at, " %s", value);
    }
}

int cmd_eval(const cli_verb *verb, int argc, char **argv) {
    evaluation e = {.verb = verb};
    const vit_option_group groups[GROUPS] = {
        {"Evaluation", eval_options, sizeof eval_options / sizeof *eval_options, &e.flags, NULL},
        vit_data_group(&e.reading, VIT_DATA_ROWS_EVAL),
        cli_common_group(&e.common, true)};
    vit_status status = VIT_OK;
    for (int g = 0; g < GROUPS && status == VIT_OK; g++) {
        status = vit_options_defaults(&groups[g]);
    }
    if (status == VIT_OK && cli_wants_help(argc, argv)) {
        if (vit_comm_look().rank == 0) { /* once is enough */
            cli_print_help(verb, groups, GROUPS);
        }
        return cli_finish(verb, CLI_DONE);
    }
    status = status == VIT_OK ? read_words(&e, groups, argc, argv) : status;
    status = cli_ranks_join(&e.common, status, &e.ranks);
    int code = CLI_DONE;
    if (status != VIT_OK) {
        code = cli_ranks_fail(verb, &e.ranks, status, true);
    } else {
        list_options(&e, &groups[1]);
        status = evaluate_all(&e);
        code = status == VIT_OK ? cli_finish(verb, CLI_DONE)
                                : cli_ranks_fail(verb, &e.ranks, status, false);
    }
    fflush(stdout);
    cli_ranks_leave(&e.ranks);
    return code;
}
