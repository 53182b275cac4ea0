/* What an attention variant supplies. Private to vit/attention. To add a variant: write its core,
 * add it to the enum in attention.h and to the table in attention.c.
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

typedef struct vit_attention_core {
    /* Projection names in packed order, NULL-terminated: {"q","k","v","u"}; or {"qkv"} for timm's
     * fused one. */
    const char *const *projection_names;
    size_t projections;      /* groups of D columns in packed: 4 for zeros, 3 for the others */
    bool gated;              /* 3H more columns from "gate" */
    const char *output_name; /* "out_proj" or timm's "proj" */
    /* Declares parameters beyond the projections (mu, tau), or NULL. */
    vit_status (*declare)(vit_attention *attention, const char *prefix, vit_param_table *table);
    /* Floats per head of one picture. */
    size_t (*extra_floats)(const vit_attention *attention);
    size_t (*forward_scratch)(const vit_attention *attention);
    size_t (*backward_scratch)(const vit_attention *attention);
    void (*forward)(const vit_attention *attention, const vit_core_forward_args *args);
    void (*backward)(const vit_attention *attention, const vit_core_backward_args *args);
} vit_attention_core;

extern const vit_attention_core vit_zeros_core;        /* encoder form */
extern const vit_attention_core vit_zeros_causal_core; /* causal form */
extern const vit_attention_core vit_zeros_sm_core;
extern const vit_attention_core vit_softmax_core;
extern const vit_attention_core vit_linear_core;

#endif
