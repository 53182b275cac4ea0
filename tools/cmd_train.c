#include "tools/cmd.h"
#include "tools/machine.h"
#include "tools/progress.h"
#include "tools/ranks.h"
#include "tools/run_report.h"
#include "tools/signals.h"

#include "train/recipes.h"
#include "train/run_folder.h"
#include "train/settings.h"
#include "train/trainer.h"

#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct train_flags {
    char out[PATH_MAX];
    char resume[PATH_MAX];
    bool override;
    bool report;
} train_flags;

static const vit_option train_options[] = {
    {.name = "out",
     .letter = 'o',
     .type = VIT_OPT_STRING,
     .offset = offsetof(train_flags, out),
     .count = sizeof((train_flags *)0)->out,
     .metavar = "RUN",
     .help = "folder for the results, which must not hold a run yet (default "
             "runs/DATE-TIME-MODEL)"},
    {.name = "resume",
     .type = VIT_OPT_STRING,
     .offset = offsetof(train_flags, resume),
     .count = sizeof((train_flags *)0)->resume,
     .metavar = "RUN",
     .help = "go on with a run from its last checkpoint, with its settings and, unless given, its "
             "DATA; in place of --out and --config"},
    {.name = "override",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(train_flags, override),
     .help = "let flags and data differ from those that a resumed run began with"},
    {.name = "report",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(train_flags, report),
     .value = "true",
     .help = "write RUN/report.html after each epoch, and at the end the plots and tables that "
             "belong to it"},
};
enum {
    TRAIN_OPTIONS = sizeof train_options / sizeof *train_options,
    GROUPS = VIT_SETTING_GROUPS + 3
};

/* Everything the command line is bound to. */
typedef struct request {
    vit_settings_start start;
    unsigned char start_sources[VIT_SETTINGS_START_OPTIONS];
    train_flags flags;
    cli_common common;
    vit_train_settings settings;
    unsigned char *sources; /* of the settings */
    vit_option_group groups[GROUPS];
    const vit_option_group *setting_groups; /* VIT_SETTING_GROUPS of them, in groups */
    const char *data;
    char resumed_data[PATH_MAX]; /* what a resumed run was trained on */
} request;

static vit_status request_init(request *r) {
    r->sources = calloc(vit_train_setting_count(), 1);
    if (r->sources == NULL) {
        return vit_fail(VIT_ERROR_MEMORY, "out of memory for the settings");
    }
    r->groups[0] = (vit_option_group){"Start", vit_settings_start_options,
                                      VIT_SETTINGS_START_OPTIONS, &r->start, r->start_sources};
    r->groups[1] = (vit_option_group){"Run", train_options, TRAIN_OPTIONS, &r->flags, NULL};
    vit_train_setting_groups(&r->settings, r->sources, &r->groups[2]);
    r->groups[GROUPS - 1] = cli_common_group(&r->common, true);
    r->setting_groups = &r->groups[2];
    return VIT_OK;
}

/* ---- settings: default < model < recipe < --config < command line ---- */

static vit_status set_defaults(request *r) {
    vit_status status = VIT_OK;
    for (size_t i = 0; i < GROUPS && status == VIT_OK; i++) {
        status = vit_options_defaults(&r->groups[i]);
    }
    return status == VIT_OK ? vit_settings_defaults(&r->settings, r->setting_groups) : status;
}

/* The folder's name when none was given: runs/20260131-184500-zeros_mini_patch8_64. */
static void name_run(train_flags *flags, const char *architecture) {
    char stamp[32] = "run";
    struct tm local;
    time_t now = time(NULL);
    if (localtime_r(&now, &local) != NULL) {
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &local);
    }
    snprintf(flags->out, sizeof flags->out, "runs/%s-%s", stamp, architecture);
}

/* A copy of the words for the first pass: parsing moves them about. */
static char **copy_words(int argc, char **argv) {
    char **copy = malloc(((size_t)argc + 1) * sizeof *copy);
    if (copy == NULL) {
        vit_fail(VIT_ERROR_MEMORY, "out of memory for the command line");
        return NULL;
    }
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
    copy[argc] = NULL;
    return copy;
}

