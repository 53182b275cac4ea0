/* Optimisers and the gradient norm, over flat blocks. Deterministic for any number of threads. */
#ifndef VIT_OPTIMIZER_H
#define VIT_OPTIMIZER_H

#include "vit/params.h"

/* One row an optimiser: its number, its name on the command line, whether it keeps second moments,
 * and whether it scales a parameter's step by a trust ratio. g: gradient, m and v: moments, wd:
 * weight decay where the parameter table says so, t: step from 1.
 *
 * ADAMW  Loshchilov and Hutter 2019, as torch.optim.AdamW: p *= 1 - lr wd;
 *        p -= lr m^ / (sqrt(v^) + eps), m^ and v^ corrected for their start at 0.
 * SGD    As torch.optim.SGD with Nesterov momentum (timm's "sgd"): g += wd p; m = momentum m + g;
 *        p -= lr (g + momentum m).
 * LION   Chen et al. 2023, as timm's Lion: p *= 1 - lr wd; p -= lr sign(beta1 m + (1 - beta1) g);
 *        m = beta2 m + (1 - beta2) g.
 * LAMB   You et al. 2020, as timm's Lamb without its own clipping:
 *        u = m^ / (sqrt(v^) + eps) + wd p; p -= lr (|p| / |u|) u, the ratio 1 for parameters
 *        without decay and where a norm is 0. */
#define VIT_OPTIMIZERS(ROW)                                                                        \
    ROW(VIT_ADAMW, "adamw", true, false)                                                           \
    ROW(VIT_SGD, "sgd", false, false)                                                              \
    ROW(VIT_LION, "lion", false, false)                                                            \
    ROW(VIT_LAMB, "lamb", true, true)

typedef enum vit_optimizer_kind {
#define VIT_OPTIMIZER_KIND(kind, name, moment2, trust) kind,
    VIT_OPTIMIZERS(VIT_OPTIMIZER_KIND)
} vit_optimizer_kind;
#define VIT_OPTIMIZER_ONE(kind, name, moment2, trust) +1
enum { VIT_OPTIMIZER_COUNT = 0 VIT_OPTIMIZERS(VIT_OPTIMIZER_ONE) };
extern const char *const vit_optimizer_names[]; /* NULL at the end */
/* What it needs beside a first moment: the blocks of vit_optimizer_blocks. */
bool vit_optimizer_has_moment2(int kind);
bool vit_optimizer_has_trust(int kind);

typedef struct vit_optimizer {
    int kind; /* vit_optimizer_kind */
    double lr, beta1, beta2, eps, weight_decay;
    double momentum;       /* of VIT_SGD */
    int64_t step;          /* of this update, from 1 */
    double ema_decay;      /* of the weights' moving average: ema = decay ema + (1 - decay) p */
    const float *lr_scale; /* (table->count) factors of lr, or NULL */
} vit_optimizer;

/* What an update changes: blocks of table->total floats. */
typedef struct vit_optimizer_blocks {
    float *params, *moment1;
    float *moment2; /* NULL unless vit_optimizer_has_moment2 */
    float *ema;     /* NULL: no average is kept */
    float *trust;   /* (table->count) scratch; NULL unless vit_optimizer_has_trust */
} vit_optimizer_blocks;

/* One update of all parameters that are not frozen; gradients are multiplied by grad_scale first
 * (clipping). The average follows in the same pass. */
void vit_optimizer_step(const vit_optimizer *options, const vit_param_table *table,
                        double grad_scale, const float *grads, const vit_optimizer_blocks *blocks);

/* timm's ModelEmaV3: the decay of update number `step` (from 1); with warm-up
 * 1 - step^(-2/3), at most decay, and 0 for the first. */
double vit_ema_decay(double decay, bool warmup, int64_t step);

/* Euclidean norm of n floats, summed in double over fixed blocks in a fixed order. */
double vit_grad_norm(size_t n, const float *grads);

#endif
