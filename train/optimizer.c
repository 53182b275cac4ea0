#include "train/optimizer.h"

#include "vit/simd.h"

#include <math.h>
#include <stddef.h>

/* Floats that one thread updates at a time; elementwise, so the cut does not show in the result. */
#define UPDATE_CHUNK ((size_t)1 << 14)

/* A fixed number of partial sums needs no memory, whatever n; it depends on n alone. */
enum { NORM_PARTS = 256, NORM_LANES = 8 };

#define ROW_NAME(kind, name, moment2, trust) name,
#define ROW_MOMENT2(kind, name, moment2, trust) moment2,
#define ROW_TRUST(kind, name, moment2, trust) trust,
const char *const vit_optimizer_names[] = {VIT_OPTIMIZERS(ROW_NAME) NULL};

bool vit_optimizer_has_moment2(int kind) {
    static const bool has[] = {VIT_OPTIMIZERS(ROW_MOMENT2)};
    return kind >= 0 && kind < VIT_OPTIMIZER_COUNT && has[kind];
}

bool vit_optimizer_has_trust(int kind) {
    static const bool has[] = {VIT_OPTIMIZERS(ROW_TRUST)};
    return kind >= 0 && kind < VIT_OPTIMIZER_COUNT && has[kind];
}

double vit_ema_decay(double decay, bool warmup, int64_t step) {
    return warmup ? fmin(decay, 1 - pow((double)step, -2.0 / 3)) : decay;
}

/* Constants of one parameter's update. */
typedef struct update {
    float grad_scale;
    float lr;
    float decay;     /* 1 - lr * weight_decay, or 1 */
    float add_decay; /* weight_decay, or 0, where it is part of the gradient or step */
    float keep1, take1, keep2, take2;
    float rate;      /* lr / (1 - beta1^t) */
    float inv_root2; /* 1 / sqrt(1 - beta2^t) */
    float inv1;      /* 1 / (1 - beta1^t) */
    float eps, momentum;
} update;

/* ---- kernels: elements first .. first + n - 1 of every block ---- */

/* The order of operations is torch's (torch/optim/adamw.py, single tensor). */
VIT_CLONES static void adamw_range(const update *u, size_t n, const float *restrict grads,
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

VIT_CLONES static void sgd_range(const update *u, size_t n, const float *restrict grads,
                                 float *restrict params, float *restrict moment1) {
    const update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = grads[i] * c.grad_scale + c.add_decay * params[i];
        float m = c.momentum * moment1[i] + g;
        moment1[i] = m;
        params[i] -= c.lr * (g + c.momentum * m);
    }
}

VIT_CLONES static void lion_range(const update *u, size_t n, const float *restrict grads,
                                  float *restrict params, float *restrict moment1) {
    const update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = grads[i] * c.grad_scale, m = moment1[i];
        float direction = c.keep1 * m + c.take1 * g;
        float sign = (float)(direction > 0) - (float)(direction < 0);
        params[i] = params[i] * c.decay - c.lr * sign;
        moment1[i] = c.keep2 * m + c.take2 * g;
    }
}

VIT_CLONES static void moments_range(const update *u, size_t n, const float *restrict grads,
                                     float *restrict moment1, float *restrict moment2) {
    const update c = *u;
    for (size_t i = 0; i < n; i++) {
        float g = grads[i] * c.grad_scale;
        moment1[i] = c.keep1 * moment1[i] + c.take1 * g;
        moment2[i] = c.keep2 * moment2[i] + c.take2 * (g * g);
    }
}

static inline float lamb_direction(const update *c, float p, float m, float v) {
    return m * c->inv1 / (sqrtf(v) * c->inv_root2 + c->eps) + c->add_decay * p;
}

/* Squares of the norms of a parameter and of its step. */
VIT_CLONES static void lamb_norms(const update *u, size_t n, const float *restrict params,
                                  const float *restrict moment1, const float *restrict moment2,
                                  double *restrict param_square, double *restrict step_square) {
    const update c = *u;
    double p_lanes[NORM_LANES] = {0}, s_lanes[NORM_LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        double p = (double)params[i];
        double s = (double)lamb_direction(&c, params[i], moment1[i], moment2[i]);
        p_lanes[i % NORM_LANES] += p * p;
        s_lanes[i % NORM_LANES] += s * s;
    }
    *param_square = *step_square = 0;
    for (int j = 0; j < NORM_LANES; j++) {
        *param_square += p_lanes[j];
        *step_square += s_lanes[j];
    }
}

VIT_CLONES static void lamb_range(const update *u, float trust, size_t n, float *restrict params,
                                  const float *restrict moment1, const float *restrict moment2) {
    const update c = *u;
    for (size_t i = 0; i < n; i++) {
        params[i] -= c.lr * trust * lamb_direction(&c, params[i], moment1[i], moment2[i]);
    }
}

