/* One block's attention from another's, of the same kind or another.
 *
 * What a ZeroS block starts with when its source is softmax attention
 *
 * Softmax weighs token i for query t by exp(q_t . k_i / sqrt d). With q_t = q' + (q_t - q'), q' the
 * mean query, that is exp(q' . k_i / sqrt d), which depends on i alone, times the rest. ZeroS's
 * weight is such a product too: a radial one of token i, made of the logits s_i = -u_i . mean(u) /
 * sqrt d, and the angle between q_t and k_i. So the start is the u whose logits are those of the
 * mean query: u_i = k_i up to a constant, and mean(u) = -q'. The token that enters the projection
 * is gamma * n + beta of the norm before it, n of mean 0 over the channels; with n taken as 0 on
 * average over the tokens, q' = Wq beta + bq, and
 *     Wu = Wk,  bu = -(Wq beta + bq) - Wk beta.
 *
 * With both gates of a head equal to g the radial weights are g (softmax(s) - 1/N), softmax's own
 * less the uniform part that no zero-sum attention has; so the gates' weights are 0 and their
 * biases equal. 2 gives g = 0.88, near 1 where the sigmoid still has a slope. In zeros-sm, whose
 * logits are softmax's, that is all there is to do.
 *
 * The uniform part is the mean value. What it has in common for all pictures, Wv beta + bv, goes
 * through the output projection into its bias. And the norm of a head's output forgets the size of
 * the values: the projection's columns are multiplied by the root mean square that the values of
 * this head have under the norm (the sum over the inputs j of (Wv gamma)_j^2, averaged over the
 * head's channels). Without head norm they are divided by g instead. */
#include "train/init_source.h"
#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GATE_BIAS 2.0

/* The name of a tensor of the block's attention. */
typedef struct full_name {
    char text[VIT_NAME_MAX];
} full_name;
static full_name name_in(int block, const char *name, const char *field) {
    full_name full;
    snprintf(full.text, sizeof full.text, "blocks.%d.attn.%s%s", block, name, field);
    return full;
}

/* The model's parameter, or NULL. */
static const vit_param *param_of(const init_source *source, int block, const char *name,
                                 const char *field) {
    full_name full = name_in(block, name, field);
    return vit_params_find(&source->target->model.params, full.text);
}

static float *values_of(const init_source *source, const vit_param *param) {
    return source->target->params + param->offset;
}

static bool file_has(const init_source *source, int block, const char *name) {
    return init_has(source, name_in(block, name, "").text);
}

/* ---- query, key and value ---- */

/* What the file holds of the three, as one fused projection. */
typedef struct projections {
    float *weight; /* (3D,D) */
    float *bias;   /* (3D) */
    bool fused;    /* in the file */
    bool biased;
} projections;

static const char *const parts[3] = {"q", "k", "v"};

static vit_status read_projections(init_source *source, int block, projections *p) {
    vit_status status = VIT_OK;
    size_t D = source->target->model.patch.dim;
    VIT_TRY(vit_alloc((void **)&p->weight, 3 * D * D, sizeof(float), "projections"));
    VIT_TRY(vit_alloc((void **)&p->bias, 3 * D, sizeof(float), "projections"));
    p->fused = file_has(source, block, "qkv.weight") || !file_has(source, block, "q.weight");
    size_t pieces = p->fused ? 1 : 3, rows = p->fused ? 3 * D : D;
    p->biased = !p->fused || file_has(source, block, "qkv.bias");
    for (size_t i = 0; i < pieces; i++) {
        const char *name = p->fused ? "qkv" : parts[i];
        VIT_TRY(init_read(source, name_in(block, name, ".weight").text, 2, (size_t[]){rows, D},
                          p->weight + i * rows * D));
        if (p->biased) {
            VIT_TRY(init_read(source, name_in(block, name, ".bias").text, 1, &rows,
                              p->bias + i * rows));
        }
    }
cleanup:
    return status;
}

static void place_weight_and_bias(init_source *source, int block, const char *name,
                                  const projections *p, size_t first_row, vit_init_action action,
                                  const char *detail) {
    size_t D = source->target->model.patch.dim;
    const vit_param *weight = param_of(source, block, name, ".weight");
    const vit_param *bias = param_of(source, block, name, ".bias");
    memcpy(values_of(source, weight), p->weight + first_row * D, weight->size * sizeof(float));
    init_note(source, action, weight->name, detail);
    memcpy(values_of(source, bias), p->bias + first_row, bias->size * sizeof(float));
    init_note(source, p->biased ? action : VIT_TENSOR_DERIVED, bias->name,
              p->biased ? detail : "0: the file has none");
}

