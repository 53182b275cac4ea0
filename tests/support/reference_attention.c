#include "reference_attention.h"

#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One head of one picture: (N,d) each, gates (N,3). */
typedef struct head_inputs {
    double *q, *k, *v, *u, *gates;
} head_inputs;

static double *doubles(size_t n) {
    double *out = calloc(n + 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: %zu doubles", n);
    return out;
}

static double dot(size_t n, const double *x, const double *y) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* ---- rotary position ---- */

static double angle_of(const vit_attention_config *c, size_t d, size_t t, size_t j) {
    if (c->rope == VIT_ROPE_1D) {
        return (double)t * pow(10000, -2.0 * (double)j / (double)d);
    }
    if (t < c->prefix) {
        return 0;
    }
    size_t patch = t - c->prefix, quarter = d / 4;
    double position = (double)(j < quarter ? patch / c->grid_w : patch % c->grid_w);
    return position * pow(100, -(double)(j % quarter) / (double)quarter);
}

static void rotate(const vit_attention_config *c, size_t d, double *x) {
    for (size_t t = 0; c->rope != VIT_ROPE_NONE && t < c->tokens; t++) {
        for (size_t j = 0; j < d / 2; j++) {
            double angle = angle_of(c, d, t, j);
            double a = x[t * d + j], b = x[t * d + j + d / 2];
            x[t * d + j] = a * cos(angle) - b * sin(angle);
            x[t * d + j + d / 2] = b * cos(angle) + a * sin(angle);
        }
    }
}

static void make_unit(size_t N, size_t d, double *x) {
    for (size_t t = 0; t < N; t++) {
        double norm = fmax(sqrt(dot(d, x + t * d, x + t * d)), 1e-12);
        for (size_t j = 0; j < d; j++) {
            x[t * d + j] /= norm;
        }
    }
}

/* ---- weights of one row ---- */

/* r from the logits of the `count` tokens that the row sees: docs/zeros.md, step 4. */
static void zero_sum_row(size_t count, const double *s, const double *gates, double *r) {
    double n = (double)count, mean = 0, highest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) {
        mean += s[i] / n;
        highest = fmax(highest, s[i]);
    }
    for (size_t i = 0; i < count; i++) {
        sum += exp(s[i] - highest);
    }
    for (size_t i = 0; i < count; i++) {
        double delta = s[i] - mean;
        double epsilon = exp(s[i] - highest) / sum - 1 / n - delta / n;
        r[i] = gates[0] * delta / n + gates[1] * epsilon;
    }
}

static double phi(double x) {
    return x > 0 ? x + 1 : exp(x);
}

static void linear_row(size_t N, size_t d, const double *q, const double *k, double *r) {
    double sum = 1e-6;
    for (size_t i = 0; i < N; i++) {
        r[i] = 0;
        for (size_t j = 0; j < d; j++) {
            r[i] += phi(q[j]) * phi(k[i * d + j]);
        }
        sum += r[i];
    }
    for (size_t i = 0; i < N; i++) {
        r[i] /= sum;
    }
}

static void softmax_row(size_t N, double *r) {
    double highest = -INFINITY, sum = 0;
    for (size_t i = 0; i < N; i++) {
        highest = fmax(highest, r[i]);
    }
    for (size_t i = 0; i < N; i++) {
        sum += r[i] = exp(r[i] - highest);
    }
    for (size_t i = 0; i < N; i++) {
        r[i] /= sum;
    }
}

/* s_t of ZeroS; causal: the mean up to each token. */
static void deviation_logits(const vit_attention *a, const double *params, size_t head,
                             const double *u, double *s) {
    const vit_attention_config *c = &a->config;
    size_t N = c->tokens, d = a->d;
    const double *mu = params + a->mu + head * d;
    double strength = exp(fmin(fmax(params[a->tau + head], -50), 30));
    for (size_t t = 0; t < N; t++) {
        size_t count = c->causal ? t + 1 : N;
        s[t] = 0;
        for (size_t j = 0; j < d; j++) {
            double sum = strength * mu[j];
            for (size_t i = 0; i < count; i++) {
                sum += u[i * d + j];
            }
            s[t] -= u[t * d + j] * sum / (strength + (double)count) / sqrt((double)d);
        }
    }
}

/* The row's weights of the values; the return value is how many tokens it sees. */
static size_t row_weights(const vit_attention *a, const head_inputs *in, const double *s, size_t t,
                          double *r) {
    const vit_attention_config *c = &a->config;
    size_t N = c->tokens, d = a->d, count = c->causal ? t + 1 : N;
    const double *gates = in->gates + 3 * t;
    double *scores = doubles(N);
    for (size_t i = 0; i < count; i++) {
        scores[i] = dot(d, in->q + t * d, in->k + i * d);
        r[i] = scores[i] / sqrt((double)d);
    }
    switch (c->kind) {
    case VIT_ATTENTION_ZEROS:
        zero_sum_row(count, s, gates, r);
        for (size_t i = 0; i < count; i++) {
            r[i] = (r[i] + (c->zero_order ? gates[2] / (double)count : 0)) * scores[i];
        }
        break;
    case VIT_ATTENTION_ZEROS_SM:
        memcpy(scores, r, N * sizeof *r);
        zero_sum_row(count, scores, gates, r);
        break;
    case VIT_ATTENTION_SOFTMAX:
        softmax_row(N, r);
        break;
    case VIT_ATTENTION_LINEAR:
        linear_row(N, d, in->q + t * d, in->k, r);
        break;
    }
    free(scores);
    return count;
}

