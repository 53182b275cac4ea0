/* ZeroS attention, causal form (docs/zeros.md): sums run over i <= t, and N becomes t + 1.
 *
 * causal_basis.h writes a row's radial weights as coefficients over three functions of the logits.
 * Tokens go by in chunks: products inside a chunk under a triangular mask, three d x d states
 * carried between chunks. The backward runs the states once more forwards, for what belongs to
 * queries and to rows, and then a reverse scan of three states for what belongs to keys and values.
 */
#include "vit/attention/causal_basis.h"
#include "vit/attention/core.h"
#include "vit/attention/deviation.h"
#include "vit/attention/kernels.h"
#include "vit/attention/radial.h"
#include "vit/gemm.h"
#include "vit/simd.h"

#include <string.h>

#define CHUNK ((size_t)64)
#define BASIS ((size_t)3) /* f, delta, 1 */

/* ---- shape and memory ---- */

typedef struct causal_shape {
    size_t N, d, D, R;
    size_t width; /* BASIS * d */
    bool zero_order;
} causal_shape;

static causal_shape shape_of(const vit_attention *attention) {
    const vit_attention_config *c = &attention->config;
    return (causal_shape){
        .N = c->tokens,
        .d = attention->d,
        .D = c->dim,
        .R = attention->columns,
        .width = BASIS * attention->d,
        .zero_order = c->zero_order,
    };
}

/* What a head keeps for the backward: seven vectors. */
typedef struct causal_extra {
    float *inverse_q, *inverse_k; /* (N) 1/||q||, 1/||k|| */
    float *gates;                 /* (3,N) */
    float *s;                     /* (N) */
    float *rstd;                  /* (N) of the head norm */
} causal_extra;

static causal_extra carve_extra(size_t N, float *block) {
    return (causal_extra){block, block + N, block + 2 * N, block + 5 * N, block + 6 * N};
}

static size_t extra_floats(const vit_attention *attention) {
    return 7 * attention->config.tokens;
}

/* What both directions work with. */
typedef struct causal_work {
    float *state;           /* (3d,d): sums of f k^T v, delta k^T v, k^T v */
    float *angle;           /* (CHUNK,CHUNK) q.k */
    float *radial;          /* (CHUNK,CHUNK) r, 0 above the diagonal */
    float *weighted;        /* (CHUNK,3d) */
    float *f, *delta, *one; /* (CHUNK) the three functions in some basis */
    float *cross;           /* (3,N) each row's coefficients, over the functions before its chunk */
} causal_work;

static size_t carve_work(const causal_shape *s, float *block, causal_work *work) {
    const size_t sizes[] = {s->width * s->d, CHUNK * CHUNK, CHUNK * CHUNK, CHUNK * s->width,
                            CHUNK,           CHUNK,         CHUNK,         BASIS * s->N};
    float **const fields[] = {&work->state, &work->angle, &work->radial, &work->weighted,
                              &work->f,     &work->delta, &work->one,    &work->cross};
    return vit_carve(sizeof sizes / sizeof *sizes, sizes, fields, block);
}

static size_t forward_scratch(const vit_attention *attention) {
    causal_shape s = shape_of(attention);
    causal_work work;
    return carve_work(&s, NULL, &work);
}

/* ---- rows and states ---- */

/* f and delta of tokens 0..t of a chunk: all of them when the basis is new, else only token t's. */
static void functions_until(size_t t, const float *s, const vit_causal_basis *basis, bool all,
                            causal_work *work) {
    size_t from = all ? 0 : t;
    vit_causal_functions(t + 1 - from, s + from, basis, work->f + from, work->delta + from);
}

VIT_CLONES static void radial_row(size_t count, float A, float B, float C, const float *f,
                                  const float *delta, float *r) {
    for (size_t i = 0; i < count; i++) {
        r[i] = A * f[i] + B * delta[i] + C;
    }
    for (size_t i = count; i < CHUNK; i++) {
        r[i] = 0;
    }
}

typedef struct chunk {
    size_t from, count;
    vit_causal_basis before, after; /* of the states up to it, and with it */
} chunk;

static chunk chunk_at(const causal_shape *s, size_t from, vit_causal_basis before) {
    size_t left = s->N - from;
    return (chunk){from, left < CHUNK ? left : CHUNK, before, before};
}

