/* Model files: what is saved is loaded, weights of every type are converted, and what does not fit
 * its own config is refused. */
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/file.h"
#include "vit/model_file.h"
#include "vit/rng.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[1024];

static void setup(void) {
    make_folder();
    temp_path(path, folder, "model.safetensors");
}

static const vit_preprocess pixels = {.interpolation = VIT_BILINEAR,
                                      .crop_pct = 0.875,
                                      .mean = {0.5, 0.25, 0.1},
                                      .std = {0.2, 0.3, 1}};
/* Anything but a zero byte. */
static const char *const classes[] = {"cat", "dog \"x\"\\\n\x1b[31m", "\xf0\x9f\x98\x80 /"};

static vit_config small_config(void) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.num_classes = 3;
    config.embed_dim = 24;
    config.depth = 2;
    config.img_size[0] = 8;
    config.img_size[1] = 13;
    return config;
}

static vit_model_bundle *small_bundle(void) {
    vit_config config = small_config();
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_new(&config, &pixels, classes, 7, &bundle));
    return bundle;
}

static void check_same(const vit_model_bundle *a, const vit_model_bundle *b) {
    ck_assert_uint_eq(a->model.params.total, b->model.params.total);
    ck_assert_mem_eq(a->params, b->params, a->model.params.total * sizeof(float));
    for (int i = 0; i < a->model.config.num_classes; i++) {
        ck_assert_str_eq(a->class_names[i], b->class_names[i]);
    }
    vit_json *x = vit_model_config_json(a), *y = vit_model_config_json(b);
    char *first, *second;
    ck_vit_ok(vit_json_print(x, false, &first));
    ck_vit_ok(vit_json_print(y, false, &second));
    ck_assert_str_eq(first, second);
    free(first);
    free(second);
    vit_json_free(x);
    vit_json_free(y);
}

