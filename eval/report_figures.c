/* The figures of a report as SVG in the page. They are as wide as the page lets them: across,
 * places are percentages, and curves are stretched (their lines are not); so letters keep their
 * size on a phone, without a script. The script adds reading off values, and sorting of the matrix.
 */
#include "eval/report_parts.h"

#include <math.h>
#include <string.h>

enum { TOP = 8, PLOT = 190, HEIGHT = 226 }; /* pixels: above the plot, of it, of the figure */

/* ---- curves ---- */

static void put_value(vit_text *page, const vit_chart *chart, double value) {
    if (!chart->scientific || value == 0) {
        vit_text_number(page, value, chart->decimals);
    } else {
        vit_text_printf(page, "%.*e", chart->decimals, value);
    }
    if (*chart->unit) {
        vit_text_printf(page, "\xe2\x80\xaf%s", chart->unit);
    }
}

/* The numbers beside the plot: a column of its own, so that the plot can stretch. */
static void put_y_axis(vit_text *page, const vit_axis *axis) {
    char label[VIT_AXIS_LABEL];
    vit_text_printf(page, "<svg class=\"axis\" width=\"52\" height=\"%d\" aria-hidden=\"true\">",
                    HEIGHT);
    for (size_t i = 0; i < axis->marks; i++) {
        double value = vit_axis_mark(axis, i);
        vit_text_printf(page, "<text x=\"44\" y=\"%.1f\" dy=\".32em\">",
                        TOP + PLOT * (1 - vit_axis_place(axis, value)));
        vit_axis_label(axis, value, label, sizeof label);
        vit_text_printf(page, "%s</text>", label);
    }
    vit_text_put(page, "</svg>");
}

static void put_grid(vit_text *page, const vit_axis *axis) {
    for (size_t i = 0; i < axis->marks; i++) {
        double y = TOP + PLOT * (1 - vit_axis_place(axis, vit_axis_mark(axis, i)));
        vit_text_printf(
            page, "<line class=\"grid\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>", y, y);
    }
}

static void put_x_marks(vit_text *page, const vit_axis *axis, double scale) {
    for (size_t i = 0; i < axis->marks; i++) {
        double value = vit_axis_mark(axis, i), place = vit_axis_place(axis, value);
        if (place < -1e-9 || place > 1 + 1e-9) {
            continue;
        }
        vit_text_printf(page, "<text class=\"mark\" x=\"%.3f%%\" y=\"%d\">%.6g</text>", 100 * place,
                        TOP + PLOT + 22, value * scale);
    }
}

/* Points in a box of 1000 x PLOT, which is stretched. A missing one begins another line. */
static void put_line(vit_text *page, const vit_chart *chart, size_t series) {
    bool within = false;
    for (size_t i = 0; i < chart->count; i++) {
        double value = chart->series[series].values[i];
        if (!isfinite(value)) {
            within = false;
            continue;
        }
        vit_text_printf(page, "%s%.2f,%.2f", within ? " " : "M",
                        1000 * vit_axis_place(&chart->x_axis, chart->x[i]),
                        PLOT * (1 - vit_axis_place(&chart->y_axis, value)));
        within = true;
    }
}

static void put_lines(vit_text *page, const vit_chart *chart) {
    vit_text_printf(page,
                    "<svg x=\"0\" y=\"%d\" width=\"100%%\" height=\"%d\" viewBox=\"0 0 1000 %d\" "
                    "preserveAspectRatio=\"none\" class=\"lines\">",
                    TOP, PLOT, PLOT);
    for (size_t s = VIT_CHART_SERIES; s-- > 0;) { /* the first on top */
        if (chart->series[s].shown) {
            vit_text_printf(page, "<path class=\"line s%zu\" d=\"", s);
            put_line(page, chart, s);
            vit_text_put(page, "\"/>");
        }
    }
    vit_text_put(page, "</svg>");
}

