#include "tools/classify_inputs.h"
#include "tools/classify_print.h"
#include "tools/cmd.h"
#include "tools/progress.h"
#include "tools/reading.h"
#include "tools/sorter.h"

#include "vit/zvit.h"

#include <limits.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What this verb knows of the library is its public interface, vit/zvit.h: what the command can do
 * with pictures and models, any program can. */

typedef struct classify_flags {
    int topk, batch_size, tta;
    double threshold;
    bool csv;
    char sort_into[PATH_MAX];
    int sort_by;
} classify_flags;

static const char *const tta_names[] = {[VIT_TTA_NONE] = "none", [VIT_TTA_FLIP] = "flip", NULL};

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
     .choices = tta_names,
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
    vit_model *model;
    vit_classifier *classifier;
    size_t batch_size, failures, sorted;
    vit_picture *pictures; /* (batch_size) */
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

static vit_status report(classifier *c, const char *path, const vit_picture *picture,
                         const vit_result *result) {
    if (result->status != VIT_OK) {
        return report_error(c, path, result->message);
    }
    int class_index = classify_decide(&c->printer, result);
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
    return classify_print(&c->printer, path, class_index, result, target, error);
}

static vit_picture picture_of(const classifier *c, const classify_input *item) {
    if (strcmp(item->path, "-") == 0) {
        const cli_content *content = &c->inputs->picture;
        return vit_picture_encoded(content->data, content->size, "standard input");
    }
    return vit_picture_file(item->path);
}

/* Asks the kernel to have the next batch's files at hand when this one is done. */
static void announce(const classifier *c, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        const classify_input *item = &c->inputs->items[i];
        if (item->error == NULL && strcmp(item->path, "-") != 0) {
            cli_announce(item->path);
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
    VIT_TRY(vit_classify(c->classifier, c->pictures, count));
    cli_progress_clear(&c->progress);
    for (size_t i = first, picture = 0; i < end; i++) {
        if (items[i].error != NULL) {
            VIT_TRY(report_error(c, items[i].path, items[i].error));
        } else {
            VIT_TRY(report(c, items[i].path, &c->pictures[picture],
                           vit_classifier_get_result(c->classifier, picture)));
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
static void measure_columns(classify_printer *printer, const classify_inputs *inputs, size_t K) {
    enum { WIDEST = 56 };
    for (size_t i = 0; i < inputs->count; i++) {
        size_t width = inputs->items[i].error == NULL ? cli_put(NULL, inputs->items[i].path) : 0;
        printer->path_width =
            width > printer->path_width && width <= WIDEST ? width : printer->path_width;
    }
    for (size_t k = 0; k < K; k++) {
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

static vit_status make_classifier(classifier *c, const classify_flags *flags,
                                  const cli_reading *reading) {
    const unsigned char background[3] = {(unsigned char)reading->background[0],
                                         (unsigned char)reading->background[1],
                                         (unsigned char)reading->background[2]};
    const vit_classifier_options options = {
        .size = sizeof options,
        .top = (size_t)flags->topk,
        .tta = (vit_tta)flags->tta,
        .prefer_latency = c->inputs->count == 1, /* somebody waits for it */
        .max_pixels = reading->max_pixels,
        .background = background,
    };
    return vit_classifier_create(&c->classifier, c->model, &options);
}

static vit_status prepare(classifier *c, const classify_flags *flags, const cli_reading *reading,
                          bool json) {
    const vit_model_info *info = vit_model_get_info(c->model);
    classify_printer *printer = &c->printer;
    vit_status status = VIT_OK;
    size_t K = info->class_count;
    printer->form = flags->csv ? CLASSIFY_CSV : json ? CLASSIFY_JSON : CLASSIFY_TABLE;
    printer->topk = (size_t)flags->topk < K ? (size_t)flags->topk : K;
    printer->class_names = info->class_names;
    printer->threshold = flags->threshold;
    printer->sorted = *flags->sort_into != 0;
    measure_columns(printer, c->inputs, K);
    c->batch_size = choose_batch(flags->batch_size, c->inputs->count, omp_get_max_threads());
    c->pictures = calloc(c->batch_size, sizeof *c->pictures);
    if (c->pictures == NULL) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "out of memory for %zu pictures", c->batch_size));
    }
    if (flags->csv) {
        VIT_TRY(cli_csv_create(&printer->csv));
    }
    VIT_TRY(make_classifier(c, flags, reading));
    if (printer->sorted) {
        VIT_TRY(sorter_create(flags->sort_into, (sort_by)flags->sort_by, K, info->class_names,
                              flags->threshold > 0, &c->sorter));
    }
cleanup:
    return status;
}

static void classifier_free(classifier *c) {
    sorter_free(c->sorter);
    vit_classifier_free(c->classifier);
    vit_model_close(c->model);
    free(c->pictures);
    cli_csv_free(c->printer.csv);
}

static vit_status classify(const cli_verb *verb, const classify_flags *flags,
                           const cli_reading *reading, const cli_common *common, char **words,
                           int word_count, size_t *failures) {
    vit_status status = VIT_OK;
    classify_inputs inputs = {0};
    classifier c = {.verb = verb, .inputs = &inputs};
    cli_progress_init(&c.progress, verb, common);

    VIT_TRY(vit_model_open(&c.model, words[0], NULL));
    for (int i = 1; i < word_count; i++) {
        VIT_TRY(classify_inputs_add(&inputs, words[i]));
    }
    VIT_TRY(prepare(&c, flags, reading, common->json));
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
    return status;
}

static vit_status check_flags(const classify_flags *flags, bool json, int words) {
    if (words < 2) {
        return cli_wrong_arguments(words, "MODEL and at least one PATH");
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
    cli_reading reading = {0};
    cli_common common;
    const vit_option_group groups[] = {
        {"Classification", classify_options, CLASSIFY_OPTIONS, &flags, NULL},
        cli_reading_group(&reading),
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
