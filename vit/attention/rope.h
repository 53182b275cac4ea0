/* Rotary position embedding (Su et al. 2021), half-split pairs (j, j + d/2); axial in two
 * dimensions for images. */
#ifndef VIT_ROPE_H
#define VIT_ROPE_H

#include "vit/simd.h"
#include "vit/status.h"

#include <stdbool.h>

typedef enum vit_rope_kind { VIT_ROPE_NONE = 0, VIT_ROPE_1D = 1, VIT_ROPE_2D = 2 } vit_rope_kind;

extern const char *const vit_rope_names[]; /* "none", "1d", "2d", NULL at the end */

#define VIT_ROPE_2D_BASE 100.0
#define VIT_ROPE_1D_BASE 10000.0

/* cosine and sine for token t and pair j at [t * d/2 + j]. For 2d: tokens are prefix tokens (not
 * turned), then the grid row by row; pairs 0..d/4-1 turn by row * base^(-j/(d/4)), pairs d/4..d/2-1
 * by column. For 1d: position = token index, prefix included, angle position * base^(-2j/d). d
 * even; a multiple of 4 for 2d; grid_h * grid_w + prefix = N for 2d. */
void vit_rope_table(vit_rope_kind kind, size_t N, size_t prefix, size_t grid_h, size_t grid_w,
                    size_t d, float *cosine /* (N,d/2) */, float *sine /* (N,d/2) */);

/* Turns one row by the angles of its token: sign +1 by +angle, -1 back. */
VIT_INLINE void vit_rope_turn(size_t pairs, const float *restrict cosine,
                              const float *restrict sine, float sign, float *restrict row) {
    for (size_t j = 0; j < pairs; j++) {
        float a = row[j], b = row[pairs + j], s = sign * sine[j];
        row[j] = a * cosine[j] - b * s;
        row[pairs + j] = b * cosine[j] + a * s;
    }
}

/* Turns each of the N rows x[t * stride .. + d) in place: by +angle, or by -angle (the backward)
 * when inverse. */
void vit_rope_apply(size_t N, size_t d, const float *cosine, const float *sine, bool inverse,
                    float *x, size_t stride);

#endif
