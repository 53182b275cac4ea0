#include "eval/metrics.h"

#include "vit/arena.h"

#include <math.h>
#include <string.h>

/* ---- ranking ---- */

/* True when index a ranks before index b. NaN ranks last. */
static bool ranks_before(const float *scores, size_t a, size_t b) {
    if (isnan(scores[a]) || isnan(scores[b])) {
        return !isnan(scores[a]) || (isnan(scores[b]) && a < b);
    }
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

bool vit_in_top_k(size_t K, const float *scores, int label, size_t k) {
    size_t own = (size_t)label;
    if (isnan(scores[own])) {
        return false;
    }
    size_t before = 0;
    for (size_t i = 0; i < K; i++) {
        before += i != own && ranks_before(scores, i, own);
    }
    return before < k;
}

/* Insertion into a sorted list. Most classes fall out at the first comparison, with the last of it;
 * for the others the place is looked for by halves, as k may be all of thousands. */
void vit_top_k(size_t K, const float *scores, size_t k, int *indices) {
    size_t filled = 0;
    for (size_t i = 0; i < K && k > 0; i++) {
        if (filled == k && !ranks_before(scores, i, (size_t)indices[k - 1])) {
            continue;
        }
        size_t last = filled < k ? filled++ : k - 1, low = 0, high = last;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (ranks_before(scores, i, (size_t)indices[middle])) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        memmove(indices + low + 1, indices + low, (last - low) * sizeof *indices);
        indices[low] = (int)i;
    }
}

/* ---- one picture ---- */

/* As vit_cross_entropy does with a hard target. */
void vit_score_logits(size_t K, const float *logits, int label, vit_score *score) {
    double most = -INFINITY, sum = 0;
    for (size_t k = 0; k < K; k++) {
        most = most < logits[k] ? logits[k] : most;
    }
    for (size_t k = 0; k < K; k++) {
        sum += exp(logits[k] - most);
    }
    double own = logits[label] - most;
    *score = (vit_score){
        .top1 = vit_in_top_k(K, logits, label, 1),
        .top5 = vit_in_top_k(K, logits, label, 5),
        .loss = log(sum) - own,
        .label_probability = exp(own) / sum,
    };
    vit_top_k(K, logits, 1, &score->prediction);
    score->confidence = exp(logits[score->prediction] - most) / sum;
}

/* ---- many ---- */

vit_status vit_metrics_init(vit_metrics *metrics, size_t K) {
    vit_status status = VIT_OK;
    *metrics = (vit_metrics){.classes = K};
    VIT_TRY(vit_alloc((void **)&metrics->per_class, K, sizeof *metrics->per_class, "metrics"));
    if (K <= VIT_CONFUSION_MAX_CLASSES) {
        VIT_TRY(vit_alloc((void **)&metrics->confusion, K * K, sizeof *metrics->confusion,
                          "confusion matrix"));
    }
cleanup:
    if (status != VIT_OK) {
        vit_metrics_free(metrics);
    }
    return status;
}

void vit_metrics_free(vit_metrics *metrics) {
    vit_free(metrics->per_class);
    vit_free(metrics->confusion);
    *metrics = (vit_metrics){0};
}

/* The bounds are compared, not multiplied, so that one that is hit exactly is below itself. */
static size_t bin_of(double confidence) {
    size_t bin = 0;
    while (bin + 1 < VIT_RELIABILITY_BINS &&
           confidence > (double)(bin + 1) / VIT_RELIABILITY_BINS) {
        bin++;
    }
    return bin;
}

void vit_metrics_add(vit_metrics *metrics, int label, const vit_score *score) {
    size_t own = (size_t)label, said = (size_t)score->prediction;
    vit_reliability_bin *bin = &metrics->bins[bin_of(score->confidence)];
    metrics->images++;
    metrics->top1 += score->top1;
    metrics->top5 += score->top5;
    metrics->loss += score->loss;
    metrics->per_class[own].support++;
    metrics->per_class[said].predicted++;
    metrics->per_class[own].right += score->top1;
    if (metrics->confusion) {
        metrics->confusion[own * metrics->classes + said]++;
    }
    bin->count++;
    bin->confidence += score->confidence;
    bin->accuracy += score->top1;
}

static double percent(size_t part, size_t whole) {
    return whole > 0 ? 100.0 * (double)part / (double)whole : NAN;
}

static void finish_classes(vit_metrics *metrics) {
    double recall = 0, f1 = 0;
    size_t with_recall = 0, with_f1 = 0;
    for (size_t k = 0; k < metrics->classes; k++) {
        vit_class_metrics *c = &metrics->per_class[k];
        c->precision = percent(c->right, c->predicted);
        c->recall = percent(c->right, c->support);
        c->f1 = percent(2 * c->right, c->support + c->predicted);
        if (c->support > 0) {
            recall += c->recall;
            with_recall++;
        }
        if (c->support + c->predicted > 0) {
            f1 += c->f1;
            with_f1++;
        }
    }
    metrics->balanced_accuracy = with_recall > 0 ? recall / (double)with_recall : NAN;
    metrics->macro_f1 = with_f1 > 0 ? f1 / (double)with_f1 : NAN;
}

static void finish_bins(vit_metrics *metrics) {
    double error = 0;
    for (size_t b = 0; b < VIT_RELIABILITY_BINS; b++) {
        vit_reliability_bin *bin = &metrics->bins[b];
        error += fabs(bin->accuracy - bin->confidence); /* times the count */
        bin->confidence = bin->count > 0 ? bin->confidence / (double)bin->count : NAN;
        bin->accuracy = bin->count > 0 ? bin->accuracy / (double)bin->count : NAN;
    }
    metrics->ece = metrics->images > 0 ? error / (double)metrics->images : NAN;
}

void vit_metrics_finish(vit_metrics *metrics) {
    double images = metrics->images > 0 ? (double)metrics->images : NAN;
    metrics->top1 = 100.0 * metrics->top1 / images;
    metrics->top5 = 100.0 * metrics->top5 / images;
    metrics->loss /= images;
    finish_classes(metrics);
    finish_bins(metrics);
}
