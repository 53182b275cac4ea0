#include "train/slots.h"

#include "eval/metrics.h"
#include "train/tree.h"
#include "vit/clock.h"
#include "vit/heap.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <string.h>

/* Floats of a part of the gradient that is summed by itself, at least. */
#define PART_FLOATS ((size_t)1 << 17)
enum { MOST_PARTS = 64 };

/* What one thread computes with. */
typedef struct worker {
    vit_workspace *workspace;
    vit_workspace *teacher;            /* its own; NULL without one */
    vit_arena memory;                  /* of the rest */
    float *teacher_logits;             /* (chunk,K) */
    float *logits, *targets, *dlogits; /* (chunk,K) */
    float *drop_scale;                 /* (2*depth,chunk), or NULL without drop path */
    float *images;                     /* (chunk,C,H,W) mixed pictures, or NULL when none mix */
    double *losses;                    /* (chunk) */
} worker;

/* What comes of a slot. */
typedef struct slot_result {
    double loss; /* sum over its pictures */
    uint64_t correct;
    uint64_t first_bad; /* first picture whose loss is not finite, or UINT64_MAX */
} slot_result;

struct vit_slots {
    vit_slots_config config;
    size_t chunk;
    size_t first, end; /* slots of this rank */
    size_t worker_count;
    worker *workers;
    vit_tree *tree;
    size_t cuts[MOST_PARTS + 1], parts; /* of the gradient */
    vit_mix mix;                        /* of the batch at work */
    slot_result *results;               /* (slots) of all ranks, once gathered */
    size_t *offsets;                    /* (ranks + 1) of each rank's in results, bytes */

    /* One step's state; read and written inside the critical section vit_slots. */
    size_t next_slot, next_fetch, slots_done;
    double last_done; /* when the last slot was merged */
};

size_t vit_slots_auto(size_t batch_size) {
    size_t slots = 1;
    while (batch_size / (slots * 2) >= 4) {
        slots *= 2;
    }
    return slots;
}

/* ---- memory ---- */

/* Enough rows in a product to be efficient, few enough pictures that their activations stay in
 * cache. */
static size_t auto_chunk(const vit_model *model) {
    enum { ROWS = 200, MOST = 8 };
    size_t chunk = (ROWS + model->tokens - 1) / model->tokens;
    return chunk < 1 ? 1 : chunk > MOST ? MOST : chunk;
}

static size_t rank_count(const vit_slots_config *c) {
    return c->comm || c->ranks == 0 ? vit_comm_size(c->comm) : c->ranks;
}

static vit_status check_config(const vit_slots_config *c) {
    if (c->batch_size < 1 || c->threads < 1) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "slots: batch of %zu with %d threads (expected at least 1 of both)",
                        c->batch_size, c->threads);
    }
    if (c->slots < 1 || c->slots & (c->slots - 1) || c->slots > c->batch_size) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "slots: %zu (expected a power of two, at most the batch size %zu)",
                        c->slots, c->batch_size);
    }
    size_t ranks = rank_count(c);
    if (ranks > c->slots || ranks & (ranks - 1)) {
        return vit_fail(
            VIT_ERROR_ARGUMENT,
            "%zu ranks for %zu slots of a batch (expected 1, 2, 4, ... up to %zu ranks; a "
            "larger --batch-size has more slots)",
            ranks, c->slots, c->slots);
    }
    if (!(c->drop_path >= 0 && c->drop_path < 1) || !(c->smoothing >= 0 && c->smoothing < 1)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "slots: drop path %g, smoothing %g (expected 0 up to but not including 1)",
                        c->drop_path, c->smoothing);
    }
    const vit_mix_options *mix = &c->mix;
    if (!(mix->mixup >= 0 && isfinite(mix->mixup)) ||
        !(mix->cutmix >= 0 && isfinite(mix->cutmix)) || !(mix->prob >= 0 && mix->prob <= 1) ||
        !(mix->switch_prob >= 0 && mix->switch_prob <= 1)) {
        return vit_fail(
            VIT_ERROR_ARGUMENT,
            "slots: mixup %g, CutMix %g with probabilities %g and %g (expected at least "
            "0, and 0 to 1)",
            mix->mixup, mix->cutmix, mix->prob, mix->switch_prob);
    }
    return VIT_OK;
}

static size_t image_floats(const vit_model *model) {
    return model->patch.channels * model->patch.height * model->patch.width;
}

