/* Model files for onnx_check.py: every attention with every flag, odd sizes, large logits, and the
 * golden models. onnx_models FOLDER. */
#include "tests/support/golden_model.h"
#include "tests/support/support.h"

#include "vit/model_file.h"

#include <stdio.h>
#include <string.h>

typedef struct model_case {
    const char *name;
    int attn, rope, pool;
    bool head_norm, zero_order, causal;
    double scale;          /* of the random weights; 0: as training begins */
    float deviation;       /* the weights of u are so many times as large; 0: once */
    int height, width;     /* 0: 24 x 32 */
    int patch, dim, heads; /* 0: 8, 24, 3 */
} model_case;

static const model_case cases[] = {
    {.name = "zeros-2d",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .head_norm = true,
     .scale = 0.2},
    {.name = "zeros-fresh", .attn = VIT_ATTENTION_ZEROS, .rope = VIT_ROPE_2D, .head_norm = true},
    {.name = "zeros-1d-token",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_1D,
     .pool = VIT_POOL_TOKEN,
     .head_norm = true,
     .scale = 0.2},
    {.name = "zeros-2d-token",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .pool = VIT_POOL_TOKEN,
     .head_norm = true,
     .zero_order = true,
     .scale = 0.2,
     .deviation = 8},
    {.name = "zeros-plain", .attn = VIT_ATTENTION_ZEROS, .rope = VIT_ROPE_NONE, .scale = 0.2},
    {.name = "zeros-order-0",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_NONE,
     .zero_order = true,
     .scale = 0.2},
    {.name = "zeros-large-logits",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .head_norm = true,
     .scale = 0.2,
     .deviation = 60},
    {.name = "zeros-one-token",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .head_norm = true,
     .scale = 0.2,
     .height = 8,
     .width = 8},
    {.name = "zeros-odd",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_NONE,
     .head_norm = true,
     .scale = 0.2,
     .height = 23,
     .width = 31,
     .patch = 5,
     .dim = 35,
     .heads = 5},
    {.name = "causal-1d",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_1D,
     .head_norm = true,
     .causal = true,
     .scale = 0.2},
    {.name = "causal-order-0",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .head_norm = true,
     .zero_order = true,
     .causal = true,
     .scale = 0.2,
     .deviation = 8},
    {.name = "causal-plain",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .zero_order = true,
     .causal = true,
     .scale = 0.2},
    {.name = "causal-large-logits",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_NONE,
     .head_norm = true,
     .causal = true,
     .scale = 0.2,
     .deviation = 60},
    {.name = "causal-fresh",
     .attn = VIT_ATTENTION_ZEROS,
     .rope = VIT_ROPE_2D,
     .head_norm = true,
     .causal = true},
    {.name = "zeros-sm-none",
     .attn = VIT_ATTENTION_ZEROS_SM,
     .rope = VIT_ROPE_NONE,
     .head_norm = true,
     .scale = 0.2},
    {.name = "zeros-sm-2d-token",
     .attn = VIT_ATTENTION_ZEROS_SM,
     .rope = VIT_ROPE_2D,
     .pool = VIT_POOL_TOKEN,
     .scale = 0.2},
    {.name = "zeros-sm-fresh",
     .attn = VIT_ATTENTION_ZEROS_SM,
     .rope = VIT_ROPE_NONE,
     .head_norm = true},
    {.name = "softmax-none-token",
     .attn = VIT_ATTENTION_SOFTMAX,
     .rope = VIT_ROPE_NONE,
     .pool = VIT_POOL_TOKEN,
     .scale = 0.2},
    {.name = "softmax-2d", .attn = VIT_ATTENTION_SOFTMAX, .rope = VIT_ROPE_2D, .scale = 0.2},
    {.name = "linear-1d", .attn = VIT_ATTENTION_LINEAR, .rope = VIT_ROPE_1D, .scale = 0.2},
    {.name = "linear-none-token",
     .attn = VIT_ATTENTION_LINEAR,
     .rope = VIT_ROPE_NONE,
     .pool = VIT_POOL_TOKEN,
     .scale = 0.2},
};

static const char *const golden_models[] = {"vit_softmax_avg", "vit_softmax_cls", "vit_zeros_avg",
                                            "vit_zeros_cls", "vit_zeros_sm_cls"};

static const char *const letters[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};

static const char *folder;

static vit_model_bundle *bundle_new(const vit_config *config) {
    const vit_preprocess preprocess = {
        .crop_pct = 0.875, .mean = {0.5, 0.25, 0.125}, .std = {1, 2, 3}};
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_new(config, &preprocess, letters, 3, &bundle));
    return bundle;
}

static void save(vit_model_bundle *bundle, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    vit_model_bundle_free(bundle);
}

static void multiply(const vit_model_bundle *bundle, const char *part, float factor) {
    const vit_param_table *table = &bundle->model.params;
    for (size_t i = 0; i < table->count; i++) {
        float *values = bundle->params + table->items[i].offset;
        for (size_t j = 0; strstr(table->items[i].name, part) && j < table->items[i].size; j++) {
            values[j] *= factor;
        }
    }
}

static void save_case(const model_case *c) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_mini_patch8_64", &config));
    config.attn = c->attn;
    config.rope = c->rope;
    config.global_pool = c->pool;
    config.head_norm = c->head_norm;
    config.zero_order = c->zero_order;
    config.causal = c->causal;
    config.img_size[0] = c->height ? c->height : 24;
    config.img_size[1] = c->width ? c->width : 32;
    config.patch_size = c->patch ? c->patch : 8;
    config.embed_dim = c->dim ? c->dim : 24;
    config.num_heads = c->heads ? c->heads : 3;
    config.depth = 2;
    config.num_classes = 5;
    vit_model_bundle *bundle = bundle_new(&config);
    if (c->scale > 0) {
        random_floats(5, bundle->model.params.total, c->scale, bundle->params);
    }
    if (c->deviation > 0) {
        multiply(bundle, "attn.u.weight", c->deviation);
    }
    save(bundle, c->name);
}

static void save_golden(const char *name) {
    char file_name[64];
    snprintf(file_name, sizeof file_name, "%s.safetensors", name);
    vit_safetensors *file = golden_open(file_name);
    vit_config config = golden_model_config(file);
    vit_model_bundle *bundle = bundle_new(&config);
    golden_model_params(&bundle->model, file, "param.", bundle->params);
    vit_safetensors_close(file);
    save(bundle, name);
}

START_TEST(a_case) {
    save_case(&cases[_i]);
}
END_TEST

START_TEST(a_golden_model) {
    save_golden(golden_models[_i]);
}
END_TEST

/* A suite, because what it uses of support/ checks. */
static Suite *suite(void) {
    Suite *s = suite_create("onnx_models");
    TCase *t = tcase_create("onnx_models");
    tcase_add_loop_test(t, a_case, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_loop_test(t, a_golden_model, 0, (int)(sizeof golden_models / sizeof *golden_models));
    suite_add_tcase(s, t);
    return s;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fputs("usage: onnx_models FOLDER\n", stderr);
        return 2;
    }
    folder = argv[1];
    return test_run(suite());
}