/* Whether the command line has this setting. */
static bool was_given(const request *r, const char *name) {
    for (size_t g = 0; g < VIT_SETTING_GROUPS; g++) {
        const vit_option_group *group = &r->setting_groups[g];
        for (size_t i = 0; i < group->count; i++) {
            if (strcmp(group->options[i].name, name) == 0) {
                return group->sources[i] == VIT_FROM_USER;
            }
        }
    }
    return false;
}

/* The settings of the run that --resume names stand in for --config. */
static vit_status find_resumed(request *r, vit_settings_layers *found, vit_json **file) {
    if (*r->flags.out != 0 || *r->start.config != 0) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--resume %s: does not go with --%s (expected the run's own)",
                        r->flags.resume, *r->flags.out != 0 ? "out" : "config");
    }
    found->resumed = true;
    vit_status status = vit_run_folder_args(r->flags.resume, file);
    if (status == VIT_OK) {
        status = vit_settings_check_file(r->setting_groups, *file, r->flags.resume);
    }
    if (status == VIT_OK) {
        const char *data = vit_json_string(vit_json_get(*file, "data"), "");
        snprintf(r->resumed_data, sizeof r->resumed_data, "%s", data);
    }
    return status;
}

/* What the settings are laid over each other from; *file is the caller's. */
static vit_status find_layers(request *r, int argc, char **argv, vit_settings_layers *found,
                              vit_json **file) {
    vit_status status = VIT_OK;
    int words = 0;
    VIT_TRY(set_defaults(r));
    VIT_TRY(vit_options_parse(r->groups, GROUPS, argc, argv, &words));
    found->model_given = r->start_sources[0] == VIT_FROM_USER;
    found->recipe_given = was_given(r, "recipe");
    memcpy(found->model, r->start.model, sizeof found->model);
    memcpy(found->recipe, r->settings.recipe.recipe, sizeof found->recipe);
    if (*r->flags.resume != 0) {
        VIT_TRY(find_resumed(r, found, file));
    } else if (*r->start.config != 0) {
        VIT_TRY(vit_settings_read_file(r->start.config, r->setting_groups, file));
    }
    found->file = *file;
    vit_settings_choose(found);
cleanup:
    return status;
}

static vit_status apply_all(request *r, vit_settings_layers *layers, int argc, char **argv) {
    vit_status status = VIT_OK;
    int words = 0;
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s", layers->resumed ? r->flags.resume : r->start.config);
    layers->file_name = name;
    VIT_TRY(set_defaults(r));
    VIT_TRY(vit_settings_lay(layers, &r->settings, r->setting_groups));
    int began_with = r->settings.recipe.batch_size;
    VIT_TRY(vit_options_parse(r->groups, GROUPS, argc, argv, &words));
    if (layers->resumed && r->settings.recipe.batch_size == 0) {
        r->settings.recipe.batch_size = began_with; /* auto: as it was chosen then */
    }
    if (words != 1 && !(words == 0 && *r->resumed_data != 0)) {
        VIT_TRY(cli_wrong_arguments(words, "one: DATA"));
    }
    r->data = words == 1 ? argv[0] : r->resumed_data;
    if (layers->resumed) {
        memcpy(r->flags.out, r->flags.resume, sizeof r->flags.out);
    }
    VIT_TRY(vit_settings_finish(&r->settings, r->setting_groups));
    if (*r->flags.out == 0) {
        name_run(&r->flags, r->settings.model.architecture);
    }
cleanup:
    layers->file_name = NULL;
    return status;
}

/* Fills the request; VIT_ERROR_ARGUMENT is wrong usage. */
static vit_status resolve(request *r, int argc, char **argv) {
    vit_status status = VIT_OK;
    vit_settings_layers layers = {0};
    vit_json *file = NULL;
    char **copy = copy_words(argc, argv);
    if (copy == NULL) {
        return VIT_ERROR_MEMORY;
    }
    VIT_TRY(find_layers(r, argc, copy, &layers, &file));
    VIT_TRY(apply_all(r, &layers, argc, argv));
cleanup:
    vit_json_free(file);
    free(copy);
    return status;
}

/* ---- the run ---- */

typedef struct display {
    const cli_verb *verb;
    const request *request;
    const cli_ranks *ranks;
    cli_progress progress;
    double share; /* of the run */
    cli_train_report report;
} display;

