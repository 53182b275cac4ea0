/* A small bitmap font for labels on pictures. */
#ifndef ZVIT_FONT_H
#define ZVIT_FONT_H

#include "data/image.h"

/* A character's cell in pixels at scale 1, the space to the next one included. */
enum { FONT_WIDTH = 6, FONT_HEIGHT = 8 };

/* Draws text with its top left corner at (x, y), each pixel scale x scale large, in at most width
 * pixels: what does not fit is cut, with ".." at the end. Printable ASCII as it is; every other
 * UTF-8 character or stray byte as '?'. What lies outside of the picture is left out. */
void font_draw(vit_image *image, size_t x, size_t y, size_t width, size_t scale,
               const uint8_t color[3], const char *text);

#endif
