#include "vit/attention/deviation.h"

#include "vit/rows.h"
#include "vit/simd.h"

#include <math.h>
#include <string.h>

enum {
    TAU_MIN = -50,
    TAU_MAX = 30,
    CHANNELS = 64 /* channels whose running sums fit the stack */
};

/* ---- the prior ---- */

vit_status vit_deviation_declare(vit_attention *attention, const char *prefix,
                                 vit_param_table *table) {
    size_t H = attention->config.heads;
    vit_init zero = {VIT_INIT_CONSTANT, 0};
    vit_status status = vit_params_add(table, prefix, "prior_mu", 4,
                                       (size_t[]){1, 1, H, attention->d}, 0, zero, &attention->mu);
    if (status != VIT_OK) {
        return status;
    }
    return vit_params_add(table, prefix, "prior_log_tau", 4, (size_t[]){1, 1, H, 1}, 0, zero,
                          &attention->tau);
}

/* e^tau, tau clipped. */
static double prior_strength(float tau) {
    double t = tau;
    return exp(t < TAU_MIN ? TAU_MIN : t > TAU_MAX ? TAU_MAX : t);
}

/* Where the gradient of the clip is not zero. */
static bool prior_is_free(float tau) {
    return tau >= TAU_MIN && tau <= TAU_MAX;
}

/* ---- all tokens: mean_u = (e^tau mu + sum u) / (e^tau + N) ---- */

VIT_CLONES static void logits(size_t N, size_t d, const float *u, size_t stride,
                              const float *mean_u, float *s) {
    float scale = -1.0f / sqrtf((float)d);
    for (size_t t = 0; t < N; t++) {
        s[t] = scale * vit_dot(d, u + t * stride, mean_u);
    }
}

void vit_deviation_forward(const vit_attention *attention, const float *params, size_t head,
                           const float *u, float *mean_u, float *s) {
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    const float *mu = params + attention->mu + head * d;
    double strength = prior_strength(params[attention->tau + head]);
    memset(mean_u, 0, d * sizeof *mean_u);
    vit_rows_sum(N, d, 1, u, R, mean_u);
    for (size_t j = 0; j < d; j++) {
        mean_u[j] = (float)((strength * mu[j] + mean_u[j]) / (strength + (double)N));
    }
    logits(N, d, u, R, mean_u, s);
}

/* sum += scale * ds_t * u_t over the rows; CHANNELS at a time stay in registers. */
VIT_CLONES static void weighted_sum(size_t N, size_t d, const float *u, size_t stride, float scale,
                                    const float *ds, float *sum) {
    for (size_t j = 0; j < d; j += CHANNELS) {
        float lanes[CHANNELS] = {0};
        if (d - j >= CHANNELS) {
            for (size_t t = 0; t < N; t++) {
                const float *row = u + t * stride + j;
                float w = scale * ds[t];
                for (size_t k = 0; k < CHANNELS; k++) {
                    lanes[k] += w * row[k];
                }
            }
        } else {
            for (size_t t = 0; t < N; t++) {
                for (size_t k = 0; j + k < d; k++) {
                    lanes[k] += scale * ds[t] * u[t * stride + j + k];
                }
            }
        }
        for (size_t k = 0; k < CHANNELS && j + k < d; k++) {
            sum[j + k] += lanes[k];
        }
    }
}

/* du_t = scale * ds_t * mean_u + dmean */
VIT_CLONES static void spread(size_t N, size_t d, float scale, const float *restrict ds,
                              const float *restrict mean_u, const float *restrict dmean,
                              float *restrict du, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        float *drow = du + t * stride;
        float w = scale * ds[t];
        for (size_t j = 0; j < d; j++) {
            drow[j] = w * mean_u[j] + dmean[j];
        }
    }
}

void vit_deviation_backward(const vit_attention *attention, const vit_core_backward_args *args,
                            const float *mean_u, const float *ds, float *dmean /* (d) scratch */) {
    size_t N = attention->config.tokens, d = attention->d, R = attention->columns;
    const float *mu = args->params + attention->mu + args->head * d;
    float tau = args->params[attention->tau + args->head];
    float *dmu = args->grads + attention->mu + args->head * d;
    double strength = prior_strength(tau);
    double total = strength + (double)N;
    memset(dmean, 0, d * sizeof *dmean);
    float scale = -1.0f / sqrtf((float)d);
    weighted_sum(N, d, args->packed.u, R, scale, ds, dmean);
    double dstrength = 0; /* times the strength, divided by it */
    for (size_t j = 0; j < d; j++) {
        double g = dmean[j] / total;
        dmu[j] += (float)(strength * g);
        dstrength += ((double)mu[j] - mean_u[j]) * g;
        dmean[j] = (float)g;
    }
    if (prior_is_free(tau)) {
        args->grads[attention->tau + args->head] += (float)(strength * dstrength);
    }
    spread(N, d, scale, ds, mean_u, dmean, args->dpacked.u, R);
}