static vit_workspace_kind workspace_kind(const vit_slots_config *config) {
    return config->checkpoint ? VIT_TRAINING_CHECKPOINTED : VIT_TRAINING;
}

static void plan_worker(const vit_slots *slots, worker *w) {
    const vit_model *model = slots->config.model;
    size_t depth = (size_t)model->config.depth;
    size_t scores = vit_size_times(slots->chunk, (size_t)model->config.num_classes);
    w->logits = vit_arena_floats(&w->memory, scores);
    w->targets = vit_arena_floats(&w->memory, scores);
    w->dlogits = vit_arena_floats(&w->memory, scores);
    w->losses = vit_arena_take(&w->memory, slots->chunk, sizeof *w->losses);
    if (vit_mix_is_wanted(&slots->config.mix)) {
        w->images = vit_arena_floats(&w->memory, vit_size_times(slots->chunk, image_floats(model)));
    }
    if (slots->config.teacher) {
        w->teacher_logits = vit_arena_floats(&w->memory, scores);
    }
    if (slots->config.drop_path > 0) {
        w->drop_scale = vit_arena_floats(&w->memory, vit_size_times(2 * depth, slots->chunk));
    }
}

static vit_status worker_init(const vit_slots *slots, worker *w) {
    vit_status status = VIT_OK;
    const vit_slots_config *config = &slots->config;
    VIT_TRY(
        vit_workspace_create(config->model, slots->chunk, workspace_kind(config), &w->workspace));
    if (config->teacher) {
        VIT_TRY(
            vit_workspace_create(config->teacher->model, slots->chunk, VIT_INFERENCE, &w->teacher));
    }
    plan_worker(slots, w);
    VIT_TRY(vit_arena_allocate(&w->memory, "a thread's logits"));
    plan_worker(slots, w);
cleanup:
    return status;
}

static void worker_free(worker *w) {
    vit_workspace_free(w->workspace);
    vit_workspace_free(w->teacher);
    vit_arena_free(&w->memory);
}

/* Each by the thread that will use it, so that its memory lies near. */
static vit_status create_workers(vit_slots *slots) {
    vit_first_error error = {0};
#pragma omp parallel for schedule(static, 1) num_threads(slots->config.threads)
    for (size_t i = 0; i < slots->worker_count; i++) {
        vit_status status = worker_init(slots, &slots->workers[i]);
        if (status != VIT_OK) {
            vit_first_error_note(&error, (long)i, status);
        }
    }
    return vit_first_error_raise(&error);
}

/* Cuts the gradient where a block of the model begins, from the end, in parts that are worth a
 * message. */
static void set_parts(vit_slots *slots) {
    const vit_model *model = slots->config.model;
    size_t least = slots->config.part_floats ? slots->config.part_floats : PART_FLOATS;
    size_t cuts[MOST_PARTS + 1], count = 0, end = model->params.total;
    for (size_t i = (size_t)model->config.depth; i-- > 0 && count + 2 < MOST_PARTS;) {
        size_t at = model->blocks[i].norm1_weight;
        if (end - at >= least && at >= least) {
            cuts[count++] = at;
            end = at;
        }
    }
    slots->parts = rank_count(&slots->config) > 1 ? count + 1 : 1;
    for (size_t i = 1; i < slots->parts; i++) {
        slots->cuts[i] = cuts[count - i];
    }
    slots->cuts[slots->parts] = model->params.total;
}

/* How many of everything. */
static void set_sizes(vit_slots *slots, const vit_slots_config *config) {
    slots->config = *config;
    size_t S = config->slots, ranks = rank_count(config);
    slots->first = vit_comm_rank(config->comm) * (S / ranks);
    slots->end = slots->first + S / ranks;
    /* A slot holds no more than this many pictures, and needs no longer chunk. */
    size_t largest = (config->batch_size + S - 1) / S;
    slots->chunk = config->chunk ? config->chunk : auto_chunk(config->model);
    slots->chunk = slots->chunk > largest ? largest : slots->chunk;
    set_parts(slots);
}

static vit_tree_config tree_config(const vit_slots *slots) {
    return (vit_tree_config){
        .floats = slots->config.model->params.total,
        .leaves = slots->end - slots->first,
        .threads = slots->config.threads,
        .comm = slots->config.comm,
        .cuts = slots->cuts,
        .parts = slots->parts,
    };
}

vit_status vit_slots_cut(const vit_slots_config *config, size_t *chunk, size_t *parts) {
    vit_slots slots = {0};
    vit_status status = check_config(config);
    if (status == VIT_OK) {
        set_sizes(&slots, config);
        *chunk = slots.chunk;
        *parts = slots.parts;
    }
    return status;
}

