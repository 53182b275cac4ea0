/* Exports to ONNX, read back: that the graph is whole, has every weight, and says what classifying
 * needs. What it computes is compared in Python (python/onnx_check.py). */
#include "support/files.h"
#include "support/folder.h"
#include "support/models.h"
#include "support/onnx_file.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/export.h"
#include "vit/file.h"
#include "vit/onnx_graph.h"

#include <stdlib.h>
#include <string.h>

/* As the build says it. */
#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define VERSION TEXT(VIT_VERSION_MAJOR) "." TEXT(VIT_VERSION_MINOR) "." TEXT(VIT_VERSION_PATCH)

#ifdef ZVIT_HAVE_PROTOBUF_C

/* Every parameter under its name, with its shape and bits. */
static void check_weights(const vit_model_bundle *bundle, const onnx_file *file) {
    for (size_t i = 0; i < bundle->model.params.count; i++) {
        const vit_param *param = &bundle->model.params.items[i];
        onnx_tensor tensor = onnx_tensor_find(file, param->name);
        ck_assert_msg(tensor.name != NULL, "%s is missing", param->name);
        ck_assert_int_eq(tensor.type, ONNX_FLOAT);
        ck_assert_uint_eq(tensor.ndim, (size_t)param->ndim);
        for (size_t j = 0; j < tensor.ndim; j++) {
            ck_assert_int_eq(tensor.dims[j], (int64_t)param->shape[j]);
        }
        ck_assert_uint_eq(tensor.bytes, param->size * sizeof(float));
        ck_assert_mem_eq(tensor.data, bundle->params + param->offset, tensor.bytes);
    }
    for (size_t i = 0; i < onnx_tensor_count(file); i++) { /* the constants among them too */
        onnx_tensor tensor = onnx_tensor_at(file, i);
        size_t count = 1;
        for (size_t j = 0; j < tensor.ndim; j++) {
            count *= (size_t)tensor.dims[j];
        }
        ck_assert(tensor.type == ONNX_FLOAT || tensor.type == ONNX_INT64);
        ck_assert_uint_eq(tensor.bytes, count * (tensor.type == ONNX_FLOAT ? 4 : 8));
    }
}

static onnx_file *export(const vit_model_bundle *bundle, const char *name) {
    char out[1024];
    vit_export_paths paths;
    ck_vit_ok(vit_export_place(VIT_EXPORT_ONNX, temp_path(out, folder, "%s.onnx", name), &paths));
    ck_assert_str_eq(paths.weights, out);
    ck_assert_str_eq(paths.config, "");
    ck_vit_ok(vit_export(bundle, VIT_EXPORT_ONNX, &paths));
    return onnx_open(out);
}

/* Products, norms and softmaxes of each attention in two blocks, of ten linear layers and norms
 * around them. */
