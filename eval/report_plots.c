/* A report's curves, matrix and calibration drawn on a canvas, for papers and slides. */
#include "eval/canvas.h"
#include "eval/report_parts.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WHITE vit_color_hex(0xffffff)
#define INK vit_color_hex(0x1c2024)
#define SOFT vit_color_hex(0x59626c)
#define LINE vit_color_hex(0xe1e3df)
#define ACCENT vit_color_hex(0x0a5fb4)
#define SECOND vit_color_hex(0x8a929b)

static const vit_text_style heading = {.size = 15, .bold = true, .color = {28, 32, 36, 255}};
static const vit_text_style small = {.size = 12, .color = {89, 98, 108, 255}};

static vit_color faded(vit_color color, double alpha) {
    color.alpha = (uint8_t)lrint(255 * fmin(fmax(alpha, 0), 1));
    return color;
}

static vit_text_style aligned(vit_text_style style, vit_align align) {
    style.align = (int)align;
    return style;
}

/* Where a plot's axes lie on the canvas. */
typedef struct frame {
    double x, y, width, height;
} frame;

/* ---- curves ---- */

static void put_axes(vit_canvas *canvas, const frame *f, const vit_axis *x, const vit_axis *y,
                     double x_scale) {
    const vit_text_style right = aligned(small, VIT_ALIGN_RIGHT);
    const vit_text_style center = aligned(small, VIT_ALIGN_CENTER);
    char number[VIT_AXIS_LABEL];
    for (size_t i = 0; i < y->marks; i++) {
        double value = vit_axis_mark(y, i);
        double at = f->y + f->height * (1 - vit_axis_place(y, value));
        vit_canvas_line(canvas, f->x, at, f->x + f->width, at, 1, LINE);
        vit_axis_label(y, value, number, sizeof number);
        vit_canvas_text(canvas, f->x - 8, at + 4, &right, number);
    }
    for (size_t i = 0; i < x->marks; i++) {
        double value = vit_axis_mark(x, i), place = vit_axis_place(x, value);
        if (place >= -1e-9 && place <= 1 + 1e-9) {
            snprintf(number, sizeof number, "%.*f", x->decimals, value * x_scale);
            vit_canvas_text(canvas, f->x + f->width * place, f->y + f->height + 20, &center,
                            number);
        }
    }
}

static void put_curve(vit_canvas *canvas, const frame *f, const vit_chart *chart, size_t series) {
    double points[2 * VIT_REPORT_POINTS];
    vit_color color = series == 0 ? ACCENT : SECOND;
    for (size_t i = 0; i < chart->count; i++) {
        points[2 * i] = f->x + f->width * vit_axis_place(&chart->x_axis, chart->x[i]);
        points[2 * i + 1] =
            f->y +
            f->height * (1 - vit_axis_place(&chart->y_axis, chart->series[series].values[i]));
        if (chart->count == 1 && isfinite(points[1])) {
            vit_canvas_disc(canvas, points[0], points[1], 3, color);
        }
    }
    vit_canvas_polyline(canvas, points, chart->count, 2, color);
}

static void put_legend(vit_canvas *canvas, const frame *f, const vit_chart *chart) {
    double x = f->x + f->width;
    for (size_t s = VIT_CHART_SERIES; s-- > 0;) {
        if (!chart->series[s].shown || !chart->series[1].shown) {
            continue;
        }
        x -= vit_canvas_text_width(canvas, &small, chart->series[s].name);
        vit_canvas_text(canvas, x, f->y - 14, &small, chart->series[s].name);
        vit_canvas_line(canvas, x - 26, f->y - 18, x - 6, f->y - 18, 2, s == 0 ? ACCENT : SECOND);
        x -= 40;
    }
}

