/* The forward pass in 8 bits. A thread takes a block of rows (tokens) through everything that lies
 * between two mixings of tokens: output projection, MLP, and the next block's input projection.
 * What passes from one layer to the next then stays in its cache, and threads meet twice a block.
 */
#include "vit/quant_model.h"

#include "vit/gemm.h"

#include <omp.h>

/* Rows that pass together when nobody shares them: their MLP's hidden values fit in the cache. */
enum { ROWS_TOGETHER = 48 };

typedef struct pass {
    const vit_model *model;
    const float *params;
    const vit_quant_space *space;
    size_t block;   /* whose mixing is next, or was last */
    size_t picture; /* of patches */
} pass;

/* The part of the space that is the block's of rows: rows from first on, in nobody else's way. */
static vit_quant_space part_of(const pass *p, size_t first) {
    vit_quant_space part = *p->space;
    part.norm += first * p->model->patch.dim;
    part.hidden += first * p->model->hidden;
    part.mean += first;
    part.rstd += first;
    part.rows.values += first * part.row_bytes;
    part.rows.scale += first;
    part.rows.zero += first;
    return part;
}

/* x W^T + bias, from floats. */
static void linear(const pass *p, size_t layer, size_t M, const float *x, const float *add,
                   float *y, const vit_quant_space *part) {
    const vit_quant_matrix *matrix = &p->model->int8->layers[layer];
    vit_quant_quantise(matrix, M, x, matrix->in, &part->rows);
    vit_quant_multiply(matrix, M, &part->rows, add, matrix->out, y, matrix->out);
}

/* The same with x in two terms, itself and what that loses: as good as 16 bits. rest (M,in) is
 * scratch and may be x. */
static void linear_fine(const pass *p, size_t layer, size_t M, const float *x, float *rest,
                        float *y, const vit_quant_space *part) {
    const vit_quant_matrix *matrix = &p->model->int8->layers[layer];
    linear(p, layer, M, x, NULL, y, part);
    vit_quant_rest(matrix, M, x, &part->rows, rest);
    vit_quant_quantise(matrix, M, rest, matrix->in, &part->rows);
    vit_quant_multiply_more(matrix, M, &part->rows, y, matrix->out);
}

static void norm(const pass *p, size_t M, const float *x, size_t weight, size_t bias,
                 const vit_quant_space *part) {
    size_t D = p->model->patch.dim;
    vit_layernorm_forward(M, D, VIT_LAYERNORM_EPS, x, D, p->params + weight, p->params + bias,
                          part->norm, D, part->mean, part->rstd);
}

/* Patches of a picture to tokens. Plain parts of a picture give rows of equal values: 8 bits would
 * round all of them the same way, which adds up (docs/int8.md). */
static void embed_rows(const pass *p, size_t first, size_t M, const vit_quant_space *part) {
    const vit_patch_shape *shape = &p->model->patch;
    size_t patches = vit_patch_count(shape), K = p->model->int8->layers[0].in;
    float *x = p->space->columns + (p->picture * patches + first) * K;
    float *y =
        p->space->tokens + (p->picture * p->model->tokens + shape->prefix + first) * shape->dim;
    linear_fine(p, 0, M, x, x, y, part);
}

/* Tokens to what the mixing takes. */
static void before_mixing(const pass *p, size_t first, size_t M, const vit_quant_space *part) {
    const vit_block *block = &p->model->blocks[p->block];
    norm(p, M, p->space->tokens + first * block->dim, block->norm1_weight, block->norm1_bias, part);
    linear(p, 1 + 4 * p->block, M, part->norm, NULL,
           p->space->attention.packed + first * block->attention.columns, part);
}

/* The rest of a block. */
static void after_mixing(const pass *p, size_t first, size_t M, const vit_quant_space *part) {
    const vit_block *block = &p->model->blocks[p->block];
    size_t D = block->dim, layer = 1 + 4 * p->block;
    float *tokens = p->space->tokens + first * D;
    linear(p, layer + 1, M, p->space->attention.mixed + first * D, tokens, tokens, part);
    norm(p, M, tokens, block->norm2_weight, block->norm2_bias, part);
    linear(p, layer + 2, M, part->norm, NULL, part->hidden, part);
    vit_gelu_forward(M * block->hidden, part->hidden, part->hidden);
    linear(p, layer + 3, M, part->hidden, tokens, tokens, part);
}

static void between_mixings(const pass *p, size_t first, size_t M, const vit_quant_space *part) {
    after_mixing(p, first, M, part);
    pass next = *p;
    next.block++;
    before_mixing(&next, first, M, part);
}

