/* Models with int8 weights: their files, what is refused, and that they say what the float model
 * says, to the same bits on any number of threads. */
#include "support/files.h"
#include "support/folder.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"

#include "eval/predict.h"
#include "vit/export.h"
#include "vit/model_file.h"
#include "vit/quant_model.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char path[1024];

static void setup(void) {
    make_folder();
    temp_path(path, folder, "int8.safetensors");
}

enum { CLASSES = 3, PICTURES = 3 };

/* Nothing is a multiple of a tile. */
static vit_model_bundle *bundle_new(int attn, int pool) {
    vit_config config;
    const vit_preprocess preprocess = {
        .crop_pct = 0.875, .mean = {0.5, 0.25, 0.125}, .std = {1, 2, 3}};
    vit_model_bundle *bundle;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.attn = attn;
    config.img_size[0] = 20;
    config.img_size[1] = 29;
    config.patch_size = 5;
    config.embed_dim = 36;
    config.num_heads = 3;
    config.depth = 2;
    config.num_classes = CLASSES;
    config.global_pool = pool;
    config.zero_order = vit_attention_has_zero_order((vit_attention_kind)attn);
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, quoted_names, 1, &bundle));
    random_weights(&bundle->model.params, 200, 0.2, bundle->params);
    return bundle;
}

static float *pictures_new(const vit_model *model) {
    const vit_patch_shape *s = &model->patch;
    return random_new(3, PICTURES * s->channels * s->height * s->width, 1);
}

/* (PICTURES,K), all at once; malloc'ed. */
static float *logits_of(const vit_model_bundle *bundle) {
    vit_workspace *workspace;
    float *logits = filled_new(PICTURES * CLASSES, NAN), *images = pictures_new(&bundle->model);
    ck_vit_ok(vit_workspace_create(&bundle->model, PICTURES, VIT_INFERENCE, &workspace));
    vit_model_forward(&bundle->model, bundle->params, workspace, PICTURES, images, NULL, logits);
    vit_workspace_free(workspace);
    free(images);
    return logits;
}

static vit_model_bundle *through_file(const vit_model_bundle *bundle) {
    vit_model_bundle *back;
    ck_vit_ok(vit_model_bundle_save_int8(bundle, path));
    ck_vit_ok(vit_model_bundle_load(path, &back));
    ck_assert_ptr_nonnull(back->model.int8);
    return back;
}

/* ---- which weights ---- */