vit_status vit_slots_bytes(const vit_slots_config *config, vit_slots_memory *bytes) {
    vit_status status = VIT_OK;
    vit_slots slots = {0};
    worker w = {0};
    size_t one, teacher = 0;
    VIT_TRY(check_config(config));
    set_sizes(&slots, config);
    plan_worker(&slots, &w);
    VIT_TRY(vit_workspace_bytes(config->model, slots.chunk, workspace_kind(config), &one));
    if (config->teacher) {
        VIT_TRY(vit_workspace_bytes(config->teacher->model, slots.chunk, VIT_INFERENCE, &teacher));
    }
    one = vit_size_plus(vit_size_plus(one, teacher), w.memory.overflow ? SIZE_MAX : w.memory.used);
    bytes->activations = vit_size_times((size_t)config->threads, one);
    vit_tree_config tree = tree_config(&slots);
    bytes->gradients = vit_size_times(vit_tree_blocks(&tree),
                                      vit_size_times(config->model->params.total, sizeof(float)));
cleanup:
    return status;
}

vit_status vit_slots_create(const vit_slots_config *config, vit_slots **out) {
    vit_slots_config own = *config;
    own.ranks = 0; /* of a plan only */
    *out = NULL;
    vit_slots *slots = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(check_config(&own));
    VIT_TRY(vit_alloc((void **)&slots, 1, sizeof *slots, "slots"));
    set_sizes(slots, &own);
    size_t S = config->slots, T = (size_t)config->threads, ranks = vit_comm_size(config->comm);
    VIT_TRY(vit_alloc((void **)&slots->workers, T, sizeof *slots->workers, "slots"));
    slots->worker_count = T;
    VIT_TRY(vit_alloc((void **)&slots->results, S, sizeof *slots->results, "slots"));
    VIT_TRY(vit_alloc((void **)&slots->offsets, ranks + 1, sizeof *slots->offsets, "slots"));
    for (size_t r = 0; r <= ranks; r++) {
        slots->offsets[r] = r * (S / ranks) * sizeof *slots->results;
    }
    vit_tree_config tree = tree_config(slots);
    VIT_TRY(vit_tree_create(&tree, &slots->tree));
    VIT_TRY(create_workers(slots));
    *out = slots;
cleanup:
    if (status != VIT_OK) {
        vit_slots_free(slots);
    }
    return status;
}

void vit_slots_free(vit_slots *slots) {
    if (!slots) {
        return;
    }
    for (size_t i = 0; i < slots->worker_count; i++) {
        worker_free(&slots->workers[i]);
    }
    vit_free(slots->workers);
    vit_tree_free(slots->tree);
    vit_free(slots->results);
    vit_free(slots->offsets);
    vit_free(slots);
}

/* ---- one slot ---- */

/* Rates rise linearly with depth as timm's; both branches of a block have the same rate and draws
 * of their own. */
static const float *drop_scales(const vit_slots *slots, const worker *w, const vit_batch *batch,
                                size_t first, size_t B) {
    if (!w->drop_scale) {
        return NULL;
    }
    size_t depth = (size_t)slots->config.model->config.depth;
    for (size_t branch = 0; branch < 2 * depth; branch++) {
        double rate =
            depth < 2 ? 0 : slots->config.drop_path * (double)(branch / 2) / (double)(depth - 1);
        for (size_t b = 0; b < B; b++) {
            w->drop_scale[branch * B + b] =
                vit_drop_path_scale(rate, slots->config.seed, batch->epoch,
                                    vit_batch_key(batch, first + b), (unsigned)branch);
        }
    }
    return w->drop_scale;
}

/* Pictures first .. first + B - 1 as the network sees them, and what it is to say of them. Mixed
 * ones lie in the worker's memory. */
static const float *inputs(const vit_slots *slots, const vit_batch *batch, size_t first, size_t B,
                           worker *w) {
    const vit_patch_shape *shape = &slots->config.model->patch;
    size_t K = (size_t)slots->config.model->config.num_classes;
    size_t n = image_floats(slots->config.model);
    if (!vit_mix_is_on(&slots->mix)) {
        vit_smooth_targets(B, K, batch->labels + first, slots->config.smoothing, w->targets);
        return vit_batch_image(batch, first, n);
    }
    for (size_t b = 0; b < B; b++) {
        vit_mix_image(&slots->mix, shape->channels, shape->height, shape->width,
                      vit_batch_image(batch, first + b, n),
                      vit_batch_image(batch, batch->count - 1 - (first + b), n), w->images + b * n);
        vit_mix_target(&slots->mix, batch->count, first + b, K, batch->labels,
                       slots->config.smoothing, w->targets + b * K);
    }
    return w->images;
}

