/* Attention rolled out through the blocks, in two ways (docs/explain.md).
 *
 * zeros-rollout: at the given picture the attention weights W, the denominators of the norms and
 * the gates Phi(x) of GELU = x Phi(x) are held as they are. What is left is linear in the tokens,
 * and its coefficients are carried from the class's log-odds down to the patches: through a head
 * by W^T, r_ti cos(theta) for ZeroS, and on by the values. A token's relevance is the coefficient
 * times what its patch put in, signed. (Ali et al. 2022, "XAI for Transformers", hold attention
 * and norms alike.)
 *
 * rollout: products of (mean over heads of W + I) / 2 (Abnar and Zuidema 2020). */
#include "eval/explain_job.h"

#include "vit/arena.h"
#include "vit/attention/weights.h"
#include "vit/gemm.h"

#include <math.h>
#include <string.h>

/* ---- contributions ---- */

typedef struct rollout {
    const vit_model *model;
    const float *params;
    size_t N, D, F, d;
    float *g;       /* (N,D) coefficients of the residual stream */
    float *branch;  /* (N,D) */
    float *values;  /* (N,D) */
    float *hidden;  /* (N,F) */
    float *gelu;    /* (N,F) */
    float *W;       /* (N,N) */
    float *out;     /* (N,d) of a head, before its norm */
    float *scratch; /* of the weights */
} rollout;

static void plan(vit_arena *arena, rollout *r) {
    r->g = vit_arena_floats(arena, r->N * r->D);
    r->branch = vit_arena_floats(arena, r->N * r->D);
    r->values = vit_arena_floats(arena, r->N * r->D);
    r->hidden = vit_arena_floats(arena, r->N * r->F);
    r->gelu = vit_arena_floats(arena, r->N * r->F);
    r->W = vit_arena_floats(arena, r->N * r->N);
    r->out = vit_arena_floats(arena, r->N * r->d);
    r->scratch =
        vit_arena_floats(arena, vit_attention_weights_scratch(&r->model->blocks[0].attention));
}

/* The transposed map of x -> gamma (x - mean x) rstd, in place; gamma NULL: 1. */
static void norm_row(size_t D, const float *gamma, float rstd, float *g) {
    double mean = 0;
    for (size_t j = 0; j < D; j++) {
        g[j] = gamma ? g[j] * gamma[j] : g[j];
        mean += g[j];
    }
    mean /= (double)D;
    for (size_t j = 0; j < D; j++) {
        g[j] = rstd * (g[j] - (float)mean);
    }
}

/* Adds branch, through the norm before it, to g. */
static void add_branch(rollout *r, const float *gamma, const float *rstd) {
    for (size_t t = 0; t < r->N; t++) {
        float *row = r->branch + t * r->D, *g = r->g + t * r->D;
        norm_row(r->D, gamma, rstd[t], row);
        for (size_t j = 0; j < r->D; j++) {
            g[j] += row[j];
        }
    }
}

static void head_down(rollout *r, const vit_explain_job *job) {
    const vit_head_shape *s = &r->model->head_shape;
    const vit_head_saved *saved = vit_workspace_head(job->workspace);
    float *pooled = r->branch; /* (D) */
    size_t first = s->mean_pool ? s->prefix : 0, last = s->mean_pool ? r->N : 1;
    vit_gemm(false, false, 1, r->D, s->classes, 1, job->dlogits, s->classes,
             r->params + r->model->head_weight, r->D, 0, pooled, r->D);
    norm_row(r->D, r->params + r->model->norm_weight, saved->rstd[0], pooled);
    memset(r->g, 0, r->N * r->D * sizeof *r->g);
    for (size_t t = first; t < last; t++) {
        for (size_t j = 0; j < r->D; j++) {
            r->g[t * r->D + j] = pooled[j] / (float)(last - first);
        }
    }
}

static void mlp_down(rollout *r, const vit_block *block, const vit_block_saved *saved) {
    vit_gemm(false, false, r->N, r->F, r->D, 1, r->g, r->D, r->params + block->fc2_weight, r->F, 0,
             r->hidden, r->F);
    vit_gelu_forward(r->N * r->F, saved->hidden, r->gelu);
    for (size_t i = 0; i < r->N * r->F; i++) {
        float x = saved->hidden[i];
        r->hidden[i] *= x != 0 ? r->gelu[i] / x : 0.5f;
    }
    vit_gemm(false, false, r->N, r->D, r->F, 1, r->hidden, r->F, r->params + block->fc1_weight,
             r->D, 0, r->branch, r->D);
    add_branch(r, r->params + block->norm2_weight, saved->rstd2);
}

/* The head norm scales row t by 1/std of the head's output there, and takes out its mean. */
static void head_norm_down(rollout *r, const float *v, size_t stride, float *dmixed) {
    vit_gemm(false, false, r->N, r->d, r->N, 1, r->W, r->N, v, stride, 0, r->out, r->d);
    for (size_t t = 0; t < r->N; t++) {
        const float *row = r->out + t * r->d;
        double mean = 0, variance = 0;
        for (size_t j = 0; j < r->d; j++) {
            mean += row[j];
        }
        mean /= (double)r->d;
        for (size_t j = 0; j < r->d; j++) {
            variance += ((double)row[j] - mean) * ((double)row[j] - mean);
        }
        double rstd = 1 / sqrt(variance / (double)r->d + (double)VIT_HEAD_NORM_EPS);
        norm_row(r->d, NULL, (float)rstd, dmixed + t * r->D);
    }
}

