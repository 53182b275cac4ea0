#include "train/eval_ranks.h"
#include "train/ranks.h"
#include "train/resume.h"
#include "train/run.h"

#include "train/class_weights.h"
#include "train/memory_plan.h"
#include "train/param_groups.h"
#include "vit/heap.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void vit_run_warn(const vit_run *r, const char *format, ...) {
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

enum { MAX_EPOCHS = 100000 };

static vit_status open_data(vit_run *r, const char *data) {
    vit_status status = VIT_OK;
    size_t missing = 0;
    bool has_val = false;
    vit_dataset_query query = vit_data_query(&r->settings.data, data, "train");
    VIT_TRY(vit_dataset_find(&query, &r->train, NULL));
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
    query.split = "val";
    query.known_classes = (const char *const *)r->train->class_names;
    query.known_count = r->train->class_count;
    VIT_TRY(vit_dataset_has(&query, &has_val));
    if (!has_val) {
        vit_run_warn(r,
                     "%s: no val folder or list; nothing is measured, and the best model is the "
                     "last (--val-split 0.2 would hold out a fifth)",
                     data);
        goto cleanup;
    }
    VIT_TRY(vit_dataset_find(&query, &r->val, &missing));
    if (missing > 0) {
        vit_run_warn(r, "%s: no picture of %zu of the %zu classes", r->val->root, missing,
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
            return sources[first + i] > VIT_FROM_RECIPE;
        }
    }
    return false;
}

/* The epochs that --steps makes, the last of which may be short. */
static vit_status count_epochs(vit_recipe *recipe, size_t pictures) {
    int batches = (int)pictures / recipe->batch_size;
    int steps = (batches + recipe->grad_accum_steps - 1) / recipe->grad_accum_steps;
    int epochs = (recipe->steps - 1) / steps + 1;
    if (epochs > MAX_EPOCHS) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--steps %d: %d epochs (expected at most %d)",
                        recipe->steps, epochs, MAX_EPOCHS);
    }
    recipe->epochs = epochs;
    return VIT_OK;
}

static vit_plan_request plan_request(const vit_run *r, const vit_model *model) {
    return (vit_plan_request){
        .model = model,
        .recipe = &r->settings.recipe,
        .threads = r->threads,
        .train_images = r->train->count,
        .val_images = r->val ? r->val->count : 0,
        .looks = r->looks,
        .ranks = vit_comm_size(r->comm),
        .teacher = r->teacher_bundle ? &r->teacher_bundle->model : NULL,
    };
}

/* --batch-size auto, as a number from here on. */
static vit_status choose_batch_size(vit_run *r) {
    vit_status status = VIT_OK;
    vit_model model = {0};
    VIT_TRY(vit_config_check(&r->settings.model));
    VIT_TRY(vit_model_init(&model, &r->settings.model));
    const vit_plan_request request = plan_request(r, &model);
    VIT_TRY(vit_plan_batch_size(&request, r->memory, &r->settings.recipe.batch_size));
cleanup:
    vit_model_free(&model);
    return status;
}

/* Before any of it is taken. */
static vit_status plan_memory(vit_run *r) {
    vit_status status = VIT_OK;
    vit_model model = {0};
    VIT_TRY(vit_model_init(&model, &r->settings.model));
    const vit_plan_request request = plan_request(r, &model);
    VIT_TRY(vit_plan_training(&request, &r->plan));
    VIT_TRY(vit_plan_check(&r->plan, r->memory));
cleanup:
    vit_model_free(&model);
    return status;
}

/* What the data decides: classes, a batch that fits, a warm-up that fits. */
static vit_status settle(vit_run *r, const unsigned char *sources) {
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
        vit_run_warn(r,
                     "--batch-size %d: there are only %zu pictures; the batch is reduced to these",
                     recipe->batch_size, r->train->count);
        recipe->batch_size = (int)r->train->count;
    }
    if (recipe->batch_size == 0 && r->comm) {
        VIT_TRY(
            vit_fail(VIT_ERROR_ARGUMENT,
                     "--batch-size auto: chosen by one machine's memory (expected a number with "
                     "several ranks)"));
    }
    if (recipe->batch_size == 0) {
        VIT_TRY(choose_batch_size(r));
    }
    if (recipe->steps > 0) {
        VIT_TRY(count_epochs(recipe, r->train->count));
    }
    if (recipe->warmup_epochs > recipe->epochs / 5.0 &&
        !is_given(sources, offsetof(vit_recipe, warmup_epochs))) {
        recipe->warmup_epochs = recipe->epochs / 5.0;
    }
    VIT_TRY(vit_train_settings_check(&r->settings));
    VIT_TRY(vit_config_check(&r->settings.model));
    VIT_TRY(plan_memory(r));
