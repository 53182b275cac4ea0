#include "eval/explain_figure.h"

#include "data/resize.h"
#include "eval/canvas.h"
#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    PANEL = 440, /* the longer side of a shown picture */
    MARGIN = 20,
    TITLE = 64,  /* height above the pictures */
    LEGEND = 60, /* height below them */
    BAR_WIDTH = 260,
    BAR_HEIGHT = 12
};

static const vit_text_style title_style = {
    .size = 20, .bold = true, .color = {0x1f, 0x23, 0x28, 255}};
static const vit_text_style note_style = {.size = 13, .color = {0x59, 0x63, 0x6e, 255}};

/* ---- the picture at the size that it is shown in ---- */

static vit_status magnify(const vit_image *picture, size_t zoom, vit_image *out) {
    vit_status status =
        vit_image_reserve(out, zoom * picture->width, zoom * picture->height, "figure");
    for (size_t i = 0; status == VIT_OK && i < out->width * out->height; i++) {
        size_t x = i % out->width / zoom, y = i / out->width / zoom;
        memcpy(out->pixels + 3 * i, picture->pixels + 3 * (y * picture->width + x), 3);
    }
    return status;
}

/* Small ones by whole factors, so that their pixels show; others resampled. */
static vit_status show_at_size(const vit_image *picture, vit_image *out) {
    size_t longer = picture->width > picture->height ? picture->width : picture->height;
    if (2 * longer <= PANEL) {
        return magnify(picture, PANEL / longer, out);
    }
    double scale = (double)PANEL / (double)longer;
    size_t width = (size_t)fmax(1, rint((double)picture->width * scale));
    size_t height = (size_t)fmax(1, rint((double)picture->height * scale));
    vit_resize_scratch scratch = {0};
    vit_status status = vit_resize(picture, NULL, width, height, VIT_BICUBIC, &scratch, out);
    vit_resize_scratch_free(&scratch);
    return status;
}

/* The map of a picture of another size. */
static vit_heat_map scaled_map(const vit_heat_map *map, double across, double down) {
    vit_heat_map scaled = *map;
    scaled.box = (vit_box){map->box.x0 * across, map->box.y0 * down, map->box.x1 * across,
                           map->box.y1 * down};
    return scaled;
}

/* ---- drawing ---- */

/* What the model saw, where it is not the whole picture. */
static void draw_frame(vit_canvas *canvas, double x, double y, const vit_image *shown,
                       const vit_box *box) {
    double w = (double)shown->width, h = (double)shown->height;
    double x0 = fmax(0, box->x0), y0 = fmax(0, box->y0);
    double x1 = fmin(w, box->x1), y1 = fmin(h, box->y1);
    if (x0 > 0.5 || y0 > 0.5 || x1 < w - 0.5 || y1 < h - 0.5) {
        /* Light on dark: to be seen on any picture. */
        vit_canvas_frame(canvas, x + x0 - 1, y + y0 - 1, x1 - x0 + 2, y1 - y0 + 2, 4,
                         vit_color_hex(0x1f2328));
        vit_canvas_frame(canvas, x + x0, y + y0, x1 - x0, y1 - y0, 2, vit_color_hex(0xffffff));
    }
}

/* The scale, drawn as the map is: by the same overlay, of a grey picture. */
static vit_status draw_bar(vit_canvas *canvas, double x, double y, double alpha) {
    float values[BAR_WIDTH];
    uint8_t grey[3 * BAR_WIDTH];
    memset(grey, 0xd0, sizeof grey);
    for (int i = 0; i < BAR_WIDTH; i++) {
        values[i] = (float)(2 * i - (BAR_WIDTH - 1)) / (BAR_WIDTH - 1);
    }
    const vit_image blank = {.width = BAR_WIDTH, .height = 1, .pixels = grey};
    const vit_heat_map ramp = {
        .grid_h = 1, .grid_w = BAR_WIDTH, .values = values, .box = {0, 0, BAR_WIDTH, 1}};
    vit_image bar = {0};
    vit_status status = vit_heat_overlay(&ramp, &blank, alpha, &bar);
    if (status == VIT_OK) {
        vit_canvas_image(canvas, x, y, BAR_WIDTH, BAR_HEIGHT, &bar, false);
    }
    vit_image_free(&bar);
    return status;
}

