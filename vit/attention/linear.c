/* Linear attention (Katharopoulos et al. 2020) with the feature map phi(x) = elu(x) + 1:
 *     o_t = phi(q_t) S / (phi(q_t) . z + eps),  S = sum_i phi(k_i)^T v_i,  z = sum_i phi(k_i).
 * Rotary position, when asked, turns q and k before phi, so that the weights phi(q).phi(k) stay
 * positive. eps is the authors'. Parameter names are timm's. */
#include "vit/attention/core.h"
#include "vit/attention/kernels.h"
#include "vit/gemm.h"
#include "vit/rows.h"
#include "vit/simd.h"
#include "vit/vmath.h"

#include <string.h>

#define DENOMINATOR_EPS 1e-6f

/* What a head keeps: S (d,d), z (d), 1 / denominator (N). */
static size_t extra_floats(const vit_attention *attention) {
    return attention->d * attention->d + attention->d + attention->config.tokens;
}

/* One row for the feature map. */
static size_t forward_scratch(const vit_attention *attention) {
    return attention->d;
}

/* dS (d,d), dz (d), the denominators' gradients (N). */
static size_t backward_scratch(const vit_attention *attention) {
    return extra_floats(attention);
}

/* x > 0 ? x + 1 : exp(x), which leaves enough to tell its derivative: min(phi, 1). */
VIT_CLONES static void clamp_to_zero(size_t d, const float *x, float *y) {
    for (size_t j = 0; j < d; j++) {
        y[j] = x[j] < 0 ? x[j] : 0;
    }
}

VIT_CLONES static void choose(size_t d, const float *exponential, float *x) {
    for (size_t j = 0; j < d; j++) {
        x[j] = x[j] > 0 ? x[j] + 1 : exponential[j];
    }
}

static void feature_map(size_t N, size_t d, float *x, size_t stride, float *row) {
    for (size_t t = 0; t < N; t++) {
        clamp_to_zero(d, x + t * stride, row);
        vit_vexp(d, row, row);
        choose(d, row, x + t * stride);
    }
}

VIT_CLONES static void feature_map_backward(size_t N, size_t d, const float *phi, float *dx,
                                            size_t stride) {
    for (size_t t = 0; t < N; t++) {
        const float *row = phi + t * stride;
        float *drow = dx + t * stride;
        for (size_t j = 0; j < d; j++) {
            drow[j] *= row[j] < 1 ? row[j] : 1;
        }
    }
}

/* mixed holds the numerators and is divided. */
VIT_CLONES static void divide(size_t N, size_t d, const float *q, size_t q_stride, const float *z,
                              float *mixed, size_t stride, float *inverse) {
    for (size_t t = 0; t < N; t++) {
        float scale = 1.0f / (vit_dot(d, q + t * q_stride, z) + DENOMINATOR_EPS);
        for (size_t j = 0; j < d; j++) {
            mixed[t * stride + j] *= scale;
        }
        inverse[t] = scale;
    }
}

static void forward(const vit_attention *attention, const vit_core_forward_args *args) {
    const vit_head_columns *in = &args->packed;
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    size_t D = attention->config.dim;
    float *S = args->extra, *z = S + d * d, *inverse = z + d;
    vit_rotate_pair(attention, false, in->q, in->k, R);
    feature_map(N, d, in->q, R, args->scratch);
    feature_map(N, d, in->k, R, args->scratch);
    vit_gemm(true, false, d, d, N, 1, in->k, R, in->v, R, 0, S, d);
    memset(z, 0, d * sizeof *z);
    vit_rows_sum(N, d, 1, in->k, R, z);
    vit_gemm(false, false, N, d, d, 1, in->q, R, S, d, 0, args->mixed, D);
    divide(N, d, in->q, R, z, args->mixed, D, inverse);
}

