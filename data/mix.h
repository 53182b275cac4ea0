/* Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) over a batch, as timm's Mixup in batch
 * mode: picture i is mixed with picture B-1-i, one draw a batch. Nothing is changed in place: each
 * slot mixes its own pictures into its own memory, so that the result does not depend on who comes
 * first. */
#ifndef VIT_MIX_H
#define VIT_MIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vit_mix_options {
    double mixup, cutmix; /* alpha of each Beta distribution; 0 = off */
    double prob;          /* of mixing a batch at all */
    double switch_prob;   /* of CutMix, when both are on */
} vit_mix_options;

/* One batch's draw. */
typedef struct vit_mix {
    double lambda; /* share of the picture itself; 1 = not mixed */
    bool cutmix;
    size_t y0, y1, x0, x1; /* CutMix: the box taken from the other picture */
} vit_mix;

/* Whether any batch may be mixed. */
static inline bool vit_mix_is_wanted(const vit_mix_options *options) {
    return options->mixup > 0 || options->cutmix > 0;
}

/* Keyed by (seed, epoch, batch number). For CutMix lambda is corrected to the box's real area. */
vit_mix vit_mix_draw(const vit_mix_options *options, uint64_t seed, uint32_t epoch, uint64_t batch,
                     size_t height, size_t width);

/* Whether pictures of the batch are mixed: else the other of each is not looked at. */
static inline bool vit_mix_is_on(const vit_mix *mix) {
    return mix->lambda < 1;
}

/* Picture i, own, and the one it is mixed with, other, each (C,H,W), into out (C,H,W). */
void vit_mix_image(const vit_mix *mix, size_t channels, size_t height, size_t width,
                   const float *own, const float *other, float *out);

/* Its soft target: smoothed one-hot vectors mixed with the same share. */
void vit_mix_target(const vit_mix *mix, size_t B, size_t i, size_t K, const int *labels /* (B) */,
                    double smoothing, float *target /* (K) */);

#endif
