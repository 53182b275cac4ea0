#include "eval/predict.h"

#include "eval/tta.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

/* What one thread computes with. One picture at a time, so that what is said of a picture does not
 * depend on its neighbours. */
typedef struct worker {
    vit_workspace *workspace;
    vit_bytes file;
    vit_image image;
    vit_transform_scratch scratch;
    vit_arena memory;     /* of the rest */
    float *input;         /* (3,H,W) */
    float *logits;        /* (K) */
    float *probabilities; /* (K) of the mirror image */
} worker;

struct vit_predictor {
    const vit_model_bundle *bundle;
    vit_decode_options decode;
    size_t batch_size;
    int threads;
    bool prefer_latency;
    vit_tta tta;
    size_t worker_count;
    worker *workers;
    vit_predict_input *files; /* (batch_size) of vit_predict_files */
    float *probabilities;     /* (batch_size,K) */
    float *features;          /* (batch_size,D), or NULL */
};

static void plan_worker(const vit_model *model, worker *w) {
    const vit_patch_shape *shape = &model->patch;
    w->input = vit_arena_floats(&w->memory, shape->channels * shape->height * shape->width);
    w->logits = vit_arena_floats(&w->memory, model->head_shape.classes);
    w->probabilities = vit_arena_floats(&w->memory, model->head_shape.classes);
}

static vit_status worker_init(const vit_predictor *p, worker *w) {
    const vit_model *model = &p->bundle->model;
    vit_status status = VIT_OK;
    VIT_TRY(vit_workspace_create(model, 1, VIT_INFERENCE, &w->workspace));
    plan_worker(model, w);
    VIT_TRY(vit_arena_allocate(&w->memory, "input picture"));
    plan_worker(model, w);
cleanup:
    return status;
}

/* No more pictures than the batch are ever in flight. */
static size_t workers_of(size_t batch_size, int threads) {
    return (size_t)threads < batch_size ? (size_t)threads : batch_size;
}

vit_status vit_predictor_bytes(const vit_model *model, size_t batch_size, int threads,
                               size_t *bytes) {
    worker w = {0};
    size_t workspace;
    vit_status status = vit_workspace_bytes(model, 1, VIT_INFERENCE, &workspace);
    if (status != VIT_OK) {
        return status;
    }
    plan_worker(model, &w);
    size_t probabilities =
        vit_size_times(vit_size_times(batch_size, model->head_shape.classes), sizeof(float));
    *bytes = vit_size_plus(
        probabilities, vit_size_times(workers_of(batch_size, threads), workspace + w.memory.used));
    return VIT_OK;
}

static void worker_free(worker *w) {
    vit_workspace_free(w->workspace);
    vit_bytes_free(&w->file);
    vit_image_free(&w->image);
    vit_transform_scratch_free(&w->scratch);
    vit_arena_free(&w->memory);
}

/* Each by the thread that will use it, so that its memory lies near. */
static vit_status create_workers(vit_predictor *p) {
    vit_first_error error = {0};
#pragma omp parallel for schedule(static, 1) num_threads(p->threads)
    for (size_t i = 0; i < p->worker_count; i++) {
        vit_status status = worker_init(p, &p->workers[i]);
        if (status != VIT_OK) {
            vit_first_error_note(&error, (long)i, status);
        }
    }
    return vit_first_error_raise(&error);
}

