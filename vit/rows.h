/* What several layers do with the rows of a matrix. Private to the layers. */
#ifndef VIT_ROWS_H
#define VIT_ROWS_H

#include <stddef.h>

/* Every row of y becomes the given row: a bias on which a product is then added. Shares out the
 * rows among threads when large and outside a parallel region. */
void vit_rows_fill(size_t M, size_t n, const float *row /* (n) */, float *y /* (M,n) */,
                   size_t stride);

/* sum += scale * (x_0 + x_1 + ... ), row after row in this order. */
void vit_rows_sum(size_t M, size_t n, float scale, const float *x /* (M,n) */, size_t stride,
                  float *sum /* (n) */);

/* y += x, which lies apart from it. */
void vit_add(size_t n, const float *x, float *y);

#endif
