#include "data/erase.h"

#include <math.h>
#include <stdbool.h>

const char *const vit_erase_mode_names[] = {"pixel", "const", "rand", 0};

#define MIN_AREA 0.02
#define MAX_AREA (1.0 / 3)
#define MIN_ASPECT 0.3

typedef struct box {
    size_t top, left, height, width;
} box;

static bool draw_box(vit_rng *rng, int count, size_t height, size_t width, box *out) {
    double area = (double)height * (double)width;
    for (int attempt = 0; attempt < 10; attempt++) {
        double target = vit_rng_range(rng, MIN_AREA, MAX_AREA) * area / count;
        double aspect = exp(vit_rng_range(rng, log(MIN_ASPECT), -log(MIN_ASPECT)));
        out->height = (size_t)lround(sqrt(target * aspect));
        out->width = (size_t)lround(sqrt(target / aspect));
        if (out->width < width && out->height < height) {
            out->top = vit_rng_below(rng, (uint32_t)(height - out->height + 1));
            out->left = vit_rng_below(rng, (uint32_t)(width - out->width + 1));
            return true;
        }
    }
    return false;
}

static void fill_box(const box *b, vit_erase_mode mode, vit_rng *rng, size_t channels,
                     size_t height, size_t width, float *image) {
    for (size_t c = 0; c < channels; c++) {
        float value = mode == VIT_ERASE_RAND ? (float)vit_rng_normal(rng) : 0;
        for (size_t y = b->top; y < b->top + b->height; y++) {
            float *row = image + (c * height + y) * width + b->left;
            for (size_t x = 0; x < b->width; x++) {
                row[x] = mode == VIT_ERASE_PIXEL ? (float)vit_rng_normal(rng) : value;
            }
        }
    }
}

void vit_random_erase(const vit_erase_options *options, vit_rng *rng, size_t channels,
                      size_t height, size_t width, float *image) {
    if (!(vit_rng_uniform(rng) < options->reprob)) {
        return;
    }
    int count = options->recount > 1 ? 1 + (int)vit_rng_below(rng, (uint32_t)options->recount) : 1;
    for (int i = 0; i < count; i++) {
        box b;
        if (draw_box(rng, count, height, width, &b)) {
            fill_box(&b, (vit_erase_mode)options->remode, rng, channels, height, width, image);
        }
    }
}