vit_status vit_predictor_create(const vit_model_bundle *bundle, size_t batch_size, int threads,
                                const vit_data_options *reading, vit_predictor **out) {
    *out = NULL;
    vit_predictor *p = NULL;
    vit_status status = VIT_OK;
    size_t K = bundle->model.head_shape.classes, values;
    if (batch_size < 1 || threads < 1) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "prediction: batch of %zu with %d threads (expected at least 1 of both)",
                        batch_size, threads);
    }
    if (__builtin_mul_overflow(batch_size, K, &values)) {
        return vit_fail(VIT_ERROR_MEMORY, "prediction: batch of %zu does not fit in memory",
                        batch_size);
    }
    VIT_TRY(vit_alloc((void **)&p, 1, sizeof *p, "predictor"));
    p->bundle = bundle;
    p->decode = reading ? vit_data_decode(reading) : vit_decode_defaults();
    p->batch_size = batch_size;
    p->threads = threads;
    size_t count = workers_of(batch_size, threads);
    VIT_TRY(vit_alloc((void **)&p->probabilities, values, sizeof(float), "probabilities"));
    VIT_TRY(vit_alloc((void **)&p->files, batch_size, sizeof *p->files, "predictor"));
    VIT_TRY(vit_alloc((void **)&p->workers, count, sizeof *p->workers, "predictor"));
    p->worker_count = count;
    VIT_TRY(create_workers(p));
    *out = p;
cleanup:
    if (status != VIT_OK) {
        vit_predictor_free(p);
    }
    return status;
}

void vit_predictor_free(vit_predictor *predictor) {
    if (!predictor) {
        return;
    }
    for (size_t i = 0; i < predictor->worker_count; i++) {
        worker_free(&predictor->workers[i]);
    }
    vit_free(predictor->workers);
    vit_free(predictor->files);
    vit_free(predictor->probabilities);
    vit_free(predictor->features);
    vit_free(predictor);
}

void vit_predictor_prefer_latency(vit_predictor *predictor) {
    predictor->prefer_latency = true;
}

void vit_predictor_set_tta(vit_predictor *predictor, vit_tta tta) {
    predictor->tta = tta;
}

vit_status vit_predictor_keep_features(vit_predictor *p) {
    size_t D = (size_t)p->bundle->model.config.embed_dim, values;
    if (__builtin_mul_overflow(p->batch_size, D, &values)) {
        return vit_fail(VIT_ERROR_MEMORY,
                        "prediction: features of %zu pictures do not fit in memory", p->batch_size);
    }
    return p->features ? VIT_OK
                       : vit_alloc((void **)&p->features, values, sizeof(float), "features");
}

const float *vit_predictor_probabilities(const vit_predictor *predictor) {
    return predictor->probabilities;
}

const float *vit_predictor_features(const vit_predictor *predictor) {
    return predictor->features;
}

/* Rows of any stride become rows without gaps. */
static vit_status copy_pixels(const vit_predictor *p, worker *w, const vit_predict_input *input) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_pixels(input->width, input->height, &p->decode, input->name));
    VIT_TRY(vit_image_reserve(&w->image, input->width, input->height, input->name));
    const uint8_t *row = input->rgb;
    for (size_t y = 0; y < input->height; y++) {
        memcpy(w->image.pixels + 3 * y * input->width, row, 3 * input->width);
        row += y + 1 < input->height ? input->stride : 0;
    }
cleanup:
    return status;
}

static vit_status load(const vit_predictor *p, worker *w, const vit_predict_input *input) {
    if (input->rgb) {
        return copy_pixels(p, w, input);
    }
    if (input->bytes) {
        return vit_image_decode(input->bytes, input->size, input->name, &p->decode, &w->image);
    }
    return vit_image_load(input->name, &p->decode, &w->file, &w->image);
}

/* The probabilities and features become the mean of theirs and those of the mirror image. */
static void add_mirror_image(const vit_predictor *p, worker *w, float *probabilities,
                             float *features) {
    const vit_model *model = &p->bundle->model;
    size_t K = model->head_shape.classes;
    vit_mirror_rows(model->patch.channels * model->patch.height, model->patch.width, w->input);
    vit_model_forward(model, p->bundle->params, w->workspace, 1, w->input, NULL, w->logits);
    vit_softmax_rows(1, K, w->logits, w->probabilities);
    vit_mean_of_two(K, probabilities, w->probabilities);
    if (features) {
        vit_mean_of_two((size_t)model->config.embed_dim, features,
                        vit_workspace_features(w->workspace));
    }
}