/* A loss and its gradient are linear in the target. */
static void weigh_targets(const vit_slots *slots, const vit_batch *batch, size_t first, size_t B,
                          float *targets) {
    const float *weights = slots->config.class_weights;
    size_t K = (size_t)slots->config.model->config.num_classes;
    float share = slots->mix.lambda >= 1 ? 1 : (float)slots->mix.lambda;
    for (size_t b = 0; b < B; b++) {
        size_t other = batch->count - 1 - (first + b); /* the one it is mixed with */
        float weight =
            share * weights[batch->labels[first + b]] + (1 - share) * weights[batch->labels[other]];
        for (size_t k = 0; k < K; k++) {
            targets[b * K + k] *= weight;
        }
    }
}

/* A slot at work. */
typedef struct slot_run {
    vit_slots *slots;
    size_t slot, block; /* the latter of the tree */
    size_t parts_left;  /* of its gradient, to be merged */
    float *grads;
} slot_run;

/* The gradient is complete from here on. */
static void merge_from(void *context, size_t offset) {
    slot_run *run = context;
    vit_slots *slots = run->slots;
    while (run->parts_left > 0 && slots->cuts[run->parts_left - 1] >= offset) {
        run->parts_left--;
        vit_tree_merge(slots->tree, run->slot - slots->first, run->block, run->parts_left);
    }
}

/* Forward and backward of pictures first .. first + B - 1; adds to the slot's gradient and results.
 * With several ranks the last of a slot's chunks lets go of each part of it as soon as it is done.
 */
static void run_chunk(slot_run *run, const float *params, const vit_batch *batch, size_t first,
                      size_t B, bool last, worker *w) {
    vit_slots *slots = run->slots;
    slot_result *result = &slots->results[run->slot];
    const vit_model *model = slots->config.model;
    size_t K = (size_t)model->config.num_classes;
    const float *images = inputs(slots, batch, first, B, w);
    if (slots->config.class_weights) {
        weigh_targets(slots, batch, first, B, w->targets);
    }
    const float *drop_scale = drop_scales(slots, w, batch, first, B);
    vit_model_forward(model, params, w->workspace, B, images, drop_scale, w->logits);
    float scale = 1.0f / (float)batch->count;
    const vit_teacher *teacher = slots->config.teacher;
    if (teacher) {
        vit_model_forward(teacher->model, teacher->params, w->teacher, B, images, NULL,
                          w->teacher_logits);
        vit_distill_loss(teacher->alpha, teacher->temperature, B, K, w->logits, w->targets,
                         w->teacher_logits, scale, w->losses, w->dlogits);
    } else {
        vit_cross_entropy(B, K, w->logits, w->targets, scale, w->losses, w->dlogits);
    }
    for (size_t b = 0; b < B; b++) {
        result->loss += w->losses[b];
        result->correct += vit_in_top_k(K, w->logits + b * K, batch->labels[first + b], 1);
        if (!isfinite(w->losses[b]) && first + b < result->first_bad) {
            result->first_bad = first + b;
        }
    }
    const vit_backward_listener listener = {merge_from, run};
    vit_model_backward_told(model, params, run->grads, w->workspace, B, drop_scale, w->dlogits,
                            NULL, last && slots->parts > 1 ? &listener : NULL);
}

static void run_slot(vit_slots *slots, const float *params, const vit_batch *batch, size_t slot,
                     size_t block, worker *w) {
    slot_run run = {slots, slot, block, slots->parts, vit_tree_floats(slots->tree, block)};
    vit_range part = vit_slot_range(slots->config.slots, slot, batch->count);
    memset(run.grads, 0, slots->config.model->params.total * sizeof *run.grads);
    slots->results[slot] = (slot_result){.first_bad = UINT64_MAX};
    /* In as few chunks as fit, of equal size as near as can be. */
    size_t count = part.end - part.first, chunks = (count + slots->chunk - 1) / slots->chunk;
    for (size_t c = 0; c < chunks; c++) {
        size_t first = part.first + c * count / chunks;
        size_t last = part.first + (c + 1) * count / chunks;
        run_chunk(&run, params, batch, first, last - first, c + 1 == chunks, w);
    }
    merge_from(&run, 0);
    double now = vit_seconds();
#pragma omp critical(vit_slots)
    {
        slots->slots_done++;
        if (slots->slots_done == slots->end - slots->first) {
            slots->last_done = now;
        }
    }
}

