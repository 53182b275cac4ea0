#include "train/trainer.h"

#include "train/optimizer.h"
#include "train/run_folder.h"
#include "train/schedule.h"
#include "train/slots.h"

#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* All that a run holds. Owned, unless said otherwise. */
typedef struct run {
    vit_train_settings settings; /* as trained: what the data decided is filled in */
    vit_train_callbacks callbacks;
    int threads;
    vit_dataset *train, *val; /* val may be NULL */
    vit_model_bundle *bundle;
    vit_loader *loader;
    vit_batch *batches[2]; /* step s computes on batches[s % 2] */
    vit_slots *slots;
    vit_evaluator *evaluator; /* NULL without val */
    float *grads, *moment1, *moment2;
    vit_run_folder *folder;
    size_t epoch_steps;
    vit_schedule schedule;

    uint64_t step; /* done so far */
    double train_seconds, eval_seconds;
    int epochs_done;
    int best_epoch; /* 0: none yet */
    double best_top1, best_loss, last_top1;
} run;

static void warn(const run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(const run *r, const char *format, ...) {
    if (!r->callbacks.warning) {
        return;
    }
    char message[VIT_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    r->callbacks.warning(r->callbacks.context, message);
}

/* ---- before the first step ---- */

static vit_status open_data(run *r, const char *data) {
    vit_status status = VIT_OK;
    size_t missing = 0;
    VIT_TRY(vit_dataset_open(data, "train", NULL, 0, &r->train, NULL));
    if (r->train->class_count < 2) {
        VIT_TRY(
            vit_fail(VIT_ERROR_ARGUMENT,
                     "%s: one class only, %s (expected a folder for each of at least 2 classes)",
                     r->train->root, r->train->class_names[0]));
    }
    for (size_t i = 0; i < r->train->class_count; i++) {
        if (strpbrk(r->train->class_names[i], "\r\n")) {
            VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT, "%s/%s: a line break in a class name",
                             r->train->root, r->train->class_names[i]));
        }
    }
    if (!vit_dataset_has_split(data, "val")) {
        warn(r, "%s: no val folder; nothing is measured, and the best model is the last", data);
        goto cleanup;
    }
    VIT_TRY(vit_dataset_open(data, "val", (const char *const *)r->train->class_names,
                             r->train->class_count, &r->val, &missing));
    if (missing > 0) {
        warn(r, "%s: no picture of %zu of the %zu classes", r->val->root, missing,
             r->train->class_count);
    }
cleanup:
    return status;
}

/* Whether somebody chose the recipe's field at this offset. */
static bool is_given(const unsigned char *sources, size_t offset) {
    if (!sources) {
        return true;
    }
    size_t first = vit_train_setting_count() - vit_recipe_option_count;
    for (size_t i = 0; i < vit_recipe_option_count; i++) {
        if (vit_recipe_options[i].offset == offset) {
            return sources[first + i] != VIT_FROM_DEFAULT;
        }
    }
    return false;
}

/* What the data decides: classes, a batch that fits, a warm-up that fits. */
static vit_status settle(run *r, const unsigned char *sources) {
    vit_recipe *recipe = &r->settings.recipe;
    vit_status status = VIT_OK;
    if (r->train->class_count > INT32_MAX || r->train->count > INT32_MAX) {
        VIT_TRY(vit_fail(VIT_ERROR_LIMIT,
                         "%s: %zu pictures in %zu classes (expected fewer than "
                         "2^31)",
                         r->train->root, r->train->count, r->train->class_count));
    }
    r->settings.model.num_classes = (int)r->train->class_count;
    if (recipe->batch_size > (int)r->train->count) {
        warn(r, "--batch-size %d: there are only %zu pictures; the batch is reduced to these",
             recipe->batch_size, r->train->count);
        recipe->batch_size = (int)r->train->count;
    }
    if (recipe->warmup_epochs > recipe->epochs / 5.0 &&
        !is_given(sources, offsetof(vit_recipe, warmup_epochs))) {
        recipe->warmup_epochs = recipe->epochs / 5.0;
    }
    VIT_TRY(vit_train_settings_check(&r->settings));
    VIT_TRY(vit_config_check(&r->settings.model));
cleanup:
    return status;
}

