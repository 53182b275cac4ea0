#include "tools/cmd.h"
#include "tools/progress.h"
#include "tools/run_report.h"

#include "train/run_folder.h"
#include "train/settings.h"
#include "vit/arena.h"

#include <limits.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct report_flags {
    char out[PATH_MAX];
} report_flags;

static const vit_option report_options[] = {
    {.name = "out",
     .letter = 'o',
     .type = VIT_OPT_STRING,
     .offset = offsetof(report_flags, out),
     .count = sizeof((report_flags *)0)->out,
     .metavar = "FILE",
     .help = "HTML file to write; the plots and tables go into its folder (default "
             "RUN/report.html)"},
};

/* What is found of a run. */
typedef struct found_run {
    const cli_verb *verb;
    const char *run;
    vit_json *args, *machine;
    vit_train_settings settings;
    unsigned char *sources;
    vit_option_group groups[VIT_SETTING_GROUPS];
    vit_model_bundle *bundle; /* NULL when no epoch was finished */
    vit_dataset *train, *val;
    vit_outcome *outcome;
    char note[2 * VIT_MESSAGE_MAX]; /* why something is left out; empty: nothing is */
} found_run;

static void found_free(found_run *f) {
    vit_outcome_free(f->outcome);
    vit_dataset_free(f->train);
    vit_dataset_free(f->val);
    vit_model_bundle_free(f->bundle);
    vit_json_free(f->args);
    vit_json_free(f->machine);
    free(f->sources);
}

/* Says why something is left out, here and in the report. Only the first reason: the others follow
 * from it. */
static void leave_out(found_run *f, const char *what) {
    if (*f->note == 0) {
        snprintf(f->note, sizeof f->note, "%s: %s", what, vit_last_error());
        cli_warn(f->verb, "%s", f->note);
    }
}

/* Whether RUN/NAME is there. */
static bool has_file(const found_run *f, const char *name, char path[PATH_MAX]) {
    struct stat info;
    return vit_path_join(path, PATH_MAX, f->run, name) == VIT_OK && stat(path, &info) == 0;
}

static vit_status check_folder(const found_run *f) {
    struct stat info;
    char path[PATH_MAX];
    if (stat(f->run, &info) != 0) {
        return vit_fail(VIT_ERROR_IO, "%s: no such folder (expected one that zvit train made)",
                        f->run);
    }
    if (!S_ISDIR(info.st_mode) || !has_file(f, "args.json", path)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s: holds no run (expected a folder with args.json and log.csv, as zvit "
                        "train makes it)",
                        f->run);
    }
    return VIT_OK;
}

static vit_status read_settings(found_run *f) {
    char path[PATH_MAX];
    vit_status status = VIT_OK;
    f->sources = calloc(vit_train_setting_count(), 1);
    if (!f->sources) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "out of memory for the settings"));
    }
    vit_train_setting_groups(&f->settings, f->sources, f->groups);
    VIT_TRY(vit_path_join(path, sizeof path, f->run, "args.json"));
    VIT_TRY(vit_run_folder_args(f->run, &f->args));
    for (size_t g = 0; g < VIT_SETTING_GROUPS; g++) {
        VIT_TRY(vit_options_defaults(&f->groups[g]));
        VIT_TRY(vit_options_from_json(&f->groups[g], f->args, path, VIT_FROM_DEFAULT));
    }
    vit_settings_restore_sources(f->groups, f->args);
    snprintf(f->settings.model.architecture, sizeof f->settings.model.architecture, "%s",
             vit_json_string(vit_json_get(f->args, "model"), "custom"));
    VIT_TRY(vit_train_settings_check(&f->settings));
    VIT_TRY(vit_config_check(&f->settings.model));
    if (has_file(f, "machine.json", path) && vit_json_read(path, 1 << 20, &f->machine) != VIT_OK) {
        leave_out(f, "without the machine");
    }
cleanup:
    return status;
}

static vit_status open_model(found_run *f) {
    char path[PATH_MAX];
    if (!has_file(f, "best.safetensors", path)) {
        vit_fail(VIT_OK, "the run has finished no epoch");
        leave_out(f, "without figures of a model");
        return VIT_OK;
    }
    vit_status status = vit_model_bundle_load(f->run, &f->bundle);
    if (status != VIT_OK && status != VIT_ERROR_MEMORY) {
        leave_out(f, "without figures of the model");
        status = VIT_OK;
    }
    return status;
}

/* Opens a split with the model's classes, when there is one. */
static vit_status open_split(const found_run *f, const char *data, const char *split,
                             vit_dataset **out) {
    vit_dataset_query query = vit_data_query(&f->settings.data, data, split);
    size_t missing = 0;
    bool has = false;
    vit_status status = VIT_OK;
    if (f->bundle) {
        query.known_classes = (const char *const *)f->bundle->class_names;
        query.known_count = (size_t)f->bundle->model.config.num_classes;
    }
    VIT_TRY(vit_dataset_has(&query, &has));
    if (has) {
        VIT_TRY(vit_dataset_find(&query, out, &missing));
    }
cleanup:
    return status;
}

