#include "tools/classify_inputs.h"
#include "tools/classify_print.h"
#include "tools/cmd.h"
#include "tools/progress.h"
#include "tools/sorter.h"

#include "data/folder.h"
#include "vit/arena.h"

#include <limits.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct classify_flags {
    int topk, batch_size, tta;
    double threshold;
    bool csv;
    char sort_into[PATH_MAX];
    int sort_by;
} classify_flags;

static const vit_option classify_options[] = {
    {.name = "topk",
     .type = VIT_OPT_INT,
     .offset = offsetof(classify_flags, topk),
     .min = 1,
     .max = 1000000,
     .value = "5",
     .help = "classes to name for each picture, best first; at most all of them"},
    {.name = "threshold",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(classify_flags, threshold),
     .min = 0,
     .max = 1,
     .value = "0",
     .metavar = "P",
     .help = "a picture whose best class has a lower probability is \"" CLI_UNKNOWN "\""},
    {.name = "sort-into",
     .type = VIT_OPT_STRING,
     .offset = offsetof(classify_flags, sort_into),
     .count = sizeof((classify_flags *)0)->sort_into,
     .metavar = "DIR",
     .help = "also put each picture into DIR/CLASS (DIR/" CLI_UNKNOWN
             " below --threshold); what is there already is never overwritten"},
    {.name = "sort-by",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(classify_flags, sort_by),
     .choices = sort_by_names,
     .value = "copy",
     .help = "what is put into the folders of --sort-into; the originals stay"},
    {.name = "csv",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(classify_flags, csv),
     .help = "results as CSV, a line for each picture"},
    {.name = "tta",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(classify_flags, tta),
     .choices = vit_tta_names,
     .value = "none",
     .help = "flip: the mean of the probabilities of each picture and of its mirror image; twice "
             "the work"},
    {.name = "batch-size",
     .letter = 'b',
     .type = VIT_OPT_INT,
     .offset = offsetof(classify_flags, batch_size),
     .min = 0,
     .max = 65536,
     .value = "0",
     .help = "pictures at once, whose results come together; 0: 16 for each thread, at least 32; "
             "the results do not depend on it"},
};
enum { CLASSIFY_OPTIONS = sizeof classify_options / sizeof *classify_options };

/* What is computed with. A batch is a stretch of the list of inputs, of which some may have an
 * error in the place of a picture. */
typedef struct classifier {
    const cli_verb *verb;
    const classify_inputs *inputs;
    vit_predictor *predictor;
    size_t batch_size, failures, sorted;
    vit_predict_input *pictures; /* (batch_size) */
    vit_prediction *predictions; /* (batch_size) */
    classify_printer printer;
    sorter *sorter; /* NULL without --sort-into */
    cli_progress progress;
} classifier;

/* The library's messages name the file already. */
static void complain(classifier *c, const char *error) {
    c->failures++;
    cli_progress_clear(&c->progress);
    vit_fail(VIT_ERROR_IO, "%s", error);
    cli_fail(c->verb);
}

static vit_status report_error(classifier *c, const char *path, const char *error) {
    complain(c, error);
    return classify_print_error(&c->printer, path, error);
}

static vit_status report(classifier *c, const char *path, const vit_predict_input *picture,
                         const vit_prediction *prediction) {
    if (prediction->status != VIT_OK) {
        return report_error(c, path, prediction->error);
    }
    int class_index = classify_decide(&c->printer, prediction->probabilities);
    const char *target = NULL;
    char error[VIT_MESSAGE_MAX] = "";
    if (c->sorter != NULL) {
        if (sorter_put(c->sorter, class_index, picture, &target) == VIT_OK) {
            c->sorted++;
        } else {
            snprintf(error, sizeof error, "%s", vit_last_error());
            complain(c, error);
        }
    }
    return classify_print(&c->printer, path, class_index, prediction, target, error);
}

static vit_predict_input picture_of(const classifier *c, const classify_input *item) {
    if (strcmp(item->path, "-") == 0) {
        return (vit_predict_input){.name = "standard input",
                                   .bytes = c->inputs->picture.size > 0 ? c->inputs->picture.data
                                                                        : (const void *)"",
                                   .size = c->inputs->picture.size};
    }
    return (vit_predict_input){.name = item->path};
}

/* Asks the kernel to have the next batch's files at hand when this one is done. */
static void announce(const classifier *c, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        const classify_input *item = &c->inputs->items[i];
        if (item->error == NULL && strcmp(item->path, "-") != 0) {
            vit_sample_announce(&(vit_sample){.path = item->path});
        }
    }
}

static vit_status classify_batch(classifier *c, size_t first, size_t end) {
    const classify_input *items = c->inputs->items;
    vit_status status = VIT_OK;
    size_t count = 0;
    for (size_t i = first; i < end; i++) {
        if (items[i].error == NULL) {
            c->pictures[count++] = picture_of(c, &items[i]);
        }
    }
    VIT_TRY(vit_predict(c->predictor, c->pictures, count, c->predictions));
    cli_progress_clear(&c->progress);
    for (size_t i = first, picture = 0; i < end; i++) {
        if (items[i].error != NULL) {
            VIT_TRY(report_error(c, items[i].path, items[i].error));
        } else {
            VIT_TRY(report(c, items[i].path, &c->pictures[picture], &c->predictions[picture]));
            picture++;
        }
    }
cleanup:
    return status;
}

/* Ends early when nobody can read the results. */
static vit_status classify_all(classifier *c) {
    size_t total = c->inputs->count;
    vit_status status = VIT_OK;
    VIT_TRY(classify_print_head(&c->printer));
    for (size_t first = 0, end; first < total && !ferror(stdout); first = end) {
        end = total - first < c->batch_size ? total : first + c->batch_size;
        announce(c, end, total - end < c->batch_size ? total : end + c->batch_size);
        VIT_TRY(classify_batch(c, first, end));
        fflush(stdout);
        cli_progress_count(&c->progress, "", end, total);
    }
cleanup:
    cli_progress_clear(&c->progress);
    return status;
}

