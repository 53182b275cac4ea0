/* The model file: one safetensors file that is enough to classify. Tensors under timm's names; in
 * __metadata__ "format" = "pt", "zvit" = layout version, "config" = JSON in timm's config.json
 * form. */
#ifndef VIT_MODEL_FILE_H
#define VIT_MODEL_FILE_H

#include "vit/json.h"
#include "vit/model.h"
#include "vit/safetensors.h"

/* Layout 1 holds float weights alone; layout 2 may also hold those of linear layers as int8, when
 * its config says "quantization": "int8" (docs/int8.md). A file is written with the lowest layout
 * that it needs. */
#define VIT_MODEL_FILE_VERSION 2

/* Everything in a model file. */
typedef struct vit_model_bundle {
    vit_model model; /* first: api/model.c finds the bundle by it */
    vit_preprocess preprocess;
    char **class_names; /* (num_classes), UTF-8 */
    float *params;      /* (model.params.total); of an int8 model without what model.int8 holds */
    vit_json *config; /* the whole config object as read, unknown keys kept; NULL for a new model */
} vit_model_bundle;

/* A fresh model with initialised weights; class_names are copied (num_classes of them =
 * config->num_classes). */
vit_status vit_model_bundle_new(const vit_config *config, const vit_preprocess *preprocess,
                                const char *const *class_names, uint64_t seed,
                                vit_model_bundle **out);
/* path: a model file, a RUN folder (its best.safetensors), or a folder that zvit export made. Every
 * tensor must be there with its shape, none may be unknown; a newer layout version is refused with
 * both numbers named; a weight or scale that is not finite is refused. */
vit_status vit_model_bundle_load(const char *path, vit_model_bundle **out);
/* The same into a bundle that the caller zeroed, and clears, also after a failure; and from the
 * bytes of a model file, borrowed during the call, which what names in messages. */
vit_status vit_model_bundle_read(const char *path, vit_model_bundle *bundle);
vit_status vit_model_bundle_read_memory(const void *bytes, size_t size, const char *what,
                                        vit_model_bundle *bundle);
void vit_model_bundle_clear(vit_model_bundle *bundle);
/* Makes an int8 model one with float weights: scale times int8. Nothing to do for others. */
void vit_model_bundle_dequantise(vit_model_bundle *bundle);
/* Writes atomically; params NULL means the bundle's own. extra metadata entries (for example
 * "epoch") may be added. */
vit_status vit_model_bundle_save(const vit_model_bundle *bundle, const float *params,
                                 const vit_metadata *extra, size_t extra_count, const char *path);
/* The same with the weights of the linear layers as int8; the bundle's are floats. */
vit_status vit_model_bundle_save_int8(const vit_model_bundle *bundle, const char *path);
void vit_model_bundle_free(vit_model_bundle *bundle);

/* The config JSON object as a model file holds it; the caller frees it. */
vit_json *vit_model_config_json(const vit_model_bundle *bundle);

/* RUN folder -> RUN/best.safetensors, else its last.safetensors or model.safetensors; a file ->
 * itself. */
vit_status vit_model_path(const char *path, char *buffer, size_t size);

#endif
