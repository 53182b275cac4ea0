/* Exports: what timm expects of names, shapes and config; what is refused; samples; and the way
 * back through --init. */
#include "support/folder.h"
#include "support/golden_model.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"

#include "train/init_from.h"
#include "vit/export.h"
#include "vit/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static vit_json *read_config(const char *path) {
    vit_json *config;
    ck_vit_ok(vit_json_read(path, 1 << 20, &config));
    return config;
}

static const char *text(const vit_json *object, const char *key) {
    return vit_json_string(vit_json_get(object, key), "");
}

static double number(const vit_json *object, const char *key) {
    return vit_json_number(vit_json_get(object, key), -1);
}

/* Without __metadata__ of ours, and with exactly the model's tensors. */
static void check_weights(const vit_model_bundle *bundle, const char *path) {
    vit_safetensors *file;
    ck_vit_ok(safetensors_load(path, &file));
    ck_assert_str_eq(vit_safetensors_metadata(file, "format"), "pt");
    ck_assert_ptr_null(vit_safetensors_metadata(file, "zvit"));
    ck_assert_uint_eq(vit_safetensors_count(file), bundle->model.params.count);
    for (size_t i = 0; i < bundle->model.params.count; i++) {
        const vit_param *param = &bundle->model.params.items[i];
        const vit_tensor *tensor = vit_safetensors_find(file, param->name);
        ck_assert_ptr_nonnull(tensor);
        ck_assert_int_eq(tensor->ndim, param->ndim);
        ck_assert_mem_eq(tensor->shape, param->shape, (size_t)param->ndim * sizeof(size_t));
        ck_assert_mem_eq(tensor->data, bundle->params + param->offset, param->size * sizeof(float));
    }
    vit_safetensors_close(file);
}

START_TEST(timm_gets_its_names_and_its_config) {
    char out[1024];
    bool token = _i == 1;
    vit_export_paths paths;
    vit_model_bundle *bundle = quoted_model_new(
        VIT_ATTENTION_SOFTMAX, token ? VIT_POOL_TOKEN : VIT_POOL_AVG, VIT_ROPE_NONE);
    ck_vit_ok(vit_export_place(VIT_EXPORT_TIMM, temp_path(out, folder, "timm/%d", _i), &paths));
    ck_vit_ok(vit_export(bundle, VIT_EXPORT_TIMM, &paths));
    ck_assert_uint_eq(count_entries(out), 2);
    check_weights(bundle, paths.weights);
    /* The tensors that timm's VisionTransformer has for these arguments. */
    const vit_param_table *table = &bundle->model.params;
    ck_assert_ptr_nonnull(vit_params_find(table, "blocks.1.attn.qkv.weight"));
    ck_assert_ptr_nonnull(vit_params_find(table, token ? "norm.weight" : "fc_norm.weight"));
    ck_assert_int_eq(vit_params_find(table, "cls_token") != NULL, token);

    vit_json *config = read_config(paths.config);
    ck_assert_str_eq(text(config, "architecture"), "vit_tiny_patch16_224");
    ck_assert_double_eq(number(config, "num_classes"), 3);
    const vit_json *args = vit_json_get(config, "model_args");
    static const struct {
        const char *key;
        double value;
    } expected[] = {
        {"patch_size", 8}, {"embed_dim", 24}, {"depth", 2}, {"num_heads", 3}, {"mlp_ratio", 4}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_double_eq(number(args, expected[i].key), expected[i].value);
    }
    ck_assert_double_eq(vit_json_number(vit_json_at(vit_json_get(args, "img_size"), 0), 0), 24);
    ck_assert_double_eq(vit_json_number(vit_json_at(vit_json_get(args, "img_size"), 1), 0), 32);
    ck_assert_str_eq(text(args, "global_pool"), token ? "token" : "avg");
    ck_assert_int_eq(vit_json_bool(vit_json_get(args, "class_token"), !token), token);
    ck_assert_uint_eq(vit_json_count(args), 8); /* timm fails on arguments that it does not know */
    const vit_json *cfg = vit_json_get(config, "pretrained_cfg");
    ck_assert_str_eq(text(cfg, "interpolation"), "bilinear");
    ck_assert_double_eq(number(cfg, "crop_pct"), 0.875);
    ck_assert_double_eq(vit_json_number(vit_json_at(vit_json_get(cfg, "std"), 2), 0), 3);
    ck_assert_double_eq(vit_json_number(vit_json_at(vit_json_get(cfg, "input_size"), 2), 0), 32);
    const vit_json *labels = vit_json_get(cfg, "label_names");
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(vit_json_string(vit_json_at(labels, i), ""), quoted_names[i]);
    }
    vit_json_free(config);
    vit_model_bundle_free(bundle);
}
END_TEST

