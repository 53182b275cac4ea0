/* ZeroS attention, encoder form (docs/zeros.md; Lu et al. 2025).
 *
 * The radial weight is a sum of two parts (three with the zero order), each a product of a factor
 * of the query's token and one of the key's: r_ti = sum_p query_p[t] key_p[i],  query = (sigma1,
 * sigmah, tanh g0), key = (delta/N, epsilon, 1/N). Linear form: one d x d state a part. Explicit
 * form: the N x N weights, a few rows at a time. */
#include "vit/attention/core.h"
#include "vit/attention/deviation.h"
#include "vit/attention/kernels.h"
#include "vit/attention/radial.h"
#include "vit/attention/zero_sum.h"
#include "vit/gemm.h"
#include "vit/simd.h"

#include <string.h>

enum {
    PARTS_MAX = 3,
    LINEAR_ROWS = 256 /* tokens whose weighted keys or queries are made at a time */
};

/* ---- shape and memory ---- */

typedef struct zeros_shape {
    size_t N, d, D, R;
    size_t parts; /* 2, or 3 with the zero order */
    bool explicit_form;
} zeros_shape;

static bool is_explicit(const vit_attention_config *c) {
    bool automatic = c->form == VIT_ZEROS_AUTO;
    return automatic ? c->tokens < 2 * (c->dim / c->heads) : c->form == VIT_ZEROS_EXPLICIT;
}

static zeros_shape shape_of(const vit_attention *attention) {
    const vit_attention_config *c = &attention->config;
    return (zeros_shape){
        .N = c->tokens,
        .d = attention->d,
        .D = c->dim,
        .R = attention->columns,
        .parts = c->zero_order ? 3 : 2,
        .explicit_form = is_explicit(c),
    };
}

static size_t rows_at_a_time(const zeros_shape *s) {
    if (s->explicit_form) {
        return vit_quadratic_rows(s->N);
    }
    return s->N < LINEAR_ROWS ? s->N : LINEAR_ROWS;
}

/* What a head keeps for the backward. */
typedef struct zeros_extra {
    float *inverse_q, *inverse_k; /* (N) 1/||q||, 1/||k|| */
    float *query;                 /* (parts,N) the gates */
    float *key;                   /* (parts,N) delta/N, epsilon, 1/N */
    float *whole;                 /* (N) softmax(s) - 1/N */
    float *rstd;                  /* (N) of the head norm */
    float *mean_u;                /* (d) */
    float *state;                 /* (parts,d,d) linear form only */
} zeros_extra;

static size_t carve_extra(const zeros_shape *s, float *block, zeros_extra *extra) {
    size_t tokens = s->parts * s->N, states = s->explicit_form ? 0 : s->parts * s->d * s->d;
    const size_t sizes[] = {s->N, s->N, tokens, tokens, s->N, s->N, s->d, states};
    float **const fields[] = {&extra->inverse_q, &extra->inverse_k, &extra->query,  &extra->key,
                              &extra->whole,     &extra->rstd,      &extra->mean_u, &extra->state};
    return vit_carve(sizeof sizes / sizeof *sizes, sizes, fields, block);
}

static size_t extra_floats(const vit_attention *attention) {
    zeros_shape s = shape_of(attention);
    zeros_extra extra;
    return carve_extra(&s, NULL, &extra);
}

/* The weighted rows, or the rows of the N x N weights; and N means for the head norm. */
static size_t forward_scratch(const vit_attention *attention) {
    zeros_shape s = shape_of(attention);
    return rows_at_a_time(&s) * (s.explicit_form ? s.N : s.parts * s.d) + s.N;
}

/* Two such pieces, the gradients of the token factors and of s, and of the states. */
static size_t backward_scratch(const vit_attention *attention) {
    zeros_shape s = shape_of(attention);
    return 2 * rows_at_a_time(&s) * (s.explicit_form ? s.N : s.parts * s.d) +
           (2 * s.parts + 1) * s.N + s.d + (s.explicit_form ? 0 : s.parts * s.d * s.d);
}

