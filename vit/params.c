#include "vit/params.h"

#include "vit/heap.h"
#include "vit/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static vit_status table_grow(vit_param_table *table) {
    size_t capacity = table->capacity ? table->capacity * 2 : 64;
    vit_param *items = vit_realloc(table->items, capacity * sizeof *items);
    if (!items) {
        return vit_fail(VIT_ERROR_MEMORY, "parameter table: out of memory (%zu entries)", capacity);
    }
    table->items = items;
    table->capacity = capacity;
    return VIT_OK;
}

static bool shape_size(int ndim, const size_t *shape, size_t *size) {
    *size = 1;
    for (int i = 0; i < ndim; i++) {
        if (__builtin_mul_overflow(*size, shape[i], size)) {
            return false;
        }
    }
    return true;
}

vit_status vit_params_add(vit_param_table *table, const char *prefix, const char *name, int ndim,
                          const size_t *shape, unsigned flags, vit_init init, size_t *offset) {
    vit_param param = {.ndim = ndim, .offset = table->total, .flags = flags, .init = init};
    int length = snprintf(param.name, sizeof param.name, "%s%s", prefix, name);
    if (length < 0 || (size_t)length >= sizeof param.name) {
        return vit_fail(VIT_ERROR_ARGUMENT, "parameter name too long: %s%s", prefix, name);
    }
    if (vit_params_find(table, param.name)) {
        return vit_fail(VIT_ERROR_ARGUMENT, "parameter declared twice: %s", param.name);
    }
    size_t total;
    if (ndim < 1 || ndim > VIT_MAX_DIMS || !shape_size(ndim, shape, &param.size) ||
        __builtin_add_overflow(table->total, param.size, &total) ||
        total > SIZE_MAX / sizeof(float)) {
        return vit_fail(VIT_ERROR_LIMIT, "parameter %s: its size does not fit in memory",
                        param.name);
    }
    memcpy(param.shape, shape, (size_t)ndim * sizeof *shape);
    if (table->count == table->capacity) {
        vit_status status = table_grow(table);
        if (status != VIT_OK) {
            return status;
        }
    }
    table->items[table->count++] = param;
    table->total = total;
    *offset = param.offset;
    return VIT_OK;
}

/* prefix + name + part, such as ".weight". */
static vit_status add_part(vit_param_table *table, const char *prefix, const char *name,
                           const char *part, int ndim, const size_t *shape, unsigned flags,
                           vit_init init, size_t *offset) {
    char full[VIT_NAME_MAX];
    snprintf(full, sizeof full, "%s%s", name, part);
    return vit_params_add(table, prefix, full, ndim, shape, flags, init, offset);
}

vit_status vit_params_add_weight(vit_param_table *table, const char *prefix, const char *name,
                                 size_t out, size_t in, size_t *weight) {
    return add_part(table, prefix, name, ".weight", 2, (size_t[]){out, in}, VIT_PARAM_DECAY,
                    (vit_init){VIT_INIT_TRUNC_NORMAL, 0.02f}, weight);
}

vit_status vit_params_add_bias(vit_param_table *table, const char *prefix, const char *name,
                               size_t out, size_t *bias) {
    return add_part(table, prefix, name, ".bias", 1, &out, 0, (vit_init){VIT_INIT_CONSTANT, 0.0f},
                    bias);
}

vit_status vit_params_add_linear(vit_param_table *table, const char *prefix, const char *name,
                                 size_t out, size_t in, size_t *weight, size_t *bias) {
    vit_status status = vit_params_add_weight(table, prefix, name, out, in, weight);
    return status != VIT_OK ? status : vit_params_add_bias(table, prefix, name, out, bias);
}

vit_status vit_params_add_norm(vit_param_table *table, const char *prefix, const char *name,
                               size_t D, size_t *weight, size_t *bias) {
    vit_status status = add_part(table, prefix, name, ".weight", 1, &D, 0,
                                 (vit_init){VIT_INIT_CONSTANT, 1.0f}, weight);
    return status != VIT_OK ? status : vit_params_add_bias(table, prefix, name, D, bias);
}

const vit_param *vit_params_find(const vit_param_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->items[i].name, name) == 0) {
            return &table->items[i];
        }
    }
    return NULL;
}

static float draw(vit_rng *rng, vit_init init) {
    double value = 0;
    switch (init.kind) {
    case VIT_INIT_CONSTANT:
        return init.scale;
    case VIT_INIT_TRUNC_NORMAL:
        /* timm cuts at the absolute values -2 and 2, that is +-100 standard deviations of 0.02. */
        do {
            value = vit_rng_normal(rng) * init.scale;
        } while (fabs(value) > 2.0);
        break;
    case VIT_INIT_NORMAL:
        value = vit_rng_normal(rng) * init.scale;
        break;
    case VIT_INIT_UNIFORM:
        value = vit_rng_range(rng, -init.scale, init.scale);
        break;
    }
    return (float)value;
}

/* Each parameter draws from a stream of its own, so it does not matter who fills it. */
void vit_params_init(const vit_param_table *table, uint64_t seed, float *block) {
#pragma omp parallel for schedule(dynamic, 1)
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *param = &table->items[i];
        vit_rng rng = vit_rng_make(seed, 0, vit_hash_string(param->name), VIT_RNG_INIT);
        for (size_t j = 0; j < param->size; j++) {
            block[param->offset + j] = draw(&rng, param->init);
        }
    }
}

void vit_params_free(vit_param_table *table) {
    vit_free(table->items);
    *table = (vit_param_table){0};
}