static const struct {
    int attn;
    size_t linear, products, norms, softmaxes;
} kinds[] = {
    {VIT_ATTENTION_ZEROS, 2 * 6, 2 * 2, 2, 0},
    {VIT_ATTENTION_ZEROS_SM, 2 * 5, 2 * 4, 2, 2},
    {VIT_ATTENTION_SOFTMAX, 2 * 2, 2 * 2, 0, 2},
    {VIT_ATTENTION_LINEAR, 2 * 2, 2 * 2, 0, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

START_TEST(a_graph_of_each_attention) {
    int pool = _i % 2 ? VIT_POOL_TOKEN : VIT_POOL_AVG, kind = _i / 2;
    char text[128];
    vit_model_bundle *bundle = quoted_model_new(kinds[kind].attn, pool, VIT_ROPE_2D);
    onnx_file *file = export(bundle, "kind");
    onnx_header(file, text);
    ck_assert_str_eq(text, "8 17 zvit " VERSION);
    onnx_input(file, text);
    ck_assert_str_eq(text, "pixel_values 1 [batch, 3, 24, 32]");
    onnx_output(file, text);
    ck_assert_str_eq(text, "logits 1 [batch, 3]");
    check_weights(bundle, file);
    onnx_check_order(file);
    ck_assert_uint_eq(onnx_count(file, "Conv"), 1);
    ck_assert_uint_eq(onnx_count(file, "Gemm"), kinds[kind].linear + 2 * 2 + 1);
    ck_assert_uint_eq(onnx_count(file, "MatMul"), kinds[kind].products);
    ck_assert_uint_eq(onnx_count(file, "LayerNormalization"), kinds[kind].norms + 2 * 2 + 1);
    ck_assert_uint_eq(onnx_count(file, "Softmax"), kinds[kind].softmaxes);
    ck_assert_uint_eq(onnx_count(file, "Erf"), 2);
    ck_assert_uint_eq(onnx_count(file, "Expand"), pool == VIT_POOL_TOKEN ? 1 : 0);
    ck_assert_ptr_nonnull(onnx_tensor_find(file, "rope.cosine").name);
    onnx_close(file);
    vit_model_bundle_free(bundle);
}
END_TEST

/* The exports are small: what is not asked for is not in the graph. */
START_TEST(flags_of_zeros) {
    vit_model_bundle *bundle = quoted_model_new(VIT_ATTENTION_ZEROS, VIT_POOL_AVG, VIT_ROPE_NONE);
    onnx_file *file = export(bundle, "zeros");
    size_t nodes = onnx_count(file, NULL);
    ck_assert_ptr_null(onnx_tensor_find(file, "rope.cosine").name);
    ck_assert_uint_eq(onnx_count(file, "Tanh"), 0);
    ck_assert_uint_eq(onnx_count(file, "CumSum"), 0);
    onnx_close(file);
    vit_config config = bundle->model.config;
    vit_model_bundle_free(bundle);
    config.zero_order = true;
    config.head_norm = false;
    for (int causal = 0; causal < 2; causal++) {
        config.causal = causal;
        const vit_preprocess preprocess = {.crop_pct = 1, .std = {1, 1, 1}};
        ck_vit_ok(vit_model_bundle_new(&config, &preprocess, quoted_names, 1, &bundle));
        file = export(bundle, "flags");
        check_weights(bundle, file);
        onnx_check_order(file);
        ck_assert_uint_eq(onnx_count(file, "Tanh"), 1); /* in the first block */
        ck_assert_uint_eq(onnx_count(file, "CumSum"), causal ? 4 : 0);
        ck_assert_uint_eq(onnx_count(file, "LayerNormalization"), 5);
        ck_assert(causal || onnx_count(file, NULL) == nodes + 3 - 2);
        onnx_close(file);
        vit_model_bundle_free(bundle);
    }
}
END_TEST

START_TEST(metadata_is_enough_to_classify) {
    vit_model_bundle *bundle = quoted_model_new(VIT_ATTENTION_ZEROS, VIT_POOL_AVG, VIT_ROPE_2D);
    onnx_file *file = export(bundle, "metadata");
    static const char *const expected[][2] = {
        {"zvit", VERSION},
        {"input_size", "[3,24,32]"},
        {"interpolation", "bilinear"},
        {"crop_pct", "0.875"},
        {"mean", "[0.5,0.25,0.125]"},
        {"std", "[1,2,3]"},
        {"label_names", "[\"cat\",\"dog \\\"2\\\"\",\"\xc3\xa4rger\"]"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const char *value = onnx_metadata(file, expected[i][0]);
        ck_assert_msg(value != NULL, "no %s", expected[i][0]);
        ck_assert_str_eq(value, expected[i][1]);
    }
    vit_json *config;
    vit_config read;
    vit_preprocess preprocess;
    const vit_json *labels;
    const char *text = onnx_metadata(file, "config");
    ck_vit_ok(vit_json_parse(text, strlen(text), "config", &config));
    ck_vit_ok(vit_config_from_json(config, "config", &read, &preprocess, &labels));
    ck_assert_int_eq(read.embed_dim, 24);
    vit_json_free(config);
    onnx_close(file);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(the_same_bytes_twice) {
    vit_model_bundle *bundle =
        quoted_model_new(VIT_ATTENTION_ZEROS_SM, VIT_POOL_TOKEN, VIT_ROPE_1D);
    char path[1024];
    vit_bytes bytes[2] = {{0}};
    onnx_close(export(bundle, "first"));
    onnx_close(export(bundle, "second"));
    ck_vit_ok(vit_file_read(temp_path(path, folder, "first.onnx"), 1 << 24, &bytes[0]));
    ck_vit_ok(vit_file_read(temp_path(path, folder, "second.onnx"), 1 << 24, &bytes[1]));
    ck_assert_uint_eq(bytes[0].size, bytes[1].size);
    ck_assert_mem_eq(bytes[0].data, bytes[1].data, bytes[0].size);
    vit_bytes_free(&bytes[0]);
    vit_bytes_free(&bytes[1]);
    vit_model_bundle_free(bundle);
}
END_TEST

/* A disk that is full, in effect: a file cannot grow past 16 KiB. */
START_TEST(what_fails_leaves_nothing) {
    char out[1024];
    vit_export_paths paths;
    vit_model_bundle *bundle = quoted_model_new(VIT_ATTENTION_ZEROS, VIT_POOL_AVG, VIT_ROPE_2D);
    ck_vit_ok(vit_export_place(VIT_EXPORT_ONNX, temp_path(out, folder, "full"), &paths));
    limit_files(1 << 14);
    ck_vit_fails(vit_export(bundle, VIT_EXPORT_ONNX, &paths), VIT_ERROR_IO, "full/model.onnx");
    ck_assert_uint_eq(count_entries(out), 0);
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(what_has_no_graph_is_refused) {
    vit_model_bundle *bundle = quoted_model_new(VIT_ATTENTION_LINEAR, VIT_POOL_AVG, VIT_ROPE_2D);
    vit_attention_config *attention = &bundle->model.blocks[0].attention.config;
    attention->kind = (vit_attention_kind)VIT_ATTENTION_KINDS; /* as a new variant would be */
    ck_vit_fails(vit_export_check(bundle, VIT_EXPORT_ONNX), VIT_ERROR_UNSUPPORTED,
                 "linear attention has no graph");
    attention->kind = VIT_ATTENTION_LINEAR;
    ck_vit_ok(vit_export_check(bundle, VIT_EXPORT_ONNX));
    size_t total = bundle->model.params.total;
    bundle->model.params.total = VIT_ONNX_MAX_BYTES / sizeof(float) + 1;
    ck_vit_fails(vit_export_check(bundle, VIT_EXPORT_ONNX), VIT_ERROR_LIMIT,
                 "2147483648 bytes (expected at most");
    bundle->model.params.total = total;
    vit_model_bundle_free(bundle);
}
END_TEST

static void add_tests(TCase *t) {
    tcase_add_loop_test(t, a_graph_of_each_attention, 0, 2 * KINDS);
    tcase_add_test(t, flags_of_zeros);
    tcase_add_test(t, metadata_is_enough_to_classify);
    tcase_add_test(t, the_same_bytes_twice);
    tcase_add_test(t, what_fails_leaves_nothing);
    tcase_add_test(t, what_has_no_graph_is_refused);
}

#else

START_TEST(a_build_without_protobuf_c_says_so) {
    vit_model_bundle *bundle = quoted_model_new(VIT_ATTENTION_ZEROS, VIT_POOL_AVG, VIT_ROPE_2D);
    ck_vit_fails(vit_export_check(bundle, VIT_EXPORT_ONNX), VIT_ERROR_UNSUPPORTED,
                 "libprotobuf-c-dev protobuf-c-compiler");
    vit_model_bundle_free(bundle);
}
END_TEST

static void add_tests(TCase *t) {
    tcase_add_test(t, a_build_without_protobuf_c_says_so);
}

#endif

static Suite *suite(void) {
    Suite *s = suite_create("onnx");
    TCase *t = tcase_create("onnx");
    tcase_add_unchecked_fixture(t, make_folder, remove_folder);
    add_tests(t);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
