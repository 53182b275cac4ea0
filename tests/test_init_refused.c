/* Weights that no model can start from: other architectures, other geometries, broken files. */
#include "support/folder.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"
#include "support/weights.h"

#include "train/init_from.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_refused(const char *path, vit_model_bundle *bundle, vit_status expected,
                          const char *part) {
    vit_status status = vit_init_from(path, bundle, NULL, NULL);
    ck_assert_msg(status == expected, "%s: status %d, \"%s\"", part, (int)status, vit_last_error());
    check_message(path);
    check_message(part);
}

/* A tensor too many, of shape (1). */
START_TEST(tensors_of_other_architectures) {
    static const char *const cases[][2] = {
        {"dist_token", "distilled model with a second token"},
        {"head_dist.weight", "distilled model with a second head"},
        {"reg_token", "register tokens"},
        {"blocks.0.ls1.gamma", "LayerScale"},
        {"blocks.1.attn.q_norm.weight", "normalised queries"},
        {"norm_pre.weight", "a norm before the blocks"},
        {"blocks.0.attn.rel_pos", "no part of a plain ViT"},
        {"blocks.99999999999999999999.norm1.weight", "no part of a plain ViT"},
        {"blocks.0norm1.weight", "no part of a plain ViT"},
        {"stem.conv", "no part of a plain ViT"},
        {"blocks.7.norm1.weight", "depth 8 (expected 2"},
    };
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    weights w = weights_of(bundle);
    weights_add(&w, cases[_i][0], 1, (size_t[]){1}, NULL);
    weights_save(&w, folder, path);
    bool depth = strncmp(cases[_i][1], "depth", 5) == 0;
    check_refused(path, bundle, depth ? VIT_ERROR_ARGUMENT : VIT_ERROR_UNSUPPORTED, cases[_i][1]);
    weights_free(&w);
    vit_model_bundle_free(bundle);
}
END_TEST

/* The model asks for another geometry than the file has. */
START_TEST(another_geometry) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *source = lettered_model_new(&config, 1);
    temp_path(path, folder, "model.safetensors");
    ck_vit_ok(vit_model_bundle_save(source, NULL, NULL, 0, path));
    const char *part = "";
    switch (_i) {
    case 0:
        config.embed_dim = 24;
        part = "embed-dim 12 (expected 24";
        break;
    case 1:
        config.patch_size = 8;
        part = "patch-size 4 (expected 8";
        break;
    case 2:
        config.depth = 3;
        part = "depth 2 (expected 3";
        break;
    case 3:
        config.mlp_ratio = 2;
        part = "width of 48 (expected 24";
        break;
    default:
        config.num_heads = 1;
        part = "num-heads 3 (expected 1";
    }
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    check_refused(path, bundle, VIT_ERROR_ARGUMENT, part);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(broken_weights) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    weights w = weights_of(bundle);
    const char *part = "";
    vit_status expected = VIT_ERROR_FORMAT;
    switch (_i) {
    case 0:
        weights_remove(&w, "blocks.1.norm2.bias");
        part = "blocks.1.norm2.bias is missing";
        break;
    case 1:
        ((float *)(uintptr_t)weights_find(&w, "blocks.1.attn.proj.bias")->data)[3] = NAN;
        part = "blocks.1.attn.proj.bias: element 3 is";
        break;
    case 2:
        weights_find(&w, "blocks.0.norm1.bias")->dtype = VIT_I32;
        part = "dtype I32 (expected F32";
        break;
    case 3:
        weights_replace(&w, "pos_embed", 3, (size_t[]){1, 18, 12}, NULL);
        expected = VIT_ERROR_UNSUPPORTED;
        part = "18 positions with a class token (expected a square grid of patches and one";
        break;
    case 4:
        weights_replace(&w, "pos_embed", 2, (size_t[]){17, 12}, NULL);
        expected = VIT_ERROR_ARGUMENT;
        part = "shape [17, 12] (expected [1, 17, 12]";
        break;
    case 5:
        weights_replace(&w, "blocks.0.attn.qkv.weight", 2, (size_t[]){24, 12}, NULL);
        expected = VIT_ERROR_ARGUMENT;
        part = "shape [24, 12] (expected [36, 12]";
        break;
    case 6:
        weights_remove(&w, "blocks.0.attn.qkv.weight");
        part = "blocks.0.attn.qkv.weight is missing";
        break;
    default:
        weights_remove(&w, "patch_embed.proj.weight");
        part = "patch_embed.proj.weight is missing";
    }
    check_refused(weights_save(&w, folder, path), bundle, expected, part);
    weights_free(&w);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(a_file_that_is_not_there) {
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    check_refused("/nowhere/x.safetensors", bundle, VIT_ERROR_IO, "/nowhere/x.safetensors");
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("init_refused");
    TCase *t = tcase_create("init_refused");
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    tcase_add_loop_test(t, tensors_of_other_architectures, 0, 11);
    tcase_add_loop_test(t, another_geometry, 0, 5);
    tcase_add_loop_test(t, broken_weights, 0, 8);
    tcase_add_test(t, a_file_that_is_not_there);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
