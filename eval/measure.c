#include "eval/measure.h"

#include "eval/tta.h"
#include "vit/arena.h"

/* Logits of what this rank needs them of. */
static vit_status prepare(const vit_measure_request *q, vit_evaluator **evaluator, float **logits) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_evaluator_create_share(&q->bundle->model, &q->bundle->preprocess, q->dataset,
                                       q->batch_size, q->threads, q->reading, q->ranks, evaluator));
    VIT_TRY(vit_evaluator_set_tta(*evaluator, q->tta));
    vit_evaluator_set_stop(*evaluator, q->should_stop, q->context);
    VIT_TRY(vit_evaluator_logits(*evaluator, logits));
cleanup:
    return status;
}

static vit_status make_outcome(const vit_measure_request *q, const float *logits,
                               const vit_eval_result *result, vit_outcome **out) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_outcome_create(q->dataset, (size_t)q->bundle->model.config.num_classes,
                               (const char *const *)q->bundle->class_names, logits, q->topk, out));
    if ((*out)->skipped > result->skipped) {
        VIT_TRY(vit_fail(VIT_ERROR_NUMERIC,
                         "%s: the network's output is not a number for %zu of %zu pictures",
                         q->model, (*out)->skipped - result->skipped, q->dataset->count));
    }
    (*out)->model = q->model;
    (*out)->data = q->data;
    (*out)->split = q->split;
    (*out)->tta = vit_tta_names[q->tta];
    (*out)->seconds = result->seconds;
    (*out)->images_per_second = result->images_per_second;
cleanup:
    return status;
}

vit_status vit_measure(const vit_measure_request *q, vit_eval_result *result, vit_outcome **out) {
    vit_evaluator *evaluator = NULL;
    float *logits = NULL;
    *out = NULL;
    *result = (vit_eval_result){0};
    vit_status status = prepare(q, &evaluator, &logits);
    if (q->ranks) {
        status = q->ranks->agree(q->ranks->context, status);
    }
    VIT_TRY(status);
    VIT_TRY(vit_evaluate(evaluator, q->bundle->params, q->progress, q->context, logits, result));
    vit_evaluator_free(evaluator); /* its memory is for the outcome */
    evaluator = NULL;
    if (!q->ranks || q->ranks->rank == 0) {
        VIT_TRY(make_outcome(q, logits, result, out));
    }
cleanup:
    vit_evaluator_free(evaluator);
    vit_free(logits);
    if (status != VIT_OK) {
        vit_outcome_free(*out);
        *out = NULL;
    }
    return status;
}