/* ---- the linear form ---- */

/* Pointers to element `from` of each part's vector. */
static void part_pointers(const zeros_shape *s, float *vectors, size_t from,
                          float *pointers[PARTS_MAX]) {
    for (size_t p = 0; p < s->parts; p++) {
        pointers[p] = vectors + p * s->N + from;
    }
}

static void weighted(const zeros_shape *s, float *vectors, size_t from, size_t rows, const float *x,
                     float *out) {
    float *weights[PARTS_MAX];
    part_pointers(s, vectors, from, weights);
    vit_scale_rows(rows, s->d, s->parts, (const float *const *)weights, x + from * s->R, s->R, out);
}

/* state = sum_i key_i k_i^T v_i, then mixed_t = (query_t q_t) state. All that is done to a row of k
 * or q is done while its block is in cache, and nothing passes over all tokens more than once: that
 * is what keeps the time linear when they no longer fit. */
static void linear_forward(const vit_attention *attention, const zeros_shape *s,
                           const vit_core_forward_args *args, const zeros_extra *extra,
                           float *scratch, float *mean) {
    const vit_head_columns *in = &args->packed;
    size_t step = rows_at_a_time(s), width = s->parts * s->d;
    for (size_t t = 0; t < s->N; t += step) {
        size_t rows = s->N - t < step ? s->N - t : step;
        vit_turn_unit_forward(attention, t, rows, in->k, s->R, extra->inverse_k);
        weighted(s, extra->key, t, rows, in->k, scratch);
        vit_gemm(true, false, width, s->d, rows, 1, scratch, width, in->v + t * s->R, s->R,
                 t > 0 ? 1 : 0, extra->state, s->d);
    }
    for (size_t t = 0; t < s->N; t += step) {
        size_t rows = s->N - t < step ? s->N - t : step;
        float *mixed = args->mixed + t * s->D;
        vit_turn_unit_forward(attention, t, rows, in->q, s->R, extra->inverse_q);
        weighted(s, extra->query, t, rows, in->q, scratch);
        vit_gemm(false, false, rows, s->d, width, 1, scratch, width, extra->state, s->d, 0, mixed,
                 s->D);
        if (attention->config.head_norm) {
            vit_head_norm_forward(rows, s->d, mixed, s->D, mean, extra->rstd + t);
        }
    }
}

/* What both forms' backwards fill beside dpacked. */
typedef struct zeros_token_grads {
    float *query, *key; /* (parts,N) gradients of the token factors: g(phi), g(kappa) */
} zeros_token_grads;

/* The two halves of the backward, block by block as the forward. In the letters of docs/zeros.md,
 * "The sum over tokens, linear form": dout is G; the state of part p is M_p, dstate g(M_p);
 * products are P = G M^T here and Q = v g(M)^T below. This one:
 *     g(M_p) = sum_t phi_p[t] q_t^T G_t,  g(q_t) = sum_p phi_p[t] P_tp,  g(phi_p[t]) = q_t . P_tp
 */
static void linear_backward_query(const vit_attention *attention, const zeros_shape *s,
                                  const vit_core_backward_args *args, const zeros_extra *extra,
                                  const zeros_token_grads *grads, float *pieces, float *dstate) {
    size_t step = rows_at_a_time(s), width = s->parts * s->d;
    float *products = pieces + step * width;
    for (size_t t = 0; t < s->N; t += step) {
        size_t rows = s->N - t < step ? s->N - t : step;
        float *dout = args->dmixed + t * s->D;
        float *weights[PARTS_MAX], *dweights[PARTS_MAX];
        if (attention->config.head_norm) {
            vit_head_norm_backward(rows, s->d, args->mixed + t * s->D, extra->rstd + t, dout, s->D);
        }
        weighted(s, extra->query, t, rows, args->packed.q, pieces);
        vit_gemm(true, false, width, s->d, rows, 1, pieces, width, dout, s->D, t > 0 ? 1 : 0,
                 dstate, s->d);
        vit_gemm(false, true, rows, width, s->d, 1, dout, s->D, extra->state, s->d, 0, products,
                 width);
        part_pointers(s, extra->query, t, weights);
        part_pointers(s, grads->query, t, dweights);
        vit_scale_rows_backward(rows, s->d, s->parts, (const float *const *)weights,
                                args->packed.q + t * s->R, s->R, products,
                                args->dpacked.q + t * s->R, s->R, dweights);
        vit_turn_unit_backward(attention, t, rows, args->packed.q, extra->inverse_q,
                               args->dpacked.q, s->R);
    }
}

