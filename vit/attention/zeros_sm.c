/* ZeroS-SM, the quadratic sibling of ZeroS (docs/zeros.md): the zero-sum softmax row by row over
 * q_t . k_i / sqrt(d). */
#include "vit/attention/core.h"
#include "vit/attention/kernels.h"
#include "vit/attention/radial.h"
#include "vit/attention/zero_sum.h"
#include "vit/gemm.h"
#include "vit/simd.h"

#include <math.h>

/* What a head keeps: the two gates of each token, then rstd of the head norm. */
static size_t extra_floats(const vit_attention *attention) {
    return 3 * attention->config.tokens;
}

/* Rows of weights, and the three parts of one row. */
static size_t forward_scratch(const vit_attention *attention) {
    return (vit_quadratic_rows(attention->config.tokens) + 3) * attention->config.tokens;
}

/* Also rows of gradients, and the gradients of the two gates. */
static size_t backward_scratch(const vit_attention *attention) {
    return (2 * vit_quadratic_rows(attention->config.tokens) + 5) * attention->config.tokens;
}

static void logits(const vit_attention *attention, const vit_head_columns *in, size_t t,
                   size_t rows, float *out) {
    vit_query_key(attention, in, t, rows, 1.0f / sqrtf((float)attention->d), out);
}

/* r = sigma_first * first + sigma_higher * higher. */
VIT_CLONES static void combine_parts(size_t N, float sigma_first, const float *first,
                                     float sigma_higher, const float *higher, float *r) {
    for (size_t i = 0; i < N; i++) {
        r[i] = sigma_first * first[i] + sigma_higher * higher[i];
    }
}

/* The logits (rows,N) become r. parts (3,N): scratch. */
static void radial_rows(size_t rows, size_t N, const float *gates, size_t t, float *parts,
                        float *r) {
    for (size_t row = 0; row < rows; row++) {
        vit_zero_sum_forward(N, r + row * N, parts, parts + N, parts + 2 * N);
        combine_parts(N, gates[t + row], parts, gates[N + t + row], parts + N, r + row * N);
    }
}

static void forward(const vit_attention *attention, const vit_core_forward_args *args) {
    const vit_head_columns *in = &args->packed;
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    size_t D = attention->config.dim, step = vit_quadratic_rows(attention->config.tokens);
    float *gates = args->extra, *rstd = gates + 2 * N;
    float *r = args->scratch, *parts = r + step * N;
    vit_gates_forward(N, in->gate, R, false, gates);
    vit_rotate_pair(attention, false, in->q, in->k, R);
    for (size_t t = 0; t < N; t += step) {
        size_t rows = N - t < step ? N - t : step;
        logits(attention, in, t, rows, r);
        radial_rows(rows, N, gates, t, parts, r);
        vit_gemm(false, false, rows, d, N, 1, r, N, in->v, R, 0, args->mixed + t * D, D);
    }
    if (attention->config.head_norm) {
        vit_head_norm_forward(N, d, args->mixed, D, parts, rstd);
    }
}

VIT_CLONES static float dot(size_t n, const float *x, const float *y) {
    return vit_dot(n, x, y);
}

/* In: r holds the logits, dr the gradient of r. Out: r holds r, dr the gradient of the logits, and
 * dgates (2,N) those of the gates. */
static void weights_backward(size_t rows, size_t N, const float *gates, size_t t, float *parts,
                             float *r, float *dr, float *dgates) {
    for (size_t row = 0; row < rows; row++) {
        float *first = parts, *higher = parts + N, *whole = parts + 2 * N;
        float *w = r + row * N, *g = dr + row * N;
        float sigma_first = gates[t + row], sigma_higher = gates[N + t + row];
        vit_zero_sum_forward(N, w, first, higher, whole);
        combine_parts(N, sigma_first, first, sigma_higher, higher, w);
        dgates[t + row] = dot(N, g, first);
        dgates[N + t + row] = dot(N, g, higher);
        vit_zero_sum_backward(N, whole, sigma_first, g, sigma_higher, g, g);
    }
}

static void backward(const vit_attention *attention, const vit_core_backward_args *args) {
    const vit_head_columns *in = &args->packed, *din = &args->dpacked;
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    size_t D = attention->config.dim, step = vit_quadratic_rows(attention->config.tokens);
    float scale = 1.0f / sqrtf((float)d);
    const float *gates = args->extra, *rstd = gates + 2 * N;
    float *r = args->scratch, *dr = r + step * N;
    float *parts = dr + step * N, *dgates = parts + 3 * N;
    if (attention->config.head_norm) {
        vit_head_norm_backward(N, d, args->mixed, rstd, args->dmixed, D);
    }
    for (size_t t = 0; t < N; t += step) {
        size_t rows = N - t < step ? N - t : step;
        float add = t > 0 ? 1 : 0;
        const float *dout = args->dmixed + t * D;
        logits(attention, in, t, rows, r);
        vit_gemm(false, true, rows, N, d, 1, dout, D, in->v, R, 0, dr, N);
        weights_backward(rows, N, gates, t, parts, r, dr, dgates);
        vit_gemm(true, false, N, d, rows, 1, r, N, dout, D, add, din->v, R);
        vit_gemm(false, false, rows, d, N, scale, dr, N, in->k, R, 0, din->q + t * R, R);
        vit_gemm(true, false, N, d, rows, scale, dr, N, in->q + t * R, R, add, din->k, R);
    }
    vit_gates_backward(N, false, gates, dgates, din->gate, R);
    vit_rotate_pair(attention, true, din->q, din->k, R);
}

static void weights(const vit_attention *attention, const vit_core_weights_args *args) {
    size_t N = attention->config.tokens;
    vit_radial radial = vit_radial_make(attention, args);
    logits(attention, &args->packed, 0, N, args->W);
    for (size_t t = 0; t < N; t++) {
        float *row = args->W + t * N;
        vit_radial_logits(&radial, N, row);
        for (size_t i = 0; i < N; i++) {
            row[i] = vit_radial_weight(&radial, t, N, i);
        }
    }
}

static const char *const projection_names[] = {"q", "k", "v", NULL};

const vit_attention_core vit_zeros_sm_core = {
    .projection_names = projection_names,
    .projections = 3,
    .gated = true,
    .output_name = "out_proj",
    .head_norm = true,
    .extra_floats = extra_floats,
    .forward = forward,
    .forward_scratch = forward_scratch,
    .backward = backward,
    .backward_scratch = backward_scratch,
    .weights = weights,
    .weights_scratch = vit_radial_scratch,
    .flops = vit_quadratic_flops,
};
