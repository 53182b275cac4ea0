#include "eval/outcome.h"

#include "vit/arena.h"

#include <math.h>

static vit_status check(const vit_dataset *dataset, size_t K, size_t topk) {
    if (dataset->count < 1 || K < 1 || topk < 1) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s: %zu pictures, %zu classes, the best %zu (expected at least 1 of each)",
                        dataset->root, dataset->count, K, topk);
    }
    return vit_dataset_check_labels(dataset, K);
}

static vit_status allocate(vit_outcome *o) {
    size_t places;
    vit_status status = VIT_OK;
    if (__builtin_mul_overflow(o->count, o->topk, &places)) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: the best %zu classes of %zu pictures", "evaluation",
                        o->topk, o->count);
    }
    VIT_TRY(vit_alloc((void **)&o->top, places, sizeof *o->top, "best classes"));
    VIT_TRY(vit_alloc((void **)&o->top_probability, places, sizeof *o->top_probability,
                      "best classes"));
    VIT_TRY(vit_alloc((void **)&o->label_probability, o->count, sizeof *o->label_probability,
                      "evaluation"));
    VIT_TRY(vit_alloc((void **)&o->losses, o->count, sizeof *o->losses, "evaluation"));
    VIT_TRY(vit_metrics_init(&o->metrics, o->K));
cleanup:
    return status;
}

static bool is_skipped(size_t K, const float *logits) {
    size_t k = 0;
    while (k < K && isnan(logits[k])) {
        k++;
    }
    return k == K;
}

/* The probability of a class from that of the best: softmax(x)[k] = softmax(x)[0] e^(x[k] - x[0]).
 */
static void fill_row(vit_outcome *o, size_t i, const float *logits, vit_score *score) {
    int *top = o->top + i * o->topk;
    double *probability = o->top_probability + i * o->topk;
    vit_score_logits(o->K, logits, o->dataset->samples[i].label, score);
    vit_top_k(o->K, logits, o->topk, top);
    for (size_t j = 0; j < o->topk; j++) {
        probability[j] = score->confidence * exp((double)logits[top[j]] - logits[top[0]]);
    }
    o->label_probability[i] = score->label_probability;
    o->losses[i] = score->loss;
}

static void fill_skipped(vit_outcome *o, size_t i) {
    for (size_t j = 0; j < o->topk; j++) {
        o->top[i * o->topk + j] = -1;
        o->top_probability[i * o->topk + j] = NAN;
    }
    o->label_probability[i] = o->losses[i] = NAN;
}

/* Rows in any order, sums in the data set's. */
static vit_status fill(vit_outcome *o, const float *logits) {
    vit_score *scores = NULL;
    vit_status status = vit_alloc((void **)&scores, o->count, sizeof *scores, "evaluation");
    if (status != VIT_OK) {
        return status;
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < o->count; i++) {
        if (is_skipped(o->K, logits + i * o->K)) {
            fill_skipped(o, i);
        } else {
            fill_row(o, i, logits + i * o->K, &scores[i]);
        }
    }
    for (size_t i = 0; i < o->count; i++) {
        if (o->top[i * o->topk] < 0) {
            o->skipped++;
        } else {
            vit_metrics_add(&o->metrics, o->dataset->samples[i].label, &scores[i]);
        }
    }
    vit_metrics_finish(&o->metrics);
    vit_free(scores);
    return VIT_OK;
}

vit_status vit_outcome_create(const vit_dataset *dataset, size_t K, const char *const *class_names,
                              const float *logits, size_t topk, vit_outcome **out) {
    vit_outcome *o = NULL;
    vit_status status = VIT_OK;
    *out = NULL;
    VIT_TRY(check(dataset, K, topk));
    VIT_TRY(vit_alloc((void **)&o, 1, sizeof *o, "evaluation"));
    o->dataset = dataset;
    o->class_names = class_names;
    o->K = K;
    o->count = dataset->count;
    o->topk = topk < K ? topk : K;
    VIT_TRY(allocate(o));
    VIT_TRY(fill(o, logits));
    *out = o;
    o = NULL;
cleanup:
    vit_outcome_free(o);
    return status;
}

void vit_outcome_free(vit_outcome *outcome) {
    if (!outcome) {
        return;
    }
    vit_metrics_free(&outcome->metrics);
    vit_free(outcome->top);
    vit_free(outcome->top_probability);
    vit_free(outcome->label_probability);
    vit_free(outcome->losses);
    vit_free(outcome);
}