/* A line of one point does not show; and the best epoch. */
static void put_dots(vit_text *page, const vit_report_view *view, const vit_chart *chart) {
    double best = vit_log_value(&view->log, view->log.best, VIT_LOG_EPOCH);
    bool measured = isfinite(vit_log_value(&view->log, view->log.best, VIT_LOG_TOP1));
    for (size_t i = 0; i < chart->count; i++) {
        bool marked = measured && chart->x[i] == best && !chart->scientific &&
                      strcmp(chart->series[0].name, "training") != 0;
        for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
            if (chart->series[s].shown && isfinite(chart->series[s].values[i]) &&
                (chart->count == 1 || (marked && s == 0))) {
                vit_text_printf(
                    page, "<circle class=\"dot s%zu\" cx=\"%.3f%%\" cy=\"%.2f\" r=\"4\"/>", s,
                    100 * vit_axis_place(&chart->x_axis, chart->x[i]),
                    TOP + PLOT * (1 - vit_axis_place(&chart->y_axis, chart->series[s].values[i])));
            }
        }
    }
}

/* What the figure says, for those who do not see it. */
static void put_description(vit_text *page, const vit_chart *chart) {
    vit_text_printf(page, "%s by epoch", chart->title);
    for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
        const vit_series *series = &chart->series[s];
        if (!series->shown) {
            continue;
        }
        size_t first = 0, last = chart->count - 1;
        while (!isfinite(series->values[first])) {
            first++;
        }
        while (!isfinite(series->values[last])) {
            last--;
        }
        vit_text_printf(page, "%s %s from ", s > 0 ? ";" : ":", series->name);
        put_value(page, chart, series->values[first]);
        vit_text_put(page, " to ");
        put_value(page, chart, series->values[last]);
    }
}

static void put_legend(vit_text *page, const vit_chart *chart) {
    vit_text_printf(page, "<figcaption><h3>%s</h3>", chart->title);
    if (*chart->unit) {
        vit_text_printf(page, "<span class=\"unit\">%s</span>", chart->unit);
    }
    if (chart->series[0].shown && chart->series[1].shown) {
        vit_text_put(page, "<span class=\"legend\">");
        for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
            vit_text_printf(page,
                            "<span><svg width=\"22\" height=\"8\" aria-hidden=\"true\"><path "
                            "class=\"line s%zu\" d=\"M0,4 22,4\"/></svg>%s</span>",
                            s, chart->series[s].name);
        }
        vit_text_put(page, "</span>");
    }
    vit_text_put(page, "</figcaption>");
}

/* The values at the last epoch, until the script shows those that are pointed at. */
static void put_readout(vit_text *page, const vit_chart *chart) {
    size_t last = chart->count - 1;
    vit_text_printf(page, "<p class=\"readout\">epoch %.0f", chart->x[last]);
    for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
        if (chart->series[s].shown) {
            vit_text_printf(page, " \xc2\xb7 %s <b>", chart->series[s].name);
            put_value(page, chart, chart->series[s].values[last]);
            vit_text_put(page, "</b>");
        }
    }
    vit_text_put(page, "</p>");
}

static void put_chart(const vit_report_view *view, vit_text *page, const vit_chart *chart) {
    vit_text_printf(page, "<figure class=\"chart\" id=\"chart-%s\">", chart->id);
    put_legend(page, chart);
    vit_text_put(page, "<div class=\"plot\">");
    put_y_axis(page, &chart->y_axis);
    vit_text_printf(page,
                    "<svg class=\"area\" width=\"100%%\" height=\"%d\" role=\"img\" "
                    "aria-label=\"",
                    HEIGHT);
    put_description(page, chart);
    vit_text_put(page, "\">");
    put_grid(page, &chart->y_axis);
    put_x_marks(page, &chart->x_axis, 1);
    put_lines(page, chart);
    put_dots(page, view, chart);
    vit_text_put(page, "</svg></div>");
    put_readout(page, chart);
    vit_text_put(page, "</figure>\n");
}

void vit_report_curves(const vit_report_view *view, vit_text *page) {
    vit_text_put(page, "<div class=\"charts\">\n");
    for (size_t c = 0; c < VIT_CHARTS; c++) {
        if (view->charts[c].count > 0) {
            put_chart(view, page, &view->charts[c]);
        }
    }
    vit_text_put(page, "</div>\n");
}

/* ---- confusion matrix ---- */

enum { LABEL_CHARACTERS = 16, LABELS_UP_TO = 40, COUNTS_UP_TO = 20 };

typedef struct matrix_layout {
    double cell, left, top;      /* pixels */
    bool labels, counts, turned; /* names above the columns stand upright or turned */
} matrix_layout;

