/* The report of a training run: one HTML file that needs nothing beside it, and the same plots as
 * PNG and SVG. docs/report.md tells what is in it. */
#ifndef VIT_REPORT_H
#define VIT_REPORT_H

#include "eval/outcome.h"
#include "eval/samples.h"
#include "vit/options.h"

/* What a report is made of. What is NULL or 0 is left out, with the sections that need it. All is
 * borrowed. */
typedef struct vit_report {
    const char *run; /* the folder; its log.csv is read */
    const char *data, *architecture;
    double parameters;
    double flops; /* of one picture's forward pass */
    int epochs;   /* planned */
    bool running; /* more is to come */
    /* Settings with their values and, where a group has them, sources. */
    const vit_option_group *settings;
    size_t setting_groups;
    const vit_dataset *train, *val;
    const vit_outcome *outcome; /* of val */
    int outcome_epoch;          /* whose model it is of; 0: the best */
    const vit_samples_config *samples;
    vit_decode_options decode;
    const vit_json *machine; /* an object as `zvit info --json` prints it */
    const char *note;        /* why something is missing: a sentence */
} vit_report;

/* Writes the HTML file under path. */
vit_status vit_report_write(const vit_report *report, const char *path);

/* Writes curves, confusion_matrix and calibration as .png and .svg into folder, as far as there is
 * something to draw. Without cairo VIT_ERROR_UNSUPPORTED. */
vit_status vit_report_plots(const vit_report *report, const char *folder);

#endif