/* ---- a step ---- */

typedef enum work_kind { WORK_SLOT, WORK_FETCH, WORK_WAIT, WORK_DONE } work_kind;
typedef struct work {
    work_kind kind;
    size_t index;
    size_t block; /* of the tree */
} work;

/* One list: slots first, then the pictures of the next batch. */
static work take_work(vit_slots *slots, const vit_batch *next) {
    work item = {.kind = WORK_DONE};
#pragma omp critical(vit_slots)
    {
        bool slots_left = slots->next_slot < slots->end;
        if (slots_left && vit_tree_take(slots->tree, &item.block)) {
            item.kind = WORK_SLOT;
            item.index = slots->next_slot++;
        } else if (next && slots->next_fetch < next->wanted_count) {
            item.kind = WORK_FETCH;
            item.index = slots->next_fetch++;
        } else if (slots_left) {
            item.kind = WORK_WAIT;
        }
    }
    return item;
}

static void work_through(vit_slots *slots, const float *params, const vit_batch *batch,
                         vit_loader *loader, vit_batch *next) {
    worker *w = &slots->workers[omp_get_thread_num()];
    for (;;) {
        work item = take_work(slots, next);
        switch (item.kind) {
        case WORK_SLOT:
            run_slot(slots, params, batch, item.index, item.block, w);
            break;
        case WORK_FETCH:
            vit_loader_fetch(loader, next, item.index);
            break;
        case WORK_WAIT:
            sched_yield();
            break;
        case WORK_DONE:
            return;
        }
    }
}

static void begin_step(vit_slots *slots, const vit_batch *batch, float *grads) {
    const vit_slots_config *c = &slots->config;
    slots->mix = vit_mix_draw(&c->mix, c->seed, batch->epoch, batch->number, c->model->patch.height,
                              c->model->patch.width);
    vit_tree_begin(slots->tree, grads);
    slots->next_slot = slots->first;
    slots->next_fetch = slots->slots_done = 0;
}

/* Sums over the slots, in their order. */
static vit_status collect(const vit_slots *slots, const vit_batch *batch, vit_step_result *result) {
    double loss = 0;
    result->correct = 0;
    result->first_bad = SIZE_MAX;
    for (size_t i = 0; i < slots->config.slots; i++) {
        const slot_result *slot = &slots->results[i];
        loss += slot->loss;
        result->correct += (size_t)slot->correct;
        if (result->first_bad == SIZE_MAX && slot->first_bad != UINT64_MAX) {
            result->first_bad = (size_t)slot->first_bad;
        }
    }
    result->loss = loss / (double)batch->count;
    if (result->first_bad != SIZE_MAX) {
        return vit_fail(
            VIT_ERROR_NUMERIC,
            "the loss is %s, first at picture %zu of the batch (expected a finite number)",
            isnan(result->loss) ? "not a number" : "infinite", result->first_bad);
    }
    return VIT_OK;
}

vit_status vit_slots_step(vit_slots *slots, const float *params, const vit_batch *batch,
                          vit_loader *loader, vit_batch *next, float *grads,
                          vit_step_result *result) {
    *result = (vit_step_result){.first_bad = SIZE_MAX};
    if (batch->count < 1 || batch->count > slots->config.batch_size) {
        return vit_fail(VIT_ERROR_ARGUMENT, "step: batch of %zu pictures (expected 1 to %zu)",
                        batch->count, slots->config.batch_size);
    }
    begin_step(slots, batch, grads);
    double start = vit_seconds(), filled;
#pragma omp parallel num_threads(slots->config.threads)
    {
        work_through(slots, params, batch, loader, next);
#pragma omp barrier
#pragma omp master
        filled = vit_seconds();
        vit_tree_last_sum(slots->tree);
    }
    double wait = filled - slots->last_done;
    result->wait_seconds = wait > 0 ? wait : 0;
    result->compute_seconds = vit_seconds() - start - result->wait_seconds;
    vit_status status = vit_tree_finish(slots->tree, &result->comm);
    if (status == VIT_OK) {
        status = vit_comm_all_gather(slots->config.comm, slots->results, slots->offsets);
    }
    if (status != VIT_OK) {
        return status;
    }
    return collect(slots, batch, result);
}