static matrix_layout lay_out(const vit_report_view *view) {
    const vit_outcome *o = view->report->outcome;
    size_t n = view->matrix_count, longest = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = vit_text_length(o->class_names[view->matrix_classes[i]]);
        longest = length > longest ? length : longest;
    }
    longest = longest < LABEL_CHARACTERS ? longest : LABEL_CHARACTERS;
    matrix_layout m = {
        .labels = n <= LABELS_UP_TO, .counts = n <= COUNTS_UP_TO, .turned = longest > 2};
    m.cell = n <= 12 ? 32 : n <= COUNTS_UP_TO ? 28 : n <= LABELS_UP_TO ? 18 : n <= 100 ? 7 : 4;
    m.left = m.labels ? 7.8 * (double)longest + 14 : 0; /* for wide letters */
    m.top = m.labels ? (m.turned ? m.left : 22) : 0;
    return m;
}

static void put_matrix_labels(const vit_report_view *view, vit_text *page, const matrix_layout *m) {
    const vit_outcome *o = view->report->outcome;
    vit_text_put(page, "<g class=\"rows\">");
    for (size_t i = 0; i < view->matrix_count; i++) {
        vit_text_printf(page, "<text x=\"%.1f\" y=\"%.1f\" dy=\".32em\">", m->left - 8,
                        m->top + m->cell * ((double)i + 0.5));
        vit_text_html_short(page, o->class_names[view->matrix_classes[i]], LABEL_CHARACTERS);
        vit_text_put(page, "</text>");
    }
    vit_text_printf(page, "</g><g class=\"columns%s\">", m->turned ? " turned" : "");
    for (size_t i = 0; i < view->matrix_count; i++) {
        double x = m->left + m->cell * ((double)i + 0.5), y = m->top - 8;
        vit_text_printf(page, "<text transform=\"translate(%.1f %.1f)%s\"%s>", x, y,
                        m->turned ? " rotate(-90)" : "", m->turned ? " dy=\".32em\"" : "");
        vit_text_html_short(page, o->class_names[view->matrix_classes[i]], LABEL_CHARACTERS);
        vit_text_put(page, "</text>");
    }
    vit_text_put(page, "</g>");
}

static void put_cell(const vit_report_view *view, vit_text *page, const matrix_layout *m, size_t r,
                     size_t c, bool number) {
    const vit_metrics *metrics = &view->report->outcome->metrics;
    size_t label = view->matrix_classes[r], prediction = view->matrix_classes[c];
    size_t count = metrics->confusion[label * metrics->classes + prediction];
    if (count == 0) {
        return;
    }
    double x = m->left + m->cell * (double)c, y = m->top + m->cell * (double)r;
    double share = (double)count / (double)metrics->per_class[label].support;
    double shown = vit_report_strength(share, r == c);
    if (number) {
        vit_text_printf(page, "<text x=\"%.1f\" y=\"%.1f\" dy=\".35em\">%zu</text>",
                        x + m->cell / 2, y + m->cell / 2, count);
    } else {
        vit_text_printf(page,
                        "<rect%s x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" "
                        "fill-opacity=\"%.2f\"/>",
                        r == c ? " class=\"right\"" : "", x, y, m->cell, m->cell, shown);
    }
}

static void put_cells(const vit_report_view *view, vit_text *page, const matrix_layout *m,
                      bool numbers) {
    vit_text_printf(page, "<g class=\"%s\">", numbers ? "counts" : "cells");
    for (size_t r = 0; r < view->matrix_count; r++) {
        for (size_t c = 0; c < view->matrix_count; c++) {
            put_cell(view, page, m, r, c, numbers);
        }
    }
    vit_text_put(page, "</g>");
}

void vit_report_matrix(const vit_report_view *view, vit_text *page) {
    matrix_layout m = lay_out(view);
    double side = m.cell * (double)view->matrix_count;
    vit_text_printf(page,
                    "<div class=\"scroll\"><svg class=\"matrix%s\" width=\"%.0f\" height=\"%.0f\" "
                    "viewBox=\"0 0 %.1f %.1f\" data-cell=\"%g\" data-left=\"%g\" data-top=\"%g\" "
                    "role=\"img\" aria-label=\"Confusion matrix of %zu classes: labels down, "
                    "predictions across\">",
                    m.labels ? "" : " dense", m.left + side + 2, m.top + side + 2,
                    m.left + side + 2, m.top + side + 2, m.cell, m.left, m.top, view->matrix_count);
    vit_text_printf(page, "<rect class=\"ground\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"/>",
                    m.left, m.top, side, side);
    put_cells(view, page, &m, false);
    if (m.counts) {
        put_cells(view, page, &m, true);
    }
    if (m.labels) {
        put_matrix_labels(view, page, &m);
    }
    vit_text_put(page, "</svg></div>\n");
}

