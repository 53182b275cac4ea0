#include "eval/measure.h"

#include "vit/arena.h"

static vit_status run(const vit_measure_request *q, float *logits, vit_eval_result *result) {
    vit_evaluator *evaluator = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_evaluator_create(&q->bundle->model, &q->bundle->preprocess, q->dataset,
                                 q->batch_size, q->threads, q->reading, &evaluator));
    VIT_TRY(vit_evaluator_set_tta(evaluator, q->tta));
    vit_evaluator_set_stop(evaluator, q->should_stop, q->context);
    status = vit_evaluate(evaluator, q->bundle->params, q->progress, q->context, logits, result);
cleanup:
    vit_evaluator_free(evaluator);
    return status;
}

vit_status vit_measure(const vit_measure_request *q, vit_eval_result *result, vit_outcome **out) {
    size_t K = (size_t)q->bundle->model.config.num_classes, values;
    float *logits = NULL;
    vit_status status = VIT_OK;
    *out = NULL;
    *result = (vit_eval_result){0};
    if (__builtin_mul_overflow(q->dataset->count, K, &values)) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: %zu pictures of %zu classes do not fit in memory",
                        q->dataset->root, q->dataset->count, K);
    }
    VIT_TRY(vit_alloc((void **)&logits, values, sizeof *logits, "logits"));
    VIT_TRY(run(q, logits, result));
    VIT_TRY(vit_outcome_create(q->dataset, K, (const char *const *)q->bundle->class_names, logits,
                               q->topk, out));
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
    vit_free(logits);
    if (status != VIT_OK) {
        vit_outcome_free(*out);
        *out = NULL;
    }
    return status;
}
