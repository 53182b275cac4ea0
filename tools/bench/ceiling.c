/* The rate of single-precision matrix products, measured as training uses them: every thread
 * computes products of its own, single-threaded, all at the same time. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/gemm.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_SECONDS 0.05 /* at least, for one timing */
#define SAMPLE_SECONDS 0.02 /* of a product, in a sample of all of them */
#define SQUARE 1024

typedef struct product {
    char name[BENCH_NAME_MAX];
    bool transpose_a, transpose_b;
    size_t M, N, K;
    double times; /* how often it occurs in a step of that many pictures */
} product;

static double product_flops(const product *p) {
    return 2 * (double)p->M * (double)p->N * (double)p->K;
}

/* ---- one product ---- */

/* A thread's matrices: M*K, K*N and M*N floats. */
static vit_status operands_create(const product *p, float **block) {
    size_t a = p->M * p->K, b = p->K * p->N, c = p->M * p->N;
    vit_status status = vit_alloc((void **)block, a + b + c, sizeof(float), "bench operands");
    for (size_t i = 0; status == VIT_OK && i < a + b; i++) {
        (*block)[i] = (float)(i % 17) * 0.125f - 1.0f; /* denormals would be slow */
    }
    return status;
}

static void multiply(const product *p, float *block) {
    const float *A = block, *B = block + p->M * p->K;
    float *C = block + p->M * p->K + p->K * p->N;
    vit_gemm(p->transpose_a, p->transpose_b, p->M, p->N, p->K, 1.0f, A,
             p->transpose_a ? p->M : p->K, B, p->transpose_b ? p->K : p->N, 0.0f, C, p->N);
}

/* Flop/s over all threads: the median of the repeats, each of which takes at least `least` seconds.
 */
static vit_status measure(const product *p, int threads, int repeats, double least, double *rate) {
    vit_first_error error = {0};
    double seconds[BENCH_MAX_REPEATS] = {0}, start = 0;
    size_t count = (size_t)(repeats < BENCH_MAX_REPEATS ? repeats : BENCH_MAX_REPEATS), rounds = 1;
    bool ready = true;
    int together = 1;
#pragma omp parallel num_threads(threads)
    {
        float *block = NULL;
#pragma omp master
        together = omp_get_num_threads();
        vit_status status = operands_create(p, &block);
        if (status != VIT_OK) {
            vit_first_error_note(&error, 0, status);
#pragma omp atomic write
            ready = false;
        }
#pragma omp barrier
        bool go;
#pragma omp atomic read
        go = ready;
        if (go) {
            multiply(p, block); /* warms up: the buffers of BLAS, the caches */
        }
        /* The first timing only tells how many rounds the others need. */
        for (size_t i = 0; go && i <= count; i++) {
#pragma omp barrier
#pragma omp master
            start = vit_seconds();
#pragma omp barrier
            for (size_t round = 0; round < rounds; round++) {
                multiply(p, block);
            }
#pragma omp barrier
#pragma omp master
            {
                double took = vit_seconds() - start;
                if (i == 0) {
                    rounds = (size_t)fmin(fmax(ceil(least / fmax(took, 1e-9)), 1), 1e8);
                } else {
                    seconds[i - 1] = took / (double)rounds;
                }
            }
        }
#pragma omp barrier
        vit_free(block);
    }
    if (error.status == VIT_OK) {
        *rate = product_flops(p) * together / bench_median(seconds, count);
    }
    return vit_first_error_raise(&error);
}

/* ---- the products of a model ---- */

typedef struct product_list {
    product items[BENCH_MAX_RESULTS];
    size_t count;
} product_list;

static void add(product_list *list, const char *layer, const char *pass, bool transpose_a,
                bool transpose_b, size_t M, size_t N, size_t K, double times) {
    product *p = &list->items[list->count++];
    *p = (product){.transpose_a = transpose_a,
                   .transpose_b = transpose_b,
                   .M = M,
                   .N = N,
                   .K = K,
                   .times = times};
    snprintf(p->name, sizeof p->name, "%s %s %zux%zux%zu", layer, pass, M, N, K);
}

