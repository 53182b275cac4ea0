/* Configurations: the table that declares them, presets and their counts of weights and operations
 * against timm's, checks of every field, and the JSON in which timm and model files have them. */
#include "support/files.h"
#include "support/support.h"

#include "train/recipe.h"
#include "vit/model.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static vit_config preset(const char *name) {
    vit_config config;
    ck_vit_ok(vit_config_preset(name, &config));
    return config;
}

/* ---- every table of settings that there is ---- */

typedef void (*row_check)(const vit_option_group *group, size_t index);

static void for_every_row(row_check check) {
    static vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&settings, NULL, groups);
    ck_assert_uint_eq(count, VIT_SETTING_GROUPS);
    size_t rows = 0;
    for (size_t g = 0; g < count; g++) {
        ck_vit_ok(vit_options_defaults(&groups[g]));
        for (size_t i = 0; i < groups[g].count; i++, rows++) {
            check(&groups[g], i);
        }
    }
    ck_assert_uint_gt(rows, 30);
}

static void check_text(const vit_option_group *group, size_t index) {
    const vit_option *option = &group->options[index];
    ck_assert_msg(option->help && *option->help && strlen(option->help) < 150 &&
                      !strchr(option->help, '\n') && option->help[strlen(option->help) - 1] != '.',
                  "--%s: help", option->name);
    ck_assert_msg(strlen(option->name) < VIT_OPTION_KEY_MAX && !strchr(option->name, '_'), "--%s",
                  option->name);
    ck_assert_msg(option->type != VIT_OPT_ENUM || option->choices, "--%s", option->name);
}

static void check_reads_back(const vit_option_group *group, size_t index) {
    const vit_option *option = &group->options[index];
    char first[512], second[512];
    vit_option_format(option, group->target, first, sizeof first);
    ck_vit_ok(vit_option_check(option, group->target, "--"));
    ck_vit_ok(vit_option_set(group, index, first, "--", VIT_FROM_USER));
    vit_option_format(option, group->target, second, sizeof second);
    ck_assert_str_eq(first, second);
}

static vit_status set_all(const vit_option_group *group, size_t index, double value) {
    const vit_option *option = &group->options[index];
    char text[512] = "";
    for (int i = 0; i < (option->count ? option->count : 1); i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used,
                 option->type == VIT_OPT_DOUBLE ? "%.17g " : "%.0f ", value);
    }
    if (option->type == VIT_OPT_U64) {
        text[strlen(text) - 1] = 0;
    }
    return vit_option_set(group, index, text, "--", VIT_FROM_USER);
}

static void check_bounds(const vit_option_group *group, size_t index) {
    const vit_option *option = &group->options[index];
    bool number = option->type == VIT_OPT_INT || option->type == VIT_OPT_U64 ||
                  option->type == VIT_OPT_DOUBLE;
    if (!number || (option->min == 0 && option->max == 0)) {
        return;
    }
    ck_assert_msg(option->min < option->max, "--%s", option->name);
    double step = option->type == VIT_OPT_DOUBLE ? 1e-3 : 1;
    ck_vit_ok(set_all(group, index, option->min));
    ck_assert_msg(set_all(group, index, option->min - step) == VIT_ERROR_ARGUMENT, "--%s",
                  option->name);
    check_message(option->name);
    if (option->max < 0x1p53) {
        ck_vit_ok(set_all(group, index, option->max));
        ck_assert_msg(set_all(group, index, option->max + step) == VIT_ERROR_ARGUMENT, "--%s",
                      option->name);
    }
}

static vit_option seen[256];
static size_t seen_count;
static void check_unique(const vit_option_group *group, size_t index) {
    const vit_option *option = &group->options[index];
    for (size_t i = 0; i < seen_count; i++) {
        ck_assert_str_ne(option->name, seen[i].name);
        ck_assert_msg(!option->letter || option->letter != seen[i].letter, "-%c", option->letter);
    }
    ck_assert_uint_lt(seen_count, 256);
    seen[seen_count++] = *option;
}

