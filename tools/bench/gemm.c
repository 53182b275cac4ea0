/* The rate of single-precision matrix products, measured as training uses them: every thread
 * computes products of its own, single-threaded, all at the same time. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "vit/arena.h"
#include "vit/gemm.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_SECONDS 0.05 /* at least, for one timing */
#define MAX_REPEATS 100
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

void bench_add(bench_report *report, const char *name, double value, const char *unit,
               double ceiling_share) {
    if (report->count < BENCH_MAX_RESULTS) {
        bench_result *result = &report->results[report->count++];
        *result = (bench_result){.value = value, .unit = unit, .ceiling_share = ceiling_share};
        snprintf(result->name, sizeof result->name, "%s", name);
    }
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
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

/* Flop/s over all threads: the median of the repeats. */
static vit_status measure(const product *p, int threads, int repeats, double *rate) {
    vit_first_error error = {0};
    double seconds[MAX_REPEATS] = {0}, start = 0;
    size_t count = (size_t)(repeats < MAX_REPEATS ? repeats : MAX_REPEATS), rounds = 1;
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
            start = cli_now();
#pragma omp barrier
            for (size_t round = 0; round < rounds; round++) {
                multiply(p, block);
            }
#pragma omp barrier
#pragma omp master
            {
                double took = cli_now() - start;
                if (i == 0) {
                    rounds = (size_t)fmin(fmax(ceil(REPEAT_SECONDS / fmax(took, 1e-9)), 1), 1e8);
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

/* ---- the products of a training step ---- */

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

/* y = x W^T; dW = dy^T x; dx = dy W, which the first layer does not need. */
static void add_linear(product_list *list, const char *layer, size_t rows, size_t in, size_t out,
                       double times, bool needs_dx) {
    add(list, layer, "forward", false, true, rows, out, in, times);
    add(list, layer, "weight gradient", true, false, out, in, rows, times);
    if (needs_dx) {
        add(list, layer, "input gradient", false, false, rows, in, out, times);
    }
}

static product_list list_products(const vit_model *model, size_t pictures) {
    product_list list = {.count = 0};
    const vit_config *c = &model->config;
    size_t D = (size_t)c->embed_dim, P = (size_t)c->patch_size, F = model->hidden;
    size_t rows = pictures * model->tokens, depth = (size_t)c->depth;
    size_t patches = vit_config_grid_h(c) * vit_config_grid_w(c);
    add_linear(&list, "patches", pictures * patches, 3 * P * P, D, 1, false);
    add_linear(&list, "attention in", rows, D, model->blocks[0].attention.columns, (double)depth,
               true);
    add_linear(&list, "attention out", rows, D, D, (double)depth, true);
    add_linear(&list, "mlp fc1", rows, D, F, (double)depth, true);
    add_linear(&list, "mlp fc2", rows, F, D, (double)depth, true);
    return list;
}

vit_status bench_gemm(const bench_settings *settings, const vit_model *model, size_t pictures,
                      bench_report *report, double *rate) {
    vit_status status = VIT_OK;
    const product square = {.M = SQUARE, .N = SQUARE, .K = SQUARE};
    product_list list = list_products(model, pictures);
    double ceiling = 0, flops = 0, seconds = 0;
    VIT_TRY(measure(&square, settings->threads, settings->repeats, &ceiling));
    bench_add(report, "square 1024x1024x1024", ceiling * 1e-9, "GFLOP/s", 1);
    for (size_t i = 0; i < list.count; i++) {
        const product *p = &list.items[i];
        double one = 0;
        VIT_TRY(measure(p, settings->threads, settings->repeats, &one));
        bench_add(report, p->name, one * 1e-9, "GFLOP/s", one / ceiling);
        flops += p->times * product_flops(p);
        seconds += p->times * product_flops(p) / one;
    }
    *rate = flops / seconds;
    bench_add(report, "all of the step", *rate * 1e-9, "GFLOP/s", *rate / ceiling);
cleanup:
    return status;
}
