/* The attentions as ONNX graphs (docs/zeros.md has the method, vit/attention/ the same in C).
 *
 * Tokens stay in the layout (B,N,H,d) of the projections as long as rows are worked on alone, and
 * are transposed for the products over all of them. */
#include "vit/onnx_model.h"

#ifdef ZVIT_HAVE_PROTOBUF_C

#include "vit/heap.h"

#include <math.h>

/* What the builders share. */
typedef struct attention_graph {
    const vit_onnx_model *model;
    const vit_attention *attention;
    vit_onnx_graph *g;
    int64_t N, D, H, d;
} attention_graph;

/* ---- operators ---- */

static vit_onnx_value number(const attention_graph *a, double value) {
    return vit_onnx_float(a->g, value);
}

/* ReduceSum takes its axes as an input, the others as an attribute (until opset 18). */
static vit_onnx_value sum(const attention_graph *a, vit_onnx_value x, int64_t axis) {
    return VIT_ONNX(a->g, "ReduceSum", x, vit_onnx_ints(a->g, 1, &axis));
}

static vit_onnx_value reduce(const attention_graph *a, const char *operator, vit_onnx_value x,
                             int64_t axis) {
    vit_onnx_value y = VIT_ONNX(a->g, operator, x);
    vit_onnx_set_ints(a->g, "axes", 1, &axis);
    return y;
}

static vit_onnx_value concat(const attention_graph *a, const vit_onnx_value *parts, int64_t axis) {
    vit_onnx_value y = vit_onnx_node(a->g, "Concat", parts);
    vit_onnx_set_int(a->g, "axis", axis);
    return y;
}

/* Parts of `sizes` along an axis. */
static void split(const attention_graph *a, vit_onnx_value x, int64_t axis, size_t count,
                  const int64_t *sizes, vit_onnx_value *parts) {
    parts[0] = VIT_ONNX(a->g, "Split", x, vit_onnx_ints(a->g, count, sizes));
    vit_onnx_set_int(a->g, "axis", axis);
    for (size_t i = 1; i < count; i++) {
        parts[i] = vit_onnx_more(a->g);
    }
}

/* (B,N,H,d) to (B,H,N,d), as it also goes back; and to (B,H,d,N). */
static vit_onnx_value heads_first(const attention_graph *a, vit_onnx_value x) {
    return vit_onnx_transpose(a->g, x, VIT_ONNX_INTS(0, 2, 1, 3));
}

static vit_onnx_value tokens_last(const attention_graph *a, vit_onnx_value x) {
    return vit_onnx_transpose(a->g, x, VIT_ONNX_INTS(0, 2, 3, 1));
}

/* ---- what several have ---- */

/* (M,D) to (B,N,H,d) */
static vit_onnx_value heads(const attention_graph *a, vit_onnx_value x) {
    return vit_onnx_reshape(a->g, x, VIT_ONNX_INTS(-1, a->N, a->H, a->d));
}

static vit_onnx_value project(const attention_graph *a, const char *name, vit_onnx_value x) {
    return heads(a, vit_onnx_linear(a->model, name, x));
}

/* timm's one projection for all three. */
static void project_fused(const attention_graph *a, vit_onnx_value x, vit_onnx_value qkv[3]) {
    split(a, vit_onnx_linear(a->model, "qkv", x), 1, 3, (int64_t[]){a->D, a->D, a->D}, qkv);
    for (size_t i = 0; i < 3; i++) {
        qkv[i] = heads(a, qkv[i]);
    }
}

/* One of the rotary tables for both halves of a head (N,1,d): the cosines twice, or the sines with
 * the sign that the first half has. */
static vit_onnx_value rope_table(const attention_graph *a, const char *name, const float *half,
                                 float first_sign) {
    size_t N = (size_t)a->N, d = (size_t)a->d, pairs = d / 2;
    float *table = vit_onnx_floats(a->g, name, 3, (size_t[]){N, 1, d});
    for (size_t t = 0; table && t < N; t++) {
        for (size_t j = 0; j < pairs; j++) {
            table[t * d + j] = first_sign * half[t * pairs + j];
            table[t * d + pairs + j] = half[t * pairs + j];
        }
    }
    return name;
}

/* Pairs (j, j + d/2) turned by their token's position. (B,N,H,d) */
static vit_onnx_value turn(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_value halves[2];
    if (!a->attention->cosine) {
        return x;
    }
    vit_onnx_value cosine = rope_table(a, "rope.cosine", a->attention->cosine, 1);
    vit_onnx_value sine = rope_table(a, "rope.sine", a->attention->sine, -1);
    split(a, x, 3, 2, (int64_t[]){a->d / 2, a->d / 2}, halves);
    vit_onnx_value swapped = concat(a, (const vit_onnx_value[]){halves[1], halves[0], NULL}, 3);
    return VIT_ONNX(a->g, "Add", VIT_ONNX(a->g, "Mul", x, cosine),
                    VIT_ONNX(a->g, "Mul", swapped, sine));
}

