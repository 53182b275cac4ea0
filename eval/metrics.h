/* What a classifier gets right, and how sure it is of it. docs/evaluation.md has the formulas. */
#ifndef VIT_METRICS_H
#define VIT_METRICS_H

#include "vit/status.h"

#include <stdbool.h>

/* ---- ranking ---- */

/* True when fewer than k classes score above the label's; equal scores count by lower index first,
 * as a stable sort would. A label whose score is not a number is never right. */
bool vit_in_top_k(size_t K, const float *scores, int label, size_t k);

/* The k best indices, best first, ties by lower index. k <= K. */
void vit_top_k(size_t K, const float *scores, size_t k, int *indices);

/* ---- one picture ---- */

typedef struct vit_score {
    int prediction;           /* the best class */
    bool top1, top5;          /* the label is the best, is among the min(5, K) best */
    double loss;              /* -log softmax(logits)[label], nats */
    double confidence;        /* softmax(logits)[prediction], 0..1 */
    double label_probability; /* softmax(logits)[label] */
} vit_score;

/* In double, with the bits of vit_cross_entropy for a hard target. With a logit that is not a
 * number, or is +infinity, the loss and the probabilities are NaN. */
void vit_score_logits(size_t K, const float *logits /* (K) */, int label, vit_score *score);

/* ---- many ---- */

typedef struct vit_class_metrics {
    size_t support;   /* pictures of the class */
    size_t predicted; /* pictures that were taken for it */
    size_t right;     /* both */
    /* Percent. Where it would be 0 / 0 a value is undefined: NaN.
     *   precision = right / predicted      (undefined when the class is never predicted)
     *   recall    = right / support        (undefined without pictures)
     *   f1        = 2 right / (support + predicted)        (undefined only when both are 0) */
    double precision, recall, f1;
} vit_class_metrics;

#define VIT_RELIABILITY_BINS 15
/* Bin b holds the pictures whose confidence is in (b / 15, (b + 1) / 15]; 0 is in the first. */
typedef struct vit_reliability_bin {
    size_t count;
    double confidence; /* mean, 0..1; NaN in an empty bin */
    double accuracy;   /* share that is right, 0..1; NaN in an empty bin */
} vit_reliability_bin;

/* A matrix of more classes than this would take more memory than the model. */
#define VIT_CONFUSION_MAX_CLASSES 4096

/* Zero-initialise or vit_metrics_init; release with vit_metrics_free. Without any picture all means
 * are NaN. */
typedef struct vit_metrics {
    size_t classes, images;
    /* (K,K) [label][prediction]: pictures; NULL with more than VIT_CONFUSION_MAX_CLASSES. */
    size_t *confusion;
    vit_class_metrics *per_class; /* (K) */
    double top1, top5;            /* percent; top5 counts the min(5, K) best */
    double loss;                  /* mean cross-entropy, nats */
    double balanced_accuracy;     /* percent: mean recall of the classes that have pictures */
    double macro_f1;              /* percent: mean of the f1 that are defined, which are those of
                                     classes with pictures or predictions */
    /* Expected calibration error (Guo et al. 2017, equation 3), 0..1: the mean over the pictures of
     * |accuracy - confidence| of their bin. NaN when a confidence is. */
    double ece;
    vit_reliability_bin bins[VIT_RELIABILITY_BINS];
} vit_metrics;

vit_status vit_metrics_init(vit_metrics *metrics, size_t K);
void vit_metrics_free(vit_metrics *metrics);
/* Until finish, top1 and the other means hold sums. 0 <= label < K, as the score's prediction. */
void vit_metrics_add(vit_metrics *metrics, int label, const vit_score *score);
/* Once, after the last. */
void vit_metrics_finish(vit_metrics *metrics);

#endif