START_TEST(the_layers_are_the_linear_ones) {
    vit_model_bundle *bundle = bundle_new(_i / 2, _i % 2);
    const vit_model *model = &bundle->model;
    size_t rows = 0, row, weights = 0;
    for (size_t i = 0; i < model->params.count; i++) {
        const vit_param *p = &model->params.items[i];
        size_t length = strlen(p->name);
        bool linear = (p->ndim == 2 || strcmp(p->name, "patch_embed.proj.weight") == 0) &&
                      strcmp(p->name + length - 7, ".weight") == 0;
        ck_assert_msg(vit_quant_find(model, p, &row) == linear, "%s", p->name);
        if (linear) {
            ck_assert_uint_eq(row, rows);
            rows += p->shape[0];
            weights += p->size;
        }
    }
    ck_assert_uint_eq(rows, vit_quant_row_count(model));
    for (size_t i = 0; i < vit_quant_layer_count(model); i++) {
        vit_quant_layer layer = vit_quant_layer_at(model, i);
        weights -= layer.in * layer.out;
    }
    ck_assert_uint_eq(weights, 0);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- what it computes ---- */

START_TEST(it_says_what_the_float_model_says) {
    vit_model_bundle *bundle = bundle_new(_i / 2, _i % 2), *back = through_file(bundle);
    float *expected = logits_of(bundle), *actual = logits_of(back);
    double *reference = to_double(expected, PICTURES * CLASSES);
    check_close("int8 logits", PICTURES * CLASSES, actual, reference, 0.05);
    /* Dequantised weights leave what is lost of the activations. */
    vit_model_bundle_dequantise(back);
    ck_assert_ptr_null(back->model.int8);
    float *floats = logits_of(back);
    check_close("dequantised", PICTURES * CLASSES, floats, reference, 0.05);
    ck_assert_mem_ne(floats, actual, sizeof(float) * PICTURES * CLASSES);
    free(expected);
    free(actual);
    free(floats);
    free(reference);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(its_features_are_those_of_the_head) {
    vit_model_bundle *bundle = bundle_new(0, 0), *back = through_file(bundle);
    const vit_model_bundle *both[2] = {bundle, back};
    size_t D = bundle->model.patch.dim;
    float *features[2], *images = pictures_new(&bundle->model), logits[CLASSES];
    for (size_t i = 0; i < 2; i++) {
        vit_workspace *workspace;
        features[i] = filled_new(D, NAN);
        ck_vit_ok(vit_workspace_create(&both[i]->model, 1, VIT_INFERENCE, &workspace));
        vit_model_forward(&both[i]->model, both[i]->params, workspace, 1, images, NULL, logits);
        memcpy(features[i], vit_workspace_features(workspace), D * sizeof(float));
        vit_workspace_free(workspace);
    }
    double *reference = to_double(features[0], D);
    check_close("features", D, features[1], reference, 0.03);
    free(reference);
    free(features[0]);
    free(features[1]);
    free(images);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

/* One thread, two, three; in a parallel region; one picture at a time. */
START_TEST(the_same_bits_whoever_computes) {
    vit_model_bundle *bundle = bundle_new(_i, 0), *back = through_file(bundle);
    const vit_model *model = &back->model;
    size_t pixels = model->patch.channels * model->patch.height * model->patch.width;
    float *images = pictures_new(model), *first = NULL;
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        float *logits = logits_of(back);
        first = first ? first : logits;
        check_same_bits("threads", PICTURES * CLASSES, logits, first);
        if (logits != first) {
            free(logits);
        }
    }
    float alone[CLASSES], inside[PICTURES * CLASSES];
    vit_workspace *workspace;
    ck_vit_ok(vit_workspace_create(model, PICTURES, VIT_INFERENCE, &workspace));
    for (size_t i = 0; i < PICTURES; i++) {
        vit_model_forward(model, back->params, workspace, 1, images + i * pixels, NULL, alone);
        check_same_bits("alone", CLASSES, alone, first + i * CLASSES);
    }
#pragma omp parallel num_threads(1)
    vit_model_forward(model, back->params, workspace, PICTURES, images, NULL, inside);
    check_same_bits("inside", PICTURES * CLASSES, inside, first);
    vit_workspace_free(workspace);
    free(images);
    free(first);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- the file ---- */

START_TEST(the_file_says_what_it_is) {
    vit_model_bundle *bundle = bundle_new(0, 0), *back = through_file(bundle);
    const vit_param_table *table = &bundle->model.params;
    vit_safetensors *file;
    size_t scales = 0, row;
    ck_vit_ok(safetensors_load(path, &file));
    ck_assert_str_eq(vit_safetensors_metadata(file, "format"), "pt");
    ck_assert_str_eq(vit_safetensors_metadata(file, "zvit"), "2");
    ck_assert_ptr_nonnull(
        strstr(vit_safetensors_metadata(file, "config"), "\"quantization\":\"int8\""));
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *p = &table->items[i];
        bool int8 = vit_quant_find(&bundle->model, p, &row);
        const vit_tensor *tensor = vit_safetensors_find(file, p->name);
        ck_assert_int_eq(tensor->dtype, int8 ? VIT_I8 : VIT_F32);
        ck_assert_uint_eq(tensor->count, p->size);
        if (int8) {
            char name[128];
            snprintf(name, sizeof name, "%s_scale", p->name);
            const vit_tensor *scale = vit_safetensors_find(file, name);
            ck_assert_int_eq(scale->dtype, VIT_F32);
            ck_assert_int_eq(scale->ndim, 1);
            ck_assert_uint_eq(scale->count, p->shape[0]);
            scales++;
        }
    }
    ck_assert_uint_eq(vit_safetensors_count(file), table->count + scales);
    vit_json *config = vit_model_config_json(back);
    ck_assert_str_eq(vit_json_string(vit_json_get(config, "quantization"), ""), "int8");
    vit_json_free(config);
    vit_safetensors_close(file);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

/* Floats come back to the bit; int8 weights to half a step. */
START_TEST(dequantised_it_is_a_float_model) {
    vit_model_bundle *bundle = bundle_new(_i, 0), *back = through_file(bundle), *again;
    const vit_param_table *table = &bundle->model.params;
    size_t row;
    vit_model_bundle_dequantise(back);
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *p = &table->items[i];
        const float *a = bundle->params + p->offset, *b = back->params + p->offset;
        if (!vit_quant_find(&bundle->model, p, &row)) {
            check_same_bits(p->name, p->size, a, b);
            continue;
        }
        size_t in = p->size / p->shape[0];
        for (size_t n = 0; n < p->shape[0]; n++) {
            float most = 0;
            for (size_t k = 0; k < in; k++) {
                most = fmaxf(most, fabsf(a[n * in + k]));
            }
            for (size_t k = 0; k < in; k++) {
                ck_assert_float_le(fabsf(a[n * in + k] - b[n * in + k]), 0.501f * most / 127);
            }
        }
    }
    vit_json *config = vit_model_config_json(back);
    ck_assert_ptr_null(vit_json_get(config, "quantization"));
    vit_json_free(config);
    ck_vit_ok(vit_model_bundle_save(back, NULL, NULL, 0, path));
    ck_vit_ok(vit_model_bundle_load(path, &again));
    check_same_bits("saved again", table->total, back->params, again->params);
    vit_model_bundle_dequantise(again); /* nothing to do */
    vit_model_bundle_free(again);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

/* An int8 file, to be changed before it is written again. */
typedef struct altered {
    vit_safetensors *file;
    vit_tensor *tensors;
    size_t count;
    vit_metadata metadata[3];
} altered;

static vit_tensor *tensor_of(altered *a, const char *name) {
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->tensors[i].name, name) == 0) {
            return &a->tensors[i];
        }
    }
    ck_abort_msg("%s", name);
    return NULL;
}

