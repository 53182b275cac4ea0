/* ZeroS attention, causal form (docs/zeros.md): sums run over i <= t, and N becomes n = t + 1.
 *
 * With delta_i = s_i - m, for any m, f_i = exp(delta_i) - 1 - delta_i, P = sum delta_i,
 * Y = sum f_i and E = n + P + Y = sum exp(delta_i), the radial weight of a row is
 *     r_ti = A_t f_i + B_t delta_i + C_t,
 *     A = sigmah / E,
 *     B = sigma1 / n - sigmah (P + Y) / (n E),
 *     C = -sigma1 P / n^2 + sigmah (P (P + Y) - n Y) / (n^2 E)  (+ tanh(g0) / n).
 * This is the paper's form in F, G, H over another basis, (f, delta, 1) instead of (e^s, s, 1),
 * which cancels nothing when the logits are small. m, the reference, is the running maximum, so
 * that exp(delta) never overflows and E is at least 1.
 *
 * Moving the reference from m to m' (by shift = m - m') changes the basis linearly:
 *     f' = e^shift f + expm1(shift) delta + (expm1(shift) - shift),  delta' = delta + shift,
 * so states and coefficients move along in O(d^2) and O(1).
 *
 * Tokens go by in chunks: products inside a chunk under a triangular mask, three d x d states
 * carried between chunks. The backward runs the states once more forwards, for what belongs to
 * queries, and then a reverse scan of three states for what belongs to keys and values. */
#include "vit/attention/core.h"
#include "vit/attention/deviation.h"
#include "vit/attention/kernels.h"
#include "vit/attention/zero_sum.h"
#include "vit/gemm.h"
#include "vit/simd.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK = 64,
    BASIS = 3 /* f, delta, 1 */
};

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
    float *f, *delta, *one; /* (CHUNK) the basis at some reference */
    float *cross;           /* (3,N) each row's coefficients, at the reference before its chunk */
} causal_work;

static size_t carve_work(const causal_shape *s, float *block, causal_work *work) {
    const size_t sizes[] = {s->width * s->d, CHUNK * CHUNK, CHUNK * CHUNK, CHUNK * s->width,
                            CHUNK,           CHUNK,         CHUNK,         BASIS * s->N};
    float **const fields[] = {&work->state, &work->angle, &work->radial, &work->weighted,
                              &work->f,     &work->delta, &work->one,    &work->cross};
    size_t used = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *fields[i] = block ? block + used : NULL;
        used += sizes[i];
    }
    return used;
}

static size_t forward_scratch(const vit_attention *attention) {
    causal_shape s = shape_of(attention);
    causal_work work;
    return carve_work(&s, NULL, &work);
}

/* ---- the rows' coefficients ---- */

/* Sums over the tokens so far, relative to the running maximum. */
typedef struct prefix {
    double n, P, Y;
    double reference; /* m */
} prefix;

static double exp_remainder(double x) {
    return fabs(x) < 0.01 ? x * x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24 + x / 120))) : expm1(x) - x;
}

/* Returns true when the reference moved. */
static bool prefix_add(prefix *sums, double s) {
    bool moved = sums->n == 0 || s > sums->reference;
    if (moved) {
        double shift = sums->n == 0 ? 0 : sums->reference - s;
        sums->Y = exp(shift) * sums->Y + expm1(shift) * sums->P + exp_remainder(shift) * sums->n;
        sums->P += shift * sums->n;
        sums->reference = s;
    }
    double delta = s - sums->reference;
    sums->n += 1;
    sums->P += delta;
    sums->Y += exp_remainder(delta);
    return moved;
}

/* Coefficients over the basis (f, delta, 1). */
typedef struct coefficients {
    double A, B, C;
} coefficients;

static coefficients row_coefficients(const prefix *sums, double first, double higher, double zero) {
    double n = sums->n, P = sums->P, Y = sums->Y, E = n + P + Y;
    return (coefficients){
        .A = higher / E,
        .B = first / n - higher * (P + Y) / (n * E),
        .C = -first * P / (n * n) + higher * (P * (P + Y) - n * Y) / (n * n * E) + zero / n,
    };
}

