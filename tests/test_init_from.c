/* Starting from other models' weights: timm's files, ours, every pair of attentions. */
#include "support/folder.h"
#include "support/golden_model.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"
#include "support/weights.h"

#include "train/init_from.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Away from the fresh model's zeros and ones. */
static vit_model_bundle *bundle_random(const vit_config *config, uint64_t seed) {
    vit_model_bundle *bundle = lettered_model_new(config, seed);
    random_floats(seed, bundle->model.params.total, 0.3, bundle->params);
    return bundle;
}

static float *param(const vit_model_bundle *bundle, const char *name) {
    const vit_param *found = vit_params_find(&bundle->model.params, name);
    ck_assert_msg(found != NULL, "no parameter %s", name);
    return bundle->params + found->offset;
}

/* ---- what the listener heard ---- */

typedef struct heard {
    char lines[32768];
    size_t used, tensors;
    int warnings;
} heard;

static void on_tensor(void *context, vit_init_action action, const char *name, const char *detail) {
    heard *h = context;
    h->tensors++;
    h->used += (size_t)snprintf(h->lines + h->used, sizeof h->lines - h->used, "%s %s%s%s\n",
                                vit_init_action_names[action], name, *detail ? ": " : "", detail);
    ck_assert_uint_lt(h->used, sizeof h->lines);
}

static void on_warning(void *context, const char *message) {
    heard *h = context;
    h->warnings++;
    h->used +=
        (size_t)snprintf(h->lines + h->used, sizeof h->lines - h->used, "warning %s\n", message);
    ck_assert_uint_lt(h->used, sizeof h->lines);
}

static heard init_heard(const char *path, vit_model_bundle *bundle,
                        size_t counts[VIT_TENSOR_ACTIONS]) {
    heard h = {.used = 0};
    const vit_init_listener listener = {&h, on_tensor, on_warning};
    ck_vit_ok(vit_init_from(path, bundle, &listener, counts));
    return h;
}

static void check_line(const heard *h, const char *line) {
    char with_end[512];
    snprintf(with_end, sizeof with_end, "%s\n", line);
    ck_assert_msg(strstr(h->lines, with_end) != NULL, "no line \"%s\" in:\n%s", line, h->lines);
}

static void check_counts(const size_t *counts, size_t taken, size_t resampled, size_t split,
                         size_t fused, size_t derived, size_t fresh, size_t left_out) {
    const size_t expected[VIT_TENSOR_ACTIONS] = {taken,   resampled, split,   fused,
                                                 derived, fresh,     left_out};
    for (int i = 0; i < VIT_TENSOR_ACTIONS; i++) {
        ck_assert_msg(counts[i] == expected[i], "%s: %zu, expected %zu", vit_init_action_names[i],
                      counts[i], expected[i]);
    }
}

/* ---- timm ---- */