/* ---- calibration ---- */

static void put_bin(vit_text *page, const vit_reliability_bin *bin, size_t index, size_t most) {
    double width = 100.0 / VIT_RELIABILITY_BINS, x = width * (double)index;
    if (bin->count == 0) {
        return;
    }
    double height = PLOT * bin->accuracy, crowd = 36 * (double)bin->count / (double)most;
    vit_text_printf(page,
                    "<g><title>%zu pictures: said %.1f %%, right %.1f %%</title>"
                    "<rect class=\"bar\" x=\"%.3f%%\" y=\"%.2f\" width=\"%.3f%%\" "
                    "height=\"%.2f\"/><rect class=\"crowd\" x=\"%.3f%%\" y=\"%.2f\" "
                    "width=\"%.3f%%\" height=\"%.2f\"/><circle class=\"dot s0\" cx=\"%.3f%%\" "
                    "cy=\"%.2f\" r=\"3.5\"/></g>",
                    bin->count, 100 * bin->confidence, 100 * bin->accuracy, x + width * 0.08,
                    TOP + PLOT - height, width * 0.84, height, x + width * 0.08,
                    HEIGHT + 40 - crowd, width * 0.84, crowd, 100 * bin->confidence,
                    TOP + PLOT * (1 - bin->accuracy));
}

static void put_bins_table(const vit_metrics *m, vit_text *page) {
    vit_text_put(page, "<details><summary>The bins as a table</summary><div class=\"scroll\">"
                       "<table><caption class=\"hidden\">Confidence and accuracy by bin</caption>"
                       "<thead><tr><th scope=\"col\">Confidence</th><th scope=\"col\" "
                       "class=\"num\">Pictures</th><th scope=\"col\" class=\"num\">Mean "
                       "confidence</th><th scope=\"col\" class=\"num\">Accuracy</th></tr></thead>"
                       "<tbody>\n");
    for (size_t b = 0; b < VIT_RELIABILITY_BINS; b++) {
        vit_text_printf(page,
                        "<tr><th scope=\"row\">%.1f to %.1f\xe2\x80\xaf%%</th><td class=\"num\">",
                        100.0 * (double)b / VIT_RELIABILITY_BINS,
                        100.0 * (double)(b + 1) / VIT_RELIABILITY_BINS);
        vit_text_count(page, (double)m->bins[b].count);
        vit_text_put(page, "</td><td class=\"num\">");
        vit_text_number(page, 100 * m->bins[b].confidence, 1);
        vit_text_put(page, "</td><td class=\"num\">");
        vit_text_number(page, 100 * m->bins[b].accuracy, 1);
        vit_text_put(page, "</td></tr>\n");
    }
    vit_text_put(page, "</tbody></table></div></details>\n");
}

void vit_report_calibration(const vit_report_view *view, vit_text *page) {
    const vit_metrics *m = &view->report->outcome->metrics;
    const vit_axis axis = vit_axis_fit(0, 1, 5);
    size_t most = 1;
    for (size_t b = 0; b < VIT_RELIABILITY_BINS; b++) {
        most = m->bins[b].count > most ? m->bins[b].count : most;
    }
    vit_text_put(page, "<p>");
    vit_text_printf(page,
                    "Weighed by pictures, confidence and accuracy differ by <b>%.1f points</b> "
                    "(expected calibration error %.4f). Bars on the diagonal: as right as it is "
                    "sure. Below it, the model promises too much; above it, too little.</p>\n",
                    100 * m->ece, m->ece);
    vit_text_put(page, "<figure class=\"chart\" id=\"chart-calibration\"><figcaption><h3>"
                       "Accuracy by confidence</h3></figcaption><div class=\"plot\">");
    vit_text_printf(page, "<svg class=\"axis\" width=\"52\" height=\"%d\" aria-hidden=\"true\">",
                    HEIGHT + 42);
    for (size_t i = 0; i < axis.marks; i++) {
        vit_text_printf(page, "<text x=\"44\" y=\"%.1f\" dy=\".32em\">%.0f\xe2\x80\xaf%%</text>",
                        TOP + PLOT * (1 - vit_axis_mark(&axis, i)), 100 * vit_axis_mark(&axis, i));
    }
    vit_text_printf(page, "<text x=\"44\" y=\"%d\">count</text></svg>", HEIGHT + 36);
    vit_text_printf(page,
                    "<svg class=\"area\" width=\"100%%\" height=\"%d\" role=\"img\" "
                    "aria-label=\"Accuracy by confidence in %d bins; the numbers are in the table "
                    "below\">",
                    HEIGHT + 42, VIT_RELIABILITY_BINS);
    put_grid(page, &axis);
    put_x_marks(page, &axis, 100);
    vit_text_printf(page, "<line class=\"diagonal\" x1=\"0\" y1=\"%d\" x2=\"100%%\" y2=\"%d\"/>",
                    TOP + PLOT, TOP);
    for (size_t b = 0; b < VIT_RELIABILITY_BINS; b++) {
        put_bin(page, &m->bins[b], b, most);
    }
    vit_text_put(page, "</svg></div><p class=\"readout\">across: confidence, %; down: share that "
                       "is right</p></figure>\n");
    put_bins_table(m, page);
}

