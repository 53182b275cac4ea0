#include "eval/chart.h"

#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, the first that is not below x. */
static double nice_step(double x) {
    double power = pow(10, floor(log10(x)));
    static const double steps[] = {1, 2, 5, 10};
    for (size_t i = 0; i < 4; i++) {
        /* a part in 10^9 less: 0.3 / 3 is to be 0.1 */
        if (steps[i] * power >= x * (1 - 1e-9)) {
            return steps[i] * power;
        }
    }
    return 10 * power;
}

static vit_axis fit(double low, double high, size_t wanted, double least_step) {
    vit_axis axis = {0};
    if (!isfinite(low) || !isfinite(high) || high < low) {
        low = high = 0;
    }
    if (high - low <= 1e-12 * fmax(fabs(low), fabs(high))) {
        double around = low != 0 ? fabs(low) / 2 : 1;
        low -= around;
        high += around;
    }
    axis.step = fmax(nice_step((high - low) / (double)(wanted > 1 ? wanted : 1)), least_step);
    double first = floor(low / axis.step + 1e-9), last = ceil(high / axis.step - 1e-9);
    while (last - first + 1 > VIT_AXIS_MARKS) {
        axis.step = nice_step(1.5 * axis.step);
        first = floor(low / axis.step + 1e-9);
        last = ceil(high / axis.step - 1e-9);
    }
    axis.low = first * axis.step;
    axis.high = last * axis.step;
    axis.marks = (size_t)(last - first) + 1;
    axis.decimals = (int)fmin(fmax(-floor(log10(axis.step) + 1e-9), 0), 12);
    return axis;
}

vit_axis vit_axis_fit(double low, double high, size_t wanted) {
    return fit(low, high, wanted, 0);
}

vit_axis vit_axis_fit_whole(double low, double high, size_t wanted) {
    return fit(low, high, wanted, 1);
}

/* Through the number of steps: adding them up would drift. */
double vit_axis_mark(const vit_axis *axis, size_t index) {
    return (round(axis->low / axis->step) + (double)index) * axis->step;
}

void vit_axis_label(const vit_axis *axis, double mark, char *text, size_t size) {
    if (mark == 0 || axis->step < 1e-3) {
        snprintf(text, size, "%.4g", mark);
    } else {
        snprintf(text, size, "%.*f", axis->decimals, mark);
    }
}

double vit_axis_place(const vit_axis *axis, double value) {
    return (value - axis->low) / (axis->high - axis->low);
}

/* ---- points ---- */

/* Marks the least and the largest finite value of a part. */
static void keep_extremes(const double *values, size_t first, size_t end, unsigned char *keep) {
    size_t least = end, largest = end;
    for (size_t i = first; i < end; i++) {
        if (!isfinite(values[i])) {
            continue;
        }
        least = least == end || values[i] < values[least] ? i : least;
        largest = largest == end || values[i] > values[largest] ? i : largest;
    }
    if (least < end) {
        keep[least] = keep[largest] = 1;
    }
}

size_t vit_downsample(const double *values, size_t series, size_t count, size_t most,
                      size_t *kept) {
    size_t out = 0;
    unsigned char *keep = count > most ? vit_calloc(count, 1) : NULL;
    if (!keep) { /* all, or when there is no memory for a choice, evenly spaced ones */
        size_t n = count < most ? count : most;
        for (size_t i = 0; i < n; i++) {
            kept[i] = n > 1 ? i * (count - 1) / (n - 1) : 0;
        }
        return n;
    }
    size_t parts = (most - 2) / (2 * series);
    parts = parts > 0 ? parts : 1;
    for (size_t p = 0; p < parts; p++) {
        size_t first = p * count / parts, end = (p + 1) * count / parts;
        for (size_t s = 0; s < series; s++) {
            keep_extremes(values + s * count, first, end, keep);
        }
    }
    keep[0] = keep[count - 1] = 1;
    for (size_t i = 0; i < count && out < most; i++) {
        if (keep[i]) {
            kept[out++] = i;
        }
    }
    kept[out - 1] = count - 1; /* when there were too many */
    vit_free(keep);
    return out;
}

/* ---- the charts of a run ---- */