/* An OpenBLAS older than the processor may fall back to a kernel ten times slower, without a word.
 * Whoever chose the kernel knows. */
static void warn_of_slow_blas(const display *d) {
    char warning[512];
    cli_machine machine = cli_machine_look();
    if (getenv("OPENBLAS_CORETYPE") == NULL &&
        cli_machine_blas_warning(&machine, warning, sizeof warning)) {
        cli_warn(d->verb, "%s", warning);
    }
}

static void show_plan(void *context, const vit_memory_plan *plan, uint64_t memory) {
    display *d = context;
    char available[64] = "";
    if (memory > 0) {
        snprintf(available, sizeof available, " of %.2f GB that are available",
                 1e-9 * (double)memory);
    }
    cli_progress_say(&d->progress, "memory: %.2f GB%s", 1e-9 * (double)plan->total, available);
}

static void show_start(void *context, const vit_model *model, size_t train_images,
                       size_t val_images, int epochs) {
    display *d = context;
    char parameters[32], train[32], val[32];
    const cli_field fields[] = {
        {.key = "run", .text = d->request->flags.out},
        {.key = "architecture", .text = model->config.architecture},
        {.key = "parameters", .number = (double)model->params.total},
        {.key = "train_images", .number = (double)train_images},
        {.key = "val_images", .number = (double)val_images},
        {.key = "classes", .number = model->config.num_classes},
        {.key = "epochs", .number = epochs},
    };
    cli_progress_event(&d->progress, "start", fields, sizeof fields / sizeof *fields,
                       "%s: %s parameters; %s pictures to train on, %s to measure on, %d classes",
                       model->config.architecture,
                       cli_thousands((double)model->params.total, parameters),
                       cli_thousands((double)train_images, train),
                       cli_thousands((double)val_images, val), model->config.num_classes);
    cli_progress_say(&d->progress, "run folder: %s", d->request->flags.out);
    if (*d->ranks->placement != 0) {
        cli_progress_say(&d->progress, "%s", d->ranks->placement);
    }
    warn_of_slow_blas(d);
}

static void show_resumed(void *context, int epochs_done, size_t steps_done) {
    display *d = context;
    const cli_field fields[] = {{.key = "epochs_done", .number = epochs_done},
                                {.key = "steps_done", .number = (double)steps_done}};
    cli_progress_event(&d->progress, "resumed", fields, sizeof fields / sizeof *fields,
                       "resumed after epoch %d and step %zu of the next", epochs_done, steps_done);
}

/* In steps of the whole run, evaluation not counted. */
static void show_progress(void *context, const vit_train_progress *p) {
    display *d = context;
    char eta[32];
    double done = (double)p->run_step, total = (double)p->run_steps;
    d->share = done / total;
    const cli_field fields[] = {
        {.key = "doing", .text = "training"},
        {.key = "unit", .text = "steps"},
        {.key = "done", .number = done},
        {.key = "total", .number = total},
        {.key = "rate", .number = p->images_per_second / p->step_images},
        {.key = "eta_seconds", .number = p->eta_seconds < 0 ? NAN : p->eta_seconds},
        {.key = "epoch", .number = p->epoch},
        {.key = "lr", .number = p->lr},
        {.key = "loss", .number = p->loss},
        {.key = "images_per_second", .number = p->images_per_second},
    };
    cli_progress_show(&d->progress, d->share, fields, sizeof fields / sizeof *fields,
                      "epoch %d/%d  %.0f img/s  loss %.4f  ETA %s", p->epoch, p->epochs,
                      p->images_per_second, p->loss, cli_duration(p->eta_seconds, eta));
}

static void show_initialised(void *context, vit_init_action action, const char *tensor,
                             const char *detail) {
    display *d = context;
    const cli_field fields[] = {{.key = "action", .text = vit_init_action_names[action]},
                                {.key = "tensor", .text = tensor},
                                {.key = "detail", .text = detail}};
    cli_progress_event(&d->progress, "init", fields, sizeof fields / sizeof *fields,
                       "init: %-9s  %s%s%s%s", vit_init_action_names[action], tensor,
                       *detail ? " (" : "", detail, *detail ? ")" : "");
}

