#include "eval/deletion.h"

#include "data/sampler.h"
#include "vit/arena.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- orders ---- */

typedef struct ranked {
    float value;
    uint32_t patch;
} ranked;

static int compare_ranked(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) {
        return x->value > y->value ? -1 : 1;
    }
    return x->patch < y->patch ? -1 : x->patch > y->patch;
}

vit_status vit_deletion_order(const vit_heat_map *map, uint32_t *order) {
    size_t count = map->grid_h * map->grid_w;
    ranked *list = NULL;
    vit_status status = vit_alloc((void **)&list, count, sizeof *list, "order of the patches");
    for (size_t i = 0; status == VIT_OK && i < count; i++) {
        list[i] = (ranked){map->values[i], (uint32_t)i};
    }
    if (status == VIT_OK) {
        qsort(list, count, sizeof *list, compare_ranked);
    }
    for (size_t i = 0; status == VIT_OK && i < count; i++) {
        order[i] = list[i].patch;
    }
    vit_free(list);
    return status;
}

void vit_deletion_reverse(size_t count, uint32_t *order) {
    for (size_t i = 0; i < count / 2; i++) {
        uint32_t swap = order[i];
        order[i] = order[count - 1 - i];
        order[count - 1 - i] = swap;
    }
}

/* ---- curves ---- */

/* What one thread computes with. */
typedef struct deletion {
    const vit_model_bundle *bundle;
    vit_workspace *workspace;
    vit_transform_scratch scratch;
    float *input, *hidden; /* (3,H,W) whole, and with patches hidden */
    float *logits;         /* (K) */
} deletion;

static void deletion_free(deletion *d) {
    vit_workspace_free(d->workspace);
    vit_transform_scratch_free(&d->scratch);
    vit_free(d->input);
    vit_free(d->hidden);
    vit_free(d->logits);
}

static size_t pixels_of(const vit_patch_shape *s) {
    return s->channels * s->height * s->width;
}

static vit_status deletion_init(deletion *d, const vit_model_bundle *bundle,
                                const vit_image *picture) {
    const vit_model *model = &bundle->model;
    const vit_patch_shape *s = &model->patch;
    vit_status status = VIT_OK;
    *d = (deletion){.bundle = bundle};
    VIT_TRY(vit_workspace_create(model, 1, VIT_INFERENCE, &d->workspace));
    VIT_TRY(vit_alloc((void **)&d->input, pixels_of(s), sizeof(float), "input picture"));
    VIT_TRY(vit_alloc((void **)&d->hidden, pixels_of(s), sizeof(float), "input picture"));
    VIT_TRY(vit_alloc((void **)&d->logits, model->head_shape.classes, sizeof(float), "logits"));
    VIT_TRY(vit_transform_eval(&bundle->preprocess, s->height, s->width, picture, &d->scratch,
                               d->input));
cleanup:
    return status;
}

static void hide(const vit_patch_shape *s, size_t patch, float *input) {
    size_t P = s->patch, columns = s->width / P;
    for (size_t row = 0; row < s->channels * P; row++) {
        size_t y = (row / P) * s->height + patch / columns * P + row % P;
        memset(input + y * s->width + patch % columns * P, 0, P * sizeof *input);
    }
}

static float probability(deletion *d, size_t class_index) {
    const vit_model *model = &d->bundle->model;
    vit_model_forward(model, d->bundle->params, d->workspace, 1, d->hidden, NULL, d->logits);
    vit_softmax_rows(1, model->head_shape.classes, d->logits, d->logits);
    return d->logits[class_index];
}

/* By trapezoids. */
static double run_order(deletion *d, size_t class_index, const uint32_t *order, float *curve) {
    const vit_patch_shape *s = &d->bundle->model.patch;
    size_t patches = vit_patch_count(s);
    double area = 0, before = 0;
    memcpy(d->hidden, d->input, pixels_of(s) * sizeof *d->hidden);
    for (size_t i = 0; i <= patches; i++) {
        if (i > 0) {
            hide(s, order[i - 1], d->hidden);
        }
        double p = (double)probability(d, class_index);
        area += i > 0 ? (before + p) / 2 / (double)patches : 0;
        before = p;
        if (curve) {
            curve[i] = (float)p;
        }
    }
    return area;
}

static bool is_order(size_t patches, const uint32_t *order, unsigned char *seen) {
    memset(seen, 0, patches);
    for (size_t i = 0; i < patches; i++) {
        if (order[i] >= patches || seen[order[i]]++) {
            return false;
        }
    }
    return true;
}

static vit_status check_orders(const vit_model *model, int class_index, size_t count,
                               const uint32_t *orders) {
    size_t patches = vit_patch_count(&model->patch);
    unsigned char *seen = NULL;
    if (class_index < 0 || class_index >= model->config.num_classes) {
        return vit_fail(VIT_ERROR_ARGUMENT, "class %d (expected 0 to %d)", class_index,
                        model->config.num_classes - 1);
    }
    vit_status status = vit_alloc((void **)&seen, patches, 1, "order of the patches");
    for (size_t i = 0; status == VIT_OK && i < count; i++) {
        if (!is_order(patches, orders + i * patches, seen)) {
            status = vit_fail(VIT_ERROR_ARGUMENT,
                              "order %zu to hide patches in (expected each of 0 to %zu once)", i,
                              patches - 1);
        }
    }
    vit_free(seen);
    return status;
}

/* Orders are shared out among threads, so that each forward runs on one. */
vit_status vit_deletion_curve(const vit_model_bundle *bundle, const vit_image *picture,
                              int class_index, size_t count, const uint32_t *orders, float *curves,
                              double *areas) {
    size_t patches = vit_patch_count(&bundle->model.patch), most = (size_t)omp_get_max_threads();
    size_t threads = count < most ? count : most;
    deletion *workers = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(check_orders(&bundle->model, class_index, count, orders));
    VIT_TRY(vit_alloc((void **)&workers, threads, sizeof *workers, "deletion"));
    for (size_t i = 0; i < threads; i++) {
        VIT_TRY(deletion_init(&workers[i], bundle, picture));
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads((int)(threads > 0 ? threads : 1))
    for (size_t i = 0; i < count; i++) {
        areas[i] = run_order(&workers[omp_get_thread_num()], (size_t)class_index,
                             orders + i * patches, curves ? curves + i * (patches + 1) : NULL);
    }
cleanup:
    for (size_t i = 0; workers && i < threads; i++) {
        deletion_free(&workers[i]);
    }
    vit_free(workers);
    return status;
}

vit_status vit_deletion_random(const vit_model_bundle *bundle, const vit_image *picture,
                               int class_index, size_t count, uint64_t seed, double *area) {
    size_t patches = vit_patch_count(&bundle->model.patch), values;
    uint32_t *orders = NULL;
    double *areas = NULL;
    vit_status status = VIT_OK;
    *area = 0;
    if (count < 1 || __builtin_mul_overflow(count, patches, &values)) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%zu random orders (expected at least 1)", count);
    }
    VIT_TRY(vit_alloc((void **)&orders, values, sizeof *orders, "orders of the patches"));
    VIT_TRY(vit_alloc((void **)&areas, count, sizeof *areas, "areas"));
    for (size_t i = 0; i < count; i++) {
        vit_shuffle(seed, (uint32_t)i, orders + i * patches, patches);
    }
    VIT_TRY(vit_deletion_curve(bundle, picture, class_index, count, orders, NULL, areas));
    for (size_t i = 0; i < count; i++) {
        *area += areas[i] / (double)count;
    }
cleanup:
    vit_free(orders);
    vit_free(areas);
    return status;
}