START_TEST(saves_what_it_loads) {
    vit_model_bundle *bundle = small_bundle(), *back;
    vit_metadata extra = {"epoch", "12"};
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, &extra, 1, path));
    ck_vit_ok(vit_model_bundle_load(path, &back));
    check_same(bundle, back);
    ck_assert_double_eq(back->preprocess.mean[2], 0.1);
    ck_assert_str_eq(back->model.config.architecture, "zeros_micro_patch4_28");
    vit_safetensors *file;
    ck_vit_ok(safetensors_load(path, &file));
    ck_assert_str_eq(vit_safetensors_metadata(file, "format"), "pt");
    ck_assert_str_eq(vit_safetensors_metadata(file, "zvit"), "1");
    ck_assert_str_eq(vit_safetensors_metadata(file, "epoch"), "12");
    ck_assert_uint_eq(vit_safetensors_count(file), bundle->model.params.count);
    const vit_tensor *mu = vit_safetensors_find(file, "blocks.1.attn.prior_mu");
    ck_assert_int_eq(mu->ndim, 4);
    ck_assert_uint_eq(mu->shape[2], 3);
    vit_safetensors_close(file);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(saves_given_weights) {
    vit_model_bundle *bundle = small_bundle(), *back;
    size_t total = bundle->model.params.total;
    float *average = random_new(3, total, 1);
    ck_vit_ok(vit_model_bundle_save(bundle, average, NULL, 0, path));
    ck_vit_ok(vit_model_bundle_load(path, &back));
    ck_assert_mem_eq(back->params, average, total * sizeof *average);
    free(average);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(a_new_model_is_keyed_by_its_seed) {
    vit_config config = small_config();
    vit_model_bundle *a = small_bundle(), *b = small_bundle(), *c;
    check_same(a, b);
    ck_vit_ok(vit_model_bundle_new(&config, &pixels, classes, 8, &c));
    ck_assert_mem_ne(a->params, c->params, a->model.params.total * sizeof(float));
    vit_model_bundle_free(a);
    vit_model_bundle_free(b);
    vit_model_bundle_free(c);
    vit_model_bundle_free(NULL);
}
END_TEST

START_TEST(a_new_model_is_checked) {
    vit_config config = small_config();
    vit_model_bundle *bundle;
    static const char *const latin[] = {"cat", "dog", "caf\xe9"};
    ck_vit_fails(vit_model_bundle_new(&config, &pixels, latin, 1, &bundle), VIT_ERROR_ARGUMENT,
                 "class 2: ");
    static const char *const unnamed[] = {"cat", "", "dog"};
    ck_vit_fails(vit_model_bundle_new(&config, &pixels, unnamed, 1, &bundle), VIT_ERROR_ARGUMENT,
                 "class 1: ");
    vit_preprocess wrong = pixels;
    wrong.std[1] = 0;
    ck_vit_fails(vit_model_bundle_new(&config, &wrong, classes, 1, &bundle), VIT_ERROR_ARGUMENT,
                 "std: 0.2 0 1 (expected");
    config.num_heads = 5;
    ck_vit_fails(vit_model_bundle_new(&config, &pixels, classes, 1, &bundle), VIT_ERROR_ARGUMENT,
                 "num-heads: 5");
    ck_assert_ptr_null(bundle);
}
END_TEST

START_TEST(unknown_keys_survive) {
    vit_model_bundle *bundle = small_bundle(), *back, *again;
    bundle->config = vit_json_object();
    vit_json_add_string(bundle->config, "note", "kept");
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    ck_vit_ok(vit_model_bundle_load(path, &back));
    back->class_names[0][0] = 'b'; /* what we know is written from the bundle */
    ck_vit_ok(vit_model_bundle_save(back, NULL, NULL, 0, path));
    ck_vit_ok(vit_model_bundle_load(path, &again));
    ck_assert_str_eq(vit_json_string(vit_json_get(again->config, "note"), ""), "kept");
    ck_assert_str_eq(again->class_names[0], "bat");
    vit_model_bundle_free(again);
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(a_run_folder_stands_for_its_best) {
    vit_model_bundle *bundle = small_bundle(), *back;
    char best[1024], last[1024], exported[1024], found[1024];
    temp_path(exported, folder, "model.safetensors");
    temp_path(best, folder, "best.safetensors");
    temp_path(last, folder, "last.safetensors");
    ck_vit_fails(
        vit_model_bundle_load(folder, &back), VIT_ERROR_IO,
        "holds no model (expected best.safetensors, last.safetensors or model.safetensors)");
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, exported));
    ck_vit_ok(vit_model_path(folder, found, sizeof found));
    ck_assert_str_eq(found, exported);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, last));
    ck_vit_ok(vit_model_path(folder, found, sizeof found));
    ck_assert_str_eq(found, last);
    bundle->params[0] = 42;
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, best));
    ck_vit_ok(vit_model_bundle_load(folder, &back));
    ck_assert_float_eq(back->params[0], 42);
    ck_vit_ok(vit_model_path(best, found, sizeof found));
    ck_assert_str_eq(found, best);
    ck_vit_fails(vit_model_path(folder, found, 10), VIT_ERROR_LIMIT, "too long");
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(weights_that_are_not_finite_are_not_saved) {
    vit_model_bundle *bundle = small_bundle(), *back;
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    const vit_param *param = vit_params_find(&bundle->model.params, "blocks.1.norm1.weight");
    float before = bundle->params[param->offset + 5];
    bundle->params[param->offset + 5] = NAN;
    ck_vit_fails(vit_model_bundle_save(bundle, NULL, NULL, 0, path), VIT_ERROR_NUMERIC,
                 "model.safetensors: tensor blocks.1.norm1.weight: element 5 is nan");
    bundle->params[param->offset + 5] = before;
    ck_vit_ok(vit_model_bundle_load(path, &back));
    check_same(bundle, back); /* the old file stands */
    ck_assert_uint_eq(count_entries(folder), 1);
    vit_metadata twice = {"config", "{}"};
    ck_vit_fails(vit_model_bundle_save(bundle, NULL, &twice, 1, path), VIT_ERROR_ARGUMENT,
                 "metadata config is there twice");
    vit_model_bundle_free(back);
    vit_model_bundle_free(bundle);
}
END_TEST

/* ---- files that another program might have written ---- */

/* A model file in pieces, to be changed before it is written. */
typedef struct pieces {
    vit_model_bundle *bundle;
    char *config;
    vit_tensor tensors[64];
    size_t count;
    vit_metadata metadata[3];
} pieces;

