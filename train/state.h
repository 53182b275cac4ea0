/* The state file of a run, last.state.safetensors: all that training needs to go on bit for bit. It
 * holds the weights too, so that one rename is the moment at which a checkpoint exists: killed
 * before it, a run goes on from the checkpoint before; the model files beside it are what others
 * read, never what a run goes on from.
 *
 * Tensors: model.NAME, exp_avg.NAME, exp_avg_sq.NAME, ema.NAME (those that the optimiser has).
 * __metadata__: "zvit_state" = version, "position", "args" (as args.json), "log" (as log.csv). */
#ifndef VIT_STATE_H
#define VIT_STATE_H

#include "vit/json.h"
#include "vit/params.h"
#include "vit/safetensors.h"

#include <stdint.h>

#define VIT_STATE_VERSION 1

/* How far a run has come. */
typedef struct vit_position {
    uint64_t step;   /* done so far */
    uint64_t bad;    /* of these, left out because something was not finite */
    int epochs_done; /* measured and logged */
    uint64_t cursor; /* steps done of the epoch after these */
    uint64_t epoch_steps;
    uint64_t pictures;                   /* hash of the data: what is trained on and measured on */
    uint64_t epoch_images, epoch_unread; /* seen, and left out, by the steps at the cursor */
    double epoch_loss, epoch_wait, epoch_seconds; /* of the steps at the cursor */
    double train_seconds, eval_seconds;           /* of the whole run */
    int best_epoch;                               /* 0: none yet */
    double best_top1, best_loss, last_top1;       /* NaN: not measured */
} vit_position;
/* The start of a run. */
vit_position vit_position_start(void);

/* Blocks of table->total floats, by the names of their tensors. */
enum { VIT_STATE_MODEL, VIT_STATE_MOMENT1, VIT_STATE_MOMENT2, VIT_STATE_EMA, VIT_STATE_BLOCKS };

/* Writes atomically. blocks that are NULL are left out. */
vit_status vit_state_save(const char *path, const vit_param_table *table,
                          const float *const blocks[VIT_STATE_BLOCKS], const vit_position *position,
                          const char *args, const char *log);

typedef struct vit_state vit_state; /* an open state file; what is got from it lives as long */
/* Errors: a file that cannot be read, is no state, or is one of another version. */
vit_status vit_state_open(const char *path, vit_state **out);
void vit_state_close(vit_state *state);
const vit_position *vit_state_position(const vit_state *state);
const vit_json *vit_state_args(const vit_state *state);
const char *vit_state_log(const vit_state *state);
/* Fills the blocks that are not NULL. EMA weights that the file lacks are those of the model; what
 * else is missing or has another shape is an error. */
vit_status vit_state_read(const vit_state *state, const vit_param_table *table,
                          float *const blocks[VIT_STATE_BLOCKS]);

#endif