static void attention_down(rollout *r, const vit_block *block, const vit_block_saved *saved) {
    const vit_attention *a = &block->attention;
    bool normalised = a->config.head_norm && vit_attention_has_head_norm(a->config.kind);
    vit_gemm(false, false, r->N, r->D, r->D, 1, r->g, r->D, r->params + a->out_weight, r->D, 0,
             r->branch, r->D);
    for (size_t h = 0; h < a->config.heads; h++) {
        float *dmixed = r->branch + h * r->d;
        const float *v = saved->attention.packed + 2 * r->D + h * r->d;
        vit_attention_weights(a, r->params, &saved->attention, 0, h, r->scratch, r->W);
        if (normalised) {
            head_norm_down(r, v, a->columns, dmixed);
        }
        vit_gemm(true, false, r->N, r->d, r->N, 1, r->W, r->N, dmixed, r->D, 0,
                 r->values + h * r->d, r->D);
    }
    /* The values' rows of the input projection are the third group of D. */
    vit_gemm(false, false, r->N, r->D, r->D, 1, r->values, r->D,
             r->params + a->in_weight + 2 * r->D * r->D, r->D, 0, r->branch, r->D);
    add_branch(r, r->params + block->norm1_weight, saved->rstd1);
}

/* What each patch put into its token, by the coefficients there. */
static vit_status patches_down(rollout *r, const vit_explain_job *job) {
    const vit_patch_shape *s = &r->model->patch;
    size_t patches = vit_patch_count(s);
    float *columns = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&columns, patches * s->channels * s->patch * s->patch,
                      sizeof *columns, "patches"));
    vit_patch_embed_forward(s, 1, job->input, r->params + r->model->patch_weight, NULL, columns,
                            r->branch);
    for (size_t p = 0; p < patches; p++) {
        size_t at = (s->prefix + p) * r->D;
        double sum = 0;
        for (size_t j = 0; j < r->D; j++) {
            sum += (double)r->g[at + j] * (double)r->branch[at + j];
        }
        job->values[p] = (float)sum;
    }
cleanup:
    vit_free(columns);
    return status;
}

vit_status vit_explain_zeros_rollout(const vit_explain_job *job) {
    const vit_model *model = &job->bundle->model;
    rollout r = {.model = model,
                 .params = job->bundle->params,
                 .N = model->tokens,
                 .D = model->patch.dim,
                 .F = model->hidden,
                 .d = model->blocks[0].attention.d};
    vit_arena arena = {0};
    vit_status status = VIT_OK;
    plan(&arena, &r);
    VIT_TRY(vit_arena_allocate(&arena, "contributions"));
    plan(&arena, &r);
    head_down(&r, job);
    for (size_t i = (size_t)model->config.depth; i-- > 0;) {
        const vit_block_saved *saved = vit_workspace_block(job->workspace, i);
        mlp_down(&r, &model->blocks[i], saved);
        attention_down(&r, &model->blocks[i], saved);
    }
    VIT_TRY(patches_down(&r, job));
cleanup:
    vit_arena_free(&arena);
    return status;
}

/* ---- rollout ---- */

/* row (N) becomes row (mean over heads of W + I) / 2. */
static void row_down(const vit_explain_job *job, size_t block, float *scratch, float *W,
                     float *next, float *row) {
    const vit_attention *a = &job->bundle->model.blocks[block].attention;
    const vit_block_saved *saved = vit_workspace_block(job->workspace, block);
    size_t N = a->config.tokens;
    memset(next, 0, N * sizeof *next);
    for (size_t h = 0; h < a->config.heads; h++) {
        vit_attention_weights(a, job->bundle->params, &saved->attention, 0, h, scratch, W);
        vit_gemm(false, false, 1, N, N, 0.5f / (float)a->config.heads, row, N, W, N, 1, next, N);
    }
    for (size_t i = 0; i < N; i++) {
        row[i] = next[i] + 0.5f * row[i];
    }
}

/* Only the row that the head reads is needed of the product: the class token's, or the patches'
 * mean. A value is how much more than an equal share a patch has: 0.5 is half as much again. */
vit_status vit_explain_rollout(const vit_explain_job *job) {
    const vit_model *model = &job->bundle->model;
    const vit_head_shape *s = &model->head_shape;
    size_t N = model->tokens, patches = vit_patch_count(&model->patch);
    size_t scratch = vit_attention_weights_scratch(&model->blocks[0].attention);
    float *floats = NULL;
    vit_status status = VIT_OK;
    /* N is at most 2^24, so the sum fits. */
    VIT_TRY(vit_alloc((void **)&floats, N * N + 2 * N + scratch, sizeof *floats, "rollout"));
    float *W = floats, *row = W + N * N, *next = row + N;
    size_t first = s->mean_pool ? s->prefix : 0, last = s->mean_pool ? N : 1;
    for (size_t t = first; t < last; t++) {
        row[t] = 1.0f / (float)(last - first);
    }
    for (size_t i = (size_t)model->config.depth; i-- > 0;) {
        row_down(job, i, next + N, W, next, row);
    }
    double sum = 0;
    for (size_t p = 0; p < patches; p++) {
        sum += row[s->prefix + p];
    }
    for (size_t p = 0; p < patches; p++) {
        job->values[p] = (float)((double)patches * row[s->prefix + p] / sum - 1);
    }
cleanup:
    vit_free(floats);
    return status;
}
