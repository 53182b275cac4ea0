#include "api/handles.h"

#include "vit/heap.h"
#include "vit/versioned.h"

#include <stddef.h>

_Static_assert(offsetof(vit_model_handle, bundle) == 0 && offsetof(vit_model_bundle, model) == 0,
               "a pointer to the model is one to its handle");

vit_model_handle *vit_model_handle_of(vit_model *model) {
    return (vit_model_handle *)(void *)model;
}

void vit_model_keep(vit_model *model) {
    atomic_fetch_add(&vit_model_handle_of(model)->users, 1);
}

static void handle_free(vit_model_handle *h) {
    vit_model_bundle_clear(&h->bundle);
    vit_free(h->config);
    vit_free(h);
}

void vit_model_close(vit_model *model) {
    if (model && atomic_fetch_sub(&vit_model_handle_of(model)->users, 1) == 1) {
        handle_free(vit_model_handle_of(model));
    }
}

static vit_status describe(vit_model_handle *h) {
    const vit_model_bundle *bundle = &h->bundle;
    const vit_config *config = &bundle->model.config;
    vit_json *json = vit_model_config_json(bundle);
    vit_status status = vit_json_print(json, false, &h->config);
    vit_json_free(json);
    h->info = (vit_model_info){
        .architecture = config->architecture,
        .class_count = (size_t)config->num_classes,
        .class_names = (const char *const *)bundle->class_names,
        .height = (size_t)config->img_size[0],
        .width = (size_t)config->img_size[1],
        .patch_size = (size_t)config->patch_size,
        .feature_count = (size_t)config->embed_dim,
        .depth = (size_t)config->depth,
        .head_count = (size_t)config->num_heads,
        .attention = vit_attention_names[config->attn],
        .parameter_count = bundle->model.params.total,
        .flops = vit_config_flops(config),
        .interpolation = vit_interpolation_names[bundle->preprocess.interpolation],
        .crop_pct = bundle->preprocess.crop_pct,
        .config = h->config,
    };
    for (size_t i = 0; i < 3; i++) {
        h->info.mean[i] = bundle->preprocess.mean[i];
        h->info.std[i] = bundle->preprocess.std[i];
    }
    return status;
}

/* bytes NULL: of the file at path. */
static vit_status open_model(vit_model **out, const char *path, const void *bytes, size_t size,
                             const vit_model_options *options) {
    vit_model_options o = VIT_MODEL_OPTIONS_INIT;
    vit_model_handle *h = NULL;
    int before;
    vit_status status = VIT_OK;
    if (options) {
        VIT_TRY(vit_versioned_take(&o, sizeof o, options, "vit_model_options"));
    }
    if (o.reserved != 0) {
        VIT_TRY(vit_fail(VIT_ERROR_UNSUPPORTED, "vit_model_options: reserved is %d (expected 0)",
                         o.reserved));
    }
    h = vit_calloc(1, sizeof *h);
    if (!h) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path));
    }
    atomic_init(&h->users, 1);
    VIT_TRY(vit_threads_begin(o.threads, "vit_model_options", &before));
    status = bytes ? vit_model_bundle_read_memory(bytes, size, path, &h->bundle)
                   : vit_model_bundle_read(path, &h->bundle);
    vit_threads_end(before);
    VIT_TRY(status);
    VIT_TRY(describe(h));
    *out = &h->bundle.model;
    h = NULL;
cleanup:
    if (h) {
        handle_free(h);
    }
    return status;
}

vit_status vit_model_open(vit_model **out, const char *path, const vit_model_options *options) {
    VIT_BEGIN_OUT(out);
    vit_status status = vit_check_given(path, __func__, "path");
    return status == VIT_OK ? open_model(out, path, NULL, 0, options) : status;
}

vit_status vit_model_open_memory(vit_model **out, const void *bytes, size_t size, const char *name,
                                 const vit_model_options *options) {
    VIT_BEGIN_OUT(out);
    vit_status status = vit_check_given(bytes, __func__, "bytes");
    return status == VIT_OK ? open_model(out, name ? name : "model", bytes, size, options) : status;
}

const vit_model_info *vit_model_get_info(const vit_model *model) {
    return model ? &((const vit_model_handle *)(const void *)model)->info : NULL;
}
