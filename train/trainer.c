#include "train/run.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

/* ---- endings ---- */

/* Ends the message of a run that broke off with what is left of it. */
static vit_status fail_at(const vit_run *r, int epoch, size_t step) {
    const char *last = vit_run_folder_last(r->folder);
    char message[VIT_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", vit_last_error());
    return vit_fail(VIT_ERROR_NUMERIC,
                    "epoch %d, step %zu of %zu: %s; a lower --lr or --clip-grad may help; the last "
                    "good checkpoint: %s",
                    epoch, step, r->epoch_steps, message, last ? last : "none yet");
}

static vit_status save(vit_run *r, double top1, bool best) {
    return vit_run_folder_save(r->folder, r->bundle, r->epochs_done, r->step, top1, best);
}

/* What the last update made is not seen by a loss any more; a model that cannot be loaded must not
 * be saved. */
static vit_status check_weights(const vit_run *r, int epoch, size_t step) {
    if (isfinite(vit_grad_norm(r->bundle->model.params.total, r->bundle->params))) {
        return VIT_OK;
    }
    vit_fail(VIT_ERROR_NUMERIC, "a weight is not finite");
    return fail_at(r, epoch, step);
}

static vit_status stop(vit_run *r, int epoch, size_t steps_done) {
    vit_status status = VIT_OK;
    VIT_TRY(check_weights(r, epoch, steps_done));
    VIT_TRY(save(r, NAN, false));
    status = vit_fail(VIT_ERROR_STOPPED, "stopped in epoch %d after step %zu of %zu; saved %s",
                      epoch, steps_done, r->epoch_steps, vit_run_folder_last(r->folder));
cleanup:
    return status;
}

/* ---- steps ---- */

/* Reads the pictures of a batch that is not filled during a step. */
static void fill(vit_run *r, vit_batch *batch) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
    for (size_t j = 0; j < batch->count; j++) {
        vit_loader_fetch(r->loader, batch, j);
    }
}

/* The very first batch; all others are filled during the step before. */
static void fill_first(vit_run *r) {
    vit_loader_start_epoch(r->loader, 0);
    vit_loader_prepare(r->loader, 0, r->batches[0]);
    fill(r, r->batches[0]);
}

/* Sets up the batch after step s (from 0) of the epoch, across the end of the epoch too, so that
 * its pictures are read while this one is computed; NULL after the run's last step. */
static vit_batch *prepare_next(vit_run *r, int epoch, size_t s) {
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
static vit_status update(vit_run *r, double lr) {
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

/* Takes what could not be read out of the batch. */
static void leave_out(vit_run *r, vit_batch *batch, vit_epoch_row *row) {
    size_t count = vit_loader_drop_failed(r->loader, batch);
    if (count > 0 && row->skipped == 0) {
        r->skipped = batch->skipped;
    }
    row->skipped += count;
}

/* One step; its result is added to the epoch's. images: pictures of the epoch so far. */
static vit_status train_step(vit_run *r, int epoch, size_t s, vit_epoch_row *row, size_t *images) {
    vit_status status = VIT_OK;
    vit_batch *batch = r->batches[r->step % 2];
    vit_step_result result;
    VIT_TRY(vit_first_error_raise(&batch->error));
    leave_out(r, batch, row);
    vit_batch *next = prepare_next(r, epoch, s);
    if (batch->count == 0) { /* nothing to learn from; the schedule goes on */
        if (next) {
            fill(r, next);
        }
        r->step++;
        goto cleanup;
    }
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
    *images += batch->count;
    row->train_loss += (result.loss - row->train_loss) * ((double)batch->count / (double)*images);
    row->data_wait += result.wait_seconds;
cleanup:
    return status;
}

/* Until one evaluation was timed, a picture is taken to cost a third of what it costs in training:
 * the forward pass alone. */
static double seconds_left(const vit_run *r) {
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

static void report(const vit_run *r, int epoch, size_t s, double epoch_seconds, size_t images,
                   const vit_epoch_row *row) {
    if (!r->callbacks.progress || images == 0) {
        return;
    }
    vit_train_progress progress = {
        .epoch = epoch,
        .epochs = r->settings.recipe.epochs,
        .step = s + 1,
        .steps = r->epoch_steps,
        .loss = row->train_loss,
        .lr = row->lr,
        .images_per_second = epoch_seconds > 0 ? (double)images / epoch_seconds : 0,
        .eta_seconds = seconds_left(r),
    };
    r->callbacks.progress(r->callbacks.context, &progress);
}

/* What was left out must be known. */
static vit_status report_skipped(const vit_run *r, int epoch, size_t images,
                                 const vit_epoch_row *row) {
    if (row->skipped > 0 && images == 0) {
        vit_first_error_raise(&r->skipped);
        return vit_fail_context(r->skipped.status, "epoch %d: no picture could be read; the first",
                                epoch);
    }
    if (row->skipped > 0) {
        vit_run_warn(r, "epoch %d: %zu pictures could not be read and were left out; the first: %s",
                     epoch, row->skipped, r->skipped.message);
    }
    return VIT_OK;
}

/* The steps of an epoch. Fills lr, train_loss, images_per_second and data_wait of the row. */
static vit_status train_epoch(vit_run *r, int epoch, vit_epoch_row *row) {
    double start = omp_get_wtime(), before = r->train_seconds, seconds = 0;
    size_t images = 0;
    for (size_t s = 0; s < r->epoch_steps; s++) {
        if (r->callbacks.should_stop && r->callbacks.should_stop(r->callbacks.context)) {
            return stop(r, epoch, s);
        }
        vit_status status = train_step(r, epoch, s, row, &images);
        if (status != VIT_OK) {
            return status;
        }
        seconds = omp_get_wtime() - start;
        r->train_seconds = before + seconds;
        report(r, epoch, s, seconds, images, row);
    }
    row->images_per_second = seconds > 0 ? (double)images / seconds : 0;
    row->data_wait = seconds > 0 ? row->data_wait / seconds : 0;
    return report_skipped(r, epoch, images, row);
}

/* ---- epochs ---- */

static vit_status measure(vit_run *r, vit_epoch_row *row) {
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
    if (result.skipped > 0) {
        vit_run_warn(r,
                     "epoch %d: %zu of %zu val pictures could not be read and were left out; the "
                     "first: %s",
                     row->epoch, result.skipped, result.skipped + result.images,
                     result.first_skipped);
    }
    row->val_loss = result.loss;
    row->top1 = result.top1;
    row->top5 = result.top5;
    return VIT_OK;
}

/* More right, then lower loss, then the earlier. Without val, the last. */
static bool is_best(const vit_run *r, const vit_epoch_row *row) {
    return !r->val || r->best_epoch == 0 || row->top1 > r->best_top1 ||
           (row->top1 == r->best_top1 && row->val_loss < r->best_loss);
}

static vit_status finish_epoch(vit_run *r, vit_epoch_row *row) {
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

static vit_status run_epoch(vit_run *r, int epoch) {
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
    vit_run r = {
        .settings = *settings,
        .threads = omp_get_max_threads(),
        .best_top1 = NAN,
        .best_loss = NAN,
        .last_top1 = NAN,
    };
    if (callbacks) {
        r.callbacks = *callbacks;
    }
    VIT_TRY(vit_run_set_up(&r, sources, data, out));
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
    memcpy(result->init, r.init_counts, sizeof result->init);
    vit_run_tear_down(&r);
    return status;
}