cleanup:
    return status;
}

static vit_status create_loader(vit_run *r) {
    vit_slots_config slots =
        vit_recipe_slots(&r->settings.recipe, (size_t)r->settings.recipe.batch_size);
    vit_loader_config config = {
        .dataset = r->train,
        .batch_size = (size_t)r->settings.recipe.batch_size,
        .height = (size_t)r->settings.model.img_size[0],
        .width = (size_t)r->settings.model.img_size[1],
        .preprocess = r->settings.preprocess,
        .augment = &r->settings.augment,
        .shuffle = true,
        .sampler = r->settings.recipe.sampler,
        .drop_last = true,
        .skip = r->settings.data.on_error == VIT_ON_ERROR_SKIP,
        .repeats = (size_t)r->settings.recipe.repeated_aug,
        .seed = r->settings.recipe.seed,
        .decode = vit_data_decode(&r->settings.data),
        .cache = r->settings.data.cache == VIT_CACHE_RAM,
        .share = {vit_comm_rank(r->comm), vit_comm_size(r->comm), slots.slots},
        .mix = slots.mix,
        .cache_ranks = r->local_ranks,
    };
    vit_status status = VIT_OK;
    VIT_TRY(vit_loader_create(&config, r->threads, &r->loader));
    VIT_TRY(vit_batch_create(r->loader, &r->batches[0]));
    VIT_TRY(vit_batch_create(r->loader, &r->batches[1]));
    r->epoch_batches = vit_loader_batches(r->loader);
    size_t accumulated = (size_t)r->settings.recipe.grad_accum_steps;
    r->epoch_steps = (r->epoch_batches + accumulated - 1) / accumulated;
cleanup:
    return status;
}

vit_slots_config vit_recipe_slots(const vit_recipe *recipe, size_t batch_size) {
    return (vit_slots_config){
        .batch_size = batch_size,
        .slots = recipe->slots ? (size_t)recipe->slots : vit_slots_auto(batch_size),
        .checkpoint = recipe->checkpoint_activations,
        .seed = recipe->seed,
        .drop_path = recipe->drop_path,
        .smoothing = recipe->smoothing,
        .mix = {recipe->mixup, recipe->cutmix, recipe->mixup_prob, recipe->mixup_switch_prob},
    };
}

static vit_status create_slots(vit_run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    vit_slots_config config = vit_recipe_slots(recipe, (size_t)recipe->batch_size);
    config.model = &r->bundle->model;
    config.threads = r->threads;
    config.comm = r->comm;
    config.class_weights = r->class_weights;
    config.teacher = r->teacher_bundle ? &r->teacher : NULL;
    return vit_slots_create(&config, &r->slots);
}

static void set_schedule(vit_run *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    double steps = (double)r->epoch_steps;
    r->total_steps =
        recipe->steps > 0 ? (uint64_t)recipe->steps : (uint64_t)recipe->epochs * r->epoch_steps;
    r->schedule = (vit_schedule){
        .lr = vit_recipe_lr(recipe),
        .warmup_lr = recipe->warmup_lr,
        .min_lr = recipe->min_lr,
        .warmup_steps = recipe->warmup_epochs * steps,
        .total_steps = (double)r->total_steps,
        .kind = recipe->sched,
    };
}

/* The weights to start from. */
static vit_status start_from(vit_run *r) {
    const char *path = r->settings.transfer.init;
    if (!*path) {
        return VIT_OK;
    }
    vit_init_listener listener = {r->callbacks.context, r->callbacks.initialised,
                                  r->callbacks.warning};
    vit_status status = vit_init_from(path, r->bundle, &listener, r->init_counts);
    return status == VIT_OK ? VIT_OK : vit_fail_context(status, "--init");
}

static vit_status load_teacher(vit_run *r) {
    const char *path = r->settings.transfer.distill;
    vit_status status = *path ? vit_model_bundle_load(path, &r->teacher_bundle) : VIT_OK;
    return status == VIT_OK ? VIT_OK : vit_fail_context(status, "--distill");
}

static vit_status take_teacher(vit_run *r) {
    const vit_transfer *transfer = &r->settings.transfer;
    if (!r->teacher_bundle) {
        return VIT_OK;
    }
    r->teacher = (vit_teacher){
        .model = &r->teacher_bundle->model,
        .params = r->teacher_bundle->params,
        .alpha = transfer->distill_alpha,
        .temperature = transfer->distill_temperature,
    };
    return vit_teacher_check(r->teacher_bundle, r->bundle, transfer->distill);
}

