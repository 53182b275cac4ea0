#include "golden_model.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int metadata_int(const vit_safetensors *file, const char *key) {
    const char *text = vit_safetensors_metadata(file, key);
    ck_assert_msg(text != NULL, "golden file lacks metadata %s", key);
    return atoi(text);
}

static int name_index(const char *const *names, const char *name) {
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    ck_abort_msg("unknown name %s", name);
    return -1;
}

vit_config golden_model_config(const vit_safetensors *file) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_tiny_patch16_224", &config));
    config.img_size[0] = config.img_size[1] = metadata_int(file, "img_size");
    config.patch_size = metadata_int(file, "patch_size");
    config.embed_dim = metadata_int(file, "embed_dim");
    config.depth = metadata_int(file, "depth");
    config.num_heads = metadata_int(file, "num_heads");
    config.num_classes = metadata_int(file, "num_classes");
    config.global_pool = name_index(vit_pool_names, vit_safetensors_metadata(file, "pool"));
    config.attn = name_index(vit_attention_names, vit_safetensors_metadata(file, "attention"));
    /* The ZeroS files were made with the image default, the others as timm builds them. */
    config.rope = config.attn == VIT_ATTENTION_ZEROS ? VIT_ROPE_2D : VIT_ROPE_NONE;
    return config;
}

void golden_model_params(const vit_model *model, const vit_safetensors *file, const char *prefix,
                         float *params) {
    for (size_t i = 0; i < model->params.count; i++) {
        const vit_param *param = &model->params.items[i];
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, param->name);
        const vit_tensor *tensor = vit_safetensors_find(file, name);
        ck_assert_msg(tensor != NULL, "golden file lacks %s", name);
        ck_assert_int_eq(tensor->ndim, param->ndim);
        for (int j = 0; j < param->ndim; j++) {
            ck_assert_uint_eq(tensor->shape[j], param->shape[j]);
        }
        vit_tensor_to_f32(tensor, params + param->offset);
    }
}

vit_config golden_timm_config(void) {
    vit_config config;
    ck_vit_ok(vit_config_preset("vit_tiny_patch16_224", &config));
    config.img_size[0] = config.img_size[1] = 64;
    config.depth = 2;
    config.num_classes = 7;
    config.global_pool = VIT_POOL_TOKEN;
    config.rope = VIT_ROPE_NONE;
    return config;
}

void golden_timm_check(const vit_model *model, const float *params, double bound) {
    vit_safetensors *io = golden_open("timm_deit_tiny_img64_depth2_io.safetensors");
    float *images = golden_f32(io, "images_nchw", NULL), logits[14];
    double *expected = golden_f64(io, "logits", NULL);
    vit_workspace *workspace;
    ck_vit_ok(vit_workspace_create(model, 2, VIT_INFERENCE, &workspace));
    vit_model_forward(model, params, workspace, 2, images, NULL, logits);
    check_close("logits", 14, logits, expected, bound);
    vit_workspace_free(workspace);
    free(images);
    free(expected);
    vit_safetensors_close(io);
}
