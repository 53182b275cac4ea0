/* The RUN folder: what a training run leaves behind.
 *
 *   args.json         every option, its value and where it came from; --config reads it back
 *   classes.txt       class names, one a line, in the order of the model's outputs
 *   log.csv           one row an epoch
 *   last.safetensors  the model after the latest epoch, or where the run was stopped
 *   best.safetensors  the model of the best epoch */
#ifndef VIT_RUN_FOLDER_H
#define VIT_RUN_FOLDER_H

#include "train/trainer.h"
#include "vit/model_file.h"

typedef struct vit_run_folder vit_run_folder;

/* Makes the folder and writes args.json, classes.txt and the head of log.csv, and so proves that it
 * can be written to before anybody waits for an epoch. A folder that already holds a run is
 * refused: nothing is ever overwritten. settings hold the model as trained; sources may be NULL. */
vit_status vit_run_folder_create(const char *out, const char *data,
                                 const vit_train_settings *settings, const unsigned char *sources,
                                 const char *const *class_names, size_t class_count,
                                 vit_run_folder **run);

/* Writes last.safetensors and, when best, best.safetensors. top1 (percent) may be NaN. */
vit_status vit_run_folder_save(vit_run_folder *run, const vit_model_bundle *bundle, int epoch,
                               uint64_t step, double top1, bool best);

/* Adds a row to log.csv. */
vit_status vit_run_folder_log(vit_run_folder *run, const vit_epoch_row *row);

/* The path of last.safetensors once it is written, else NULL. */
const char *vit_run_folder_last(const vit_run_folder *run);

/* A run that ends before its first checkpoint leaves nothing behind: its files are removed, and the
 * folder when it was made for it. The last error's message stays. NULL is fine. */
void vit_run_folder_free(vit_run_folder *run);

#endif
