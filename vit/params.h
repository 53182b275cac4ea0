/* The parameter table: each layer declares its parameters here once. They lie one after another in
 * one flat float32 block (and, in the same layout, one flat gradient block). Initialisation, AdamW,
 * clipping, EMA, checkpoints and the gradient tests all iterate this table. Names are timm's.
 *
 * There is no padding between parameters: tensors declared in a row form one larger matrix, which
 * is how query, key, value, deviation and gate are one product. */
#ifndef VIT_PARAMS_H
#define VIT_PARAMS_H

#include "vit/status.h"

#include <stdbool.h>

#define VIT_NAME_MAX 64
#define VIT_MAX_DIMS 4

typedef enum vit_init_kind {
    VIT_INIT_CONSTANT,     /* every value = scale */
    VIT_INIT_TRUNC_NORMAL, /* normal of standard deviation scale, cut at +-2 (timm trunc_normal_) */
    VIT_INIT_NORMAL,       /* normal of standard deviation scale */
    VIT_INIT_UNIFORM       /* uniform in [-scale, scale) */
} vit_init_kind;

typedef struct vit_init {
    vit_init_kind kind;
    float scale;
} vit_init;

enum {
    VIT_PARAM_DECAY =
        1 << 0, /* weight decay applies (matrices; not 1-D, biases, embeddings, mu, tau) */
    VIT_PARAM_FROZEN = 1 << 1 /* the optimiser leaves it alone */
};

typedef struct vit_param {
    char name[VIT_NAME_MAX];
    int ndim;
    size_t shape[VIT_MAX_DIMS];
    size_t offset; /* floats from the start of the block */
    size_t size;   /* floats */
    unsigned flags;
    vit_init init;
} vit_param;

typedef struct vit_param_table {
    vit_param *items;
    size_t count;
    size_t capacity;
    size_t total; /* floats in the block */
} vit_param_table;

/* Adds prefix + name with the given shape at the end of the block; *offset receives its place.
 * Fails on a name that is too long or already there, and on a size that does not fit. */
vit_status vit_params_add(vit_param_table *table, const char *prefix, const char *name, int ndim,
                          const size_t *shape, unsigned flags, vit_init init, size_t *offset);

/* The parameters of a layer called prefix + name, with timm's initial values. Of a linear layer:
 * NAME.weight (out,in), normal with 0.02, and NAME.bias (out), 0. Of a LayerNorm: NAME.weight (D),
 * 1, and NAME.bias (D), 0. */
vit_status vit_params_add_weight(vit_param_table *table, const char *prefix, const char *name,
                                 size_t out, size_t in, size_t *weight);
vit_status vit_params_add_bias(vit_param_table *table, const char *prefix, const char *name,
                               size_t out, size_t *bias);
vit_status vit_params_add_linear(vit_param_table *table, const char *prefix, const char *name,
                                 size_t out, size_t in, size_t *weight, size_t *bias);
vit_status vit_params_add_norm(vit_param_table *table, const char *prefix, const char *name,
                               size_t D, size_t *weight, size_t *bias);

/* NULL when there is none. */
const vit_param *vit_params_find(const vit_param_table *table, const char *name);

/* Fills the block with each parameter's initial values, drawn by (seed, name) alone. */
void vit_params_init(const vit_param_table *table, uint64_t seed, float *block);

void vit_params_free(vit_param_table *table);

#endif
