#include "vit/layers.h"
#include "vit/simd.h"
#include "vit/vmath.h"

#include <math.h>

void vit_smooth_targets(size_t B, size_t K, const int *labels, double smoothing, float *targets) {
    double everywhere = smoothing / (double)K;
    for (size_t b = 0; b < B; b++) {
        float *row = targets + b * K;
        for (size_t k = 0; k < K; k++) {
            row[k] = (float)everywhere;
        }
        row[labels[b]] = (float)(1 - smoothing + everywhere);
    }
}

VIT_CLONES static float maximum(size_t n, const float *x) {
    float lanes[VIT_LANES];
    for (size_t j = 0; j < VIT_LANES; j++) {
        lanes[j] = -INFINITY;
    }
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (size_t j = 0; j < VIT_LANES; j++) {
            lanes[j] = lanes[j] < x[i + j] ? x[i + j] : lanes[j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lanes[j] = lanes[j] < x[i + j] ? x[i + j] : lanes[j];
    }
    for (size_t j = 1; j < VIT_LANES; j++) {
        lanes[0] = lanes[0] < lanes[j] ? lanes[j] : lanes[0];
    }
    return lanes[0];
}

/* Sum of exp((x - most) / T). */
static double sum_exp(size_t K, const float *x, double most, double T) {
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        sum += exp((x[k] - most) / T);
    }
    return sum;
}

double vit_log_sum_exp(size_t K, const float *x, double T) {
    double most = maximum(K, x);
    return most / T + log(sum_exp(K, x, most, T));
}

/* In double: the loss of a well-classified picture is the small difference of two large numbers,
 * and K exponentials a picture are nothing beside the model. */
void vit_cross_entropy(size_t B, size_t K, const float *logits, const float *targets, float scale,
                       double *losses, float *dlogits) {
    for (size_t b = 0; b < B; b++) {
        const float *x = logits + b * K;
        const float *t = targets + b * K;
        double most = maximum(K, x);
        double sum = sum_exp(K, x, most, 1);
        double log_sum = log(sum);
        double loss = 0;
        double target_sum = 0;
        for (size_t k = 0; k < K; k++) {
            /* A class ruled out (logit -infinity) that nobody wants costs nothing. */
            loss += t[k] != 0 ? t[k] * (log_sum - (x[k] - most)) : 0;
            target_sum += t[k];
        }
        losses[b] = loss;
        for (size_t k = 0; dlogits && k < K; k++) {
            double p = exp(x[k] - most) / sum;
            dlogits[b * K + k] = (float)(scale * (target_sum * p - t[k]));
        }
    }
}

VIT_CLONES static void subtract_value(size_t n, const float *x, float value, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] - value;
    }
}

VIT_CLONES static void divide_by_sum(size_t n, float *y) {
    float factor = 1.0f / vit_sum(n, y);
    for (size_t i = 0; i < n; i++) {
        y[i] *= factor;
    }
}

void vit_softmax_rows(size_t M, size_t K, const float *logits, float *probabilities) {
    for (size_t i = 0; i < M; i++) {
        float *row = probabilities + i * K;
        subtract_value(K, logits + i * K, maximum(K, logits + i * K), row);
        vit_vexp(K, row, row);
        divide_by_sum(K, row);
    }
}
