/* Pictures in memory and how they get there. JPEG and PNG are told apart by content, never by name.
 */
#ifndef VIT_IMAGE_H
#define VIT_IMAGE_H

#include "vit/file.h"

#include <stdint.h>

/* 8-bit RGB, rows without gaps. Reusable: decoding into it again keeps the memory. Zero-initialise.
 */
typedef struct vit_image {
    size_t width, height;
    uint8_t *pixels; /* (height,width,3) */
    size_t capacity; /* bytes at pixels */
} vit_image;

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
/* Reads path into buffer and decodes it. */
vit_status vit_image_load(const char *path, const vit_decode_options *options, vit_bytes *buffer,
                          vit_image *image);

#endif
