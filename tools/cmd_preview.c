#include "tools/cmd.h"
#include "tools/progress.h"
#include "tools/sheet.h"

#include "data/data_options.h"
#include "data/encode.h"
#include "data/loader.h"
#include "train/recipe.h"
#include "vit/arena.h"
#include "vit/rng.h"

#include <limits.h>
#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
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

/* What is drawn with. */
typedef struct studio {
    const vit_train_settings *settings;
    vit_dataset *dataset;
    vit_loader *loader;
    vit_batch *batch;
    vit_image picture, tile;
    vit_bytes file;
    vit_resize_scratch scratch;
    sheet sheet;
} studio;

/* The data set's training part through the loader of training; a batch is a column of the sheet. */
static vit_status open_studio(studio *s, const request *r, const char *data) {
    const vit_train_settings *settings = &r->settings;
    size_t height = (size_t)settings->model.img_size[0];
    size_t width = (size_t)settings->model.img_size[1];
    vit_dataset_query query = vit_data_query(&settings->data, data, "train");
    vit_status status;
    s->settings = settings;
    VIT_TRY(vit_dataset_find(&query, &s->dataset, NULL));
    size_t pictures = (size_t)r->flags.pictures;
    pictures = pictures < s->dataset->count ? pictures : s->dataset->count;
    vit_loader_config config = {
        .dataset = s->dataset,
        .batch_size = pictures,
        .height = height,
        .width = width,
        .preprocess = settings->preprocess,
        .augment = &settings->augment,
        .seed = settings->recipe.seed,
        .decode = vit_data_decode(&settings->data),
    };
    VIT_TRY(vit_loader_create(&config, omp_get_max_threads(), &s->loader));
    VIT_TRY(vit_batch_create(s->loader, &s->batch));
    VIT_TRY(sheet_init(&s->sheet, (size_t)r->flags.versions + 1, pictures, width, height));
cleanup:
    return status;
}

static void close_studio(studio *s) {
    sheet_free(&s->sheet);
    vit_resize_scratch_free(&s->scratch);
    vit_bytes_free(&s->file);
    vit_image_free(&s->tile);
    vit_image_free(&s->picture);
    vit_batch_free(s->batch);
    vit_loader_free(s->loader);
    vit_dataset_free(s->dataset);
}

