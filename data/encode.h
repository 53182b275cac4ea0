/* Pictures out of memory and into files. */
#ifndef VIT_ENCODE_H
#define VIT_ENCODE_H

#include "data/image.h"

/* Writes an 8-bit RGB PNG under path: whole or not at all. */
vit_status vit_png_write(const char *path, const vit_image *image);
/* The same file's bytes into out; what names the picture in messages. */
vit_status vit_png_encode(const vit_image *image, const char *what, vit_bytes *out);

#endif
