#include "data/mix.h"

#include "vit/rng.h"
#include "vit/simd.h"

#include <math.h>
#include <string.h>

/* The logarithm of a Gamma(alpha, 1) draw, less what draws of one alpha have in common: Marsaglia
 * and Tsang 2000; below 1 by the boost U^(1/alpha), which is below every double for small ones. */
static double draw_log_gamma(vit_rng *rng, double alpha) {
    double boost = 0;
    if (alpha < 1) {
        boost = log(vit_rng_u32(rng) + 0.5) / alpha;
        alpha += 1;
    }
    double d = alpha - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = vit_rng_normal(rng), v = 1 + c * x;
        double u = (vit_rng_u32(rng) + 0.5) * 0x1p-32;
        v = v * v * v;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v)) {
            return boost + log(v);
        }
    }
}

/* Beta(alpha, alpha) is a / (a + b) of two such draws. */
static double draw_beta(vit_rng *rng, double alpha) {
    double a = draw_log_gamma(rng, alpha), b = draw_log_gamma(rng, alpha);
    return 1 / (1 + exp(b - a));
}

static size_t clip(double value, size_t most) {
    return (size_t)fmin(fmax(value, 0), (double)most);
}

/* A box of area share 1 - lambda about a uniform centre, cut at the border (timm rand_bbox). */
static void draw_box(vit_rng *rng, size_t height, size_t width, vit_mix *mix) {
    double side = sqrt(1 - mix->lambda);
    double box_h = floor((double)height * side), box_w = floor((double)width * side);
    double y = vit_rng_below(rng, (uint32_t)height), x = vit_rng_below(rng, (uint32_t)width);
    mix->y0 = clip(y - floor(box_h / 2), height);
    mix->y1 = clip(y + floor(box_h / 2), height);
    mix->x0 = clip(x - floor(box_w / 2), width);
    mix->x1 = clip(x + floor(box_w / 2), width);
    double area = (double)(mix->y1 - mix->y0) * (double)(mix->x1 - mix->x0);
    mix->lambda = 1 - area / ((double)height * (double)width);
}

vit_mix vit_mix_draw(const vit_mix_options *options, uint64_t seed, uint32_t epoch, uint64_t batch,
                     size_t height, size_t width) {
    vit_mix mix = {.lambda = 1};
    vit_rng rng = vit_rng_make(seed, epoch, batch, VIT_RNG_MIX);
    bool mixup = options->mixup > 0, cutmix = options->cutmix > 0;
    if ((!mixup && !cutmix) || vit_rng_uniform(&rng) >= options->prob) {
        return mix;
    }
    double choice = vit_rng_uniform(&rng);
    mix.cutmix = cutmix && (!mixup || choice < options->switch_prob);
    mix.lambda = draw_beta(&rng, mix.cutmix ? options->cutmix : options->mixup);
    if (mix.cutmix) {
        draw_box(&rng, height, width, &mix);
    }
    return mix;
}

VIT_CLONES static void blend(size_t n, float share, const float *own, const float *other,
                             float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = own[i] * share + other[i] * (1.0f - share);
    }
}

void vit_mix_image(const vit_mix *mix, size_t channels, size_t height, size_t width,
                   const float *own, const float *other, float *out) {
    size_t n = channels * height * width;
    if (!mix->cutmix && mix->lambda < 1) {
        blend(n, (float)mix->lambda, own, other, out);
        return;
    }
    memcpy(out, own, n * sizeof(float));
    for (size_t row = 0; mix->cutmix && row < channels * height; row++) {
        size_t y = row % height, at = row * width + mix->x0;
        if (y >= mix->y0 && y < mix->y1) {
            memcpy(out + at, other + at, (mix->x1 - mix->x0) * sizeof(float));
        }
    }
}

void vit_mix_target(const vit_mix *mix, size_t B, size_t i, size_t K, const int *labels,
                    double smoothing, float *target) {
    double base = smoothing / (double)K, top = 1 - smoothing;
    for (size_t k = 0; k < K; k++) {
        double own = (size_t)labels[i] == k, other = (size_t)labels[B - 1 - i] == k;
        target[k] = (float)(base + top * (mix->lambda * own + (1 - mix->lambda) * other));
    }
}
