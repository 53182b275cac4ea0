#include "tools/bench/bench.h"
#include "tools/cmd.h"
#include "tools/machine.h"

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <string.h>

typedef struct bench_flags {
    char model[64];
    int batch_size, pictures, repeats;
    bool fast_decode;
} bench_flags;

static const vit_option bench_options[] = {
    {.name = "model",
     .type = VIT_OPT_STRING,
     .offset = offsetof(bench_flags, model),
     .count = sizeof((bench_flags *)0)->model,
     .value = "zeros_mini_patch8_64",
     .metavar = "NAME",
     .help = "named model whose shapes are measured; zvit train --help lists them"},
    {.name = "batch-size",
     .letter = 'b',
     .type = VIT_OPT_INT,
     .offset = offsetof(bench_flags, batch_size),
     .min = 1,
     .max = 65536,
     .value = "64",
     .help = "pictures in a step of training, or in a batch of the loader"},
    {.name = "pictures",
     .type = VIT_OPT_INT,
     .offset = offsetof(bench_flags, pictures),
     .min = 1,
     .max = 4096,
     .value = "4",
     .help = "pictures in one product"},
    {.name = "repeats",
     .type = VIT_OPT_INT,
     .offset = offsetof(bench_flags, repeats),
     .min = 1,
     .max = 100,
     .value = "9",
     .help = "timings of which the median is taken"},
    {.name = "fast-decode",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(bench_flags, fast_decode),
     .value = "true",
     .help = "loader: decode large JPEGs at a fraction of their size, as in training"},
};

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
    printf(", %d threads, ", threads);
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

static vit_status bench_model(const bench_settings *settings, bool train, size_t pictures,
                              bench_report *report) {
    vit_status status;
    vit_model model = {0};
    bench_report products = {.count = 0};
    double rate = 0;
    VIT_TRY(vit_model_init(&model, &settings->model));
    VIT_TRY(bench_gemm(settings, &model, pictures, train ? &products : report, &rate));
    if (train) {
        VIT_TRY(bench_train(settings, &model, rate, report));
        bench_add(report, "the model's products", rate * 1e-9, "GFLOP/s", NAN);
    }
cleanup:
    vit_model_free(&model);
    return status;
}

/* data: the folder that the loader reads, else NULL. */
static vit_status run(const char *what, const char *data, const bench_flags *flags,
                      const cli_common *common) {
    vit_status status = VIT_OK;
    bench_report report = {.count = 0};
    bench_settings settings = {.threads = omp_get_max_threads(),
                               .batch_size = flags->batch_size,
                               .repeats = flags->repeats,
                               .fast_decode = flags->fast_decode};
    cli_machine machine = cli_machine_look();
    if (data) {
        VIT_TRY(bench_loader(&settings, data, &report));
    } else {
        VIT_TRY(vit_config_preset(flags->model, &settings.model));
        VIT_TRY(
            bench_model(&settings, strcmp(what, "train") == 0, (size_t)flags->pictures, &report));
    }
    if (common->json) {
        VIT_TRY(print_json(what, &machine, settings.threads, &report));
    } else {
        print_table(what, data ? data : flags->model, &machine, settings.threads, &report);
    }
cleanup:
    return status;
}

/* What can be measured, and how many words that takes. */
static const struct {
    const char *name;
    int words;
} kinds[] = {{"gemm", 1}, {"train", 1}, {"loader", 2}};

/* The index in kinds, or -1 with the message. */
static int find_kind(const char *word, int words) {
    const char *names[] = {kinds[0].name, kinds[1].name, kinds[2].name, NULL};
    for (int i = 0; names[i]; i++) {
        if (strcmp(word, names[i]) == 0 && words == kinds[i].words) {
            return i;
        }
        if (strcmp(word, names[i]) == 0) {
            vit_fail(VIT_ERROR_ARGUMENT, "%s: %d arguments after it (expected %s)", word, words - 1,
                     kinds[i].words == 1 ? "none" : "one: DATA");
            return -1;
        }
    }
    const char *nearest = cli_nearest(word, names);
    vit_fail(VIT_ERROR_ARGUMENT, "%s: nothing to measure (expected gemm, train or loader%s%s)",
             word, nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
    return -1;
}

int cmd_bench(const cli_verb *verb, int argc, char **argv) {
    bench_flags flags;
    cli_common common;
    const vit_option_group groups[] = {
        {"Measuring", bench_options, sizeof bench_options / sizeof *bench_options, &flags, NULL},
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 2, argc, argv, &words, &code)) {
        return code;
    }
    if (words < 1) {
        vit_fail(VIT_ERROR_ARGUMENT, "no argument (expected gemm, train, or loader DATA)");
        return cli_fail_usage(verb);
    }
    int kind = find_kind(argv[0], words);
    if (kind < 0) {
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    vit_status status = run(argv[0], words == 2 ? argv[1] : NULL, &flags, &common);
    if (status == VIT_ERROR_ARGUMENT) {
        return cli_fail_usage(verb);
    }
    return cli_finish(verb, status == VIT_OK ? CLI_DONE : cli_fail(verb));
}