/* Adds a chunk's keys and values to the states, in the basis after it. */
static void state_add(const causal_shape *s, const chunk *c, const float *logits, const float *k,
                      const float *v, causal_work *work) {
    if (c->from > 0) {
        vit_causal_step step = vit_causal_between(&c->before, &c->after);
        vit_causal_states_later(&step, s->d * s->d, work->state);
    }
    vit_causal_functions(c->count, logits + c->from, &c->after, work->f, work->delta);
    const float *weights[BASIS] = {work->f, work->delta, work->one};
    vit_scale_rows(c->count, s->d, BASIS, weights, k + c->from * s->R, s->R, work->weighted);
    vit_gemm(true, false, s->width, s->d, c->count, 1, work->weighted, s->width, v + c->from * s->R,
             s->R, c->from > 0 ? 1 : 0, work->state, s->d);
}

static void fill_ones(causal_work *work) {
    for (size_t i = 0; i < CHUNK; i++) {
        work->one[i] = 1;
    }
}

/* ---- forward ---- */

static vit_causal_row gated_coefficients(const causal_shape *s, const causal_extra *extra, size_t t,
                                         const vit_causal_prefix *prefix) {
    return vit_causal_coefficients(prefix, extra->gates[t], extra->gates[s->N + t],
                                   s->zero_order ? extra->gates[2 * s->N + t] : 0);
}

/* Row t's coefficients for the tokens before its chunk, over the states' functions. */
static void keep_cross(const causal_shape *s, const chunk *c, size_t t,
                       const vit_causal_prefix *prefix, vit_causal_row own, causal_work *work) {
    vit_causal_step step = vit_causal_between(&c->before, &prefix->basis);
    vit_causal_row cross = vit_causal_coefficients_earlier(&step, own);
    work->cross[t] = (float)cross.f;
    work->cross[s->N + t] = (float)cross.delta;
    work->cross[2 * s->N + t] = (float)cross.one;
}

/* Fills radial and cross for a chunk. */
static void chunk_rows(const causal_shape *s, const causal_extra *extra, chunk *c,
                       vit_causal_prefix *prefix, causal_work *work) {
    for (size_t row = 0; row < c->count; row++) {
        size_t t = c->from + row;
        bool all = vit_causal_add(prefix, extra->s[t]);
        functions_until(row, extra->s + c->from, &prefix->basis, all, work);
        vit_causal_row own = gated_coefficients(s, extra, t, prefix);
        radial_row(row + 1, (float)own.f, (float)own.delta, (float)own.one, work->f, work->delta,
                   work->radial + row * CHUNK);
        if (c->from > 0) {
            keep_cross(s, c, t, prefix, own, work);
        }
    }
    c->after = prefix->basis;
}

VIT_CLONES static void multiply_both(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] *= x[i];
    }
}

static void cross_pointers(const causal_shape *s, const causal_work *work, size_t t,
                           const float *weights[BASIS]) {
    for (size_t p = 0; p < BASIS; p++) {
        weights[p] = work->cross + p * s->N + t;
    }
}

static void chunk_forward(const causal_shape *s, const vit_core_forward_args *args, const chunk *c,
                          causal_work *work) {
    const vit_head_columns *in = &args->packed;
    const float *q = in->q + c->from * s->R, *k = in->k + c->from * s->R;
    const float *v = in->v + c->from * s->R;
    float *out = args->mixed + c->from * s->D;
    vit_gemm(false, true, c->count, c->count, s->d, 1, q, s->R, k, s->R, 0, work->angle, CHUNK);
    for (size_t row = 0; row < c->count; row++) {
        multiply_both(c->count, work->radial + row * CHUNK, work->angle + row * CHUNK);
    }
    vit_gemm(false, false, c->count, s->d, c->count, 1, work->angle, CHUNK, v, s->R, 0, out, s->D);
    if (c->from > 0) {
        const float *weights[BASIS];
        cross_pointers(s, work, c->from, weights);
        vit_scale_rows(c->count, s->d, BASIS, weights, q, s->R, work->weighted);
        vit_gemm(false, false, c->count, s->d, s->width, 1, work->weighted, s->width, work->state,
                 s->d, 1, out, s->D);
    }
}

