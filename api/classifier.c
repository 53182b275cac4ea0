#include "api/handles.h"

#include "eval/metrics.h"
#include "eval/predict.h"
#include "vit/arena.h"
#include "vit/versioned.h"

#include <omp.h>
#include <string.h>

enum { DEFAULT_TOP = 5 };

struct vit_classifier {
    vit_model *model;
    vit_classifier_options options;
    vit_data_options reading;
    int threads;
    size_t K, top;
    vit_predictor *predictor; /* for capacity pictures; NULL before the first */
    size_t capacity, count;   /* count: of the last call */
    vit_predict_input *inputs;
    vit_prediction *predictions;
    vit_result *results;
    int *best; /* (capacity,top) */
};

vit_status vit_classifier_create(vit_classifier **out, vit_model *model,
                                 const vit_classifier_options *options) {
    *out = NULL;
    vit_classifier *c = NULL;
    int before = 0;
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(model, "vit_classifier_create", "model"));
    VIT_TRY(vit_alloc((void **)&c, 1, sizeof *c, "classifier"));
    if (options) {
        VIT_TRY(
            vit_versioned_take(&c->options, sizeof c->options, options, "vit_classifier_options"));
    }
    if (c->options.tta != VIT_TTA_NONE && c->options.tta != VIT_TTA_FLIP) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "vit_classifier_options: tta is %d (expected VIT_TTA_NONE or "
                         "VIT_TTA_FLIP)",
                         (int)c->options.tta));
    }
    VIT_TRY(vit_threads_begin(c->options.threads, "vit_classifier_options", &before));
    c->threads = omp_get_max_threads();
    vit_threads_end(before);
    VIT_TRY(vit_reading_options(c->options.max_pixels, c->options.background, &c->reading));
    c->options.background = NULL; /* copied */
    c->K = vit_model_get_info(model)->class_count;
    c->top = c->options.top > 0 ? c->options.top : DEFAULT_TOP;
    c->top = c->top < c->K ? c->top : c->K;
    c->model = model;
    vit_model_keep(model);
    *out = c;
    c = NULL;
cleanup:
    vit_classifier_free(c);
    return status;
}

static void release(vit_classifier *c) {
    vit_predictor_free(c->predictor);
    vit_free(c->inputs);
    vit_free(c->predictions);
    vit_free(c->results);
    vit_free(c->best);
    c->predictor = NULL;
    c->inputs = NULL;
    c->predictions = NULL;
    c->results = NULL;
    c->best = NULL;
    c->capacity = 0;
}

void vit_classifier_free(vit_classifier *c) {
    if (c) {
        release(c);
        vit_model_close(c->model);
        vit_free(c);
    }
}

/* All for so many pictures, or nothing. Workspaces are made anew, so capacity grows by half at
 * least. */
static vit_status grow(vit_classifier *c, size_t count) {
    vit_status status = VIT_OK;
    size_t capacity = count > c->capacity + c->capacity / 2 ? count : c->capacity + c->capacity / 2;
    release(c);
    VIT_TRY(vit_alloc((void **)&c->inputs, capacity, sizeof *c->inputs, "list of pictures"));
    VIT_TRY(vit_alloc((void **)&c->predictions, capacity, sizeof *c->predictions, "predictions"));
    VIT_TRY(vit_alloc((void **)&c->results, capacity, sizeof *c->results, "results"));
    VIT_TRY(vit_alloc((void **)&c->best, vit_size_times(capacity, c->top), sizeof *c->best,
                      "best classes"));
    VIT_TRY(vit_predictor_create(&vit_model_handle_of(c->model)->bundle, capacity, c->threads,
                                 &c->reading, &c->predictor));
    vit_predictor_set_tta(c->predictor, c->options.tta);
    if (c->options.prefer_latency) {
        vit_predictor_prefer_latency(c->predictor);
    }
    if (c->options.features) {
        VIT_TRY(vit_predictor_keep_features(c->predictor));
    }
    c->capacity = capacity;
cleanup:
    if (status != VIT_OK) {
        release(c);
    }
    return status;
}

