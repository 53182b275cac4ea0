/* Softmax attention (Vaswani et al. 2017), with timm's parameter names; rotary position on q and k
 * when asked. */
#include "vit/attention/core.h"
#include "vit/attention/kernels.h"
#include "vit/gemm.h"
#include "vit/layers.h"
#include "vit/simd.h"

#include <math.h>

static size_t forward_scratch(const vit_attention *attention) {
    return vit_quadratic_rows(attention->config.tokens) * attention->config.tokens;
}

static size_t backward_scratch(const vit_attention *attention) {
    return 2 * vit_quadratic_rows(attention->config.tokens) * attention->config.tokens;
}

/* P (rows,N) = softmax(q_t . k_i / sqrt(d)) for the rows from t on. */
static void probabilities(const vit_attention *attention, const vit_head_columns *in, size_t t,
                          size_t rows, float *P) {
    vit_query_key(attention, in, t, rows, 1.0f / sqrtf((float)attention->d), P);
    vit_softmax_rows(rows, attention->config.tokens, P, P);
}

static void forward(const vit_attention *attention, const vit_core_forward_args *args) {
    const vit_head_columns *in = &args->packed;
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    size_t D = attention->config.dim, step = vit_quadratic_rows(attention->config.tokens);
    float *P = args->scratch;
    vit_rotate_pair(attention, false, in->q, in->k, R);
    for (size_t t = 0; t < N; t += step) {
        size_t rows = N - t < step ? N - t : step;
        probabilities(attention, in, t, rows, P);
        vit_gemm(false, false, rows, d, N, 1, P, N, in->v, R, 0, args->mixed + t * D, D);
    }
}

/* dP (rows,N) becomes the gradient of the logits, P (dP - sum P dP); the sum is out . dout. */
VIT_CLONES static void logits_backward(size_t rows, size_t N, size_t d, const float *P,
                                       const float *out, const float *dout, size_t stride,
                                       float *dP) {
    for (size_t t = 0; t < rows; t++) {
        const float *p = P + t * N;
        float *g = dP + t * N;
        float mean = vit_dot(d, out + t * stride, dout + t * stride);
        for (size_t i = 0; i < N; i++) {
            g[i] = p[i] * (g[i] - mean);
        }
    }
}

/* With P the weights, o = P v and G = g(o):
 *     g(v) = P^T G,  g(P) = G v^T,  g(S) = P * (g(P) - o . G) for the logits S = q k^T / sqrt(d),
 *     g(q) = g(S) k / sqrt(d),  g(k) = g(S)^T q / sqrt(d). */
static void backward(const vit_attention *attention, const vit_core_backward_args *args) {
    const vit_head_columns *in = &args->packed, *din = &args->dpacked;
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    size_t D = attention->config.dim, step = vit_quadratic_rows(attention->config.tokens);
    float scale = 1.0f / sqrtf((float)d);
    float *P = args->scratch, *dP = P + step * N;
    for (size_t t = 0; t < N; t += step) {
        size_t rows = N - t < step ? N - t : step;
        float add = t > 0 ? 1 : 0;
        const float *dout = args->dmixed + t * D;
        probabilities(attention, in, t, rows, P);
        vit_gemm(true, false, N, d, rows, 1, P, N, dout, D, add, din->v, R);
        vit_gemm(false, true, rows, N, d, 1, dout, D, in->v, R, 0, dP, N);
        logits_backward(rows, N, d, P, args->mixed + t * D, dout, D, dP);
        vit_gemm(false, false, rows, d, N, scale, dP, N, in->k, R, 0, din->q + t * R, R);
        vit_gemm(true, false, N, d, rows, scale, dP, N, in->q + t * R, R, add, din->k, R);
    }
    vit_rotate_pair(attention, true, din->q, din->k, R);
}

static void weights(const vit_attention *attention, const vit_core_weights_args *args) {
    size_t N = attention->config.tokens;
    probabilities(attention, &args->packed, 0, N, args->W);
}

static const char *const projection_names[] = {"qkv", NULL};

const vit_attention_core vit_softmax_core = {
    .projection_names = projection_names,
    .projections = 3,
    .gated = false,
    .output_name = "proj",
    .shares = true,
    .extra_floats = vit_no_floats,
    .forward = forward,
    .forward_scratch = forward_scratch,
    .backward = backward,
    .backward_scratch = backward_scratch,
    .weights = weights,
    .weights_scratch = vit_no_floats,
    .flops = vit_quadratic_flops,
};