static void forward(const vit_attention *attention, const vit_core_forward_args *args) {
    causal_shape s = shape_of(attention);
    causal_extra extra = carve_extra(s.N, args->extra);
    causal_work work;
    carve_work(&s, args->scratch, &work);
    const vit_head_columns *in = &args->packed;

    vit_gates_forward(s.N, in->gate, s.R, s.zero_order, extra.gates);
    vit_turn_unit_forward(attention, 0, s.N, in->q, s.R, extra.inverse_q);
    vit_turn_unit_forward(attention, 0, s.N, in->k, s.R, extra.inverse_k);
    vit_deviation_causal_forward(attention, args->params, args->head, in->u, extra.s);
    fill_ones(&work);
    vit_causal_prefix prefix = {0};
    for (size_t from = 0; from < s.N; from += CHUNK) {
        chunk c = chunk_at(&s, from, prefix.basis);
        chunk_rows(&s, &extra, &c, &prefix, &work);
        chunk_forward(&s, args, &c, &work);
        if (from + CHUNK < s.N) {
            state_add(&s, &c, extra.s, in->k, in->v, &work);
        }
    }
    if (attention->config.head_norm) {
        vit_head_norm_forward(s.N, s.d, args->mixed, s.D, work.cross, extra.rstd);
    }
}

/* ---- backward, forwards in time: queries, gates, and what stays inside a chunk ----
 *
 * dr_ti = (q_t . k_i)(dout_t . v_i). Row t needs its sums with the three functions over all i <= t:
 * from the states for earlier chunks, one by one in its own. */

typedef struct causal_backward_work {
    causal_work common;
    float *dangle;   /* (CHUNK,CHUNK) dout.v, then the gradient of the angle */
    float *dr;       /* (CHUNK) one row */
    float *products; /* (CHUNK,3d) */
    float *reverse;  /* (3d,d): sums of q^T dout with the rows' cross coefficients */
    float *dgates;   /* (3,N) */
    float *ds;       /* (N) */
    float *X, *Z;    /* (N) of vit_causal_gradients, over the functions before the row's chunk */
    float *dots;     /* (3,CHUNK) */
    float *ends;     /* (chunks,2) the basis after each chunk: reference, and 1 when wide */
} causal_backward_work;

static size_t carve_backward(const causal_shape *s, float *block, causal_backward_work *w) {
    size_t used = carve_work(s, block, &w->common);
    const size_t sizes[] = {
        CHUNK * CHUNK, CHUNK, CHUNK * s->width, s->width * s->d,       3 * s->N, s->N,
        s->N,          s->N,  3 * CHUNK,        2 * (s->N / CHUNK + 1)};
    float **const fields[] = {&w->dangle, &w->dr, &w->products, &w->reverse, &w->dgates,
                              &w->ds,     &w->X,  &w->Z,        &w->dots,    &w->ends};
    return used +
           vit_carve(sizeof sizes / sizeof *sizes, sizes, fields, block ? block + used : NULL);
}

static size_t backward_scratch(const vit_attention *attention) {
    causal_shape s = shape_of(attention);
    causal_backward_work work;
    return carve_backward(&s, NULL, &work);
}

/* In: angle and dangle (dout.v) of row t inside the chunk. Out: angle * r, the angle's gradient
 * (both 0 past the diagonal), dr, and its sums with the functions. */
VIT_CLONES static void row_backward(size_t count, size_t chunk_count, const float *radial,
                                    const float *f, const float *delta, float *angle, float *dangle,
                                    float *dr, float sums[BASIS]) {
    for (size_t i = 0; i < count; i++) {
        dr[i] = angle[i] * dangle[i];
    }
    for (size_t i = 0; i < chunk_count; i++) {
        angle[i] *= radial[i];
        dangle[i] *= radial[i];
    }
    sums[0] = vit_dot(count, f, dr);
    sums[1] = vit_dot(count, delta, dr);
    sums[2] = vit_sum(count, dr);
}