static int compare_indices(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Where class c begins in the data set, which is sorted by class. */
static uint32_t class_start(const vit_dataset *d, int label) {
    uint32_t low = 0, high = (uint32_t)d->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (d->samples[middle].label < label) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Which pictures: one of each class, classes in a random order, then another one of each ...; shown
 * in the order of their classes. From here on the batch is that of a column: the same pictures,
 * another epoch each time. */
static void choose_pictures(studio *s, const uint32_t *order) {
    const vit_dataset *d = s->dataset;
    vit_batch *batch = s->batch;
    vit_loader_prepare(s->loader, 0, batch);
    size_t chosen = 0;
    for (uint32_t round = 0; chosen < batch->count; round++) {
        for (size_t i = 0; i < d->class_count && chosen < batch->count; i++) {
            uint32_t start = class_start(d, (int)order[i]);
            uint32_t size = class_start(d, (int)order[i] + 1) - start;
            if (round < size) {
                vit_rng rng =
                    vit_rng_make(s->settings->recipe.seed, 0, order[i] + 1, VIT_RNG_SHUFFLE);
                batch->indices[chosen++] = start + (vit_rng_below(&rng, size) + round) % size;
            }
        }
    }
    qsort(batch->indices, batch->count, sizeof *batch->indices, compare_indices);
    for (size_t j = 0; j < batch->count; j++) {
        batch->labels[j] = d->samples[batch->indices[j]].label;
    }
}

static const char *label_of(const studio *s, size_t j) {
    return s->dataset->class_names[s->batch->labels[j]];
}

/* The whole picture, made to fit into its place, never larger than it is. */
static vit_status put_original(studio *s, size_t j) {
    const vit_sample *sample = &s->dataset->samples[s->batch->indices[j]];
    const vit_decode_options decode = vit_data_decode(&s->settings->data);
    const void *bytes;
    size_t size;
    vit_status status;
    VIT_TRY(vit_sample_read(sample, &s->file, &bytes, &size));
    VIT_TRY(vit_image_decode(bytes, size, sample->path, &decode, &s->picture));
    double w = (double)s->picture.width, h = (double)s->picture.height;
    double scale = fmin(1, fmin((double)s->sheet.width / w, (double)s->sheet.height / h));
    size_t width = (size_t)fmax(1, floor(w * scale)), height = (size_t)fmax(1, floor(h * scale));
    VIT_TRY(vit_resize(&s->picture, NULL, width, height, VIT_BICUBIC, &s->scratch, &s->tile));
    sheet_put(&s->sheet, 0, j, &s->tile, label_of(s, j));
cleanup:
    return status;
}

/* The network's input, (3,H,W), back in bytes. */
static vit_status undo_normalize(studio *s, const float *input) {
    const vit_preprocess *p = &s->settings->preprocess;
    size_t plane = s->sheet.width * s->sheet.height;
    vit_status status = vit_image_reserve(&s->tile, s->sheet.width, s->sheet.height, "the sheet");
    for (size_t i = 0; status == VIT_OK && i < 3 * plane; i++) {
        size_t c = i / plane;
        double value = 255 * ((double)input[i] * p->std[c] + p->mean[c]);
        s->tile.pixels[3 * (i % plane) + c] = (uint8_t)fmin(255, fmax(0, rint(value)));
    }
    return status;
}

/* What the epoch shows of the pictures. */
static vit_status put_column(studio *s, uint32_t epoch) {
    vit_batch *batch = s->batch;
    size_t floats = 3 * s->sheet.width * s->sheet.height;
    vit_status status = VIT_OK;
    batch->epoch = epoch;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t j = 0; j < batch->count; j++) {
        vit_loader_fetch(s->loader, batch, j);
    }
    VIT_TRY(vit_first_error_raise(&batch->error));
    for (size_t j = 0; j < batch->count; j++) {
        VIT_TRY(undo_normalize(s, batch->images + j * floats));
        sheet_put(&s->sheet, epoch + 1, j, &s->tile, label_of(s, j));
    }
cleanup:
    return status;
}

static vit_status preview(const cli_verb *verb, const request *r, const char *data) {
    studio s = {0};
    cli_progress progress;
    uint32_t *order = NULL;
    vit_status status;
    cli_progress_init(&progress, verb, &r->common);
    VIT_TRY(open_studio(&s, r, data));
    VIT_TRY(vit_alloc((void **)&order, s.dataset->class_count, sizeof *order, "classes"));
    vit_shuffle(r->settings.recipe.seed, 0, order, s.dataset->class_count);
    choose_pictures(&s, order);
    size_t drawn = 0, total = s.batch->count * ((size_t)r->flags.versions + 1);
    for (size_t j = 0; j < s.batch->count; j++) {
        VIT_TRY(put_original(&s, j));
        cli_progress_count(&progress, "drawing", ++drawn, total);
    }
    for (int i = 0; i < r->flags.versions; i++) {
        VIT_TRY(put_column(&s, (uint32_t)i));
        drawn += s.batch->count;
        cli_progress_count(&progress, "drawing", drawn, total);
    }
    cli_progress_clear(&progress);
    VIT_TRY(vit_png_write(r->flags.out, &s.sheet.image));
    printf("%zu pictures, each with %d versions of it: ", s.batch->count, r->flags.versions);
    cli_put(stdout, r->flags.out);
    putchar('\n');
cleanup:
    cli_progress_clear(&progress);
    vit_free(order);
    close_studio(&s);
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
    if (words != 1 || !*r.flags.out) {
        vit_fail(VIT_ERROR_ARGUMENT,
                 words != 1 ? "%d arguments (expected one: DATA)"
                            : "no --out (expected the name of a PNG file)",
                 words);
        return cli_fail_usage(verb);
    }
    if (vit_augment_check(&r.settings.augment, NULL) != VIT_OK) {
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&r.common);
    if (preview(verb, &r, argv[0]) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, CLI_DONE);
}
