/* Position embeddings for another grid of patches. */
#ifndef VIT_RESAMPLE_H
#define VIT_RESAMPLE_H

#include "vit/status.h"

/* A learned position embedding of a from_h x from_w grid as one of to_h x to_w, all at least 1: the
 * bicubic filter (a = -0.5) with antialiasing, in double, as timm's resample_abs_pos_embed and
 * torch's interpolate do it. Only patches: a class token's row is the caller's. */
vit_status vit_resample_positions(size_t dim, size_t from_h, size_t from_w,
                                  const float *from /* (from_h*from_w,D) */, size_t to_h,
                                  size_t to_w, float *to /* (to_h*to_w,D) */);

#endif