/* ---- values for the script ---- */

static vit_json *values_of_chart(const vit_chart *chart) {
    vit_json *object = vit_json_object(), *x = vit_json_array(), *all = vit_json_array();
    vit_json_add_string(object, "id", chart->id);
    vit_json_add_string(object, "unit", chart->unit);
    vit_json_add_number(object, "decimals", chart->decimals);
    vit_json_add_bool(object, "scientific", chart->scientific);
    vit_json_add_number(object, "low", chart->y_axis.low);
    vit_json_add_number(object, "high", chart->y_axis.high);
    for (size_t i = 0; i < chart->count; i++) {
        vit_json_add_number(x, NULL, chart->x[i]);
    }
    vit_json_add(object, "x", x);
    for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
        if (!chart->series[s].shown) {
            continue;
        }
        vit_json *series = vit_json_object(), *y = vit_json_array();
        vit_json_add_string(series, "name", chart->series[s].name);
        vit_json_add_number(series, "style", (double)s);
        for (size_t i = 0; i < chart->count; i++) {
            vit_json_add_number(y, NULL, chart->series[s].values[i]);
        }
        vit_json_add(series, "y", y);
        vit_json_add(all, NULL, series);
    }
    vit_json_add(object, "series", all);
    return object;
}

/* Cells in the order of the matrix's rects. */
static vit_json *values_of_matrix(const vit_report_view *view) {
    const vit_outcome *o = view->report->outcome;
    const vit_metrics *m = &o->metrics;
    vit_json *object = vit_json_object(), *names = vit_json_array(), *cells = vit_json_array();
    vit_json *support = vit_json_array(), *predicted = vit_json_array(), *right = vit_json_array();
    for (size_t i = 0; i < view->matrix_count; i++) {
        const vit_class_metrics *c = &m->per_class[view->matrix_classes[i]];
        vit_json_add_string(names, NULL, o->class_names[view->matrix_classes[i]]);
        vit_json_add_number(support, NULL, (double)c->support);
        vit_json_add_number(predicted, NULL, (double)c->predicted);
        vit_json_add_number(right, NULL, (double)c->right);
    }
    for (size_t i = 0; i < view->matrix_count * view->matrix_count; i++) {
        size_t r = i / view->matrix_count, c = i % view->matrix_count;
        size_t count = m->confusion[view->matrix_classes[r] * m->classes + view->matrix_classes[c]];
        if (count > 0) {
            vit_json_add_number(cells, NULL, (double)r);
            vit_json_add_number(cells, NULL, (double)c);
            vit_json_add_number(cells, NULL, (double)count);
        }
    }
    vit_json_add(object, "names", names);
    vit_json_add(object, "support", support);
    vit_json_add(object, "predicted", predicted);
    vit_json_add(object, "right", right);
    vit_json_add(object, "cells", cells);
    return object;
}

void vit_report_values(const vit_report_view *view, vit_text *page) {
    vit_json *root = vit_json_object(), *charts = vit_json_array();
    for (size_t c = 0; c < VIT_CHARTS; c++) {
        if (view->charts[c].count > 0) {
            vit_json_add(charts, NULL, values_of_chart(&view->charts[c]));
        }
    }
    vit_json_add(root, "charts", charts);
    if (view->matrix_count > 0) {
        vit_json_add(root, "matrix", values_of_matrix(view));
    }
    vit_text_json(page, root);
}
