/* Between the files that write a report. */
#ifndef VIT_REPORT_PARTS_H
#define VIT_REPORT_PARTS_H

#include "eval/chart.h"
#include "eval/report.h"
#include "eval/text.h"

#include <math.h>

/* A picture as JPEG for the page; empty when it could not be read. */
typedef struct vit_thumbnail {
    vit_bytes jpeg;
    size_t width, height;
} vit_thumbnail;

/* A label and what it was taken for. */
typedef struct vit_confused_pair {
    size_t label, prediction, count;
} vit_confused_pair;

enum {
    VIT_REPORT_POINTS = 400,       /* of a curve */
    VIT_REPORT_MATRIX_WHOLE = 200, /* classes up to which the matrix is shown whole */
    VIT_REPORT_MATRIX_MOST = 50,   /* of more classes, the most confused ones */
    VIT_REPORT_MISTAKES = 24,
    VIT_REPORT_PAIRS = 10,
    VIT_REPORT_PAIR_PICTURES = 6,
    VIT_REPORT_SIDE = 112, /* of a thumbnail, pixels */
    VIT_REPORT_ROWS = 500  /* of the table of epochs */
};

/* All that the sections are rendered from. */
typedef struct vit_report_view {
    const vit_report *report;
    vit_run_log log;
    vit_chart charts[VIT_CHARTS];
    size_t *matrix_classes; /* (matrix_count) those shown in the matrix */
    size_t matrix_count;    /* 0: no matrix */
    vit_confused_pair pairs[VIT_REPORT_PAIRS];
    size_t pair_count;
    size_t mistakes[VIT_REPORT_MISTAKES]; /* indices of pictures, the surest first */
    size_t mistake_count;
    size_t pair_pictures[VIT_REPORT_PAIRS][VIT_REPORT_PAIR_PICTURES];
    size_t pair_picture_counts[VIT_REPORT_PAIRS];
    vit_thumbnail mistake_thumbs[VIT_REPORT_MISTAKES];
    vit_thumbnail pair_thumbs[VIT_REPORT_PAIRS][VIT_REPORT_PAIR_PICTURES];
    vit_thumbnail *samples; /* (sample_count, sample_versions + 1) */
    const char **sample_names;
    size_t sample_count, sample_versions;
} vit_report_view;

/* report_find.c: what is worth showing */
vit_status vit_report_find(vit_report_view *view);
/* report_pictures.c */
vit_status vit_report_draw_thumbnails(vit_report_view *view);
void vit_report_free_thumbnails(vit_report_view *view);
/* All that was allocated. */
void vit_report_view_free(vit_report_view *view);
vit_status vit_report_view_open(const vit_report *report, vit_report_view *view);

/* report_summary.c */
void vit_report_tiles(const vit_report_view *view, vit_text *page);
void vit_report_settings(const vit_report_view *view, vit_text *page);
void vit_report_data(const vit_report_view *view, vit_text *page);
void vit_report_machine(const vit_report_view *view, vit_text *page);
void vit_report_classes(const vit_report_view *view, vit_text *page);
void vit_report_epochs(const vit_report_view *view, vit_text *page);
/* report_figures.c */
void vit_report_curves(const vit_report_view *view, vit_text *page);
void vit_report_matrix(const vit_report_view *view, vit_text *page);
void vit_report_calibration(const vit_report_view *view, vit_text *page);
void vit_report_values(const vit_report_view *view, vit_text *page); /* for the script */
/* report_pictures.c */
void vit_report_mistakes(const vit_report_view *view, vit_text *page);
void vit_report_pairs(const vit_report_view *view, vit_text *page);
void vit_report_samples(const vit_report_view *view, vit_text *page);

/* How strong a cell of the matrix shows, 0..1, by its share of its row; errors by the root, as few
 * of them matter. At the most the number in it still has a contrast of 4.5 in both looks. */
static inline double vit_report_strength(double share, bool right) {
    return right ? 0.06 + 0.34 * share : 0.12 + 0.58 * sqrt(share);
}

/* A definition list's row: <div><dt>name</dt><dd>; closed by vit_report_row_end. */
void vit_report_row(vit_text *page, const char *name);
void vit_report_row_end(vit_text *page);
/* The class's name, escaped, set apart from the text around it. */
void vit_report_name(vit_text *page, const char *name);

#endif
