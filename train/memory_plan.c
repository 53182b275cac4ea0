#include "train/memory_plan.h"

#include "eval/evaluate.h"
#include "eval/predict.h"
#include "train/run.h"
#include "vit/memory.h"

#include <stdio.h>
#include <string.h>

#define AUTO_SHARE 0.5 /* of the available memory; other programs change their minds */
#define AUTO_MOST 1024
#define AUTO_STEPS 16 /* at least, in an epoch */

/* For each thread: the panels of a product that BLAS packs (measured: 1 to 4 MB), and a picture of
 * some megapixels with what resizing needs beside it. */
#define THREAD_ALLOWANCE ((size_t)8 << 20)

static void add(vit_memory_plan *plan, const char *name, size_t bytes) {
    if (bytes > 0) {
        if (plan->count < VIT_PLAN_ROWS) {
            plan->rows[plan->count++] = (vit_memory_row){name, bytes};
        }
        plan->total = vit_size_plus(plan->total, bytes);
    }
}

static void add_program(vit_memory_plan *plan, int threads) {
    size_t allowance = vit_size_times((size_t)threads, THREAD_ALLOWANCE);
    add(plan, "program, libraries, decoding", vit_size_plus((size_t)vit_memory_used(), allowance));
}

static size_t floats(size_t count) {
    return vit_size_times(count, sizeof(float));
}

static vit_slots_config slots_config(const vit_plan_request *request, size_t batch_size,
                                     const vit_teacher *teacher) {
    vit_slots_config config = vit_recipe_slots(request->recipe, batch_size);
    config.model = request->model;
    config.threads = request->threads;
    config.ranks = request->ranks;
    config.teacher = request->teacher ? teacher : NULL;
    return config;
}

/* The blocks of the size of the model, each under its name. */
static void add_blocks(const vit_plan_request *request, vit_memory_plan *plan) {
    vit_run_block blocks[VIT_RUN_BLOCKS];
    size_t count = vit_run_list_blocks(request->recipe, &request->model->params, blocks);
    add(plan, "parameters", floats(request->model->params.total));
    for (size_t i = 0; i < count; i++) {
        add(plan, blocks[i].name, floats(blocks[i].count));
    }
}

static vit_status plan_training(const vit_plan_request *request, size_t batch_size,
                                vit_memory_plan *plan) {
    vit_status status = VIT_OK;
    const vit_model *model = request->model;
    const vit_teacher teacher = {.model = request->teacher};
    vit_slots_config config = slots_config(request, batch_size, &teacher);
    vit_slots_memory slots;
    size_t ranks = request->ranks ? request->ranks : 1;
    const vit_share share = {0, ranks, config.slots};
    size_t rows = vit_share_most(&share, batch_size, vit_mix_is_wanted(&config.mix));
    *plan = (vit_memory_plan){.count = 0};
    add_blocks(request, plan);
    if (ranks > 1 && *request->recipe->save_every) {
        size_t copies = 2 + vit_optimizer_has_moment2(request->recipe->opt) +
                        (size_t)request->recipe->model_ema;
        add(plan, "copy for checkpoints", floats(vit_size_times(copies, model->params.total)));
    }
    VIT_TRY(vit_slots_bytes(&config, &slots));
    add(plan, "gradients of slots", slots.gradients);
    add(plan, "activations", slots.activations);
    add(plan, "two batches of pictures",
        vit_size_times(2,
                       vit_batch_bytes(batch_size, rows, model->patch.height, model->patch.width)));
    if (request->val_images > 0) {
        add(plan, "evaluation",
            vit_evaluator_bytes(model, request->val_images, ranks, batch_size, request->threads));
        if (request->looks) {
            add(plan, "what the model says of val",
                floats(vit_size_times(request->val_images, model->head_shape.classes)));
        }
    }
    add_program(plan, request->threads);
cleanup:
    return status;
}

vit_status vit_plan_training(const vit_plan_request *request, vit_memory_plan *plan) {
    return plan_training(request, (size_t)request->recipe->batch_size, plan);
}

vit_status vit_plan_evaluation(const vit_model *model, size_t batch_size, int threads,
                               vit_memory_plan *plan) {
    *plan = (vit_memory_plan){.count = 0};
    add(plan, "parameters", vit_model_weight_bytes(model));
    add(plan, "evaluation", vit_evaluator_bytes(model, batch_size, 1, batch_size, threads));
    add_program(plan, threads);
    return VIT_OK;
}

vit_status vit_plan_classification(const vit_model *model, size_t batch_size, int threads,
                                   vit_memory_plan *plan) {
    vit_status status;
    size_t bytes = 0;
    *plan = (vit_memory_plan){.count = 0};
    VIT_TRY(vit_predictor_bytes(model, batch_size, threads, &bytes));
    add(plan, "parameters", vit_model_weight_bytes(model));
    add(plan, "activations", bytes);
    add_program(plan, threads);
cleanup:
    return status;
}

vit_status vit_plan_check(const vit_memory_plan *plan, uint64_t available) {
    if (available == 0 || plan->total <= available) {
        return VIT_OK;
    }
    const vit_memory_row *largest = &plan->rows[0];
    for (size_t i = 1; i < plan->count; i++) {
        largest = plan->rows[i].bytes > largest->bytes ? &plan->rows[i] : largest;
    }
    return vit_fail(VIT_ERROR_LIMIT,
                    "training takes %.2f GB of memory, most of it %s with %.2f GB, and %.2f GB are "
                    "available (expected a smaller --batch-size or model, fewer --threads, or "
                    "--checkpoint-activations; zvit info --plan lists it)",
                    1e-9 * (double)plan->total, largest->name, 1e-9 * (double)largest->bytes,
                    1e-9 * (double)available);
}

vit_status vit_plan_batch_size(const vit_plan_request *request, uint64_t available,
                               int *batch_size) {
    vit_status status = VIT_OK;
    vit_memory_plan plan;
    /* Fewer pictures than slots are no batch. */
    size_t slots = (size_t)request->recipe->slots;
    size_t least = slots > 0 && slots <= request->train_images ? slots : 1;
    *batch_size = (int)least;
    for (size_t size = least; size <= AUTO_MOST; size *= 2) {
        if (size > least && size > request->train_images / AUTO_STEPS) {
            break;
        }
        VIT_TRY(plan_training(request, size, &plan));
        if (available > 0 && (double)plan.total > AUTO_SHARE * (double)available) {
            break;
        }
        *batch_size = (int)size;
    }
cleanup:
    return status;
}
