/* Curves before they are drawn: which points to keep, where the axes begin, end and are marked.
 * The report's SVG and the PNG files beside it are drawn from the same. */
#ifndef VIT_CHART_H
#define VIT_CHART_H

#include "eval/run_log.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct vit_axis {
    double low, high; /* marks at both or outside of the data */
    double step;      /* from one mark to the next */
    int decimals;     /* that a mark's number needs */
    size_t marks;     /* low, low + step, ..., at most VIT_AXIS_MARKS of them */
} vit_axis;
enum { VIT_AXIS_MARKS = 12 };

/* An axis that holds low to high, with steps of 1, 2 or 5 times a power of ten and about `wanted`
 * of them. Without two different finite ends, one around the value (around 0 for NaN). */
vit_axis vit_axis_fit(double low, double high, size_t wanted);
/* The same for whole numbers: steps are whole. */
vit_axis vit_axis_fit_whole(double low, double high, size_t wanted);
double vit_axis_mark(const vit_axis *axis, size_t index);
/* The number at a mark of it. */
enum { VIT_AXIS_LABEL = 48 };
void vit_axis_label(const vit_axis *axis, double mark, char *text, size_t size);
/* 0 at low, 1 at high. */
double vit_axis_place(const vit_axis *axis, double value);

/* Chooses at most `most` (at least 4) of count values, for drawing: of each of equal parts the
 * least and the largest, the first and the last always, so that peaks stay. kept (most) receives
 * ascending indices; returns how many. values that are not finite count as absent. Several series
 * on the same x each have their say: values is (series,count). */
size_t vit_downsample(const double *values, size_t series, size_t count, size_t most, size_t *kept);

enum { VIT_CHART_SERIES = 2, VIT_CHARTS = 4 };

typedef struct vit_series {
    const char *name; /* "val" */
    double *values;   /* (count) NaN where there is none */
    bool shown;       /* has a finite value */
} vit_series;

typedef struct vit_chart {
    const char *id, *title, *unit;
    int decimals; /* of a value that is read off */
    bool scientific;
    size_t count;
    double *x; /* (count) epochs */
    /* The first is the one that matters and is drawn to stand out. */
    vit_series series[VIT_CHART_SERIES];
    vit_axis x_axis, y_axis;
} vit_chart;

/* Loss, accuracy, learning rate and throughput of a run, each downsampled to at most `most` points.
 * A chart without any finite value has a count of 0. */
vit_status vit_charts_of_log(const vit_run_log *log, size_t most, vit_chart charts[VIT_CHARTS]);
void vit_charts_free(vit_chart charts[VIT_CHARTS]);

#endif
