/* Attention behind one interface. Every variant is: one packed input projection, a core that mixes
 * tokens head by head, an output projection. attention.c does the projections; a variant supplies
 * the core through vit_attention_core.
 *
 * Packed projection: for R = projections * D + 3H (gated variants) or projections * D columns, row
 * t of `packed` holds [q | k | v | u | gate] of token t, each D wide with its H heads side by side;
 * gate column 3h + (0,1,2) = first order, higher orders, zero order of head h. The weights are
 * declared one after the other, so this is one product. */
#ifndef VIT_ATTENTION_H
#define VIT_ATTENTION_H

#include "vit/arena.h"
#include "vit/attention/rope.h"
#include "vit/attention/variants.h"
#include "vit/params.h"

#define VIT_ATTENTION_ROW(kind, name, family, core) VIT_ATTENTION_##kind,
typedef enum vit_attention_kind { VIT_ATTENTION_VARIANTS(VIT_ATTENTION_ROW) } vit_attention_kind;
#undef VIT_ATTENTION_ROW
#define VIT_ATTENTION_ROW(kind, name, family, core) +1
enum { VIT_ATTENTION_KINDS = 0 VIT_ATTENTION_VARIANTS(VIT_ATTENTION_ROW) };
#undef VIT_ATTENTION_ROW

/* Which of ZeroS's two equal forms to compute; AUTO picks by cost (explicit when N < 2d). */
typedef enum vit_zeros_form {
    VIT_ZEROS_AUTO = 0,
    VIT_ZEROS_LINEAR = 1,
    VIT_ZEROS_EXPLICIT = 2
} vit_zeros_form;

typedef struct vit_attention_config {
    vit_attention_kind kind;
    vit_rope_kind rope;
    size_t tokens;         /* N, prefix included */
    size_t prefix;         /* class tokens */
    size_t grid_h, grid_w; /* patches; grid_h * grid_w = N - prefix when rope is 2d */
    size_t dim;            /* D */
    size_t heads;          /* H, divides D */
    bool head_norm;        /* LayerNorm of each head's output, no affine, eps 1e-5, where has */
    bool zero_order;       /* add the zero-order term, where has */
    bool causal;           /* a token sees itself and those before it, where has */
    vit_zeros_form form;
    /* Another one of the same rope, tokens, grid and head width, which outlives this one and lends
     * it its rotary tables; NULL: they are made. */
    const struct vit_attention *rope_of;
} vit_attention_config;

#define VIT_HEAD_NORM_EPS 1e-5f

typedef struct vit_attention {
    vit_attention_config config;
    size_t d;             /* D / H */
    size_t columns;       /* R, the width of packed */
    size_t in_weight;     /* offset of the packed (R,D) weight */
    size_t in_bias;       /* offset of the packed (R) bias */
    size_t out_weight;    /* (D,D) */
    size_t out_bias;      /* (D) */
    size_t mu, tau;       /* zeros: offsets of prior_mu (H,d) and prior_log_tau (H) */
    float *cosine, *sine; /* (N,d/2) rotary tables; NULL without rope. Owned unless rope_of */
} vit_attention;

/* Checks the configuration (tokens and dim up to 2^24; causal and zero_order with the variants that
 * have them; head width even for 1d, a multiple of 4 for 2d), declares the parameters under prefix
 * ("blocks.0.attn.") with the names in docs/zeros.md or timm's, and makes the rotary tables.
 * Release with vit_attention_free. */
vit_status vit_attention_init(vit_attention *attention, const vit_attention_config *config,
                              const char *prefix, vit_param_table *table);
void vit_attention_free(vit_attention *attention);

/* What a forward leaves for the backward, for B pictures. */
typedef struct vit_attention_saved {
    float *packed; /* (B,N,R): left by the core in whatever form its backward wants */
    float *mixed;  /* (B,N,D): the heads' outputs, the input of the output projection */
    float *extra;  /* (B,extra_floats): the core's own */
} vit_attention_saved;

/* Plans the saved tensors: the same for training and inference, as a forward writes all of them.
 * Without training they may be shared by all blocks. A size that does not fit marks the arena. */
void vit_attention_plan(const vit_attention *attention, size_t B, bool training, vit_arena *arena,
                        vit_attention_saved *saved);
/* Floats of scratch, free again after each call, that forward (and, with training, backward) needs
 * for B pictures; SIZE_MAX when that does not fit. */
size_t vit_attention_scratch(const vit_attention *attention, size_t B, bool training);

/* Outside a parallel region the (picture, head) pairs are shared out among threads. The bits do not
 * depend on their number. */
void vit_attention_forward(const vit_attention *attention, const float *params, size_t B,
                           const float *x /* (B,N,D) */, const vit_attention_saved *saved,
                           float *scratch, float *y /* (B,N,D) */);
/* The middle of it, from packed to mixed, for who does the projections in a way of its own. */
void vit_attention_mix(const vit_attention *attention, const float *params, size_t B,
                       const vit_attention_saved *saved, float *scratch);
/* After a forward with the same x and params. Adds to grads; dx may be dy, or NULL. */
void vit_attention_backward(const vit_attention *attention, const float *params, float *grads,
                            size_t B, const float *x /* (B,N,D) */,
                            const vit_attention_saved *saved, const float *dy /* (B,N,D) */,
                            float *scratch, float *dx /* (B,N,D) overwritten */);

/* "zeros", "zeros-sm", ..., in the order of vit_attention_kind, NULL at the end. */
extern const char *const vit_attention_names[];

/* What a variant has. */
bool vit_attention_has_head_norm(vit_attention_kind kind);  /* head_norm is heeded */
bool vit_attention_has_zero_order(vit_attention_kind kind); /* zero_order is allowed */
bool vit_attention_has_causal(vit_attention_kind kind);     /* causal is allowed */
bool vit_attention_has_shares(vit_attention_kind kind);     /* weights above 0 that sum to 1 */
/* The names of the variants that have something, with ", " between them, for messages. */
void vit_attention_names_with(bool (*has)(vit_attention_kind kind), char *text, size_t size);

/* Whether name is that of a parameter of any variant under prefix. */
bool vit_attention_declares(const char *name, const char *prefix);

/* Floating-point operations of one picture's forward (a multiply-add counts 2), products only.
 * Reads kind, tokens, dim, heads, zero_order, causal and form. */
double vit_attention_flops(const vit_attention_config *config);

#endif
