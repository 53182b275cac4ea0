/* Test-time augmentation (vit_tta in vit/zvit.h): the network is also shown the mirror image of its
 * input, and the mean is taken of the two softmax outputs, not of the logits. */
#ifndef VIT_TTA_H
#define VIT_TTA_H

#include <stddef.h>

extern const char *const vit_tta_names[]; /* "none", "flip", NULL at the end */

/* Turns every row left to right: (3,H,W) as 3 H rows. */
void vit_mirror_rows(size_t rows, size_t width, float *pixels /* (rows,width) */);

/* a becomes the mean of a and b: of probabilities, where they alone are wanted, and of features. */
void vit_mean_of_two(size_t n, float *a /* (n) */, const float *b /* (n) */);

/* a becomes log((softmax(a) + softmax(b)) / 2): logits whose softmax is the mean of the
 * probabilities, so that all figures are made of them as of any other. The sum is taken of
 * logarithms, so that what is too small for a float as a probability still has its loss. */
void vit_mean_of_two_logits(size_t K, float *a /* (K) */, const float *b /* (K) */);

#endif
