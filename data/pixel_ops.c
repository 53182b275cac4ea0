#include "data/pixel_ops.h"

#include <math.h>
#include <string.h>

/* ---- one value at a time ---- */

static size_t byte_count(const vit_image *image) {
    return image->width * image->height * 3;
}

/* One table of 256 values for each channel. */
static void apply_tables(vit_image *image, uint8_t tables[3][256]) {
    size_t pixels = image->width * image->height;
    for (size_t i = 0; i < pixels; i++) {
        uint8_t *p = image->pixels + 3 * i;
        p[0] = tables[0][p[0]];
        p[1] = tables[1][p[1]];
        p[2] = tables[2][p[2]];
    }
}

static void apply_table(vit_image *image, const uint8_t table[256]) {
    size_t n = byte_count(image);
    for (size_t i = 0; i < n; i++) {
        image->pixels[i] = table[image->pixels[i]];
    }
}

static void histograms(const vit_image *image, size_t counts[3][256]) {
    memset(counts, 0, 3 * sizeof *counts);
    size_t pixels = image->width * image->height;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        counts[0][p[0]]++;
        counts[1][p[1]]++;
        counts[2][p[2]]++;
    }
}

static uint8_t clip_to_byte(double value) {
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

void vit_op_autocontrast(vit_image *image) {
    size_t counts[3][256];
    uint8_t tables[3][256];
    histograms(image, counts);
    for (int c = 0; c < 3; c++) {
        int low = 0, high = 255;
        while (low < 255 && counts[c][low] == 0) {
            low++;
        }
        while (high > 0 && counts[c][high] == 0) {
            high--;
        }
        double scale = high > low ? 255.0 / (high - low) : 1.0;
        double offset = high > low ? -low * scale : 0.0;
        for (int i = 0; i < 256; i++) {
            tables[c][i] = clip_to_byte(i * scale + offset);
        }
    }
    apply_tables(image, tables);
}

/* Pillow's equalize spreads the pixels over 255 steps, the brightest value's own pixels not
 * counted. */
static void equalize_table(const size_t counts[256], uint8_t table[256]) {
    size_t total = 0, last = 0;
    int values = 0;
    for (int i = 0; i < 256; i++) {
        if (counts[i] > 0) {
            total += counts[i];
            last = counts[i];
            values++;
        }
    }
    size_t step = values > 1 ? (total - last) / 255 : 0;
    size_t level = step / 2;
    for (int i = 0; i < 256; i++) {
        size_t value = step > 0 ? level / step : (size_t)i;
        table[i] = (uint8_t)(value > 255 ? 255 : value);
        level += counts[i];
    }
}

void vit_op_equalize(vit_image *image) {
    size_t counts[3][256];
    uint8_t tables[3][256];
    histograms(image, counts);
    for (int c = 0; c < 3; c++) {
        equalize_table(counts[c], tables[c]);
    }
    apply_tables(image, tables);
}

void vit_op_invert(vit_image *image) {
    vit_op_solarize(image, 0);
}

void vit_op_posterize(vit_image *image, int bits) {
    uint8_t table[256];
    int mask = bits >= 8 ? 255 : ~((1 << (8 - bits)) - 1) & 255;
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)(i & mask);
    }
    apply_table(image, table);
}

void vit_op_solarize(vit_image *image, int threshold) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)(i < threshold ? i : 255 - i);
    }
    apply_table(image, table);
}

void vit_op_solarize_add(vit_image *image, int add) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)(i >= 128 ? i : i + add > 255 ? 255 : i + add);
    }
    apply_table(image, table);
}

/* ---- blends ---- */

/* As Image.blend computes it: single precision, truncated. */
static uint8_t blend(int degenerate, int value, float factor) {
    float mixed = (float)degenerate + factor * (float)(value - degenerate);
    return mixed <= 0 ? 0 : mixed >= 255 ? 255 : (uint8_t)mixed;
}

