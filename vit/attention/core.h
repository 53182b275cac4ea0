/* What an attention variant supplies. Private to vit/attention. variants.h lists the variants and
 * says how to add one.
 *
 * A core sees one head of one picture. Heads do not touch each other's memory, so attention.c may
 * share out the (picture, head) pairs of a forward among threads. A core starts no threads itself.
 */
#ifndef VIT_ATTENTION_CORE_H
#define VIT_ATTENTION_CORE_H

#include "vit/attention/attention.h"

/* The head's columns in a tensor of the shape of packed: row t is at [t * columns]. */
typedef struct vit_head_columns {
    float *q, *k, *v; /* (N,d) */
    float *u;         /* (N,d), zeros only */
    float *gate;      /* (N,3), gated variants only */
} vit_head_columns;

/* Where head h of picture b begins in a tensor of that shape. */
vit_head_columns vit_attention_head(const vit_attention *attention, float *packed, size_t b,
                                    size_t h);

typedef struct vit_core_forward_args {
    const float *params;
    size_t head;
    vit_head_columns packed; /* in: projections; out: what the backward wants */
    float *mixed;            /* (N,d), row stride D; out */
    float *extra;            /* (extra_floats) out: what else the backward wants */
    float *scratch;          /* (forward_scratch) */
} vit_core_forward_args;

typedef struct vit_core_backward_args {
    const float *params;
    float *grads; /* += for the core's own parameters */
    size_t head;
    vit_head_columns packed;  /* as the forward left it; not changed */
    const float *mixed;       /* (N,d), row stride D */
    float *extra;             /* as the forward left it; not changed */
    float *dmixed;            /* (N,d), row stride D; in: gradient of mixed; may be overwritten */
    vit_head_columns dpacked; /* out: every column overwritten */
    float *scratch;           /* (backward_scratch) */
} vit_core_backward_args;

typedef struct vit_core_weights_args {
    const float *params;
    size_t head;
    vit_head_columns packed; /* as the forward left it; not changed */
    float *scratch;          /* (weights_scratch) */
    float *W;                /* (N,N) out */
} vit_core_weights_args;

typedef struct vit_attention_core {
    /* Projection names in packed order, NULL-terminated: {"q","k","v","u"}; or {"qkv"} for timm's
     * fused one. */
    const char *const *projection_names;
    size_t projections;      /* groups of D columns in packed: 4 for zeros, 3 for the others */
    bool gated;              /* 3H more columns from "gate" */
    const char *output_name; /* "out_proj" or timm's "proj" */
    bool head_norm;          /* normalises a head's output when the configuration says so */
    bool zero_order;         /* the configuration may ask for it */
    bool shares;             /* the weights are above 0 and sum to 1: they can be rolled out */
    const struct vit_attention_core *causal; /* the causal form, or NULL */
    /* Declares parameters beyond the projections (mu, tau), or NULL. */
    vit_status (*declare)(vit_attention *attention, const char *prefix, vit_param_table *table);
    /* Floats per head of one picture. */
    size_t (*extra_floats)(const vit_attention *attention);
    size_t (*forward_scratch)(const vit_attention *attention);
    size_t (*backward_scratch)(const vit_attention *attention);
    size_t (*weights_scratch)(const vit_attention *attention);
    void (*forward)(const vit_attention *attention, const vit_core_forward_args *args);
    void (*backward)(const vit_attention *attention, const vit_core_backward_args *args);
    /* What weights.h promises: the head's output before its norm is W v. For explanations. */
    void (*weights)(const vit_attention *attention, const vit_core_weights_args *args);
    /* Products of a head's forward, without the projections; a multiply-add counts 2. */
    double (*flops)(const vit_attention_config *config);
} vit_attention_core;

/* The core of a configuration's kind and form; NULL when there is none. */
const vit_attention_core *vit_attention_core_of(const vit_attention_config *config);

/* Every variant, and causal ZeroS. */
#define VIT_ATTENTION_ROW(kind, name, family, core) extern const vit_attention_core core;
VIT_ATTENTION_VARIANTS(VIT_ATTENTION_ROW)
#undef VIT_ATTENTION_ROW
extern const vit_attention_core vit_zeros_causal_core;

#endif