START_TEST(every_row_is_sound) {
    for_every_row(check_text);
    for_every_row(check_reads_back);
    for_every_row(check_bounds);
    for_every_row(check_unique);
}
END_TEST

/* ---- presets ---- */

static size_t parameters(const vit_config *config) {
    vit_model model;
    ck_vit_ok(vit_model_init(&model, config));
    size_t total = model.params.total;
    vit_model_free(&model);
    return total;
}

START_TEST(every_preset_is_valid) {
    size_t count = 0;
    for (const char *name; (name = vit_config_preset_name(count)); count++) {
        vit_config config = preset(name);
        ck_assert_str_eq(config.architecture, name);
        ck_assert_int_eq(config.num_classes, 1000);
        ck_vit_ok(vit_config_check(&config));
        ck_assert_uint_gt(parameters(&config), 100000);
    }
    ck_assert_uint_eq(count, 5 * VIT_ATTENTION_KINDS);
    vit_config config;
    ck_vit_fails(vit_config_preset("zeros_huge", &config), VIT_ERROR_ARGUMENT,
                 "zeros_huge (expected one of zeros_tiny_patch");
    check_message(", linear_micro_patch4_28");
}
END_TEST

START_TEST(the_default_is_zeros_tiny) {
    vit_config by_table = {0}, by_name = preset("zeros_tiny_patch16_224");
    vit_option_group group = {"Model", vit_config_options, vit_config_option_count, &by_table,
                              NULL};
    ck_vit_ok(vit_options_defaults(&group));
    memcpy(by_table.architecture, by_name.architecture, sizeof by_name.architecture);
    vit_json *a = vit_json_object(), *b = vit_json_object();
    char *first, *second;
    ck_vit_ok(vit_options_to_json(&group, a));
    group.target = &by_name;
    ck_vit_ok(vit_options_to_json(&group, b));
    ck_vit_ok(vit_json_print(a, false, &first));
    ck_vit_ok(vit_json_print(b, false, &second));
    ck_assert_str_eq(first, second);
    ck_assert_int_eq(by_name.embed_dim, 192);
    ck_assert_int_eq(by_name.attn, VIT_ATTENTION_ZEROS);
    ck_assert_int_eq(by_name.rope, VIT_ROPE_2D);
    ck_assert_int_eq(by_name.global_pool, VIT_POOL_AVG);
    ck_assert(by_name.head_norm && !by_name.zero_order && !by_name.causal);
    free(first);
    free(second);
    vit_json_free(a);
    vit_json_free(b);
}
END_TEST

START_TEST(parameter_counts) {
    vit_config deit = preset("vit_tiny_patch16_224");
    deit.global_pool = VIT_POOL_TOKEN;
    deit.rope = VIT_ROPE_NONE;
    ck_assert_uint_eq(parameters(&deit), 5717416); /* timm: deit_tiny_patch16_224 */
    vit_config base = preset("vit_base_patch16_224");
    base.global_pool = VIT_POOL_TOKEN;
    ck_assert_uint_eq(parameters(&base), 86567656); /* timm: deit_base_patch16_224 */
    /* The tensors of docs/zeros.md, added up. */
    vit_config micro = preset("zeros_micro_patch4_28");
    size_t D = 96, H = 3, N = 49, K = 1000;
    size_t linear = D * D + D;
    size_t attention = 5 * linear + 3 * H * (D + 1) + D + H;
    size_t block = 4 * D + attention + 8 * D * D + 5 * D;
    size_t expected = N * D + 3 * 16 * D + D + 4 * block + 2 * D + K * (D + 1);
    ck_assert_uint_eq(parameters(&micro), expected);
}
END_TEST

/* ---- checks ---- */

static vit_status check_with(void (*change)(vit_config *config)) {
    vit_config config = preset("zeros_tiny_patch16_224");
    change(&config);
    return vit_config_check(&config);
}

#define CHANGE(name, statement)                                                                    \
    static void name(vit_config *c) {                                                              \
        statement;                                                                                 \
    }
