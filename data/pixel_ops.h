/* The picture operations of RandAugment and its kin, pixel for pixel as Pillow draws them
 * (ImageOps, ImageEnhance, ImageFilter, Image.transform; the methods are described in Pillow's
 * documentation and sources). All work on 8-bit RGB. Operations that only look at one pixel at a
 * time work in place; the others write to `out`. */
#ifndef VIT_PIXEL_OPS_H
#define VIT_PIXEL_OPS_H

#include "data/image.h"
#include "vit/config.h"

/* Each channel stretched so that its darkest value becomes 0 and its brightest 255. */
void vit_op_autocontrast(vit_image *image);
/* Each channel's histogram made flat. */
void vit_op_equalize(vit_image *image);
void vit_op_invert(vit_image *image);
/* Keeps the highest bits, 0 to 8, of each value. */
void vit_op_posterize(vit_image *image, int bits);
/* Inverts values of threshold (0 to 256) and above. */
void vit_op_solarize(vit_image *image, int threshold);
/* Adds to values below 128. */
void vit_op_solarize_add(vit_image *image, int add);

/* Blends with a degenerate picture: factor 0 gives that picture, 1 leaves all as it is, above 1
 * exaggerates. */
void vit_op_color(vit_image *image, double factor);      /* degenerate: grey */
void vit_op_contrast(vit_image *image, double factor);   /* its mean grey */
void vit_op_brightness(vit_image *image, double factor); /* black */
vit_status vit_op_sharpness(const vit_image *image, double factor, vit_image *out); /* smoothed */

/* Gaussian blur of the given radius in pixels, by three box blurs with fractional borders (Gwosdek
 * et al. 2011), as ImageFilter.GaussianBlur. scratch is a second picture. */
vit_status vit_op_gaussian_blur(vit_image *image, double radius, vit_image *scratch);

/* out(x, y) = image(a x + b y + c, d x + e y + f), pixel centres at +0.5; what lies outside takes
 * fill. */
typedef struct vit_affine {
    double a, b, c, d, e, f;
} vit_affine;
vit_affine vit_affine_shear_x(double factor);
vit_affine vit_affine_shear_y(double factor);
vit_affine vit_affine_translate(double x, double y); /* pixels */
/* Counter-clockwise about the centre. */
vit_affine vit_affine_rotate(double degrees, size_t width, size_t height);
vit_status vit_op_affine(const vit_image *image, const vit_affine *matrix,
                         vit_interpolation interpolation, const uint8_t fill[3], vit_image *out);

#endif
