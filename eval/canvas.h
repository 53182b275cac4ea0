/* Drawing plots and heat maps, as PNG or SVG. The only user of cairo is canvas.c; a zvit built
 * without it fails to create a canvas, and says so.
 *
 * Coordinates are in pixels from the top left corner, y down. A failure while drawing is
 * remembered: drawing goes on without effect, and vit_canvas_finish reports it, so that only the
 * first and the last call need to be checked. Text is UTF-8; what is not, and control characters,
 * are drawn as U+FFFD. */
#ifndef VIT_CANVAS_H
#define VIT_CANVAS_H

#include "data/image.h"

#include <stdbool.h>

typedef struct vit_canvas vit_canvas;

typedef enum vit_canvas_format {
    VIT_CANVAS_PNG = 0,
    VIT_CANVAS_SVG = 1 /* text as outlines: it looks the same wherever it is opened */
} vit_canvas_format;
extern const char *const vit_canvas_endings[]; /* "png", "svg" */

typedef struct vit_color {
    uint8_t red, green, blue, alpha; /* alpha 255: opaque */
} vit_color;
/* 0x1f6feb and the like. */
static inline vit_color vit_color_hex(unsigned rgb) {
    return (vit_color){(uint8_t)(rgb >> 16), (uint8_t)(rgb >> 8), (uint8_t)rgb, 255};
}

typedef enum vit_align { VIT_ALIGN_LEFT = 0, VIT_ALIGN_CENTER = 1, VIT_ALIGN_RIGHT = 2 } vit_align;

typedef struct vit_text_style {
    double size;  /* pixels */
    double angle; /* degrees, clockwise, about the point where the text is put */
    int align;    /* vit_align, along the text */
    bool bold;
    vit_color color;
} vit_text_style;

/* Whether zvit was built with cairo. */
bool vit_canvas_available(void);

/* A canvas of width x height pixels (1 to 32767 each), transparent. scale: a PNG has scale pixels
 * for each of the canvas's, for dense screens (1 or 2, say); an SVG does not mind it. Without cairo
 * VIT_ERROR_UNSUPPORTED. */
vit_status vit_canvas_create(vit_canvas_format format, double width, double height, double scale,
                             vit_canvas **out);
void vit_canvas_free(vit_canvas *canvas); /* NULL is fine */

void vit_canvas_fill(vit_canvas *canvas, vit_color color); /* all of it */
void vit_canvas_rect(vit_canvas *canvas, double x, double y, double width, double height,
                     vit_color color); /* filled */
void vit_canvas_frame(vit_canvas *canvas, double x, double y, double width, double height,
                      double line_width, vit_color color); /* its outline, inside of it */
void vit_canvas_disc(vit_canvas *canvas, double x, double y, double radius, vit_color color);
void vit_canvas_line(vit_canvas *canvas, double x0, double y0, double x1, double y1,
                     double line_width, vit_color color);
/* count points (x,y) joined by straight lines; a point with a NaN breaks the line. */
void vit_canvas_polyline(vit_canvas *canvas, const double *points /* (count,2) */, size_t count,
                         double line_width, vit_color color);
/* The text's baseline begins, is centred or ends at (x, y). */
void vit_canvas_text(vit_canvas *canvas, double x, double y, const vit_text_style *style,
                     const char *text);
double vit_canvas_text_width(vit_canvas *canvas, const vit_text_style *style, const char *text);
/* The picture stretched over the rectangle; smooth: interpolated, else each of its pixels shows. */
void vit_canvas_image(vit_canvas *canvas, double x, double y, double width, double height,
                      const vit_image *image, bool smooth);

/* The finished file's bytes, added nowhere else; or written under path, whole or not at all.
 * Nothing can be drawn after that. */
vit_status vit_canvas_finish(vit_canvas *canvas, vit_bytes *out);
vit_status vit_canvas_write(vit_canvas *canvas, const char *path);

#endif
