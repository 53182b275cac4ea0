/* log.csv of a run folder, read back. */
#ifndef VIT_RUN_LOG_H
#define VIT_RUN_LOG_H

#include "vit/status.h"

#include <stddef.h>

/* The columns; what a file lacks is NaN. */
typedef enum vit_log_column {
    VIT_LOG_EPOCH,
    VIT_LOG_STEP,
    VIT_LOG_LR,
    VIT_LOG_TRAIN_LOSS,
    VIT_LOG_VAL_LOSS,
    VIT_LOG_TOP1, /* percent */
    VIT_LOG_TOP5,
    VIT_LOG_IMAGES_PER_SECOND,
    VIT_LOG_DATA_WAIT, /* share of the epoch */
    VIT_LOG_SECONDS,
    VIT_LOG_SKIPPED,
    VIT_LOG_COLUMNS
} vit_log_column;
extern const char *const vit_log_names[VIT_LOG_COLUMNS]; /* "epoch", "step", ... */

typedef struct vit_run_log {
    size_t count; /* epochs */
    double *values /* (count,VIT_LOG_COLUMNS) */;
    size_t best;    /* row: most right, then lower loss, then the earlier; without val the last */
    double seconds; /* of all epochs */
} vit_run_log;

/* A missing file is an error, one with a head alone is not. Message: file, line. */
vit_status vit_run_log_read(const char *path, vit_run_log *log);
vit_status vit_run_log_parse(const char *text, const char *what, vit_run_log *log);
void vit_run_log_free(vit_run_log *log);

static inline double vit_log_value(const vit_run_log *log, size_t row, vit_log_column column) {
    return log->values[row * VIT_LOG_COLUMNS + column];
}

#endif
