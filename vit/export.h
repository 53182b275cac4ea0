/* Models for other programs, in formats that are rows of one table. */
#ifndef VIT_EXPORT_H
#define VIT_EXPORT_H

#include "vit/model_file.h"

/* The formats, a row each: identifier, name, ending of the file, config's name in a folder (NULL:
 * the file holds it), what it is for, whether a model has it (NULL: every model), how it is
 * written. The last two are functions that export.c sees: of itself, or of a header of the format.
 */
#define VIT_EXPORT_FORMATS(X)                                                                      \
    X(TIMM, "timm", ".safetensors", "config.json",                                                 \
      "softmax models without rotary position, as timm loads them", timm_check, timm_write)        \
    X(SAFETENSORS, "safetensors", ".safetensors", "config.json", "the tensors of any model", NULL, \
      safetensors_write)                                                                           \
    X(ONNX, "onnx", ".onnx", NULL, "the graph with its weights, for onnxruntime and its like",     \
      vit_onnx_check, vit_onnx_write)                                                              \
    X(INT8, "int8", ".safetensors", NULL, "a model file of a quarter of the size, for zvit",       \
      int8_check, int8_write)

#define VIT_EXPORT_ID(id, ...) VIT_EXPORT_##id,
typedef enum vit_export_format { VIT_EXPORT_FORMATS(VIT_EXPORT_ID) } vit_export_format;
#undef VIT_EXPORT_ID
extern const char *const vit_export_format_names[]; /* in this order, NULL at the end */

/* "; NAME: what it is for" of each format, one after another. */
#define VIT_EXPORT_HELP_ROW(id, name, suffix, config, help, check, write) "; " name ": " help
#define VIT_EXPORT_HELP VIT_EXPORT_FORMATS(VIT_EXPORT_HELP_ROW)

/* Where an export goes: out is a folder, which receives model.safetensors (or the format's own
 * ending), config.json and sample.safetensors (the names that timm's local-dir: looks for), or
 * FILE.safetensors, which goes with FILE.json and FILE.sample.safetensors. */
typedef struct vit_export_paths {
    char weights[4096];
    char config[4096]; /* "" when the format has none */
    char sample[4096];
} vit_export_paths;
/* Makes the folder when it is not there. A name that ends as another format's file is refused. */
vit_status vit_export_place(vit_export_format format, const char *out, vit_export_paths *paths);

/* Writes the file and its config, replacing files of these names. A model that the format has not
 * (as none has one with int8 weights: vit_model_bundle_dequantise) is refused with
 * VIT_ERROR_UNSUPPORTED, before anything is written or made; vit_export_check asks beforehand. */
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