/* y = x W^T; when training dW = dy^T x, and dx = dy W, which the first layer does not need. */
static void add_linear(product_list *list, const char *layer, size_t rows, size_t in, size_t out,
                       double times, bool training, bool needs_dx) {
    add(list, layer, "forward", false, true, rows, out, in, times);
    if (training) {
        add(list, layer, "weight gradient", true, false, out, in, rows, times);
    }
    if (training && needs_dx) {
        add(list, layer, "input gradient", false, false, rows, in, out, times);
    }
}

static product_list list_products(const vit_model *model, size_t pictures, bool training) {
    product_list list = {.count = 0};
    const vit_config *c = &model->config;
    size_t D = (size_t)c->embed_dim, P = (size_t)c->patch_size, F = model->hidden;
    size_t rows = pictures * model->tokens, R = model->blocks[0].attention.columns;
    size_t patches = vit_config_grid_h(c) * vit_config_grid_w(c);
    double depth = c->depth;
    add_linear(&list, "patches", pictures * patches, 3 * P * P, D, 1, training, false);
    add_linear(&list, "attention in", rows, D, R, depth, training, true);
    add_linear(&list, "attention out", rows, D, D, depth, training, true);
    add_linear(&list, "mlp fc1", rows, D, F, depth, training, true);
    add_linear(&list, "mlp fc2", rows, F, D, depth, training, true);
    return list;
}

/* ---- the ceiling of other measurements ---- */

bench_ceiling bench_ceiling_of(const bench_settings *settings, const vit_model *model,
                               bool training) {
    return (bench_ceiling){.model = model,
                           .threads = settings->threads,
                           .pictures = (size_t)settings->pictures,
                           .training = training};
}

vit_status bench_ceiling_sample(bench_ceiling *ceiling) {
    vit_status status = VIT_OK;
    product_list list = list_products(ceiling->model, ceiling->pictures, ceiling->training);
    double flops = 0, seconds = 0;
    if (ceiling->count == BENCH_SAMPLES) {
        return VIT_OK;
    }
    for (size_t i = 0; i < list.count; i++) {
        const product *p = &list.items[i];
        double rate = 0;
        VIT_TRY(measure(p, ceiling->threads, 1, SAMPLE_SECONDS, &rate));
        flops += p->times * product_flops(p);
        seconds += p->times * product_flops(p) / rate;
    }
    ceiling->rates[ceiling->count++] = flops / seconds;
cleanup:
    return status;
}

double bench_ceiling_rate(const bench_ceiling *ceiling) {
    double rates[BENCH_SAMPLES];
    memcpy(rates, ceiling->rates, sizeof rates);
    return bench_median(rates, ceiling->count);
}

int bench_share_of_repeats(int repeats, size_t sample) {
    int gaps = BENCH_SAMPLES - 1, gap = (int)sample;
    return gap < gaps ? (gap + 1) * repeats / gaps - gap * repeats / gaps : 0;
}

/* ---- the kind gemm ---- */

static vit_status measure_all(const bench_settings *settings, const vit_model *model,
                              bench_report *report) {
    vit_status status = VIT_OK;
    const product square = {.M = SQUARE, .N = SQUARE, .K = SQUARE};
    product_list list = list_products(model, (size_t)settings->pictures, true);
    double ceiling = 0, flops = 0, seconds = 0;
    bench_tell(settings, "square", 0, list.count + 1);
    VIT_TRY(measure(&square, settings->threads, settings->repeats, REPEAT_SECONDS, &ceiling));
    bench_add(report, "square 1024x1024x1024", ceiling * 1e-9, "GFLOP/s", 1);
    for (size_t i = 0; i < list.count; i++) {
        const product *p = &list.items[i];
        double one = 0;
        bench_tell(settings, p->name, i + 1, list.count + 1);
        VIT_TRY(measure(p, settings->threads, settings->repeats, REPEAT_SECONDS, &one));
        bench_add(report, p->name, one * 1e-9, "GFLOP/s", one / ceiling);
        flops += p->times * product_flops(p);
        seconds += p->times * product_flops(p) / one;
    }
    bench_add(report, "all of the step", flops / seconds * 1e-9, "GFLOP/s",
              flops / seconds / ceiling);
cleanup:
    return status;
}

vit_status bench_gemm(const bench_settings *settings, bench_report *report) {
    vit_status status;
    vit_model model = {0};
    VIT_TRY(vit_model_init(&model, &settings->model));
    VIT_TRY(measure_all(settings, &model, report));
cleanup:
    vit_model_free(&model);
    return status;
}
