/* Weights files as other programs write them: a model's tensors, changed and saved. */
#ifndef VIT_TEST_WEIGHTS_H
#define VIT_TEST_WEIGHTS_H

#include "vit/model_file.h"

typedef struct weights {
    vit_tensor items[128]; /* names and data owned */
    size_t count;
} weights;

/* A model's tensors as somebody without zvit would have them: no metadata of ours. */
weights weights_of(const vit_model_bundle *bundle);
void weights_free(weights *w);
/* A further tensor; values are copied, NULL for zeros. */
void weights_add(weights *w, const char *name, int ndim, const size_t *shape, const float *values);
/* The functions below fail the test when there is no tensor of that name. */
vit_tensor *weights_find(weights *w, const char *name);
void weights_replace(weights *w, const char *name, int ndim, const size_t *shape,
                     const float *values);
void weights_remove(weights *w, const char *name);
/* FOLDER/weights.safetensors, its name in path. */
const char *weights_save(const weights *w, const char *folder, char path[1024]);

#endif