static const struct {
    const char *id, *title, *unit;
    int decimals;
    bool scientific, from_zero;
    vit_log_column columns[VIT_CHART_SERIES];
    const char *names[VIT_CHART_SERIES]; /* NULL: no such series */
} kinds[VIT_CHARTS] = {
    {"loss", "Loss", "", 4, false, false, {VIT_LOG_VAL_LOSS, VIT_LOG_TRAIN_LOSS}, {"val", "train"}},
    {"accuracy",
     "Accuracy",
     "%",
     2,
     false,
     false,
     {VIT_LOG_TOP1, VIT_LOG_TOP5},
     {"top-1", "top-5"}},
    {"lr", "Learning rate", "", 2, true, true, {VIT_LOG_LR, VIT_LOG_LR}, {"learning rate", NULL}},
    {"throughput",
     "Throughput",
     "pictures/s",
     0,
     false,
     true,
     {VIT_LOG_IMAGES_PER_SECOND, VIT_LOG_IMAGES_PER_SECOND},
     {"training", NULL}},
};

void vit_charts_free(vit_chart charts[VIT_CHARTS]) {
    for (size_t c = 0; c < VIT_CHARTS; c++) {
        vit_free(charts[c].x);
        for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
            vit_free(charts[c].series[s].values);
        }
        charts[c] = (vit_chart){0};
    }
}

static void set_axes(vit_chart *chart, bool from_zero) {
    double low = INFINITY, high = -INFINITY;
    for (size_t s = 0; s < VIT_CHART_SERIES; s++) {
        vit_series *series = &chart->series[s];
        for (size_t i = 0; series->name && i < chart->count; i++) {
            if (isfinite(series->values[i])) {
                low = fmin(low, series->values[i]);
                high = fmax(high, series->values[i]);
                series->shown = true;
            }
        }
    }
    chart->x_axis = vit_axis_fit_whole(chart->x[0], chart->x[chart->count - 1], 6);
    /* An axis of epochs ends with them; marks stay where they are. */
    if (chart->count > 1) {
        chart->x_axis.low = chart->x[0];
        chart->x_axis.high = chart->x[chart->count - 1];
    }
    chart->y_axis = vit_axis_fit(from_zero ? fmin(low, 0) : low, high, 4);
}

static vit_status make_chart(const vit_run_log *log, size_t kind, size_t most, double *values,
                             size_t *kept, vit_chart *chart) {
    vit_status status = VIT_OK;
    size_t series = kinds[kind].names[1] ? 2 : 1;
    bool any = false;
    for (size_t s = 0; s < series; s++) {
        for (size_t i = 0; i < log->count; i++) {
            values[s * log->count + i] = vit_log_value(log, i, kinds[kind].columns[s]);
            any = any || isfinite(values[s * log->count + i]);
        }
    }
    *chart = (vit_chart){.id = kinds[kind].id,
                         .title = kinds[kind].title,
                         .unit = kinds[kind].unit,
                         .decimals = kinds[kind].decimals,
                         .scientific = kinds[kind].scientific};
    if (!any) {
        return VIT_OK;
    }
    size_t count = vit_downsample(values, series, log->count, most, kept);
    VIT_TRY(vit_alloc((void **)&chart->x, count, sizeof(double), "curves"));
    for (size_t s = 0; s < series; s++) {
        chart->series[s].name = kinds[kind].names[s];
        VIT_TRY(vit_alloc((void **)&chart->series[s].values, count, sizeof(double), "curves"));
    }
    chart->count = count;
    for (size_t i = 0; i < count; i++) {
        chart->x[i] = vit_log_value(log, kept[i], VIT_LOG_EPOCH);
        for (size_t s = 0; s < series; s++) {
            chart->series[s].values[i] = values[s * log->count + kept[i]];
        }
    }
    set_axes(chart, kinds[kind].from_zero);
cleanup:
    return status;
}

vit_status vit_charts_of_log(const vit_run_log *log, size_t most, vit_chart charts[VIT_CHARTS]) {
    double *values = NULL;
    size_t *kept = NULL;
    vit_status status = VIT_OK;
    memset(charts, 0, VIT_CHARTS * sizeof *charts);
    VIT_TRY(vit_alloc((void **)&values, VIT_CHART_SERIES * log->count, sizeof *values, "curves"));
    VIT_TRY(vit_alloc((void **)&kept, most, sizeof *kept, "curves"));
    for (size_t i = 0; i < VIT_CHARTS && log->count > 0; i++) {
        VIT_TRY(make_chart(log, i, most, values, kept, &charts[i]));
    }
cleanup:
    vit_free(values);
    vit_free(kept);
    if (status != VIT_OK) {
        vit_charts_free(charts);
    }
    return status;
}