/* The longest entry, but no wider than a line of a terminal leaves room for. */
static void measure_columns(classify_printer *printer, const classify_inputs *inputs) {
    enum { WIDEST = 56 };
    for (size_t i = 0; i < inputs->count; i++) {
        size_t width = inputs->items[i].error == NULL ? cli_put(NULL, inputs->items[i].path) : 0;
        printer->path_width =
            width > printer->path_width && width <= WIDEST ? width : printer->path_width;
    }
    for (size_t k = 0; k < printer->K; k++) {
        size_t width = cli_put(NULL, printer->class_names[k]);
        printer->class_width =
            width > printer->class_width && width <= WIDEST ? width : printer->class_width;
    }
}

static size_t choose_batch(int wanted, size_t pictures, int threads) {
    enum { EACH = 16, LEAST = 32 };
    size_t size = wanted > 0 ? (size_t)wanted : EACH * (size_t)threads;
    size = wanted == 0 && size < LEAST ? LEAST : size;
    return pictures > 0 && pictures < size ? pictures : size;
}

static vit_status prepare(classifier *c, const vit_model_bundle *bundle,
                          const classify_flags *flags, const vit_data_options *reading, bool json) {
    classify_printer *printer = &c->printer;
    int threads = omp_get_max_threads();
    vit_status status = VIT_OK;
    printer->form = flags->csv ? CLASSIFY_CSV : json ? CLASSIFY_JSON : CLASSIFY_TABLE;
    printer->K = (size_t)bundle->model.config.num_classes;
    printer->topk = (size_t)flags->topk < printer->K ? (size_t)flags->topk : printer->K;
    printer->class_names = bundle->class_names;
    printer->threshold = flags->threshold;
    printer->sorted = *flags->sort_into != 0;
    VIT_TRY(vit_alloc((void **)&printer->top, printer->topk, sizeof *printer->top, "classes"));
    measure_columns(printer, c->inputs);
    c->batch_size = choose_batch(flags->batch_size, c->inputs->count, threads);
    VIT_TRY(
        vit_alloc((void **)&c->pictures, c->batch_size, sizeof *c->pictures, "list of pictures"));
    VIT_TRY(
        vit_alloc((void **)&c->predictions, c->batch_size, sizeof *c->predictions, "predictions"));
    VIT_TRY(vit_predictor_create(bundle, c->batch_size, threads, reading, &c->predictor));
    vit_predictor_set_tta(c->predictor, (vit_tta)flags->tta);
    if (c->inputs->count == 1) {
        vit_predictor_prefer_latency(c->predictor); /* somebody waits for it */
    }
    if (printer->sorted) {
        VIT_TRY(sorter_create(flags->sort_into, (sort_by)flags->sort_by, printer->K,
                              bundle->class_names, flags->threshold > 0, &c->sorter));
    }
cleanup:
    return status;
}

static void classifier_free(classifier *c) {
    sorter_free(c->sorter);
    vit_predictor_free(c->predictor);
    vit_free(c->pictures);
    vit_free(c->predictions);
    vit_free(c->printer.top);
    vit_csv_free(&c->printer.csv);
}

static vit_status classify(const cli_verb *verb, const classify_flags *flags,
                           const vit_data_options *reading, const cli_common *common, char **words,
                           int word_count, size_t *failures) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    classify_inputs inputs = {0};
    classifier c = {.verb = verb, .inputs = &inputs};
    cli_progress_init(&c.progress, verb, common);

    VIT_TRY(vit_model_bundle_load(words[0], &bundle));
    for (int i = 1; i < word_count; i++) {
        VIT_TRY(classify_inputs_add(&inputs, words[i]));
    }
    VIT_TRY(prepare(&c, bundle, flags, reading, common->json));
    VIT_TRY(classify_all(&c));
    if (c.sorter != NULL) {
        VIT_TRY(sorter_flush(c.sorter));
        const cli_field fields[] = {{.key = "pictures", .number = (double)c.sorted},
                                    {.key = "folder", .text = flags->sort_into}};
        char number[32];
        cli_progress_event(&c.progress, "sorted", fields, 2, "%s picture%s sorted into %s",
                           cli_thousands((double)c.sorted, number), c.sorted == 1 ? "" : "s",
                           flags->sort_into);
    }
cleanup:
    *failures = c.failures;
    classifier_free(&c);
    classify_inputs_free(&inputs);
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status check_flags(const classify_flags *flags, bool json, int words) {
    if (words < 2) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%d argument%s (expected MODEL and at least one PATH)",
                        words, words == 1 ? "" : "s");
    }
    if (flags->csv && json) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--csv and --json (expected one of them)");
    }
    if (flags->sort_by != SORT_BY_COPY && *flags->sort_into == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--sort-by %s: nothing to sort without --sort-into DIR",
                        sort_by_names[flags->sort_by]);
    }
    return VIT_OK;
}

int cmd_classify(const cli_verb *verb, int argc, char **argv) {
    classify_flags flags;
    vit_data_options reading = {0};
    cli_common common;
    const vit_option_group groups[] = {
        {"Classification", classify_options, CLASSIFY_OPTIONS, &flags, NULL},
        vit_data_group(&reading, VIT_DATA_ROWS_DECODE),
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    size_t failures = 0;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (check_flags(&flags, common.json, words) != VIT_OK) {
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    if (classify(verb, &flags, &reading, &common, argv, words, &failures) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, failures > 0 ? CLI_FAILED : CLI_DONE);
}
