/* Antialiased resizing as Pillow does it: separable, support grows with the shrink factor, 8-bit
 * fixed-point with 22 bits of fraction, each pass rounded and clipped (Pillow
 * src/libImaging/Resample.c describes the method). */
#ifndef VIT_RESIZE_H
#define VIT_RESIZE_H

#include "data/image.h"
#include "vit/config.h"

typedef struct vit_box {
    double x0, y0, x1, y1; /* in source pixels; may be fractional; inside the picture */
} vit_box;

/* Reusable coefficient and intermediate buffers. Zero-initialise; release with
 * vit_resize_scratch_free. */
typedef struct vit_resize_scratch {
    vit_bytes coefficients, bounds, rows;
} vit_resize_scratch;
void vit_resize_scratch_free(vit_resize_scratch *scratch);

/* The part of source inside box (NULL: all of it), resized to width x height, into out. */
vit_status vit_resize(const vit_image *source, const vit_box *box, size_t width, size_t height,
                      vit_interpolation interpolation, vit_resize_scratch *scratch, vit_image *out);

#endif
