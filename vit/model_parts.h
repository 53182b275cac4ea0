/* What loading and saving of model files share, and nobody else needs. */
#ifndef VIT_MODEL_PARTS_H
#define VIT_MODEL_PARTS_H

#include "vit/model.h"
#include "vit/params.h"

/* The key of the config that says how the weights are stored. */
#define VIT_QUANTIZATION "quantization"

/* The tensor with the scales of an int8 weight. */
#define VIT_SCALE_SUFFIX "_scale"
typedef char vit_scale_name[VIT_NAME_MAX + sizeof VIT_SCALE_SUFFIX];

void vit_name_scale(const vit_param *param, vit_scale_name name);

#endif
