/* Forward passes on pictures of random numbers. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "eval/evaluate.h"
#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/quant_model.h"
#include "vit/rng.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

typedef struct inferrer {
    const vit_model *model;
    size_t batch, chunk, pixels, classes;
    int threads;
    float *params, *images, *logits; /* (batch,3,H,W), (batch,K) */
    vit_workspace **workspaces;      /* (threads) */
    vit_workspace *single;           /* of one picture */
} inferrer;

static void inferrer_free(inferrer *x) {
    for (int i = 0; x->workspaces && i < x->threads; i++) {
        vit_workspace_free(x->workspaces[i]);
    }
    vit_free(x->workspaces);
    vit_workspace_free(x->single);
    vit_free(x->params);
    vit_free(x->images);
    vit_free(x->logits);
}

/* Each by the thread that will use it, so that its memory lies near. */
static vit_status create_workspaces(inferrer *x) {
    vit_first_error error = {0};
#pragma omp parallel for schedule(static, 1) num_threads(x->threads)
    for (int i = 0; i < x->threads; i++) {
        vit_status status = vit_workspace_create(x->model, x->chunk, false, &x->workspaces[i]);
        if (status != VIT_OK) {
            vit_first_error_note(&error, i, status);
        }
    }
    return vit_first_error_raise(&error);
}

static vit_status inferrer_create(const bench_settings *settings, const vit_model *model,
                                  inferrer *x) {
    vit_status status = VIT_OK;
    x->model = model;
    x->threads = settings->threads;
    x->batch = (size_t)settings->batch_size;
    x->chunk = vit_evaluation_chunk(model);
    x->pixels = model->patch.channels * model->patch.height * model->patch.width;
    x->classes = model->head_shape.classes;
    VIT_TRY(vit_alloc((void **)&x->params, model->params.total, sizeof(float), "parameters"));
    VIT_TRY(vit_alloc((void **)&x->images, x->batch, x->pixels * sizeof(float), "bench batch"));
    VIT_TRY(vit_alloc((void **)&x->logits, x->batch, x->classes * sizeof(float), "logits"));
    VIT_TRY(vit_alloc((void **)&x->workspaces, (size_t)x->threads, sizeof *x->workspaces,
                      "workspaces"));
    VIT_TRY(vit_workspace_create(model, 1, false, &x->single));
    VIT_TRY(create_workspaces(x));
    vit_params_init(&model->params, 0, x->params);
    vit_rng rng = vit_rng_make(0, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < x->batch * x->pixels; i++) {
        x->images[i] = (float)vit_rng_range(&rng, -2, 2);
    }
cleanup:
    return status;
}

/* One picture: outside of a parallel region, so that the operations share the threads. */
static void run_single(inferrer *x) {
    vit_model_forward(x->model, x->params, x->single, 1, x->images, NULL, x->logits);
}

/* A batch as evaluation computes it: a few pictures at a time in every thread. */
static void run_batch(inferrer *x) {
    size_t chunks = (x->batch + x->chunk - 1) / x->chunk;
#pragma omp parallel for schedule(dynamic, 1) num_threads(x->threads)
    for (size_t c = 0; c < chunks; c++) {
        size_t first = c * x->chunk;
        size_t B = x->batch - first < x->chunk ? x->batch - first : x->chunk;
        vit_model_forward(x->model, x->params, x->workspaces[omp_get_thread_num()], B,
                          x->images + first * x->pixels, NULL, x->logits + first * x->classes);
    }
}

/* A kind of weights, a way to run them, and what was measured. */
typedef struct inference {
    inferrer *x;
    void (*run)(inferrer *);
    int rounds; /* in one timing: short calls are timed several at a time */
    double timings[BENCH_MAX_REPEATS];
} inference;

static void warm_up(inference *n) {
    static const double least = 0.05;
    n->run(n->x);
    double start = vit_seconds();
    n->run(n->x);
    n->rounds = (int)fmin(fmax(ceil(least / fmax(vit_seconds() - start, 1e-6)), 1), 1e4);
}