CHANGE(nothing, (void)c)
CHANGE(no_height, c->img_size[0] = 0)
CHANGE(huge_width, c->img_size[1] = 8193)
CHANGE(small_width, c->img_size[1] = 15)
CHANGE(negative_dim, c->embed_dim = -192)
CHANGE(no_heads, c->num_heads = 0)
CHANGE(odd_heads, c->num_heads = 5)
CHANGE(rope_2d_width, (c->embed_dim = 18, c->num_heads = 3))
CHANGE(rope_1d_width, (c->embed_dim = 9, c->num_heads = 3, c->rope = VIT_ROPE_1D))
CHANGE(no_rope_width, (c->embed_dim = 9, c->num_heads = 3, c->rope = VIT_ROPE_NONE))
CHANGE(rope_1d_even, (c->embed_dim = 18, c->num_heads = 3, c->rope = VIT_ROPE_1D))
CHANGE(no_classes, c->num_classes = 0)
CHANGE(nan_ratio, c->mlp_ratio = NAN)
CHANGE(tiny_ratio, (c->mlp_ratio = 0.01, c->embed_dim = 24))
CHANGE(wrong_attn, c->attn = 99)
CHANGE(wrong_rope, c->rope = -1)
CHANGE(softmax_causal, (c->attn = VIT_ATTENTION_SOFTMAX, c->causal = true))
CHANGE(sm_zero_order, (c->attn = VIT_ATTENTION_ZEROS_SM, c->zero_order = true))
CHANGE(causal_token, (c->causal = true, c->global_pool = VIT_POOL_TOKEN))
CHANGE(causal_avg, c->causal = true)
CHANGE(one_patch, (c->img_size[0] = 20, c->img_size[1] = 31))
CHANGE(many_patches, (c->img_size[0] = c->img_size[1] = 8192, c->patch_size = 1))
CHANGE(no_name, c->architecture[0] = 0)
CHANGE(endless_name, memset(c->architecture, 'a', sizeof c->architecture))

static const struct {
    void (*change)(vit_config *config);
    const char *message; /* NULL: fine */
} checks[] = {
    {nothing, NULL},
    {no_height, "img-size: 0 224 (expected 1 or 2 whole numbers, 1 to 8192)"},
    {huge_width, "img-size: 224 8193 (expected"},
    {small_width, "patch-size: 16 (expected at most the picture, 224 x 15)"},
    {negative_dim, "embed-dim: -192 (expected 1 to 16384)"},
    {no_heads, "num-heads: 0 (expected 1 to"},
    {odd_heads, "num-heads: 5 (expected a divisor of embed-dim, 192)"},
    {rope_2d_width, "rope: 2d with heads of width 6"},
    {rope_1d_width, "rope: 1d with heads of width 3"},
    {no_rope_width, NULL},
    {rope_1d_even, NULL},
    {no_classes, "num-classes: 0 (expected 1 to"},
    {nan_ratio, "mlp-ratio: nan (expected 0.01 to 64)"},
    {tiny_ratio, "mlp-ratio: 0.01 (expected at least 1 / embed-dim, 1 / 24)"},
    {wrong_attn, "attn: 99 (expected one of zeros, zeros-sm, softmax, linear"},
    {wrong_rope, "rope: -1 (expected one of none, 1d, 2d)"},
    {softmax_causal, "causal: true with attn softmax (expected attn zeros"},
    {sm_zero_order, "zero-order: true with attn zeros-sm"},
    {causal_token, "causal: true with global-pool token"},
    {causal_avg, NULL},
    {one_patch, NULL},
    {no_name, "architecture: 0 bytes"},
    {endless_name, "architecture: 64 bytes"},
};

START_TEST(checks_every_field) {
    vit_status status = check_with(checks[_i].change);
    if (checks[_i].message) {
        ck_assert_msg(status == VIT_ERROR_ARGUMENT, "%s: status %d", checks[_i].message,
                      (int)status);
        check_message(checks[_i].message);
    } else {
        ck_vit_ok(status);
    }
}
END_TEST