static vit_status create_loader(run *r) {
    vit_loader_config config = {
        .dataset = r->train,
        .batch_size = (size_t)r->settings.recipe.batch_size,
        .height = (size_t)r->settings.model.img_size[0],
        .width = (size_t)r->settings.model.img_size[1],
        .preprocess = r->settings.preprocess,
        .augment = &r->settings.augment,
        .shuffle = true,
        .drop_last = true,
        .repeats = (size_t)r->settings.recipe.repeated_aug,
        .seed = r->settings.recipe.seed,
        .decode = vit_decode_defaults(),
    };
    vit_status status = VIT_OK;
    VIT_TRY(vit_loader_create(&config, r->threads, &r->loader));
    VIT_TRY(vit_batch_create(r->loader, &r->batches[0]));
    VIT_TRY(vit_batch_create(r->loader, &r->batches[1]));
    r->epoch_steps = vit_loader_batches(r->loader);
cleanup:
    return status;
}

static vit_status create_slots(run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    size_t batch_size = (size_t)recipe->batch_size;
    vit_slots_config config = {
        .model = &r->bundle->model,
        .batch_size = batch_size,
        .slots = recipe->slots ? (size_t)recipe->slots : vit_slots_auto(batch_size),
        .threads = r->threads,
        .seed = recipe->seed,
        .drop_path = recipe->drop_path,
        .smoothing = recipe->smoothing,
        .mix = {recipe->mixup, recipe->cutmix, recipe->mixup_prob, recipe->mixup_switch_prob},
    };
    return vit_slots_create(&config, &r->slots);
}

static void set_schedule(run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    double steps = (double)r->epoch_steps;
    r->schedule = (vit_schedule){
        .lr = recipe->lr,
        .warmup_lr = recipe->warmup_lr,
        .min_lr = recipe->min_lr,
        .warmup_steps = recipe->warmup_epochs * steps,
        .total_steps = recipe->epochs * steps,
    };
}

/* All memory is taken here, and the folder is written to last: a mistake found earlier leaves
 * nothing behind. */
static vit_status set_up(run *r, const unsigned char *sources, const char *data, const char *out) {
    vit_status status = VIT_OK;
    const vit_train_settings *s = &r->settings;
    VIT_TRY(open_data(r, data));
    VIT_TRY(settle(r, sources));
    const char *const *names = (const char *const *)r->train->class_names;
    VIT_TRY(vit_model_bundle_new(&s->model, &s->preprocess, names, s->recipe.seed, &r->bundle));
    size_t total = r->bundle->model.params.total;
    VIT_TRY(vit_alloc((void **)&r->grads, total, sizeof(float), "gradient"));
    VIT_TRY(vit_alloc((void **)&r->moment1, total, sizeof(float), "first moments"));
    VIT_TRY(vit_alloc((void **)&r->moment2, total, sizeof(float), "second moments"));
    VIT_TRY(create_loader(r));
    VIT_TRY(create_slots(r));
    if (r->val) {
        VIT_TRY(vit_evaluator_create(&r->bundle->model, &s->preprocess, r->val,
                                     (size_t)s->recipe.batch_size, r->threads, &r->evaluator));
    }
    set_schedule(r);
    VIT_TRY(vit_run_folder_create(out, data, s, sources, names, r->train->class_count, &r->folder));
    if (r->callbacks.started) {
        r->callbacks.started(r->callbacks.context, &r->bundle->model, r->train->count,
                             r->val ? r->val->count : 0);
    }
cleanup:
    return status;
}

static void tear_down(run *r) {
    vit_run_folder_free(r->folder);
    vit_evaluator_free(r->evaluator);
    vit_slots_free(r->slots);
    vit_batch_free(r->batches[0]);
    vit_batch_free(r->batches[1]);
    vit_loader_free(r->loader);
    vit_free(r->grads);
    vit_free(r->moment1);
    vit_free(r->moment2);
    vit_model_bundle_free(r->bundle);
    vit_dataset_free(r->val);
    vit_dataset_free(r->train);
}

/* ---- endings ---- */