/* The bar stays that of the run. */
static void show_evaluation(void *context, size_t done, size_t total) {
    display *d = context;
    const cli_field fields[] = {{.key = "doing", .text = "measuring"},
                                {.key = "unit", .text = "pictures"},
                                {.key = "done", .number = (double)done},
                                {.key = "total", .number = (double)total}};
    cli_progress_show(&d->progress, d->share, fields, sizeof fields / sizeof *fields,
                      "measuring: %zu of %zu pictures", done, total);
}

static void show_epoch(void *context, const vit_epoch_row *row) {
    display *d = context;
    char measured[128] = "";
    if (!isnan(row->top1)) {
        snprintf(measured, sizeof measured, "  val loss %.4f  top-1 %.2f %%  top-5 %.2f %%%s",
                 row->val_loss, row->top1, row->top5, row->best ? "  best" : "");
    }
    const cli_field fields[] = {
        {.key = "epoch", .number = row->epoch},
        {.key = "epochs", .number = row->epochs},
        {.key = "step", .number = (double)row->step},
        {.key = "lr", .number = row->lr},
        {.key = "train_loss", .number = row->train_loss},
        {.key = "val_loss", .number = row->val_loss},
        {.key = "top1", .number = row->top1},
        {.key = "top5", .number = row->top5},
        {.key = "best", .number = row->best, .is_bool = true},
        {.key = "images_per_second", .number = row->images_per_second},
        {.key = "data_wait", .number = row->data_wait},
        {.key = "seconds", .number = row->seconds},
        {.key = "skipped", .number = (double)row->skipped},
    };
    cli_progress_event(&d->progress, "epoch", fields, sizeof fields / sizeof *fields,
                       "epoch %d/%d  lr %.2e  loss %.4f%s  %.0f img/s  %.1f s", row->epoch,
                       row->epochs, row->lr, row->train_loss, measured, row->images_per_second,
                       row->seconds);
}

static void show_warning(void *context, const char *message) {
    display *d = context;
    cli_progress_clear(&d->progress);
    cli_warn(d->verb, "%s", message);
}

static void show_look(void *context, const vit_train_look *look) {
    display *d = context;
    cli_progress_clear(&d->progress);
    cli_train_report_look(&d->report, look);
}

static bool should_stop(void *context) {
    (void)context;
    return cli_signals_caught() != 0;
}

/* How much of the time in which gradients were exchanged was spent computing, 0 to 1. */
static double hidden_share(const vit_comm_times *times) {
    double share = times->busy > 0 ? 1 - times->exposed / times->busy : 1;
    return share < 0 ? 0 : share;
}

static vit_status print_json(const request *r, const cli_ranks *ranks,
                             const vit_train_result *result) {
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "run", r->flags.out);
    vit_json_add_string(root, "architecture", r->settings.model.architecture);
    vit_json_add_number(root, "best_top1", result->best_top1); /* null without val */
    vit_json_add_number(root, "best_epoch", result->best_epoch);
    vit_json_add_number(root, "last_top1", result->last_top1);
    vit_json_add_number(root, "seconds", result->seconds);
    if (ranks->comm) {
        vit_json_add_number(root, "ranks", (double)vit_comm_size(ranks->comm));
        vit_json_add_number(root, "exchange_seconds", result->exchange.busy);
        vit_json_add_number(root, "exchange_cpu_seconds", result->exchange.cpu);
        vit_json_add_number(root, "exchange_hidden", hidden_share(&result->exchange));
        vit_json_add_number(root, "exchange_bytes", (double)result->exchange.bytes);
    }
    if (*r->settings.transfer.init != 0) {
        vit_json *init = vit_json_object();
        for (int i = 0; i < VIT_TENSOR_ACTIONS; i++) {
            vit_json_add_number(init, vit_init_action_names[i], (double)result->init[i]);
        }
        vit_json_add(root, "init", init);
    }
    return cli_print_json(root, true);
}

