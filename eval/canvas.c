#include "eval/canvas.h"

#include "vit/heap.h"
#include "vit/json.h"
#include "vit/library.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const vit_canvas_endings[] = {"png", "svg", NULL};

#ifdef ZVIT_HAVE_CAIRO

#include <cairo-svg.h>
#include <cairo.h>

enum { LARGEST = 32767 }; /* cairo's limit for image surfaces */

/* cairo is loaded when the first canvas is made: it brings forty libraries with it, which cost a
 * command that draws nothing 15 ms of its start. */
/* clang-format off */
#define CAIRO_FUNCTIONS(F) \
    F(arc) F(create) F(destroy) F(fill) F(get_source) F(image_surface_create) \
    F(image_surface_get_data) F(image_surface_get_stride) F(line_to) F(move_to) F(new_sub_path) \
    F(paint) F(pattern_set_extend) F(pattern_set_filter) F(rectangle) F(restore) F(rotate) \
    F(save) F(scale) F(select_font_face) F(set_font_size) F(set_line_cap) F(set_line_join) \
    F(set_line_width) F(set_source_rgba) F(set_source_surface) F(show_text) F(status) \
    F(status_to_string) F(stroke) F(surface_destroy) F(surface_finish) F(surface_mark_dirty) \
    F(surface_status) F(surface_write_to_png_stream) F(svg_surface_create_for_stream) \
    F(svg_surface_set_document_unit) F(text_extents) F(translate)
/* clang-format on */

#define DECLARE(name) __typeof__(cairo_##name) *name;
static struct { CAIRO_FUNCTIONS(DECLARE) } cairo;
static const char *const cairo_names[] = {CAIRO_FUNCTIONS(VIT_LIBRARY_NAME) NULL};
static vit_lazy_library library =
    VIT_LAZY_LIBRARY(ZVIT_CAIRO_LIBRARY, cairo_names, "cairo_", cairo);

struct vit_canvas {
    vit_canvas_format format;
    double width, height;
    cairo_surface_t *surface;
    cairo_t *cr;
    vit_bytes svg; /* what an SVG surface has written so far */
    bool out_of_memory;
};

bool vit_canvas_available(void) {
    return vit_lazy_library_load(&library);
}

static cairo_status_t write_bytes(void *context, const unsigned char *data, unsigned size) {
    return vit_bytes_append(context, data, size, "drawing") == VIT_OK ? CAIRO_STATUS_SUCCESS
                                                                      : CAIRO_STATUS_NO_MEMORY;
}

/* cairo's own word for what went wrong. */
static vit_status fail_cairo(cairo_status_t reason) {
    return vit_fail(reason == CAIRO_STATUS_NO_MEMORY ? VIT_ERROR_MEMORY : VIT_ERROR_LIMIT,
                    "drawing: %s", cairo.status_to_string(reason));
}

static cairo_surface_t *make_surface(vit_canvas *canvas, double scale) {
    if (canvas->format == VIT_CANVAS_SVG) {
        cairo_surface_t *surface = cairo.svg_surface_create_for_stream(
            write_bytes, &canvas->svg, canvas->width, canvas->height);
        cairo.svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
        return surface;
    }
    return cairo.image_surface_create(CAIRO_FORMAT_ARGB32, (int)ceil(canvas->width * scale),
                                      (int)ceil(canvas->height * scale));
}