size_t vit_run_list_blocks(const vit_recipe *recipe, const vit_param_table *table,
                           vit_run_block blocks[VIT_RUN_BLOCKS]) {
    const struct {
        bool needed;
        vit_run_block block;
    } all[VIT_RUN_BLOCKS] = {
        {true, {offsetof(vit_run, grads), table->total, "gradient"}},
        {true, {offsetof(vit_run, moment1), table->total, "first moments"}},
        {vit_optimizer_has_moment2(recipe->opt),
         {offsetof(vit_run, moment2), table->total, "second moments"}},
        {recipe->model_ema, {offsetof(vit_run, ema), table->total, "average of the weights"}},
        {recipe->grad_accum_steps > 1, {offsetof(vit_run, sum), table->total, "sum of gradients"}},
        {vit_optimizer_has_trust(recipe->opt),
         {offsetof(vit_run, trust), table->count, "trust ratios"}},
        {recipe->layer_decay < 1, {offsetof(vit_run, lr_scale), table->count, "learning rates"}},
    };
    size_t count = 0;
    for (size_t i = 0; i < VIT_RUN_BLOCKS; i++) {
        if (all[i].needed) {
            blocks[count++] = all[i].block;
        }
    }
    return count;
}

static vit_status allocate(vit_run *r) {
    vit_status status = VIT_OK;
    const vit_recipe *recipe = &r->settings.recipe;
    vit_param_table *table = &r->bundle->model.params;
    vit_run_block blocks[VIT_RUN_BLOCKS];
    size_t count = vit_run_list_blocks(recipe, table, blocks);
    if (*recipe->freeze) {
        VIT_TRY(vit_freeze(table, recipe->freeze));
    }
    for (size_t i = 0; i < count; i++) {
        void *block;
        VIT_TRY(vit_alloc(&block, blocks[i].count, sizeof(float), blocks[i].name));
        memcpy((char *)r + blocks[i].offset, &block, sizeof block);
    }
    if (r->lr_scale) {
        vit_layer_scales(table, r->settings.model.depth, recipe->layer_decay, r->lr_scale);
    }
    r->changed = (vit_optimizer_blocks){
        .params = r->bundle->params,
        .moment1 = r->moment1,
        .moment2 = r->moment2,
        .ema = r->ema,
        .trust = r->trust,
    };
cleanup:
    return status;
}

void vit_run_blocks(const vit_run *r, float *blocks[VIT_STATE_BLOCKS]) {
    blocks[VIT_STATE_MODEL] = r->bundle->params;
    blocks[VIT_STATE_MOMENT1] = r->moment1;
    blocks[VIT_STATE_MOMENT2] = r->moment2;
    blocks[VIT_STATE_EMA] = r->ema;
}

/* Epochs may have another length than those that the run began with: it then stands the same share
 * into its epoch. */
static void fit_cursor(vit_run *r) {
    vit_position *at = &r->at;
    if (at->epoch_steps != r->epoch_steps) {
        double share = at->epoch_steps > 0 ? (double)at->cursor / (double)at->epoch_steps : 0;
        at->cursor = (uint64_t)(share * (double)r->epoch_steps);
        at->epoch_steps = r->epoch_steps;
        at->step = (uint64_t)at->epochs_done * r->epoch_steps + at->cursor;
    }
}

static vit_status take_up(vit_run *r, const vit_train_request *request, const vit_state *state) {
    vit_status status = VIT_OK;
    float *blocks[VIT_STATE_BLOCKS];
    if (!request->override) {
        VIT_TRY(vit_resume_check(&r->settings, r->at.pictures, state));
    }
    uint64_t pictures = r->at.pictures;
    r->at = *vit_state_position(state);
    r->at.pictures = pictures;
    fit_cursor(r);
    vit_run_blocks(r, blocks);
    VIT_TRY(vit_state_read(state, &r->bundle->model.params, blocks));
cleanup:
    return status;
}

static vit_status open_folder(vit_run *r, const vit_train_request *request) {
    vit_status status = VIT_OK;
    vit_state *state = NULL;
    VIT_TRY(vit_run_folder_open(request->out, request->resume, &r->folder, &state));
    VIT_TRY(state ? take_up(r, request, state) : start_from(r));
    if (r->ema && !state) {
        memcpy(r->ema, r->bundle->params, r->bundle->model.params.total * sizeof *r->ema);
    }
    VIT_TRY(vit_run_folder_begin(r->folder, request->data, &r->settings, request->sources,
                                 (const char *const *)r->train->class_names, r->train->class_count,
                                 state));
cleanup:
    vit_state_close(state);
    return status;
}