/* g(v_i) = sum_p kappa_p[i] k_i g(M_p),  g(k_i) = sum_p kappa_p[i] Q_ip,
 * g(kappa_p[i]) = k_i . Q_ip */
static void linear_backward_key(const vit_attention *attention, const zeros_shape *s,
                                const vit_core_backward_args *args, const zeros_extra *extra,
                                const zeros_token_grads *grads, float *pieces,
                                const float *dstate) {
    size_t step = rows_at_a_time(s), width = s->parts * s->d;
    float *products = pieces + step * width;
    for (size_t t = 0; t < s->N; t += step) {
        size_t rows = s->N - t < step ? s->N - t : step;
        float *weights[PARTS_MAX], *dweights[PARTS_MAX];
        weighted(s, extra->key, t, rows, args->packed.k, pieces);
        vit_gemm(false, false, rows, s->d, width, 1, pieces, width, dstate, s->d, 0,
                 args->dpacked.v + t * s->R, s->R);
        vit_gemm(false, true, rows, width, s->d, 1, args->packed.v + t * s->R, s->R, dstate, s->d,
                 0, products, width);
        part_pointers(s, extra->key, t, weights);
        part_pointers(s, grads->key, t, dweights);
        vit_scale_rows_backward(rows, s->d, s->parts, (const float *const *)weights,
                                args->packed.k + t * s->R, s->R, products,
                                args->dpacked.k + t * s->R, s->R, dweights);
        vit_turn_unit_backward(attention, t, rows, args->packed.k, extra->inverse_k,
                               args->dpacked.k, s->R);
    }
}

/* ---- the explicit form ---- */

/* Row t of r. */
VIT_INLINE void radial_row(size_t N, size_t parts, const float *query, const float *key, size_t t,
                           float *r) {
    float first = query[t], higher = query[N + t];
    for (size_t i = 0; i < N; i++) {
        r[i] = first * key[i] + higher * key[N + i];
    }
    if (parts == 3) {
        float zero = query[2 * N + t];
        for (size_t i = 0; i < N; i++) {
            r[i] += zero * key[2 * N + i];
        }
    }
}

/* angle (rows,N) becomes W = angle * r, for the rows from `from` on. row (N) is scratch. */
VIT_CLONES static void explicit_weights(size_t N, size_t parts, size_t from, size_t rows,
                                        const float *query, const float *key, float *row,
                                        float *angle) {
    for (size_t t = 0; t < rows; t++) {
        float *a = angle + t * N;
        radial_row(N, parts, query, key, from + t, row);
        for (size_t i = 0; i < N; i++) {
            a[i] *= row[i];
        }
    }
}

