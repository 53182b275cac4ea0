/* Training steps (forward, backward, gradient norm, update) on pictures of random numbers. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "train/optimizer.h"
#include "train/slots.h"
#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/rng.h"

#include <math.h>
#include <string.h>

#define WARM_UP_STEPS 2

typedef struct trainee {
    vit_batch batch;
    vit_slots *slots;
    float *params, *grads, *moment1, *moment2;
    double seconds[BENCH_MAX_REPEATS];
} trainee;

static vit_status batch_create(const vit_model *model, size_t size, vit_batch *batch) {
    vit_status status = VIT_OK;
    size_t pixels = 3 * (size_t)model->config.img_size[0] * (size_t)model->config.img_size[1];
    batch->count = batch->capacity = size;
    VIT_TRY(vit_alloc((void **)&batch->indices, size, sizeof *batch->indices, "bench batch"));
    VIT_TRY(vit_alloc((void **)&batch->labels, size, sizeof *batch->labels, "bench batch"));
    VIT_TRY(vit_alloc((void **)&batch->images, size, pixels * sizeof(float), "bench batch"));
    vit_rng rng = vit_rng_make(0, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < size; i++) {
        batch->indices[i] = (uint32_t)i;
        batch->labels[i] = (int)vit_rng_below(&rng, (uint32_t)model->config.num_classes);
    }
    for (size_t i = 0; i < size * pixels; i++) {
        batch->images[i] = (float)vit_rng_range(&rng, -2, 2);
    }
cleanup:
    return status;
}

static vit_status trainee_create(const bench_settings *settings, const vit_model *model,
                                 trainee *t) {
    vit_status status = VIT_OK;
    size_t batch_size = (size_t)settings->batch_size, n = model->params.total;
    const vit_slots_config config = {
        .model = model,
        .batch_size = batch_size,
        .slots = vit_slots_auto(batch_size),
        .threads = settings->threads,
        .smoothing = 0.1,
    };
    VIT_TRY(batch_create(model, batch_size, &t->batch));
    VIT_TRY(vit_slots_create(&config, &t->slots));
    VIT_TRY(vit_alloc((void **)&t->params, n, sizeof(float), "parameters"));
    VIT_TRY(vit_alloc((void **)&t->grads, n, sizeof(float), "gradients"));
    VIT_TRY(vit_alloc((void **)&t->moment1, n, sizeof(float), "first moments"));
    VIT_TRY(vit_alloc((void **)&t->moment2, n, sizeof(float), "second moments"));
    vit_params_init(&model->params, 0, t->params);
cleanup:
    return status;
}

static void trainee_free(trainee *t) {
    vit_slots_free(t->slots);
    vit_free(t->batch.indices);
    vit_free(t->batch.labels);
    vit_free(t->batch.images);
    vit_free(t->params);
    vit_free(t->grads);
    vit_free(t->moment1);
    vit_free(t->moment2);
}

/* *compute (may be NULL): seconds of it that were the slots'. */
static vit_status step(const vit_model *model, trainee *t, int64_t number, double *compute) {
    vit_step_result result;
    const vit_optimizer adamw = {.lr = 1e-4,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8,
                                 .weight_decay = 0.05,
                                 .step = number};
    vit_status status =
        vit_slots_step(t->slots, t->params, &t->batch, NULL, NULL, t->grads, &result);
    if (status == VIT_OK) {
        double norm = vit_grad_norm(model->params.total, t->grads);
        const vit_optimizer_blocks blocks = {
            .params = t->params, .moment1 = t->moment1, .moment2 = t->moment2};
        vit_optimizer_step(&adamw, &model->params, norm > 1 ? 1 / norm : 1, t->grads, &blocks);
        if (compute != NULL) {
            *compute = result.compute_seconds;
        }
    }
    return status;
}

/* done: steps before this one. */
static void tell(const bench_settings *settings, int64_t done) {
    bench_tell(settings, "training steps", (size_t)done, WARM_UP_STEPS + (size_t)settings->repeats);
}

static vit_status measure(const bench_settings *settings, const vit_model *model, trainee *t,
                          bench_ceiling *ceiling) {
    vit_status status = VIT_OK;
    int64_t number = 0;
    int measured = 0;
    for (int i = 0; i < WARM_UP_STEPS; i++) {
        tell(settings, number);
        VIT_TRY(step(model, t, ++number, NULL));
    }
    for (size_t sample = 0; sample < BENCH_SAMPLES; sample++) {
        VIT_TRY(bench_ceiling_sample(ceiling));
        for (int i = bench_share_of_repeats(settings->repeats, sample); i > 0; i--) {
            tell(settings, number);
            double start = vit_seconds();
            VIT_TRY(step(model, t, ++number, NULL));
            t->seconds[measured++] = vit_seconds() - start;
        }
    }
cleanup:
    return status;
}

vit_status bench_train(const bench_settings *settings, bench_report *report) {
    vit_status status = VIT_OK;
    vit_model model = {0};
    trainee t;
    memset(&t, 0, sizeof t);
    VIT_TRY(vit_model_init(&model, &settings->model));
    VIT_TRY(trainee_create(settings, &model, &t));
    bench_ceiling ceiling = bench_ceiling_of(settings, &model, true);
    VIT_TRY(measure(settings, &model, &t, &ceiling));
    double seconds = bench_median(t.seconds, (size_t)settings->repeats);
    double rate = settings->batch_size / seconds, products = bench_ceiling_rate(&ceiling);
    double flops = 3 * vit_config_flops(&model.config); /* forward, and twice that backward */
    bench_add(report, "training", rate, "images/s", rate * flops / products);
    bench_add(report, "step", 1e3 * seconds, "ms", NAN);
    bench_add(report, "products of a picture's step", flops * 1e-9, "GFLOP", NAN);
    bench_add(report, "the model's products", products * 1e-9, "GFLOP/s", NAN);
    bench_add_memory(report);
cleanup:
    trainee_free(&t);
    vit_model_free(&model);
    return status;
}

vit_status bench_train_step(const bench_settings *settings, double *compute, double *update) {
    vit_status status = VIT_OK;
    vit_model model = {0};
    trainee t;
    double parts[BENCH_MAX_REPEATS];
    int64_t number = 0;
    memset(&t, 0, sizeof t);
    VIT_TRY(vit_model_init(&model, &settings->model));
    VIT_TRY(trainee_create(settings, &model, &t));
    for (int i = 0; i < WARM_UP_STEPS; i++) {
        tell(settings, number);
        VIT_TRY(step(&model, &t, ++number, NULL));
    }
    for (int i = 0; i < settings->repeats; i++) {
        tell(settings, number);
        double start = vit_seconds();
        VIT_TRY(step(&model, &t, ++number, &parts[i]));
        t.seconds[i] = vit_seconds() - start - parts[i];
    }
    *compute = bench_median(parts, (size_t)settings->repeats);
    *update = bench_median(t.seconds, (size_t)settings->repeats);
cleanup:
    trainee_free(&t);
    vit_model_free(&model);
    return status;
}