/* ---- causal: mean_u of row t = (e^tau mu + sum_{j<=t} u_j) / (e^tau + t + 1) ---- */

/* s_t -= u_t . mean_ut / sqrt(d) over `count` channels; the running sums are double. */
VIT_CLONES static void add_logits(size_t N, size_t count, double strength, const float *mu,
                                  float scale, const float *u, size_t stride, float *s) {
    double sum[CHANNELS];
    float mean[CHANNELS];
    for (size_t j = 0; j < count; j++) {
        sum[j] = strength * (double)mu[j];
    }
    for (size_t t = 0; t < N; t++) {
        const float *row = u + t * stride;
        double inverse = 1.0 / (strength + (double)(t + 1));
        for (size_t j = 0; j < count; j++) {
            sum[j] += (double)row[j];
            mean[j] = (float)(sum[j] * inverse);
        }
        s[t] -= scale * vit_dot(count, row, mean);
    }
}

void vit_deviation_causal_forward(const vit_attention *attention, const float *params, size_t head,
                                  const float *u, float *s) {
    size_t N = attention->config.tokens, d = attention->d;
    const float *mu = params + attention->mu + head * d;
    double strength = prior_strength(params[attention->tau + head]);
    memset(s, 0, N * sizeof *s);
    for (size_t j = 0; j < d; j += CHANNELS) {
        size_t count = d - j < CHANNELS ? d - j : CHANNELS;
        add_logits(N, count, strength, mu + j, 1.0f / sqrtf((float)d), u + j, attention->columns,
                   s);
    }
}

/* For `count` channels: du set, dmu added to; the return value is the part of
 * sum_t (mu - mean_ut) . dmean_ut / (e^tau + t + 1). */
VIT_CLONES static double causal_logits_backward(size_t N, size_t count, double strength,
                                                const float *mu, float scale, const float *u,
                                                const float *ds, float *du, size_t stride,
                                                float *dmu) {
    double sum[CHANNELS], dprior[CHANNELS] = {0}, later[CHANNELS] = {0};
    double dstrength = 0;
    for (size_t j = 0; j < count; j++) {
        sum[j] = strength * (double)mu[j];
    }
    for (size_t t = 0; t < N; t++) {
        double inverse = 1.0 / (strength + (double)(t + 1));
        double w = -(double)scale * (double)ds[t];
        for (size_t j = 0; j < count; j++) {
            double value = (double)u[t * stride + j];
            sum[j] += value;
            double mean = sum[j] * inverse;
            double g = w * value * inverse;
            du[t * stride + j] = (float)(w * mean);
            dprior[j] += g;
            dstrength += ((double)mu[j] - mean) * g;
        }
    }
    for (size_t t = N; t-- > 0;) {
        double w = -(double)scale * (double)ds[t] / (strength + (double)(t + 1));
        for (size_t j = 0; j < count; j++) {
            later[j] += w * (double)u[t * stride + j];
            du[t * stride + j] += (float)later[j];
        }
    }
    for (size_t j = 0; j < count; j++) {
        dmu[j] += (float)(strength * dprior[j]);
    }
    return dstrength;
}

void vit_deviation_causal_backward(const vit_attention *attention,
                                   const vit_core_backward_args *args, const float *ds) {
    size_t N = attention->config.tokens, d = attention->d;
    const float *mu = args->params + attention->mu + args->head * d;
    float tau = args->params[attention->tau + args->head];
    float *dmu = args->grads + attention->mu + args->head * d;
    double strength = prior_strength(tau);
    double dstrength = 0;
    for (size_t j = 0; j < d; j += CHANNELS) {
        size_t count = d - j < CHANNELS ? d - j : CHANNELS;
        dstrength += causal_logits_backward(N, count, strength, mu + j, 1.0f / sqrtf((float)d),
                                            args->packed.u + j, ds, args->dpacked.u + j,
                                            attention->columns, dmu + j);
    }
    if (prior_is_free(tau)) {
        args->grads[attention->tau + args->head] += (float)(strength * dstrength);
    }
}