START_TEST(too_many_patches) {
    ck_vit_fails(check_with(many_patches), VIT_ERROR_LIMIT,
                 "patch-size: 1 (expected at most 16777216");
}
END_TEST

START_TEST(derived_sizes) {
    vit_config config = preset("vit_tiny_patch16_224");
    config.img_size[0] = 50;
    config.img_size[1] = 95;
    ck_assert_uint_eq(vit_config_grid_h(&config), 3);
    ck_assert_uint_eq(vit_config_grid_w(&config), 5);
    ck_assert_uint_eq(vit_config_tokens(&config), 15);
    config.global_pool = VIT_POOL_TOKEN;
    ck_assert_uint_eq(vit_config_prefix(&config), 1);
    ck_assert_uint_eq(vit_config_tokens(&config), 16);
    config.mlp_ratio = 2.67;
    ck_assert_uint_eq(vit_config_hidden(&config), 512); /* int(192 * 2.67) */
}
END_TEST

START_TEST(flops_of_known_models) {
    vit_config deit = preset("vit_tiny_patch16_224");
    deit.global_pool = VIT_POOL_TOKEN;
    double D = 192, N = 197;
    double expected =
        2 * (196 * 768 * D + 12 * (N * D * D * 12 + 2 * N * N * D) + D * 1000); /* 2.51e9 */
    ck_assert_double_eq(vit_config_flops(&deit), expected);
    ck_assert_double_gt(expected, 2.5e9);
    /* u and the gates more, 8 N d^2 a head instead of 4 N^2 d. */
    vit_config zeros = deit;
    zeros.attn = VIT_ATTENTION_ZEROS;
    double core = 8 * N * 64 * D - 4 * N * N * D;
    ck_assert_double_eq_tol(vit_config_flops(&zeros) - expected, 12 * (2 * N * D * (D + 9) + core),
                            1);
    /* 49 tokens, heads of 32: below 2d the explicit form is the cheaper one. */
    vit_config micro = preset("zeros_micro_patch4_28"), sm = preset("zeros_sm_micro_patch4_28");
    ck_assert_double_eq_tol(vit_config_flops(&micro) - vit_config_flops(&sm), 4 * 2 * 49. * 96 * 96,
                            1);
}
END_TEST

/* ---- JSON ---- */

static const vit_preprocess pixels = {.interpolation = VIT_BILINEAR,
                                      .crop_pct = 0.875,
                                      .mean = {0.5, 0.25, 0.1},
                                      .std = {0.2, 0.3, 1}};

static char *to_text(const vit_config *config, const char *const *labels, const vit_json *base) {
    vit_json *json = vit_config_to_json(config, &pixels, labels, base);
    char *text = NULL;
    ck_vit_ok(vit_json_print(json, false, &text));
    vit_json_free(json);
    return text;
}

static vit_json *parse(const char *text) {
    vit_json *json;
    ck_vit_ok(vit_json_parse(text, strlen(text), "test", &json));
    return json;
}

static const char *const three[] = {"cat", "dog \"x\"\n", "\xc3\xa9t\xc3\xa9"};

START_TEST(json_has_timms_form) {
    vit_config config = preset("zeros_mini_patch8_64");
    config.num_classes = 3;
    char *text = to_text(&config, three, NULL);
    ck_assert_str_eq(
        text,
        "{\"architecture\":\"zeros_mini_patch8_64\",\"num_classes\":3,\"global_pool\":\"avg\","
        "\"model_args\":{\"img_size\":[64,64],\"patch_size\":8,\"embed_dim\":192,\"depth\":6,"
        "\"num_heads\":3,\"mlp_ratio\":4,\"attn\":\"zeros\",\"rope\":\"2d\",\"head_norm\":"
        "true,\"zero_order\":false,\"causal\":false},"
        "\"pretrained_cfg\":{\"input_size\":[3,64,64],\"interpolation\":\"bilinear\","
        "\"crop_pct\":0.875,\"mean\":[0.5,0.25,0.1],\"std\":[0.2,0.3,1],"
        "\"label_names\":[\"cat\",\"dog \\\"x\\\"\\n\",\"\xc3\xa9t\xc3\xa9\"]}}");
    free(text);
}
END_TEST

