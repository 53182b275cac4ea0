#include "vit/layers.h"

void vit_mlp_forward(size_t M, size_t D, size_t F, const vit_mlp_weights *w, const float *x,
                     float *hidden, float *activated, float *y) {
    vit_linear_forward(M, D, F, x, w->fc1_weight, w->fc1_bias, hidden);
    vit_gelu_forward(M * F, hidden, activated);
    vit_linear_forward(M, F, D, activated, w->fc2_weight, w->fc2_bias, y);
}

void vit_mlp_backward(size_t M, size_t D, size_t F, const vit_mlp_weights *w, const float *x,
                      const float *hidden, const float *activated, const float *dy, float *scratch,
                      float *dx, const vit_mlp_grads *g) {
    /* scratch is the gradient of activated, then of hidden. */
    vit_linear_backward(M, F, D, activated, w->fc2_weight, dy, scratch, g->fc2_weight, g->fc2_bias);
    vit_gelu_backward(M * F, hidden, scratch, scratch);
    vit_linear_backward(M, D, F, x, w->fc1_weight, scratch, dx, g->fc1_weight, g->fc1_bias);
}
