#include "weights.h"

#include "pictures.h"
#include "support.h"

#include <stdlib.h>
#include <string.h>

void weights_add(weights *w, const char *name, int ndim, const size_t *shape, const float *values) {
    vit_tensor *tensor = &w->items[w->count++];
    ck_assert_uint_le(w->count, sizeof w->items / sizeof *w->items);
    *tensor = (vit_tensor){.name = strdup(name), .dtype = VIT_F32, .ndim = ndim, .count = 1};
    for (int i = 0; i < ndim; i++) {
        tensor->shape[i] = shape[i];
        tensor->count *= shape[i];
    }
    float *data = calloc(tensor->count, sizeof *data);
    ck_assert(tensor->name && data);
    if (values) {
        memcpy(data, values, tensor->count * sizeof *data);
    }
    tensor->data = data;
}

vit_tensor *weights_find(weights *w, const char *name) {
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->items[i].name, name) == 0) {
            return &w->items[i];
        }
    }
    ck_abort_msg("no tensor %s", name);
    return NULL;
}

void weights_replace(weights *w, const char *name, int ndim, const size_t *shape,
                     const float *values) {
    weights one = {.count = 0};
    weights_add(&one, name, ndim, shape, values);
    vit_tensor *tensor = weights_find(w, name);
    free((void *)(uintptr_t)tensor->name), free((void *)(uintptr_t)tensor->data);
    *tensor = one.items[0];
}

void weights_remove(weights *w, const char *name) {
    vit_tensor *tensor = weights_find(w, name);
    free((void *)(uintptr_t)tensor->name), free((void *)(uintptr_t)tensor->data);
    *tensor = w->items[--w->count];
}

weights weights_of(const vit_model_bundle *bundle) {
    weights w = {.count = 0};
    for (size_t i = 0; i < bundle->model.params.count; i++) {
        const vit_param *p = &bundle->model.params.items[i];
        weights_add(&w, p->name, p->ndim, p->shape, bundle->params + p->offset);
    }
    return w;
}

const char *weights_save(const weights *w, const char *folder, char path[1024]) {
    const vit_metadata format = {"format", "pt"};
    temp_path(path, folder, "weights.safetensors");
    ck_vit_ok(vit_safetensors_save(path, w->items, w->count, &format, 1));
    return path;
}

void weights_free(weights *w) {
    for (size_t i = 0; i < w->count; i++) {
        free((void *)(uintptr_t)w->items[i].name), free((void *)(uintptr_t)w->items[i].data);
    }
}