static vit_onnx_value turn_unit(const attention_graph *a, vit_onnx_value x) {
    x = turn(a, x);
    vit_onnx_value length = reduce(a, "ReduceL2", x, 3);
    return VIT_ONNX(a->g, "Div", x, VIT_ONNX(a->g, "Max", length, number(a, 1e-12)));
}

/* The gates (B,N,H,1): first order, higher orders, and zero order when asked, else NULL. */
static void gates(const attention_graph *a, vit_onnx_value x, vit_onnx_value gate[3]) {
    vit_onnx_value raw = vit_onnx_reshape(a->g, vit_onnx_linear(a->model, "gate", x),
                                          VIT_ONNX_INTS(-1, a->N, a->H, 3));
    split(a, raw, 3, 3, (int64_t[]){1, 1, 1}, gate);
    gate[0] = VIT_ONNX(a->g, "Sigmoid", gate[0]);
    gate[1] = VIT_ONNX(a->g, "Sigmoid", gate[1]);
    gate[2] = a->attention->config.zero_order ? VIT_ONNX(a->g, "Tanh", gate[2]) : NULL;
}

/* The heads' output (B,H,N,d), normalised when asked, to what the projection named gives (M,D). */
static vit_onnx_value merge(const attention_graph *a, bool head_norm, const char *name,
                            vit_onnx_value o) {
    if (head_norm) {
        float *ones = vit_onnx_floats(a->g, "head_norm.ones", 1, (size_t[]){(size_t)a->d});
        for (int64_t j = 0; ones && j < a->d; j++) {
            ones[j] = 1;
        }
        o = VIT_ONNX(a->g, "LayerNormalization", o, "head_norm.ones");
        vit_onnx_set_float(a->g, "epsilon", VIT_HEAD_NORM_EPS);
    }
    o = vit_onnx_reshape(a->g, heads_first(a, o), VIT_ONNX_INTS(-1, a->D));
    return vit_onnx_linear(a->model, name, o);
}

/* ---- ZeroS ---- */

/* s (B,N,H,1) = -u . mean_u / sqrt d. counts: N, or the numbers of tokens until each (N,1,1);
 * total: the sum of u over so many of them. */
static vit_onnx_value deviation(const attention_graph *a, vit_onnx_value u, vit_onnx_value total,
                                vit_onnx_value counts) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value strength =
        VIT_ONNX(g, "Exp",
                 VIT_ONNX(g, "Clip", vit_onnx_param(a->model, "prior_log_tau"), number(a, -50),
                          number(a, 30)));
    vit_onnx_value prior = VIT_ONNX(g, "Mul", strength, vit_onnx_param(a->model, "prior_mu"));
    vit_onnx_value mean =
        VIT_ONNX(g, "Div", VIT_ONNX(g, "Add", total, prior), VIT_ONNX(g, "Add", strength, counts));
    vit_onnx_value s = sum(a, VIT_ONNX(g, "Mul", u, mean), 3);
    return VIT_ONNX(g, "Mul", s, number(a, -1 / sqrt((double)a->d)));
}

/* exp(x) - 1 for x up to 80: 2 exp(x/2) sinh(x/2), which loses no digits of a small x. */
static vit_onnx_value exp_less_one(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value half = VIT_ONNX(g, "Mul", x, number(a, 0.5));
    vit_onnx_value product =
        VIT_ONNX(g, "Mul", VIT_ONNX(g, "Exp", half), VIT_ONNX(g, "Sinh", half));
    return VIT_ONNX(g, "Mul", product, number(a, 2));
}

/* delta less what it is above 80, and not below -80: softmax is the same. largest: of delta. */
static vit_onnx_value bound(const attention_graph *a, vit_onnx_value delta,
                            vit_onnx_value largest) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value excess = VIT_ONNX(g, "Relu", VIT_ONNX(g, "Sub", largest, number(a, 80)));
    return VIT_ONNX(g, "Clip", VIT_ONNX(g, "Sub", delta, excess), number(a, -80), number(a, 80));
}

/* n epsilon, with e = expm1(delta) up to a shift: n (softmax - 1/n) = (e - mean e) / (1 + mean e),
 * less delta. */
static vit_onnx_value higher_orders(const attention_graph *a, vit_onnx_value e, vit_onnx_value mean,
                                    vit_onnx_value delta) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value whole =
        VIT_ONNX(g, "Div", VIT_ONNX(g, "Sub", e, mean), VIT_ONNX(g, "Add", mean, number(a, 1)));
    return VIT_ONNX(g, "Sub", whole, delta);
}