/* Ends the message of a run that broke off with what is left of it. */
static vit_status fail_at(const run *r, int epoch, size_t step) {
    const char *last = vit_run_folder_last(r->folder);
    char message[VIT_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", vit_last_error());
    return vit_fail(VIT_ERROR_NUMERIC,
                    "epoch %d, step %zu of %zu: %s; a lower --lr or --clip-grad may help; the last "
                    "good checkpoint: %s",
                    epoch, step, r->epoch_steps, message, last ? last : "none yet");
}

static vit_status save(run *r, double top1, bool best) {
    return vit_run_folder_save(r->folder, r->bundle, r->epochs_done, r->step, top1, best);
}

/* What the last update made is not seen by a loss any more; a model that cannot be loaded must not
 * be saved. */
static vit_status check_weights(const run *r, int epoch, size_t step) {
    if (isfinite(vit_grad_norm(r->bundle->model.params.total, r->bundle->params))) {
        return VIT_OK;
    }
    vit_fail(VIT_ERROR_NUMERIC, "a weight is not finite");
    return fail_at(r, epoch, step);
}

static vit_status stop(run *r, int epoch, size_t steps_done) {
    vit_status status = VIT_OK;
    VIT_TRY(check_weights(r, epoch, steps_done));
    VIT_TRY(save(r, NAN, false));
    status = vit_fail(VIT_ERROR_STOPPED, "stopped in epoch %d after step %zu of %zu; saved %s",
                      epoch, steps_done, r->epoch_steps, vit_run_folder_last(r->folder));
cleanup:
    return status;
}

/* ---- steps ---- */

/* The very first batch; all others are filled during the step before. */
static void fill_first(run *r) {
    vit_batch *batch = r->batches[0];
    vit_loader_start_epoch(r->loader, 0);
    vit_loader_prepare(r->loader, 0, batch);
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
    for (size_t j = 0; j < batch->count; j++) {
        vit_loader_fetch(r->loader, batch, j);
    }
}

/* Sets up the batch after step s (from 0) of the epoch, across the end of the epoch too, so that
 * its pictures are read while this one is computed; NULL after the run's last step. */
static vit_batch *prepare_next(run *r, int epoch, size_t s) {
    vit_batch *next = r->batches[(r->step + 1) % 2];
    if (s + 1 < r->epoch_steps) {
        vit_loader_prepare(r->loader, s + 1, next);
        return next;
    }
    if (epoch == r->settings.recipe.epochs) {
        return NULL;
    }
    vit_loader_start_epoch(r->loader, (uint32_t)epoch);
    vit_loader_prepare(r->loader, 0, next);
    return next;
}

/* Torch's clip_grad_norm_ and AdamW. */
static vit_status update(run *r, double lr) {
    const vit_recipe *recipe = &r->settings.recipe;
    const vit_param_table *table = &r->bundle->model.params;
    double norm = vit_grad_norm(table->total, r->grads);
    if (!isfinite(norm)) {
        return vit_fail(VIT_ERROR_NUMERIC, "the gradient is not finite");
    }
    vit_adamw adamw = {
        .lr = lr,
        .beta1 = recipe->opt_betas[0],
        .beta2 = recipe->opt_betas[1],
        .eps = recipe->opt_eps,
        .weight_decay = recipe->weight_decay,
        .step = (int64_t)r->step + 1,
    };
    double scale = recipe->clip_grad > 0 ? fmin(1.0, recipe->clip_grad / (norm + 1e-6)) : 1.0;
    vit_adamw_step(&adamw, table, scale, r->grads, r->bundle->params, r->moment1, r->moment2);
    return VIT_OK;
}

/* One step; its result is added to the epoch's. */
static vit_status train_step(run *r, int epoch, size_t s, vit_epoch_row *row) {
    vit_status status = VIT_OK;
    vit_batch *batch = r->batches[r->step % 2];
    vit_step_result result;
    VIT_TRY(vit_first_error_raise(&batch->error));
    vit_batch *next = prepare_next(r, epoch, s);
    status = vit_slots_step(r->slots, r->bundle->params, batch, r->loader, next, r->grads, &result);
    if (status == VIT_ERROR_NUMERIC) {
        const char *path = r->train->samples[batch->indices[result.first_bad]].path;
        vit_fail(status, "the loss is %s, first at %s",
                 isnan(result.loss) ? "not a number" : "infinite", path);
        VIT_TRY(fail_at(r, epoch, s + 1));
    }
    VIT_TRY(status);
    row->lr = vit_schedule_lr(&r->schedule, (double)r->step);
    status = update(r, row->lr);
    if (status == VIT_ERROR_NUMERIC) {
        VIT_TRY(fail_at(r, epoch, s + 1));
    }
    VIT_TRY(status);
    r->step++;
    row->train_loss += (result.loss - row->train_loss) / (double)(s + 1);
    row->data_wait += result.wait_seconds;
cleanup:
    return status;
}

/* Until one evaluation was timed, a picture is taken to cost a third of what it costs in training:
 * the forward pass alone. */
static double seconds_left(const run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    double step = r->train_seconds / (double)r->step;
    double steps_left = (double)r->epoch_steps * recipe->epochs - (double)r->step;
    double eval = 0;
    if (r->val) {
        eval = r->epochs_done > 0 ? r->eval_seconds / r->epochs_done
                                  : step / recipe->batch_size / 3 * (double)r->val->count;
    }
    return steps_left * step + (recipe->epochs - r->epochs_done) * eval;
}

static void report(const run *r, int epoch, size_t s, double epoch_seconds,
                   const vit_epoch_row *row) {
    if (!r->callbacks.progress) {
        return;
    }
    double images = (double)(s + 1) * r->settings.recipe.batch_size;
    vit_train_progress progress = {
        .epoch = epoch,
        .epochs = r->settings.recipe.epochs,
        .step = s + 1,
        .steps = r->epoch_steps,
        .loss = row->train_loss,
        .lr = row->lr,
        .images_per_second = epoch_seconds > 0 ? images / epoch_seconds : 0,
        .eta_seconds = seconds_left(r),
    };
    r->callbacks.progress(r->callbacks.context, &progress);
}

/* The steps of an epoch. Fills lr, train_loss, images_per_second and data_wait of the row. */
static vit_status train_epoch(run *r, int epoch, vit_epoch_row *row) {
    double start = omp_get_wtime(), before = r->train_seconds, seconds = 0;
    for (size_t s = 0; s < r->epoch_steps; s++) {
        if (r->callbacks.should_stop && r->callbacks.should_stop(r->callbacks.context)) {
            return stop(r, epoch, s);
        }
        vit_status status = train_step(r, epoch, s, row);
        if (status != VIT_OK) {
            return status;
        }
        seconds = omp_get_wtime() - start;
        r->train_seconds = before + seconds;
        report(r, epoch, s, seconds, row);
    }
    double images = (double)r->epoch_steps * r->settings.recipe.batch_size;
    row->images_per_second = seconds > 0 ? images / seconds : 0;
    row->data_wait = seconds > 0 ? row->data_wait / seconds : 0;
    return VIT_OK;
}

/* ---- epochs ---- */

static vit_status measure(run *r, vit_epoch_row *row) {
    row->val_loss = row->top1 = row->top5 = NAN;
    if (!r->evaluator) {
        return VIT_OK;
    }
    vit_eval_result result;
    vit_status status = vit_evaluate(r->evaluator, r->bundle->params, r->callbacks.evaluating,
                                     r->callbacks.context, NULL, &result);
    if (status != VIT_OK) {
        return status;
    }
    r->eval_seconds += result.seconds;
    row->val_loss = result.loss;
    row->top1 = result.top1;
    row->top5 = result.top5;
    return VIT_OK;
}

/* More right, then lower loss, then the earlier. Without val, the last. */
static bool is_best(const run *r, const vit_epoch_row *row) {
    return !r->val || r->best_epoch == 0 || row->top1 > r->best_top1 ||
           (row->top1 == r->best_top1 && row->val_loss < r->best_loss);
}

static vit_status finish_epoch(run *r, vit_epoch_row *row) {
    r->epochs_done = row->epoch;
    row->step = r->step;
    row->best = is_best(r, row);
    r->last_top1 = row->top1;
    if (row->best) {
        r->best_epoch = row->epoch;
        r->best_top1 = row->top1;
        r->best_loss = row->val_loss;
    }
    return save(r, row->top1, row->best);
}

static vit_status run_epoch(run *r, int epoch) {
    vit_status status = VIT_OK;
    vit_epoch_row row = {.epoch = epoch};
    double start = omp_get_wtime();
    VIT_TRY(train_epoch(r, epoch, &row));
    VIT_TRY(check_weights(r, epoch, r->epoch_steps));
    VIT_TRY(measure(r, &row));
    VIT_TRY(finish_epoch(r, &row));
    row.seconds = omp_get_wtime() - start;
    VIT_TRY(vit_run_folder_log(r->folder, &row));
    if (r->callbacks.epoch) {
        r->callbacks.epoch(r->callbacks.context, &row);
    }
cleanup:
    return status;
}

vit_status vit_train(const vit_train_settings *settings, const unsigned char *sources,
                     const char *data, const char *out, const vit_train_callbacks *callbacks,
                     vit_train_result *result) {
    double start = omp_get_wtime();
    vit_status status = VIT_OK;
    run r = {
        .settings = *settings,
        .threads = omp_get_max_threads(),
        .best_top1 = NAN,
        .best_loss = NAN,
        .last_top1 = NAN,
    };
    if (callbacks) {
        r.callbacks = *callbacks;
    }
    VIT_TRY(set_up(&r, sources, data, out));
    fill_first(&r);
    for (int epoch = 1; epoch <= r.settings.recipe.epochs; epoch++) {
        VIT_TRY(run_epoch(&r, epoch));
    }
cleanup:
    *result = (vit_train_result){
        .best_epoch = r.best_epoch,
        .best_top1 = r.best_top1,
        .last_top1 = r.last_top1,
        .seconds = omp_get_wtime() - start,
    };
    tear_down(&r);
    return status;
}
