#include "vit/layers.h"
#include "vit/rows.h"

#include <string.h>

void vit_pos_embed_forward(size_t B, size_t N, size_t D, const float *cls_token,
                           const float *pos_embed, float *tokens) {
    for (size_t b = 0; b < B; b++) {
        float *picture = tokens + b * N * D;
        if (cls_token) {
            memcpy(picture, cls_token, D * sizeof *picture);
        }
        vit_add(N * D, pos_embed, picture);
    }
}

void vit_pos_embed_backward(size_t B, size_t N, size_t D, const float *dtokens, float *dcls_token,
                            float *dpos_embed) {
    vit_rows_sum(B, N * D, 1, dtokens, N * D, dpos_embed);
    if (dcls_token) {
        vit_rows_sum(B, D, 1, dtokens, N * D, dcls_token);
    }
}
