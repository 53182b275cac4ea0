/* What an attention variant supplies. Private to vit/attention. To add a variant: write its core,
 * add it to the enum in attention.h and to the table in attention.c. */
#ifndef VIT_ATTENTION_CORE_H
#define VIT_ATTENTION_CORE_H

#include "vit/attention/attention.h"

/* One picture's slice of the tensors. The functions handle all heads of the picture; attention.c
 * loops over pictures. Outside a parallel region a forward may share out its heads among threads,
 * with scratch for each head. */
typedef struct vit_core_forward_args {
    const float *params;
    float *packed;  /* (N,R) in: projections; out: what the backward wants */
    float *mixed;   /* (N,D) out */
    float *extra;   /* (extra_floats) out; NULL in inference when extra_floats is not needed */
    float *scratch; /* (H, forward_scratch) */
} vit_core_forward_args;

typedef struct vit_core_backward_args {
    const float *params;
    float *grads;        /* += for the core's own parameters */
    const float *packed; /* (N,R) as the forward left it */
    const float *mixed;  /* (N,D) */
    const float *extra;
    float *dmixed;  /* (N,D) in: gradient of mixed; may be overwritten */
    float *dpacked; /* (N,R) out, every column overwritten */
    float *scratch; /* (backward_scratch) */
} vit_core_backward_args;

typedef struct vit_attention_core {
    const char *name;
    /* Projection names in packed order, NULL-terminated: {"q","k","v","u"}; or {"qkv"} for timm's
     * fused one. */
    const char *const *projection_names;
    size_t projections;      /* D-wide columns groups in packed: 4 for zeros, 3 for the others */
    bool gated;              /* 3H more columns from "gate" */
    const char *output_name; /* "out_proj" or timm's "proj" */
    /* Declares parameters beyond the projections (mu, tau), or NULL. */
    vit_status (*declare)(vit_attention *attention, const char *prefix, vit_param_table *table);
    size_t (*extra_floats)(const vit_attention *attention);     /* per picture */
    size_t (*forward_scratch)(const vit_attention *attention);  /* per head */
    size_t (*backward_scratch)(const vit_attention *attention); /* per picture */
    void (*forward)(const vit_attention *attention, const vit_core_forward_args *args);
    void (*backward)(const vit_attention *attention, const vit_core_backward_args *args);
} vit_attention_core;

extern const vit_attention_core vit_zeros_core;        /* encoder form */
extern const vit_attention_core vit_zeros_causal_core; /* causal form */
extern const vit_attention_core vit_zeros_sm_core;
extern const vit_attention_core vit_softmax_core;
extern const vit_attention_core vit_linear_core;

#endif
