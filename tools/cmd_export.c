#include "tools/cmd.h"
#include "tools/progress.h"

#include "vit/export.h"

#include <stddef.h>

typedef struct export_flags {
    int format; /* vit_export_format */
    char out[4096];
    int sample;
} export_flags;

static const vit_option export_options[] = {
    {.name = "format",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(export_flags, format),
     .choices = vit_export_format_names,
     .value = "timm",
     .help = &(VIT_EXPORT_HELP)[2]},
    {.name = "out",
     .letter = 'o',
     .type = VIT_OPT_STRING,
     .offset = offsetof(export_flags, out),
     .count = sizeof((export_flags *)0)->out,
     .metavar = "DIR|FILE",
     .help = "folder for model.safetensors and config.json (model.onnx, ...), or FILE.safetensors "
             "(FILE.onnx, ...) for that file and FILE.json; files of these names are replaced"},
    {.name = "sample",
     .type = VIT_OPT_INT,
     .offset = offsetof(export_flags, sample),
     .min = 0,
     .max = 1000,
     .value = "0",
     .help = "also write sample.safetensors: so many random pictures and the logits that the model "
             "gives them, to compare with"},
};
enum { EXPORT_OPTIONS = sizeof export_options / sizeof *export_options };

static void show_progress(void *context, size_t done, size_t total) {
    cli_progress_count(context, "computing the sample", done, total);
}

static vit_status write_sample(const cli_verb *verb, const cli_common *common,
                               const vit_model_bundle *bundle, size_t count, const char *path) {
    cli_progress progress;
    cli_progress_init(&progress, verb, common);
    vit_status status = vit_export_sample(bundle, count, 1, path, show_progress, &progress);
    cli_progress_clear(&progress);
    return status;
}

static vit_status write_all(const cli_verb *verb, const cli_common *common,
                            const export_flags *flags, const char *path, vit_export_paths *paths) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_export_format format = (vit_export_format)flags->format;
    VIT_TRY(vit_model_bundle_load(path, &bundle));
    if (bundle->model.int8 && format != VIT_EXPORT_INT8) {
        cli_warn(verb, "%s: int8 weights, written as the floats that they stand for", path);
        vit_model_bundle_dequantise(bundle);
    }
    VIT_TRY(vit_export_check(bundle, format));
    VIT_TRY(vit_export_place(format, flags->out, paths));
    VIT_TRY(vit_export(bundle, format, paths));
    if (flags->sample > 0) {
        VIT_TRY(write_sample(verb, common, bundle, (size_t)flags->sample, paths->sample));
    }
cleanup:
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status print_json(const export_flags *flags, const char *model,
                             const vit_export_paths *paths) {
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "model", model);
    vit_json_add_string(root, "format", vit_export_format_names[flags->format]);
    vit_json_add_string(root, "weights", paths->weights);
    if (paths->config[0]) {
        vit_json_add_string(root, "config", paths->config);
    }
    if (flags->sample > 0) {
        vit_json_add_string(root, "sample", paths->sample);
    }
    return cli_print_json(root, true);
}

static void print_line(const char *what, const char *path) {
    printf("%-8s  ", what);
    cli_put(stdout, path);
    putchar('\n');
}

int cmd_export(const cli_verb *verb, int argc, char **argv) {
    export_flags flags;
    cli_common common;
    vit_export_paths paths;
    const vit_option_group groups[] = {
        {.title = "Export", .options = export_options, .count = EXPORT_OPTIONS, .target = &flags},
        cli_common_group(&common, true),
    };
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 2, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 1) {
        cli_wrong_arguments(words, "one: MODEL");
        return cli_fail_usage(verb);
    }
    if (flags.out[0] == 0) {
        vit_fail(VIT_ERROR_ARGUMENT, "--out is missing (expected a folder or FILE.safetensors)");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    if (write_all(verb, &common, &flags, argv[0], &paths) != VIT_OK) {
        return cli_fail(verb);
    }
    if (common.json) {
        return print_json(&flags, argv[0], &paths) == VIT_OK ? cli_finish(verb, CLI_DONE)
                                                             : cli_fail(verb);
    }
    print_line("weights", paths.weights);
    if (paths.config[0]) {
        print_line("config", paths.config);
    }
    if (flags.sample > 0) {
        print_line("sample", paths.sample);
    }
    return cli_finish(verb, CLI_DONE);
}
