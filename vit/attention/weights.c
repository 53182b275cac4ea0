/* Every weight is made anew from q, k, u and the gates in packed, so that nothing here knows how a
 * core lays out its own extra tensors. */
#include "vit/attention/weights.h"

#include "vit/attention/core.h"
#include "vit/attention/deviation.h"
#include "vit/attention/kernels.h"
#include "vit/attention/zero_sum.h"
#include "vit/gemm.h"
#include "vit/layers.h"

#include <math.h>
#include <string.h>

/* What one head's weights are made from. */
typedef struct head_view {
    const vit_attention *attention;
    const float *params;
    size_t head;
    vit_head_columns in;
    float *gates;  /* (3,N) */
    float *parts;  /* (3,N) */
    float *s;      /* (N) */
    float *mean_u; /* (d) */
} head_view;

size_t vit_attention_weights_scratch(const vit_attention *attention) {
    return 7 * attention->config.tokens + attention->d;
}

/* scale q.k of all pairs. */
static void products(const head_view *v, float scale, float *W) {
    size_t N = v->attention->config.tokens, R = v->attention->columns;
    vit_gemm(false, true, N, N, v->attention->d, scale, v->in.q, R, v->in.k, R, 0, W, N);
}

static float softmax_scale(const head_view *v) {
    return 1.0f / sqrtf((float)v->attention->d);
}

static void softmax_weights(const head_view *v, float *W) {
    size_t N = v->attention->config.tokens;
    products(v, softmax_scale(v), W);
    vit_softmax_rows(N, N, W, W);
}

/* The eps is that of linear.c. */
static void linear_weights(const head_view *v, float *W) {
    size_t N = v->attention->config.tokens;
    products(v, 1, W);
    for (size_t t = 0; t < N; t++) {
        double sum = 1e-6;
        for (size_t i = 0; i < N; i++) {
            sum += (double)W[t * N + i];
        }
        for (size_t i = 0; i < N; i++) {
            W[t * N + i] = (float)((double)W[t * N + i] / sum);
        }
    }
}

/* r_ti of row t over the first count tokens, from the zero-sum parts of their logits. */
static float radial(const head_view *v, size_t t, size_t count, size_t i) {
    size_t N = v->attention->config.tokens;
    float r = v->gates[t] * v->parts[i] + v->gates[N + t] * v->parts[N + i];
    return v->attention->config.zero_order ? r + v->gates[2 * N + t] / (float)count : r;
}

static void zero_sum(const head_view *v, size_t count, const float *s) {
    size_t N = v->attention->config.tokens;
    vit_zero_sum_forward(count, s, v->parts, v->parts + N, v->parts + 2 * N);
}

static void zeros_sm_weights(const head_view *v, float *W) {
    size_t N = v->attention->config.tokens;
    products(v, softmax_scale(v), W);
    for (size_t t = 0; t < N; t++) {
        zero_sum(v, N, W + t * N);
        for (size_t i = 0; i < N; i++) {
            W[t * N + i] = radial(v, t, N, i);
        }
    }
}

static void zeros_weights(const head_view *v, float *W) {
    size_t N = v->attention->config.tokens;
    bool causal = v->attention->config.causal;
    products(v, 1, W);
    if (causal) {
        vit_deviation_causal_forward(v->attention, v->params, v->head, v->in.u, v->s);
    } else {
        vit_deviation_forward(v->attention, v->params, v->head, v->in.u, v->mean_u, v->s);
        zero_sum(v, N, v->s);
    }
    for (size_t t = 0; t < N; t++) {
        size_t count = causal ? t + 1 : N;
        if (causal) {
            zero_sum(v, count, v->s);
        }
        for (size_t i = 0; i < N; i++) {
            W[t * N + i] *= i < count ? radial(v, t, count, i) : 0;
        }
    }
}

/* In the order of vit_attention_kind. */
static void (*const kinds[])(const head_view *v, float *W) = {zeros_weights, zeros_sm_weights,
                                                              softmax_weights, linear_weights};

void vit_attention_weights(const vit_attention *attention, const float *params,
                           const vit_attention_saved *saved, size_t b, size_t h, float *scratch,
                           float *W) {
    size_t N = attention->config.tokens;
    head_view v = {
        .attention = attention,
        .params = params,
        .head = h,
        .in = vit_attention_head(attention, saved->packed, b, h),
        .gates = scratch,
        .parts = scratch + 3 * N,
        .s = scratch + 6 * N,
        .mean_u = scratch + 7 * N,
    };
    if (v.in.gate) {
        vit_gates_forward(N, v.in.gate, attention->columns, attention->config.zero_order, v.gates);
    }
    kinds[attention->config.kind](&v, W);
}
