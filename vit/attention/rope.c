#include "vit/attention/rope.h"

#include <math.h>
#include <string.h>

const char *const vit_rope_names[] = {"none", "1d", "2d", NULL};

/* Cosine and sine of position * base^(-j / pairs) for j = 0 .. pairs-1. */
static void fill_angles(double position, double base, size_t pairs, float *cosine, float *sine) {
    for (size_t j = 0; j < pairs; j++) {
        double angle = position * pow(base, -(double)j / (double)pairs);
        cosine[j] = (float)cos(angle);
        sine[j] = (float)sin(angle);
    }
}

/* The row turns the first half of the pairs, the column the second. The patch before has the same
 * row, the patch above the same column: what is there already is copied, because cosines take most
 * of the time in which a model is set up. c and s are the patch's place in the tables. */
static void fill_axial(size_t row, size_t column, size_t grid_w, size_t pairs, float *c, float *s) {
    size_t half = pairs / 2, before = pairs, above = grid_w * pairs;
    if (column == 0) {
        fill_angles((double)row, VIT_ROPE_2D_BASE, half, c, s);
    } else {
        memcpy(c, c - before, half * sizeof *c);
        memcpy(s, s - before, half * sizeof *s);
    }
    if (row == 0) {
        fill_angles((double)column, VIT_ROPE_2D_BASE, half, c + half, s + half);
    } else {
        memcpy(c + half, c + half - above, half * sizeof *c);
        memcpy(s + half, s + half - above, half * sizeof *s);
    }
}

void vit_rope_table(vit_rope_kind kind, size_t N, size_t prefix, size_t grid_h, size_t grid_w,
                    size_t d, float *cosine, float *sine) {
    (void)grid_h;
    size_t pairs = d / 2;
    for (size_t t = 0; t < N; t++) {
        float *c = cosine + t * pairs;
        float *s = sine + t * pairs;
        if (kind == VIT_ROPE_1D) {
            fill_angles((double)t, VIT_ROPE_1D_BASE, pairs, c, s);
        } else if (kind == VIT_ROPE_2D && t >= prefix) {
            size_t patch = t - prefix;
            fill_axial(patch / grid_w, patch % grid_w, grid_w, pairs, c, s);
        } else {
            fill_angles(0, 1, pairs, c, s); /* angle 0: not turned */
        }
    }
}

VIT_CLONES static void turn_rows(size_t N, size_t pairs, const float *cosine, const float *sine,
                                 float sign, float *x, size_t stride) {
    for (size_t t = 0; t < N; t++) {
        vit_rope_turn(pairs, cosine + t * pairs, sine + t * pairs, sign, x + t * stride);
    }
}

void vit_rope_apply(size_t N, size_t d, const float *cosine, const float *sine, bool inverse,
                    float *x, size_t stride) {
    turn_rows(N, d / 2, cosine, sine, inverse ? -1.0f : 1.0f, x, stride);
}
