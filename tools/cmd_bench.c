#include "tools/bench/bench.h"
#include "tools/cmd.h"
#include "tools/machine.h"
#include "tools/progress.h"

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct bench_flags {
    char model[64];
    bench_settings settings; /* all but the model and DATA */
} bench_flags;

#define FIELD(member) offsetof(bench_flags, settings.member)

static const vit_option bench_options[] = {
    {.name = "model",
     .type = VIT_OPT_STRING,
     .offset = offsetof(bench_flags, model),
     .count = sizeof((bench_flags *)0)->model,
     .value = "zeros_mini_patch8_64",
     .names = vit_config_preset_names,
     .metavar = "NAME",
     .help = "named model whose shapes are measured; the list is below"},
    {.name = "batch-size",
     .letter = 'b',
     .type = VIT_OPT_INT,
     .offset = FIELD(batch_size),
     .min = 1,
     .max = 65536,
     .value = "32",
     .help = "pictures in a step of training, in a batch of infer, in a batch of the loader"},
    {.name = "pictures",
     .type = VIT_OPT_INT,
     .offset = FIELD(pictures),
     .min = 1,
     .max = 4096,
     .value = "4",
     .help = "pictures in one product"},
    {.name = "repeats",
     .type = VIT_OPT_INT,
     .offset = FIELD(repeats),
     .min = 1,
     .max = BENCH_MAX_REPEATS,
     .value = "9",
     .help = "timings of which the median is taken; of what takes seconds fewer are made"},
    {.name = "tokens",
     .type = VIT_OPT_INT,
     .offset = FIELD(tokens),
     .count = BENCH_MAX_TOKENS,
     .min_count = 1,
     .min = 1,
     .max = 1 << 20,
     .value = "196 784 3136 12544",
     .help = "attention: lengths to measure, growing"},
    {.name = "fast-decode",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(fast_decode),
     .value = "true",
     .help = "loader: decode large JPEGs at a fraction of their size, as in training"},
    {.name = "int8",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(int8),
     .help = "infer: also with int8 weights, in turns with float ones"},
};

/* What can be measured. */
typedef struct bench_kind {
    const char *name;
    bool data;       /* takes DATA, and no model */
    bool one_thread; /* whatever --threads says */
    vit_status (*run)(const bench_settings *settings, bench_report *report);
} bench_kind;

static const bench_kind kinds[] = {
    {.name = "gemm", .run = bench_gemm},
    {.name = "train", .run = bench_train},
    {.name = "infer", .run = bench_infer},
    {.name = "attention", .one_thread = true, .run = bench_attention},
    {.name = "loader", .data = true, .run = bench_loader},
    {.name = "startup", .run = bench_startup},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

const char *cmd_bench_word(size_t index) {
    return index < KINDS ? kinds[index].name : NULL;
}

static vit_status print_json(const char *what, const cli_machine *machine, int threads,
                             const bench_report *report) {
    vit_json *root = vit_json_object(), *results = vit_json_array();
    vit_json_add_string(root, "bench", what);
    vit_json_add_number(root, "threads", threads);
    vit_json_add_string(root, "blas", machine->blas);
    vit_json_add_string(root, "blas_kernel", machine->kernel);
    vit_json_add_string(root, "cpu", machine->cpu);
    for (size_t i = 0; i < report->count; i++) {
        const bench_result *result = &report->results[i];
        vit_json *entry = vit_json_object();
        vit_json_add_string(entry, "name", result->name);
        vit_json_add_number(entry, "value", result->value);
        vit_json_add_string(entry, "unit", result->unit);
        vit_json_add_number(entry, "ceiling_share", result->ceiling_share);
        vit_json_add(results, NULL, entry);
    }
    vit_json_add(root, "results", results);
    return cli_print_json(root, true);
}

static void print_table(const char *what, const char *subject, const cli_machine *machine,
                        int threads, const bench_report *report) {
    printf("bench %s, ", what);
    cli_put(stdout, subject);
    printf(", %d thread%s, ", threads, threads == 1 ? "" : "s");
    cli_put(stdout, machine->cpu);
    printf(", %s, %s kernel\n", machine->blas, machine->kernel);
    for (size_t i = 0; i < report->count; i++) {
        const bench_result *result = &report->results[i];
        printf("%-44s %10.*f %-9s", result->name, result->value < 10 ? 3 : 1, result->value,
               result->unit);
        if (!isnan(result->ceiling_share)) {
            printf(" %5.1f %% of the ceiling", 100 * result->ceiling_share);
        }
        putchar('\n');
    }
}

static vit_status run(const cli_verb *verb, const bench_kind *kind, bench_flags *flags,
                      const cli_common *common) {
    vit_status status = VIT_OK;
    bench_report report = {.count = 0};
    bench_settings *settings = &flags->settings;
    char warning[512];
    cli_progress progress;
    cli_machine machine = cli_machine_look();
    settings->threads = kind->one_thread ? 1 : omp_get_max_threads();
    if (!kind->data) {
        VIT_TRY(vit_config_preset(flags->model, &settings->model));
    }
    cli_progress_init(&progress, verb, common);
    settings->listener = cli_progress_timings;
    settings->listener_context = &progress;
    status = kind->run(settings, &report);
    cli_progress_clear(&progress);
    VIT_TRY(status);
    if (cli_machine_blas_warning(&machine, warning, sizeof warning)) {
        cli_warn(verb, "%s", warning);
    }
    if (common->json) {
        VIT_TRY(print_json(kind->name, &machine, settings->threads, &report));
    } else {
        print_table(kind->name, kind->data ? settings->data : flags->model, &machine,
                    settings->threads, &report);
    }
cleanup:
    return status;
}

/* The kind that the words name, or NULL with the message. */
static const bench_kind *find_kind(const char *word, int words) {
    const char *names[KINDS];
    char list[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < KINDS; i++) {
        const bench_kind *kind = &kinds[i];
        names[i] = kind->name;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s%s", i > 0 ? ", " : "",
                                 kind->name, kind->data ? " DATA" : "");
        if (word == NULL || strcmp(word, kind->name) != 0) {
            continue;
        }
        if (words == (kind->data ? 2 : 1)) {
            return kind;
        }
        vit_fail(VIT_ERROR_ARGUMENT, "%s: %d argument%s after it (expected %s)", word, words - 1,
                 words == 2 ? "" : "s", kind->data ? "one: DATA" : "none");
        return NULL;
    }
    if (word == NULL) {
        vit_fail(VIT_ERROR_ARGUMENT, "no argument (expected one of %s)", list);
        return NULL;
    }
    const char *nearest = cli_nearest(word, names, KINDS);
    vit_fail(VIT_ERROR_ARGUMENT, "%s: nothing to measure (expected one of %s%s%s)", word, list,
             nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
    return NULL;
}

int cmd_bench(const cli_verb *verb, int argc, char **argv) {
    bench_flags flags = {0};
    cli_common common;
    const vit_option_group groups[] = {
        {"Measuring", bench_options, sizeof bench_options / sizeof *bench_options, &flags, NULL},
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 2, argc, argv, &words, &code)) {
        return code;
    }
    const bench_kind *kind = find_kind(words > 0 ? argv[0] : NULL, words);
    if (kind == NULL) {
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    flags.settings.data = words == 2 ? argv[1] : NULL;
    vit_status status = run(verb, kind, &flags, &common);
    if (status == VIT_ERROR_ARGUMENT) {
        return cli_fail_usage(verb);
    }
    return cli_finish(verb, status == VIT_OK ? CLI_DONE : cli_fail(verb));
}
