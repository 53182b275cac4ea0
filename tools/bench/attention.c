/* One attention layer, projections included, over growing numbers of tokens: one picture on one
 * thread, as a slot of training computes it. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SECONDS 1.5         /* for the timings of one kind and length, as many as fit */
#define EXPONENT_TOKENS 784 /* shorter ones say more about fixed costs than about growth */

enum { KINDS = VIT_ATTENTION_KINDS };

typedef struct layer {
    vit_param_table params;
    vit_attention attention;
    vit_arena arena; /* what a training workspace would hold for it */
    vit_attention_saved saved;
    float *scratch;
    float *weights, *grads;       /* (params.total) */
    float *input, *output, *dout; /* (N,D) */
} layer;

static void layer_free(layer *l) {
    vit_attention_free(&l->attention);
    vit_params_free(&l->params);
    vit_arena_free(&l->arena);
    vit_free(l->weights);
    vit_free(l->grads);
    vit_free(l->input);
    vit_free(l->output);
    vit_free(l->dout);
}

static void plan(layer *l) {
    vit_attention_plan(&l->attention, 1, true, &l->arena, &l->saved);
    l->scratch = vit_arena_floats(&l->arena, vit_attention_scratch(&l->attention, 1, true));
}

static void fill(size_t n, float *values) {
    vit_rng rng = vit_rng_make(0, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)vit_rng_range(&rng, -1, 1);
    }
}

/* The tokens lie in a square where they can, else in a column. */
static vit_attention_config layer_config(const vit_config *model, int kind, size_t N) {
    size_t side = (size_t)lround(sqrt((double)N));
    bool square = side * side == N;
    return (vit_attention_config){
        .kind = (vit_attention_kind)kind,
        .rope = (vit_rope_kind)model->rope,
        .tokens = N,
        .grid_h = square ? side : N,
        .grid_w = square ? side : 1,
        .dim = (size_t)model->embed_dim,
        .heads = (size_t)model->num_heads,
        .head_norm = model->head_norm,
        .form = VIT_ZEROS_AUTO,
    };
}

static vit_status layer_create(const vit_config *model, int kind, size_t N, layer *l) {
    vit_status status = VIT_OK;
    size_t floats = N * (size_t)model->embed_dim;
    vit_attention_config config = layer_config(model, kind, N);
    VIT_TRY(vit_attention_init(&l->attention, &config, "", &l->params));
    plan(l);
    VIT_TRY(vit_arena_allocate(&l->arena, "attention"));
    plan(l);
    VIT_TRY(vit_alloc((void **)&l->weights, l->params.total, sizeof(float), "parameters"));
    VIT_TRY(vit_alloc((void **)&l->grads, l->params.total, sizeof(float), "gradient"));
    VIT_TRY(vit_alloc((void **)&l->input, floats, sizeof(float), "tokens"));
    VIT_TRY(vit_alloc((void **)&l->output, floats, sizeof(float), "tokens"));
    VIT_TRY(vit_alloc((void **)&l->dout, floats, sizeof(float), "tokens"));
    vit_params_init(&l->params, 0, l->weights);
    fill(floats, l->input);
    fill(floats, l->dout);
cleanup:
    return status;
}

/* Seconds of the forward, and of forward and backward. The backward's dx goes over the output. */
static void run(layer *l, double seconds[2]) {
    double start = vit_seconds();
    vit_attention_forward(&l->attention, l->weights, 1, l->input, &l->saved, l->scratch, l->output);
    seconds[0] = vit_seconds() - start;
    vit_attention_backward(&l->attention, l->weights, l->grads, 1, l->input, &l->saved, l->dout,
                           l->scratch, l->output);
    seconds[1] = vit_seconds() - start;
}

/* Medians. The first run warms up, unless it alone takes the time there is. */
static vit_status measure(const bench_settings *settings, int kind, size_t N, double seconds[2],
                          double *bytes) {
    vit_status status = VIT_OK;
    double timings[2][BENCH_MAX_REPEATS], begin, one[2];
    size_t count = 0;
    layer l;
    memset(&l, 0, sizeof l);
    VIT_TRY(layer_create(&settings->model, kind, N, &l));
    *bytes = (double)l.arena.capacity;
#pragma omp parallel num_threads(1) /* in a region, an operation stays on its thread */
    {
        begin = vit_seconds();
        run(&l, one);
        bool cold = one[1] < SECONDS;
        for (int i = 0; i < settings->repeats && (i == 0 || vit_seconds() - begin < SECONDS); i++) {
            if (cold || i > 0) {
                run(&l, one);
            }
            timings[0][count] = one[0];
            timings[1][count++] = one[1];
        }
    }
    seconds[0] = bench_median(timings[0], count);
    seconds[1] = bench_median(timings[1], count);
cleanup:
    layer_free(&l);
    return status;
}

/* ---- the report ---- */

static void add(bench_report *report, int kind, const char *what, int N, double value,
                const char *unit) {
    char name[BENCH_NAME_MAX];
    snprintf(name, sizeof name, "%s, %s, %d tokens", vit_attention_names[kind], what, N);
    bench_add(report, name, value, unit, NAN);
}

static size_t count_lengths(const bench_settings *settings) {
    size_t count = 1;
    while (count < BENCH_MAX_TOKENS && settings->tokens[count] != settings->tokens[count - 1]) {
        count++;
    }
    return count;
}

/* Slope of log time over log N between the first length that is long enough and the last. */
static void add_exponents(const bench_settings *settings, size_t lengths,
                          double seconds[BENCH_MAX_TOKENS][KINDS], bench_report *report) {
    size_t first = 0, last = lengths - 1;
    while (first + 2 < lengths && settings->tokens[first] < EXPONENT_TOKENS) {
        first++;
    }
    for (int kind = 0; kind < KINDS && first < last; kind++) {
        char name[BENCH_NAME_MAX];
        double growth = (double)settings->tokens[last] / settings->tokens[first];
        double exponent = log(seconds[last][kind] / seconds[first][kind]) / log(growth);
        snprintf(name, sizeof name, "%s, exponent of time, %d to %d tokens",
                 vit_attention_names[kind], settings->tokens[first], settings->tokens[last]);
        bench_add(report, name, exponent, "", NAN);
    }
}

vit_status bench_attention(const bench_settings *settings, bench_report *report) {
    vit_status status = VIT_OK;
    double both[BENCH_MAX_TOKENS][KINDS];
    size_t lengths = count_lengths(settings);
    for (size_t i = 0; i < lengths; i++) {
        int N = settings->tokens[i];
        for (int kind = 0; kind < KINDS; kind++) {
            double seconds[2] = {0}, bytes = 0;
            char doing[BENCH_NAME_MAX];
            snprintf(doing, sizeof doing, "%s, %d tokens", vit_attention_names[kind], N);
            bench_tell(settings, doing, i * KINDS + (size_t)kind, lengths * KINDS);
            VIT_TRY(measure(settings, kind, (size_t)N, seconds, &bytes));
            both[i][kind] = seconds[1];
            add(report, kind, "forward", N, 1e3 * seconds[0], "ms");
            add(report, kind, "forward and backward", N, 1e3 * seconds[1], "ms");
            add(report, kind, "memory", N, 1e-6 * bytes, "MB");
        }
        for (int kind = 0; kind < KINDS; kind++) {
            if (kind != VIT_ATTENTION_SOFTMAX) {
                add(report, kind, "speed over softmax's", N,
                    both[i][VIT_ATTENTION_SOFTMAX] / both[i][kind], "x");
            }
        }
    }
    add_exponents(settings, lengths, both, report);
cleanup:
    return status;
}
