/* The weights of the zero-sum attentions written out, for their cores' weights(). Private to
 * vit/attention. */
#ifndef VIT_ATTENTION_RADIAL_H
#define VIT_ATTENTION_RADIAL_H

#include "vit/attention/core.h"

/* One head's gates, and room for the parts of one row of logits. */
typedef struct vit_radial {
    const vit_attention *attention;
    float *gates; /* (2 or 3,N) */
    float *parts; /* (3,N) */
} vit_radial;

/* Floats of scratch. */
size_t vit_radial_scratch(const vit_attention *attention);
vit_radial vit_radial_make(const vit_attention *attention, const vit_core_weights_args *args);

/* The zero-sum parts of `count` logits; then r of row t is sum over its gates of gate x part, the
 * zero order with it where the configuration has it. */
void vit_radial_logits(const vit_radial *radial, size_t count, const float *s);
float vit_radial_weight(const vit_radial *radial, size_t t, size_t count, size_t i);

#endif