START_TEST(json_round_trip_of_every_preset) {
    const char **labels = calloc(1000, sizeof *labels);
    for (int i = 0; i < 1000; i++) {
        labels[i] = i % 2 ? "odd" : "even";
    }
    for (size_t i = 0; vit_config_preset_name(i); i++) {
        vit_config config = preset(vit_config_preset_name(i));
        config.img_size[1] += 3;
        config.mlp_ratio = 1 / 3. + (double)i;
        config.head_norm = i % 2;
        char *text = to_text(&config, labels, NULL);
        vit_json *json = parse(text);
        vit_config back;
        vit_preprocess preprocess;
        const vit_json *names;
        ck_vit_ok(vit_config_from_json(json, "test", &back, &preprocess, &names));
        ck_assert_uint_eq(vit_json_count(names), 1000);
        ck_assert_mem_eq(&preprocess.mean, &pixels.mean, sizeof pixels.mean);
        ck_assert_double_eq(preprocess.crop_pct, pixels.crop_pct);
        ck_assert_int_eq(preprocess.interpolation, VIT_BILINEAR);
        char *again = to_text(&back, labels, NULL);
        ck_assert_str_eq(text, again);
        free(text);
        free(again);
        vit_json_free(json);
    }
    free(labels);
}
END_TEST

START_TEST(unknown_keys_are_kept_and_ours_are_not_doubled) {
    vit_config config = preset("zeros_mini_patch8_64");
    config.num_classes = 3;
    vit_json *base =
        parse("{\"architecture\":\"old\",\"note\":{\"a\":[1]},\"num_classes\":9,"
              "\"embed_dim\":1,\"label_names\":[\"x\"],"
              "\"model_args\":{\"num_classes\":9,\"global_pool\":\"token\","
              "\"drop_rate\":0.1,\"img_size\":9},"
              "\"pretrained_cfg\":{\"url\":\"u\",\"mean\":[0,0,0],\"input_size\":[]}}");
    char *text = to_text(&config, three, base);
    vit_json *json = parse(text);
    const vit_json *args = vit_json_get(json, "model_args");
    const vit_json *cfg = vit_json_get(json, "pretrained_cfg");
    ck_assert_double_eq(
        vit_json_number(vit_json_at(vit_json_get(vit_json_get(json, "note"), "a"), 0), 0), 1);
    ck_assert_str_eq(vit_json_string(vit_json_get(cfg, "url"), ""), "u");
    ck_assert_double_eq(vit_json_number(vit_json_get(args, "drop_rate"), 0), 0.1);
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "num_classes"), 0), 3);
    ck_assert_ptr_null(vit_json_get(args, "num_classes"));
    ck_assert_ptr_null(vit_json_get(args, "global_pool"));
    ck_assert_ptr_null(vit_json_get(json, "embed_dim"));
    ck_assert_ptr_null(vit_json_get(json, "label_names"));
    vit_config back;
    vit_preprocess preprocess;
    const vit_json *names;
    ck_vit_ok(vit_config_from_json(json, "test", &back, &preprocess, &names));
    ck_assert_str_eq(back.architecture, "zeros_mini_patch8_64");
    /* The base stays as it was. */
    ck_assert_double_eq(vit_json_number(vit_json_get(base, "num_classes"), 0), 9);
    free(text);
    vit_json_free(json);
    vit_json_free(base);
}
END_TEST

