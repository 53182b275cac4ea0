/* Training runs that take a second. */
#ifndef VIT_TEST_RUNS_H
#define VIT_TEST_RUNS_H

#include "train/recipe.h"

/* Every default, and a network for pictures of 16 x 16 pixels that learns in a few steps. */
vit_train_settings small_run_settings(void);

/* The class names of make_pictures' data for it. */
extern const char *const small_run_classes[3];

#endif
