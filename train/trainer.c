#include "train/keeper.h"
#include "train/ranks.h"

#include "vit/clock.h"
#include "vit/memory.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

/* ---- endings ---- */

/* Ends the message of a run that broke off with what is left of it. */
static vit_status fail_at(const vit_run *r, int epoch, size_t step) {
    char message[VIT_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", vit_last_error());
    vit_saver_wait(r->saver);
    const char *last = r->folder ? vit_run_folder_last(r->folder) : NULL;
    return vit_fail(VIT_ERROR_NUMERIC,
                    "epoch %d, step %zu of %zu: %s; a lower --lr or --clip-grad may help; the last "
                    "good checkpoint: %s",
                    epoch, step, r->epoch_steps, message, last ? last : "none yet");
}

/* What the last update made is not seen by a loss any more; a model that cannot be loaded must not
 * be saved. */
static vit_status check_weights(const vit_run *r, int epoch, size_t step) {
    if (vit_all_finite(r->bundle->model.params.total, r->bundle->params)) {
        return VIT_OK;
    }
    vit_fail(VIT_ERROR_NUMERIC, "a weight is not finite");
    return fail_at(r, epoch, step);
}

static vit_status write_checkpoint(vit_run *r, const vit_epoch_row *row, bool behind) {
    vit_status status = VIT_OK;
    float *all[VIT_STATE_BLOCKS];
    vit_run_blocks(r, all);
    const float *const *blocks = (const float *const *)all;
    VIT_TRY(vit_saver_wait(r->saver));
    if (behind && r->saver &&
        vit_saver_start(r->saver, r->folder, r->bundle, blocks, r->bundle->model.params.total,
                        &r->at) == VIT_OK) {
        return VIT_OK;
    }
    VIT_TRY(vit_run_folder_save(r->folder, r->bundle, blocks, &r->at, row));
cleanup:
    return status;
}

/* behind: while training goes on, if there is a saver; how it went is known at the next one. */
static vit_status save(vit_run *r, const vit_epoch_row *row, bool behind) {
    r->saved = vit_seconds();
    return vit_comm_agree(r->comm, vit_run_leads(r) ? write_checkpoint(r, row, behind) : VIT_OK);
}

static vit_status save_within(vit_run *r, int epoch, bool behind) {
    vit_status status = check_weights(r, epoch, (size_t)r->at.cursor);
    return status == VIT_OK ? save(r, NULL, behind) : status;
}

static vit_status stop(vit_run *r, int epoch) {
    vit_status status = save_within(r, epoch, false);
    if (status != VIT_OK) {
        return status;
    }
    return vit_fail(VIT_ERROR_STOPPED, "stopped in epoch %d after step %zu of %zu; saved %s", epoch,
                    (size_t)r->at.cursor, r->epoch_steps,
                    r->folder ? vit_run_folder_last(r->folder) : "by rank 0");
}

/* ---- steps ---- */

static bool is_over(const vit_run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    bool stuck = recipe->early_stop > 0 && r->val &&
                 r->at.epochs_done - r->at.best_epoch >= recipe->early_stop;
    return r->at.epochs_done >= recipe->epochs || r->out_of_time || stuck;
}

/* Of the epoch at work: with --steps the last may be short. */
static size_t steps_in_epoch(const vit_run *r) {
    bool last = r->at.epochs_done + 1 == r->settings.recipe.epochs;
    uint64_t before = (uint64_t)r->at.epochs_done * r->epoch_steps;
    return last && r->total_steps > before && r->total_steps - before < r->epoch_steps
               ? (size_t)(r->total_steps - before)
               : r->epoch_steps;
}

/* The very first batch; all others are filled during the one before. Saved while it was measured,
 * an epoch has no step left. */
static void fill_first(vit_run *r) {
    vit_batch *batch = r->batches[r->current];
    size_t most = (size_t)r->settings.recipe.grad_accum_steps;
    bool over = r->at.cursor >= steps_in_epoch(r);
    if (over && r->at.epochs_done + 1 >= r->settings.recipe.epochs) {
        return;
    }
    vit_loader_start_epoch(r->loader, (uint32_t)(r->at.epochs_done + over));
    vit_loader_prepare(r->loader, over ? 0 : (size_t)r->at.cursor * most, batch);
    vit_run_fill(r, batch);
}

/* Sets up the batch after batch n (from 0) of the epoch, across the end of the epoch too, so that
 * its pictures are read while this one is computed; NULL after the run's last. */
static vit_batch *prepare_next(vit_run *r, int epoch, size_t n) {
    vit_batch *next = r->batches[!r->current];
    size_t end = steps_in_epoch(r) * (size_t)r->settings.recipe.grad_accum_steps;
    if (n + 1 < r->epoch_batches && n + 1 < end) {
        vit_loader_prepare(r->loader, n + 1, next);
        return next;
    }
    if (epoch == r->settings.recipe.epochs) {
        return NULL;
    }
    vit_loader_start_epoch(r->loader, (uint32_t)epoch);
    vit_loader_prepare(r->loader, 0, next);
    return next;
}

/* Torch's clip_grad_norm_ and the optimiser, on grads / batches. Frozen parameters have no part in
 * the norm. */
static vit_status update(vit_run *r, float *grads, double batches, double lr) {
    const vit_recipe *recipe = &r->settings.recipe;
    const vit_param_table *table = &r->bundle->model.params;
    double scale = 1.0 / batches;
    for (size_t i = 0; i < table->count; i++) {
        if (table->items[i].flags & VIT_PARAM_FROZEN) {
            memset(grads + table->items[i].offset, 0, table->items[i].size * sizeof *grads);
        }
    }
    double norm = vit_grad_norm(table->total, grads) * scale;
    if (!isfinite(norm)) {
        return vit_fail(VIT_ERROR_NUMERIC, "the gradient is not finite");
    }
    int64_t step = (int64_t)(r->at.step - r->at.bad) + 1;
    vit_optimizer optimizer = {
        .kind = recipe->opt,
        .lr = lr,
        .beta1 = recipe->opt_betas[0],
        .beta2 = recipe->opt_betas[1],
        .eps = recipe->opt_eps,
        .weight_decay = recipe->weight_decay,
        .momentum = recipe->momentum,
        .step = step,
        .ema_decay = vit_ema_decay(recipe->model_ema_decay, recipe->model_ema_warmup, step),
        .lr_scale = r->lr_scale,
    };
    if (recipe->clip_grad > 0) {
        scale *= fmin(1.0, recipe->clip_grad / (norm + 1e-6));
    }
    vit_optimizer_step(&optimizer, table, scale, grads, &r->changed);
    return VIT_OK;
}

/* Takes what could not be read out of the batch. */
static vit_status leave_out(vit_run *r, vit_batch *batch) {
    size_t count;
    vit_status status = vit_ranks_settle_batch(r, batch, &count);
    if (count > 0 && r->unread.status == VIT_OK) {
        r->unread = batch->skipped;
    }
    r->at.epoch_unread += count;
    return status;
}

/* The gradient of the batch at work, number n of the epoch; the next one is filled meanwhile.
 * *images: how many pictures it was of, which may be none. */
static vit_status compute(vit_run *r, int epoch, size_t n, vit_step_result *result,
                          size_t *images) {
    vit_batch *batch = r->batches[r->current];
    vit_status status = leave_out(r, batch);
    if (status != VIT_OK) {
        return status;
    }
    vit_batch *next = prepare_next(r, epoch, n);
    *images = batch->count;
    if (batch->count > 0) {
        vit_keeper_lend(r->keeper);
        status =
            vit_slots_step(r->slots, r->bundle->params, batch, r->loader, next, r->grads, result);
        vit_keeper_take_back(r->keeper);
    } else if (next) {
        vit_run_fill(r, next);
    }
    if (status == VIT_ERROR_NUMERIC) {
        const char *path = r->train->samples[batch->indices[result->first_bad]].path;
        vit_fail(status, "the loss is %s, first at %s",
                 isnan(result->loss) ? "not a number" : "infinite", path);
    }
    r->current = !r->current;
    return status;
}

/* sum = sum + weight * grads, or without the former for the first batch of a step. */
static void add_gradient(vit_run *r, bool first, float weight) {
    size_t total = r->bundle->model.params.total;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (size_t i = 0; i < total; i++) {
        r->sum[i] = (first ? 0 : r->sum[i]) + weight * r->grads[i];
    }
}

/* What a step's batches were. */
typedef struct tally {
    double loss;    /* mean over the pictures */
    double batches; /* whole ones; a batch with pictures left out counts as a part of one */
    size_t images;
} tally;

/* The gradients of the batches of the step at the cursor: their mean over all pictures is grads, or
 * sum, by the number of batches. */
static vit_status compute_step(vit_run *r, int epoch, tally *t) {
    vit_status status;
    size_t most = (size_t)r->settings.recipe.grad_accum_steps;
    size_t first = (size_t)r->at.cursor * most, left = r->epoch_batches - first;
    size_t count = left < most ? left : most;
    vit_first_error bad = {0};
    for (size_t i = 0; i < count; i++) {
        vit_step_result result;
        size_t images = 0;
        status = compute(r, epoch, first + i, &result, &images);
        if (status == VIT_ERROR_NUMERIC) { /* the batches after it are passed over in order */
            vit_first_error_note(&bad, (long)i, status);
        } else if (status != VIT_OK) {
            return status;
        }
        if (images == 0 || bad.status != VIT_OK) {
            continue;
        }
        double part = r->sum ? (double)images / r->settings.recipe.batch_size : 1;
        if (r->sum) {
            add_gradient(r, t->images == 0, (float)part);
        }
        t->images += images;
        t->batches += part;
        t->loss += (result.loss - t->loss) * ((double)images / (double)t->images);
        r->at.epoch_wait += result.wait_seconds;
        r->exchange.busy += result.comm.busy;
        r->exchange.exposed += result.comm.exposed;
        r->exchange.cpu += result.comm.cpu;
        r->exchange.bytes += result.comm.bytes;
    }
    return vit_first_error_raise(&bad);
}

/* A step that came to nothing finite: it is left out, or ends the run. */
static vit_status pass_over(vit_run *r, int epoch) {
    size_t step = (size_t)r->at.cursor + 1;
    if (r->at.bad >= r->bad_steps) {
        return fail_at(r, epoch, step);
    }
    r->at.bad++;
    vit_run_warn(r, "epoch %d, step %zu of %zu: %s; the step is left out (%llu of at most %llu)",
                 epoch, step, r->epoch_steps, vit_last_error(), (unsigned long long)r->at.bad,
                 (unsigned long long)r->bad_steps);
    return VIT_OK;
}

/* One step at the cursor. Its result is added to the epoch's. Without a picture there is nothing to
 * learn from; the schedule goes on. */
static vit_status train_step(vit_run *r, int epoch, double *lr) {
    vit_status status = VIT_OK;
    vit_position *at = &r->at;
    tally t = {0};
    *lr = vit_schedule_lr(&r->schedule, (double)at->step);
    status = compute_step(r, epoch, &t);
    if (status == VIT_OK && t.images > 0) {
        status = update(r, r->sum ? r->sum : r->grads, t.batches, *lr);
    }
    if (status == VIT_ERROR_NUMERIC) {
        VIT_TRY(pass_over(r, epoch));
    } else if (status == VIT_OK && t.images > 0) {
        at->epoch_images += t.images;
        at->epoch_loss += (t.loss - at->epoch_loss) * ((double)t.images / (double)at->epoch_images);
    }
    VIT_TRY(status);
    at->step++;
    at->cursor++;
cleanup:
    return status;
}

/* Until one evaluation was timed, a picture is taken to cost a third of what it costs in training:
 * the forward pass alone. */
static double seconds_left(const vit_run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    double step = r->at.train_seconds / (double)r->at.step;
    double steps_left = fmax(0, (double)r->total_steps - (double)r->at.step);
    double eval = 0;
    if (r->val) {
        eval = r->at.epochs_done > 0 ? r->at.eval_seconds / r->at.epochs_done
                                     : step / recipe->batch_size / recipe->grad_accum_steps / 3 *
                                           (double)r->val->count;
    }
    return steps_left * step + (recipe->epochs - r->at.epochs_done) * eval;
}

static void report(const vit_run *r, int epoch, double lr) {
    if (!r->callbacks.progress || r->at.epoch_images == 0) {
        return;
    }
    vit_train_progress progress = {
        .epoch = epoch,
        .epochs = r->settings.recipe.epochs,
        .step = (size_t)r->at.cursor,
        .steps = steps_in_epoch(r),
        .run_step = (size_t)r->at.step,
        .run_steps = (size_t)r->total_steps,
        .step_images = r->settings.recipe.batch_size * r->settings.recipe.grad_accum_steps,
        .loss = r->at.epoch_loss,
        .lr = lr,
        .images_per_second = (double)r->at.epoch_images / fmax(r->at.epoch_seconds, 1e-9),
        .eta_seconds = seconds_left(r),
    };
    r->callbacks.progress(r->callbacks.context, &progress);
}

/* Between two steps of an epoch: --save-every. */
static bool save_is_due(const vit_run *r) {
    return (r->save_steps > 0 && r->at.step % r->save_steps == 0) ||
           (r->save_seconds > 0 && vit_seconds() - r->saved >= r->save_seconds);
}

/* What was left out must be known. */
static vit_status report_unread(const vit_run *r, int epoch, vit_epoch_row *row) {
    row->skipped = (size_t)r->at.epoch_unread;
    bool known = r->unread.status != VIT_OK; /* else it was before the run was resumed */
    if (row->skipped > 0 && r->at.epoch_images == 0) {
        if (!known) {
            return vit_fail(VIT_ERROR_FORMAT, "epoch %d: no picture could be read", epoch);
        }
        vit_first_error_raise(&r->unread);
        return vit_fail_context(r->unread.status, "epoch %d: no picture could be read; the first",
                                epoch);
    }
    if (row->skipped > 0) {
        vit_run_warn(r, "epoch %d: %zu pictures could not be read and were left out%s%s", epoch,
                     row->skipped, known ? "; the first: " : "", known ? r->unread.message : "");
    }
    return VIT_OK;
}

/* --time-limit, of all the work on the run. */
static bool is_out_of_time(const vit_run *r) {
    double limit = 60 * r->settings.recipe.time_limit;
    return limit > 0 && r->at.train_seconds + r->at.eval_seconds >= limit;
}

/* Between two steps, in one voice with the other ranks. */
static vit_status look_around(vit_run *r, vit_decisions *decisions) {
    *decisions = (vit_decisions){
        .stop = r->callbacks.should_stop && r->callbacks.should_stop(r->callbacks.context),
        .out_of_time = is_out_of_time(r),
        .save = save_is_due(r),
    };
    r->finished = r->at;
    vit_keeper_lend(r->keeper); /* other ranks may be busy yet */
    vit_status status = vit_ranks_decide(r, decisions);
    vit_keeper_take_back(r->keeper);
    return status;
}

/* The steps of an epoch from the cursor on. Fills lr, train_loss, images_per_second and data_wait
 * of the row. */
static vit_status train_epoch(vit_run *r, int epoch, vit_epoch_row *row) {
    vit_status status = VIT_OK;
    size_t steps = steps_in_epoch(r);
    vit_decisions now;
    row->lr = r->at.cursor > 0 ? vit_schedule_lr(&r->schedule, (double)r->at.step - 1) : 0;
    VIT_TRY(look_around(r, &now));
    while (r->at.cursor < steps && !r->out_of_time) {
        if (now.stop) {
            return stop(r, epoch);
        }
        double start = vit_seconds();
        VIT_TRY(train_step(r, epoch, &row->lr));
        double seconds = vit_seconds() - start;
        r->at.epoch_seconds += seconds;
        r->at.train_seconds += seconds;
        report(r, epoch, row->lr);
        VIT_TRY(look_around(r, &now));
        r->out_of_time = now.out_of_time;
        if (r->at.cursor < steps && !r->out_of_time && now.save) {
            VIT_TRY(save_within(r, epoch, true));
        }
    }
    double seconds = r->at.epoch_seconds;
    row->train_loss = r->at.epoch_loss;
    row->images_per_second = seconds > 0 ? (double)r->at.epoch_images / seconds : 0;
    row->data_wait = seconds > 0 ? r->at.epoch_wait / seconds : 0;
    row->seconds = seconds;
    VIT_TRY(report_unread(r, epoch, row));
cleanup:
    return status;
}

/* ---- epochs ---- */

static vit_status measure(vit_run *r, vit_epoch_row *row) {
    row->val_loss = row->top1 = row->top5 = NAN;
    if (!r->evaluator) {
        return VIT_OK;
    }
    vit_eval_result result;
    const float *params = r->ema ? r->ema : r->bundle->params;
    vit_keeper_lend(r->keeper);
    vit_status status = vit_evaluate(r->evaluator, params, r->callbacks.evaluating,
                                     r->callbacks.context, r->logits, &result);
    vit_keeper_take_back(r->keeper);
    if (status != VIT_OK) {
        return status;
    }
    r->at.eval_seconds += result.seconds;
    row->seconds += result.seconds;
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
    return !r->val || r->at.best_epoch == 0 || row->top1 > r->at.best_top1 ||
           (row->top1 == r->at.best_top1 && row->val_loss < r->at.best_loss);
}

static vit_status finish_epoch(vit_run *r, vit_epoch_row *row) {
    vit_position *at = &r->at;
    row->step = at->step;
    row->best = is_best(r, row);
    at->epochs_done = row->epoch;
    at->cursor = 0;
    at->epoch_images = at->epoch_unread = 0;
    at->epoch_loss = at->epoch_wait = at->epoch_seconds = 0;
    r->unread = (vit_first_error){0};
    at->last_top1 = row->top1;
    if (row->best) {
        at->best_epoch = row->epoch;
        at->best_top1 = row->top1;
        at->best_loss = row->val_loss;
    }
    return save(r, row, false);
}

/* row: NULL at the end of the run. */
static void look(const vit_run *r, const vit_epoch_row *row, bool stopped) {
    if (!r->callbacks.look || r->at.epochs_done == 0) {
        return;
    }
    /* At the end the other ranks do not measure along. Without an evaluator the look is poorer. */
    vit_evaluator *alone = NULL;
    if (!row && r->comm && r->evaluator) {
        vit_evaluator_create(&r->bundle->model, &r->settings.preprocess, r->val,
                             (size_t)r->settings.recipe.batch_size, r->threads, &r->settings.data,
                             &alone);
    }
    const vit_train_look seen = {
        .settings = &r->settings,
        .model = &r->bundle->model,
        .train = r->train,
        .val = r->val,
        .evaluator = !row && r->comm ? alone : r->evaluator,
        .best_epoch = r->at.best_epoch,
        .row = row,
        .stopped = stopped,
        .logits = row ? r->logits : NULL,
    };
    r->callbacks.look(r->callbacks.context, &seen);
    vit_evaluator_free(alone);
}

static vit_status run_epoch(vit_run *r) {
    vit_status status = VIT_OK;
    vit_epoch_row row = {.epoch = r->at.epochs_done + 1, .epochs = r->settings.recipe.epochs};
    VIT_TRY(train_epoch(r, row.epoch, &row));
    VIT_TRY(check_weights(r, row.epoch, r->epoch_steps));
    VIT_TRY(measure(r, &row));
    VIT_TRY(finish_epoch(r, &row));
    if (r->callbacks.epoch) {
        r->callbacks.epoch(r->callbacks.context, &row);
    }
    look(r, &row, false);
cleanup:
    return status;
}

/* The last look, whose failures do not hide why the run ends. */
static void look_back(const vit_run *r, vit_status status) {
    char message[VIT_MESSAGE_MAX];
    if (status == VIT_OK || status == VIT_ERROR_STOPPED) {
        snprintf(message, sizeof message, "%s", vit_last_error());
        look(r, NULL, status == VIT_ERROR_STOPPED);
        vit_fail(status, "%s", message);
    }
}

vit_status vit_train(const vit_train_request *request, const vit_train_callbacks *callbacks,
                     vit_train_result *result) {
    double start = vit_seconds();
    vit_status status = VIT_OK;
    vit_run r = {
        .settings = *request->settings,
        .threads = omp_get_max_threads(),
        .comm = request->comm,
        .local_ranks = request->local_ranks ? request->local_ranks : 1,
        .memory = request->memory ? request->memory : vit_memory_limit(),
        .at = vit_position_start(),
        .saved = start,
    };
    if (callbacks) {
        r.callbacks = *callbacks;
    }
    r.memory /= r.local_ranks;
    r.looks = r.callbacks.look != NULL;
    if (!vit_run_leads(&r)) {
        r.callbacks = (vit_train_callbacks){.context = r.callbacks.context,
                                            .should_stop = r.callbacks.should_stop};
    }
    VIT_TRY(vit_run_set_up(&r, request));
    VIT_TRY(vit_comm_agree(r.comm, vit_keeper_create(&r, &r.keeper)));
    r.out_of_time = is_out_of_time(&r); /* of a resumed run, before */
    if (!is_over(&r)) {
        fill_first(&r);
    } else if (request->override) {
        /* No step will save them: settings that end a run where it stands must outlive it too. */
        VIT_TRY(save(&r, NULL, false));
    }
    while (!is_over(&r)) {
        VIT_TRY(run_epoch(&r));
    }
cleanup:
    vit_keeper_free(r.keeper);
    look_back(&r, status);
    *result = (vit_train_result){
        .epochs = r.settings.recipe.epochs,
        .best_epoch = r.at.best_epoch,
        .best_top1 = r.at.best_top1,
        .last_top1 = r.at.last_top1,
        .seconds = vit_seconds() - start,
        .exchange = r.exchange,
    };
    memcpy(result->init, r.init_counts, sizeof result->init);
    vit_run_tear_down(&r);
    return status;
}
