#include "models.h"

#include "support.h"

static void set(int value, int *field) {
    *field = value ? value : *field;
}

vit_model_bundle *small_model_new(const small_model *wanted) {
    const vit_preprocess preprocess = {.crop_pct = wanted->crop_pct > 0 ? wanted->crop_pct : 0.9,
                                       .mean = {0.5, 0.4, 0.3},
                                       .std = {0.2, 0.3, 0.25}};
    vit_config config;
    vit_model_bundle *bundle;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    set(wanted->num_classes, &config.num_classes);
    set(wanted->img_size, &config.img_size[0]);
    set(wanted->img_size, &config.img_size[1]);
    set(wanted->embed_dim, &config.embed_dim);
    set(wanted->depth, &config.depth);
    set(wanted->num_heads, &config.num_heads);
    set(wanted->attn, &config.attn);
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, wanted->classes, wanted->seed, &bundle));
    if (wanted->scale > 0) {
        random_floats(wanted->seed, bundle->model.params.total, wanted->scale, bundle->params);
    }
    return bundle;
}

void small_model_save(const small_model *wanted, const char *path) {
    vit_model_bundle *bundle = small_model_new(wanted);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    vit_model_bundle_free(bundle);
}