/* Runs a step over M rows in blocks of whole tiles: one after the other in the same part of the
 * space, which stays in cache, or shared among the threads, each block in a part of its own. */
static void run(const pass *p, size_t M,
                void (*step)(const pass *p, size_t first, size_t M, const vit_quant_space *part)) {
    size_t tile = vit_quant_tile_rows(), tiles = (M + tile - 1) / tile;
    size_t together = ROWS_TOGETHER / tile;
    size_t blocks = (tiles + together - 1) / together;
    if (!vit_may_parallelise()) {
        for (size_t i = 0; i < blocks; i++) {
            size_t first = tiles * i / blocks * tile, end = tiles * (i + 1) / blocks * tile;
            step(p, first, (end < M ? end : M) - first, p->space);
        }
        return;
    }
    /* As many for every thread, when there are enough. */
    size_t threads = (size_t)omp_get_max_threads();
    blocks = (blocks + threads - 1) / threads * threads;
    blocks = blocks < tiles ? blocks : tiles;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < blocks; i++) {
        size_t first = tiles * i / blocks * tile, end = tiles * (i + 1) / blocks * tile;
        vit_quant_space part = part_of(p, first);
        step(p, first, (end < M ? end : M) - first, &part);
    }
}

/* ---- the whole ---- */

void vit_quant_plan(const vit_model *model, size_t B, vit_arena *arena, vit_quant_space *space) {
    size_t D = model->patch.dim, M = vit_size_times(B, model->tokens);
    size_t patches = vit_size_times(B, vit_patch_count(&model->patch));
    /* Rows of any step, up to a whole tile. */
    size_t rows = vit_size_plus(M, vit_quant_tile_rows());
    space->row_bytes = 0;
    for (size_t i = 0; i < model->int8->count; i++) {
        size_t bytes = vit_quant_row_bytes(model->int8->layers[i].in);
        space->row_bytes = bytes > space->row_bytes ? bytes : space->row_bytes;
    }
    space->columns = vit_arena_floats(arena, vit_size_times(patches, model->int8->layers[0].in));
    space->tokens = vit_arena_floats(arena, vit_size_times(M, D));
    vit_attention_plan(&model->blocks[0].attention, B, false, arena, &space->attention);
    size_t scratch = 0;
    for (int i = 0; i < model->config.depth; i++) {
        size_t floats = vit_attention_scratch(&model->blocks[i].attention, B, false);
        scratch = floats > scratch ? floats : scratch;
    }
    space->scratch = vit_arena_floats(arena, scratch);
    space->norm = vit_arena_floats(arena, vit_size_times(rows, D));
    space->hidden = vit_arena_floats(arena, vit_size_times(rows, model->hidden));
    space->mean = vit_arena_floats(arena, rows);
    space->rstd = vit_arena_floats(arena, rows);
    space->rows.values = vit_arena_take(arena, rows, space->row_bytes);
    space->rows.scale = vit_arena_floats(arena, rows);
    space->rows.zero = vit_arena_take(arena, rows, sizeof(int32_t));
}

static void embed(pass *p, size_t B, const float *images) {
    const vit_model *model = p->model;
    const float *cls = model->patch.prefix ? p->params + model->cls_token : NULL;
    vit_patch_gather(&model->patch, B, images, p->space->columns);
    for (p->picture = 0; p->picture < B; p->picture++) {
        run(p, vit_patch_count(&model->patch), embed_rows);
    }
    vit_pos_embed_forward(B, model->tokens, model->patch.dim, cls, p->params + model->pos_embed,
                          p->space->tokens);
}

static void classify(const pass *p, size_t B, const vit_head_saved *head, float *logits) {
    const vit_model *model = p->model;
    const vit_head_weights w = {.norm_weight = p->params + model->norm_weight,
                                .norm_bias = p->params + model->norm_bias};
    vit_head_features(&model->head_shape, B, &w, p->space->tokens, head);
    linear_fine(p, model->int8->count - 1, B, head->features, p->space->norm, logits, p->space);
}

void vit_quant_forward(const vit_model *model, const float *params, const vit_quant_space *space,
                       size_t B, const float *images, const vit_head_saved *head, float *logits) {
    pass p = {.model = model, .params = params, .space = space};
    size_t depth = (size_t)model->config.depth, M = B * model->tokens;
    embed(&p, B, images);
    run(&p, M, before_mixing);
    for (p.block = 0; p.block < depth; p.block++) {
        vit_attention_mix(&model->blocks[p.block].attention, params, B, &space->attention,
                          space->scratch);
        run(&p, M, p.block + 1 < depth ? between_mixings : after_mixing);
    }
    classify(&p, B, head, logits);
}