static vit_status check_rgb(const vit_picture *picture, const char *name, size_t index) {
    ptrdiff_t stride = picture->stride < 0 ? -picture->stride : picture->stride;
    if (picture->width == 0 || picture->height == 0 || picture->width > PTRDIFF_MAX / 3 ||
        (stride != 0 && (size_t)stride < 3 * picture->width)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s (number %zu): %zu x %zu pixels with a stride of %td (expected at least "
                        "1 x 1, and 3 bytes for each pixel of a row)",
                        name, index, picture->width, picture->height, picture->stride);
    }
    return VIT_OK;
}

static vit_status input_of(const vit_picture *picture, size_t index, vit_predict_input *input) {
    *input = (vit_predict_input){.name = picture->name ? picture->name : "picture"};
    if (picture->kind == VIT_PICTURE_FILE && picture->name) {
        /* What is "-" to the command is a file to a program. */
        input->name = strcmp(picture->name, "-") == 0 ? "./-" : picture->name;
        return VIT_OK;
    }
    if (picture->kind == VIT_PICTURE_ENCODED && (picture->data || picture->size == 0)) {
        input->bytes = picture->data ? picture->data : (const void *)"";
        input->size = picture->size;
        return VIT_OK;
    }
    if (picture->kind == VIT_PICTURE_RGB && picture->data) {
        input->rgb = picture->data;
        input->width = picture->width;
        input->height = picture->height;
        input->stride = picture->stride != 0 ? picture->stride : (ptrdiff_t)(3 * picture->width);
        return check_rgb(picture, input->name, index);
    }
    return vit_fail(VIT_ERROR_ARGUMENT,
                    "vit_classify: picture %zu: kind %d, name %s, data %s (expected a file with a "
                    "name, or bytes or pixels with data)",
                    index, (int)picture->kind, picture->name ? picture->name : "NULL",
                    picture->data ? "given" : "NULL");
}

static void give_result(vit_classifier *c, size_t i) {
    const vit_prediction *p = &c->predictions[i];
    vit_result *r = &c->results[i];
    *r = (vit_result){.status = p->status, .message = p->error, .milliseconds = p->milliseconds};
    if (p->status == VIT_OK) {
        r->probabilities = p->probabilities;
        r->features = p->features;
        r->top_count = c->top;
        r->top = c->best + i * c->top;
        vit_top_k(c->K, p->probabilities, c->top, c->best + i * c->top);
    }
}

/* The inputs of the first count pictures are filled in. */
static vit_status classify(vit_classifier *c, size_t count) {
    vit_status status = vit_predict(c->predictor, c->inputs, count, c->predictions);
    for (size_t i = 0; status == VIT_OK && i < count; i++) {
        give_result(c, i);
    }
    c->count = status == VIT_OK ? count : 0;
    return status;
}

vit_status vit_classify(vit_classifier *c, const vit_picture *pictures, size_t count) {
    vit_status status = VIT_OK;
    c->count = 0;
    if (count > c->capacity) {
        VIT_TRY(grow(c, count));
    }
    for (size_t i = 0; i < count; i++) {
        VIT_TRY(input_of(&pictures[i], i, &c->inputs[i]));
    }
    if (count > 0) {
        VIT_TRY(classify(c, count));
    }
cleanup:
    return status;
}

vit_status vit_classify_files(vit_classifier *c, const char *const *paths, size_t count) {
    vit_status status = VIT_OK;
    c->count = 0;
    if (count > c->capacity) {
        VIT_TRY(grow(c, count));
    }
    for (size_t i = 0; i < count; i++) {
        const vit_picture picture = vit_picture_file(paths[i]);
        VIT_TRY(input_of(&picture, i, &c->inputs[i]));
    }
    if (count > 0) {
        VIT_TRY(classify(c, count));
    }
cleanup:
    return status;
}

const vit_result *vit_classifier_get_result(const vit_classifier *c, size_t index) {
    return index < c->count ? &c->results[index] : NULL;
}

const float *vit_classifier_get_probabilities(const vit_classifier *c) {
    return c->count > 0 ? vit_predictor_probabilities(c->predictor) : NULL;
}

const float *vit_classifier_get_features(const vit_classifier *c) {
    return c->count > 0 ? vit_predictor_features(c->predictor) : NULL;
}
