/* A checkpoint that is written while training goes on, from a copy of what it holds. */
#ifndef VIT_SAVER_H
#define VIT_SAVER_H

#include "train/run_folder.h"

typedef struct vit_saver vit_saver;
/* Takes no memory for the copy yet. */
vit_status vit_saver_create(vit_saver **out);
/* Waits for what is being written. NULL is fine. */
void vit_saver_free(vit_saver *saver);

/* Copies the blocks (total floats each; NULL: not there) and begins to write them as
 * vit_run_folder_save does with row NULL; folder and bundle are left alone until vit_saver_wait.
 * Not while another checkpoint is being written. The first copy is what takes memory; without it
 * VIT_ERROR_MEMORY, and nothing has begun. */
vit_status vit_saver_start(vit_saver *saver, vit_run_folder *folder, const vit_model_bundle *bundle,
                           const float *const blocks[VIT_STATE_BLOCKS], size_t total,
                           const vit_position *position);
/* Waits for what is being written, if anything is, and returns how it went. NULL is fine. */
vit_status vit_saver_wait(vit_saver *saver);

#endif
