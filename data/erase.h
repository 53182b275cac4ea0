/* Random erasing (Zhong et al. 2020) as timm's RandomErasing: after normalising, boxes are
 * overwritten. */
#ifndef VIT_ERASE_H
#define VIT_ERASE_H

#include "vit/rng.h"

#include <stddef.h>

typedef enum vit_erase_mode {
    VIT_ERASE_PIXEL = 0, /* every value drawn from a standard normal */
    VIT_ERASE_CONST = 1, /* zeros: the mean colour */
    VIT_ERASE_RAND = 2   /* one normal draw a channel and box */
} vit_erase_mode;
extern const char *const vit_erase_mode_names[]; /* "pixel", "const", "rand" */

typedef struct vit_erase_options {
    double reprob; /* probability that a picture is erased at all */
    int remode;    /* vit_erase_mode */
    int recount;   /* at most this many boxes (1 .. recount, drawn); their area is shared out */
} vit_erase_options;

/* A box covers 2 % to 1/3 of the picture, with an aspect between 0.3 and 1/0.3; up to ten tries to
 * fit it. */
void vit_random_erase(const vit_erase_options *options, vit_rng *rng, size_t channels,
                      size_t height, size_t width, float *image /* (C,H,W) */);

#endif