static void head_norm(size_t d, double *o) {
    double mean = 0, variance = 0;
    for (size_t j = 0; j < d; j++) {
        mean += o[j] / (double)d;
    }
    for (size_t j = 0; j < d; j++) {
        variance += (o[j] - mean) * (o[j] - mean) / (double)d;
    }
    for (size_t j = 0; j < d; j++) {
        o[j] = (o[j] - mean) / sqrt(variance + 1e-5);
    }
}

/* ---- a picture ---- */

/* out (N,rows) = x W^T + b for rows of the packed projection from `row` on. */
static void project(const vit_attention *a, const double *params, size_t row, size_t rows,
                    const double *x, double *out) {
    size_t D = a->config.dim;
    for (size_t t = 0; t < a->config.tokens; t++) {
        for (size_t j = 0; j < rows; j++) {
            out[t * rows + j] = params[a->in_bias + row + j] +
                                dot(D, x + t * D, params + a->in_weight + (row + j) * D);
        }
    }
}

/* What head's weights and output are made from; the block to free is in.q. */
static head_inputs make_inputs(const vit_attention *a, const double *params, size_t head,
                               const double *x, double *s) {
    const vit_attention_config *c = &a->config;
    size_t N = c->tokens, d = a->d, D = c->dim;
    bool zeros = c->kind == VIT_ATTENTION_ZEROS, gated = zeros || c->kind == VIT_ATTENTION_ZEROS_SM;
    double *block = doubles(4 * N * d + 3 * N);
    head_inputs in = {block, block + N * d, block + 2 * N * d, block + 3 * N * d,
                      block + 4 * N * d};
    project(a, params, head * d, d, x, in.q);
    project(a, params, D + head * d, d, x, in.k);
    project(a, params, 2 * D + head * d, d, x, in.v);
    if (zeros) {
        project(a, params, 3 * D + head * d, d, x, in.u);
    }
    if (gated) {
        project(a, params, (zeros ? 4 : 3) * D + 3 * head, 3, x, in.gates);
    }
    for (size_t i = 0; i < 3 * N; i++) {
        in.gates[i] = i % 3 == 2 ? tanh(in.gates[i]) : sigmoid(in.gates[i]);
    }
    rotate(c, d, in.q);
    rotate(c, d, in.k);
    if (zeros) {
        make_unit(N, d, in.q);
        make_unit(N, d, in.k);
        deviation_logits(a, params, head, in.u, s);
    }
    return in;
}

static void reference_head(const vit_attention *a, const double *params, size_t head,
                           const double *x, double *mixed, double *s) {
    const vit_attention_config *c = &a->config;
    size_t N = c->tokens, d = a->d, D = c->dim;
    bool gated = c->kind == VIT_ATTENTION_ZEROS || c->kind == VIT_ATTENTION_ZEROS_SM;
    head_inputs in = make_inputs(a, params, head, x, s);
    double *r = doubles(N);
    for (size_t t = 0; t < N; t++) {
        size_t count = row_weights(a, &in, s, t, r);
        double *o = mixed + t * D + head * d;
        for (size_t j = 0; j < d; j++) {
            o[j] = 0;
            for (size_t i = 0; i < count; i++) {
                o[j] += r[i] * in.v[i * d + j];
            }
        }
        if (gated && c->head_norm) {
            head_norm(d, o);
        }
    }
    free(r);
    free(in.q);
}

void reference_weights(const vit_attention *attention, const double *params, size_t head,
                       const double *x, double *W) {
    size_t N = attention->config.tokens;
    double *s = doubles(N);
    head_inputs in = make_inputs(attention, params, head, x, s);
    for (size_t t = 0; t < N; t++) {
        size_t count = row_weights(attention, &in, s, t, W + t * N);
        memset(W + t * N + count, 0, (N - count) * sizeof *W);
    }
    free(s);
    free(in.q);
}

void reference_attention(const vit_attention *attention, const double *params, size_t B,
                         const double *x, double *y, double *logits) {
    const vit_attention_config *c = &attention->config;
    size_t N = c->tokens, D = c->dim, H = c->heads;
    double *mixed = doubles(N * D), *s = doubles(N);
    for (size_t b = 0; b < B; b++) {
        for (size_t h = 0; h < H; h++) {
            reference_head(attention, params, h, x + b * N * D, mixed, s);
            if (logits) {
                memcpy(logits + (b * H + h) * N, s, N * sizeof *s);
            }
        }
        for (size_t i = 0; i < N * D; i++) {
            size_t t = i / D, j = i % D;
            y[b * N * D + i] = params[attention->out_bias + j] +
                               dot(D, mixed + t * D, params + attention->out_weight + j * D);
        }
    }
    free(mixed);
    free(s);
}
