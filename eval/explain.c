#include "eval/explain.h"

#include "eval/explain_job.h"
#include "eval/metrics.h"
#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const vit_explain_method_names[] = {"auto", "gradient", "zeros-rollout", "rollout",
                                                NULL};

/* ---- which method suits which attention ---- */

typedef struct method {
    vit_explain_method id;
    bool wants_shares; /* suits only attentions whose weights are shares */
    vit_status (*run)(const vit_explain_job *job);
} method;

/* Best first, by the deletion test (docs/explain.md): auto takes the first that suits. Rollout
 * mixes by weights that are shares; those of the zero-sum kinds sum to nothing. */
static const method methods[] = {
    {VIT_EXPLAIN_ZEROS_ROLLOUT, false, vit_explain_zeros_rollout},
    {VIT_EXPLAIN_ROLLOUT, true, vit_explain_rollout},
    {VIT_EXPLAIN_GRADIENT, false, vit_explain_gradient},
};
enum { METHODS = sizeof methods / sizeof *methods };

static bool suits(const method *m, const vit_config *config) {
    return !m->wants_shares || vit_attention_has_shares((vit_attention_kind)config->attn);
}

/* The names of the methods that suit, with commas. */
static void list_suitable(const vit_config *config, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < METHODS && used < size; i++) {
        if (suits(&methods[i], config)) {
            const char *name = vit_explain_method_names[methods[i].id];
            used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", name);
        }
    }
}

static vit_status choose_method(const vit_config *config, int wanted, const method **out) {
    if (wanted < VIT_EXPLAIN_AUTO || wanted > VIT_EXPLAIN_ROLLOUT) {
        return vit_fail(VIT_ERROR_ARGUMENT, "explain method: %d (expected 0 to %d)", wanted,
                        VIT_EXPLAIN_ROLLOUT);
    }
    for (size_t i = 0; i < METHODS; i++) {
        bool asked = wanted == VIT_EXPLAIN_AUTO || wanted == (int)methods[i].id;
        if (asked && suits(&methods[i], config)) {
            *out = &methods[i];
            return VIT_OK;
        }
    }
    char names[128];
    list_suitable(config, names, sizeof names);
    return vit_fail(VIT_ERROR_UNSUPPORTED,
                    "method %s does not suit a model with %s attention (expected one of %s)",
                    vit_explain_method_names[wanted], vit_attention_names[config->attn], names);
}

/* ---- the picture and its class ---- */

/* One picture's tensors. */
typedef struct tensors {
    vit_workspace *workspace;
    vit_transform_scratch scratch;
    float *input;                            /* (3,H,W) */
    float *logits, *probabilities, *dlogits; /* (K) */
} tensors;

static void tensors_free(tensors *t) {
    vit_workspace_free(t->workspace);
    vit_transform_scratch_free(&t->scratch);
    vit_free(t->input);
    vit_free(t->logits);
    vit_free(t->probabilities);
    vit_free(t->dlogits);
}

static vit_status classify(const vit_model_bundle *bundle, const vit_image *picture, tensors *t) {
    const vit_model *model = &bundle->model;
    const vit_patch_shape *s = &model->patch;
    size_t K = model->head_shape.classes;
    vit_status status = VIT_OK;
    VIT_TRY(vit_workspace_create(model, 1, VIT_TRAINING, &t->workspace));
    VIT_TRY(vit_alloc((void **)&t->input, s->channels * s->height * s->width, sizeof(float),
                      "input picture"));
    VIT_TRY(vit_alloc((void **)&t->logits, K, sizeof(float), "logits"));
    VIT_TRY(vit_alloc((void **)&t->probabilities, K, sizeof(float), "probabilities"));
    VIT_TRY(vit_alloc((void **)&t->dlogits, K, sizeof(float), "logits"));
    VIT_TRY(vit_transform_eval(&bundle->preprocess, s->height, s->width, picture, &t->scratch,
                               t->input));
    vit_model_forward(model, bundle->params, t->workspace, 1, t->input, NULL, t->logits);
    vit_softmax_rows(1, K, t->logits, t->probabilities);
    for (size_t k = 0; k < K; k++) {
        if (!isfinite(t->probabilities[k])) {
            VIT_TRY(vit_fail(VIT_ERROR_NUMERIC,
                             "the network's output for class %s is not a finite number",
                             bundle->class_names[k]));
        }
    }
cleanup:
    return status;
}

