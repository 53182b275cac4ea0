#include "reference_attention.h"

#include "support.h"

#include "vit/attention/core.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static void linear_row(const vit_attention *a, const reference_head *in, size_t t, size_t count,
                       double *r) {
    size_t d = a->d;
    double sum = 1e-6;
    for (size_t i = 0; i < count; i++) {
        r[i] = 0;
        for (size_t j = 0; j < d; j++) {
            r[i] += phi(in->q[t * d + j]) * phi(in->k[i * d + j]);
        }
        sum += r[i];
    }
    for (size_t i = 0; i < count; i++) {
        r[i] /= sum;
    }
}

/* q.k / sqrt(d) */
static void scaled_products(const vit_attention *a, const reference_head *in, size_t t,
                            size_t count, double *r) {
    for (size_t i = 0; i < count; i++) {
        r[i] = dot(a->d, in->q + t * a->d, in->k + i * a->d) / sqrt((double)a->d);
    }
}

static void softmax_row(const vit_attention *a, const reference_head *in, size_t t, size_t count,
                        double *r) {
    double highest = -INFINITY, sum = 0;
    scaled_products(a, in, t, count, r);
    for (size_t i = 0; i < count; i++) {
        highest = fmax(highest, r[i]);
    }
    for (size_t i = 0; i < count; i++) {
        sum += r[i] = exp(r[i] - highest);
    }
    for (size_t i = 0; i < count; i++) {
        r[i] /= sum;
    }
}

static void zeros_sm_row(const vit_attention *a, const reference_head *in, size_t t, size_t count,
                         double *r) {
    double *logits = doubles(count);
    scaled_products(a, in, t, count, logits);
    zero_sum_row(count, logits, in->gates + 3 * t, r);
    free(logits);
}

static double length(size_t d, const double *x) {
    return fmax(sqrt(dot(d, x, x)), 1e-12);
}

static void zeros_row(const vit_attention *a, const reference_head *in, size_t t, size_t count,
                      double *r) {
    size_t d = a->d;
    const double *q = in->q + t * d, *gates = in->gates + 3 * t;
    zero_sum_row(count, in->s, gates, r);
    for (size_t i = 0; i < count; i++) {
        const double *k = in->k + i * d;
        double angle = dot(d, q, k) / (length(d, q) * length(d, k));
        r[i] = (r[i] + (a->config.zero_order ? gates[2] / (double)count : 0)) * angle;
    }
}

static const reference_row definitions[VIT_ATTENTION_KINDS] = {
    [VIT_ATTENTION_ZEROS] = zeros_row,
    [VIT_ATTENTION_ZEROS_SM] = zeros_sm_row,
    [VIT_ATTENTION_SOFTMAX] = softmax_row,
    [VIT_ATTENTION_LINEAR] = linear_row,
};

static reference_row row_of(const vit_attention *a, reference_row row) {
    row = row ? row : definitions[a->config.kind];
    ck_assert_msg(row != NULL, "no definition of %s attention is given",
                  vit_attention_names[a->config.kind]);
    return row;
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
static reference_head make_inputs(const vit_attention *a, const double *params, size_t head,
                                  const double *x) {
    const vit_attention_config *c = &a->config;
    const vit_attention_core *core = vit_attention_core_of(c);
    size_t N = c->tokens, d = a->d, D = c->dim;
    double *block = doubles(4 * N * d + 4 * N);
    reference_head in = {block,
                         block + N * d,
                         block + 2 * N * d,
                         block + 3 * N * d,
                         block + 4 * N * d,
                         block + 4 * N * d + 3 * N};
    double *const groups[] = {in.q, in.k, in.v, in.u};
    for (size_t i = 0; i < core->projections; i++) {
        project(a, params, i * D + head * d, d, x, groups[i]);
    }
    if (core->gated) {
        project(a, params, core->projections * D + 3 * head, 3, x, in.gates);
    }
    for (size_t i = 0; i < 3 * N; i++) {
        in.gates[i] = i % 3 == 2 ? tanh(in.gates[i]) : sigmoid(in.gates[i]);
    }
    rotate(c, d, in.q);
    rotate(c, d, in.k);
    if (c->kind == VIT_ATTENTION_ZEROS) {
        deviation_logits(a, params, head, in.u, in.s);
    }
    return in;
}

static size_t row_length(const vit_attention *a, size_t t) {
    return a->config.causal ? t + 1 : a->config.tokens;
}

static void reference_mixed(const vit_attention *a, reference_row row, const reference_head *in,
                            double *mixed) {
    const vit_attention_config *c = &a->config;
    size_t N = c->tokens, d = a->d, D = c->dim;
    double *r = doubles(N);
    for (size_t t = 0; t < N; t++) {
        size_t count = row_length(a, t);
        double *o = mixed + t * D;
        row(a, in, t, count, r);
        for (size_t j = 0; j < d; j++) {
            o[j] = 0;
            for (size_t i = 0; i < count; i++) {
                o[j] += r[i] * in->v[i * d + j];
            }
        }
        if (c->head_norm && vit_attention_has_head_norm(c->kind)) {
            head_norm(d, o);
        }
    }
    free(r);
}

void reference_weights(const vit_attention *attention, reference_row row, const double *params,
                       size_t head, const double *x, double *W) {
    size_t N = attention->config.tokens;
    reference_head in = make_inputs(attention, params, head, x);
    row = row_of(attention, row);
    for (size_t t = 0; t < N; t++) {
        size_t count = row_length(attention, t);
        row(attention, &in, t, count, W + t * N);
        memset(W + t * N + count, 0, (N - count) * sizeof *W);
    }
    free(in.q);
}

void reference_attention(const vit_attention *attention, reference_row row, const double *params,
                         size_t B, const double *x, double *y, double *logits) {
    const vit_attention_config *c = &attention->config;
    size_t N = c->tokens, D = c->dim, H = c->heads;
    double *mixed = doubles(N * D);
    row = row_of(attention, row);
    for (size_t b = 0; b < B; b++) {
        for (size_t h = 0; h < H; h++) {
            reference_head in = make_inputs(attention, params, h, x + b * N * D);
            reference_mixed(attention, row, &in, mixed + h * attention->d);
            if (logits) {
                memcpy(logits + (b * H + h) * N, in.s, N * sizeof *in.s);
            }
            free(in.q);
        }
        for (size_t i = 0; i < N * D; i++) {
            size_t t = i / D, j = i % D;
            y[b * N * D + i] = params[attention->out_bias + j] +
                               dot(D, mixed + t * D, params + attention->out_weight + j * D);
        }
    }
    free(mixed);
}
