#include "eval/samples.h"

#include "vit/arena.h"
#include "vit/rng.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

/* What is drawn with. */
typedef struct studio {
    const vit_samples_config *config;
    vit_loader *loader;
    vit_batch *batch; /* the chosen pictures, in another epoch each time */
    vit_image picture, tile;
    vit_bytes file;
    vit_resize_scratch scratch;
    vit_samples_sink sink;
    void *context;
} studio;

size_t vit_samples_count(const vit_samples_config *config) {
    size_t there = config->dataset->count;
    return config->pictures < there ? config->pictures : there;
}

/* Through the loader of training. */
static vit_status open_studio(studio *s) {
    const vit_samples_config *c = s->config;
    vit_loader_config config = {
        .dataset = c->dataset,
        .batch_size = vit_samples_count(c),
        .height = c->height,
        .width = c->width,
        .preprocess = c->preprocess,
        .augment = &c->augment,
        .seed = c->seed,
        .decode = c->decode,
        .skip = c->skip,
    };
    vit_status status;
    VIT_TRY(vit_loader_create(&config, omp_get_max_threads(), &s->loader));
    VIT_TRY(vit_batch_create(s->loader, &s->batch));
cleanup:
    return status;
}

static void close_studio(studio *s) {
    vit_resize_scratch_free(&s->scratch);
    vit_bytes_free(&s->file);
    vit_image_free(&s->tile);
    vit_image_free(&s->picture);
    vit_batch_free(s->batch);
    vit_loader_free(s->loader);
}

static int compare_indices(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Where class c begins in the data set, which is sorted by class. */
static uint32_t class_start(const vit_dataset *d, int label) {
    uint32_t low = 0, high = (uint32_t)d->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (d->samples[middle].label < label) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void choose_pictures(studio *s, const uint32_t *order) {
    const vit_dataset *d = s->config->dataset;
    vit_batch *batch = s->batch;
    vit_loader_prepare(s->loader, 0, batch);
    size_t chosen = 0;
    for (uint32_t round = 0; chosen < batch->count; round++) {
        for (size_t i = 0; i < d->class_count && chosen < batch->count; i++) {
            uint32_t start = class_start(d, (int)order[i]);
            uint32_t size = class_start(d, (int)order[i] + 1) - start;
            if (round < size) {
                vit_rng rng = vit_rng_make(s->config->seed, 0, order[i] + 1, VIT_RNG_SHUFFLE);
                batch->indices[chosen++] = start + (vit_rng_below(&rng, size) + round) % size;
            }
        }
    }
    qsort(batch->indices, batch->count, sizeof *batch->indices, compare_indices);
    for (size_t j = 0; j < batch->count; j++) {
        batch->labels[j] = d->samples[batch->indices[j]].label;
    }
}

static vit_status hand_over(const studio *s, size_t j, size_t version) {
    const char *name = s->config->dataset->class_names[s->batch->labels[j]];
    return s->sink(s->context, j, version, &s->tile, name);
}

vit_status vit_image_fit(const vit_image *image, size_t width, size_t height,
                         vit_resize_scratch *scratch, vit_image *out) {
    double w = (double)image->width, h = (double)image->height;
    double scale = fmin(1, fmin((double)width / w, (double)height / h));
    return vit_resize(image, NULL, (size_t)fmax(1, floor(w * scale)),
                      (size_t)fmax(1, floor(h * scale)), VIT_BICUBIC, scratch, out);
}

static vit_status draw_original(studio *s, size_t j) {
    const vit_samples_config *c = s->config;
    const vit_sample *sample = &c->dataset->samples[s->batch->indices[j]];
    const void *bytes;
    size_t size;
    vit_status status;
    VIT_TRY(vit_sample_read(sample, &s->file, &bytes, &size));
    VIT_TRY(vit_image_decode(bytes, size, sample->path, &c->decode, &s->picture));
    VIT_TRY(vit_image_fit(&s->picture, c->width, c->height, &s->scratch, &s->tile));
cleanup:
    return status;
}

static vit_status draw_originals(studio *s) {
    vit_status status = VIT_OK;
    for (size_t j = 0; j < s->batch->count; j++) {
        status = draw_original(s, j);
        if (s->config->skip && vit_is_pictures_fault(status)) {
            status = VIT_OK;
            continue;
        }
        VIT_TRY(status);
        VIT_TRY(hand_over(s, j, 0));
    }
cleanup:
    return status;
}

/* The network's input, (3,H,W), back in bytes. */
static vit_status undo_normalize(studio *s, const float *input) {
    const vit_samples_config *c = s->config;
    const vit_preprocess *p = &c->preprocess;
    size_t plane = c->width * c->height;
    vit_status status = vit_image_reserve(&s->tile, c->width, c->height, "a sample picture");
    for (size_t i = 0; status == VIT_OK && i < 3 * plane; i++) {
        size_t channel = i / plane;
        double value = 255 * ((double)input[i] * p->std[channel] + p->mean[channel]);
        s->tile.pixels[3 * (i % plane) + channel] = (uint8_t)fmin(255, fmax(0, rint(value)));
    }
    return status;
}

/* What the epoch shows of the pictures. */
static vit_status draw_epoch(studio *s, uint32_t epoch) {
    vit_batch *batch = s->batch;
    size_t floats = 3 * s->config->width * s->config->height;
    vit_status status = VIT_OK;
    batch->epoch = epoch;
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t j = 0; j < batch->count; j++) {
        vit_loader_fetch(s->loader, batch, j);
    }
    VIT_TRY(vit_first_error_raise(&batch->error));
    for (size_t j = 0; j < batch->count; j++) {
        if (s->config->skip && batch->failed[j]) {
            continue;
        }
        VIT_TRY(undo_normalize(s, batch->images + j * floats));
        VIT_TRY(hand_over(s, j, epoch + 1));
    }
cleanup:
    return status;
}

vit_status vit_samples_draw(const vit_samples_config *config, vit_samples_sink sink,
                            void *context) {
    studio s = {.config = config, .sink = sink, .context = context};
    uint32_t *order = NULL;
    size_t classes = config->dataset->class_count;
    vit_status status;
    VIT_TRY(open_studio(&s));
    VIT_TRY(vit_alloc((void **)&order, classes, sizeof *order, "classes"));
    vit_shuffle(config->seed, 0, order, classes);
    choose_pictures(&s, order);
    VIT_TRY(draw_originals(&s));
    for (size_t i = 0; i < config->versions; i++) {
        VIT_TRY(draw_epoch(&s, (uint32_t)i));
    }
cleanup:
    vit_free(order);
    close_studio(&s);
    return status;
}