#define WEIGHT "blocks.1.mlp.fc1.weight"

/* Writes it and loads that. */
static void check_refused(altered *a, vit_status expected, const char *word) {
    char bad[1024];
    vit_model_bundle *bundle;
    temp_path(bad, folder, "bad.safetensors");
    ck_vit_ok(vit_safetensors_save(bad, a->tensors, a->count, a->metadata, 3));
    ck_vit_fails(vit_model_bundle_load(bad, &bundle), expected, word);
    ck_assert_ptr_null(bundle);
    check_message(bad);
}

static altered altered_open(void) {
    altered a = {0};
    ck_vit_ok(safetensors_load(path, &a.file));
    a.count = vit_safetensors_count(a.file);
    a.tensors = calloc(a.count + 1, sizeof *a.tensors);
    for (size_t i = 0; i < a.count; i++) {
        a.tensors[i] = *vit_safetensors_at(a.file, i);
    }
    static const char *const keys[] = {"format", "zvit", "config"};
    for (size_t i = 0; i < 3; i++) {
        a.metadata[i] = (vit_metadata){keys[i], vit_safetensors_metadata(a.file, keys[i])};
    }
    return a;
}

static void altered_close(altered *a) {
    vit_safetensors_close(a->file);
    free(a->tensors);
}