START_TEST(timms_file_gives_timms_logits) {
    char path[1024];
    size_t counts[VIT_TENSOR_ACTIONS];
    vit_config config = golden_timm_config();
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    heard h = init_heard(golden_path(GOLDEN_TIMM, path), bundle, counts);
    check_counts(counts, bundle->model.params.count, 0, 0, 0, 0, 0, 0);
    ck_assert_uint_eq(h.tensors, bundle->model.params.count);
    ck_assert_int_eq(h.warnings, 0);
    golden_timm_check(&bundle->model, bundle->params, 2e-5);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(every_tensor_is_told) {
    char path[1024];
    size_t counts[VIT_TENSOR_ACTIONS];
    vit_config config = golden_timm_config();
    config.attn = VIT_ATTENTION_ZEROS;
    config.img_size[0] = 96;
    config.global_pool = VIT_POOL_AVG;
    config.num_classes = 10;
    config.rope = VIT_ROPE_2D;
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    heard h = init_heard(golden_path(GOLDEN_TIMM, path), bundle, counts);
    /* Taken: two of the patches, eight of each block, the norm's two. */
    check_counts(counts, 2 + 2 * 8 + 2, 1, 2 * 6, 0, 2 * 6, 2 + 2 * 2, 3);
    ck_assert_uint_eq(h.tensors, bundle->model.params.count + 3);
    check_line(&h, "resampled pos_embed: 4 x 4 to 6 x 4, without the class token's");
    check_line(&h, "taken fc_norm.weight: from norm.weight");
    check_line(&h, "taken fc_norm.bias: from norm.bias");
    check_line(&h, "fresh head.weight: 7 classes, not 10");
    check_line(&h, "split blocks.1.attn.v.bias: from qkv");
    check_line(&h, "derived blocks.1.attn.u.weight: the key's");
    check_line(&h, "fresh blocks.0.attn.prior_log_tau");
    check_line(&h, "left_out cls_token");
    check_line(&h, "left_out head.bias");
    ck_assert_int_eq(h.warnings, 1); /* rope */
    ck_assert_ptr_nonnull(strstr(h.lines, "--rope none, this one 2d"));
    vit_model_bundle_free(bundle);
}
END_TEST

/* float32 to the other types, cut off; *value becomes what is left of it. */
static void put_as(vit_dtype dtype, float *value, size_t i, void *out) {
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    if (dtype == VIT_F64) {
        ((double *)out)[i] = *value;
        return;
    }
    if (dtype == VIT_BF16) {
        ((uint16_t *)out)[i] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000u;
    } else {
        int exponent = (int)(bits >> 23 & 255) - 127 + 15;
        bits = exponent < 1 ? 0 : bits & 0xffffe000u; /* tiny ones to 0 */
        ((uint16_t *)out)[i] =
            (uint16_t)(bits == 0 ? 0
                                 : (bits >> 16 & 0x8000) | (unsigned)exponent << 10 |
                                       (bits >> 13 & 0x3ff));
    }
    memcpy(value, &bits, sizeof bits);
}

START_TEST(other_float_types) {
    const vit_dtype dtypes[] = {VIT_F16, VIT_BF16, VIT_F64};
    char path[1024];
    vit_config config = golden_timm_config();
    vit_model_bundle *source = bundle_random(&config, 3), *bundle = lettered_model_new(&config, 1);
    weights w = weights_of(source);
    for (size_t i = 0; i < w.count; i++) {
        const vit_param *p = &source->model.params.items[i];
        void *converted = calloc(p->size, 8);
        for (size_t j = 0; j < p->size; j++) {
            put_as(dtypes[_i], source->params + p->offset + j, j, converted);
        }
        free((void *)(uintptr_t)w.items[i].data);
        w.items[i].data = converted;
        w.items[i].dtype = dtypes[_i];
    }
    ck_vit_ok(vit_init_from(weights_save(&w, folder, path), bundle, NULL, NULL));
    check_same_bits("weights", source->model.params.total, bundle->params, source->params);
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- position embedding and pooling ---- */

START_TEST(positions_are_resampled_as_timm_does) {
    static const struct {
        const char *name;
        int h, w;
    } cases[] = {{"out_3x5_cls", 3, 5}, {"out_6x6_cls", 6, 6}};
    char path[1024];
    vit_safetensors *file = golden_open("pos_embed_resample.safetensors");
    float *in = golden_f32(file, "in_4x4_cls", NULL);
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *source = bundle_random(&config, 3);
    memcpy(param(source, "pos_embed"), in, 17 * 12 * sizeof *in);
    weights w = weights_of(source);
    weights_save(&w, folder, path);
    for (size_t i = 0; i < 2; i++) {
        size_t count, counts[VIT_TENSOR_ACTIONS];
        double *expected = golden_f64(file, cases[i].name, &count);
        config.img_size[0] = 4 * cases[i].h;
        config.img_size[1] = 4 * cases[i].w;
        vit_model_bundle *bundle = lettered_model_new(&config, 1);
        ck_vit_ok(vit_init_from(path, bundle, NULL, counts));
        ck_assert_uint_eq(counts[VIT_TENSOR_RESAMPLED], 1);
        check_close(cases[i].name, count, param(bundle, "pos_embed"), expected, 1e-6);
        check_same_bits("class token's", 12, param(bundle, "pos_embed"), in);
        free(expected);
        vit_model_bundle_free(bundle);
    }
    free(in);
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_safetensors_close(file);
}
END_TEST

START_TEST(our_own_grid_need_not_be_square) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_ZEROS);
    config.img_size[0] = 8;
    config.img_size[1] = 32; /* 2 x 8: square by its number */
    vit_model_bundle *source = bundle_random(&config, 3), *bundle = lettered_model_new(&config, 1);
    temp_path(path, folder, "model.safetensors");
    ck_vit_ok(vit_model_bundle_save(source, NULL, NULL, 0, path));
    size_t counts[VIT_TENSOR_ACTIONS];
    heard h = init_heard(path, bundle, counts);
    check_counts(counts, bundle->model.params.count, 0, 0, 0, 0, 0, 0);
    check_same_bits("weights", source->model.params.total, bundle->params, source->params);
    vit_model_bundle_free(bundle);
    config.img_size[0] = config.img_size[1] = 16;
    bundle = lettered_model_new(&config, 1);
    h = init_heard(path, bundle, counts);
    check_line(&h, "resampled pos_embed: 2 x 8 to 4 x 4");
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(pooling_may_differ) {
    char path[1024];
    vit_config with = small_token_config(VIT_ATTENTION_SOFTMAX), without = with;
    without.global_pool = VIT_POOL_AVG;
    vit_model_bundle *token = bundle_random(&with, 3), *average = lettered_model_new(&without, 1);
    weights w = weights_of(token);
    ck_vit_ok(vit_init_from(weights_save(&w, folder, path), average, NULL, NULL));
    check_same_bits("patches", 16 * 12, param(average, "pos_embed"),
                    param(token, "pos_embed") + 12);
    check_same_bits("norm", 12, param(average, "fc_norm.weight"), param(token, "norm.weight"));
    weights_free(&w);

    vit_model_bundle *back = lettered_model_new(&with, 9), *fresh = lettered_model_new(&with, 9);
    w = weights_of(average);
    heard h = init_heard(weights_save(&w, folder, path), back, NULL);
    check_line(&h, "fresh cls_token: the file has no class token");
    check_line(&h, "taken pos_embed: the class token's fresh");
    check_line(&h, "taken norm.bias: from fc_norm.bias");
    check_same_bits("class token", 12, param(back, "cls_token"), param(fresh, "cls_token"));
    check_same_bits("its position", 12, param(back, "pos_embed"), param(fresh, "pos_embed"));
    check_same_bits("patches", 16 * 12, param(back, "pos_embed") + 12, param(average, "pos_embed"));
    weights_free(&w);
    vit_model_bundle_free(token);
    vit_model_bundle_free(average);
    vit_model_bundle_free(back);
    vit_model_bundle_free(fresh);
}
END_TEST

START_TEST(a_class_token_without_a_position) {
    /* timm's no_embed_class */
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *source = bundle_random(&config, 3), *bundle = lettered_model_new(&config, 1);
    weights w = weights_of(source);
    weights_replace(&w, "pos_embed", 3, (size_t[]){1, 16, 12}, param(source, "pos_embed") + 12);
    heard h = init_heard(weights_save(&w, folder, path), bundle, NULL);
    check_line(&h, "taken pos_embed: the class token's zero");
    for (size_t i = 0; i < 12; i++) {
        ck_assert(param(bundle, "pos_embed")[i] == 0);
    }
    check_same_bits("patches", 16 * 12, param(bundle, "pos_embed") + 12,
                    param(source, "pos_embed") + 12);
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- attentions ---- */

static bool is_fused(const vit_model_bundle *bundle) {
    return vit_params_find(&bundle->model.params, "blocks.0.attn.qkv.weight") != NULL;
}

/* A block's parameters of an attention that are no part of the other: u and its prior, gates. */
static size_t beyond(const vit_model_bundle *of, const vit_model_bundle *other) {
    static const char *const common[] = {"q.", "k.", "v.", "qkv.", "proj.", "out_proj."};
    size_t count = 0, prefix = strlen("blocks.0.attn.");
    for (size_t i = 0; i < of->model.params.count; i++) {
        const char *name = of->model.params.items[i].name;
        bool own = strncmp(name, "blocks.0.attn.", prefix) == 0 &&
                   !vit_params_find(&other->model.params, name);
        for (size_t c = 0; own && c < sizeof common / sizeof *common; c++) {
            own = strncmp(name + prefix, common[c], strlen(common[c])) != 0;
        }
        count += own;
    }
    return count;
}

static void check_part(const vit_model_bundle *from, const vit_model_bundle *to, size_t part) {
    static const char *const parts[] = {"q", "k", "v"};
    const float *values[2];
    const vit_model_bundle *bundles[2] = {from, to};
    for (int i = 0; i < 2; i++) {
        char name[64];
        bool fused = is_fused(bundles[i]);
        snprintf(name, sizeof name, "blocks.1.attn.%s.weight", fused ? "qkv" : parts[part]);
        values[i] = param(bundles[i], name) + (fused ? part * 144 : 0);
    }
    check_same_bits(parts[part], 144, values[1], values[0]);
}

START_TEST(every_pair_of_attentions) {
    char path[1024];
    int from = _i / VIT_ATTENTION_KINDS, to = _i % VIT_ATTENTION_KINDS;
    vit_config source_config = small_token_config(from), config = small_token_config(to);
    vit_model_bundle *source = bundle_random(&source_config, 3),
                     *bundle = lettered_model_new(&config, 1);
    temp_path(path, folder, "model.safetensors");
    ck_vit_ok(vit_model_bundle_save(source, NULL, NULL, 0, path));
    size_t counts[VIT_TENSOR_ACTIONS], model_tensors = bundle->model.params.count;
    heard h = init_heard(path, bundle, counts);
    ck_assert_uint_eq(h.tensors - counts[VIT_TENSOR_LEFT_OUT], model_tensors);
    ck_assert_int_eq(h.warnings, 0);
    for (size_t part = 0; part < 3; part++) {
        check_part(source, bundle, part);
    }
    bool fused[2] = {is_fused(source), is_fused(bundle)};
    ck_assert_uint_eq(counts[VIT_TENSOR_SPLIT], fused[0] && !fused[1] ? 12 : 0);
    ck_assert_uint_eq(counts[VIT_TENSOR_FUSED], !fused[0] && fused[1] ? 4 : 0);
    ck_assert_uint_eq(counts[VIT_TENSOR_LEFT_OUT], 2 * beyond(source, bundle));
    if (from == to) {
        check_same_bits("weights", source->model.params.total, bundle->params, source->params);
    }
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

/* A model of one block whose tokens come in pairs of opposite sign: their mean under the norm is 0
 * exactly, as the derivation has it. */
static void make_opposite(vit_model_bundle *bundle, float *images) {
    const size_t side = 16, pixels = 3 * side * side;
    memset(param(bundle, "pos_embed"), 0, 16 * 12 * sizeof(float));
    memset(param(bundle, "patch_embed.proj.bias"), 0, 12 * sizeof(float));
    random_floats(5, pixels, 1, images);
    for (size_t i = 0; i < pixels; i++) { /* lower half = -upper half */
        size_t row = i / side % side;
        if (row >= side / 2) {
            images[i] = -images[i - side / 2 * side];
        }
    }
}

static void run(const vit_model_bundle *bundle, const float *images, float *logits) {
    vit_workspace *workspace;
    ck_vit_ok(vit_workspace_create(&bundle->model, 1, false, &workspace));
    vit_model_forward(&bundle->model, bundle->params, workspace, 1, images, NULL, logits);
    vit_workspace_free(workspace);
}

START_TEST(zeros_sm_begins_as_softmax) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    config.depth = 1;
    config.global_pool = VIT_POOL_AVG;
    config.rope = VIT_ROPE_NONE;
    config.head_norm = false;
    vit_model_bundle *source = bundle_random(&config, 3);
    float images[3 * 16 * 16], expected[5], actual[5];
    make_opposite(source, images);
    weights w = weights_of(source);
    config.attn = VIT_ATTENTION_ZEROS_SM;
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    ck_vit_ok(vit_init_from(weights_save(&w, folder, path), bundle, NULL, NULL));
    run(source, images, expected);
    run(bundle, images, actual);
    double expected64[5];
    for (int i = 0; i < 5; i++) {
        expected64[i] = expected[i];
    }
    check_close("logits", 5, actual, expected64, 1e-5);
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

/* One row of a linear layer, in double. */
static double output(const vit_model_bundle *bundle, const char *layer, size_t row,
                     const double *x) {
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "blocks.0.attn.%s.weight", layer);
    snprintf(bias, sizeof bias, "blocks.0.attn.%s.bias", layer);
    double sum = param(bundle, bias)[row];
    for (size_t j = 0; j < 12; j++) {
        sum += (double)param(bundle, weight)[row * 12 + j] * x[j];
    }
    return sum;
}

START_TEST(deviation_begins_as_the_mean_query) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *source = bundle_random(&config, 3);
    weights w = weights_of(source);
    config.attn = VIT_ATTENTION_ZEROS;
    vit_model_bundle *bundle = lettered_model_new(&config, 1);
    ck_vit_ok(vit_init_from(weights_save(&w, folder, path), bundle, NULL, NULL));
    const float *gamma = param(bundle, "blocks.0.norm1.weight");
    const float *beta = param(bundle, "blocks.0.norm1.bias");
    double mean[12], token[12];
    float *normal = random_new(8, 12, 1);
    for (size_t j = 0; j < 12; j++) {
        mean[j] = beta[j];
        token[j] = (double)gamma[j] * normal[j] + beta[j];
    }
    for (size_t h = 0; h < 3; h++) { /* s_token - s_mean = q'.(k_token - k_mean) */
        double deviation = 0, expected = 0;
        for (size_t i = 4 * h; i < 4 * h + 4; i++) {
            double u_mean = output(bundle, "u", i, mean), query = output(bundle, "q", i, mean);
            deviation -= (output(bundle, "u", i, token) - u_mean) * u_mean;
            expected += query * (output(bundle, "k", i, token) - output(bundle, "k", i, mean));
        }
        ck_assert_double_eq_tol(deviation, expected, 1e-5 * (1 + fabs(expected)));
    }
    for (size_t i = 0; i < 9; i++) {
        ck_assert(param(bundle, "blocks.0.attn.gate.bias")[i] == (i % 3 == 2 ? 0.0f : 2.0f));
    }
    free(normal);
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- heads ---- */

START_TEST(a_head_for_other_classes_stays_fresh) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_ZEROS);
    vit_model_bundle *source = bundle_random(&config, 3), *bundle = lettered_model_new(&config, 1);
    temp_path(path, folder, "model.safetensors");
    ck_vit_ok(vit_model_bundle_save(source, NULL, NULL, 0, path));
    free(bundle->class_names[4]);
    bundle->class_names[4] = strdup("another");
    heard h = init_heard(path, bundle, NULL);
    check_line(&h, "fresh head.weight: other classes");
    vit_model_bundle *fresh = lettered_model_new(&config, 1);
    check_same_bits("head", 60, param(bundle, "head.weight"), param(fresh, "head.weight"));

    weights w = weights_of(source); /* timm's backbones with num_classes=0 */
    weights_remove(&w, "head.weight");
    weights_remove(&w, "head.bias");
    h = init_heard(weights_save(&w, folder, path), bundle, NULL);
    check_line(&h, "fresh head.bias: the file has no head");
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
    vit_model_bundle_free(fresh);
}
END_TEST

