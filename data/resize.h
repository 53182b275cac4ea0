/* Antialiased resizing as Pillow does it: separable, support grows with the shrink factor, 8-bit
 * fixed-point with 22 bits of fraction, each pass rounded and clipped (Pillow
 * src/libImaging/Resample.c describes the method). */
#ifndef VIT_RESIZE_H
#define VIT_RESIZE_H

#include "data/image.h"
#include "vit/config.h"

/* Reusable coefficient and intermediate buffers. Zero-initialise; release with
 * vit_resize_scratch_free. */
typedef struct vit_resize_scratch {
    vit_bytes coefficients, bounds, rows;
} vit_resize_scratch;
void vit_resize_scratch_free(vit_resize_scratch *scratch);

/* The size at which the picture's shorter side is `side` pixels (a whole number) and its shape is
 * kept, as torchvision's Resize(int) has it: the longer side is truncated. */
void vit_short_side_size(const vit_image *image, double side, size_t *height, size_t *width);

/* The part of source inside box (NULL: all of it), resized to width x height, into out, which is
 * another picture. As with Pillow's resize(box=), the filter also weighs pixels just outside the
 * box; to crop first and then resize, use a view. */
vit_status vit_resize(const vit_image *source, const vit_box *box, size_t width, size_t height,
                      vit_interpolation interpolation, vit_resize_scratch *scratch, vit_image *out);

/* The same from a view, and of the width x height result only the pixels in window (NULL: all),
 * which become the whole of out: a centre crop costs no more than what it keeps. */
vit_status vit_resize_view(const vit_view *source, const vit_box *box, size_t width, size_t height,
                           const vit_window *window, vit_interpolation interpolation,
                           vit_resize_scratch *scratch, vit_image *out);

#endif
