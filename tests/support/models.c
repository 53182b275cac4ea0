#include "models.h"

#include "support.h"

#include <string.h>

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

vit_config small_token_config(int attn) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.attn = attn;
    config.img_size[0] = config.img_size[1] = 16;
    config.embed_dim = 12;
    config.depth = 2;
    config.num_heads = 3;
    config.num_classes = 5;
    config.global_pool = VIT_POOL_TOKEN;
    return config;
}

vit_model_bundle *lettered_model_new(const vit_config *config, uint64_t seed) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    const vit_preprocess preprocess = {.crop_pct = 0.9, .std = {1, 1, 1}};
    vit_model_bundle *bundle;
    ck_assert_int_le(config->num_classes, 10);
    ck_vit_ok(vit_model_bundle_new(config, &preprocess, names, seed, &bundle));
    return bundle;
}

vit_config small_oblong_config(int num_classes) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_tiny_patch16_224", &config));
    config.img_size[0] = 16;
    config.img_size[1] = 24;
    config.patch_size = 8;
    config.num_classes = num_classes;
    config.embed_dim = 16;
    config.depth = 3;
    config.num_heads = 2;
    config.mlp_ratio = 2;
    return config;
}

const char *const quoted_names[3] = {"cat", "dog \"2\"", "\xc3\xa4rger"};

vit_model_bundle *quoted_model_new(int attn, int pool, int rope) {
    const vit_preprocess preprocess = {.interpolation = VIT_BILINEAR,
                                       .crop_pct = 0.875,
                                       .mean = {0.5, 0.25, 0.125},
                                       .std = {1, 2, 3}};
    vit_config config;
    vit_model_bundle *bundle;
    ck_vit_ok(vit_config_preset("zeros_mini_patch8_64", &config));
    config.attn = attn;
    config.img_size[0] = 24;
    config.img_size[1] = 32;
    config.embed_dim = 24;
    config.depth = 2;
    config.num_classes = 3;
    config.global_pool = pool;
    config.rope = rope;
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, quoted_names, 1, &bundle));
    random_floats(2, bundle->model.params.total, 0.2, bundle->params);
    return bundle;
}

void random_weights(const vit_param_table *table, unsigned long long seed, double scale,
                    float *params) {
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *p = &table->items[i];
        bool gain = strstr(p->name, "norm") && strstr(p->name, "weight");
        random_floats(seed + i, p->size, gain ? 0.2 : scale, params + p->offset);
        for (size_t j = 0; gain && j < p->size; j++) {
            params[p->offset + j] += 1;
        }
    }
}
