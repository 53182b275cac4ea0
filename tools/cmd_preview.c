#include "tools/cmd.h"
#include "tools/progress.h"
#include "tools/sheet.h"

#include "data/data_options.h"
#include "data/encode.h"
#include "eval/samples.h"
#include "train/recipe.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

typedef struct preview_flags {
    char out[PATH_MAX];
    int pictures, versions;
} preview_flags;

static const vit_option preview_options[] = {
    {.name = "out",
     .letter = 'o',
     .type = VIT_OPT_STRING,
     .offset = offsetof(preview_flags, out),
     .count = sizeof((preview_flags *)0)->out,
     .metavar = "PNG",
     .help = "file for the contact sheet"},
    {.name = "pictures",
     .letter = 'n',
     .type = VIT_OPT_INT,
     .offset = offsetof(preview_flags, pictures),
     .min = 1,
     .max = 1000,
     .value = "8",
     .help = "pictures to show, a row each, of as many classes as possible"},
    {.name = "versions",
     .type = VIT_OPT_INT,
     .offset = offsetof(preview_flags, versions),
     .min = 1,
     .max = 100,
     .value = "6",
     .help = "augmented versions of each, beside the original: those of the first epochs"},
};

/* Everything the command line is bound to. */
typedef struct request {
    preview_flags flags;
    cli_common common;
    vit_train_settings settings;
} request;
enum { GROUPS = 7 };

/* One row of a table, so that a flag means here what it means in training. */
static vit_option_group row(const char *title, const vit_option *options, const char *name,
                            void *target) {
    while (strcmp(options->name, name) != 0) {
        options++;
    }
    return (vit_option_group){title, options, 1, target, NULL};
}

static void bind_groups(request *r, vit_option_group groups[GROUPS]) {
    const vit_option_group all[GROUPS] = {
        {"Preview", preview_options, sizeof preview_options / sizeof *preview_options, &r->flags,
         NULL},
        row("Size", vit_config_options, "img-size", &r->settings.model),
        row("Randomness", vit_recipe_options, "seed", &r->settings.recipe),
        {"Preprocessing", vit_preprocess_options, vit_preprocess_option_count,
         &r->settings.preprocess, NULL},
        vit_data_group(&r->settings.data, VIT_DATA_ROWS_FIND),
        {"Augmentation", vit_augment_options, vit_augment_option_count, &r->settings.augment, NULL},
        cli_common_group(&r->common, false)};
    memcpy(groups, all, sizeof all);
}

/* Where the pictures go. */
typedef struct easel {
    sheet page;
    cli_progress progress;
    size_t drawn, total;
} easel;

/* A picture's place on the sheet: a row each, its versions side by side. */
static vit_status put_on_sheet(void *context, size_t picture, size_t version,
                               const vit_image *image, const char *class_name) {
    easel *e = context;
    sheet_put(&e->page, version, picture, image, class_name);
    cli_progress_count(&e->progress, "drawing", ++e->drawn, e->total);
    return VIT_OK;
}

static vit_status preview(const cli_verb *verb, const request *r, const char *data) {
    const vit_train_settings *settings = &r->settings;
    vit_dataset *dataset = NULL;
    easel e = {0};
    vit_dataset_query query = vit_data_query(&settings->data, data, "train");
    vit_status status;
    cli_progress_init(&e.progress, verb, &r->common);
    VIT_TRY(vit_dataset_find(&query, &dataset, NULL));
    const vit_samples_config config = {
        .dataset = dataset,
        .pictures = (size_t)r->flags.pictures,
        .versions = (size_t)r->flags.versions,
        .height = (size_t)settings->model.img_size[0],
        .width = (size_t)settings->model.img_size[1],
        .preprocess = settings->preprocess,
        .augment = settings->augment,
        .seed = settings->recipe.seed,
        .decode = vit_data_decode(&settings->data),
    };
    size_t pictures = vit_samples_count(&config);
    e.total = pictures * (config.versions + 1);
    VIT_TRY(sheet_init(&e.page, config.versions + 1, pictures, config.width, config.height));
    VIT_TRY(vit_samples_draw(&config, put_on_sheet, &e));
    cli_progress_clear(&e.progress);
    VIT_TRY(vit_png_write(r->flags.out, &e.page.image));
    printf("%zu pictures, each with %d versions of it: ", pictures, r->flags.versions);
    cli_put(stdout, r->flags.out);
    putchar('\n');
cleanup:
    cli_progress_clear(&e.progress);
    sheet_free(&e.page);
    vit_dataset_free(dataset);
    return status;
}

int cmd_preview(const cli_verb *verb, int argc, char **argv) {
    request r = {0};
    vit_option_group groups[GROUPS];
    int words = 0, code = CLI_DONE;
    bind_groups(&r, groups);
    if (!cli_parse(verb, groups, GROUPS, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 1) {
        cli_wrong_arguments(words, "one: DATA");
        return cli_fail_usage(verb);
    }
    if (!*r.flags.out) {
        vit_fail(VIT_ERROR_ARGUMENT, "no --out (expected the name of a PNG file)");
        return cli_fail_usage(verb);
    }
    if (cli_check_png_name(r.flags.out) != VIT_OK ||
        vit_augment_check(&r.settings.augment, NULL) != VIT_OK) {
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&r.common);
    if (preview(verb, &r, argv[0]) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, CLI_DONE);
}
