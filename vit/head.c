#include "vit/layers.h"
#include "vit/rows.h"

#include <string.h>

/* (N,D) to (D) */
static void pool(const vit_head_shape *s, const float *tokens, float *pooled) {
    size_t D = s->dim;
    if (s->mean_pool) {
        size_t count = s->tokens - s->prefix;
        memset(pooled, 0, D * sizeof *pooled);
        vit_rows_sum(count, D, 1.0f / (float)count, tokens + s->prefix * D, D, pooled);
    } else {
        memcpy(pooled, tokens, D * sizeof *pooled);
    }
}

void vit_head_features(const vit_head_shape *shape, size_t B, const vit_head_weights *w,
                       const float *tokens, const vit_head_saved *saved) {
    size_t D = shape->dim;
    for (size_t b = 0; b < B; b++) {
        pool(shape, tokens + b * shape->tokens * D, saved->pooled + b * D);
    }
    vit_layernorm_forward(B, D, VIT_LAYERNORM_EPS, saved->pooled, D, w->norm_weight, w->norm_bias,
                          saved->features, D, saved->mean, saved->rstd);
}

void vit_head_forward(const vit_head_shape *shape, size_t B, const vit_head_weights *w,
                      const float *tokens, const vit_head_saved *saved, float *logits) {
    size_t D = shape->dim;
    vit_head_features(shape, B, w, tokens, saved);
    vit_linear_forward(B, D, shape->classes, saved->features, w->weight, w->bias, logits);
}

/* (D) to (N,D) */
static void unpool(const vit_head_shape *s, const float *dpooled, float *dtokens) {
    size_t D = s->dim;
    memset(dtokens, 0, s->tokens * D * sizeof *dtokens);
    if (!s->mean_pool) {
        memcpy(dtokens, dpooled, D * sizeof *dtokens);
        return;
    }
    float share = 1.0f / (float)(s->tokens - s->prefix);
    for (size_t i = s->prefix; i < s->tokens; i++) {
        for (size_t j = 0; j < D; j++) {
            dtokens[i * D + j] = share * dpooled[j];
        }
    }
}

void vit_head_backward(const vit_head_shape *shape, size_t B, const vit_head_weights *w,
                       const vit_head_saved *saved, const float *dlogits, float *scratch,
                       float *dtokens, const vit_head_grads *g) {
    size_t D = shape->dim;
    float *dfeatures = scratch;       /* (B,D) */
    float *dpooled = scratch + B * D; /* (B,D) */
    vit_linear_backward(B, D, shape->classes, saved->features, w->weight, dlogits, dfeatures,
                        g->weight, g->bias);
    vit_layernorm_backward(B, D, saved->pooled, D, w->norm_weight, saved->mean, saved->rstd,
                           dfeatures, D, dpooled, D, g->norm_weight, g->norm_bias);
    for (size_t b = 0; b < B; b++) {
        unpool(shape, dpooled + b * D, dtokens + b * shape->tokens * D);
    }
}