static void take_apart(pieces *p) {
    memset(p, 0, sizeof *p);
    p->bundle = small_bundle();
    vit_json *config = vit_model_config_json(p->bundle);
    ck_vit_ok(vit_json_print(config, false, &p->config));
    vit_json_free(config);
    p->count = p->bundle->model.params.count;
    ck_assert_uint_lt(p->count, 64);
    for (size_t i = 0; i < p->count; i++) {
        const vit_param *param = &p->bundle->model.params.items[i];
        p->tensors[i] = (vit_tensor){.name = param->name,
                                     .ndim = param->ndim,
                                     .count = param->size,
                                     .data = p->bundle->params + param->offset};
        memcpy(p->tensors[i].shape, param->shape, sizeof param->shape);
    }
    p->metadata[0] = (vit_metadata){"format", "pt"};
    p->metadata[1] = (vit_metadata){"zvit", "1"};
    p->metadata[2] = (vit_metadata){"config", p->config};
}

static void release(pieces *p) {
    free(p->config);
    vit_model_bundle_free(p->bundle);
}

static vit_tensor *tensor_named(pieces *p, const char *name) {
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->tensors[i].name, name) == 0) {
            return &p->tensors[i];
        }
    }
    ck_abort_msg("no tensor %s", name);
    return NULL;
}

static vit_status load_pieces(pieces *p, vit_model_bundle **out) {
    ck_vit_ok(vit_safetensors_save(path, p->tensors, p->count, p->metadata, 3));
    return vit_model_bundle_load(path, out);
}

static void replace_config(pieces *p, const char *from, const char *to) {
    replace_text(&p->config, from, to);
    p->metadata[2].value = p->config;
}

static void drop_tensor(pieces *p) {
    *tensor_named(p, "blocks.0.attn.u.bias") = p->tensors[--p->count];
}
static void rename_tensor(pieces *p) {
    tensor_named(p, "head.bias")->name = "head.offset";
}
static void add_tensor(pieces *p) {
    static const float value = 1;
    p->tensors[p->count++] =
        (vit_tensor){.name = "blocks.9.extra\n", .ndim = 1, .shape = {1}, .data = &value};
}
static void turn_tensor(pieces *p) {
    vit_tensor *t = tensor_named(p, "blocks.0.mlp.fc1.weight");
    size_t rows = t->shape[0];
    t->shape[0] = t->shape[1];
    t->shape[1] = rows;
}
static void flatten_tensor(pieces *p) {
    vit_tensor *t = tensor_named(p, "blocks.0.mlp.fc1.weight");
    t->shape[0] *= t->shape[1];
    t->ndim = 1;
}
static void integer_tensor(pieces *p) {
    tensor_named(p, "fc_norm.bias")->dtype = VIT_I32;
}
static void nan_weight(pieces *p) {
    p->bundle->params[vit_params_find(&p->bundle->model.params, "head.weight")->offset + 4] = NAN;
}
static void infinite_weight(pieces *p) {
    p->bundle->params[vit_params_find(&p->bundle->model.params, "head.weight")->offset] = -INFINITY;
}
static void newer(pieces *p) {
    p->metadata[1].value = "3";
}
static void much_newer(pieces *p) {
    p->metadata[1].value = "99999999999999999999";
}
static void version_word(pieces *p) {
    p->metadata[1].value = "1 ";
}
static void version_zero(pieces *p) {
    p->metadata[1].value = "0";
}
static void no_version(pieces *p) {
    p->metadata[1].key = "other";
}
static void other_format(pieces *p) {
    p->metadata[0].value = "np";
}
static void no_format(pieces *p) {
    p->metadata[0].key = "other";
}
static void no_config(pieces *p) {
    p->metadata[2].key = "other";
}
static void broken_config(pieces *p) {
    p->metadata[2].value = "{\"architecture\": }";
}
static void list_config(pieces *p) {
    p->metadata[2].value = "[]";
}
static void fewer_classes(pieces *p) {
    replace_config(p, "\"num_classes\":3", "\"num_classes\":2");
}
static void more_depth(pieces *p) {
    replace_config(p, "\"depth\":2", "\"depth\":3");
}
static void less_depth(pieces *p) {
    replace_config(p, "\"depth\":2", "\"depth\":1");
}
static void huge_depth(pieces *p) {
    replace_config(p, "\"depth\":2", "\"depth\":256");
}
static void huge_width(pieces *p) {
    replace_config(p, "\"embed_dim\":24", "\"embed_dim\":16344");
}
static void huge_picture(pieces *p) {
    replace_config(p, "[8,13]", "[8192,8192]");
    replace_config(p, "[3,8,13]", "[3,8192,8192]");
}
static void softmax(pieces *p) {
    replace_config(p, "\"attn\":\"zeros\"", "\"attn\":\"softmax\"");
}
static void wrong_heads(pieces *p) {
    replace_config(p, "\"num_heads\":3", "\"num_heads\":5");
}