static vit_status open_data(found_run *f, const char *data) {
    vit_status status = VIT_OK;
    VIT_TRY(open_split(f, data, "train", &f->train));
    if (!f->train) {
        VIT_TRY(vit_fail(VIT_ERROR_IO, "%s: no pictures to train on", data));
    }
    VIT_TRY(open_split(f, data, "val", &f->val));
cleanup:
    if (status != VIT_OK && status != VIT_ERROR_MEMORY) {
        leave_out(f, "without pictures and what was measured on them");
        status = VIT_OK;
    }
    return status;
}

static void show_progress(void *context, size_t done, size_t total) {
    cli_progress_count(context, "measuring", done, total);
}

static vit_status measure(found_run *f, const char *data, const cli_common *common) {
    vit_status status = VIT_OK;
    vit_evaluator *evaluator = NULL;
    float *logits = NULL;
    vit_eval_result result;
    vit_data_options reading = f->settings.data;
    cli_progress progress;
    size_t K = (size_t)f->bundle->model.config.num_classes, values;
    reading.on_error = VIT_ON_ERROR_SKIP;
    if (__builtin_mul_overflow(f->val->count, K, &values)) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", data);
    }
    cli_progress_init(&progress, f->verb, common);
    VIT_TRY(vit_alloc((void **)&logits, values, sizeof *logits, "logits"));
    VIT_TRY(vit_evaluator_create(&f->bundle->model, &f->bundle->preprocess, f->val, 64,
                                 omp_get_max_threads(), &reading, &evaluator));
    status = vit_evaluate(evaluator, f->bundle->params, show_progress, &progress, logits, &result);
    cli_progress_clear(&progress);
    VIT_TRY(status);
    VIT_TRY(vit_outcome_create(f->val, K, (const char *const *)f->bundle->class_names, logits, 5,
                               &f->outcome));
    f->outcome->model = f->run;
    f->outcome->data = data;
    f->outcome->split = "val";
    f->outcome->seconds = result.seconds;
    f->outcome->images_per_second = result.images_per_second;
cleanup:
    vit_evaluator_free(evaluator);
    vit_free(logits);
    return status;
}

/* The folder that path lies in. */
static void folder_of(const char *path, char folder[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (!slash) {
        snprintf(folder, PATH_MAX, ".");
    } else {
        snprintf(folder, PATH_MAX, "%.*s", (int)(length > 0 ? length : 1), path);
    }
}

static vit_status print_result(const found_run *f, const char *path, bool json) {
    if (!json) {
        fputs("report  ", stdout);
        cli_put(stdout, path);
        putchar('\n');
        return VIT_OK;
    }
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "run", f->run);
    vit_json_add_string(root, "report", path);
    if (*f->note) {
        vit_json_add_string(root, "note", f->note);
    }
    return cli_print_json(root, true);
}

static vit_status write_report(found_run *f, const char *data, const char *out, bool json) {
    char path[PATH_MAX], folder[PATH_MAX];
    const char *left_out = NULL;
    vit_samples_config samples;
    vit_status status = VIT_OK;
    if (*out) {
        snprintf(path, sizeof path, "%s", out);
    } else {
        VIT_TRY(vit_path_join(path, sizeof path, f->run, "report.html"));
    }
    folder_of(path, folder);
    vit_report report = {
        .run = f->run,
        .data = data,
        .parameters = f->bundle ? (double)f->bundle->model.params.total : 0,
        .val = f->val,
        .outcome = f->outcome,
        .machine = f->machine,
        .note = *f->note ? f->note : NULL,
    };
    cli_report_settings(&report, &f->settings, f->groups, f->train, &samples);
    VIT_TRY(cli_write_report(&report, path, folder, &left_out));
    if (left_out) {
        cli_warn(f->verb, "%s", left_out);
    }
    VIT_TRY(print_result(f, path, json));
cleanup:
    return status;
}

static vit_status report(const cli_verb *verb, const report_flags *flags, const cli_common *common,
                         const char *run) {
    found_run f = {.verb = verb, .run = run};
    vit_status status = VIT_OK;
    VIT_TRY(check_folder(&f));
    VIT_TRY(read_settings(&f));
    const char *data = vit_json_string(vit_json_get(f.args, "data"), "");
    VIT_TRY(open_model(&f));
    VIT_TRY(open_data(&f, data));
    if (f.val && f.bundle) {
        status = measure(&f, data, common);
        if (status != VIT_OK && status != VIT_ERROR_MEMORY) {
            leave_out(&f, "without what was measured");
            status = VIT_OK;
        }
        VIT_TRY(status);
    }
    VIT_TRY(write_report(&f, data, flags->out, common->json));
cleanup:
    found_free(&f);
    return status;
}

int cmd_report(const cli_verb *verb, int argc, char **argv) {
    report_flags flags;
    cli_common common;
    const vit_option_group groups[] = {
        {"Report", report_options, sizeof report_options / sizeof *report_options, &flags, NULL},
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 2, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 1) {
        cli_wrong_arguments(words, "one: RUN");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    if (report(verb, &flags, &common, argv[0]) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, CLI_DONE);
}
