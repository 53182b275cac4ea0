/* Whether a run may go on from a state with these settings and this data. */
#ifndef VIT_RESUME_H
#define VIT_RESUME_H

#include "data/folder.h"
#include "train/recipe.h"
#include "train/state.h"

/* Hash of what is trained on and measured on: the names of the files and their labels in order, but
 * not where they lie. val may be NULL. */
uint64_t vit_resume_pictures(const vit_dataset *train, const vit_dataset *val);

/* VIT_ERROR_ARGUMENT naming the first option whose value is not the one that the run began with,
 * those apart that may change (vit_option.may_change), or the data. */
vit_status vit_resume_check(const vit_train_settings *settings, uint64_t pictures,
                            const vit_state *state);

#endif