vit_status vit_canvas_create(vit_canvas_format format, double width, double height, double scale,
                             vit_canvas **out) {
    *out = NULL;
    double largest = format == VIT_CANVAS_PNG ? LARGEST / scale : LARGEST;
    if (!(scale > 0 && width >= 1 && height >= 1 && width <= largest && height <= largest)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "a canvas of %g x %g pixels, %g for 1 (expected sides of 1 to %d)", width,
                        height, scale, LARGEST);
    }
    if (!vit_lazy_library_load(&library)) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "drawing needs %s, which was not found (Debian package libcairo2)",
                        ZVIT_CAIRO_LIBRARY);
    }
    vit_canvas *canvas = vit_calloc(1, sizeof *canvas);
    if (!canvas) {
        return vit_fail(VIT_ERROR_MEMORY, "out of memory for a canvas");
    }
    canvas->format = format;
    canvas->width = width;
    canvas->height = height;
    canvas->surface = make_surface(canvas, scale);
    canvas->cr = cairo.create(canvas->surface);
    cairo_status_t reason = cairo.status(canvas->cr);
    if (reason != CAIRO_STATUS_SUCCESS) {
        vit_canvas_free(canvas);
        return fail_cairo(reason);
    }
    if (format == VIT_CANVAS_PNG) {
        cairo.scale(canvas->cr, scale, scale);
    }
    cairo.set_line_join(canvas->cr, CAIRO_LINE_JOIN_ROUND);
    cairo.set_line_cap(canvas->cr, CAIRO_LINE_CAP_BUTT);
    *out = canvas;
    return VIT_OK;
}

void vit_canvas_free(vit_canvas *canvas) {
    if (!canvas) {
        return;
    }
    cairo.destroy(canvas->cr);
    cairo.surface_destroy(canvas->surface); /* may still write */
    vit_bytes_free(&canvas->svg);
    vit_free(canvas);
}

static void use(vit_canvas *canvas, vit_color c) {
    cairo.set_source_rgba(canvas->cr, c.red / 255.0, c.green / 255.0, c.blue / 255.0,
                          c.alpha / 255.0);
}

void vit_canvas_fill(vit_canvas *canvas, vit_color color) {
    use(canvas, color);
    cairo.paint(canvas->cr);
}

void vit_canvas_rect(vit_canvas *canvas, double x, double y, double width, double height,
                     vit_color color) {
    use(canvas, color);
    cairo.rectangle(canvas->cr, x, y, width, height);
    cairo.fill(canvas->cr);
}

void vit_canvas_frame(vit_canvas *canvas, double x, double y, double width, double height,
                      double line_width, vit_color color) {
    use(canvas, color);
    cairo.set_line_width(canvas->cr, line_width);
    cairo.rectangle(canvas->cr, x + line_width / 2, y + line_width / 2, width - line_width,
                    height - line_width);
    cairo.set_line_join(canvas->cr, CAIRO_LINE_JOIN_MITER); /* square corners */
    cairo.stroke(canvas->cr);
    cairo.set_line_join(canvas->cr, CAIRO_LINE_JOIN_ROUND);
}

void vit_canvas_disc(vit_canvas *canvas, double x, double y, double radius, vit_color color) {
    use(canvas, color);
    cairo.new_sub_path(canvas->cr);
    cairo.arc(canvas->cr, x, y, radius, 0, 2 * M_PI);
    cairo.fill(canvas->cr);
}

void vit_canvas_line(vit_canvas *canvas, double x0, double y0, double x1, double y1,
                     double line_width, vit_color color) {
    const double points[4] = {x0, y0, x1, y1};
    vit_canvas_polyline(canvas, points, 2, line_width, color);
}

void vit_canvas_polyline(vit_canvas *canvas, const double *points, size_t count, double line_width,
                         vit_color color) {
    bool within = false;
    use(canvas, color);
    cairo.set_line_width(canvas->cr, line_width);
    for (size_t i = 0; i < count; i++) {
        double x = points[2 * i], y = points[2 * i + 1];
        if (isnan(x) || isnan(y)) {
            within = false;
        } else if (within) {
            cairo.line_to(canvas->cr, x, y);
        } else {
            cairo.move_to(canvas->cr, x, y);
            within = true;
        }
    }
    cairo.stroke(canvas->cr);
}

/* ---- text ---- */

