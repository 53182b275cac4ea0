#include "vit/quant_model.h"

#include "vit/heap.h"

/* ---- which layers ---- */

enum { PER_BLOCK = 4 };

size_t vit_quant_layer_count(const vit_model *model) {
    return 2 + PER_BLOCK * (size_t)model->config.depth;
}

static vit_quant_layer block_layer(const vit_block *block, size_t which) {
    const vit_attention *a = &block->attention;
    size_t D = block->dim, F = block->hidden, R = a->columns;
    const vit_quant_layer layers[PER_BLOCK] = {
        {.weight = a->in_weight, .bias = a->in_bias, .in = D, .out = R, .row = 0},
        {.weight = a->out_weight, .bias = a->out_bias, .in = D, .out = D, .row = R},
        {.weight = block->fc1_weight, .bias = block->fc1_bias, .in = D, .out = F, .row = R + D},
        {.weight = block->fc2_weight, .bias = block->fc2_bias, .in = F, .out = D, .row = R + D + F},
    };
    return layers[which];
}

/* The rows of a block's layers; all blocks have as many. */
static size_t block_rows(const vit_model *model) {
    vit_quant_layer last = block_layer(&model->blocks[0], PER_BLOCK - 1);
    return last.row + last.out;
}

vit_quant_layer vit_quant_layer_at(const vit_model *model, size_t index) {
    size_t D = model->patch.dim, P = model->patch.patch;
    size_t depth = (size_t)model->config.depth;
    if (index == 0) {
        return (vit_quant_layer){.weight = model->patch_weight,
                                 .bias = model->patch_bias,
                                 .in = model->patch.channels * P * P,
                                 .out = D};
    }
    if (index > PER_BLOCK * depth) {
        return (vit_quant_layer){.weight = model->head_weight,
                                 .bias = model->head_bias,
                                 .in = D,
                                 .out = model->head_shape.classes,
                                 .row = D + depth * block_rows(model)};
    }
    size_t block = (index - 1) / PER_BLOCK;
    vit_quant_layer layer = block_layer(&model->blocks[block], (index - 1) % PER_BLOCK);
    layer.row += D + block * block_rows(model);
    return layer;
}

size_t vit_quant_row_count(const vit_model *model) {
    vit_quant_layer last = vit_quant_layer_at(model, vit_quant_layer_count(model) - 1);
    return last.row + last.out;
}

bool vit_quant_find(const vit_model *model, const vit_param *param, size_t *row) {
    for (size_t i = 0; i < vit_quant_layer_count(model); i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        if (param->offset >= layer.weight && param->offset < layer.weight + layer.in * layer.out) {
            *row = layer.row + (param->offset - layer.weight) / layer.in;
            return true;
        }
    }
    return false;
}

/* ---- weights ---- */

vit_status vit_quant_block_alloc(const vit_model *model, vit_quant_block *block) {
    vit_status status = VIT_OK;
    *block = (vit_quant_block){0};
    VIT_TRY(vit_alloc_raw((void **)&block->q, model->params.total, 1, "int8 weights"));
    VIT_TRY(vit_alloc((void **)&block->scale, vit_quant_row_count(model), sizeof *block->scale,
                      "int8 scales"));
cleanup:
    if (status != VIT_OK) {
        vit_quant_block_free(block);
    }
    return status;
}

void vit_quant_block_free(vit_quant_block *block) {
    vit_free(block->q);
    vit_free(block->scale);
    *block = (vit_quant_block){0};
}

void vit_quant_block_fill(const vit_model *model, const float *params, vit_quant_block *block) {
    for (size_t i = 0; i < vit_quant_layer_count(model); i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        vit_quant_weights(layer.out, layer.in, params + layer.weight, block->q + layer.weight,
                          block->scale + layer.row);
    }
}

static void quant_model_free(vit_quant_model *int8) {
    if (int8) {
        vit_arena_free(&int8->arena);
        vit_free(int8->layers);
        vit_free(int8);
    }
}

static void plan(const vit_model *model, vit_quant_model *int8) {
    for (size_t i = 0; i < int8->count; i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        vit_quant_matrix_plan(&int8->layers[i], layer.in, layer.out, &int8->arena);
    }
}

vit_status vit_quant_check(const vit_model *model) {
    vit_status status = VIT_OK;
    for (size_t i = 0; status == VIT_OK && i < vit_quant_layer_count(model); i++) {
        status = vit_quant_check_in(vit_quant_layer_at(model, i).in);
    }
    return status;
}

vit_status vit_quant_model_attach(vit_model *model, const vit_quant_block *block,
                                  const float *params) {
    vit_status status = VIT_OK;
    vit_quant_model *int8 = NULL;
    VIT_TRY(vit_quant_check(model));
    VIT_TRY(vit_alloc((void **)&int8, 1, sizeof *int8, "int8 model"));
    int8->count = vit_quant_layer_count(model);
    VIT_TRY(vit_alloc((void **)&int8->layers, int8->count, sizeof *int8->layers, "int8 model"));
    plan(model, int8);
    VIT_TRY(vit_arena_allocate(&int8->arena, "int8 weights"));
    plan(model, int8);
    for (size_t i = 0; i < int8->count; i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        vit_quant_matrix_fill(&int8->layers[i], block->q + layer.weight, block->scale + layer.row,
                              params + layer.bias);
    }
    quant_model_free(model->int8);
    model->int8 = int8;
    int8 = NULL;
cleanup:
    quant_model_free(int8);
    return status;
}

void vit_quant_model_floats(const vit_model *model, float *params) {
    for (size_t i = 0; i < model->int8->count; i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        vit_quant_matrix_floats(&model->int8->layers[i], params + layer.weight);
    }
}

void vit_quant_model_detach(vit_model *model) {
    quant_model_free(model->int8);
    model->int8 = NULL;
}