static const struct {
    void (*change)(pieces *p);
    vit_status status;
    const char *message;
} changes[] = {
    {drop_tensor, VIT_ERROR_FORMAT,
     "tensor blocks.0.attn.u.bias is missing (expected with shape [24])"},
    {rename_tensor, VIT_ERROR_FORMAT, "tensor head.bias is missing"},
    {add_tensor, VIT_ERROR_FORMAT, "tensor blocks.9.extra? is unknown"},
    {turn_tensor, VIT_ERROR_FORMAT, "fc1.weight: shape [24, 96] (expected [96, 24] by its config)"},
    {flatten_tensor, VIT_ERROR_FORMAT, "fc1.weight: shape [2304] (expected [96, 24]"},
    {integer_tensor, VIT_ERROR_FORMAT, "fc_norm.bias: dtype I32 (expected F32"},
    {nan_weight, VIT_ERROR_FORMAT, "tensor head.weight: element 4 is nan"},
    {infinite_weight, VIT_ERROR_FORMAT, "tensor head.weight: element 0 is -inf"},
    {newer, VIT_ERROR_UNSUPPORTED, "layout version 3 (this zvit, 0.1.0, reads up to 2)"},
    {much_newer, VIT_ERROR_FORMAT, "layout version \"99999999999999999999\""},
    {version_word, VIT_ERROR_FORMAT, "layout version \"1 \""},
    {version_zero, VIT_ERROR_FORMAT, "layout version \"0\" (expected 1 to 2)"},
    {no_version, VIT_ERROR_FORMAT, "no \"zvit\" in its metadata"},
    {other_format, VIT_ERROR_FORMAT, "format \"np\" in its metadata (expected \"pt\")"},
    {no_format, VIT_ERROR_FORMAT, "format \"\""},
    {no_config, VIT_ERROR_FORMAT, "no \"config\" in its metadata"},
    {broken_config, VIT_ERROR_FORMAT, "model.safetensors: config: not valid JSON at line 1"},
    {list_config, VIT_ERROR_FORMAT, "config: not an object"},
    {fewer_classes, VIT_ERROR_FORMAT, "label_names holds 3 names (expected an array of"},
    {more_depth, VIT_ERROR_FORMAT, "tensor blocks.2.norm1.weight is missing"},
    {less_depth, VIT_ERROR_FORMAT, "tensor blocks.1.norm1.weight is unknown"},
    {huge_depth, VIT_ERROR_FORMAT, "tensors (expected more for a depth of 256)"},
    {huge_width, VIT_ERROR_FORMAT, "tensor pos_embed: shape [1, 6, 24] (expected [1, 6, 16344]"},
    {huge_picture, VIT_ERROR_FORMAT, "expected [1, 4194304, 24]"},
    {softmax, VIT_ERROR_FORMAT, "tensor blocks.0.attn.qkv.weight is missing"},
    {wrong_heads, VIT_ERROR_FORMAT, "config: num-heads: 5 (expected a divisor of embed-dim, 24)"},
};

START_TEST(refuses_what_does_not_fit) {
    pieces p;
    take_apart(&p);
    changes[_i].change(&p);
    vit_model_bundle *bundle = NULL;
    vit_status status = load_pieces(&p, &bundle);
    ck_assert_ptr_null(bundle);
    ck_assert_msg(status == changes[_i].status, "%s: status %d, %s", changes[_i].message,
                  (int)status, vit_last_error());
    check_message(changes[_i].message);
    check_message("model.safetensors: ");
    release(&p);
}
END_TEST