/* ds_i += dr_i (A g_i + B) - X g_i + Z, where g = df/ds is f + delta when narrow, f when wide. */
VIT_CLONES static void add_ds(size_t count, float narrow, const float *f, const float *delta,
                              const float *dr, float A, float B, float X, float Z, float *ds) {
    for (size_t i = 0; i < count; i++) {
        float g = f[i] + narrow * delta[i];
        ds[i] += dr[i] * (A * g + B) - X * g + Z;
    }
}

/* The chunk's rows against earlier chunks, in the states: products = dout state^T. Fills dq with
 * the gradient and dots (3,CHUNK) with q . products. */
static void cross_backward(const causal_shape *s, const vit_core_backward_args *args,
                           const chunk *c, causal_backward_work *w) {
    const float *weights[BASIS];
    cross_pointers(s, &w->common, c->from, weights);
    float *dots[BASIS] = {w->dots, w->dots + CHUNK, w->dots + 2 * CHUNK};
    vit_gemm(false, true, c->count, s->width, s->d, 1, args->dmixed + c->from * s->D, s->D,
             w->common.state, s->d, 0, w->products, s->width);
    vit_scale_rows_backward(c->count, s->d, BASIS, weights, args->packed.q + c->from * s->R, s->R,
                            w->products, args->dpacked.q + c->from * s->R, s->R, dots);
}

/* One row: its basis and coefficients come again as the forward made them. */
static void chunk_row_backward(const causal_shape *s, const causal_extra *extra, const chunk *c,
                               size_t row, vit_causal_prefix *prefix, causal_backward_work *w) {
    size_t t = c->from + row;
    causal_work *work = &w->common;
    float *radial = work->radial + row * CHUNK;
    float own[BASIS];
    bool all = vit_causal_add(prefix, extra->s[t]);
    functions_until(row, extra->s + c->from, &prefix->basis, all, work);
    vit_causal_row k = gated_coefficients(s, extra, t, prefix);
    radial_row(row + 1, (float)k.f, (float)k.delta, (float)k.one, work->f, work->delta, radial);
    row_backward(row + 1, c->count, radial, work->f, work->delta, work->angle + row * CHUNK,
                 w->dangle + row * CHUNK, w->dr, own);
    vit_causal_row sums = {own[0], own[1], own[2]};
    vit_causal_step step = vit_causal_between(&c->before, &prefix->basis);
    if (c->from > 0) {
        vit_causal_row earlier = {w->dots[row], w->dots[CHUNK + row], w->dots[2 * CHUNK + row]};
        earlier = vit_causal_sums_later(&step, earlier);
        sums.f += earlier.f;
        sums.delta += earlier.delta;
        sums.one += earlier.one;
    }
    vit_causal_row_gradients g =
        vit_causal_gradients(prefix, extra->gates[t], extra->gates[s->N + t], sums);
    w->dgates[t] = (float)g.first;
    w->dgates[s->N + t] = (float)g.higher;
    w->dgates[2 * s->N + t] = (float)g.zero;
    add_ds(row + 1, prefix->basis.wide ? 0 : 1, work->f, work->delta, w->dr, (float)k.f,
           (float)k.delta, (float)g.X, (float)g.Z, w->ds + c->from);
    if (c->from > 0) { /* -X g + Z over the earlier functions: their g' = ff g + fd */
        w->X[t] = (float)(g.X * step.ff);
        w->Z[t] = (float)(g.Z - g.X * step.fd);
    }
}

/* The cross coefficients of a chunk's rows; prefix is a copy that runs ahead of the backward's own.
 */
static void chunk_cross(const causal_shape *s, const causal_extra *extra, const chunk *c,
                        vit_causal_prefix prefix, causal_work *work) {
    for (size_t t = c->from; t < c->from + c->count; t++) {
        vit_causal_add(&prefix, extra->s[t]);
        keep_cross(s, c, t, &prefix, gated_coefficients(s, extra, t, &prefix), work);
    }
}

