#include "vit/gemm.h"
#include "vit/layers.h"

#include <string.h>

/* Floats of pictures below which threads are not started. */
enum { WORTH_SHARING = 1 << 16 };

static size_t patch_floats(const vit_patch_shape *s) {
    return s->channels * s->patch * s->patch;
}

size_t vit_patch_count(const vit_patch_shape *shape) {
    return (shape->height / shape->patch) * (shape->width / shape->patch);
}

/* One row of patches of a picture, (C,H,W) to (width/P, C*P*P): P floats in a row stay together. */
static void gather(const vit_patch_shape *s, size_t patch_row, const float *image, float *columns) {
    size_t P = s->patch;
    for (size_t patch = 0; patch < s->width / P; patch++) {
        for (size_t c = 0; c < s->channels; c++) {
            const float *from = image + (c * s->height + patch_row * P) * s->width + patch * P;
            for (size_t r = 0; r < P; r++, columns += P) {
                memcpy(columns, from + r * s->width, P * sizeof *columns);
            }
        }
    }
}

/* The way back; pixels outside of whole patches are 0. */
static void scatter(const vit_patch_shape *s, const float *columns, float *image) {
    size_t P = s->patch;
    memset(image, 0, s->channels * s->height * s->width * sizeof *image);
    for (size_t patch_row = 0; patch_row < s->height / P; patch_row++) {
        for (size_t patch = 0; patch < s->width / P; patch++) {
            for (size_t c = 0; c < s->channels; c++) {
                float *to = image + (c * s->height + patch_row * P) * s->width + patch * P;
                for (size_t r = 0; r < P; r++, columns += P) {
                    memcpy(to + r * s->width, columns, P * sizeof *columns);
                }
            }
        }
    }
}

void vit_patch_gather(const vit_patch_shape *shape, size_t B, const float *images, float *columns) {
    const vit_patch_shape *s = shape;
    size_t rows = s->height / s->patch;
    size_t pixels = s->channels * s->height * s->width;
    size_t row_floats = s->width / s->patch * patch_floats(s);
    if (vit_may_parallelise() && B * pixels >= WORTH_SHARING) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < B * rows; i++) {
            gather(s, i % rows, images + i / rows * pixels, columns + i * row_floats);
        }
        return;
    }
    for (size_t i = 0; i < B * rows; i++) {
        gather(s, i % rows, images + i / rows * pixels, columns + i * row_floats);
    }
}

void vit_patch_embed_forward(const vit_patch_shape *shape, size_t B, const float *images,
                             const float *weight, const float *bias, float *columns,
                             float *tokens) {
    size_t patches = vit_patch_count(shape);
    size_t K = patch_floats(shape);
    size_t D = shape->dim;
    vit_patch_gather(shape, B, images, columns);
    for (size_t b = 0; b < B; b++) {
        float *y = tokens + (b * (shape->prefix + patches) + shape->prefix) * D;
        vit_linear_forward(patches, K, D, columns + b * patches * K, weight, bias, y);
    }
}

void vit_patch_embed_backward(const vit_patch_shape *shape, size_t B, const float *columns,
                              const float *weight, const float *dtokens, float *dweight,
                              float *dbias, float *dcolumns, float *dimages) {
    size_t patches = vit_patch_count(shape);
    size_t K = patch_floats(shape);
    size_t D = shape->dim;
    for (size_t b = 0; b < B; b++) {
        const float *dy = dtokens + (b * (shape->prefix + patches) + shape->prefix) * D;
        vit_linear_backward(patches, K, D, columns + b * patches * K, weight, dy,
                            dimages ? dcolumns : NULL, dweight, dbias);
        if (dimages) {
            scatter(shape, dcolumns, dimages + b * shape->channels * shape->height * shape->width);
        }
    }
}
