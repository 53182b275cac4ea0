#include "api/handles.h"

#include "eval/measure.h"
#include "vit/arena.h"
#include "vit/versioned.h"

#include <omp.h>

enum { DEFAULT_BATCH = 64, TOP = 5 };

struct vit_evaluation {
    vit_model *model;
    vit_evaluation_options options;
    vit_data_options reading;
    char *data, *split;
    vit_dataset *dataset;
    vit_outcome *outcome;
    char *json;
    vit_evaluation_result result;
};

void vit_evaluation_free(vit_evaluation *e) {
    if (e) {
        vit_outcome_free(e->outcome);
        vit_dataset_free(e->dataset);
        vit_model_close(e->model);
        vit_free(e->data);
        vit_free(e->split);
        vit_free(e->json);
        vit_free(e);
    }
}

static vit_status check_options(const vit_evaluation_options *o) {
    if (!(o->val_split >= 0 && o->val_split < 1) || o->tta < VIT_TTA_NONE ||
        o->tta > VIT_TTA_FLIP || o->batch_size > 65536) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "vit_evaluation_options: val_split %g, batch_size %zu, tta %d (expected 0 "
                        "to below 1, 0 to 65536, VIT_TTA_NONE or VIT_TTA_FLIP)",
                        o->val_split, o->batch_size, (int)o->tta);
    }
    return VIT_OK;
}

/* What the caller's struct points to is borrowed for the call only. */
static vit_status take_options(vit_evaluation *e, const vit_evaluation_options *options,
                               const char *data) {
    vit_evaluation_options *o = &e->options;
    vit_status status = VIT_OK;
    if (options) {
        VIT_TRY(vit_versioned_take(o, sizeof *o, options, "vit_evaluation_options"));
    }
    VIT_TRY(check_options(o));
    VIT_TRY(vit_reading_options(o->max_pixels, o->background, &e->reading));
    o->background = NULL;
    e->reading.val_split = o->val_split;
    e->reading.on_error = o->skip_unreadable ? VIT_ON_ERROR_SKIP : VIT_ON_ERROR_FAIL;
    e->data = vit_strdup(data);
    e->split = vit_strdup(o->split ? o->split : "val");
    o->split = NULL;
    if (!e->data || !e->split) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", data));
    }
cleanup:
    return status;
}

static vit_status find_pictures(vit_evaluation *e) {
    const vit_model_info *info = vit_model_get_info(e->model);
    size_t missing = 0;
    vit_dataset_query query = vit_data_query(&e->reading, e->data, e->split);
    query.known_classes = info->class_names;
    query.known_count = info->class_count;
    vit_status status = vit_dataset_find(&query, &e->dataset, &missing);
    if (status == VIT_OK && missing > 0) {
        vit_say(e->options.log, e->options.context, VIT_LOG_WARNING,
                "%s: %zu of the %zu classes of the model have no picture", e->dataset->root,
                missing, info->class_count);
    }
    return status;
}

static vit_status describe(vit_evaluation *e, const vit_eval_result *found) {
    const vit_metrics *m = &e->outcome->metrics;
    vit_json *json = vit_outcome_json(e->outcome, false);
    vit_status status = vit_json_print(json, false, &e->json);
    vit_json_free(json);
    e->result = (vit_evaluation_result){
        .images = found->images,
        .classes = e->outcome->K,
        .skipped = found->skipped,
        .top1 = m->top1,
        .top5 = m->top5,
        .loss = m->loss,
        .balanced_accuracy = m->balanced_accuracy,
        .macro_f1 = m->macro_f1,
        .ece = m->ece,
        .seconds = found->seconds,
        .images_per_second = found->images_per_second,
        .json = e->json,
    };
    return status;
}

static vit_status measure(vit_evaluation *e) {
    const vit_evaluation_options *o = &e->options;
    vit_eval_result found;
    int before;
    vit_status status = vit_threads_begin(o->threads, "vit_evaluation_options", &before);
    if (status != VIT_OK) {
        return status;
    }
    const vit_measure_request request = {
        .bundle = &vit_model_handle_of(e->model)->bundle,
        .dataset = e->dataset,
        .model = vit_model_get_info(e->model)->architecture,
        .data = e->data,
        .split = e->split,
        .batch_size = o->batch_size > 0 ? o->batch_size : DEFAULT_BATCH,
        .threads = omp_get_max_threads(),
        .tta = o->tta,
        .topk = TOP,
        .reading = &e->reading,
        .progress = o->progress,
        .should_stop = o->should_stop,
        .context = o->context,
    };
    status = vit_measure(&request, &found, &e->outcome);
    vit_threads_end(before);
    if (status == VIT_OK && found.skipped > 0) {
        vit_say(o->log, o->context, VIT_LOG_WARNING,
                "%zu of %zu pictures could not be read and were left out; the first: %s",
                found.skipped, found.skipped + found.images, found.first_skipped);
    }
    return status == VIT_OK ? describe(e, &found) : status;
}

vit_status vit_evaluation_run(vit_evaluation **out, vit_model *model, const char *data,
                              const vit_evaluation_options *options) {
    VIT_BEGIN_OUT(out);
    vit_evaluation *e = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(model, __func__, "model"));
    VIT_TRY(vit_check_given(data, __func__, "data"));
    VIT_TRY(vit_alloc((void **)&e, 1, sizeof *e, "evaluation"));
    e->model = model;
    vit_model_keep(model);
    VIT_TRY(take_options(e, options, data));
    VIT_TRY(find_pictures(e));
    VIT_TRY(measure(e));
    *out = e;
    e = NULL;
cleanup:
    vit_evaluation_free(e);
    return status;
}

const vit_evaluation_result *vit_evaluation_get_result(const vit_evaluation *e) {
    return e ? &e->result : NULL;
}

vit_status vit_evaluation_write(const vit_evaluation *e, const char *folder) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(e, __func__, "evaluation"));
    VIT_TRY(vit_check_given(folder, __func__, "folder"));
    VIT_TRY(vit_outcome_write(e->outcome, folder));
cleanup:
    return status;
}
