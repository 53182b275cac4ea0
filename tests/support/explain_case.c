#include "explain_case.h"

#include "models.h"
#include "pictures.h"
#include "support.h"
#include "vit/arena.h"

#include <stdlib.h>
#include <string.h>

static const char *const classes[EXPLAIN_CLASSES] = {"ant", "bee", "cat", "0"};

static void make_bundle(explain_case *e, int kind, bool token, int height, int width) {
    const vit_preprocess preprocess = {
        .crop_pct = 0.9, .mean = {0.5, 0.4, 0.3}, .std = {0.2, 0.3, 0.25}};
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.img_size[0] = height;
    config.img_size[1] = width;
    config.num_classes = EXPLAIN_CLASSES;
    config.embed_dim = 16;
    config.depth = 3;
    config.num_heads = 2;
    config.attn = kind;
    config.global_pool = token ? VIT_POOL_TOKEN : VIT_POOL_AVG;
    config.zero_order = vit_attention_has_zero_order((vit_attention_kind)kind);
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, classes, 1, &e->bundle));
    random_weights(&e->bundle->model.params, 100, 0.25, e->bundle->params);
}

static size_t pixels_of(const explain_case *e) {
    const vit_patch_shape *s = &e->bundle->model.patch;
    return s->channels * s->height * s->width;
}

void explain_open_size(explain_case *e, int kind, bool token, int height, int width) {
    *e = (explain_case){0};
    make_bundle(e, kind, token, height, width);
    const vit_patch_shape *s = &e->bundle->model.patch;
    vit_transform_scratch scratch = {0};
    ck_vit_ok(vit_image_reserve(&e->picture, 41, 29, "picture"));
    draw_picture(2, 5, 41, 29, e->picture.pixels);
    ck_vit_ok(vit_alloc((void **)&e->input, pixels_of(e), sizeof(float), "input"));
    ck_vit_ok(vit_workspace_create(&e->bundle->model, 1, VIT_TRAINING, &e->workspace));
    ck_vit_ok(vit_transform_eval(&e->bundle->preprocess, s->height, s->width, &e->picture, &scratch,
                                 e->input));
    vit_model_forward(&e->bundle->model, e->bundle->params, e->workspace, 1, e->input, NULL,
                      e->logits);
    vit_transform_scratch_free(&scratch);
}

void explain_open(explain_case *e, int kind, bool token) {
    explain_open_size(e, kind, token, 12, 16);
}

void explain_close(explain_case *e) {
    vit_workspace_free(e->workspace);
    vit_free(e->input);
    vit_image_free(&e->picture);
    vit_model_bundle_free(e->bundle);
}

float *explain_input(const explain_case *e) {
    float *copy = malloc(pixels_of(e) * sizeof *copy);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, e->input, pixels_of(e) * sizeof *copy);
    return copy;
}
