/* The file that a model starts from, and how its tensors are found: shared by init_from.c and
 * init_attention.c only. */
#ifndef VIT_INIT_SOURCE_H
#define VIT_INIT_SOURCE_H

#include "train/init_from.h"

typedef struct init_source {
    char path[4096];
    vit_safetensors *file;
    bool *used;               /* (tensors of the file) */
    vit_model_bundle *bundle; /* what the file is when it is one of ours, else NULL */
    vit_model_bundle *target;
    const vit_init_listener *listener;
    size_t counts[VIT_TENSOR_ACTIONS];
} init_source;

/* Counts and tells the listener. */
void init_note(init_source *source, vit_init_action action, const char *name, const char *detail);
/* Whether the file has the tensor. */
bool init_has(const init_source *source, const char *name);
/* Marks it as used, checks type, shape and that every value is finite, converts it. */
vit_status init_read(init_source *source, const char *name, int ndim, const size_t *shape,
                     float *out);

/* The parameters of one block's attention, prefix "blocks.L.attn.". */
vit_status init_attention(init_source *source, int block);

#endif
