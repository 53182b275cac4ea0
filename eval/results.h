/* A table of results that grows by a row for each model measured, as timm's validate.py writes it
 * with --results-file: pandas and timm's own scripts read it. */
#ifndef VIT_RESULTS_H
#define VIT_RESULTS_H

#include "vit/model_file.h"

/* The columns, "model,top1,top1_err,...": percent with four decimals; param_count in millions with
 * two; img_size is the width, as timm has it. */
extern const char vit_results_columns[];

/* Fails when a row could not be appended: not a file with these columns, a folder that is not there
 * or may not be written. To be called before the hours that a row may take. */
vit_status vit_results_check(const char *path);

/* Appends a row, below the columns when the file is new or empty. One write to the end of the file,
 * under a lock, so that several processes can share it; what could be written only in part is taken
 * back. name: of the model. */
vit_status vit_results_append(const char *path, const char *name, const vit_model_bundle *bundle,
                              double top1, double top5);

#endif