START_TEST(bad_scales_are_refused) {
    static const float values[] = {-1, -FLT_TRUE_MIN, NAN, INFINITY, -INFINITY, FLT_MAX / 100};
    vit_model_bundle *bundle = bundle_new(0, 0), *back;
    ck_vit_ok(vit_model_bundle_save_int8(bundle, path));
    altered a = altered_open();
    vit_tensor *scale = tensor_of(&a, WEIGHT "_scale");
    const vit_tensor good = *scale;
    float *copy = malloc(good.count * sizeof *copy);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        vit_tensor_to_f32(&good, copy);
        copy[5] = values[i];
        scale->data = copy;
        check_refused(&a, VIT_ERROR_FORMAT, WEIGHT "_scale: element 5 is ");
    }
    *scale = good;
    scale->shape[0]--;
    scale->count--;
    check_refused(&a, VIT_ERROR_FORMAT, "_scale: shape [");
    *scale = good;
    scale->ndim = 2;
    scale->shape[1] = 1;
    check_refused(&a, VIT_ERROR_FORMAT, "_scale: shape [");
    *scale = good;
    scale->dtype = VIT_I32;
    check_refused(&a, VIT_ERROR_FORMAT, "_scale: dtype I32");
    *scale = a.tensors[--a.count];
    check_refused(&a, VIT_ERROR_FORMAT, WEIGHT "_scale is missing");
    a.tensors[a.count++] = *scale;
    *scale = good;
    /* Scales in another float type, and a row of zeros, are fine. */
    double *wide = calloc(good.count, sizeof *wide);
    scale->dtype = VIT_F64;
    scale->data = wide;
    ck_vit_ok(vit_safetensors_save(path, a.tensors, a.count, a.metadata, 3));
    ck_vit_ok(vit_model_bundle_load(path, &back));
    vit_model_bundle_free(back);
    free(wide);
    free(copy);
    altered_close(&a);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(bad_tensors_are_refused) {
    vit_model_bundle *bundle = bundle_new(0, 0);
    ck_vit_ok(vit_model_bundle_save_int8(bundle, path));
    altered a = altered_open();
    vit_tensor *weight = tensor_of(&a, WEIGHT), *norm = tensor_of(&a, "blocks.0.norm1.weight");
    const vit_tensor good = *weight, good_norm = *norm;
    weight->shape[0] = good.shape[1];
    weight->shape[1] = good.shape[0];
    check_refused(&a, VIT_ERROR_FORMAT, WEIGHT ": shape [");
    *weight = good;
    weight->dtype = VIT_U8;
    check_refused(&a, VIT_ERROR_FORMAT, WEIGHT ": dtype U8 (expected I8)");
    *weight = good;
    weight->dtype = VIT_F32;
    weight->data = bundle->params;
    check_refused(&a, VIT_ERROR_FORMAT, WEIGHT ": dtype F32 (expected I8)");
    *weight = good;
    norm->dtype = VIT_I8;
    check_refused(&a, VIT_ERROR_FORMAT, "blocks.0.norm1.weight: dtype I8 (expected F32");
    *norm = good_norm;
    float *copy = malloc(norm->count * sizeof *copy);
    vit_tensor_to_f32(norm, copy);
    copy[2] = NAN;
    norm->data = copy;
    check_refused(&a, VIT_ERROR_FORMAT, "blocks.0.norm1.weight: element 2 is ");
    *norm = good_norm;
    a.tensors[a.count] = *norm;
    a.tensors[a.count++].name = "blocks.0.norm1.weight_scale"; /* of what has none */
    check_refused(&a, VIT_ERROR_FORMAT, "blocks.0.norm1.weight_scale is unknown");
    free(copy);
    altered_close(&a);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(layout_and_config_have_to_agree) {
    static const char entry[] = "\"quantization\":\"int8\"";
    vit_model_bundle *bundle = bundle_new(0, 0);
    ck_vit_ok(vit_model_bundle_save_int8(bundle, path));
    altered a = altered_open();
    const char *config = a.metadata[2].value;
    a.metadata[1].value = "1";
    check_refused(&a, VIT_ERROR_FORMAT, "quantization with layout version 1 (expected 2)");
    a.metadata[1].value = "3";
    check_refused(&a, VIT_ERROR_UNSUPPORTED, "layout version 3");
    check_message("reads up to 2");
    a.metadata[1].value = "2";
    static const char *const changes[][2] = {
        {"\"quantization\":\"int4\"", "quantization is int4"},
        {"\"quantization\":8", "quantization is not a name"},
        {"\"quantization\":null", "quantization is not a name"},
    };
    for (size_t i = 0; i < 3; i++) {
        char *changed = strdup(config);
        replace_text(&changed, entry, changes[i][0]);
        a.metadata[2].value = changed;
        check_refused(&a, VIT_ERROR_UNSUPPORTED, changes[i][1]);
        free(changed);
    }
    char *without = strdup(config);
    replace_text(&without, entry, "\"other\":1"); /* then floats are expected */
    a.metadata[2].value = without;
    check_refused(&a, VIT_ERROR_FORMAT, "dtype I8 (expected F32");
    free(without);
    altered_close(&a);
    vit_model_bundle_free(bundle);
}
END_TEST

/* What reads layout 1 only says that it does not know layout 2; such files stay layout 1. */
START_TEST(float_models_keep_the_first_layout) {
    vit_model_bundle *bundle = bundle_new(0, 0);
    vit_safetensors *file;
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    ck_vit_ok(safetensors_load(path, &file));
    ck_assert_str_eq(vit_safetensors_metadata(file, "zvit"), "1");
    ck_assert_ptr_null(strstr(vit_safetensors_metadata(file, "config"), "quantization"));
    vit_safetensors_close(file);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- what is refused ---- */

START_TEST(it_has_no_backward_and_is_not_saved_as_floats) {
    vit_model_bundle *bundle = bundle_new(0, 0), *back = through_file(bundle);
    vit_workspace *workspace;
    size_t bytes;
    const vit_workspace_kind kinds[] = {VIT_TRAINING, VIT_TRAINING_CHECKPOINTED};
    for (size_t i = 0; i < 2; i++) {
        ck_vit_fails(vit_workspace_create(&back->model, 1, kinds[i], &workspace),
                     VIT_ERROR_UNSUPPORTED, "the model has int8 weights");
        ck_assert_ptr_null(workspace);
        ck_vit_fails(vit_workspace_bytes(&back->model, 1, kinds[i], &bytes), VIT_ERROR_UNSUPPORTED,
                     "int8");
    }
    ck_vit_fails(vit_model_bundle_save(back, NULL, NULL, 0, path), VIT_ERROR_UNSUPPORTED, "int8");
    ck_vit_fails(vit_model_bundle_save_int8(back, path), VIT_ERROR_UNSUPPORTED, "int8");
    for (size_t i = 0; vit_export_format_names[i]; i++) {
        ck_vit_fails(vit_export_check(back, (vit_export_format)i), VIT_ERROR_UNSUPPORTED,
                     "the model has int8 weights");
    }
    ck_vit_ok(vit_workspace_bytes(&back->model, 4, VIT_INFERENCE, &bytes));
    ck_assert_uint_gt(bytes, 0);
    ck_assert_uint_lt(vit_model_weight_bytes(&back->model), vit_model_weight_bytes(&bundle->model));
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(weights_that_are_not_finite_are_not_exported) {
    vit_model_bundle *bundle = bundle_new(0, 0);
    const vit_param *p = vit_params_find(&bundle->model.params, WEIGHT);
    bundle->params[p->offset + 3] = NAN;
    ck_vit_fails(vit_model_bundle_save_int8(bundle, path), VIT_ERROR_NUMERIC, WEIGHT ": element 3");
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- trained models ---- */

enum { DIGITS = 50 };
static char *digits;

static void unpack_digits(void) {
    digits = digits_unpack("'val/*/?_000?.png' 'val/*/?_001?.png' 'val/*/?_002?.png'");
}

static void remove_digits(void) {
    temp_folder_remove(digits);
    digits = NULL;
}

/* (DIGITS,10), malloc'ed. */
static float *predict_digits(const vit_model_bundle *bundle) {
    char names[DIGITS][1024];
    vit_predict_input inputs[DIGITS] = {{0}};
    vit_prediction predictions[DIGITS];
    vit_predictor *predictor;
    float *all = filled_new(DIGITS * 10, NAN);
    for (size_t i = 0; i < DIGITS; i++) {
        inputs[i].name = digit_path(names[i], digits, i);
    }
    ck_vit_ok(vit_predictor_create(bundle, DIGITS, 2, NULL, &predictor));
    ck_vit_ok(vit_predict(predictor, inputs, DIGITS, predictions));
    for (size_t i = 0; i < DIGITS; i++) {
        ck_assert_msg(predictions[i].status == VIT_OK, "%s", predictions[i].error);
        memcpy(all + i * 10, predictions[i].probabilities, 10 * sizeof *all);
    }
    vit_predictor_free(predictor);
    return all;
}

static size_t best_of(const float *row) {
    size_t best = 0;
    for (size_t k = 1; k < 10; k++) {
        best = row[k] > row[best] ? k : best;
    }
    return best;
}

/* Probabilities within 0.03, and the same class unless two are as near as that. */
START_TEST(trained_models_agree) {
    static const char *const models[] = {"zeros", "zeros-sm", "softmax", "linear"};
    char file[1024];
    vit_model_bundle *bundle;
    snprintf(file, sizeof file, "%s/models/digits-%s.safetensors", ZVIT_TEST_DIR, models[_i]);
    ck_vit_ok(vit_model_bundle_load(file, &bundle));
    vit_model_bundle *back = through_file(bundle);
    float *expected = predict_digits(bundle), *actual = predict_digits(back);
    size_t right = 0;
    for (size_t i = 0; i < DIGITS; i++) {
        const float *a = expected + i * 10, *b = actual + i * 10;
        size_t best = best_of(a), ours = best_of(b);
        for (size_t k = 0; k < 10; k++) {
            ck_assert_float_le(fabsf(a[k] - b[k]), 0.03f);
        }
        ck_assert(best == ours || a[best] - a[ours] < 0.06f);
        right += best == i % 10;
    }
    ck_assert_uint_gt(right, DIGITS / 2); /* it is the digits that were looked at */
    free(expected);
    free(actual);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quant_model");
    TCase *tc = tcase_create("quant_model");
    tcase_add_checked_fixture(tc, setup, remove_folder);
    tcase_add_loop_test(tc, the_layers_are_the_linear_ones, 0, 2 * VIT_ATTENTION_KINDS);
    tcase_add_loop_test(tc, it_says_what_the_float_model_says, 0, 2 * VIT_ATTENTION_KINDS);
    tcase_add_test(tc, its_features_are_those_of_the_head);
    tcase_add_loop_test(tc, the_same_bits_whoever_computes, 0, VIT_ATTENTION_KINDS);
    tcase_add_test(tc, the_file_says_what_it_is);
    tcase_add_loop_test(tc, dequantised_it_is_a_float_model, 0, VIT_ATTENTION_KINDS);
    tcase_add_test(tc, bad_scales_are_refused);
    tcase_add_test(tc, bad_tensors_are_refused);
    tcase_add_test(tc, layout_and_config_have_to_agree);
    tcase_add_test(tc, float_models_keep_the_first_layout);
    tcase_add_test(tc, it_has_no_backward_and_is_not_saved_as_floats);
    tcase_add_test(tc, weights_that_are_not_finite_are_not_exported);
    suite_add_tcase(suite, tc);
    TCase *trained = tcase_create("digits");
    tcase_add_unchecked_fixture(trained, unpack_digits, remove_digits);
    tcase_add_checked_fixture(trained, setup, remove_folder);
    tcase_add_loop_test(trained, trained_models_agree, 0, 4);
    suite_add_tcase(suite, trained);
    return test_run(suite);
}
