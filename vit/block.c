#include "vit/block.h"

#include "vit/layers.h"
#include "vit/rows.h"

#include <stdio.h>

/* In the order of timm's module, so that a listing reads as the network runs. */
vit_status vit_block_init(vit_block *block, const vit_attention_config *attention, size_t hidden,
                          const char *prefix, vit_param_table *table) {
    vit_status status = VIT_OK;
    size_t D = attention->dim;
    *block = (vit_block){.tokens = attention->tokens, .dim = D, .hidden = hidden};
    char inner[VIT_NAME_MAX];
    snprintf(inner, sizeof inner, "%sattn.", prefix);
    VIT_TRY(
        vit_params_add_norm(table, prefix, "norm1", D, &block->norm1_weight, &block->norm1_bias));
    VIT_TRY(vit_attention_init(&block->attention, attention, inner, table));
    VIT_TRY(
        vit_params_add_norm(table, prefix, "norm2", D, &block->norm2_weight, &block->norm2_bias));
    VIT_TRY(vit_params_add_linear(table, prefix, "mlp.fc1", hidden, D, &block->fc1_weight,
                                  &block->fc1_bias));
    VIT_TRY(vit_params_add_linear(table, prefix, "mlp.fc2", D, hidden, &block->fc2_weight,
                                  &block->fc2_bias));
cleanup:
    if (status != VIT_OK) {
        vit_block_free(block);
    }
    return status;
}

void vit_block_free(vit_block *block) {
    vit_attention_free(&block->attention);
}

void vit_block_plan(const vit_block *block, size_t B, bool training, vit_arena *arena,
                    vit_block_saved *saved) {
    size_t M = vit_size_times(B, block->tokens), D = block->dim, F = block->hidden;
    saved->mean1 = vit_arena_floats(arena, M);
    saved->rstd1 = vit_arena_floats(arena, M);
    saved->mean2 = training ? vit_arena_floats(arena, M) : saved->mean1;
    saved->rstd2 = training ? vit_arena_floats(arena, M) : saved->rstd1;
    saved->middle = vit_arena_floats(arena, vit_size_times(M, D));
    saved->hidden = vit_arena_floats(arena, vit_size_times(M, F));
    vit_attention_plan(&block->attention, B, training, arena, &saved->attention);
}

/* Scratch is a normalised (B,N,D), in training also a branch's gradient and that of the first, then
 * what attention or MLP need, whichever is more. The MLP wants activated, and its gradient. */
size_t vit_block_scratch(const vit_block *block, size_t B, bool training) {
    size_t M = vit_size_times(B, block->tokens);
    size_t attention = vit_attention_scratch(&block->attention, B, training);
    size_t mlp = training ? vit_size_times(2, vit_size_times(M, block->hidden)) : 0;
    size_t rows = vit_size_times(training ? 3 : 1, vit_size_times(M, block->dim));
    return vit_size_plus(rows, attention > mlp ? attention : mlp);
}

static vit_mlp_weights mlp_weights(const vit_block *block, const float *params) {
    return (vit_mlp_weights){params + block->fc1_weight, params + block->fc1_bias,
                             params + block->fc2_weight, params + block->fc2_bias};
}

void vit_block_forward(const vit_block *block, const float *params, size_t B, bool training,
                       const float *x, const float *attn_scale, const float *mlp_scale,
                       const vit_block_saved *saved, float *scratch, float *y) {
    size_t N = block->tokens, D = block->dim, M = B * N;
    float *norm = scratch;   /* (B,N,D) */
    float *branch = scratch; /* (B,N,D): written when norm has been read */
    float *inner = scratch + M * D;
    vit_layernorm_forward(M, D, VIT_LAYERNORM_EPS, x, D, params + block->norm1_weight,
                          params + block->norm1_bias, norm, D, saved->mean1, saved->rstd1);
    vit_attention_forward(&block->attention, params, B, norm, &saved->attention, inner, branch);
    vit_residual_forward(B, N * D, x, branch, attn_scale, saved->middle);
    vit_layernorm_forward(M, D, VIT_LAYERNORM_EPS, saved->middle, D, params + block->norm2_weight,
                          params + block->norm2_bias, norm, D, saved->mean2, saved->rstd2);
    vit_mlp_weights weights = mlp_weights(block, params);
    vit_mlp_forward(M, D, block->hidden, &weights, norm, saved->hidden,
                    training ? inner : saved->hidden, branch);
    vit_residual_forward(B, N * D, saved->middle, branch, mlp_scale, y);
}

/* The gradient that enters a branch: that of the sum, scaled by drop-path; no copy when nothing is
 * scaled. */
static const float *branch_gradient(size_t B, size_t n, const float *gradient, const float *scale,
                                    float *buffer) {
    if (!scale) {
        return gradient;
    }
    vit_residual_backward(B, n, gradient, scale, buffer);
    return buffer;
}

/* With m = x + attn(norm1(x)) and y = m + mlp(norm2(m)): g(m) = g(y) + what comes back through
 * norm2, g(x) = g(m) + what comes back through norm1. gradient is each of them in turn. */
void vit_block_backward(const vit_block *block, const float *params, float *grads, size_t B,
                        const float *x, const float *attn_scale, const float *mlp_scale,
                        const vit_block_saved *saved, float *scratch, float *gradient) {
    size_t N = block->tokens, D = block->dim, M = B * N;
    float *scaled = scratch;        /* (B,N,D) */
    float *dnorm = scratch + M * D; /* (B,N,D) */
    float *norm = scratch + 2 * M * D;
    float *inner = scratch + 3 * M * D;
    vit_mlp_weights weights = mlp_weights(block, params);
    vit_mlp_grads mlp_grads = {grads + block->fc1_weight, grads + block->fc1_bias,
                               grads + block->fc2_weight, grads + block->fc2_bias};

    const float *dbranch = branch_gradient(B, N * D, gradient, mlp_scale, scaled);
    vit_layernorm_again(M, D, saved->middle, params + block->norm2_weight,
                        params + block->norm2_bias, saved->mean2, saved->rstd2, norm);
    vit_mlp_backward(M, D, block->hidden, &weights, norm, saved->hidden, dbranch, inner, dnorm,
                     &mlp_grads);
    vit_layernorm_backward(M, D, saved->middle, D, params + block->norm2_weight, saved->mean2,
                           saved->rstd2, dnorm, D, scaled, D, grads + block->norm2_weight,
                           grads + block->norm2_bias);
    vit_add(M * D, scaled, gradient);

    dbranch = branch_gradient(B, N * D, gradient, attn_scale, scaled);
    vit_layernorm_again(M, D, x, params + block->norm1_weight, params + block->norm1_bias,
                        saved->mean1, saved->rstd1, norm);
    vit_attention_backward(&block->attention, params, grads, B, norm, &saved->attention, dbranch,
                           inner, dnorm);
    vit_layernorm_backward(M, D, x, D, params + block->norm1_weight, saved->mean1, saved->rstd1,
                           dnorm, D, scaled, D, grads + block->norm1_weight,
                           grads + block->norm1_bias);
    vit_add(M * D, scaled, gradient);
}
