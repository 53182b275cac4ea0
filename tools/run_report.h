/* The report of a run with all that belongs to it, for `zvit report` and for train. */
#ifndef ZVIT_RUN_REPORT_H
#define ZVIT_RUN_REPORT_H

#include "tools/cmd.h"

#include "eval/report.h"
#include "train/recipe.h"
#include "train/trainer.h"

/* Fills in what follows from the settings: architecture, operations, samples, decoding. samples is
 * the caller's and belongs to the report. train may be NULL. */
void cli_report_settings(vit_report *report, const vit_train_settings *settings,
                         const vit_option_group *groups, const vit_dataset *train,
                         vit_samples_config *samples);

/* Writes the page under path and, into folder, the plots and the files of the outcome. *left_out:
 * NULL, or a sentence that says what could not be written because cairo is missing. */
vit_status cli_write_report(const vit_report *report, const char *path, const char *folder,
                            const char **left_out);

/* ---- while training ---- */

typedef struct cli_train_report {
    const cli_verb *verb;
    const char *run, *data;
    unsigned char *sources; /* of the settings, as vit_train_setting_groups */
    /* The rest is this module's. Zero-initialise. */
    vit_json *machine;
    vit_outcome *outcome; /* of the best epoch since training began or was taken up again */
    int outcome_epoch;
    double cost;    /* seconds that the page took last time */
    double written; /* when it was done */
    bool warned;
} cli_train_report;

/* A vit_train_callbacks.look: after each epoch it writes RUN/report.html again, unless that would
 * take more than a fiftieth of the time since the last; at the end all that belongs to a report.
 * What goes wrong is a warning. */
void cli_train_report_look(cli_train_report *report, const vit_train_look *look);
void cli_train_report_free(cli_train_report *report);

#endif
