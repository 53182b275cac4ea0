/* Models for other programs: weights without metadata of ours, and their config in a file of its
 * own. */
#ifndef VIT_EXPORT_H
#define VIT_EXPORT_H

#include "vit/model_file.h"

typedef enum vit_export_format {
    VIT_EXPORT_TIMM = 0,       /* what timm loads: softmax attention without rotary position only */
    VIT_EXPORT_SAFETENSORS = 1 /* any model: the same tensors, the config as a model file has it */
} vit_export_format;
extern const char *const vit_export_format_names[]; /* "timm", "safetensors" */

/* Where an export goes: out is a folder, which receives model.safetensors, config.json and
 * sample.safetensors (the names that timm's local-dir: looks for), or FILE.safetensors, which goes
 * with FILE.json and FILE.sample.safetensors. */
typedef struct vit_export_paths {
    char weights[4096], config[4096], sample[4096];
} vit_export_paths;
/* Makes the folder when it is not there. */
vit_status vit_export_place(const char *out, vit_export_paths *paths);

/* Writes weights and config, replacing files of these names. A model that timm has not is refused
 * with VIT_ERROR_UNSUPPORTED, before anything is written or made; vit_export_check asks beforehand.
 */
vit_status vit_export_check(const vit_model_bundle *bundle, vit_export_format format);
vit_status vit_export(const vit_model_bundle *bundle, vit_export_format format,
                      const vit_export_paths *paths);

/* Writes "images" (count,3,H,W), normal random numbers, and the "logits" (count,K) that the model
 * gives them: what another program's result is compared with. progress (may be NULL) is told after
 * each picture. */
vit_status vit_export_sample(const vit_model_bundle *bundle, size_t count, uint64_t seed,
                             const char *path,
                             void (*progress)(void *context, size_t done, size_t total),
                             void *context);

#endif