/* Rows of x, each scaled by each of the weights (B,N,H,1), side by side: (B,N,H,parts d). */
static vit_onnx_value scaled(const attention_graph *a, vit_onnx_value x, size_t parts,
                             const vit_onnx_value *weights) {
    vit_onnx_value rows[4] = {0};
    for (size_t p = 0; p < parts; p++) {
        rows[p] = VIT_ONNX(a->g, "Mul", x, weights[p]);
    }
    return concat(a, rows, 3);
}

/* In time linear in N: the d x d states of key factors delta/N, epsilon (and 1/N). */
static vit_onnx_value zeros(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value gate[3], key[3] = {0}, over_N = number(a, 1.0 / (double)a->N);
    vit_onnx_value u = project(a, "u", x);
    gates(a, x, gate);
    vit_onnx_value s = deviation(a, u, sum(a, u, 1), number(a, (double)a->N));
    vit_onnx_value delta = VIT_ONNX(g, "Sub", s, reduce(a, "ReduceMean", s, 1));
    vit_onnx_value e = exp_less_one(a, bound(a, delta, reduce(a, "ReduceMax", delta, 1)));
    vit_onnx_value higher = higher_orders(a, e, reduce(a, "ReduceMean", e, 1), delta);
    key[0] = VIT_ONNX(g, "Mul", delta, over_N);
    key[1] = VIT_ONNX(g, "Mul", higher, over_N);
    key[2] = over_N;
    size_t parts = gate[2] ? 3 : 2;
    vit_onnx_value keys = scaled(a, turn_unit(a, project(a, "k", x)), parts, key);
    vit_onnx_value queries = scaled(a, turn_unit(a, project(a, "q", x)), parts, gate);
    vit_onnx_value state =
        VIT_ONNX(g, "MatMul", tokens_last(a, keys), heads_first(a, project(a, "v", x)));
    return VIT_ONNX(g, "MatMul", heads_first(a, queries), state);
}

/* Sums over the tokens until each, of (B,N,H,...). */
static vit_onnx_value running_sum(const attention_graph *a, vit_onnx_value x) {
    return VIT_ONNX(a->g, "CumSum", x, vit_onnx_int(a->g, 1));
}

/* Zeros where a row's token does not look: (B,H,N,N). */
static vit_onnx_value until(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_value y = VIT_ONNX(a->g, "Trilu", x);
    vit_onnx_set_int(a->g, "upper", 0);
    return y;
}

/* The numbers 1 .. N (N,1,1). */
static vit_onnx_value counts_of(const attention_graph *a) {
    float *counts = vit_onnx_floats(a->g, "causal.counts", 3, (size_t[]){(size_t)a->N, 1, 1});
    for (int64_t t = 0; counts && t < a->N; t++) {
        counts[t] = (float)(t + 1);
    }
    return "causal.counts";
}

/* All N x N weights, which a graph of standard operators can hold exactly; row t is ZeroS over the
 * tokens until t. */
static vit_onnx_value zeros_causal(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value gate[3], counts = counts_of(a);
    vit_onnx_value rows = vit_onnx_reshape(g, counts, VIT_ONNX_INTS(a->N, 1));
    vit_onnx_value u = project(a, "u", x);
    gates(a, x, gate);
    vit_onnx_value s = deviation(a, u, running_sum(a, u), counts);
    /* Nearer to 0, so that running sums keep their digits. */
    s = VIT_ONNX(g, "Sub", s, reduce(a, "ReduceMean", s, 1));
    vit_onnx_value means = VIT_ONNX(g, "Div", running_sum(a, s), counts);
    vit_onnx_value delta = VIT_ONNX(g, "Sub", tokens_last(a, s), heads_first(a, means));
    vit_onnx_value e =
        until(a, exp_less_one(a, bound(a, delta, reduce(a, "ReduceMax", until(a, delta), 3))));
    vit_onnx_value mean = VIT_ONNX(g, "Div", sum(a, e, 3), rows);
    vit_onnx_value higher = higher_orders(a, e, mean, delta);
    vit_onnx_value r = VIT_ONNX(g, "Add", VIT_ONNX(g, "Mul", heads_first(a, gate[0]), delta),
                                VIT_ONNX(g, "Mul", heads_first(a, gate[1]), higher));
    if (gate[2]) {
        r = VIT_ONNX(g, "Add", r, heads_first(a, gate[2]));
    }
    vit_onnx_value q = turn_unit(a, project(a, "q", x)), k = turn_unit(a, project(a, "k", x));
    vit_onnx_value angle = VIT_ONNX(g, "MatMul", heads_first(a, q), tokens_last(a, k));
    vit_onnx_value W = until(a, VIT_ONNX(g, "Mul", r, angle));
    vit_onnx_value o = VIT_ONNX(g, "MatMul", W, heads_first(a, project(a, "v", x)));
    return VIT_ONNX(g, "Div", o, rows);
}