static void explicit_forward(const vit_attention *attention, const zeros_shape *s,
                             const vit_core_forward_args *args, const zeros_extra *extra,
                             float *scratch, float *row) {
    const vit_head_columns *in = &args->packed;
    size_t step = rows_at_a_time(s), N = s->N;
    vit_turn_unit_forward(attention, 0, N, in->q, s->R, extra->inverse_q);
    vit_turn_unit_forward(attention, 0, N, in->k, s->R, extra->inverse_k);
    for (size_t t = 0; t < N; t += step) {
        size_t rows = N - t < step ? N - t : step;
        vit_query_key(attention, in, t, rows, 1, scratch);
        explicit_weights(N, s->parts, t, rows, extra->query, extra->key, row, scratch);
        vit_gemm(false, false, rows, s->d, N, 1, scratch, N, in->v, s->R, 0, args->mixed + t * s->D,
                 s->D);
    }
    if (attention->config.head_norm) {
        vit_head_norm_forward(N, s->d, args->mixed, s->D, row, extra->rstd);
    }
}

/* In: angle = q.k and dweights = dout.v, (rows,N). Out: angle holds W = angle * r, dweights holds
 * the gradient of the angle. The gradients of the token factors: dquery set, dkey added to. */
VIT_CLONES static void explicit_weights_backward(size_t N, size_t parts, size_t from, size_t rows,
                                                 const float *query, const float *key, float *row,
                                                 float *angle, float *dweights, float *dquery,
                                                 float *dkey) {
    for (size_t t = 0; t < rows; t++) {
        float *a = angle + t * N;
        float *g = dweights + t * N;
        radial_row(N, parts, query, key, from + t, row);
        for (size_t i = 0; i < N; i++) {
            float dr = g[i] * a[i];
            g[i] *= row[i];
            a[i] *= row[i];
            row[i] = dr;
        }
        for (size_t p = 0; p < parts; p++) {
            float factor = query[p * N + from + t];
            dquery[p * N + from + t] = vit_dot(N, row, key + p * N);
            for (size_t i = 0; i < N; i++) {
                dkey[p * N + i] += factor * row[i];
            }
        }
    }
}

/* With A = q k^T (angle), W = A * r and G = dout: g(W) = G v^T,  g(A) = g(W) * r,  g(r) = g(W) * A,
 * g(v) = W^T G,  g(q) = g(A) k,  g(k) = g(A)^T q. */
static void explicit_backward(const vit_attention *attention, const zeros_shape *s,
                              const vit_core_backward_args *args, const zeros_extra *extra,
                              const zeros_token_grads *grads, float *pieces, float *row) {
    const vit_head_columns *in = &args->packed, *din = &args->dpacked;
    size_t step = rows_at_a_time(s), N = s->N, d = s->d, R = s->R;
    float *angle = pieces, *dangle = pieces + step * N;
    if (attention->config.head_norm) {
        vit_head_norm_backward(N, d, args->mixed, extra->rstd, args->dmixed, s->D);
    }
    memset(grads->key, 0, s->parts * N * sizeof *grads->key);
    for (size_t t = 0; t < N; t += step) {
        size_t rows = N - t < step ? N - t : step;
        float add = t > 0 ? 1 : 0;
        const float *dout = args->dmixed + t * s->D;
        vit_query_key(attention, in, t, rows, 1, angle);
        vit_gemm(false, true, rows, N, d, 1, dout, s->D, in->v, R, 0, dangle, N);
        explicit_weights_backward(N, s->parts, t, rows, extra->query, extra->key, row, angle,
                                  dangle, grads->query, grads->key);
        vit_gemm(true, false, N, d, rows, 1, angle, N, dout, s->D, add, din->v, R);
        vit_gemm(false, false, rows, d, N, 1, dangle, N, in->k, R, 0, din->q + t * R, R);
        vit_gemm(true, false, N, d, rows, 1, dangle, N, in->q + t * R, R, add, din->k, R);
    }
    vit_turn_unit_backward(attention, 0, N, in->q, extra->inverse_q, din->q, R);
    vit_turn_unit_backward(attention, 0, N, in->k, extra->inverse_k, din->k, R);
}

/* ---- the core ---- */