/* The gradient by the logits of the class's log-odds, log(p / (1 - p)) = z_c - log sum_{k != c}
 * exp z_k: 1 for the class, minus the others' shares among themselves. It has the direction of the
 * log-probability's gradient, and unlike that does not fade as p nears 1. A single class has no
 * others: its logit. */
static void log_odds_gradient(size_t K, const float *logits, size_t c, float *dlogits) {
    double highest = -INFINITY, sum = 0;
    for (size_t k = 0; k < K; k++) {
        highest = k != c ? fmax(highest, (double)logits[k]) : highest;
    }
    for (size_t k = 0; k < K; k++) {
        sum += k != c ? exp((double)logits[k] - highest) : 0;
    }
    for (size_t k = 0; k < K; k++) {
        dlogits[k] = k == c ? 1 : (float)(-exp((double)logits[k] - highest) / sum);
    }
}

/* ---- the map ---- */

/* The box of the whole patches: what is left over to the right and below is not looked at. */
static vit_box grid_box(const vit_model_bundle *bundle, const vit_image *picture) {
    const vit_patch_shape *s = &bundle->model.patch;
    vit_box box = vit_eval_box(&bundle->preprocess, s->height, s->width, picture);
    double across = (box.x1 - box.x0) / (double)s->width;
    double down = (box.y1 - box.y0) / (double)s->height;
    box.x1 = box.x0 + across * (double)(s->width / s->patch * s->patch);
    box.y1 = box.y0 + down * (double)(s->height / s->patch * s->patch);
    return box;
}

static vit_status fill(const vit_model_bundle *bundle, const method *m, tensors *t,
                       vit_heat_map *out) {
    const vit_patch_shape *s = &bundle->model.patch;
    size_t patches = vit_patch_count(s);
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&out->values, patches, sizeof(float), "heat map"));
    out->grid_h = s->height / s->patch;
    out->grid_w = s->width / s->patch;
    out->method = m->id;
    vit_explain_job job = {bundle, t->workspace, t->input, t->dlogits, out->values};
    VIT_TRY(m->run(&job));
    for (size_t i = 0; i < patches; i++) {
        if (!isfinite(out->values[i])) {
            VIT_TRY(vit_fail(VIT_ERROR_NUMERIC, "the map by %s is not finite",
                             vit_explain_method_names[m->id]));
        }
    }
cleanup:
    return status;
}

vit_status vit_explain(const vit_model_bundle *bundle, const vit_image *picture,
                       const vit_explain_options *options, vit_heat_map *out) {
    const method *m = NULL;
    tensors t = {0};
    size_t K = bundle->model.head_shape.classes;
    vit_status status = VIT_OK;
    vit_heat_map_free(out);
    if (options->class_index < -1 || options->class_index >= (int)K) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT, "class %d (expected 0 to %zu, or -1)",
                         options->class_index, K - 1));
    }
    VIT_TRY(choose_method(&bundle->model.config, options->method, &m));
    VIT_TRY(classify(bundle, picture, &t));
    out->class_index = options->class_index;
    if (options->class_index < 0) {
        vit_top_k(K, t.probabilities, 1, &out->class_index);
    }
    out->probability = (double)t.probabilities[out->class_index];
    out->box = grid_box(bundle, picture);
    log_odds_gradient(K, t.logits, (size_t)out->class_index, t.dlogits);
    VIT_TRY(fill(bundle, m, &t, out));
cleanup:
    tensors_free(&t);
    if (status != VIT_OK) {
        vit_heat_map_free(out);
    }
    return status;
}

void vit_heat_map_free(vit_heat_map *map) {
    vit_free(map->values);
    *map = (vit_heat_map){0};
}

int vit_class_find(const vit_model_bundle *bundle, const char *name) {
    int K = bundle->model.config.num_classes;
    for (int k = 0; k < K; k++) {
        if (strcmp(bundle->class_names[k], name) == 0) {
            return k;
        }
    }
    char *end;
    long index = name[0] >= '0' && name[0] <= '9' ? strtol(name, &end, 10) : -1;
    return index >= 0 && index < K && *end == 0 ? (int)index : -1;
}