/* A copy that cairo accepts, or NULL when there is no memory. */
static char *clean_text(const char *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    size_t left = strlen(text), at = 0;
    char *copy = vit_malloc(3 * left + 1);
    while (copy && left > 0) {
        size_t length = vit_utf8_length(text, left);
        unsigned char first = (unsigned char)*text;
        if (length == 0 || first < 0x20 || first == 0x7f) {
            memcpy(copy + at, replacement, 3);
            at += 3;
            length = 1;
        } else {
            memcpy(copy + at, text, length);
            at += length;
        }
        text += length;
        left -= length;
    }
    if (copy) {
        copy[at] = 0;
    }
    return copy;
}

static void use_font(vit_canvas *canvas, const vit_text_style *style) {
    cairo.select_font_face(canvas->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           style->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo.set_font_size(canvas->cr, style->size);
}

static double advance(vit_canvas *canvas, const char *clean) {
    cairo_text_extents_t extents;
    cairo.text_extents(canvas->cr, clean, &extents);
    return extents.x_advance;
}

double vit_canvas_text_width(vit_canvas *canvas, const vit_text_style *style, const char *text) {
    char *clean = clean_text(text);
    if (!clean) {
        canvas->out_of_memory = true;
        return 0;
    }
    use_font(canvas, style);
    double width = advance(canvas, clean);
    vit_free(clean);
    return width;
}

void vit_canvas_text(vit_canvas *canvas, double x, double y, const vit_text_style *style,
                     const char *text) {
    char *clean = clean_text(text);
    if (!clean) {
        canvas->out_of_memory = true;
        return;
    }
    use_font(canvas, style);
    use(canvas, style->color);
    double shift = style->align * advance(canvas, clean) / 2; /* left 0, center 1, right 2 */
    cairo.save(canvas->cr);
    cairo.translate(canvas->cr, x, y);
    cairo.rotate(canvas->cr, style->angle * M_PI / 180);
    cairo.move_to(canvas->cr, -shift, 0);
    cairo.show_text(canvas->cr, clean);
    cairo.restore(canvas->cr);
    vit_free(clean);
}

/* ---- pictures ---- */

/* cairo's RGB24: a 32-bit word a pixel, in the byte order of the machine. */
static cairo_surface_t *surface_of(const vit_image *image) {
    cairo_surface_t *surface =
        cairo.image_surface_create(CAIRO_FORMAT_RGB24, (int)image->width, (int)image->height);
    unsigned char *data = cairo.image_surface_get_data(surface);
    if (!data) {
        return surface; /* in an error state, which drawing with it passes on */
    }
    size_t stride = (size_t)cairo.image_surface_get_stride(surface);
    for (size_t y = 0; y < image->height; y++) {
        for (size_t x = 0; x < image->width; x++) {
            const uint8_t *from = image->pixels + (y * image->width + x) * 3;
            uint32_t word = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
            memcpy(data + y * stride + 4 * x, &word, sizeof word);
        }
    }
    cairo.surface_mark_dirty(surface);
    return surface;
}

void vit_canvas_image(vit_canvas *canvas, double x, double y, double width, double height,
                      const vit_image *image, bool smooth) {
    if (image->width == 0 || image->height == 0 || image->width > LARGEST ||
        image->height > LARGEST) {
        return;
    }
    cairo_surface_t *surface = surface_of(image);
    cairo_t *cr = canvas->cr;
    cairo.save(cr);
    cairo.translate(cr, x, y);
    cairo.scale(cr, width / (double)image->width, height / (double)image->height);
    cairo.set_source_surface(cr, surface, 0, 0);
    cairo.pattern_set_filter(cairo.get_source(cr),
                             smooth ? CAIRO_FILTER_BEST : CAIRO_FILTER_NEAREST);
    /* Else the border would fade into what is around. */
    cairo.pattern_set_extend(cairo.get_source(cr), CAIRO_EXTEND_PAD);
    cairo.rectangle(cr, 0, 0, (double)image->width, (double)image->height);
    cairo.fill(cr);
    cairo.restore(cr);
    cairo.surface_destroy(surface);
}

/* ---- the file ---- */

vit_status vit_canvas_finish(vit_canvas *canvas, vit_bytes *out) {
    out->size = 0;
    cairo_status_t reason = cairo.status(canvas->cr);
    if (canvas->out_of_memory) {
        reason = CAIRO_STATUS_NO_MEMORY;
    }
    if (reason == CAIRO_STATUS_SUCCESS && canvas->format == VIT_CANVAS_PNG) {
        reason = cairo.surface_write_to_png_stream(canvas->surface, write_bytes, out);
    } else if (reason == CAIRO_STATUS_SUCCESS) {
        cairo.surface_finish(canvas->surface);
        reason = cairo.surface_status(canvas->surface);
    }
    if (reason != CAIRO_STATUS_SUCCESS) {
        return fail_cairo(reason);
    }
    return canvas->format == VIT_CANVAS_SVG
               ? vit_bytes_append(out, canvas->svg.data, canvas->svg.size, "drawing")
               : VIT_OK;
}

#else /* without cairo nothing is ever drawn, as there is no canvas */

bool vit_canvas_available(void) {
    return false;
}

vit_status vit_canvas_create(vit_canvas_format format, double width, double height, double scale,
                             vit_canvas **out) {
    (void)format, (void)width, (void)height, (void)scale;
    *out = NULL;
    return vit_fail(VIT_ERROR_UNSUPPORTED,
                    "this zvit was built without cairo and cannot draw (expected a build where "
                    "CMake finds it; Debian package: libcairo2-dev)");
}

void vit_canvas_free(vit_canvas *canvas) {
    (void)canvas;
}

void vit_canvas_fill(vit_canvas *canvas, vit_color color) {
    (void)canvas, (void)color;
}

void vit_canvas_rect(vit_canvas *canvas, double x, double y, double width, double height,
                     vit_color color) {
    (void)canvas, (void)x, (void)y, (void)width, (void)height, (void)color;
}

void vit_canvas_frame(vit_canvas *canvas, double x, double y, double width, double height,
                      double line_width, vit_color color) {
    (void)canvas, (void)x, (void)y, (void)width, (void)height, (void)line_width, (void)color;
}

void vit_canvas_disc(vit_canvas *canvas, double x, double y, double radius, vit_color color) {
    (void)canvas, (void)x, (void)y, (void)radius, (void)color;
}

void vit_canvas_line(vit_canvas *canvas, double x0, double y0, double x1, double y1,
                     double line_width, vit_color color) {
    (void)canvas, (void)x0, (void)y0, (void)x1, (void)y1, (void)line_width, (void)color;
}

void vit_canvas_polyline(vit_canvas *canvas, const double *points, size_t count, double line_width,
                         vit_color color) {
    (void)canvas, (void)points, (void)count, (void)line_width, (void)color;
}

void vit_canvas_text(vit_canvas *canvas, double x, double y, const vit_text_style *style,
                     const char *text) {
    (void)canvas, (void)x, (void)y, (void)style, (void)text;
}

double vit_canvas_text_width(vit_canvas *canvas, const vit_text_style *style, const char *text) {
    (void)canvas, (void)style, (void)text;
    return 0;
}

void vit_canvas_image(vit_canvas *canvas, double x, double y, double width, double height,
                      const vit_image *image, bool smooth) {
    (void)canvas, (void)x, (void)y, (void)width, (void)height, (void)image, (void)smooth;
}

vit_status vit_canvas_finish(vit_canvas *canvas, vit_bytes *out) {
    (void)canvas, (void)out;
    return vit_fail(VIT_ERROR_UNSUPPORTED, "this zvit was built without cairo");
}

#endif

vit_status vit_canvas_write(vit_canvas *canvas, const char *path) {
    vit_bytes bytes = {0};
    vit_status status = VIT_OK;
    VIT_TRY(vit_canvas_finish(canvas, &bytes));
    VIT_TRY(vit_file_replace(path, bytes.data, bytes.size));
cleanup:
    vit_bytes_free(&bytes);
    return status;
}
