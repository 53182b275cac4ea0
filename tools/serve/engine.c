#include "tools/serve/engine.h"

#include "data/encode.h"
#include "data/resize.h"
#include "eval/predict.h"
#include "tools/cmd.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct serve_engine {
    const vit_model_bundle *bundle;
    const vit_data_options *reading;
    serve_metrics *metrics;
    serve_queue *queue;
    size_t max_batch;
    double max_wait_ms;
    int threads;

    pthread_t thread;
    bool started;

    /* How the thread's beginning went, under lock. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
    vit_status status;
    char error[VIT_MESSAGE_MAX];
};

/* The computing thread's own. */
typedef struct batch {
    serve_engine *engine;
    vit_predictor *predictor;
    serve_picture **pictures;  /* (max_batch) */
    vit_predict_input *inputs; /* (max_batch) */
    vit_prediction *predictions;
    /* Of heat maps. */
    vit_image image, small, overlay;
    vit_resize_scratch resize;
} batch;

static vit_status batch_create(serve_engine *engine, batch *b) {
    vit_status status = VIT_OK;
    size_t most = engine->max_batch;
    b->engine = engine;
    VIT_TRY(vit_alloc((void **)&b->pictures, most, sizeof *b->pictures, "batch"));
    VIT_TRY(vit_alloc((void **)&b->inputs, most, sizeof *b->inputs, "batch"));
    VIT_TRY(vit_alloc((void **)&b->predictions, most, sizeof *b->predictions, "batch"));
    VIT_TRY(vit_predictor_create(engine->bundle, most, engine->threads, engine->reading,
                                 &b->predictor));
cleanup:
    return status;
}

static void batch_free(batch *b) {
    vit_predictor_free(b->predictor);
    vit_image_free(&b->image);
    vit_image_free(&b->small);
    vit_image_free(&b->overlay);
    vit_resize_scratch_free(&b->resize);
    vit_free(b->predictions);
    vit_free(b->inputs);
    vit_free(b->pictures);
}

/* What was found out of a picture, from the predictor's memory into the picture's. */
static void take_over(const serve_engine *engine, const vit_prediction *from, serve_picture *to) {
    size_t K = engine->bundle->model.head_shape.classes;
    to->milliseconds = from->milliseconds;
    to->status = from->status;
    if (from->status != VIT_OK) {
        to->error = strdup(from->error);
        return;
    }
    to->status = vit_alloc((void **)&to->probabilities, K, sizeof(float), "probabilities");
    if (to->status == VIT_OK) {
        memcpy(to->probabilities, from->probabilities, K * sizeof(float));
    }
}

/* A picture that comes alone is computed inside of a region, though of one thread, as each of
 * several is: outside of it the products are cut into pieces for all threads, which changes the
 * last bits, and what is said of a picture must not depend on who else asks. */
static vit_status predict(batch *b, size_t count) {
    vit_status status = VIT_OK;
    if (count > 1) {
        return vit_predict(b->predictor, b->inputs, count, b->predictions);
    }
#pragma omp parallel num_threads(1)
    status = vit_predict(b->predictor, b->inputs, count, b->predictions);
    return status;
}

static void compute(batch *b, size_t count) {
    serve_engine *engine = b->engine;
    size_t refused = 0;
    double start = vit_seconds();
    for (size_t i = 0; i < count; i++) {
        /* Never NULL: that would have the predictor read the file of that name. */
        const serve_picture *p = b->pictures[i];
        b->inputs[i] =
            (vit_predict_input){.name = p->name ? p->name : "picture",
                                .bytes = p->bytes.data ? (const void *)p->bytes.data : "",
                                .size = p->bytes.size};
    }
    vit_status status = predict(b, count);
    for (size_t i = 0; i < count; i++) {
        if (status == VIT_OK) {
            take_over(engine, &b->predictions[i], b->pictures[i]);
        } else {
            b->pictures[i]->status = status;
            b->pictures[i]->error = strdup(vit_last_error());
        }
        refused += b->pictures[i]->status != VIT_OK;
    }
    serve_metrics_batch(engine->metrics, count, refused, vit_seconds() - start);
}

/* ---- heat maps ---- */

#define OVERLAY_SIDE 512 /* pixels of the longer side: a page's width, whatever the picture's */

/* The heat map over the picture, which is made smaller first when it is large. */
static vit_status draw_overlay(batch *b, serve_picture *picture) {
    vit_status status = VIT_OK;
    const vit_image *image = &b->image;
    size_t longer = image->width > image->height ? image->width : image->height;
    vit_heat_map map = picture->heat; /* its values are borrowed */
    if (longer > OVERLAY_SIDE) {
        size_t width = (image->width * OVERLAY_SIDE + longer / 2) / longer;
        size_t height = (image->height * OVERLAY_SIDE + longer / 2) / longer;
        width = width > 0 ? width : 1;
        height = height > 0 ? height : 1;
        VIT_TRY(vit_resize(image, NULL, width, height, VIT_BILINEAR, &b->resize, &b->small));
        double across = (double)width / (double)image->width;
        double down = (double)height / (double)image->height;
        map.box = (vit_box){map.box.x0 * across, map.box.y0 * down, map.box.x1 * across,
                            map.box.y1 * down};
        image = &b->small;
    }
    VIT_TRY(vit_heat_overlay(&map, image, VIT_HEAT_ALPHA, &b->overlay));
    VIT_TRY(vit_png_encode(&b->overlay, "overlay", &picture->overlay));
cleanup:
    return status;
}