/* What timm saved, taken by --init and exported, is what timm saved: names, shapes, every bit. */
START_TEST(timms_own_file_comes_back) {
    char path[1024];
    vit_config config = golden_timm_config();
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    golden_path(GOLDEN_TIMM, path);
    ck_vit_ok(vit_init_from(path, bundle, NULL, NULL));
    vit_export_paths paths;
    ck_vit_ok(
        vit_export_place(VIT_EXPORT_TIMM, temp_path(path, folder, "back.safetensors"), &paths));
    ck_vit_ok(vit_export(bundle, VIT_EXPORT_TIMM, &paths));
    vit_safetensors *timm = golden_open(GOLDEN_TIMM), *ours;
    ck_vit_ok(safetensors_load(paths.weights, &ours));
    ck_assert_uint_eq(vit_safetensors_count(ours), vit_safetensors_count(timm));
    for (size_t i = 0; i < vit_safetensors_count(timm); i++) {
        const vit_tensor *a = vit_safetensors_at(timm, i);
        const vit_tensor *b = vit_safetensors_find(ours, a->name);
        ck_assert_msg(b != NULL, "%s is missing", a->name);
        ck_assert_int_eq(a->ndim, b->ndim);
        ck_assert_mem_eq(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape);
        ck_assert_mem_eq(a->data, b->data, a->count * sizeof(float));
    }
    vit_safetensors_close(timm);
    vit_safetensors_close(ours);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(any_model_as_safetensors) {
    char out[1024];
    vit_export_paths paths;
    vit_model_bundle *bundle = quoted_model_new(_i, VIT_POOL_AVG, VIT_ROPE_2D);
    ck_vit_ok(vit_export_place(VIT_EXPORT_SAFETENSORS,
                               temp_path(out, folder, "any%d.safetensors", _i), &paths));
    ck_assert_str_eq(paths.weights, out);
    ck_vit_ok(vit_export(bundle, VIT_EXPORT_SAFETENSORS, &paths));
    check_weights(bundle, paths.weights);
    vit_json *config = read_config(temp_path(out, folder, "any%d.json", _i));
    vit_config read;
    vit_preprocess preprocess;
    const vit_json *labels;
    ck_vit_ok(vit_config_from_json(config, "config", &read, &preprocess, &labels));
    ck_assert_int_eq(read.attn, _i);
    ck_assert_double_eq(preprocess.mean[1], 0.25);
    vit_json_free(config);

    /* And back: --init takes it whole, the 3 x 4 positions too, because the model has that grid. */
    vit_model_bundle *again = quoted_model_new(_i, VIT_POOL_AVG, VIT_ROPE_2D);
    vit_params_init(&again->model.params, 9, again->params);
    size_t counts[VIT_TENSOR_ACTIONS];
    ck_vit_ok(vit_init_from(paths.weights, again, NULL, counts));
    ck_assert_uint_eq(counts[VIT_TENSOR_TAKEN], bundle->model.params.count);
    check_same_bits("weights", bundle->model.params.total, again->params, bundle->params);
    vit_model_bundle_free(again);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(what_timm_has_not_is_refused) {
    static const struct {
        int attn, rope;
        const char *part;
    } cases[] = {
        {VIT_ATTENTION_ZEROS, VIT_ROPE_NONE, "zeros attention (expected softmax"},
        {VIT_ATTENTION_LINEAR, VIT_ROPE_NONE, "linear attention (expected softmax"},
        {VIT_ATTENTION_SOFTMAX, VIT_ROPE_2D, "--rope 2d (expected one trained with --rope none"},
    };
    vit_model_bundle *bundle = quoted_model_new(cases[_i].attn, VIT_POOL_AVG, cases[_i].rope);
    vit_export_paths paths;
    char out[1024];
    size_t before = count_entries(folder);
    ck_vit_ok(
        vit_export_place(VIT_EXPORT_TIMM, temp_path(out, folder, "refused.safetensors"), &paths));
    ck_vit_fails(vit_export(bundle, VIT_EXPORT_TIMM, &paths), VIT_ERROR_UNSUPPORTED,
                 cases[_i].part);
    ck_assert_uint_eq(count_entries(folder), before);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(places) {
    vit_export_paths paths;
    char out[1024], long_name[5000];
    ck_assert_int_eq(vit_export_place(VIT_EXPORT_TIMM, "", &paths), VIT_ERROR_ARGUMENT);
    memset(long_name, 'a', sizeof long_name);
    memcpy(long_name + sizeof long_name - 13, ".safetensors", 13);
    ck_vit_fails(vit_export_place(VIT_EXPORT_TIMM, long_name, &paths), VIT_ERROR_ARGUMENT,
                 "too long");
    temp_path(out, folder, "folder.safetensors"); /* a folder by that name stays one */
    make_folders(out);
    ck_vit_ok(vit_export_place(VIT_EXPORT_TIMM, out, &paths));
    ck_assert_ptr_nonnull(strstr(paths.weights, "folder.safetensors/model.safetensors"));
    ck_assert_ptr_nonnull(strstr(paths.sample, "folder.safetensors/sample.safetensors"));
    ck_vit_ok(vit_export_place(VIT_EXPORT_SAFETENSORS, "x/y.safetensors", &paths));
    ck_assert_str_eq(paths.config, "x/y.json");
    ck_assert_str_eq(paths.sample, "x/y.sample.safetensors");
    ck_vit_ok(vit_export_place(VIT_EXPORT_ONNX, "x/y.onnx", &paths));
    ck_assert_str_eq(paths.weights, "x/y.onnx");
    ck_assert_str_eq(paths.config, "");
    ck_assert_str_eq(paths.sample, "x/y.sample.safetensors");
    ck_vit_fails(vit_export_place(VIT_EXPORT_ONNX, "x/y.safetensors", &paths), VIT_ERROR_ARGUMENT,
                 "(expected a folder or FILE.onnx)");
    write_png(temp_path(out, folder, "file"), 1, 1, (const uint8_t[]){0, 0, 0});
    ck_assert_int_ne(vit_export_place(VIT_EXPORT_TIMM, out, &paths), VIT_OK);
    check_message(out);
}
END_TEST

START_TEST(a_sample_holds_the_models_logits) {
    enum { COUNT = 3, PIXELS = 3 * 24 * 32 };
    char path[1024];
    vit_model_bundle *bundle =
        quoted_model_new(VIT_ATTENTION_SOFTMAX, VIT_POOL_TOKEN, VIT_ROPE_NONE);
    ck_vit_ok(vit_export_sample(bundle, COUNT, 7, temp_path(path, folder, "sample.safetensors"),
                                NULL, NULL));
    vit_safetensors *file;
    ck_vit_ok(safetensors_load(path, &file));
    size_t count;
    float *images = golden_f32(file, "images", &count), logits[COUNT * 3];
    double *expected = golden_f64(file, "logits", NULL), sum = 0;
    ck_assert_uint_eq(count, COUNT * PIXELS);
    for (size_t i = 0; i < count; i++) {
        sum += (double)images[i] * images[i];
    }
    ck_assert_double_eq_tol(sum / (double)count, 1, 0.1);
    vit_workspace *workspace;
    ck_vit_ok(vit_workspace_create(&bundle->model, COUNT, false, &workspace));
    vit_model_forward(&bundle->model, bundle->params, workspace, COUNT, images, NULL, logits);
    check_close("logits", COUNT * 3, logits, expected, 1e-6);
    vit_workspace_free(workspace);
    free(images), free(expected);
    vit_safetensors_close(file);
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("export");
    TCase *t = tcase_create("export");
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    tcase_add_loop_test(t, timm_gets_its_names_and_its_config, 0, 2);
    tcase_add_test(t, timms_own_file_comes_back);
    tcase_add_loop_test(t, any_model_as_safetensors, 0, VIT_ATTENTION_KINDS);
    tcase_add_loop_test(t, what_timm_has_not_is_refused, 0, 3);
    tcase_add_test(t, places);
    tcase_add_test(t, a_sample_holds_the_models_logits);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
