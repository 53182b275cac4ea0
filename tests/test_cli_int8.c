/* Models with int8 weights as a user meets them: export, what reads them, and what refuses them.
 * zvit serve with one is in test_serve.c. */
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/pictures.h"
#include "tests/support/support.h"
#include "vit/model_file.h"
#include "vit/quant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CLASSES = 3, EACH = 6, SIDE = 24 };
static const char *const classes[CLASSES] = {"ant", "bee", "cat"};
static char floats[1024], int8[1024], data[1024];

/* Wide enough that its weights are most of its file. */
static void make_all(void) {
    const vit_preprocess preprocess = {
        .crop_pct = 1, .mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25}};
    vit_config config;
    vit_model_bundle *bundle;
    make_folder();
    temp_path(floats, folder, "floats.safetensors");
    temp_path(int8, folder, "int8.safetensors");
    temp_path(data, folder, "data");
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.num_classes = CLASSES;
    config.img_size[0] = config.img_size[1] = SIDE;
    config.embed_dim = 96;
    config.depth = 2;
    config.num_heads = 3;
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, classes, 3, &bundle));
    random_floats(17, bundle->model.params.total, 0.1, bundle->params);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, floats));
    vit_model_bundle_free(bundle);
    make_pictures(data, "train", classes, CLASSES, 2, SIDE, SIDE, 5);
    make_pictures(data, "val", classes, CLASSES, EACH, SIDE, SIDE, 9);
}

static void export_int8(void) {
    outcome result = zvit("export", floats, "--format", "int8", "--out", int8, NULL);
    check_code(&result, 0);
    check_has(result.out, int8);
    check_has_not(result.out, "config");
    ck_assert_str_eq(result.err, "");
    release(&result);
}

static double size_of(const char *file) {
    struct stat info;
    ck_assert_int_eq(stat(file, &info), 0);
    return (double)info.st_size;
}

START_TEST(a_quarter_of_the_size) {
    export_int8();
    ck_assert_double_lt(size_of(int8), size_of(floats) / 3);
}
END_TEST

/* The exported folder stands for its model, as a run's does. */
START_TEST(a_folder_can_be_read_too) {
    const char *out = in_folder("exported");
    outcome result = zvit("export", floats, "--format", "int8", "--out", out, "--json", NULL);
    check_code(&result, 0);
    vit_json *json = parse(result.out);
    ck_assert_str_eq(string_of(json, "format"), "int8");
    vit_json_free(json);
    release(&result);
    result = zvit("info", out, NULL);
    check_code(&result, 0);
    char expected[128];
    snprintf(expected, sizeof expected, "weights       int8 in the linear layers, %s kernel",
             vit_quant_isa());
    check_has(result.out, expected);
    release(&result);
}
END_TEST

START_TEST(info_tells_what_it_is) {
    export_int8();
    outcome result = zvit("info", int8, "--json", NULL);
    check_code(&result, 0);
    vit_json *json = parse(result.out);
    ck_assert_str_eq(string_of(json, "quantization"), "int8");
    ck_assert_double_eq(number_of(json, "bytes"), size_of(int8));
    vit_json_free(json);
    release(&result);
    result = zvit("info", floats, NULL);
    check_code(&result, 0);
    check_has_not(result.out, "int8");
    release(&result);
}
END_TEST

/* The same bytes of output on any number of threads, and near those of the float model. */
START_TEST(eval_and_classify_take_it) {
    static const char *const threads[] = {"1", "2", "3"};
    char *first = NULL, picture[1024];
    export_int8();
    temp_path(picture, data, "val/bee");
    for (size_t i = 0; i < 3; i++) {
        outcome result = zvit("classify", int8, picture, "--csv", "--threads", threads[i], NULL);
        check_code(&result, 0);
        first = first ? first : strdup(result.out);
        ck_assert_str_eq(result.out, first);
        release(&result);
    }
    free(first);
    outcome result = zvit("eval", floats, int8, data, "--json", NULL);
    check_code(&result, 0);
    vit_json *json = parse(result.out);
    const vit_json *a = vit_json_at(json, 0), *b = vit_json_at(json, 1);
    ck_assert_double_eq(number_of(b, "images"), CLASSES * EACH);
    ck_assert_double_eq_tol(number_of(a, "loss"), number_of(b, "loss"), 0.02);
    ck_assert_double_ne(number_of(a, "loss"), number_of(b, "loss"));
    vit_json_free(json);
    release(&result);
}
END_TEST