static void chunk_backward(const causal_shape *s, const vit_core_backward_args *args,
                           const causal_extra *extra, chunk *c, vit_causal_prefix *prefix,
                           causal_backward_work *w) {
    size_t at = c->from * s->R, n = c->count;
    const float *q = args->packed.q + at, *k = args->packed.k + at, *v = args->packed.v + at;
    const float *dout = args->dmixed + c->from * s->D;
    if (c->from > 0) {
        chunk_cross(s, extra, c, *prefix, &w->common);
        cross_backward(s, args, c, w);
    }
    vit_gemm(false, true, n, n, s->d, 1, q, s->R, k, s->R, 0, w->common.angle, CHUNK);
    vit_gemm(false, true, n, n, s->d, 1, dout, s->D, v, s->R, 0, w->dangle, CHUNK);
    for (size_t row = 0; row < n; row++) {
        chunk_row_backward(s, extra, c, row, prefix, w);
    }
    c->after = prefix->basis;
    vit_gemm(true, false, n, s->d, n, 1, w->common.angle, CHUNK, dout, s->D, 0,
             args->dpacked.v + at, s->R);
    vit_gemm(false, false, n, s->d, n, 1, w->dangle, CHUNK, k, s->R, c->from > 0 ? 1 : 0,
             args->dpacked.q + at, s->R);
    vit_gemm(true, false, n, s->d, n, 1, w->dangle, CHUNK, q, s->R, 0, args->dpacked.k + at, s->R);
}

/* ---- backward, back in time: keys, values and logits from the rows of later chunks ---- */

/* What later chunks' rows add up to, over the functions of one basis, beside the reverse states. */
typedef struct later_rows {
    double X, Z;
    vit_causal_basis basis;
} later_rows;

/* ds_i += g_i (dots^f_i - X) + dots^delta_i + Z; g as in add_ds. */
VIT_CLONES static void add_later_ds(size_t count, float narrow, const float *f, const float *delta,
                                    const float *dots, float X, float Z, float *ds) {
    for (size_t i = 0; i < count; i++) {
        float g = f[i] + narrow * delta[i];
        ds[i] += g * (dots[i] - X) + dots[CHUNK + i] + Z;
    }
}

VIT_CLONES static void add_rows(size_t N, size_t d, const float *x, float *y, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        for (size_t j = 0; j < d; j++) {
            y[t * stride + j] += x[t * d + j];
        }
    }
}

/* Columns of a chunk that has later ones. */
static void chunk_keys_backward(const causal_shape *s, const vit_core_backward_args *args,
                                const causal_extra *extra, const chunk *c, const later_rows *later,
                                causal_backward_work *w) {
    causal_work *work = &w->common;
    size_t at = c->from * s->R, n = c->count;
    const float *weights[BASIS] = {work->f, work->delta, work->one};
    float *dots[BASIS] = {w->dots, w->dots + CHUNK, w->dots + 2 * CHUNK};
    vit_causal_functions(n, extra->s + c->from, &later->basis, work->f, work->delta);
    vit_scale_rows(n, s->d, BASIS, weights, args->packed.k + at, s->R, work->weighted);
    vit_gemm(false, false, n, s->d, s->width, 1, work->weighted, s->width, w->reverse, s->d, 1,
             args->dpacked.v + at, s->R);
    vit_gemm(false, true, n, s->width, s->d, 1, args->packed.v + at, s->R, w->reverse, s->d, 0,
             w->products, s->width);
    /* weighted is free again, and holds this part of dk before it is added. */
    vit_scale_rows_backward(n, s->d, BASIS, weights, args->packed.k + at, s->R, w->products,
                            work->weighted, s->d, dots);
    add_rows(n, s->d, work->weighted, args->dpacked.k + at, s->R);
    add_later_ds(n, later->basis.wide ? 0 : 1, work->f, work->delta, w->dots, (float)later->X,
                 (float)later->Z, w->ds + c->from);
}

/* Moves what is there to the basis before the chunk, and adds the chunk's rows. */
static void reverse_add(const causal_shape *s, const vit_core_backward_args *args, const chunk *c,
                        bool first, later_rows *later, causal_backward_work *w) {
    if (!first) {
        vit_causal_step step = vit_causal_between(&c->before, &later->basis);
        vit_causal_states_earlier(&step, s->d * s->d, w->reverse);
        later->Z -= later->X * step.fd;
        later->X *= step.ff;
    }
    later->basis = c->before;
    for (size_t t = c->from; t < c->from + c->count; t++) {
        later->X += w->X[t];
        later->Z += w->Z[t];
    }
    const float *weights[BASIS];
    cross_pointers(s, &w->common, c->from, weights);
    vit_scale_rows(c->count, s->d, BASIS, weights, args->packed.q + c->from * s->R, s->R,
                   w->common.weighted);
    vit_gemm(true, false, s->width, s->d, c->count, 1, w->common.weighted, s->width,
             args->dmixed + c->from * s->D, s->D, first ? 0 : 1, w->reverse, s->d);
}

