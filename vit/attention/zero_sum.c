#include "vit/attention/zero_sum.h"

#include "vit/simd.h"
#include "vit/vmath.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

/* exp(delta) may be summed without a shift up to here; beyond, the largest logit is subtracted. */
#define UNSHIFTED_MAX 16.0f

/* ---- sums in double, over lanes ---- */

VIT_INLINE double lanes_sum(const double lanes[VIT_LANES]) {
    double sum = 0;
    for (int i = 0; i < VIT_LANES; i++) {
        sum += lanes[i];
    }
    return sum;
}

VIT_CLONES static double sum_double(size_t n, const float *x) {
    double lanes[VIT_LANES] = {0};
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (size_t j = 0; j < VIT_LANES; j++) {
            lanes[j] += (double)x[i + j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lanes[j] += (double)x[i + j];
    }
    return lanes_sum(lanes);
}

VIT_CLONES static double dot_double(size_t n, const float *x, const float *y) {
    double lanes[VIT_LANES] = {0};
    size_t i = 0;
    for (; i + VIT_LANES <= n; i += VIT_LANES) {
        for (size_t j = 0; j < VIT_LANES; j++) {
            lanes[j] += (double)x[i + j] * (double)y[i + j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lanes[j] += (double)x[i + j] * (double)y[i + j];
    }
    return lanes_sum(lanes);
}

/* x - centre; the return values are the extremes of the result. */
VIT_CLONES static void subtract(size_t n, const float *x, double centre, float *y, float *lowest,
                                float *highest) {
    float low[VIT_LANES], high[VIT_LANES];
    for (int j = 0; j < VIT_LANES; j++) {
        low[j] = FLT_MAX;
        high[j] = -FLT_MAX;
    }
    size_t i = 0;
    for (; i < n; i += VIT_LANES) {
        size_t count = n - i < VIT_LANES ? n - i : VIT_LANES;
        for (size_t j = 0; j < count; j++) {
            float value = (float)((double)x[i + j] - centre);
            y[i + j] = value;
            low[j] = value < low[j] ? value : low[j];
            high[j] = value > high[j] ? value : high[j];
        }
    }
    for (int j = 1; j < VIT_LANES; j++) {
        low[0] = low[j] < low[0] ? low[j] : low[0];
        high[0] = high[j] > high[0] ? high[j] : high[0];
    }
    *lowest = low[0];
    *highest = high[0];
}

/* ---- exp(x) - 1 - x ---- */

/* Taylor to x^11; for |x| <= 1 what is left out is below 1/12! of 1/2. Larger x take expm1(x) - x
 * from `expm1`, which then holds it; NULL when there is none. */
VIT_CLONES static void remainder_series(size_t n, const float *x, const float *expm1_x, float *y) {
    for (size_t i = 0; i < n; i++) {
        float v = x[i];
        float series = 1.0f / 39916800;
        series = series * v + 1.0f / 3628800;
        series = series * v + 1.0f / 362880;
        series = series * v + 1.0f / 40320;
        series = series * v + 1.0f / 5040;
        series = series * v + 1.0f / 720;
        series = series * v + 1.0f / 120;
        series = series * v + 1.0f / 24;
        series = series * v + 1.0f / 6;
        series = series * v + 0.5f;
        series = series * v * v;
        float direct = (expm1_x ? expm1_x[i] : 0) - v;
        y[i] = !expm1_x || fabsf(v) <= 1 ? series : direct; // NOLINT: NULL is one of them, not both
    }
}

static bool all_small(size_t n, const float *x) {
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(x[i]) <= 1)) {
            return false;
        }
    }
    return true;
}

static void exp_remainder(size_t n, const float *x, bool small, float *y) {
    if (small) {
        remainder_series(n, x, NULL, y);
        return;
    }
    vit_vexpm1(n, x, y);
    remainder_series(n, x, y, y);
}

void vit_exp_remainder(size_t n, const float *x, float *y) {
    exp_remainder(n, x, all_small(n, x), y);
}

/* ---- forward ---- */

/* With y_i = exp(delta_i) - 1 - delta_i and m = mean(y), and because mean(delta) = 0:
 *   N higher_i = (y_i - m - m delta_i) / (1 + m),  N whole_i = (delta_i + y_i - m) / (1 + m).
 * In: delta in first, y in higher. */
VIT_CLONES static void finish_unshifted(size_t N, float m, float *first, float *higher,
                                        float *whole) {
    float scale = 1.0f / (float)N;
    float scale_rest = scale / (1 + m);
    for (size_t i = 0; i < N; i++) {
        float delta = first[i];
        float rest = higher[i] - m;
        first[i] = delta * scale;
        higher[i] = (rest - m * delta) * scale_rest;
        whole[i] = (rest + delta) * scale_rest;
    }
}

/* In: delta in first, exp(delta - max) in whole. */
VIT_CLONES static void finish_shifted(size_t N, float sum, float *first, float *higher,
                                      float *whole) {
    float scale = 1.0f / (float)N;
    float scale_exp = 1.0f / sum;
    for (size_t i = 0; i < N; i++) {
        float linear = first[i] * scale;
        float p = whole[i] * scale_exp - scale;
        first[i] = linear;
        higher[i] = p - linear;
        whole[i] = p;
    }
}

void vit_zero_sum_forward(size_t N, const float *s, float *first, float *higher, float *whole) {
    float lowest, highest;
    subtract(N, s, sum_double(N, s) / (double)N, first, &lowest, &highest);
    if (-lowest <= UNSHIFTED_MAX && highest <= UNSHIFTED_MAX) {
        exp_remainder(N, first, -lowest <= 1 && highest <= 1, higher);
        float m = (float)(sum_double(N, higher) / (double)N);
        finish_unshifted(N, m, first, higher, whole);
        return;
    }
    float ignored;
    subtract(N, first, highest, whole, &ignored, &ignored);
    vit_vexp(N, whole, whole);
    finish_shifted(N, (float)sum_double(N, whole), first, higher, whole);
}

/* ---- backward ----
 * With p = 1/N + whole, c = sum p dhigher and W = sum whole dhigher (so c = mean(dhigher) + W), the
 * softmax's gradient p_j (dhigher_j - c), less that of delta_j / N, less the mean over j, is
 * whole_j (dhigher_j - c) - W / N: the terms of order one have cancelled on paper. */

VIT_CLONES static void combine(size_t N, const float *whole, float scale_first, const float *dfirst,
                               float mean_first, float scale_higher, const float *dhigher, float c,
                               float W_mean, float *ds) {
    float a = scale_first / (float)N;
    for (size_t i = 0; i < N; i++) {
        ds[i] =
            a * (dfirst[i] - mean_first) + scale_higher * (whole[i] * (dhigher[i] - c) - W_mean);
    }
}

void vit_zero_sum_backward(size_t N, const float *whole, float scale_first, const float *dfirst,
                           float scale_higher, const float *dhigher, float *ds) {
    double n = (double)N;
    double mean_first = sum_double(N, dfirst) / n;
    double mean_higher = dhigher == dfirst ? mean_first : sum_double(N, dhigher) / n;
    double W = dot_double(N, whole, dhigher);
    combine(N, whole, scale_first, dfirst, (float)mean_first, scale_higher, dhigher,
            (float)(mean_higher + W), (float)(W / n), ds);
}
