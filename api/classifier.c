#include "api/handles.h"

#include "eval/metrics.h"
#include "eval/predict.h"
#include "vit/arena.h"
#include "vit/versioned.h"

#include <omp.h>
#include <string.h>

enum {
    DEFAULT_TOP = 5,
    EACH = 32 /* pictures for each thread that are computed between two stops to collect results */
};

struct vit_classifier {
    vit_model *model;
    vit_classifier_options options;
    vit_data_options reading;
    int threads;
    size_t K, D, top;

    /* For up to chunk pictures: of a call with more, one part after the other. */
    size_t chunk;
    vit_predictor *predictor; /* NULL before the first */
    vit_predict_input *inputs;
    vit_prediction *predictions;

    /* For up to capacity pictures, of which the last call had count. */
    size_t capacity, count;
    vit_result *results;
    char **messages;      /* (capacity) of those that failed, else NULL */
    float *probabilities; /* (capacity,K) */
    float *features;      /* (capacity,D), or NULL */
    int *best;            /* (capacity,top) */
};

/* What a call is given: one or the other. */
typedef struct given {
    const vit_picture *pictures;
    const char *const *paths;
} given;

vit_status vit_classifier_create(vit_classifier **out, vit_model *model,
                                 const vit_classifier_options *options) {
    VIT_BEGIN_OUT(out);
    vit_classifier *c = NULL;
    int before = 0;
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(model, __func__, "model"));
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
    c->D = vit_model_get_info(model)->feature_count;
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

/* ---- memory ---- */

static void free_messages(vit_classifier *c) {
    for (size_t i = 0; i < c->count; i++) {
        vit_free(c->messages[i]);
        c->messages[i] = NULL;
    }
    c->count = 0;
}

static void free_predictor(vit_classifier *c) {
    vit_predictor_free(c->predictor);
    vit_free(c->inputs);
    vit_free(c->predictions);
    c->predictor = NULL;
    c->inputs = NULL;
    c->predictions = NULL;
    c->chunk = 0;
}

static void free_results(vit_classifier *c) {
    free_messages(c);
    vit_free(c->results);
    vit_free(c->messages);
    vit_free(c->probabilities);
    vit_free(c->features);
    vit_free(c->best);
    c->results = NULL;
    c->messages = NULL;
    c->probabilities = c->features = NULL;
    c->best = NULL;
    c->capacity = 0;
}

void vit_classifier_free(vit_classifier *c) {
    if (c) {
        free_predictor(c);
        free_results(c);
        vit_model_close(c->model);
        vit_free(c);
    }
}

/* At least count, and half more than before, so that growing calls do not begin anew each time. */
static size_t larger(size_t before, size_t count) {
    return count > before + before / 2 ? count : before + before / 2;
}

static vit_status grow_predictor(vit_classifier *c, size_t count) {
    vit_status status = VIT_OK;
    size_t chunk = larger(c->chunk, count);
    free_predictor(c);
    VIT_TRY(vit_alloc((void **)&c->inputs, chunk, sizeof *c->inputs, "list of pictures"));
    VIT_TRY(vit_alloc((void **)&c->predictions, chunk, sizeof *c->predictions, "predictions"));
    VIT_TRY(vit_predictor_create(&vit_model_handle_of(c->model)->bundle, chunk, c->threads,
                                 &c->reading, &c->predictor));
    vit_predictor_set_tta(c->predictor, c->options.tta);
    if (c->options.prefer_latency) {
        vit_predictor_prefer_latency(c->predictor);
    }
    if (c->options.features) {
        VIT_TRY(vit_predictor_keep_features(c->predictor));
    }
    c->chunk = chunk;
cleanup:
    if (status != VIT_OK) {
        free_predictor(c);
    }
    return status;
}

static vit_status grow_results(vit_classifier *c, size_t count) {
    vit_status status = VIT_OK;
    size_t n = larger(c->capacity, count);
    free_results(c);
    VIT_TRY(vit_alloc((void **)&c->results, n, sizeof *c->results, "results"));
    VIT_TRY(vit_alloc((void **)&c->messages, n, sizeof *c->messages, "results"));
    VIT_TRY(vit_alloc((void **)&c->probabilities, vit_size_times(n, c->K), sizeof(float),
                      "probabilities"));
    VIT_TRY(
        vit_alloc((void **)&c->best, vit_size_times(n, c->top), sizeof *c->best, "best classes"));
    if (c->options.features) {
        VIT_TRY(
            vit_alloc((void **)&c->features, vit_size_times(n, c->D), sizeof(float), "features"));
    }
    c->capacity = n;
cleanup:
    if (status != VIT_OK) {
        free_results(c);
    }
    return status;
}