VIT_CLONES static void ema_range(float keep, float take, size_t n, const float *restrict params,
                                 float *restrict ema) {
    for (size_t i = 0; i < n; i++) {
        ema[i] = keep * ema[i] + take * params[i];
    }
}

/* ---- a step ---- */

static update make_update(const vit_optimizer *o, double grad_scale) {
    double t = (double)o->step;
    double first = 1.0 - pow(o->beta1, t), second = 1.0 - pow(o->beta2, t);
    return (update){
        .grad_scale = (float)grad_scale,
        .keep1 = (float)o->beta1,
        .take1 = (float)(1.0 - o->beta1),
        .keep2 = (float)o->beta2,
        .take2 = (float)(1.0 - o->beta2),
        .inv_root2 = (float)(1.0 / sqrt(second)),
        .inv1 = (float)(1.0 / first),
        .eps = (float)o->eps,
        .momentum = (float)o->momentum,
    };
}

/* For parameter p, from what all have in common. */
static update update_of(const vit_optimizer *o, const update *common, const vit_param_table *table,
                        size_t p) {
    update u = *common;
    double lr = o->lr * (o->lr_scale ? (double)o->lr_scale[p] : 1.0);
    double decay = table->items[p].flags & VIT_PARAM_DECAY ? o->weight_decay : 0;
    u.lr = (float)lr;
    u.decay = (float)(1.0 - lr * decay);
    u.add_decay = (float)decay;
    u.rate = (float)(lr / (1.0 - pow(o->beta1, (double)o->step)));
    return u;
}

/* What is done to floats at .. at + n - 1 of parameter p. */
typedef enum update_pass { PASS_MOMENTS, PASS_UPDATE } update_pass;

static void work_on(const vit_optimizer *o, update_pass pass, const update *u, size_t p, size_t at,
                    size_t n, const float *grads, const vit_optimizer_blocks *b) {
    float *params = b->params + at, *moment1 = b->moment1 + at;
    if (pass == PASS_MOMENTS) {
        moments_range(u, n, grads + at, moment1, b->moment2 + at);
        return;
    }
    switch ((vit_optimizer_kind)o->kind) {
    case VIT_ADAMW:
        adamw_range(u, n, grads + at, params, moment1, b->moment2 + at);
        break;
    case VIT_SGD:
        sgd_range(u, n, grads + at, params, moment1);
        break;
    case VIT_LION:
        lion_range(u, n, grads + at, params, moment1);
        break;
    case VIT_LAMB:
        lamb_range(u, b->trust[p], n, params, moment1, b->moment2 + at);
        break;
    }
    if (b->ema) {
        ema_range((float)o->ema_decay, (float)(1.0 - o->ema_decay), n, params, b->ema + at);
    }
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

static void run_pass(const vit_optimizer *o, update_pass pass, const update *common,
                     const vit_param_table *table, const float *grads,
                     const vit_optimizer_blocks *blocks) {
    size_t chunks = table->total / UPDATE_CHUNK + (table->total % UPDATE_CHUNK != 0);
#pragma omp parallel for schedule(static)
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        size_t at = chunk * UPDATE_CHUNK;
        size_t end = table->total - at < UPDATE_CHUNK ? table->total : at + UPDATE_CHUNK;
        for (size_t p = param_at(table, at); at < end; p++) {
            const vit_param *param = &table->items[p];
            size_t stop = param->offset + param->size < end ? param->offset + param->size : end;
            if (!(param->flags & VIT_PARAM_FROZEN) && at < stop) {
                update u = update_of(o, common, table, p);
                work_on(o, pass, &u, p, at, stop - at, grads, blocks);
            }
            at = stop;
        }
    }
}

/* A parameter's norms are summed by one thread. */
static void find_trust(const vit_optimizer *o, const update *common, const vit_param_table *table,
                       const vit_optimizer_blocks *b) {
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t p = 0; p < table->count; p++) {
        const vit_param *param = &table->items[p];
        double squares[2] = {0, 0};
        b->trust[p] = 1;
        if (!(param->flags & VIT_PARAM_FROZEN) && param->flags & VIT_PARAM_DECAY &&
            o->weight_decay > 0) {
            update u = update_of(o, common, table, p);
            lamb_norms(&u, param->size, b->params + param->offset, b->moment1 + param->offset,
                       b->moment2 + param->offset, &squares[0], &squares[1]);
        }
        if (squares[0] > 0 && squares[1] > 0) {
            b->trust[p] = (float)sqrt(squares[0] / squares[1]);
        }
    }
}

void vit_optimizer_step(const vit_optimizer *options, const vit_param_table *table,
                        double grad_scale, const float *grads, const vit_optimizer_blocks *blocks) {
    const update common = make_update(options, grad_scale);
    if (options->kind == VIT_LAMB) {
        run_pass(options, PASS_MOMENTS, &common, table, grads, blocks);
        find_trust(options, &common, table, blocks);
    }
    run_pass(options, PASS_UPDATE, &common, table, grads, blocks);
}

/* ---- the norm ---- */

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
