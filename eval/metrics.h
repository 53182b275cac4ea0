/* Counting what a classifier gets right. */
#ifndef VIT_METRICS_H
#define VIT_METRICS_H

#include <stdbool.h>
#include <stddef.h>

/* True when fewer than k classes score above the label's; equal scores count by lower index first,
 * as a stable sort would. A label whose score is not a number is never right. */
bool vit_in_top_k(size_t K, const float *scores, int label, size_t k);

/* The k best indices, best first, ties by lower index. k <= K. */
void vit_top_k(size_t K, const float *scores, size_t k, int *indices);

#endif