static vit_status explain(batch *b, serve_picture *picture) {
    const serve_engine *engine = b->engine;
    const serve_query *query = &picture->job->query;
    const vit_explain_options options = {.method = query->method,
                                         .class_index = picture->job->class_index};
    const vit_decode_options decode = vit_data_decode(engine->reading);
    vit_status status = VIT_OK;
    VIT_TRY(
        vit_image_decode(picture->bytes.data, picture->bytes.size, "picture", &decode, &b->image));
    picture->width = b->image.width;
    picture->height = b->image.height;
    status = vit_explain(engine->bundle, &b->image, &options, &picture->heat);
    if (status == VIT_ERROR_UNSUPPORTED) {
        status = VIT_ERROR_ARGUMENT; /* the method does not suit the model */
    }
    VIT_TRY(status);
    if (query->overlay) {
        VIT_TRY(draw_overlay(b, picture));
    }
cleanup:
    return status;
}

static bool wants_heat(const serve_picture *picture) {
    const serve_query *query = &picture->job->query;
    return picture->status == VIT_OK && (query->explain || query->overlay);
}

/* Pictures of one request may be spread over batches; the last one makes it done. */
static void finish(serve_picture *picture) {
    serve_job *job = picture->job;
    if (--job->remaining == 0) {
        job->done(job->context);
    }
}

/* Heat maps take several times as long: those who asked for none do not wait for them. */
static void answer(batch *b, size_t count) {
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (wants_heat(b->pictures[i])) {
            b->pictures[left++] = b->pictures[i];
        } else {
            finish(b->pictures[i]);
        }
    }
    for (size_t i = 0; i < left; i++) {
        serve_picture *picture = b->pictures[i];
        picture->status = explain(b, picture);
        if (picture->status != VIT_OK) {
            picture->error = strdup(vit_last_error());
        }
        finish(picture);
    }
}

static void report(serve_engine *engine, vit_status status) {
    pthread_mutex_lock(&engine->lock);
    engine->ready = true;
    engine->status = status;
    if (status != VIT_OK) {
        snprintf(engine->error, sizeof engine->error, "%s", vit_last_error());
    }
    pthread_cond_signal(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

static void *run(void *context) {
    serve_engine *engine = context;
    batch b = {0};
    omp_set_num_threads(engine->threads); /* a setting of each thread */
    vit_status status = batch_create(engine, &b);
    report(engine, status);
    if (status == VIT_OK) {
        size_t count;
        while ((count = serve_queue_take(engine->queue, engine->max_batch, engine->max_wait_ms,
                                         b.pictures)) > 0) {
            compute(&b, count);
            answer(&b, count);
        }
    }
    batch_free(&b);
    return NULL;
}

vit_status serve_engine_start(const vit_model_bundle *bundle, const serve_settings *settings,
                              const vit_data_options *reading, int threads, serve_metrics *metrics,
                              serve_engine **out) {
    vit_status status = VIT_OK;
    serve_engine *engine = NULL;
    *out = NULL;
    VIT_TRY(vit_alloc((void **)&engine, 1, sizeof *engine, "server"));
    engine->bundle = bundle;
    engine->reading = reading;
    engine->metrics = metrics;
    engine->max_batch = (size_t)settings->max_batch;
    engine->max_wait_ms = settings->max_wait_ms;
    engine->threads = threads;
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->changed, NULL);
    VIT_TRY(serve_queue_create((size_t)settings->queue, &engine->queue));
    int error = pthread_create(&engine->thread, NULL, run, engine);
    if (error != 0) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "cannot start a thread: %s", strerror(error)));
    }
    engine->started = true;
    pthread_mutex_lock(&engine->lock);
    while (!engine->ready) {
        pthread_cond_wait(&engine->changed, &engine->lock);
    }
    status = engine->status;
    pthread_mutex_unlock(&engine->lock);
    if (status != VIT_OK) {
        VIT_TRY(vit_fail(status, "%s", engine->error));
    }
    *out = engine;
cleanup:
    if (status != VIT_OK) {
        serve_engine_free(engine);
    }
    return status;
}

serve_queue *serve_engine_queue(serve_engine *engine) {
    return engine->queue;
}

void serve_engine_stop(serve_engine *engine) {
    if (!engine) {
        return;
    }
    if (engine->queue) {
        serve_queue_close(engine->queue);
    }
    if (engine->started) {
        pthread_join(engine->thread, NULL);
        engine->started = false;
    }
}

void serve_engine_free(serve_engine *engine) {
    if (!engine) {
        return;
    }
    serve_engine_stop(engine);
    serve_queue_free(engine->queue);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    vit_free(engine);
}
