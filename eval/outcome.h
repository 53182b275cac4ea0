/* What a model said of every picture of a data set, and the files that tell of it. */
#ifndef VIT_OUTCOME_H
#define VIT_OUTCOME_H

#include "data/folder.h"
#include "eval/metrics.h"
#include "vit/json.h"

typedef struct vit_outcome {
    const vit_dataset *dataset;     /* borrowed: outlives the outcome */
    const char *const *class_names; /* (K), borrowed; in the order of the model's outputs */
    size_t K, count;                /* classes; pictures of the data set */
    size_t skipped;                 /* could not be read: in none of the figures */
    size_t topk;
    int *top; /* (count,topk) best classes, best first; -1 where it could not be read */
    double *top_probability;   /* (count,topk) 0..1; NaN there, as in the two below */
    double *label_probability; /* (count) of the picture's own class */
    double *losses;            /* (count) nats */
    vit_metrics metrics;       /* of the pictures that could be read */

    /* For eval.json; borrowed, and left out while NULL. The caller sets them after create. */
    const char *model, *data, *split, *tta;
    double seconds, images_per_second; /* left out while 0 */
} vit_outcome;

/* logits: of every picture in the data set's order, as vit_evaluate fills them; a row of nothing
 * but NaN is a picture that could not be read. topk: 1 to K, how many classes to keep of each
 * picture (more are cut down to K). Shares the rows out among threads; the result does not depend
 * on how many. */
vit_status vit_outcome_create(const vit_dataset *dataset, size_t K, const char *const *class_names,
                              const float *logits /* (count,K) */, size_t topk, vit_outcome **out);
void vit_outcome_free(vit_outcome *outcome);

/* The figures as an object: those of `zvit eval --json`; whole: also the reliability bins. The
 * caller frees it. */
vit_json *vit_outcome_json(const vit_outcome *outcome, bool whole);

/* Writes DIR/eval.json, per_class.csv, confusion_matrix.csv (with at most
 * VIT_CONFUSION_MAX_CLASSES) and predictions.csv, each under a temporary name and renamed. The
 * folder is made. docs/evaluation.md tells what is in them. */
vit_status vit_outcome_write(const vit_outcome *outcome, const char *dir);

#endif
