/* Model files written: the tensors in the table's order, the config as JSON beside them. */
#include "vit/heap.h"
#include "vit/model_file.h"
#include "vit/model_parts.h"
#include "vit/quant_model.h"

#include <string.h>

vit_json *vit_model_config_json(const vit_model_bundle *bundle) {
    return vit_config_to_json(&bundle->model.config, &bundle->preprocess,
                              (const char *const *)bundle->class_names, bundle->config);
}

void vit_model_bundle_dequantise(vit_model_bundle *bundle) {
    if (bundle->model.int8) {
        vit_quant_model_floats(&bundle->model, bundle->params);
        vit_quant_model_detach(&bundle->model);
        vit_json_remove(bundle->config, VIT_QUANTIZATION);
    }
}

static vit_status config_text(const vit_model_bundle *bundle, bool int8, char **out) {
    vit_json *config = vit_model_config_json(bundle);
    if (int8) {
        vit_json_add_string(config, VIT_QUANTIZATION, "int8");
    }
    vit_status status = vit_json_print(config, false, out);
    vit_json_free(config);
    return status;
}

/* Tensors to be written: a parameter's, or both of an int8 weight. */
typedef struct tensor_list {
    vit_tensor *items;
    vit_scale_name *names; /* of scales */
    size_t count, named;
} tensor_list;

static void list_int8(const vit_param *param, const vit_quant_block *block, size_t row,
                      tensor_list *list) {
    vit_tensor *tensor = &list->items[list->count - 1], *scale = &list->items[list->count++];
    char *name = list->names[list->named++];
    vit_name_scale(param, name);
    tensor->dtype = VIT_I8;
    tensor->data = block->q + param->offset;
    *scale = (vit_tensor){.name = name,
                          .dtype = VIT_F32,
                          .ndim = 1,
                          .shape = {param->shape[0]},
                          .count = param->shape[0],
                          .data = block->scale + row};
}

/* In the table's order; weights that no one could load are not written. block NULL: all floats. */
static vit_status list_tensors(const vit_model *model, const float *params,
                               const vit_quant_block *block, const char *path, tensor_list *list) {
    for (size_t i = 0; i < model->params.count; i++) {
        const vit_param *param = &model->params.items[i];
        vit_tensor *tensor = &list->items[list->count++];
        size_t row;
        *tensor = (vit_tensor){.name = param->name,
                               .dtype = VIT_F32,
                               .ndim = param->ndim,
                               .count = param->size,
                               .data = params + param->offset};
        memcpy(tensor->shape, param->shape, sizeof param->shape);
        vit_status status = vit_check_finite(path, param->name, param->size, params + param->offset,
                                             VIT_ERROR_NUMERIC);
        if (status != VIT_OK) {
            return status;
        }
        if (block && vit_quant_find(model, param, &row)) {
            list_int8(param, block, row, list);
        }
    }
    return VIT_OK;
}

static vit_status save(const vit_model_bundle *bundle, const float *params,
                       const vit_quant_block *block, const vit_metadata *extra, size_t extra_count,
                       const char *path) {
    vit_status status = VIT_OK;
    size_t most = 2 * bundle->model.params.count;
    char *config = NULL;
    tensor_list list = {.items = vit_calloc(most, sizeof *list.items),
                        .names = vit_calloc(most, sizeof *list.names)};
    vit_metadata *metadata =
        extra_count < SIZE_MAX - 3 ? vit_calloc(extra_count + 3, sizeof *metadata) : NULL;
    if (!list.items || !list.names || !metadata) {
        status = vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu tensors)", path, most);
        goto cleanup;
    }
    VIT_TRY(config_text(bundle, block != NULL, &config));
    metadata[0] = (vit_metadata){"format", "pt"};
    metadata[1] = (vit_metadata){"zvit", block ? "2" : "1"};
    metadata[2] = (vit_metadata){"config", config};
    if (extra_count > 0) {
        memcpy(metadata + 3, extra, extra_count * sizeof *extra);
    }
    VIT_TRY(list_tensors(&bundle->model, params, block, path, &list));
    VIT_TRY(vit_safetensors_save(path, list.items, list.count, metadata, extra_count + 3));
cleanup:
    vit_free(config);
    vit_free(list.items);
    vit_free(list.names);
    vit_free(metadata);
    return status;
}

static vit_status check_floats(const vit_model_bundle *bundle, const char *path) {
    return !bundle->model.int8
               ? VIT_OK
               : vit_fail(VIT_ERROR_UNSUPPORTED,
                          "%s: the model has int8 weights (expected one with float weights)", path);
}

vit_status vit_model_bundle_save(const vit_model_bundle *bundle, const float *params,
                                 const vit_metadata *extra, size_t extra_count, const char *path) {
    vit_status status = check_floats(bundle, path);
    return status != VIT_OK
               ? status
               : save(bundle, params ? params : bundle->params, NULL, extra, extra_count, path);
}

vit_status vit_model_bundle_save_int8(const vit_model_bundle *bundle, const char *path) {
    vit_status status = VIT_OK;
    vit_quant_block block = {0};
    VIT_TRY(check_floats(bundle, path));
    VIT_TRY(vit_quant_block_alloc(&bundle->model, &block));
    for (size_t i = 0; i < bundle->model.params.count; i++) {
        const vit_param *param = &bundle->model.params.items[i];
        VIT_TRY(vit_check_finite(path, param->name, param->size, bundle->params + param->offset,
                                 VIT_ERROR_NUMERIC));
    }
    vit_quant_block_fill(&bundle->model, bundle->params, &block);
    VIT_TRY(save(bundle, bundle->params, &block, NULL, 0, path));
cleanup:
    vit_quant_block_free(&block);
    return status;
}
