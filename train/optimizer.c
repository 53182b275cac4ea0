#include "train/optimizer.h"

#include "vit/simd.h"

#include <math.h>

/* Floats that one thread updates at a time; elementwise, so the cut does not show in the result. */
#define UPDATE_CHUNK ((size_t)1 << 14)

/* A fixed number of partial sums needs no memory, whatever n; it depends on n alone. */
enum { NORM_PARTS = 256, NORM_LANES = 8 };

typedef struct update {
    float grad_scale;
    float decay; /* 1 - lr * weight_decay, or 1 */
    float keep1, take1, keep2, take2;
    float rate;      /* lr / (1 - beta1^t) */
    float inv_root2; /* 1 / sqrt(1 - beta2^t) */
    float eps;
} update;

/* The order of operations is torch's (torch/optim/adamw.py, single tensor). */
VIT_CLONES static void update_range(const update *u, size_t n, const float *restrict grads,
                                    float *restrict params, float *restrict moment1,
                                    float *restrict moment2) {
    const update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = grads[i] * c.grad_scale;
        float m = c.keep1 * moment1[i] + c.take1 * g;
        float v = c.keep2 * moment2[i] + c.take2 * (g * g);
        moment1[i] = m;
        moment2[i] = v;
        params[i] = params[i] * c.decay - c.rate * (m / (sqrtf(v) * c.inv_root2 + c.eps));
    }
}

static update make_update(const vit_adamw *o, double grad_scale) {
    double t = (double)o->step;
    return (update){
        .grad_scale = (float)grad_scale,
        .decay = 1.0f,
        .keep1 = (float)o->beta1,
        .take1 = (float)(1.0 - o->beta1),
        .keep2 = (float)o->beta2,
        .take2 = (float)(1.0 - o->beta2),
        .rate = (float)(o->lr / (1.0 - pow(o->beta1, t))),
        .inv_root2 = (float)(1.0 / sqrt(1.0 - pow(o->beta2, t))),
        .eps = (float)o->eps,
    };
}

/* Index of the parameter that holds float `at` of the block: the last one that starts at or before
 * it and is not empty. */
static size_t param_at(const vit_param_table *table, size_t at) {
    size_t low = 0, high = table->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (table->items[middle].offset <= at) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void vit_adamw_step(const vit_adamw *options, const vit_param_table *table, double grad_scale,
                    const float *grads, float *params, float *moment1, float *moment2) {
    const update plain = make_update(options, grad_scale);
    update decayed = plain;
    decayed.decay = (float)(1.0 - options->lr * options->weight_decay);
    size_t chunks = table->total / UPDATE_CHUNK + (table->total % UPDATE_CHUNK != 0);
#pragma omp parallel for schedule(static)
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        size_t at = chunk * UPDATE_CHUNK;
        size_t end = table->total - at < UPDATE_CHUNK ? table->total : at + UPDATE_CHUNK;
        for (size_t p = param_at(table, at); at < end; p++) {
            const vit_param *param = &table->items[p];
            size_t stop = param->offset + param->size < end ? param->offset + param->size : end;
            if (!(param->flags & VIT_PARAM_FROZEN)) {
                const update *u = param->flags & VIT_PARAM_DECAY ? &decayed : &plain;
                update_range(u, stop - at, grads + at, params + at, moment1 + at, moment2 + at);
            }
            at = stop;
        }
    }
}

/* Float squares cannot overflow in double. */
VIT_CLONES static double sum_of_squares(size_t n, const float *x) {
    double lanes[NORM_LANES] = {0};
    size_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES) {
        for (size_t j = 0; j < NORM_LANES; j++) {
            double value = (double)x[i + j];
            lanes[j] += value * value;
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        double value = (double)x[i + j];
        lanes[j] += value * value;
    }
    double sum = 0;
    for (int j = 0; j < NORM_LANES; j++) {
        sum += lanes[j];
    }
    return sum;
}

double vit_grad_norm(size_t n, const float *grads) {
    double parts[NORM_PARTS];
    size_t length = n / NORM_PARTS + 1; /* NORM_PARTS * length > n */
#pragma omp parallel for schedule(static)
    for (size_t part = 0; part < NORM_PARTS; part++) {
        size_t start = part * length < n ? part * length : n;
        size_t count = n - start < length ? n - start : length;
        parts[part] = sum_of_squares(count, grads + start);
    }
    double sum = 0;
    for (size_t part = 0; part < NORM_PARTS; part++) {
        sum += parts[part];
    }
    return sqrt(sum);
}