/* A good object with one piece of text replaced. */
static const struct {
    const char *from, *to;
    const char *message; /* NULL: fine */
} edits[] = {
    {"\"depth\":6", "\"depth\":6", NULL},
    {"\"img_size\":[64,64]", "\"img_size\":64", NULL},
    {",\"causal\":false", "", NULL},
    {"\"depth\":6", "\"depth\":6,\"drop_rate\":0.5", NULL},
    {"\"num_classes\":2,", "", "test: num_classes is missing (expected 1 to"},
    {"\"attn\":\"zeros\",", "", "test: attn is missing (expected one of zeros"},
    {"\"rope\":\"2d\"", "\"rope\":null", "test: rope is missing"},
    {"\"crop_pct\":0.875,", "", "test: crop_pct is missing"},
    {"\"model_args\"", "\"model_arg\"", "img_size is missing"},
    {"\"pretrained_cfg\"", "\"cfg\"", "interpolation is missing"},
    {"\"architecture\":\"zeros_mini_patch8_64\",", "", "architecture is missing"},
    {"\"zeros_mini_patch8_64\"", "\"\"", "architecture is"},
    {"\"zeros_mini_patch8_64\"", "7", "architecture is"},
    {"\"depth\":6", "\"depth\":0", "test: depth: 0 (expected 1 to"},
    {"\"depth\":6", "\"depth\":1e9", "test: depth: 1000000000 (expected"},
    {"\"depth\":6", "\"depth\":\"6\"", "test: depth: \"6\" (expected"},
    {"\"num_heads\":3", "\"num_heads\":5", "test: num-heads: 5 (expected a divisor"},
    {"\"attn\":\"zeros\"", "\"attn\":\"flash\"", "test: attn: flash (expected one of zeros"},
    {"\"input_size\":[3,64,64]", "\"input_size\":[3,64,32]", "expected [3, 64, 64]"},
    {"\"input_size\":[3,64,64]", "\"input_size\":[1,64,64]", "expected [3, 64, 64]"},
    {"\"input_size\":[3,64,64],", "", NULL},
    {"\"std\":[0.2,0.3,1]", "\"std\":[0.2,0,1]", "test: std: [0.2,0,1] (expected 3 numbers"},
    {"[\"cat\",\"dog\"]", "[\"cat\"]", "label_names holds 1 names (expected an array of"},
    {"[\"cat\",\"dog\"]", "[\"cat\",3]", "entry 1 is not a string"},
    {"[\"cat\",\"dog\"]", "[\"\",\"dog\"]", "entry 0 is empty"},
    {"[\"cat\",\"dog\"]", "\"cat\"", "label_names holds"},
    {",\"label_names\":[\"cat\",\"dog\"]", "", "label_names holds 0 names"},
};

START_TEST(json_is_checked) {
    static const char *const labels[] = {"cat", "dog"};
    vit_config config = preset("zeros_mini_patch8_64");
    config.num_classes = 2;
    char *text = to_text(&config, labels, NULL);
    replace_text(&text, edits[_i].from, edits[_i].to);
    vit_json *json = parse(text);
    vit_preprocess preprocess;
    const vit_json *names;
    vit_status status = vit_config_from_json(json, "test", &config, &preprocess, &names);
    if (edits[_i].message) {
        ck_assert_msg(status == VIT_ERROR_FORMAT, "%s: status %d", edits[_i].to, (int)status);
        check_message(edits[_i].message);
        ck_assert_ptr_null(names);
    } else {
        ck_vit_ok(status);
    }
    vit_json_free(json);
    free(text);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("config");
    TCase *t = tcase_create("config");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, every_row_is_sound);
    tcase_add_test(t, every_preset_is_valid);
    tcase_add_test(t, the_default_is_zeros_tiny);
    tcase_add_test(t, parameter_counts);
    tcase_add_loop_test(t, checks_every_field, 0, sizeof checks / sizeof *checks);
    tcase_add_test(t, too_many_patches);
    tcase_add_test(t, derived_sizes);
    tcase_add_test(t, flops_of_known_models);
    tcase_add_test(t, json_has_timms_form);
    tcase_add_test(t, json_round_trip_of_every_preset);
    tcase_add_test(t, unknown_keys_are_kept_and_ours_are_not_doubled);
    tcase_add_loop_test(t, json_is_checked, 0, sizeof edits / sizeof *edits);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
