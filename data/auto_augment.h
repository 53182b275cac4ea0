/* Automatic augmentation policies, with timm's names, ranges and spelling. */
#ifndef VIT_AUTO_AUGMENT_H
#define VIT_AUTO_AUGMENT_H

#include "data/pixel_ops.h"
#include "vit/rng.h"

#include <stdbool.h>

typedef enum vit_policy {
    VIT_POLICY_NONE = 0,
    VIT_POLICY_RAND = 1, /* RandAugment (Cubuk et al. 2020) as timm */
    VIT_POLICY_THREE =
        2, /* DeiT III's three-augment (Touvron et al. 2022): grey, solarize or blur */
    VIT_POLICY_TRIVIAL = 3 /* TrivialAugment Wide (Mueller and Hutter 2021) as torchvision */
} vit_policy;

typedef struct vit_auto_augment {
    vit_policy policy;
    /* RandAugment: */
    double magnitude;     /* m, 0 to 10 (or mmax) */
    double magnitude_std; /* mstd: normal noise on m; infinity draws m uniformly from 0 to m */
    double magnitude_max; /* mmax */
    double probability;   /* p of each operation */
    int layers;           /* n operations */
    bool increasing;      /* inc1: every operation grows stronger with m */
} vit_auto_augment;

/* "" or "none", "3a", "trivial", or "rand-" with any of m9, n2, p0.5, mstd0.5, mmax10, inc1, joined
 * by '-'. The message names the part that is wrong. */
vit_status vit_auto_augment_parse(const char *text, vit_auto_augment *out);

/* Draws from rng and changes the picture; scratch is a second picture. fill: what shows where a
 * transform leaves the picture. */
vit_status vit_auto_augment_apply(const vit_auto_augment *policy, vit_rng *rng,
                                  const uint8_t fill[3], vit_image *image, vit_image *scratch);

#endif