static vit_onnx_value zeros_any(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_value o = a->attention->config.causal ? zeros_causal(a, x) : zeros(a, x);
    return merge(a, a->attention->config.head_norm, "out_proj", o);
}

/* ---- its siblings ---- */

/* (B,H,N,d) / sqrt d */
static vit_onnx_value scaled_queries(const attention_graph *a, vit_onnx_value q) {
    return VIT_ONNX(a->g, "Mul", heads_first(a, turn(a, q)), number(a, 1 / sqrt((double)a->d)));
}

/* A row of r sums to 0, so that values may be taken less their mean c. With logits S = q k^T:
 * sum_i (delta_i / N) v_i = S c / N, which costs time linear in N, and softmax(S) v less the mean
 * is softmax(S) c. */
static vit_onnx_value zeros_sm(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value gate[3], v = project(a, "v", x);
    gates(a, x, gate);
    vit_onnx_value q = scaled_queries(a, project(a, "q", x));
    vit_onnx_value k = tokens_last(a, turn(a, project(a, "k", x)));
    vit_onnx_value c = heads_first(a, VIT_ONNX(g, "Sub", v, reduce(a, "ReduceMean", v, 1)));
    vit_onnx_value first = VIT_ONNX(g, "MatMul", q, VIT_ONNX(g, "MatMul", k, c));
    first = VIT_ONNX(g, "Mul", first, number(a, 1.0 / (double)a->N));
    vit_onnx_value p = VIT_ONNX(g, "Softmax", VIT_ONNX(g, "MatMul", q, k));
    vit_onnx_value higher = VIT_ONNX(g, "Sub", VIT_ONNX(g, "MatMul", p, c), first);
    vit_onnx_value o = VIT_ONNX(g, "Add", VIT_ONNX(g, "Mul", heads_first(a, gate[0]), first),
                                VIT_ONNX(g, "Mul", heads_first(a, gate[1]), higher));
    return merge(a, a->attention->config.head_norm, "out_proj", o);
}

static vit_onnx_value softmax(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_value qkv[3];
    project_fused(a, x, qkv);
    vit_onnx_value q = scaled_queries(a, qkv[0]), k = tokens_last(a, turn(a, qkv[1]));
    vit_onnx_value p = VIT_ONNX(a->g, "Softmax", VIT_ONNX(a->g, "MatMul", q, k));
    return merge(a, false, "proj", VIT_ONNX(a->g, "MatMul", p, heads_first(a, qkv[2])));
}

/* elu(x) + 1 as exp(min(x, 0)) + max(x, 0), which keeps the digits of a negative x. */
static vit_onnx_value feature_map(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value below = VIT_ONNX(g, "Exp", VIT_ONNX(g, "Min", x, number(a, 0)));
    return VIT_ONNX(g, "Add", below, VIT_ONNX(g, "Relu", x));
}

static vit_onnx_value linear(const attention_graph *a, vit_onnx_value x) {
    vit_onnx_graph *g = a->g;
    vit_onnx_value qkv[3];
    project_fused(a, x, qkv);
    vit_onnx_value q = feature_map(a, turn(a, qkv[0])), k = feature_map(a, turn(a, qkv[1]));
    vit_onnx_value weight = sum(a, VIT_ONNX(g, "Mul", q, sum(a, k, 1)), 3);
    q = VIT_ONNX(g, "Div", q, VIT_ONNX(g, "Add", weight, number(a, 1e-6)));
    vit_onnx_value state = VIT_ONNX(g, "MatMul", tokens_last(a, k), heads_first(a, qkv[2]));
    return merge(a, false, "proj", VIT_ONNX(g, "MatMul", heads_first(a, q), state));
}

/* ---- the table ---- */

static vit_onnx_value (*const builders[VIT_ATTENTION_KINDS])(const attention_graph *a,
                                                             vit_onnx_value x) = {
    [VIT_ATTENTION_ZEROS] = zeros_any,
    [VIT_ATTENTION_ZEROS_SM] = zeros_sm,
    [VIT_ATTENTION_SOFTMAX] = softmax,
    [VIT_ATTENTION_LINEAR] = linear,
};

bool vit_onnx_has_attention(const vit_attention_config *config) {
    return (size_t)config->kind < VIT_ATTENTION_KINDS && builders[config->kind] != NULL;
}

vit_onnx_value vit_onnx_attention(const vit_onnx_model *model, const vit_attention *attention,
                                  vit_onnx_value x) {
    const vit_attention_config *c = &attention->config;
    const attention_graph a = {.model = model,
                               .attention = attention,
                               .g = model->graph,
                               .N = (int64_t)c->tokens,
                               .D = (int64_t)c->dim,
                               .H = (int64_t)c->heads,
                               .d = (int64_t)attention->d};
    return builders[c->kind](&a, x);
}

#endif
