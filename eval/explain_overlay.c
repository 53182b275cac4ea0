/* A heat map over its picture, without any drawing library. */
#include "eval/explain.h"

#include <math.h>

const uint8_t vit_heat_for[3] = {0xe6, 0x61, 0x01};
const uint8_t vit_heat_against[3] = {0x5e, 0x3c, 0x99};

/* What the model did not see keeps this share of its brightness. */
#define UNSEEN 0.45

double vit_heat_scale(const vit_heat_map *map) {
    double most = 0;
    for (size_t i = 0; i < map->grid_h * map->grid_w; i++) {
        double size = fabs((double)map->values[i]);
        most = size > most ? size : most; /* fmax here breaks gcc 12 for arm64 */
    }
    return most;
}

/* Which of count cells between from and to the middle of pixel at lies in; count: in none. */
static size_t cell_of(size_t at, double from, double to, size_t count) {
    double place = floor(((double)at + 0.5 - from) / (to - from) * (double)count);
    return place >= 0 && place < (double)count ? (size_t)place : count;
}

/* ITU-R BT.601, as Pillow's convert("L"), and drawn together towards the middle, so that a colour
 * shows on black and on white. */
static double grey_of(const uint8_t *rgb) {
    return 60 + 0.65 * (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]);
}

/* weight in -1..1 of the two ends' colours. */
static void paint(double grey, double weight, uint8_t *out) {
    const uint8_t *color = weight < 0 ? vit_heat_against : vit_heat_for;
    double a = fabs(weight);
    for (int c = 0; c < 3; c++) {
        out[c] = (uint8_t)lrint((1 - a) * grey + a * color[c]);
    }
}

vit_status vit_heat_overlay(const vit_heat_map *map, const vit_image *picture, double alpha,
                            vit_image *out) {
    if (!(alpha >= 0 && alpha <= 1)) {
        return vit_fail(VIT_ERROR_ARGUMENT, "alpha: %g (expected 0 to 1)", alpha);
    }
    vit_status status = vit_image_reserve(out, picture->width, picture->height, "heat map");
    double scale = vit_heat_scale(map);
    double factor = scale > 0 ? alpha / scale : 0;
    for (size_t y = 0; status == VIT_OK && y < picture->height; y++) {
        size_t row = cell_of(y, map->box.y0, map->box.y1, map->grid_h);
        for (size_t x = 0; x < picture->width; x++) {
            size_t at = 3 * (y * picture->width + x);
            size_t column = cell_of(x, map->box.x0, map->box.x1, map->grid_w);
            double grey = grey_of(picture->pixels + at);
            if (row == map->grid_h || column == map->grid_w) {
                paint(UNSEEN * grey, 0, out->pixels + at);
                continue;
            }
            double value = (double)map->values[row * map->grid_w + column];
            paint(grey, factor * value, out->pixels + at);
        }
    }
    return status;
}
