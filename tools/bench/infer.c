/* Forward passes on pictures of random numbers. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "eval/evaluate.h"
#include "vit/arena.h"
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

/* Median seconds of a call. Short ones are timed several at a time. */
static vit_status measure(const bench_settings *settings, inferrer *x, void (*run)(inferrer *),
                          bench_ceiling *ceiling, double *seconds) {
    static const double least = 0.05;
    double timings[BENCH_MAX_REPEATS], start = cli_now();
    vit_status status = VIT_OK;
    int measured = 0;
    run(x); /* warms up */
    start = cli_now();
    run(x);
    int rounds = (int)fmin(fmax(ceil(least / fmax(cli_now() - start, 1e-6)), 1), 1e4);
    for (size_t sample = 0; sample < BENCH_SAMPLES; sample++) {
        VIT_TRY(bench_ceiling_sample(ceiling));
        for (int i = bench_share_of_repeats(settings->repeats, sample); i > 0; i--) {
            start = cli_now();
            for (int round = 0; round < rounds; round++) {
                run(x);
            }
            timings[measured++] = (cli_now() - start) / rounds;
        }
    }
    *seconds = bench_median(timings, (size_t)measured);
cleanup:
    return status;
}

static vit_status measure_both(const bench_settings *settings, const vit_model *model, inferrer *x,
                               bench_report *report) {
    const struct {
        const char *name;
        size_t pictures;
        void (*run)(inferrer *);
    } cases[] = {{"batch 1", 1, run_single}, {"batch", x->batch, run_batch}};
    vit_status status = VIT_OK;
    double flops = vit_config_flops(&model->config), products = 0;
    for (size_t i = 0; i < 2; i++) {
        bench_ceiling ceiling = bench_ceiling_of(settings, model, false);
        char name[BENCH_NAME_MAX];
        double seconds = 0;
        VIT_TRY(measure(settings, x, cases[i].run, &ceiling, &seconds));
        products = bench_ceiling_rate(&ceiling);
        double rate = (double)cases[i].pictures / seconds;
        snprintf(name, sizeof name, "inference, batch %zu", cases[i].pictures);
        bench_add(report, name, rate, "images/s", rate * flops / products);
        snprintf(name, sizeof name, "latency, batch %zu", cases[i].pictures);
        bench_add(report, name, 1e3 * seconds, "ms", NAN);
    }
    bench_add(report, "products of a picture", flops * 1e-9, "GFLOP", NAN);
    bench_add(report, "the model's products", products * 1e-9, "GFLOP/s", NAN);
    bench_add_memory(report);
cleanup:
    return status;
}

vit_status bench_infer(const bench_settings *settings, bench_report *report) {
    vit_status status = VIT_OK;
    vit_model model = {0};
    inferrer x;
    memset(&x, 0, sizeof x);
    VIT_TRY(vit_model_init(&model, &settings->model));
    VIT_TRY(inferrer_create(settings, &model, &x));
    VIT_TRY(measure_both(settings, &model, &x, report));
cleanup:
    inferrer_free(&x);
    vit_model_free(&model);
    return status;
}