/* The same function of s over the basis at another reference, shift = new - old (at most 0). */
static coefficients moved(coefficients c, double shift) {
    return (coefficients){
        .A = c.A * exp(shift),
        .B = c.B + c.A * expm1(shift),
        .C = c.C + c.A * exp_remainder(shift) + c.B * shift,
    };
}

/* f and delta of the tokens of a chunk. */
static void basis(size_t count, const float *s, double reference, float *f, float *delta) {
    for (size_t i = 0; i < count; i++) {
        delta[i] = (float)(s[i] - reference);
    }
    vit_exp_remainder(count, delta, f);
}

/* The basis of tokens 0..t of a chunk at the prefix's reference: all of it when the reference
 * moved, else only token t's. */
static void basis_until(size_t t, const float *s, const prefix *sums, bool all, causal_work *work) {
    size_t from = all ? 0 : t;
    basis(t + 1 - from, s + from, sums->reference, work->f + from, work->delta + from);
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

/* ---- states ---- */

/* state = [F; G; H], the sums with f, delta and 1, to a reference above: shift = old - new. */
VIT_CLONES static void move_sums(size_t n, float e, float expm1_, float remainder, float shift,
                                 float *state) {
    float *F = state, *G = state + n, *H = state + 2 * n;
    for (size_t i = 0; i < n; i++) {
        F[i] = e * F[i] + expm1_ * G[i] + remainder * H[i];
        G[i] += shift * H[i];
    }
}

/* state = [A; B; C], sums of rows with their coefficients, to a reference below: shift = new - old.
 */
VIT_CLONES static void move_coefficients(size_t n, float e, float expm1_, float remainder,
                                         float shift, float *state) {
    float *A = state, *B = state + n, *C = state + 2 * n;
    for (size_t i = 0; i < n; i++) {
        C[i] += remainder * A[i] + shift * B[i];
        B[i] += expm1_ * A[i];
        A[i] *= e;
    }
}

typedef struct chunk {
    size_t from, count;
    double reference_before; /* the running maximum at its start and end */
    double reference_after;
} chunk;

/* Adds a chunk's keys and values, at the reference after it. */
static void state_add(const causal_shape *s, const chunk *c, const float *logits, const float *k,
                      const float *v, causal_work *work) {
    if (c->from > 0 && c->reference_after != c->reference_before) {
        double shift = c->reference_before - c->reference_after;
        move_sums(s->d * s->d, (float)exp(shift), (float)expm1(shift), (float)exp_remainder(shift),
                  (float)shift, work->state);
    }
    basis(c->count, logits + c->from, c->reference_after, work->f, work->delta);
    const float *weights[BASIS] = {work->f, work->delta, work->one};
    vit_scale_rows(c->count, s->d, BASIS, weights, k + c->from * s->R, s->R, work->weighted);
    vit_gemm(true, false, s->width, s->d, c->count, 1, work->weighted, s->width, v + c->from * s->R,
             s->R, c->from > 0 ? 1 : 0, work->state, s->d);
}

static chunk chunk_at(const causal_shape *s, size_t from, double reference) {
    size_t left = s->N - from;
    return (chunk){from, left < CHUNK ? left : CHUNK, reference, reference};
}

static void fill_ones(causal_work *work) {
    for (size_t i = 0; i < CHUNK; i++) {
        work->one[i] = 1;
    }
}

/* ---- forward ---- */

static coefficients gated_coefficients(const causal_shape *s, const causal_extra *extra, size_t t,
                                       const prefix *sums) {
    return row_coefficients(sums, extra->gates[t], extra->gates[s->N + t],
                            s->zero_order ? extra->gates[2 * s->N + t] : 0);
}

/* Row t's coefficients for the tokens before its chunk. */
static void keep_cross(const causal_shape *s, size_t t, coefficients c, double shift,
                       causal_work *work) {
    coefficients cross = moved(c, shift);
    work->cross[t] = (float)cross.A;
    work->cross[s->N + t] = (float)cross.B;
    work->cross[2 * s->N + t] = (float)cross.C;
}

/* Fills radial and cross for a chunk. */
static void chunk_rows(const causal_shape *s, const causal_extra *extra, chunk *c, prefix *sums,
                       causal_work *work) {
    const float *logits = extra->s + c->from;
    for (size_t row = 0; row < c->count; row++) {
        size_t t = c->from + row;
        bool all = prefix_add(sums, extra->s[t]) || row == 0;
        basis_until(row, logits, sums, all, work);
        coefficients own = gated_coefficients(s, extra, t, sums);
        radial_row(row + 1, (float)own.A, (float)own.B, (float)own.C, work->f, work->delta,
                   work->radial + row * CHUNK);
        if (c->from > 0) {
            keep_cross(s, t, own, c->reference_before - sums->reference, work);
        }
    }
    c->reference_after = sums->reference;
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
    vit_rotate_pair(attention, false, in->q, in->k, s.R);
    vit_unit_forward(s.N, s.d, in->q, s.R, extra.inverse_q);
    vit_unit_forward(s.N, s.d, in->k, s.R, extra.inverse_k);
    vit_deviation_causal_forward(attention, args->params, args->head, in->u, extra.s);
    fill_ones(&work);
    prefix sums = {0};
    for (size_t from = 0; from < s.N; from += CHUNK) {
        chunk c = chunk_at(&s, from, sums.reference);
        chunk_rows(&s, &extra, &c, &sums, &work);
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
 * With dr_ti = (q_t . k_i)(dout_t . v_i) and, over i <= t, Z^f = sum f dr, Z^d = sum delta dr,
 * Z^1 = sum dr (at the row's reference), M = Z^1 / n, W = sum (p - 1/n) dr
 * = (Z^f + Z^d) / E - (P + Y) Z^1 / (n E) and p the softmax, row t adds to ds_i
 *     dr_ti (A h_i + B) - X h_i + Z,   h_i = f_i + delta_i = exp(delta_i) - 1,
 *     X = sigmah (M + W) / E,  Z = X (P + Y) / n - (sigma1 M + sigmah W) / n:
 * the encoder's gradient (zero_sum.c) over the tokens so far. */

typedef struct causal_backward_work {
    causal_work common;
    float *dangle;   /* (CHUNK,CHUNK) dout.v, then the gradient of the angle */
    float *dr;       /* (CHUNK) one row */
    float *products; /* (CHUNK,3d) */
    float *reverse;  /* (3d,d): sums of q^T dout with the rows' cross coefficients */
    float *dgates;   /* (3,N) */
    float *ds;       /* (N) */
    float *X, *Z;    /* (N) at the reference before the row's chunk */
    float *dots;     /* (3,CHUNK) */
    float *ends;     /* (chunks) the reference after each chunk */
} causal_backward_work;

static size_t carve_backward(const causal_shape *s, float *block, causal_backward_work *w) {
    size_t used = carve_work(s, block, &w->common);
    const size_t sizes[] = {CHUNK * CHUNK, CHUNK, CHUNK * s->width, s->width * s->d, 3 * s->N, s->N,
                            s->N,          s->N,  3 * CHUNK,        s->N / CHUNK + 1};
    float **const fields[] = {&w->dangle, &w->dr, &w->products, &w->reverse, &w->dgates,
                              &w->ds,     &w->X,  &w->Z,        &w->dots,    &w->ends};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        *fields[i] = block ? block + used : NULL;
        used += sizes[i];
    }
    return used;
}

static size_t backward_scratch(const vit_attention *attention) {
    causal_shape s = shape_of(attention);
    causal_backward_work work;
    return carve_backward(&s, NULL, &work);
}

/* Sums of a row's dr with the basis. */
typedef struct row_sums {
    double f, delta, one;
} row_sums;

/* In: angle and dangle (dout.v) of row t inside the chunk. Out: angle * r, the angle's gradient
 * (both 0 past the diagonal), dr, and its sums with the basis. */
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

/* ds_i += dr_i (A h_i + B) - X h_i + Z. */
VIT_CLONES static void add_ds(size_t count, const float *f, const float *delta, const float *dr,
                              float A, float B, float X, float Z, float *ds) {
    for (size_t i = 0; i < count; i++) {
        float h = f[i] + delta[i];
        ds[i] += dr[i] * (A * h + B) - X * h + Z;
    }
}

/* The gates' gradients of row t, and its X and Z. */
static void row_gradients(const causal_shape *s, const causal_extra *extra, size_t t,
                          const prefix *p, const row_sums *z, float *dgates, double *X, double *Z) {
    double n = p->n, P = p->P, Y = p->Y, E = n + P + Y;
    double first = extra->gates[t], higher = extra->gates[s->N + t];
    dgates[t] = (float)((z->delta - P / n * z->one) / n);
    dgates[s->N + t] = (float)(z->f / E - (P + Y) / (n * E) * z->delta +
                               (P * (P + Y) - n * Y) / (n * n * E) * z->one);
    dgates[2 * s->N + t] = (float)(z->one / n);
    double M = z->one / n;
    double W = (z->f + z->delta) / E - (P + Y) / (n * E) * z->one;
    *X = higher * (M + W) / E;
    *Z = *X * (P + Y) / n - (first * M + higher * W) / n;
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

/* Sums over earlier chunks, moved to the row's reference, and over the row's own chunk. */
static row_sums total_sums(const chunk *c, size_t row, double reference, const float *dots,
                           const float own[BASIS]) {
    row_sums z = {own[0], own[1], own[2]};
    if (c->from > 0) {
        double shift = c->reference_before - reference;
        double f = dots[row], delta = dots[CHUNK + row], one = dots[2 * CHUNK + row];
        z.f += exp(shift) * f + expm1(shift) * delta + exp_remainder(shift) * one;
        z.delta += delta + shift * one;
        z.one += one;
    }
    return z;
}

/* One row: its own reference and coefficients come again as the forward made them. */
static void chunk_row_backward(const causal_shape *s, const causal_extra *extra, const chunk *c,
                               size_t row, prefix *sums, causal_backward_work *w) {
    size_t t = c->from + row;
    causal_work *work = &w->common;
    float *radial = work->radial + row * CHUNK;
    float own[BASIS];
    double X, Z;
    bool all = prefix_add(sums, extra->s[t]) || row == 0;
    basis_until(row, extra->s + c->from, sums, all, work);
    coefficients k = gated_coefficients(s, extra, t, sums);
    radial_row(row + 1, (float)k.A, (float)k.B, (float)k.C, work->f, work->delta, radial);
    row_backward(row + 1, c->count, radial, work->f, work->delta, work->angle + row * CHUNK,
                 w->dangle + row * CHUNK, w->dr, own);
    row_sums z = total_sums(c, row, sums->reference, w->dots, own);
    row_gradients(s, extra, t, sums, &z, w->dgates, &X, &Z);
    add_ds(row + 1, work->f, work->delta, w->dr, (float)k.A, (float)k.B, (float)X, (float)Z,
           w->ds + c->from);
    if (c->from > 0) { /* h' = e^shift h + expm1(shift) at the reference of earlier chunks */
        double shift = c->reference_before - sums->reference;
        w->X[t] = (float)(X * exp(shift));
        w->Z[t] = (float)(Z - X * expm1(shift));
    }
}

/* The cross coefficients of a chunk's rows; sums is a copy that runs ahead of the backward's own.
 */
static void chunk_cross(const causal_shape *s, const causal_extra *extra, const chunk *c,
                        prefix sums, causal_work *work) {
    for (size_t t = c->from; t < c->from + c->count; t++) {
        prefix_add(&sums, extra->s[t]);
        keep_cross(s, t, gated_coefficients(s, extra, t, &sums),
                   c->reference_before - sums.reference, work);
    }
}

static void chunk_backward(const causal_shape *s, const vit_core_backward_args *args,
                           const causal_extra *extra, chunk *c, prefix *sums,
                           causal_backward_work *w) {
    size_t at = c->from * s->R, n = c->count;
    const float *q = args->packed.q + at, *k = args->packed.k + at, *v = args->packed.v + at;
    const float *dout = args->dmixed + c->from * s->D;
    if (c->from > 0) {
        chunk_cross(s, extra, c, *sums, &w->common);
        cross_backward(s, args, c, w);
    }
    vit_gemm(false, true, n, n, s->d, 1, q, s->R, k, s->R, 0, w->common.angle, CHUNK);
    vit_gemm(false, true, n, n, s->d, 1, dout, s->D, v, s->R, 0, w->dangle, CHUNK);
    for (size_t row = 0; row < n; row++) {
        chunk_row_backward(s, extra, c, row, sums, w);
    }
    c->reference_after = sums->reference;
    vit_gemm(true, false, n, s->d, n, 1, w->common.angle, CHUNK, dout, s->D, 0,
             args->dpacked.v + at, s->R);
    vit_gemm(false, false, n, s->d, n, 1, w->dangle, CHUNK, k, s->R, c->from > 0 ? 1 : 0,
             args->dpacked.q + at, s->R);
    vit_gemm(true, false, n, s->d, n, 1, w->dangle, CHUNK, q, s->R, 0, args->dpacked.k + at, s->R);
}

/* ---- backward, back in time: keys, values and logits from the rows of later chunks ---- */

/* What later chunks' rows add up to, at one reference, beside the reverse states. */
typedef struct later_rows {
    double X, Z;
    double reference;
} later_rows;

/* ds_i += h_i dots^f_i + dots^delta_i - X h_i + Z. */
VIT_CLONES static void add_later_ds(size_t count, const float *f, const float *delta,
                                    const float *dots, float X, float Z, float *ds) {
    for (size_t i = 0; i < count; i++) {
        float h = f[i] + delta[i];
        ds[i] += h * (dots[i] - X) + dots[CHUNK + i] + Z;
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
    basis(n, extra->s + c->from, later->reference, work->f, work->delta);
    vit_scale_rows(n, s->d, BASIS, weights, args->packed.k + at, s->R, work->weighted);
    vit_gemm(false, false, n, s->d, s->width, 1, work->weighted, s->width, w->reverse, s->d, 1,
             args->dpacked.v + at, s->R);
    vit_gemm(false, true, n, s->width, s->d, 1, args->packed.v + at, s->R, w->reverse, s->d, 0,
             w->products, s->width);
    /* weighted is free again, and holds this part of dk before it is added. */
    vit_scale_rows_backward(n, s->d, BASIS, weights, args->packed.k + at, s->R, w->products,
                            work->weighted, s->d, dots);
    add_rows(n, s->d, work->weighted, args->dpacked.k + at, s->R);
    add_later_ds(n, work->f, work->delta, w->dots, (float)later->X, (float)later->Z,
                 w->ds + c->from);
}

/* Moves what is there to the reference before the chunk and adds the chunk's rows. */
static void reverse_add(const causal_shape *s, const vit_core_backward_args *args, const chunk *c,
                        bool first, later_rows *later, causal_backward_work *w) {
    if (!first) {
        double shift = c->reference_before - later->reference;
        move_coefficients(s->d * s->d, (float)exp(shift), (float)expm1(shift),
                          (float)exp_remainder(shift), (float)shift, w->reverse);
        later->Z -= later->X * expm1(shift);
        later->X *= exp(shift);
    }
    later->reference = c->reference_before;
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
        chunk c = chunk_at(s, i * CHUNK, i > 0 ? w->ends[i - 1] : 0);
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
    prefix sums = {0};
    for (size_t from = 0; from < s.N; from += CHUNK) {
        chunk c = chunk_at(&s, from, sums.reference);
        chunk_backward(&s, args, &extra, &c, &sums, &w);
        if (from + CHUNK < s.N) {
            state_add(&s, &c, extra.s, in->k, in->v, &w.common);
        }
        w.ends[from / CHUNK] = (float)c.reference_after;
    }
    reverse_scan(&s, args, &extra, &w);
    vit_gates_backward(s.N, s.zero_order, extra.gates, w.dgates, din->gate, s.R);
    vit_deviation_causal_backward(attention, args, w.ds);
    vit_unit_backward(s.N, s.d, in->q, extra.inverse_q, din->q, s.R);
    vit_unit_backward(s.N, s.d, in->k, extra.inverse_k, din->k, s.R);
    vit_rotate_pair(attention, true, din->q, din->k, s.R);
}

static const char *const projection_names[] = {"q", "k", "v", "u", NULL};

const vit_attention_core vit_zeros_causal_core = {
    .projection_names = projection_names,
    .projections = 4,
    .gated = true,
    .output_name = "out_proj",
    .declare = vit_deviation_declare,
    .extra_floats = extra_floats,
    .forward = forward,
    .forward_scratch = forward_scratch,
    .backward = backward,
    .backward_scratch = backward_scratch,
};
