/* Deep networks with stochastic depth, Huang et al., ECCV 2016. */
#include "vit/layers.h"
#include "vit/rng.h"
#include "vit/simd.h"

#include <string.h>

float vit_drop_path_scale(double rate, unsigned long long seed, unsigned epoch,
                          unsigned long long sample, unsigned branch) {
    /* The branch-th number of the picture's stream, reached without drawing those before it: a
     * block of the generator holds four, and the block's number is counter[0]. */
    vit_rng rng = vit_rng_make(seed, epoch, sample, VIT_RNG_DROP_PATH);
    rng.counter[0] = branch / 4;
    double u = 0;
    for (unsigned i = 0; i <= branch % 4; i++) {
        u = vit_rng_uniform(&rng);
    }
    return u < rate ? 0.0f : (float)(1.0 / (1.0 - rate));
}

VIT_CLONES static void add_scaled(size_t n, const float *x, float scale, const float *branch,
                                  float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] + scale * branch[i];
    }
}

VIT_CLONES static void scale_by(size_t n, float scale, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = scale * x[i];
    }
}

/* A dropped branch is left out, not multiplied by 0: what it holds, infinity even, cannot matter.
 */
void vit_residual_forward(size_t B, size_t n, const float *x, const float *branch,
                          const float *scale, float *y) {
    for (size_t b = 0; b < B; b++) {
        float factor = scale ? scale[b] : 1.0f;
        if (factor != 0) {
            add_scaled(n, x + b * n, factor, branch + b * n, y + b * n);
        } else if (y != x) {
            memcpy(y + b * n, x + b * n, n * sizeof *y);
        }
    }
}

void vit_residual_backward(size_t B, size_t n, const float *dy, const float *scale,
                           float *dbranch) {
    for (size_t b = 0; b < B; b++) {
        float factor = scale ? scale[b] : 1.0f;
        if (factor != 0) {
            scale_by(n, factor, dy + b * n, dbranch + b * n);
        } else {
            memset(dbranch + b * n, 0, n * sizeof *dbranch);
        }
    }
}
