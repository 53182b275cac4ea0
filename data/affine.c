/* Affine transforms of a picture: shear, translation, rotation. */
#include "data/pixel_ops.h"

#include <math.h>
#include <string.h>

vit_affine vit_affine_shear_x(double factor) {
    return (vit_affine){1, factor, 0, 0, 1, 0};
}

vit_affine vit_affine_shear_y(double factor) {
    return (vit_affine){1, 0, 0, factor, 1, 0};
}

vit_affine vit_affine_translate(double x, double y) {
    return (vit_affine){1, 0, x, 0, 1, y};
}

vit_affine vit_affine_rotate(double degrees, size_t width, size_t height) {
    double angle = -degrees * 3.141592653589793 / 180.0;
    double cosine = cos(angle), sine = sin(angle);
    double x = (double)width / 2, y = (double)height / 2;
    return (vit_affine){cosine, sine,   x - cosine * x - sine * y,
                        -sine,  cosine, y + sine * x - cosine * y};
}

static size_t clamp(long i, size_t n) {
    return i < 0 ? 0 : (size_t)i >= n ? n - 1 : (size_t)i;
}

/* The value between b and c at position t, from four neighbours; the cubic with a = -1 that Pillow
 * uses for transforms (its resize uses a = -0.5). */
static double cubic(double a, double b, double c, double d, double t) {
    double p2 = c - a, p3 = 2 * (a - b) + c - d, p4 = b - a - c + d;
    return b + t * (p2 + t * (p3 + t * p4));
}

static void sample_bicubic(const vit_image *image, double x, double y, uint8_t *out) {
    long column = (long)floor(x), row = (long)floor(y);
    for (size_t c = 0; c < 3; c++) {
        double lines[4];
        for (long i = 0; i < 4; i++) {
            const uint8_t *line =
                image->pixels + clamp(row - 1 + i, image->height) * image->width * 3 + c;
            double v[4];
            for (long j = 0; j < 4; j++) {
                v[j] = line[clamp(column - 1 + j, image->width) * 3];
            }
            lines[i] = cubic(v[0], v[1], v[2], v[3], x - (double)column);
        }
        double value = cubic(lines[0], lines[1], lines[2], lines[3], y - (double)row);
        out[c] = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
    }
}

static void sample_bilinear(const vit_image *image, double x, double y, uint8_t *out) {
    long column = (long)floor(x), row = (long)floor(y);
    double dx = x - (double)column, dy = y - (double)row;
    const uint8_t *upper = image->pixels + clamp(row, image->height) * image->width * 3;
    const uint8_t *lower = image->pixels + clamp(row + 1, image->height) * image->width * 3;
    size_t left = clamp(column, image->width) * 3, right = clamp(column + 1, image->width) * 3;
    for (size_t c = 0; c < 3; c++) {
        double top = upper[left + c] + (upper[right + c] - upper[left + c]) * dx;
        double bottom = lower[left + c] + (lower[right + c] - lower[left + c]) * dx;
        out[c] = (uint8_t)(top + (bottom - top) * dy);
    }
}

vit_status vit_op_affine(const vit_image *image, const vit_affine *matrix,
                         vit_interpolation interpolation, const uint8_t fill[3], vit_image *out) {
    vit_status status = vit_image_reserve(out, image->width, image->height, "affine transform");
    if (status != VIT_OK) {
        return status;
    }
    double width = (double)image->width, height = (double)image->height;
    for (size_t row = 0; row < image->height; row++) {
        for (size_t column = 0; column < image->width; column++) {
            double u = (double)column + 0.5, v = (double)row + 0.5;
            double x = matrix->a * u + matrix->b * v + matrix->c;
            double y = matrix->d * u + matrix->e * v + matrix->f;
            uint8_t *p = out->pixels + (row * image->width + column) * 3;
            if (!(x >= 0 && x < width && y >= 0 && y < height)) {
                memcpy(p, fill, 3);
            } else if (interpolation == VIT_BICUBIC) {
                sample_bicubic(image, x - 0.5, y - 0.5, p);
            } else {
                sample_bilinear(image, x - 0.5, y - 0.5, p);
            }
        }
    }
    return VIT_OK;
}