static void put_chart(vit_canvas *canvas, const frame *f, const vit_chart *chart) {
    const vit_text_style center = aligned(small, VIT_ALIGN_CENTER);
    char title[64];
    snprintf(title, sizeof title, "%s%s%s", chart->title, *chart->unit ? ", " : "", chart->unit);
    vit_canvas_text(canvas, f->x, f->y - 14, &heading, title);
    put_legend(canvas, f, chart);
    put_axes(canvas, f, &chart->x_axis, &chart->y_axis, 1);
    vit_canvas_text(canvas, f->x + f->width / 2, f->y + f->height + 40, &center, "epoch");
    for (size_t s = VIT_CHART_SERIES; s-- > 0;) {
        if (chart->series[s].shown) {
            put_curve(canvas, f, chart, s);
        }
    }
}

static void draw_curves(const vit_report_view *view, vit_canvas *canvas) {
    size_t place = 0;
    for (size_t c = 0; c < VIT_CHARTS; c++) {
        if (view->charts[c].count > 0) {
            const frame f = {70 + 480 * (double)(place % 2), 50 + 320 * (double)(place / 2), 380,
                             230};
            put_chart(canvas, &f, &view->charts[c]);
            place++;
        }
    }
}

/* ---- confusion matrix ---- */

enum { NAMES_UP_TO = 60, MARGIN = 20, LABEL_SIZE = 200 };

static double cell_size(size_t n) {
    return n <= 20 ? 32 : n <= NAMES_UP_TO ? 18 : 6;
}

static double label_room(const vit_report_view *view, vit_canvas *canvas) {
    double widest = 0;
    for (size_t i = 0; i < view->matrix_count && view->matrix_count <= NAMES_UP_TO; i++) {
        const char *name = view->report->outcome->class_names[view->matrix_classes[i]];
        widest = fmax(widest, vit_canvas_text_width(canvas, &small, name));
    }
    return fmin(widest + 10, LABEL_SIZE);
}

static void put_cell(const vit_report_view *view, vit_canvas *canvas, const frame *f, size_t r,
                     size_t c) {
    const vit_metrics *m = &view->report->outcome->metrics;
    size_t label = view->matrix_classes[r];
    size_t count = m->confusion[label * m->classes + view->matrix_classes[c]];
    double cell = cell_size(view->matrix_count);
    if (count == 0) {
        return;
    }
    double share = (double)count / (double)m->per_class[label].support;
    double alpha = vit_report_strength(share, r == c);
    double x = f->x + cell * (double)c, y = f->y + cell * (double)r;
    vit_canvas_rect(canvas, x, y, cell, cell, faded(r == c ? SOFT : ACCENT, alpha));
    if (view->matrix_count <= 20) {
        char number[32];
        vit_text_style style = aligned(small, VIT_ALIGN_CENTER);
        style.color = INK;
        snprintf(number, sizeof number, "%zu", count);
        vit_canvas_text(canvas, x + cell / 2, y + cell / 2 + 4, &style, number);
    }
}

static void draw_matrix(const vit_report_view *view, vit_canvas *canvas) {
    size_t n = view->matrix_count;
    double cell = cell_size(n), room = label_room(view, canvas), side = cell * (double)n;
    const frame f = {MARGIN + 20 + room, MARGIN + 20 + room, side, side};
    vit_text_style row = aligned(small, VIT_ALIGN_RIGHT), column = small;
    vit_text_style axis = aligned(small, VIT_ALIGN_CENTER);
    column.angle = -90;
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < n; c++) {
            put_cell(view, canvas, &f, r, c);
        }
        if (n <= NAMES_UP_TO) {
            const char *name = view->report->outcome->class_names[view->matrix_classes[r]];
            double at = cell * ((double)r + 0.5) + 4;
            vit_canvas_text(canvas, f.x - 6, f.y + at, &row, name);
            vit_canvas_text(canvas, f.x + at, f.y - 6, &column, name);
        }
    }
    vit_canvas_frame(canvas, f.x, f.y, side, side, 1, LINE);
    vit_canvas_text(canvas, f.x + side / 2, MARGIN, &axis, "taken for");
    axis.angle = -90;
    vit_canvas_text(canvas, MARGIN, f.y + side / 2, &axis, "label");
}