/* ITU-R 601 luma in 16-bit fixed point. */
static int luma(const uint8_t *p) {
    return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

void vit_op_color(vit_image *image, double factor) {
    size_t pixels = image->width * image->height;
    for (size_t i = 0; i < pixels; i++) {
        uint8_t *p = image->pixels + 3 * i;
        int grey = luma(p);
        for (int c = 0; c < 3; c++) {
            p[c] = blend(grey, p[c], (float)factor);
        }
    }
}

static void blend_with_constant(vit_image *image, int constant, double factor) {
    uint8_t table[256];
    for (int i = 0; i < 256; i++) {
        table[i] = blend(constant, i, (float)factor);
    }
    apply_table(image, table);
}

void vit_op_contrast(vit_image *image, double factor) {
    size_t pixels = image->width * image->height;
    uint64_t sum = 0;
    for (size_t i = 0; i < pixels; i++) {
        sum += (uint64_t)luma(image->pixels + 3 * i);
    }
    double mean = pixels > 0 ? (double)sum / (double)pixels : 0;
    blend_with_constant(image, (int)(mean + 0.5), factor);
}

void vit_op_brightness(vit_image *image, double factor) {
    blend_with_constant(image, 0, factor);
}

/* ImageFilter.SMOOTH: weights 1 and 5 in the middle, over 13. */
static int smoothed(const uint8_t *p, size_t stride) {
    const float side = 1.0f / 13.0f, middle = 5.0f / 13.0f;
    float sum = 0.5f;
    for (int row = 1; row >= -1; row--) {
        const uint8_t *q = p + row * (ptrdiff_t)stride;
        sum += (float)q[-3] * side + (float)q[0] * (row == 0 ? middle : side) + (float)q[3] * side;
    }
    return sum >= 255 ? 255 : (int)sum;
}

vit_status vit_op_sharpness(const vit_image *image, double factor, vit_image *out) {
    vit_status status = vit_image_reserve(out, image->width, image->height, "sharpness");
    if (status != VIT_OK) {
        return status;
    }
    size_t stride = image->width * 3;
    memcpy(out->pixels, image->pixels, byte_count(image)); /* the border stays as it is */
    for (size_t y = 1; y + 1 < image->height; y++) {
        for (size_t x = 3; x + 3 < stride; x++) {
            const uint8_t *p = image->pixels + y * stride + x;
            out->pixels[y * stride + x] = blend(smoothed(p, stride), *p, (float)factor);
        }
    }
    return VIT_OK;
}

/* ---- Gaussian blur ---- */

enum { BLUR_PASSES = 3 };

/* The box radius whose BLUR_PASSES-fold convolution has the variance of the Gaussian; fractional.
 */
static double box_radius(double radius) {
    double variance = radius * radius / BLUR_PASSES;
    double length = sqrt(12.0 * variance + 1.0); /* of the ideal box */
    double whole = floor((length - 1.0) / 2.0);
    double fraction = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) /
                      (6 * (variance - (whole + 1) * (whole + 1)));
    return whole + fraction;
}

/* A row or column of one channel: n values, `step` bytes apart. */
static void box_blur_line(const uint8_t *in, uint8_t *out, size_t n, size_t step, double radius) {
    long whole = (long)radius, last = (long)n - 1;
    /* 8.24 fixed point, as Pillow. */
    uint32_t full = (uint32_t)((1 << 24) / (radius * 2 + 1));
    uint32_t edge = ((1u << 24) - (uint32_t)(whole * 2 + 1) * full) / 2;
    uint32_t sum = 0;
#define AT(i) in[(size_t)((i) < 0 ? 0 : (i) > last ? last : (i)) * step]
    for (long i = -whole - 1; i < whole; i++) {
        sum += AT(i);
    }
    for (long x = 0; x <= last; x++) {
        sum += AT(x + whole);
        sum -= AT(x - whole - 1);
        uint32_t edges = (uint32_t)AT(x - whole - 1) + AT(x + whole + 1);
        out[(size_t)x * step] = (uint8_t)((sum * full + edges * edge + (1u << 23)) >> 24);
    }
#undef AT
}

vit_status vit_op_gaussian_blur(vit_image *image, double radius, vit_image *scratch) {
    vit_status status = vit_image_reserve(scratch, image->width, image->height, "blur");
    if (status != VIT_OK || radius <= 0) {
        return status;
    }
    double box = box_radius(radius);
    size_t stride = image->width * 3;
    for (int direction = 0; direction < 2; direction++) {
        for (int pass = 0; pass < BLUR_PASSES; pass++) {
            for (size_t i = 0; i < (direction ? stride : 3 * image->height); i++) {
                /* Lines along the rows, one channel at a time, then along the columns. */
                size_t start = direction ? i : i / 3 * stride + i % 3;
                box_blur_line(image->pixels + start, scratch->pixels + start,
                              direction ? image->height : image->width, direction ? stride : 3,
                              box);
            }
            vit_image swap = *image;
            *image = *scratch;
            *scratch = swap;
        }
    }
    return VIT_OK;
}
