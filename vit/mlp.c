#include "vit/gemm.h"
#include "vit/layers.h"

void vit_mlp_forward(size_t M, size_t D, size_t F, const vit_mlp_weights *w, const float *x,
                     float *hidden, float *activated, float *y) {
    vit_linear_forward(M, D, F, x, w->fc1_weight, w->fc1_bias, hidden);
    vit_gelu_forward(M * F, hidden, activated);
    vit_linear_forward(M, F, D, activated, w->fc2_weight, w->fc2_bias, y);
}

void vit_mlp_backward(size_t M, size_t D, size_t F, const vit_mlp_weights *w, const float *x,
                      const float *hidden, const float *dy, float *scratch, float *dx,
                      const vit_mlp_grads *g) {
    float *activated = scratch, *dhidden = scratch + M * F;
    /* fc2's dx by itself: its weights' gradient needs activated, which comes again only now. */
    vit_gemm(false, false, M, F, D, 1, dy, D, w->fc2_weight, F, 0, dhidden, F);
    vit_gelu_backward(M * F, hidden, dhidden, dhidden, activated);
    vit_linear_backward(M, F, D, activated, w->fc2_weight, dy, NULL, g->fc2_weight, g->fc2_bias);
    vit_linear_backward(M, D, F, x, w->fc1_weight, dhidden, dx, g->fc1_weight, g->fc1_bias);
}
