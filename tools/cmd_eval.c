#include "tools/cmd.h"
#include "tools/progress.h"

#include "eval/evaluate.h"
#include "vit/model_file.h"

#include <omp.h>
#include <stddef.h>

typedef struct eval_flags {
    char split[256];
    int batch_size;
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
};

static void show_progress(void *context, size_t done, size_t total) {
    cli_progress_count(context, "", done, total);
}

static vit_status print_json(const char *model, const char *data, const char *split,
                             const vit_eval_result *result) {
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "model", model);
    vit_json_add_string(root, "data", data);
    vit_json_add_string(root, "split", split);
    vit_json_add_number(root, "images", (double)result->images);
    vit_json_add_number(root, "skipped", (double)result->skipped);
    vit_json_add_number(root, "classes", (double)result->classes);
    vit_json_add_number(root, "top1", result->top1);
    vit_json_add_number(root, "top5", result->top5);
    vit_json_add_number(root, "loss", result->loss);
    vit_json_add_number(root, "images_per_second", result->images_per_second);
    vit_json_add_number(root, "seconds", result->seconds);
    return cli_print_json(root, true);
}

static void print_table(const char *model, const vit_dataset *dataset,
                        const vit_eval_result *result) {
    char number[32], duration[32];
    fputs("model     ", stdout);
    cli_put(stdout, model);
    fputs("\ndata      ", stdout);
    cli_put(stdout, dataset->root);
    printf("\npictures  %s in %zu classes\n", cli_thousands((double)result->images, number),
           result->classes);
    printf("top-1     %.2f %%\n", result->top1);
    printf("top-5     %.2f %%\n", result->top5);
    printf("loss      %.4f\n", result->loss);
    printf("speed     %s pictures/s (%s)\n", cli_thousands(result->images_per_second, number),
           cli_duration(result->seconds, duration));
}

static void warn_missing(const cli_verb *verb, const vit_dataset *dataset, size_t missing) {
    if (missing > 0) {
        vit_fail(VIT_OK, "%s: %zu of the model's %zu classes have no picture", dataset->root,
                 missing, dataset->class_count);
        cli_warn(verb, vit_last_error());
    }
}

/* What the figures do not show. */
static void warn_skipped(const cli_verb *verb, const vit_eval_result *result) {
    if (result->skipped > 0) {
        vit_fail(VIT_OK, "%zu of %zu pictures could not be read and were left out; the first: %s",
                 result->skipped, result->skipped + result->images, result->first_skipped);
        cli_warn(verb, vit_last_error());
    }
}

static vit_status open_data(const cli_verb *verb, const eval_flags *flags,
                            const vit_data_options *reading, const vit_model_bundle *bundle,
                            const char *data, vit_dataset **dataset) {
    size_t missing = 0;
    vit_dataset_query query = vit_data_query(reading, data, flags->split);
    query.known_classes = (const char *const *)bundle->class_names;
    query.known_count = (size_t)bundle->model.config.num_classes;
    vit_status status = vit_dataset_find(&query, dataset, &missing);
    if (status != VIT_OK) {
        return status;
    }
    warn_missing(verb, *dataset, missing);
    if ((*dataset)->whole) {
        vit_fail(VIT_OK,
                 "%s: is not divided into train and val; measuring on all its pictures (with "
                 "--val-split as in training, only on those that were held out)",
                 data);
        cli_warn(verb, vit_last_error());
    }
    return VIT_OK;
}

static vit_status evaluate(const cli_verb *verb, const eval_flags *flags,
                           const vit_data_options *reading, const cli_common *common,
                           const char *path, const char *data) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_dataset *dataset = NULL;
    vit_evaluator *evaluator = NULL;
    vit_eval_result result = {0};
    cli_progress progress;
    cli_progress_init(&progress, verb, common);

    VIT_TRY(vit_model_bundle_load(path, &bundle));
    VIT_TRY(open_data(verb, flags, reading, bundle, data, &dataset));
    VIT_TRY(vit_evaluator_create(&bundle->model, &bundle->preprocess, dataset,
                                 (size_t)flags->batch_size, omp_get_max_threads(), reading,
                                 &evaluator));
    status = vit_evaluate(evaluator, bundle->params, show_progress, &progress, NULL, &result);
    cli_progress_clear(&progress);
    VIT_TRY(status);
    warn_skipped(verb, &result);
    if (common->json) {
        VIT_TRY(print_json(path, data, flags->split, &result));
    } else {
        print_table(path, dataset, &result);
    }
cleanup:
    vit_evaluator_free(evaluator);
    vit_dataset_free(dataset);
    vit_model_bundle_free(bundle);
    return status;
}

int cmd_eval(const cli_verb *verb, int argc, char **argv) {
    eval_flags flags;
    vit_data_options reading = {0};
    cli_common common;
    const vit_option_group groups[] = {
        {"Evaluation", eval_options, sizeof eval_options / sizeof *eval_options, &flags, NULL},
        vit_data_group(&reading, VIT_DATA_ROWS_EVAL),
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 2) {
        vit_fail(VIT_ERROR_ARGUMENT, "%d arguments (expected two: MODEL DATA)", words);
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    if (evaluate(verb, &flags, &reading, &common, argv[0], argv[1]) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, CLI_DONE);
}
