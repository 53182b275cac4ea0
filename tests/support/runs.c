#include "runs.h"

#include "files.h"
#include "pictures.h"
#include "support.h"

#include "vit/model_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const small_run_classes[3] = {"ant", "bee", "cat"};

vit_train_settings small_run_settings(void) {
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    memset(&settings, 0, sizeof settings);
    size_t count = vit_train_setting_groups(&settings, NULL, groups);
    for (size_t g = 0; g < count; g++) {
        ck_vit_ok(vit_options_defaults(&groups[g]));
    }
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &settings.model));
    settings.model.img_size[0] = settings.model.img_size[1] = 16;
    settings.model.embed_dim = 16;
    settings.model.depth = 2;
    settings.model.num_heads = 2;
    settings.recipe.batch_size = 10;
    settings.recipe.warmup_epochs = 1;
    settings.recipe.lr = 3e-3;
    return settings;
}

vit_train_settings wide_run_settings(void) {
    vit_train_settings settings = small_run_settings();
    settings.model.embed_dim = 32;
    settings.recipe.epochs = 3;
    settings.recipe.batch_size = 20;
    return settings;
}

char *run_base;
char run_data[1024];

void run_base_make(void) {
    run_base = temp_folder();
    temp_path(run_data, run_base, "data");
    make_pictures(run_data, "train", small_run_classes, 3, RUN_PER_CLASS, 20, 18, 1);
    make_pictures(run_data, "val", small_run_classes, 3, RUN_VAL_PER_CLASS, 18, 20, 1000);
}

void run_base_remove(void) {
    temp_folder_remove(run_base);
    run_base = NULL;
}

static void on_started(void *context, const vit_model *model, size_t train, size_t val,
                       int epochs) {
    (void)train;
    ck_assert_int_ge(epochs, 1);
    (void)val;
    ck_assert_uint_gt(model->params.total, 0);
    ((run_watch *)context)->started++;
}

static void on_progress(void *context, const vit_train_progress *progress) {
    run_watch *s = context;
    s->progress++;
    s->last = *progress;
    ck_assert_double_ge(progress->eta_seconds, 0);
    ck_assert_double_gt(progress->images_per_second, 0);
}

static void on_evaluating(void *context, size_t done, size_t total) {
    ck_assert_uint_le(done, total);
    ((run_watch *)context)->evaluating++;
}

static void on_epoch(void *context, const vit_epoch_row *row) {
    run_watch *s = context;
    if (s->epochs < RUN_ROWS) {
        s->rows[s->epochs] = *row;
    }
    s->epochs++;
    s->row = *row;
    s->smallest_loss = fmin(s->smallest_loss, row->train_loss);
    if (s->limit) {
        limit_files(s->limit);
    }
}

static void on_warning(void *context, const char *message) {
    run_watch *s = context;
    s->warnings++;
    snprintf(s->warning, sizeof s->warning, "%s", message);
}

static bool on_should_stop(void *context) {
    run_watch *s = context;
    return s->stop_after && s->progress >= s->stop_after;
}

vit_train_callbacks run_callbacks(run_watch *watch) {
    watch->smallest_loss = INFINITY;
    return (vit_train_callbacks){.context = watch,
                                 .started = on_started,
                                 .progress = on_progress,
                                 .evaluating = on_evaluating,
                                 .epoch = on_epoch,
                                 .warning = on_warning,
                                 .should_stop = on_should_stop};
}

vit_status run_train(const vit_train_settings *settings, const unsigned char *sources,
                     const char *from, const char *out, run_watch *watch,
                     vit_train_result *result) {
    vit_train_result ignored;
    vit_train_callbacks callbacks = run_callbacks(watch);
    vit_train_request request = {
        .settings = settings, .sources = sources, .data = from, .out = out};
    return vit_train(&request, &callbacks, result ? result : &ignored);
}

void check_run_loads(const char *path) {
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_load(path, &bundle));
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(bundle->class_names[i], small_run_classes[i]);
    }
    vit_model_bundle_free(bundle);
}
