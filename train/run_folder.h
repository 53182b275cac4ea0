/* The RUN folder: what a training run leaves behind.
 *
 *   args.json         every option, its value and where it came from; --config reads it back
 *   classes.txt       class names, one a line, in the order of the model's outputs
 *   log.csv           one row an epoch
 *   last.safetensors  the model after the latest epoch, or where the run was stopped or last saved
 *   best.safetensors  the model of the best epoch
 *   last.state.safetensors  what --resume goes on from (train/state.h)
 *   lock              while a trainer is at work here
 *
 * At the end of an epoch last, best, state and log are written in this order. The state is what
 * counts: a run that was killed goes on from it, does again what came after it, to the same bits,
 * and sets the log back to the rows that the state knows. */
#ifndef VIT_RUN_FOLDER_H
#define VIT_RUN_FOLDER_H

#include "train/state.h"
#include "train/trainer.h"
#include "vit/model_file.h"

typedef struct vit_run_folder vit_run_folder;

/* Makes the folder, or finds it, and locks it against a second trainer. A folder that already holds
 * a run is refused unless resume is set, one that holds none if it is. *state: where a resumed run
 * left off, for the caller to close; NULL when it left nothing yet. */
vit_status vit_run_folder_open(const char *out, bool resume, vit_run_folder **run,
                               vit_state **state);

/* Writes args.json, classes.txt and log.csv, and so proves that the folder can be written to before
 * anybody waits for an epoch. settings hold the model as trained; sources may be NULL; state as
 * above. */
vit_status vit_run_folder_begin(vit_run_folder *run, const char *data,
                                const vit_train_settings *settings, const unsigned char *sources,
                                const char *const *class_names, size_t class_count,
                                const vit_state *state);

/* Writes last.safetensors and, when the row is best, best.safetensors. blocks as in train/state.h:
 * the models hold the average of the weights where there is one. row (may be NULL): an epoch that
 * ends here, whose row is added to the log that the state holds. Nothing is a checkpoint until the
 * state is written, which is last. top1 (percent) is NaN between epochs. */
vit_status vit_run_folder_save(vit_run_folder *run, const vit_model_bundle *bundle,
                               const float *const blocks[VIT_STATE_BLOCKS],
                               const vit_position *position, const vit_epoch_row *row);

/* The path of last.safetensors once it is written, else NULL. */
const char *vit_run_folder_last(const vit_run_folder *run);

/* Unlocks. A run that ends before its first checkpoint leaves nothing behind: its files are
 * removed, and the folder when it was made for it. The last error's message stays. NULL is fine. */
void vit_run_folder_free(vit_run_folder *run);

/* The options of a run, as args.json has them, from its state, or from args.json when there is no
 * state yet. The caller frees *args. */
vit_status vit_run_folder_args(const char *folder, vit_json **args);

#endif
