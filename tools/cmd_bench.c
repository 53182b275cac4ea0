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
     .help = "train: pictures in a step"},
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

static void print_table(const char *what, const char *model, const cli_machine *machine,
                        int threads, const bench_report *report) {
    printf("bench %s, %s, %d threads, ", what, model, threads);
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

static vit_status run(const char *what, const bench_flags *flags, const cli_common *common) {
    vit_status status = VIT_OK;
    vit_model model = {0};
    bench_report products = {.count = 0}, steps = {.count = 0};
    double rate = 0;
    bench_settings settings = {.threads = omp_get_max_threads(),
                               .batch_size = flags->batch_size,
                               .repeats = flags->repeats};
    bool train = strcmp(what, "train") == 0;
    cli_machine machine = cli_machine_look();
    VIT_TRY(vit_config_preset(flags->model, &settings.model));
    VIT_TRY(vit_model_init(&model, &settings.model));
    VIT_TRY(bench_gemm(&settings, &model, (size_t)flags->pictures, &products, &rate));
    if (train) {
        VIT_TRY(bench_train(&settings, &model, rate, &steps));
        bench_add(&steps, "the model's products", rate * 1e-9, "GFLOP/s", NAN);
    }
    const bench_report *report = train ? &steps : &products;
    if (common->json) {
        VIT_TRY(print_json(what, &machine, settings.threads, report));
    } else {
        print_table(what, flags->model, &machine, settings.threads, report);
    }
cleanup:
    vit_model_free(&model);
    return status;
}

int cmd_bench(const cli_verb *verb, int argc, char **argv) {
    static const char *const kinds[] = {"gemm", "train", NULL};
    bench_flags flags;
    cli_common common;
    const vit_option_group groups[] = {
        {"Measuring", bench_options, sizeof bench_options / sizeof *bench_options, &flags, NULL},
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 2, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 1) {
        vit_fail(VIT_ERROR_ARGUMENT, "%d arguments (expected one: gemm or train)", words);
        return cli_fail_usage(verb);
    }
    if (strcmp(argv[0], kinds[0]) != 0 && strcmp(argv[0], kinds[1]) != 0) {
        const char *nearest = cli_nearest(argv[0], kinds);
        vit_fail(VIT_ERROR_ARGUMENT, "%s: nothing to measure (expected gemm or train%s%s)", argv[0],
                 nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    vit_status status = run(argv[0], &flags, &common);
    if (status == VIT_ERROR_ARGUMENT) {
        return cli_fail_usage(verb);
    }
    return cli_finish(verb, status == VIT_OK ? CLI_DONE : cli_fail(verb));
}