static void print_result(const request *r, const cli_ranks *ranks, const vit_train_result *result) {
    char duration[32];
    if (!isnan(result->best_top1)) {
        printf("best top-1  %.2f %% (epoch %d of %d)\n", result->best_top1, result->best_epoch,
               result->epochs);
        printf("last top-1  %.2f %%\n", result->last_top1);
    }
    if (ranks->comm) {
        printf("exchange    %.1f s, %.0f %% hidden behind computing; %.2f GB sent by each of %zu "
               "ranks\n",
               result->exchange.busy, 100 * hidden_share(&result->exchange),
               1e-9 * (double)result->exchange.bytes, vit_comm_size(ranks->comm));
    }
    printf("time        %s\nmodel       ", cli_duration(result->seconds, duration));
    cli_put(stdout, r->flags.out);
    fputs("/best.safetensors\nrun folder  ", stdout);
    cli_put(stdout, r->flags.out);
    putchar('\n');
}

/* Of all ranks together, when one of them was asked to stop. */
static int stopped_code(void) {
    int caught = cli_signals_caught();
    return 128 + (caught ? caught : SIGTERM);
}

static int train(const cli_verb *verb, const request *r, const cli_ranks *ranks) {
    display d = {
        .verb = verb,
        .request = r,
        .ranks = ranks,
        .report = {.verb = verb, .run = r->flags.out, .data = r->data, .sources = r->sources}};
    const vit_train_callbacks callbacks = {
        .context = &d,
        .planned = show_plan,
        .started = show_start,
        .resumed = show_resumed,
        .progress = show_progress,
        .evaluating = show_evaluation,
        .epoch = show_epoch,
        .warning = show_warning,
        .should_stop = should_stop,
        .initialised = show_initialised,
        .look = r->flags.report ? show_look : NULL,
    };
    vit_train_result result = {0};
    cli_progress_init(&d.progress, verb, &r->common);
    const vit_train_request order = {
        .settings = &r->settings,
        .sources = r->sources,
        .data = r->data,
        .out = r->flags.out,
        .resume = *r->flags.resume != 0,
        .override = r->flags.override,
        .comm = ranks->comm,
        .local_ranks = ranks->local_ranks,
    };
    vit_status status = vit_train(&order, &callbacks, &result);
    cli_progress_clear(&d.progress);
    cli_train_report_free(&d.report);
    if (!cli_ranks_speaks(ranks)) {
        return status == VIT_OK              ? CLI_DONE
               : status == VIT_ERROR_STOPPED ? stopped_code()
                                             : CLI_FAILED;
    }
    if (status == VIT_ERROR_STOPPED) {
        cli_fail(verb);
        return stopped_code();
    }
    if (status != VIT_OK) {
        return cli_fail(verb);
    }
    if (r->common.json) {
        return print_json(r, ranks, &result) == VIT_OK ? cli_finish(verb, CLI_DONE)
                                                       : cli_fail(verb);
    }
    print_result(r, ranks, &result);
    return cli_finish(verb, CLI_DONE);
}

/* Alone, or as one of several ranks, which fail together. */
static int run(const cli_verb *verb, request *r, int argc, char **argv) {
    cli_ranks ranks;
    int code;
    cli_signals_catch();
    vit_status status = cli_ranks_join(&r->common, resolve(r, argc, argv), &ranks);
    if (ranks.comm) {
        cli_signals_expect_mpirun();
    }
    code = status == VIT_OK ? train(verb, r, &ranks) : cli_ranks_fail(verb, &ranks, status, true);
    fflush(stdout);
    cli_ranks_leave(&ranks);
    return code;
}

int cmd_train(const cli_verb *verb, int argc, char **argv) {
    request r = {0};
    int code = CLI_DONE;
    if (request_init(&r) != VIT_OK) {
        code = cli_fail(verb);
    } else if (cli_wants_help(argc, argv) && vit_comm_look().rank > 0) {
        code = CLI_DONE; /* once is enough */
    } else if (cli_wants_help(argc, argv)) {
        /* The defaults shown are those of the default model. */
        if (set_defaults(&r) != VIT_OK ||
            vit_settings_model(r.start.model, &r.settings, r.setting_groups) != VIT_OK) {
            code = cli_fail(verb);
        } else {
            cli_print_help(verb, r.groups, GROUPS);
            code = cli_finish(verb, CLI_DONE);
        }
    } else {
        code = run(verb, &r, argc, argv);
    }
    free(r.sources);
    return code;
}