/* ---- pictures ---- */

static vit_picture picture_at(const given *g, size_t i) {
    return g->pictures ? g->pictures[i] : vit_picture_file(g->paths[i]);
}

static vit_status check_rgb(const vit_picture *picture, const char *name, size_t index) {
    size_t stride = picture->stride < 0 ? 0 - (size_t)picture->stride : (size_t)picture->stride;
    if (picture->width == 0 || picture->height == 0 || picture->width > PTRDIFF_MAX / 3 ||
        (stride != 0 && stride < 3 * picture->width)) {
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

/* ---- results ---- */

static void give_result(vit_classifier *c, size_t i, const vit_prediction *p) {
    vit_result *r = &c->results[i];
    *r = (vit_result){.status = p->status, .message = "", .milliseconds = p->milliseconds};
    if (p->status != VIT_OK) {
        c->messages[i] = vit_strdup(p->error);
        r->message = c->messages[i] ? c->messages[i] : vit_status_string(p->status);
        return;
    }
    r->probabilities = c->probabilities + i * c->K;
    r->features = c->features ? c->features + i * c->D : NULL;
    r->top_count = c->top;
    r->top = c->best + i * c->top;
    vit_top_k(c->K, r->probabilities, c->top, c->best + i * c->top);
}

/* Pictures first to first + n - 1, all of which are as they should be. */
static vit_status classify_chunk(vit_classifier *c, const given *g, size_t first, size_t n) {
    vit_status status = VIT_OK;
    for (size_t i = 0; i < n; i++) {
        const vit_picture picture = picture_at(g, first + i);
        VIT_TRY(input_of(&picture, first + i, &c->inputs[i]));
    }
    VIT_TRY(vit_predict(c->predictor, c->inputs, n, c->predictions));
    memcpy(c->probabilities + first * c->K, vit_predictor_probabilities(c->predictor),
           n * c->K * sizeof(float));
    if (c->features) {
        memcpy(c->features + first * c->D, vit_predictor_features(c->predictor),
               n * c->D * sizeof(float));
    }
    for (size_t i = 0; i < n; i++) {
        give_result(c, first + i, &c->predictions[i]);
    }
    c->count = first + n;
cleanup:
    return status;
}

static vit_status classify(vit_classifier *c, const given *g, size_t count) {
    vit_status status = VIT_OK;
    size_t most = EACH * (size_t)c->threads, chunk = count < most ? count : most;
    free_messages(c);
    if (count > 0 && !g->pictures && !g->paths) {
        VIT_TRY(
            vit_fail(VIT_ERROR_ARGUMENT, "vit_classify: the list of %zu pictures is NULL", count));
    }
    for (size_t i = 0; i < count; i++) { /* a mistake of the caller's is found before any work */
        const vit_picture picture = picture_at(g, i);
        vit_predict_input input;
        VIT_TRY(input_of(&picture, i, &input));
    }
    if (count > c->capacity) {
        VIT_TRY(grow_results(c, count));
    }
    if (chunk > c->chunk) {
        VIT_TRY(grow_predictor(c, chunk));
    }
    for (size_t first = 0, n; first < count; first += n) {
        n = count - first < chunk ? count - first : chunk;
        n -= count - first - n == 1; /* the last is not alone, which may mean other bits */
        VIT_TRY(classify_chunk(c, g, first, n));
    }
cleanup:
    if (status != VIT_OK) {
        free_messages(c);
    }
    return status;
}

vit_status vit_classify(vit_classifier *c, const vit_picture *pictures, size_t count) {
    const given g = {.pictures = pictures};
    vit_status status = vit_check_given(c, __func__, "classifier");
    return status == VIT_OK ? classify(c, &g, count) : status;
}

vit_status vit_classify_files(vit_classifier *c, const char *const *paths, size_t count) {
    const given g = {.paths = paths};
    vit_status status = vit_check_given(c, __func__, "classifier");
    return status == VIT_OK ? classify(c, &g, count) : status;
}

const vit_result *vit_classifier_get_result(const vit_classifier *c, size_t index) {
    return c && index < c->count ? &c->results[index] : NULL;
}

const float *vit_classifier_get_probabilities(const vit_classifier *c) {
    return c && c->count > 0 ? c->probabilities : NULL;
}

const float *vit_classifier_get_features(const vit_classifier *c) {
    return c && c->count > 0 ? c->features : NULL;
}