static void say_started(const vit_run *r, const vit_train_request *request) {
    const vit_train_callbacks *c = &r->callbacks;
    if (c->planned) {
        c->planned(c->context, &r->plan, r->memory);
    }
    if (c->started) {
        c->started(c->context, &r->bundle->model, r->train->count, r->val ? r->val->count : 0,
                   r->settings.recipe.epochs);
    }
    if (request->resume && c->resumed) {
        c->resumed(c->context, r->at.epochs_done, (size_t)r->at.cursor);
    }
}

/* What the model says of val, for whoever wants to look at it: on all ranks or on none. */
static vit_status allocate_logits(vit_run *r) {
    uint64_t wanted = r->looks, failed = 0;
    vit_status status = VIT_OK;
    VIT_TRY(vit_comm_any(r->comm, &wanted));
    if (!wanted || !r->val) {
        goto cleanup;
    }
    failed = vit_evaluator_logits(r->evaluator, &r->logits) != VIT_OK;
    if (failed) {
        vit_run_warn(r, "the report goes without what is measured: %s", vit_last_error());
    }
    VIT_TRY(vit_comm_any(r->comm, &failed));
    if (failed) {
        vit_free(r->logits);
        r->logits = NULL;
    }
cleanup:
    return status;
}

void vit_run_fill(vit_run *r, vit_batch *batch) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(r->threads)
    for (size_t j = 0; j < batch->wanted_count; j++) {
        vit_loader_fetch(r->loader, batch, j);
    }
}

/* All that a rank needs by itself; ranks do not talk here. */
static vit_status prepare(vit_run *r, const vit_train_request *request) {
    vit_status status = VIT_OK;
    const vit_train_settings *s = &r->settings;
    double minutes;
    VIT_TRY(open_data(r, request->data));
    VIT_TRY(load_teacher(r));
    VIT_TRY(settle(r, request->sources));
    VIT_TRY(vit_recipe_save_every(&s->recipe, &r->save_steps, &minutes));
    r->save_seconds = 60 * minutes;
    VIT_TRY(vit_recipe_on_nan(&s->recipe, &r->bad_steps));
    r->at.pictures = vit_resume_pictures(r->train, r->val);
    VIT_TRY(vit_model_bundle_new(&s->model, &s->preprocess,
                                 (const char *const *)r->train->class_names, s->recipe.seed,
                                 &r->bundle));
    VIT_TRY(take_teacher(r));
    VIT_TRY(allocate(r));
    VIT_TRY(create_loader(r));
    VIT_TRY(vit_class_weights(s->recipe.class_weights, r->train,
                              s->recipe.sampler == VIT_SAMPLER_BALANCED, &r->class_weights));
    VIT_TRY(create_slots(r));
    if (r->val) {
        vit_eval_ranks ranks = vit_comm_eval_ranks(r->comm);
        VIT_TRY(vit_evaluator_create_share(&r->bundle->model, &s->preprocess, r->val,
                                           (size_t)s->recipe.batch_size, r->threads, &s->data,
                                           r->comm ? &ranks : NULL, &r->evaluator));
    }
    if (r->comm && vit_run_leads(r) && (r->save_steps > 0 || r->save_seconds > 0)) {
        VIT_TRY(vit_saver_create(&r->saver));
    }
    set_schedule(r);
    r->at.epoch_steps = r->epoch_steps;
cleanup:
    return status;
}

vit_status vit_run_set_up(vit_run *r, const vit_train_request *request) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_comm_agree(r->comm, prepare(r, request)));
    VIT_TRY(vit_ranks_check(r));
    VIT_TRY(allocate_logits(r));
    VIT_TRY(vit_comm_agree(r->comm, vit_run_leads(r) ? open_folder(r, request) : VIT_OK));
    VIT_TRY(vit_ranks_take_state(r));
    say_started(r, request);
cleanup:
    return status;
}

void vit_run_tear_down(vit_run *r) {
    vit_saver_free(r->saver);
    vit_run_folder_free(r->folder);
    vit_evaluator_free(r->evaluator);
    vit_slots_free(r->slots);
    vit_batch_free(r->batches[0]);
    vit_batch_free(r->batches[1]);
    vit_loader_free(r->loader);
    vit_free(r->logits);
    vit_free(r->grads);
    vit_free(r->moment1);
    vit_free(r->moment2);
    vit_free(r->class_weights);
    vit_free(r->sum);
    vit_free(r->ema);
    vit_free(r->trust);
    vit_free(r->lr_scale);
    vit_model_bundle_free(r->bundle);
    vit_model_bundle_free(r->teacher_bundle);
    vit_dataset_free(r->val);
    vit_dataset_free(r->train);
}