static void reverse_scan(const causal_shape *s, const vit_core_backward_args *args,
                         const causal_extra *extra, causal_backward_work *w) {
    size_t last = (s->N - 1) / CHUNK;
    later_rows later = {0};
    for (size_t i = last + 1; i-- > 0;) {
        vit_causal_basis before = {0};
        if (i > 0) {
            before = (vit_causal_basis){w->ends[2 * i - 2], w->ends[2 * i - 1] != 0};
        }
        chunk c = chunk_at(s, i * CHUNK, before);
        if (i < last) {
            chunk_keys_backward(s, args, extra, &c, &later, w);
        }
        if (i > 0) {
            reverse_add(s, args, &c, i == last, &later, w);
        }
    }
}

static void backward(const vit_attention *attention, const vit_core_backward_args *args) {
    causal_shape s = shape_of(attention);
    causal_extra extra = carve_extra(s.N, args->extra);
    causal_backward_work w;
    carve_backward(&s, args->scratch, &w);
    const vit_head_columns *in = &args->packed, *din = &args->dpacked;

    if (attention->config.head_norm) {
        vit_head_norm_backward(s.N, s.d, args->mixed, extra.rstd, args->dmixed, s.D);
    }
    fill_ones(&w.common);
    memset(w.ds, 0, s.N * sizeof *w.ds);
    vit_causal_prefix prefix = {0};
    for (size_t from = 0; from < s.N; from += CHUNK) {
        chunk c = chunk_at(&s, from, prefix.basis);
        chunk_backward(&s, args, &extra, &c, &prefix, &w);
        if (from + CHUNK < s.N) {
            state_add(&s, &c, extra.s, in->k, in->v, &w.common);
        }
        w.ends[2 * (from / CHUNK)] = (float)c.after.reference;
        w.ends[2 * (from / CHUNK) + 1] = c.after.wide ? 1 : 0;
    }
    reverse_scan(&s, args, &extra, &w);
    vit_gates_backward(s.N, s.zero_order, extra.gates, w.dgates, din->gate, s.R);
    vit_deviation_causal_backward(attention, args, w.ds);
    vit_turn_unit_backward(attention, 0, s.N, in->q, extra.inverse_q, din->q, s.R);
    vit_turn_unit_backward(attention, 0, s.N, in->k, extra.inverse_k, din->k, s.R);
}

/* ---- written out ---- */

/* The logits (N) behind what radial.h needs. */
static size_t weights_scratch(const vit_attention *attention) {
    return vit_radial_scratch(attention) + attention->config.tokens;
}

static void weights(const vit_attention *attention, const vit_core_weights_args *args) {
    size_t N = attention->config.tokens;
    float *s = args->scratch + vit_radial_scratch(attention);
    vit_radial radial = vit_radial_make(attention, args);
    vit_query_key(attention, &args->packed, 0, N, 1, args->W);
    vit_deviation_causal_forward(attention, args->params, args->head, args->packed.u, s);
    for (size_t t = 0; t < N; t++) {
        vit_radial_logits(&radial, t + 1, s);
        for (size_t i = 0; i < N; i++) {
            args->W[t * N + i] *= i <= t ? vit_radial_weight(&radial, t, t + 1, i) : 0;
        }
    }
}

/* Three states, read and written token by token. */
static double flops(const vit_attention_config *config) {
    double N = (double)config->tokens, d = (double)(config->dim / config->heads);
    return 12 * N * d * d;
}

static const char *const projection_names[] = {"q", "k", "v", "u", NULL};

const vit_attention_core vit_zeros_causal_core = {
    .projection_names = projection_names,
    .projections = 4,
    .gated = true,
    .output_name = "out_proj",
    .head_norm = true,
    .zero_order = true,
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