/* Weights in other float types are converted; order in the file does not matter. */
START_TEST(converts_weights) {
    pieces p;
    take_apart(&p);
    vit_tensor *wide = tensor_named(&p, "head.weight");
    double *doubles = to_double(wide->data, wide->count);
    wide->dtype = VIT_F64;
    wide->data = doubles;
    static uint16_t halves[24], brains[24];
    for (size_t i = 0; i < 24; i++) {
        halves[i] = (uint16_t)(0x3c00 + i);
        brains[i] = (uint16_t)(0x3f80 + i);
    }
    vit_tensor *half = tensor_named(&p, "blocks.0.norm1.weight");
    half->dtype = VIT_F16;
    half->data = halves;
    vit_tensor *brain = tensor_named(&p, "blocks.1.norm1.weight");
    brain->dtype = VIT_BF16;
    brain->data = brains;
    vit_tensor first = p.tensors[0];
    p.tensors[0] = p.tensors[p.count - 1];
    p.tensors[p.count - 1] = first;
    vit_model_bundle *bundle;
    ck_vit_ok(load_pieces(&p, &bundle));
    const vit_param_table *table = &bundle->model.params;
    const float *h = bundle->params + vit_params_find(table, "blocks.0.norm1.weight")->offset;
    const float *b = bundle->params + vit_params_find(table, "blocks.1.norm1.weight")->offset;
    for (size_t i = 0; i < 24; i++) {
        ck_assert_float_eq(h[i], 1 + (float)i * 0x1p-10f);
        ck_assert_float_eq(b[i], 1 + (float)i * 0x1p-7f);
    }
    const vit_param *head = vit_params_find(table, "head.weight");
    ck_assert_mem_eq(bundle->params + head->offset, p.bundle->params + head->offset,
                     head->size * sizeof(float));
    vit_model_bundle_free(bundle);
    /* A double that no float holds is not finite as a weight. */
    doubles[0] = 1e300;
    ck_vit_fails(load_pieces(&p, &bundle), VIT_ERROR_FORMAT, "head.weight: element 0 is inf");
    free(doubles);
    release(&p);
}
END_TEST

START_TEST(timms_file_lacks_a_config) {
    vit_model_bundle *bundle;
    char name[1024];
    ck_vit_fails(vit_model_bundle_load(golden_path("timm_deit_tiny_img64_depth2.safetensors", name),
                                       &bundle),
                 VIT_ERROR_FORMAT, "weights alone");
    ck_vit_fails(vit_model_bundle_load("/nowhere/model", &bundle), VIT_ERROR_IO,
                 "/nowhere/model: cannot open");
}
END_TEST

START_TEST(flipped_and_cut_files_never_crash) {
    vit_model_bundle *bundle = small_bundle();
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, 1 << 20, &bytes));
    size_t header = 8 + bytes.data[0] + 256u * bytes.data[1];
    size_t loaded = 0;
    char copy[1024];
    temp_path(copy, folder, "copy");
    for (uint64_t trial = 0; trial < 1500; trial++) {
        vit_rng rng = vit_rng_make(2, 0, trial, VIT_RNG_TEST);
        uint32_t at = vit_rng_below(&rng, (uint32_t)header);
        unsigned char mask = (unsigned char)(1u << (trial % 8));
        size_t size = trial % 5 ? bytes.size : vit_rng_below(&rng, (uint32_t)bytes.size);
        FILE *file = fopen(copy, "wb");
        bytes.data[at] ^= mask;
        ck_assert_uint_eq(fwrite(bytes.data, 1, size, file), size);
        bytes.data[at] ^= mask;
        fclose(file);
        vit_model_bundle *back;
        if (vit_model_bundle_load(copy, &back) == VIT_OK) {
            loaded++;
            vit_model_bundle_free(back);
        } else {
            ck_assert_ptr_null(back);
            check_message("copy: ");
        }
    }
    ck_assert_uint_lt(loaded, 700); /* a flip in a class name or a mean is no damage to notice */
    vit_bytes_free(&bytes);
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("model_file");
    TCase *t = tcase_create("model_file");
    tcase_add_checked_fixture(t, setup, remove_folder);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, saves_what_it_loads);
    tcase_add_test(t, saves_given_weights);
    tcase_add_test(t, a_new_model_is_keyed_by_its_seed);
    tcase_add_test(t, a_new_model_is_checked);
    tcase_add_test(t, unknown_keys_survive);
    tcase_add_test(t, a_run_folder_stands_for_its_best);
    tcase_add_test(t, weights_that_are_not_finite_are_not_saved);
    tcase_add_loop_test(t, refuses_what_does_not_fit, 0, sizeof changes / sizeof *changes);
    tcase_add_test(t, converts_weights);
    tcase_add_test(t, timms_file_lacks_a_config);
    tcase_add_test(t, flipped_and_cut_files_never_crash);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