static void forward(const vit_attention *attention, const vit_core_forward_args *args) {
    zeros_shape s = shape_of(attention);
    zeros_extra extra;
    carve_extra(&s, args->extra, &extra);
    const vit_head_columns *in = &args->packed;
    float *spare = args->scratch + forward_scratch(attention) - s.N; /* (N) */

    vit_gates_forward(s.N, in->gate, s.R, s.parts == 3, extra.query);
    float *first = extra.key;
    vit_deviation_forward(attention, args->params, args->head, in->u, extra.mean_u, first);
    vit_zero_sum_forward(s.N, first, first, extra.key + s.N, extra.whole);
    for (size_t i = 0; s.parts == 3 && i < s.N; i++) {
        extra.key[2 * s.N + i] = 1.0f / (float)s.N;
    }
    if (s.explicit_form) {
        explicit_forward(attention, &s, args, &extra, args->scratch, spare);
    } else {
        linear_forward(attention, &s, args, &extra, args->scratch, spare);
    }
}

static void backward(const vit_attention *attention, const vit_core_backward_args *args) {
    zeros_shape s = shape_of(attention);
    zeros_extra extra;
    carve_extra(&s, args->extra, &extra);
    const vit_head_columns *din = &args->dpacked;
    zeros_token_grads grads = {.query = args->scratch, .key = args->scratch + s.parts * s.N};
    float *ds = grads.key + s.parts * s.N; /* (N) */
    float *dmean = ds + s.N;               /* (d) */
    float *dstate = dmean + s.d;           /* (parts,d,d) linear form only */
    float *pieces = dstate + (s.explicit_form ? 0 : s.parts * s.d * s.d);

    if (s.explicit_form) {
        explicit_backward(attention, &s, args, &extra, &grads, pieces, ds);
    } else {
        linear_backward_query(attention, &s, args, &extra, &grads, pieces, dstate);
        linear_backward_key(attention, &s, args, &extra, &grads, pieces, dstate);
    }
    vit_gates_backward(s.N, s.parts == 3, extra.query, grads.query, din->gate, s.R);
    vit_zero_sum_backward(s.N, extra.whole, 1, grads.key, 1, grads.key + s.N, ds);
    vit_deviation_backward(attention, args, extra.mean_u, ds, dmean);
}

/* ---- written out ---- */

/* The logits (N) and their mean (d), behind what radial.h needs. */
static size_t weights_scratch(const vit_attention *attention) {
    return vit_radial_scratch(attention) + attention->config.tokens + attention->d;
}

static void weights(const vit_attention *attention, const vit_core_weights_args *args) {
    size_t N = attention->config.tokens;
    float *s = args->scratch + vit_radial_scratch(attention), *mean_u = s + N;
    vit_radial radial = vit_radial_make(attention, args);
    vit_query_key(attention, &args->packed, 0, N, 1, args->W);
    vit_deviation_forward(attention, args->params, args->head, args->packed.u, mean_u, s);
    vit_radial_logits(&radial, N, s);
    for (size_t t = 0; t < N; t++) {
        for (size_t i = 0; i < N; i++) {
            args->W[t * N + i] *= vit_radial_weight(&radial, t, N, i);
        }
    }
}

/* docs/zeros.md counts the two forms. */
static double flops(const vit_attention_config *config) {
    double N = (double)config->tokens, d = (double)(config->dim / config->heads);
    return is_explicit(config) ? vit_quadratic_flops(config)
                               : (config->zero_order ? 12 : 8) * N * d * d;
}

static const char *const projection_names[] = {"q", "k", "v", "u", NULL};

const vit_attention_core vit_zeros_core = {
    .projection_names = projection_names,
    .projections = 4,
    .gated = true,
    .output_name = "out_proj",
    .head_norm = true,
    .zero_order = true,
    .causal = &vit_zeros_causal_core,
    .declare = vit_deviation_declare,
    .extra_floats = extra_floats,
    .forward = forward,
    .forward_scratch = forward_scratch,
    .backward = backward,
    .backward_scratch = backward_scratch,
    .weights = weights,
    .weights_scratch = weights_scratch,
    .flops = flops,
};