static void put(vit_canvas *canvas, double x, double y, int align, const char *text) {
    vit_text_style style = note_style;
    style.align = align;
    vit_canvas_text(canvas, x, y, &style, text);
}

static vit_status draw_legend(vit_canvas *canvas, const vit_explain_figure *f, double width,
                              double y) {
    bool shares = f->map->method == VIT_EXPLAIN_ROLLOUT;
    double x = (width - BAR_WIDTH) / 2, below = y + BAR_HEIGHT + 17;
    double scale = vit_heat_scale(f->map);
    char number[48];
    vit_status status = draw_bar(canvas, x, y, f->alpha);
    put(canvas, x - 10, y + BAR_HEIGHT - 1, VIT_ALIGN_RIGHT, shares ? "seen less" : "against");
    put(canvas, x + BAR_WIDTH + 10, y + BAR_HEIGHT - 1, VIT_ALIGN_LEFT,
        shares ? "seen more" : "for");
    snprintf(number, sizeof number, "\xe2\x88\x92%.3g", scale);
    put(canvas, x, below, VIT_ALIGN_CENTER, number);
    put(canvas, x + BAR_WIDTH / 2.0, below, VIT_ALIGN_CENTER,
        shares ? "0 = an equal share" : "0   (log-odds)");
    snprintf(number, sizeof number, "+%.3g", scale);
    put(canvas, x + BAR_WIDTH, below, VIT_ALIGN_CENTER, number);
    return status;
}

static void draw_title(vit_canvas *canvas, const vit_explain_figure *f) {
    char line[1024];
    const char *method = vit_explain_method_names[f->map->method];
    snprintf(line, sizeof line, "%s  %.2f %%", f->class_name, 100 * f->map->probability);
    vit_canvas_text(canvas, MARGIN, MARGIN + 14, &title_style, line);
    snprintf(line, sizeof line, "%s%s%s", method, f->note ? ", " : "", f->note ? f->note : "");
    put(canvas, MARGIN, MARGIN + 34, VIT_ALIGN_LEFT, line);
}

vit_status vit_explain_figure_write(const vit_explain_figure *f, const char *path) {
    vit_image shown = {0}, heat = {0};
    vit_canvas *canvas = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(show_at_size(f->picture, &shown));
    vit_heat_map map = scaled_map(f->map, (double)shown.width / (double)f->picture->width,
                                  (double)shown.height / (double)f->picture->height);
    VIT_TRY(vit_heat_overlay(&map, &shown, f->alpha, &heat));
    double w = (double)shown.width, h = (double)shown.height;
    /* Wide enough for the legend, however narrow the picture. */
    double column = fmax(w, 220), width = 2 * column + 3 * MARGIN;
    double left = MARGIN + (column - w) / 2, right = 2 * MARGIN + column + (column - w) / 2;
    VIT_TRY(vit_canvas_create(VIT_CANVAS_PNG, width, TITLE + h + LEGEND, 1, &canvas));
    vit_canvas_fill(canvas, vit_color_hex(0xffffff));
    draw_title(canvas, f);
    vit_canvas_image(canvas, left, TITLE, w, h, &shown, false);
    vit_canvas_image(canvas, right, TITLE, w, h, &heat, false);
    draw_frame(canvas, left, TITLE, &shown, &map.box);
    draw_frame(canvas, right, TITLE, &shown, &map.box);
    VIT_TRY(draw_legend(canvas, f, width, TITLE + h + 16));
    VIT_TRY(vit_canvas_write(canvas, path));
cleanup:
    vit_canvas_free(canvas);
    vit_image_free(&shown);
    vit_image_free(&heat);
    return status;
}
