/* Whole models in golden files. */
#ifndef VIT_TEST_GOLDEN_MODEL_H
#define VIT_TEST_GOLDEN_MODEL_H

#include "vit/model.h"
#include "vit/safetensors.h"

/* The shape that the metadata of a vit_*.safetensors says. */
vit_config golden_model_config(const vit_safetensors *file);

/* What timm made, its shape, and that a model with these parameters gives timm's logits. */
#define GOLDEN_TIMM "timm_deit_tiny_img64_depth2.safetensors"
vit_config golden_timm_config(void);
void golden_timm_check(const vit_model *model, const float *params, double bound);

/* Every parameter from "PREFIX" + name; the file's shapes must be ours. */
void golden_model_params(const vit_model *model, const vit_safetensors *file, const char *prefix,
                         float *params);

#endif
