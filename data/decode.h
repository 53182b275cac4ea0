/* The two decoders behind vit_image_decode. Private to data/. */
#ifndef VIT_DECODE_H
#define VIT_DECODE_H

#include "data/image.h"

/* decode_jpeg.c: accurate IDCT, fancy upsampling; CMYK and YCCK with the Adobe marker. With choose
 * NULL all of the picture, upright, and part is not used; else as vit_image_decode_part. */
vit_status vit_decode_jpeg(const void *bytes, size_t size, const char *what,
                           const vit_decode_options *options, vit_chooser choose, void *context,
                           vit_image *image, vit_part *part);
/* Width times height. */
vit_status vit_jpeg_pixels(const void *bytes, size_t size, const char *what,
                           const vit_decode_options *options, uint64_t *pixels);
vit_status vit_png_pixels(const void *bytes, size_t size, const char *what,
                          const vit_decode_options *options, uint64_t *pixels);
/* decode_png.c */
vit_status vit_decode_png(const void *bytes, size_t size, const char *what,
                          const vit_decode_options *options, vit_image *image);
/* exif.c: the orientation 1..8 from an EXIF block, with or without the "Exif\0\0" that a JPEG's
 * APP1 puts in front; 1 when absent or damaged. */
int vit_exif_orientation(const uint8_t *payload, size_t size);
/* exif.c: turns and mirrors the picture so that it stands upright. 2 to 4 work in place, 5 to 8 by
 * way of a second block of pixels. Any other orientation leaves the picture alone. */
vit_status vit_image_orient(vit_image *image, int orientation, const char *what);
/* exif.c: where a box of the picture of width x height comes to lie when that is turned upright,
 * and the orientation that turns it back. */
vit_box vit_box_orient(vit_box box, size_t width, size_t height, int orientation);
int vit_orientation_inverse(int orientation);
/* image.c: fails with VIT_ERROR_ARGUMENT when the window is empty or outside the upright picture of
 * width x height. */
vit_status vit_check_request(const vit_request *request, size_t width, size_t height,
                             const char *what);

#endif