static void place_projections(init_source *source, int block, const projections *p) {
    size_t D = source->target->model.patch.dim;
    if (param_of(source, block, "qkv", ".weight")) {
        place_weight_and_bias(source, block, "qkv", p, 0,
                              p->fused ? VIT_TENSOR_TAKEN : VIT_TENSOR_FUSED,
                              p->fused ? "" : "from q, k, v");
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        place_weight_and_bias(source, block, parts[i], p, i * D,
                              p->fused ? VIT_TENSOR_SPLIT : VIT_TENSOR_TAKEN,
                              p->fused ? "from qkv" : "");
    }
}

/* ---- what only ZeroS has ---- */

/* One row of W x + b. */
static double row_product(size_t D, const float *weight, const float *x, float bias) {
    double sum = bias;
    for (size_t j = 0; j < D; j++) {
        sum += (double)weight[j] * x[j];
    }
    return sum;
}

/* gamma or beta of the norm before the attention. */
static const float *norm_of(const init_source *source, int block, const char *field) {
    char name[VIT_NAME_MAX];
    snprintf(name, sizeof name, "blocks.%d.norm1%s", block, field);
    return values_of(source, vit_params_find(&source->target->model.params, name));
}

static void derive_deviation(init_source *source, int block, const projections *p) {
    size_t D = source->target->model.patch.dim;
    const vit_param *weight = param_of(source, block, "u", ".weight");
    const vit_param *bias = param_of(source, block, "u", ".bias");
    const float *beta = norm_of(source, block, ".bias");
    const float *q = p->weight, *k = p->weight + D * D;
    memcpy(values_of(source, weight), k, D * D * sizeof *k);
    for (size_t i = 0; i < D; i++) {
        double query = row_product(D, q + i * D, beta, p->bias[i]);
        double key = row_product(D, k + i * D, beta, 0);
        values_of(source, bias)[i] = (float)(-query - key);
    }
    init_note(source, VIT_TENSOR_DERIVED, weight->name, "the key's");
    init_note(source, VIT_TENSOR_DERIVED, bias->name, "so that its mean is minus the mean query");
}

static void derive_gates(init_source *source, int block) {
    const vit_param *weight = param_of(source, block, "gate", ".weight");
    const vit_param *bias = param_of(source, block, "gate", ".bias");
    memset(values_of(source, weight), 0, weight->size * sizeof(float));
    for (size_t i = 0; i < bias->size; i++) {
        values_of(source, bias)[i] = i % 3 == 2 ? 0.0f : (float)GATE_BIAS; /* zero order last */
    }
    init_note(source, VIT_TENSOR_DERIVED, weight->name, "0: first and higher orders alike");
    init_note(source, VIT_TENSOR_DERIVED, bias->name, "open");
}

static vit_status take_own(init_source *source, const vit_param *param) {
    vit_status status =
        init_read(source, param->name, param->ndim, param->shape, values_of(source, param));
    if (status == VIT_OK) {
        init_note(source, VIT_TENSOR_TAKEN, param->name, "");
    }
    return status;
}

static vit_status init_gates(init_source *source, int block) {
    vit_status status = VIT_OK;
    if (!param_of(source, block, "gate", ".weight")) {
        return VIT_OK;
    }
    if (!file_has(source, block, "gate.weight")) {
        derive_gates(source, block);
        return VIT_OK;
    }
    for (int i = 0; i < 2; i++) {
        VIT_TRY(take_own(source, param_of(source, block, "gate", i ? ".bias" : ".weight")));
    }
cleanup:
    return status;
}

static vit_status init_deviation(init_source *source, int block, const projections *p) {
    vit_status status = VIT_OK;
    if (!param_of(source, block, "u", ".weight")) {
        return VIT_OK;
    }
    if (!file_has(source, block, "u.weight")) {
        derive_deviation(source, block, p);
        return VIT_OK;
    }
    for (int i = 0; i < 2; i++) {
        VIT_TRY(take_own(source, param_of(source, block, "u", i ? ".bias" : ".weight")));
    }
cleanup:
    return status;
}

/* Whether an attention's parameter is none of those above. */
static bool is_other(const init_source *source, int block, const vit_param *param) {
    static const char *const layers[] = {"q", "k", "v", "qkv", "u", "gate", "proj", "out_proj"};
    full_name prefix = name_in(block, "", "");
    bool other = strncmp(param->name, prefix.text, strlen(prefix.text)) == 0;
    for (size_t i = 0; other && i < sizeof layers / sizeof *layers; i++) {
        other = param != param_of(source, block, layers[i], ".weight") &&
                param != param_of(source, block, layers[i], ".bias");
    }
    return other;
}