/* Median seconds of a call of each, taken in turns. doing: what the listener hears. */
static vit_status measure(const bench_settings *settings, const char *doing, inference *of,
                          size_t count, bench_ceiling *ceiling, double *seconds) {
    vit_status status = VIT_OK;
    size_t measured = 0;
    for (size_t i = 0; i < count; i++) {
        warm_up(&of[i]);
    }
    for (size_t sample = 0; sample < BENCH_SAMPLES; sample++) {
        VIT_TRY(bench_ceiling_sample(ceiling));
        for (int n = bench_share_of_repeats(settings->repeats, sample); n > 0; n--) {
            bench_tell(settings, doing, measured, (size_t)settings->repeats);
            for (size_t i = 0; i < count; i++) {
                double start = vit_seconds();
                for (int round = 0; round < of[i].rounds; round++) {
                    of[i].run(of[i].x);
                }
                of[i].timings[measured] = (vit_seconds() - start) / of[i].rounds;
            }
            measured++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        seconds[i] = bench_median(of[i].timings, measured);
    }
cleanup:
    return status;
}

static void add_speed(bench_report *report, const char *kind, size_t pictures, double seconds,
                      double share) {
    char name[BENCH_NAME_MAX];
    snprintf(name, sizeof name, "%sinference, batch %zu", kind, pictures);
    bench_add(report, name, (double)pictures / seconds, "images/s", share);
    snprintf(name, sizeof name, "%slatency, batch %zu", kind, pictures);
    bench_add(report, name, 1e3 * seconds, "ms", NAN);
}

/* int8 NULL: floats alone. */
static vit_status measure_both(const bench_settings *settings, inferrer *floats, inferrer *int8,
                               bench_report *report) {
    const struct {
        size_t pictures;
        void (*run)(inferrer *);
    } cases[] = {{1, run_single}, {floats->batch, run_batch}};
    vit_status status = VIT_OK;
    const vit_model *model = floats->model;
    double flops = vit_config_flops(&model->config), products = 0;
    for (size_t i = 0; i < 2; i++) {
        bench_ceiling ceiling = bench_ceiling_of(settings, model, false);
        char doing[BENCH_NAME_MAX];
        snprintf(doing, sizeof doing, "inference, batch %zu", cases[i].pictures);
        inference of[] = {{.x = floats, .run = cases[i].run}, {.x = int8, .run = cases[i].run}};
        double seconds[2] = {0}, pictures = (double)cases[i].pictures;
        VIT_TRY(measure(settings, doing, of, int8 ? 2 : 1, &ceiling, seconds));
        products = bench_ceiling_rate(&ceiling);
        add_speed(report, "", cases[i].pictures, seconds[0],
                  pictures / seconds[0] * flops / products);
        if (int8) {
            char name[BENCH_NAME_MAX];
            add_speed(report, "int8 ", cases[i].pictures, seconds[1], NAN);
            snprintf(name, sizeof name, "int8 against float, batch %zu", cases[i].pictures);
            bench_add(report, name, seconds[0] / seconds[1], "times", NAN);
        }
    }
    bench_add(report, "products of a picture", flops * 1e-9, "GFLOP", NAN);
    bench_add(report, "the model's products", products * 1e-9, "GFLOP/s", NAN);
    bench_add_memory(report);
cleanup:
    return status;
}

/* The weights of floats in 8 bits. */
static vit_status quantise(const float *params, vit_model *model) {
    vit_status status = VIT_OK;
    vit_quant_block block = {0};
    VIT_TRY(vit_quant_block_alloc(model, &block));
    vit_quant_block_fill(model, params, &block);
    VIT_TRY(vit_quant_model_attach(model, &block, params));
cleanup:
    vit_quant_block_free(&block);
    return status;
}

vit_status bench_infer(const bench_settings *settings, bench_report *report) {
    vit_status status = VIT_OK;
    vit_model model = {0}, int8 = {0};
    inferrer x, y;
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    VIT_TRY(vit_model_init(&model, &settings->model));
    VIT_TRY(inferrer_create(settings, &model, &x));
    if (settings->int8) {
        VIT_TRY(vit_model_init(&int8, &settings->model));
        VIT_TRY(quantise(x.params, &int8));
        VIT_TRY(inferrer_create(settings, &int8, &y));
    }
    VIT_TRY(measure_both(settings, &x, settings->int8 ? &y : NULL, report));
cleanup:
    inferrer_free(&x);
    inferrer_free(&y);
    vit_model_free(&model);
    vit_model_free(&int8);
    return status;
}