START_TEST(projections_without_bias) {
    char path[1024];
    vit_config config = small_token_config(VIT_ATTENTION_SOFTMAX);
    vit_model_bundle *source = bundle_random(&config, 3), *bundle = lettered_model_new(&config, 1);
    weights w = weights_of(source);
    weights_remove(&w, "blocks.0.attn.qkv.bias");
    random_floats(1, 36, 1, param(bundle, "blocks.0.attn.qkv.bias"));
    heard h = init_heard(weights_save(&w, folder, path), bundle, NULL);
    check_line(&h, "derived blocks.0.attn.qkv.bias: 0: the file has none");
    for (size_t i = 0; i < 36; i++) {
        ck_assert(param(bundle, "blocks.0.attn.qkv.bias")[i] == 0);
    }
    weights_free(&w);
    vit_model_bundle_free(source);
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("init_from");
    TCase *t = tcase_create("init_from");
    tcase_set_timeout(t, 60);
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    tcase_add_test(t, timms_file_gives_timms_logits);
    tcase_add_test(t, every_tensor_is_told);
    tcase_add_loop_test(t, other_float_types, 0, 3);
    tcase_add_test(t, positions_are_resampled_as_timm_does);
    tcase_add_test(t, our_own_grid_need_not_be_square);
    tcase_add_test(t, pooling_may_differ);
    tcase_add_test(t, a_class_token_without_a_position);
    tcase_add_loop_test(t, every_pair_of_attentions, 0, VIT_ATTENTION_KINDS * VIT_ATTENTION_KINDS);
    tcase_add_test(t, zeros_sm_begins_as_softmax);
    tcase_add_test(t, deviation_begins_as_the_mean_query);
    tcase_add_test(t, a_head_for_other_classes_stays_fresh);
    tcase_add_test(t, projections_without_bias);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
