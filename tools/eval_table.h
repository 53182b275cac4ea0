/* What zvit eval prints: one model's figures below each other, several models' side by side. */
#ifndef ZVIT_EVAL_TABLE_H
#define ZVIT_EVAL_TABLE_H

#include "tools/cmd.h"

#include "eval/outcome.h"
#include "vit/model_file.h"

/* What is kept of a model once it is measured. Zero-initialise; release with cli_eval_row_free. */
typedef struct cli_eval_row {
    char *model, *root; /* as called; the pictures' folder or list */
    vit_json *json;     /* vit_outcome_json, short */
    size_t parameters;
    vit_metrics figures; /* without the tables */
    double images_per_second;
} cli_eval_row;

vit_status cli_eval_row_fill(cli_eval_row *row, const vit_model_bundle *bundle,
                             const vit_outcome *outcome);
void cli_eval_row_free(cli_eval_row *row);

/* The object of one model, an array of several; copies, which the caller frees. */
vit_json *cli_eval_json(const cli_eval_row *rows, size_t count);

/* One model, with the classes it finds hardest and what it takes most often for another. */
void cli_eval_print_one(const vit_outcome *outcome);
/* Several, a row each. */
void cli_eval_print_table(const cli_eval_row *rows, size_t count);

#endif
