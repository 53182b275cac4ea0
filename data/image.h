/* Pictures in memory and how they get there. JPEG and PNG are told apart by content, never by name.
 */
#ifndef VIT_IMAGE_H
#define VIT_IMAGE_H

#include "vit/file.h"

#include <stdbool.h>
#include <stdint.h>

/* 8-bit RGB, rows without gaps. Reusable: decoding into it again keeps the memory. Zero-initialise.
 */
typedef struct vit_image {
    size_t width, height;
    uint8_t *pixels; /* (height,width,3) */
    size_t capacity; /* bytes at pixels */
} vit_image;

/* A rectangle of a picture that stands for a picture of its own: what lies outside is not seen. */
typedef struct vit_view {
    const uint8_t *pixels; /* the top left one */
    size_t width, height;
    size_t stride; /* bytes from one row to the next */
} vit_view;
/* The whole picture; the rectangle, which must lie inside it. */
vit_view vit_view_all(const vit_image *image);
vit_view vit_view_of(const vit_image *image, size_t x, size_t y, size_t width, size_t height);

typedef struct vit_box {
    double x0, y0, x1, y1; /* in source pixels; may be fractional; inside the picture */
} vit_box;

typedef struct vit_window {
    size_t x, y, width, height;
} vit_window;

vit_status vit_image_reserve(vit_image *image, size_t width, size_t height, const char *what);
void vit_image_free(vit_image *image);

#define VIT_DEFAULT_MAX_PIXELS 178956970u /* Pillow's limit */
#define VIT_MAX_FILE_BYTES (1ull << 31)

typedef struct vit_decode_options {
    uint64_t
        max_pixels; /* width * height above this is refused before memory is taken; 0 = default */
    uint8_t background[3]; /* what shows through transparent pixels; the default is white */
} vit_decode_options;
vit_decode_options vit_decode_defaults(void);
/* Fails with VIT_ERROR_LIMIT when width * height is over the limit. */
vit_status vit_check_pixels(uint64_t width, uint64_t height, const vit_decode_options *options,
                            const char *what);

typedef enum vit_image_format {
    VIT_IMAGE_UNKNOWN = 0,
    VIT_IMAGE_JPEG = 1,
    VIT_IMAGE_PNG = 2
} vit_image_format;
vit_image_format vit_image_sniff(const void *bytes, size_t size);
/* By the first bytes. vit_image_decode's error names other known formats (GIF, WebP, BMP, TIFF,
 * HEIC, AVIF, ...). */

/* Decodes a whole JPEG or PNG to RGB: EXIF orientation applied, alpha over background, 16 bit by
 * the high byte. A file cut short is an error. what names the file in messages. */
vit_status vit_image_decode(const void *bytes, size_t size, const char *what,
                            const vit_decode_options *options, vit_image *image);

/* Width times height by the header alone; too many is an error. */
vit_status vit_image_pixels(const void *bytes, size_t size, const char *what,
                            const vit_decode_options *options, uint64_t *pixels);

/* What is wanted of a picture. */
typedef struct vit_request {
    vit_window window; /* of the upright picture, inside it */
    /* The window may come at 1/2, 1/4 or 1/8 of its size while that is no smaller than this; 0: as
     * it is. */
    size_t least_width, least_height;
} vit_request;
/* Answers once the size is known and before any pixel is decoded. */
typedef vit_request (*vit_chooser)(void *context, size_t width, size_t height);

/* The answer: the requested window is `box` of `view`, which shows pixels of an image and, unless
 * it was shrunk, nothing but the window. */
typedef struct vit_part {
    vit_view view;
    vit_box box;
} vit_part;
vit_part vit_part_of(const vit_image *image, const vit_window *window);

/* Decodes no more than what choose asks for. Without shrinking, the pixels are those of
 * vit_image_decode. Of a JPEG that is read row by row (any but those of several scans), rows below
 * the window are not looked at: damage there stays unnoticed, but a file cut short is still an
 * error. *part shows pixels of *image. */
vit_status vit_image_decode_part(const void *bytes, size_t size, const char *what,
                                 const vit_decode_options *options, vit_chooser choose,
                                 void *context, vit_image *image, vit_part *part);
/* The picture as a JPEG file (quality 1..100; Huffman tables fitted to it, chroma at half size). */
vit_status vit_image_encode_jpeg(const vit_image *image, int quality, vit_bytes *out);

/* Whether a failure to read or decode a picture is its own, so that it may be left out where others
 * go on; want of memory is not. */
bool vit_is_pictures_fault(vit_status status);

/* Reads path into buffer and decodes it. */
vit_status vit_image_load(const char *path, const vit_decode_options *options, vit_bytes *buffer,
                          vit_image *image);

#endif