/* Heat maps are of the weights as floats. */
START_TEST(explain_takes_it) {
    char picture[1024];
    export_int8();
    temp_path(picture, data, "val/bee/001.png");
    static const char *const methods[] = {"gradient", "zeros-rollout"};
    for (size_t i = 0; i < 2; i++) {
        outcome result = zvit("explain", int8, picture, "--method", methods[i], "--json", NULL);
        check_code(&result, 0);
        release(&result);
    }
}
END_TEST

/* Out again as floats, with a warning; those weigh what the int8 ones do. */
START_TEST(other_formats_dequantise) {
    export_int8();
    const char *out = in_folder("back.safetensors");
    outcome result = zvit("export", int8, "--format", "safetensors", "--out", out, NULL);
    check_code(&result, 0);
    check_has(result.err, "int8 weights, written as the floats that they stand for");
    release(&result);
    vit_safetensors *file, *quantised;
    ck_vit_ok(safetensors_load(out, &file));
    ck_vit_ok(safetensors_load(int8, &quantised));
    const vit_tensor *w = vit_safetensors_find(file, "head.weight");
    float back[CLASSES * 96], q[CLASSES * 96], scale[CLASSES];
    ck_assert_int_eq(w->dtype, VIT_F32);
    vit_tensor_to_f32(w, back);
    vit_tensor_to_f32(vit_safetensors_find(quantised, "head.weight"), q);
    vit_tensor_to_f32(vit_safetensors_find(quantised, "head.weight_scale"), scale);
    for (size_t i = 0; i < CLASSES * 96; i++) {
        ck_assert_float_eq(back[i], scale[i / 96] * q[i]);
    }
    vit_safetensors_close(file);
    vit_safetensors_close(quantised);
    char *config = read_text(in_folder("back.json"));
    check_has_not(config, "quantization");
    free(config);
}
END_TEST

START_TEST(what_needs_float_weights_refuses_it) {
    export_int8();
    check_failure(
        zvit("export", int8, "--format", "int8", "--out", in_folder("twice.safetensors"), NULL),
        "export", "the model has int8 weights (expected float weights)");
    ck_assert(!file_exists(in_folder("twice.safetensors")));
    check_failure(zvit("train", data, "--out", in_folder("run"), "--init", int8, "--epochs", "1",
                       TINY_MODEL, NULL),
                  "train", "int8 weights (expected a model with float weights");
}
END_TEST

START_TEST(bench_measures_both) {
    outcome result = zvit("bench", "infer", "--int8", "--model", "zeros_micro_patch4_28",
                          "--repeats", "1", "-b", "2", "--threads", "1", "--json", NULL);
    check_code(&result, 0);
    check_has(result.out, "int8 inference, batch 1");
    check_has(result.out, "int8 against float, batch 2");
    release(&result);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cli_int8");
    TCase *tc = tcase_create("cli_int8");
    tcase_add_checked_fixture(tc, make_all, remove_folder);
    tcase_add_test(tc, a_quarter_of_the_size);
    tcase_add_test(tc, a_folder_can_be_read_too);
    tcase_add_test(tc, info_tells_what_it_is);
    tcase_add_test(tc, eval_and_classify_take_it);
    tcase_add_test(tc, explain_takes_it);
    tcase_add_test(tc, other_formats_dequantise);
    tcase_add_test(tc, what_needs_float_weights_refuses_it);
    tcase_add_test(tc, bench_measures_both);
    suite_add_tcase(suite, tc);
    return test_run(suite);
}
