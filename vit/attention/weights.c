#include "vit/attention/weights.h"

#include "vit/attention/core.h"

size_t vit_attention_weights_scratch(const vit_attention *attention) {
    return vit_attention_core_of(&attention->config)->weights_scratch(attention);
}

void vit_attention_weights(const vit_attention *attention, const float *params,
                           const vit_attention_saved *saved, size_t b, size_t h, float *scratch,
                           float *W) {
    const vit_core_weights_args args = {
        .params = params,
        .head = h,
        .packed = vit_attention_head(attention, saved->packed, b, h),
        .scratch = scratch,
        .W = W,
    };
    vit_attention_core_of(&attention->config)->weights(attention, &args);
}