static vit_status classify(const vit_predictor *p, worker *w, const vit_predict_input *input,
                           float *probabilities, float *features) {
    const vit_model *model = &p->bundle->model;
    size_t K = model->head_shape.classes;
    vit_status status = VIT_OK;
    VIT_TRY(load(p, w, input));
    status = vit_transform_eval(&p->bundle->preprocess, model->patch.height, model->patch.width,
                                &w->image, &w->scratch, w->input);
    if (status != VIT_OK) {
        VIT_TRY(vit_fail_context(status, "%s", input->name));
    }
    vit_model_forward(model, p->bundle->params, w->workspace, 1, w->input, NULL, w->logits);
    vit_softmax_rows(1, K, w->logits, probabilities);
    if (features) {
        memcpy(features, vit_workspace_features(w->workspace),
               (size_t)model->config.embed_dim * sizeof *features);
    }
    if (p->tta == VIT_TTA_FLIP) {
        add_mirror_image(p, w, probabilities, features);
    }
    for (size_t k = 0; k < K; k++) {
        if (!isfinite(probabilities[k])) {
            VIT_TRY(vit_fail(VIT_ERROR_NUMERIC,
                             "%s: the network's output for class %s is not a finite number",
                             input->name, p->bundle->class_names[k]));
        }
    }
cleanup:
    return status;
}

static void fill_nan(float *values, size_t count) {
    for (size_t i = 0; values && i < count; i++) {
        values[i] = NAN;
    }
}

static void predict(const vit_predictor *p, worker *w, const vit_predict_input *input, size_t index,
                    vit_prediction *prediction) {
    double start = vit_seconds();
    const vit_model *model = &p->bundle->model;
    size_t K = model->head_shape.classes, D = (size_t)model->config.embed_dim;
    float *probabilities = p->probabilities + index * K;
    float *features = p->features ? p->features + index * D : NULL;
    *prediction = (vit_prediction){.probabilities = probabilities, .features = features};
    prediction->status = classify(p, w, input, probabilities, features);
    if (prediction->status != VIT_OK) {
        snprintf(prediction->error, sizeof prediction->error, "%s", vit_last_error());
        prediction->probabilities = prediction->features = NULL;
        fill_nan(probabilities, K);
        fill_nan(features, D);
    }
    prediction->milliseconds = (vit_seconds() - start) * 1e3;
}

static int team(const vit_predictor *predictor, size_t count) {
    return (int)(count < predictor->worker_count ? count : predictor->worker_count);
}

vit_status vit_predict(vit_predictor *predictor, const vit_predict_input *inputs, size_t count,
                       vit_prediction *predictions) {
    if (count > predictor->batch_size) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "prediction: %zu pictures at once (expected at most "
                        "%zu)",
                        count, predictor->batch_size);
    }
    if (count == 1 && predictor->prefer_latency) {
        /* Outside of a parallel region, so that the operations share the threads. */
        int before = omp_get_max_threads();
        omp_set_num_threads(predictor->threads);
        predict(predictor, &predictor->workers[0], &inputs[0], 0, &predictions[0]);
        omp_set_num_threads(before);
        return VIT_OK;
    }
    if (count == 0) {
        return VIT_OK;
    }
    /* Also for one picture: what an operation does differs outside of a region. */
#pragma omp parallel num_threads(team(predictor, count))
    {
        worker *w = &predictor->workers[omp_get_thread_num()];
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < count; i++) {
            predict(predictor, w, &inputs[i], i, &predictions[i]);
        }
    }
    return VIT_OK;
}

vit_status vit_predict_files(vit_predictor *predictor, const char *const *paths, size_t count,
                             vit_prediction *predictions) {
    /* A larger count is refused by vit_predict, before it looks at any. */
    for (size_t i = 0; i < count && i < predictor->batch_size; i++) {
        predictor->files[i] = (vit_predict_input){.name = paths[i]};
    }
    return vit_predict(predictor, predictor->files, count, predictions);
}