/* dmixed becomes the gradient of the numerators; ddenominator (N) and dz (d) are filled. */
VIT_CLONES static void divide_backward(size_t N, size_t d, const float *q, size_t q_stride,
                                       const float *mixed, const float *inverse, float *dmixed,
                                       size_t stride, float *ddenominator, float *dz) {
    for (size_t t = 0; t < N; t++) {
        const float *row = q + t * q_stride;
        float *drow = dmixed + t * stride;
        float g = -inverse[t] * vit_dot(d, mixed + t * stride, drow);
        for (size_t j = 0; j < d; j++) {
            drow[j] *= inverse[t];
            dz[j] += g * row[j];
        }
        ddenominator[t] = g;
    }
}

/* x_t += weight_t * row. */
VIT_CLONES static void add_outer(size_t N, size_t d, const float *weight, const float *row,
                                 float *x, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        for (size_t j = 0; j < d; j++) {
            x[t * stride + j] += weight[t] * row[j];
        }
    }
}

VIT_CLONES static void add_row(size_t N, size_t d, const float *row, float *x, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        for (size_t j = 0; j < d; j++) {
            x[t * stride + j] += row[j];
        }
    }
}

/* With phi' for the gradient before the feature map, n_t = phi(q_t) S the numerators and c_t the
 * denominators:
 *     g(n_t) = g(o_t) / c_t,  g(c_t) = -o_t . g(o_t) / c_t,
 *     g(S) = sum_t phi(q_t)^T g(n_t),  g(z) = sum_t g(c_t) phi(q_t),
 *     phi'(q_t) = g(n_t) S^T + g(c_t) z,  phi'(k_i) = v_i g(S)^T + g(z),  g(v_i) = phi(k_i) g(S).
 */
static void backward(const vit_attention *attention, const vit_core_backward_args *args) {
    const vit_head_columns *in = &args->packed, *din = &args->dpacked;
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    size_t D = attention->config.dim;
    const float *S = args->extra, *z = S + d * d, *inverse = z + d;
    float *dS = args->scratch, *dz = dS + d * d, *ddenominator = dz + d;
    memset(dz, 0, d * sizeof *dz);
    divide_backward(N, d, in->q, R, args->mixed, inverse, args->dmixed, D, ddenominator, dz);
    vit_gemm(true, false, d, d, N, 1, in->q, R, args->dmixed, D, 0, dS, d);
    vit_gemm(false, true, N, d, d, 1, args->dmixed, D, S, d, 0, din->q, R);
    add_outer(N, d, ddenominator, z, din->q, R);
    vit_gemm(false, true, N, d, d, 1, in->v, R, dS, d, 0, din->k, R);
    add_row(N, d, dz, din->k, R);
    vit_gemm(false, false, N, d, d, 1, in->k, R, dS, d, 0, din->v, R);
    feature_map_backward(N, d, in->q, din->q, R);
    feature_map_backward(N, d, in->k, din->k, R);
    vit_rotate_pair(attention, true, din->q, din->k, R);
}

/* packed holds phi(q) and phi(k). */
static void weights(const vit_attention *attention, const vit_core_weights_args *args) {
    size_t N = attention->config.tokens;
    float *W = args->W;
    vit_query_key(attention, &args->packed, 0, N, 1, W);
    for (size_t t = 0; t < N; t++) {
        double sum = (double)DENOMINATOR_EPS;
        for (size_t i = 0; i < N; i++) {
            sum += (double)W[t * N + i];
        }
        for (size_t i = 0; i < N; i++) {
            W[t * N + i] = (float)((double)W[t * N + i] / sum);
        }
    }
}

/* S, and what is read from it. */
static double flops(const vit_attention_config *config) {
    double N = (double)config->tokens, d = (double)(config->dim / config->heads);
    return 4 * N * d * d;
}

static const char *const projection_names[] = {"qkv", NULL};

const vit_attention_core vit_linear_core = {
    .projection_names = projection_names,
    .projections = 3,
    .gated = false,
    .output_name = "proj",
    .shares = true,
    .extra_floats = extra_floats,
    .forward = forward,
    .forward_scratch = forward_scratch,
    .backward = backward,
    .backward_scratch = backward_scratch,
    .weights = weights,
    .weights_scratch = vit_no_floats,
    .flops = flops,
};