/* ---- calibration ---- */

static void draw_calibration(const vit_report_view *view, vit_canvas *canvas) {
    const vit_metrics *m = &view->report->outcome->metrics;
    const frame f = {70, 50, 420, 420};
    const vit_axis axis = vit_axis_fit(0, 1, 5);
    const vit_text_style center = aligned(small, VIT_ALIGN_CENTER);
    char title[96];
    put_axes(canvas, &f, &axis, &axis, 1);
    for (size_t b = 0; b < VIT_RELIABILITY_BINS; b++) {
        const vit_reliability_bin *bin = &m->bins[b];
        if (bin->count > 0) {
            double width = f.width / VIT_RELIABILITY_BINS, height = f.height * bin->accuracy;
            vit_canvas_rect(canvas, f.x + width * ((double)b + 0.06), f.y + f.height - height,
                            width * 0.88, height, faded(ACCENT, 0.25));
            vit_canvas_disc(canvas, f.x + f.width * bin->confidence, f.y + f.height - height, 3.5,
                            ACCENT);
        }
    }
    vit_canvas_line(canvas, f.x, f.y + f.height, f.x + f.width, f.y, 1, SOFT);
    snprintf(title, sizeof title, "Accuracy by confidence (ECE %.4f)", m->ece);
    vit_canvas_text(canvas, f.x, f.y - 16, &heading, title);
    vit_canvas_text(canvas, f.x + f.width / 2, f.y + f.height + 42, &center, "confidence");
}

/* ---- files ---- */

typedef struct plot {
    const char *name;
    double width, height;
    void (*draw)(const vit_report_view *view, vit_canvas *canvas);
} plot;

static vit_status write_plot(const vit_report_view *view, const plot *p, const char *folder) {
    vit_status status = VIT_OK;
    vit_canvas *canvas = NULL;
    for (int format = VIT_CANVAS_PNG; format <= VIT_CANVAS_SVG; format++) {
        char path[PATH_MAX], name[64];
        snprintf(name, sizeof name, "%s.%s", p->name, vit_canvas_endings[format]);
        VIT_TRY(vit_path_join(path, sizeof path, folder, name));
        VIT_TRY(vit_canvas_create((vit_canvas_format)format, p->width, p->height, 2, &canvas));
        vit_canvas_fill(canvas, WHITE);
        p->draw(view, canvas);
        VIT_TRY(vit_canvas_write(canvas, path));
        vit_canvas_free(canvas);
        canvas = NULL;
    }
cleanup:
    vit_canvas_free(canvas);
    return status;
}

vit_status vit_report_plots(const vit_report *report, const char *folder) {
    vit_report_view view;
    vit_status status = VIT_OK;
    VIT_TRY(vit_report_view_open(report, &view));
    if (view.log.count > 0) {
        size_t charts = 0;
        for (size_t c = 0; c < VIT_CHARTS; c++) {
            charts += view.charts[c].count > 0;
        }
        const plot curves = {"curves", 980, 20 + 320 * (double)((charts + 1) / 2), draw_curves};
        status = write_plot(&view, &curves, folder);
    }
    if (status == VIT_OK && view.matrix_count > 0) {
        double side = cell_size(view.matrix_count) * (double)view.matrix_count;
        double room = view.matrix_count <= NAMES_UP_TO ? LABEL_SIZE : 10;
        const plot matrix = {"confusion_matrix", 2 * MARGIN + 20 + room + side,
                             2 * MARGIN + 20 + room + side, draw_matrix};
        status = write_plot(&view, &matrix, folder);
    }
    if (status == VIT_OK && report->outcome) {
        const plot calibration = {"calibration", 520, 530, draw_calibration};
        status = write_plot(&view, &calibration, folder);
    }
    vit_report_view_free(&view);
cleanup:
    return status;
}