/* What an attention has beyond projections, deviations and gates, such as ZeroS's prior: all of it
 * from the file, or none. */
static vit_status init_others(init_source *source, int block) {
    const vit_param_table *table = &source->target->model.params;
    vit_status status = VIT_OK;
    bool there = false;
    for (size_t i = 0; i < table->count; i++) {
        there = there || (is_other(source, block, &table->items[i]) &&
                          init_has(source, table->items[i].name));
    }
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *param = &table->items[i];
        if (is_other(source, block, param) && there) {
            VIT_TRY(take_own(source, param));
        } else if (is_other(source, block, param)) {
            init_note(source, VIT_TENSOR_FRESH, param->name, "");
        }
    }
cleanup:
    return status;
}

/* ---- the output ---- */

/* Root mean square of the values of head h under the norm. */
static double value_size(const init_source *source, int block, const projections *p, size_t h) {
    size_t D = source->target->model.patch.dim;
    size_t d = D / (size_t)source->target->model.config.num_heads;
    const float *gamma = norm_of(source, block, ".weight");
    const float *v = p->weight + (2 * D + h * d) * D;
    double sum = 0;
    for (size_t i = 0; i < d * D; i++) {
        double value = (double)v[i] * gamma[i % D];
        sum += value * value;
    }
    return sqrt(sum / (double)d);
}

/* Changes weight (D,D) and bias (D) as the head of this file says. */
static vit_status adapt_output(const init_source *source, int block, const projections *p,
                               float *weight, float *bias) {
    vit_status status = VIT_OK;
    const vit_config *config = &source->target->model.config;
    size_t D = source->target->model.patch.dim, d = D / (size_t)config->num_heads;
    const float *beta = norm_of(source, block, ".bias");
    float *constant = NULL; /* (D) the values' common part */
    VIT_TRY(vit_alloc((void **)&constant, D, sizeof *constant, "projections"));
    for (size_t i = 0; i < D; i++) {
        constant[i] = (float)row_product(D, p->weight + (2 * D + i) * D, beta, p->bias[2 * D + i]);
    }
    for (size_t i = 0; i < D; i++) {
        bias[i] = (float)row_product(D, weight + i * D, constant, bias[i]);
    }
    for (size_t h = 0; h < (size_t)config->num_heads; h++) {
        double factor = config->head_norm ? value_size(source, block, p, h) : 1 + exp(-GATE_BIAS);
        for (size_t i = 0; i < D * d; i++) {
            float *value = &weight[i / d * D + h * d + i % d];
            *value = (float)(*value * factor);
        }
    }
cleanup:
    vit_free(constant);
    return status;
}

static vit_status init_output(init_source *source, int block, const projections *p) {
    vit_status status = VIT_OK;
    const char *to = param_of(source, block, "proj", ".weight") ? "proj" : "out_proj";
    const char *from = file_has(source, block, "out_proj.weight") ? "out_proj" : "proj";
    bool adapts = param_of(source, block, "gate", ".weight") != NULL &&
                  !file_has(source, block, "gate.weight");
    const vit_param *params[2] = {param_of(source, block, to, ".weight"),
                                  param_of(source, block, to, ".bias")};
    for (int i = 0; i < 2; i++) {
        full_name name = name_in(block, from, i ? ".bias" : ".weight");
        VIT_TRY(init_read(source, name.text, params[i]->ndim, params[i]->shape,
                          values_of(source, params[i])));
    }
    if (adapts) {
        VIT_TRY(adapt_output(source, block, p, values_of(source, params[0]),
                             values_of(source, params[1])));
    }
    char detail[64] = "";
    if (strcmp(from, to) != 0) {
        snprintf(detail, sizeof detail, "from %s%s", from,
                 adapts ? ", for values without their mean" : "");
    }
    init_note(source, adapts ? VIT_TENSOR_DERIVED : VIT_TENSOR_TAKEN, params[0]->name, detail);
    init_note(source, adapts ? VIT_TENSOR_DERIVED : VIT_TENSOR_TAKEN, params[1]->name, detail);
cleanup:
    return status;
}

vit_status init_attention(init_source *source, int block) {
    vit_status status = VIT_OK;
    projections p = {0};
    VIT_TRY(read_projections(source, block, &p));
    place_projections(source, block, &p);
    VIT_TRY(init_deviation(source, block, &p));
    VIT_TRY(init_gates(source, block));
    VIT_TRY(init_output(source, block, &p));
    VIT_TRY(init_others(source, block));
cleanup:
    vit_free(p.weight);
    vit_free(p.bias);
    return status;
}
