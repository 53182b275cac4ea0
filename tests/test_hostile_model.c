/* Model files that mean harm, or were damaged, given to the command: every verb that takes a model
 * answers with exit code 1 and one line that says what is wrong with which file. What the reader
 * itself refuses is in test_safetensors.c and test_model_file.c. */
#include "support/command.h"
#include "support/files.h"
#include "support/support.h"
#include "vit/file.h"
#include "vit/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SIDE = 16, CLASSES = 3 };
static const char *const names[CLASSES] = {"ant", "bee", "cat"};

static vit_model_bundle *new_bundle(void) {
    const vit_preprocess preprocess = {
        VIT_BICUBIC, 1, {0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
    vit_config config;
    vit_model_bundle *bundle;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.img_size[0] = config.img_size[1] = SIDE;
    config.patch_size = 8;
    config.num_classes = CLASSES;
    config.embed_dim = 16;
    config.depth = 1;
    config.num_heads = 2;
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, names, 1, &bundle));
    random_floats(1, bundle->model.params.total, 0.1, bundle->params);
    return bundle;
}

static vit_bytes good_file(void) {
    vit_bytes bytes = {0};
    vit_model_bundle *bundle = new_bundle();
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, in_folder("good.safetensors")));
    vit_model_bundle_free(bundle);
    ck_vit_ok(vit_file_read(in_folder("good.safetensors"), 1 << 24, &bytes));
    return bytes;
}

/* FOLDER/m.safetensors: another header before the same data. */
static void write_with(const vit_bytes *good, const char *header) {
    uint64_t length, announced = strlen(header);
    vit_file_writer *writer;
    memcpy(&length, good->data, sizeof length);
    ck_vit_ok(vit_file_begin(in_folder("m.safetensors"), &writer));
    ck_vit_ok(vit_file_write(writer, &announced, sizeof announced));
    ck_vit_ok(vit_file_write(writer, header, strlen(header)));
    ck_vit_ok(vit_file_write(writer, good->data + 8 + length, good->size - 8 - (size_t)length));
    ck_vit_ok(vit_file_commit(writer));
}

static char *header_of(const vit_bytes *good) {
    uint64_t length;
    memcpy(&length, good->data, sizeof length);
    return strndup((const char *)good->data + 8, (size_t)length);
}

/* "[A,B]" of a tensor's data_offsets, as the header has it. */
static const char *offsets_of(const char *header, const char *tensor, char text[64]) {
    char quoted[128];
    snprintf(quoted, sizeof quoted, "\"%s\":", tensor);
    const char *at = strstr(header, quoted);
    ck_assert_ptr_nonnull(at);
    at = strstr(at, "\"data_offsets\":");
    ck_assert_ptr_nonnull(at);
    at += strlen("\"data_offsets\":");
    snprintf(text, 64, "%.*s", (int)(strchr(at, ']') + 1 - at), at);
    return text;
}

/* Every verb that takes a model says `part` of FOLDER/m.safetensors. */
static void check_refused(const char *part) {
    char model[512], data[512], picture[1024], out[512];
    snprintf(model, sizeof model, "%s", in_folder("m.safetensors"));
    snprintf(data, sizeof data, "%s",
             file_exists(in_folder("data")) ? in_folder("data") : make_data());
    snprintf(picture, sizeof picture, "%s", in_folder("data/val/dull/1.png"));
    snprintf(out, sizeof out, "%s", in_folder("out"));
    check_failure(zvit("info", model, NULL), "info", part);
    check_failure(zvit("eval", model, data, NULL), "eval", part);
    check_failure(zvit("classify", model, picture, NULL), "classify", part);
    check_failure(zvit("explain", model, picture, "--out", in_folder("map.png"), NULL), "explain",
                  part);
    check_failure(zvit("export", model, "--format", "safetensors", "--out", out, NULL), "export",
                  part);
    check_failure(zvit("serve", model, "--port", "0", NULL), "serve", part);
    check_failure(zvit("train", data, "--out", out, "--init", model, TINY_MODEL, NULL), "train",
                  part);
    ck_assert(!file_exists(out) && !file_exists(in_folder("map.png")));
}

START_TEST(lengths_that_lie) {
    static const struct {
        uint64_t length;
        off_t size;
        const char *part;
    } cases[] = {
        {0, 0, "cut short: 0 bytes"},
        {0, 7, "cut short: 7 bytes"},
        {0, 8, "does not begin with '{'"},
        {(uint64_t)1 << 32, ((off_t)1 << 32) + 8, "a header of 4294967296 bytes (expected at most"},
        {(uint64_t)1 << 63, 100, "a header of 9223372036854775808 bytes (expected at most"},
        {UINT64_MAX, 100, "a header of 18446744073709551615 bytes (expected at most"},
        {100000000, 100, "cut short: a header of 100000000 bytes, 92 are there"},
        {100000000, 100000008, "does not begin with '{'"}, /* a hole in the disk */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in_folder("m.safetensors");
        ck_vit_ok(vit_file_replace(path, &cases[i].length, sizeof cases[i].length));
        if (truncate(path, cases[i].size) == 0) { /* sparse; not every file system has 4 GB */
            check_refused(cases[i].part);
        }
    }
}
END_TEST

START_TEST(offsets_that_lie) {
    static const struct {
        const char *offsets, *part;
    } cases[] = {
        {"[0,12]", "data may neither overlap nor leave a gap"},
        {"[99999988,100000000]", "lie outside of the data"},
        {"[9007199254740980,9007199254740992]", "bad \"data_offsets\""},
        {"[-12,0]", "bad \"data_offsets\""},
        {"[12,0]", "lie outside of the data"},
        {"[0,8]", "hold 8 bytes (expected 12"},
        {"[null,12]", "bad \"data_offsets\""},
    };
    vit_bytes good = good_file();
    char old[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *header = header_of(&good);
        offsets_of(header, "head.bias", old);
        replace_text(&header, old, cases[i].offsets);
        write_with(&good, header);
        check_refused(cases[i].part);
        free(header);
    }
    /* A hole: a tensor that is not named any more. */
    char *header = header_of(&good);
    char entry[256];
    snprintf(entry, sizeof entry,
             "\"fc_norm.bias\":{\"dtype\":\"F32\",\"shape\":[16],\"data_offsets\":%s},",
             offsets_of(header, "fc_norm.bias", old));
    replace_text(&header, entry, "");
    write_with(&good, header);
    check_refused("data may neither overlap nor leave a gap");
    free(header);
    vit_bytes_free(&good);
}
END_TEST

START_TEST(names_that_come_twice) {
    vit_bytes good = good_file();
    char *header = header_of(&good);
    replace_text(&header, "\"fc_norm.bias\":", "\"fc_norm.weight\":");
    write_with(&good, header);
    check_refused("\"fc_norm.weight\" is there twice");
    free(header);
    vit_bytes_free(&good);
}
END_TEST

/* The order of the data is not that of the names: allowed, and the same model. */
START_TEST(tensors_in_another_order) {
    vit_bytes good = good_file();
    char picture[512];
    make_data();
    snprintf(picture, sizeof picture, "%s", in_folder("data/val/dull/1.png"));
    char *header = header_of(&good), weight[64], bias[64];
    size_t at[2], start = 8 + strlen(header);
    offsets_of(header, "fc_norm.weight", weight);
    offsets_of(header, "fc_norm.bias", bias);
    sscanf(weight, "[%zu", &at[0]);
    sscanf(bias, "[%zu", &at[1]);
    replace_text(&header, weight, "[?]");
    replace_text(&header, bias, weight);
    replace_text(&header, "[?]", bias);
    float *a = malloc(64), *b = malloc(64);
    outcome expected = zvit("classify", in_folder("good.safetensors"), "--csv", picture, NULL);
    check_code(&expected, 0);
    memcpy(a, good.data + start + at[0], 64);
    memcpy(b, good.data + start + at[1], 64);
    memcpy(good.data + start + at[0], b, 64);
    memcpy(good.data + start + at[1], a, 64);
    write_with(&good, header);
    outcome result = zvit("classify", in_folder("m.safetensors"), "--csv", picture, NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.out, expected.out);
    release(&result);
    release(&expected);
    free(a), free(b), free(header);
    vit_bytes_free(&good);
}
END_TEST

START_TEST(weights_that_are_no_numbers) {
    static const float values[] = {NAN, INFINITY, -INFINITY};
    static const char *const words[] = {"is nan", "is inf", "is -inf"};
    vit_bytes good = good_file();
    char *header = header_of(&good), text[64], part[128];
    size_t at;
    offsets_of(header, "fc_norm.weight", text);
    sscanf(text, "[%zu", &at);
    for (size_t i = 0; i < 3; i++) {
        memcpy(good.data + 8 + strlen(header) + at + 5 * sizeof(float), &values[i], sizeof(float));
        write_with(&good, header);
        snprintf(part, sizeof part, "fc_norm.weight: element 5 %s (expected a finite number)",
                 words[i]);
        check_refused(part);
    }
    free(header);
    vit_bytes_free(&good);
}
END_TEST

/* Each weight is a number and what the network makes of them is none: said, and not printed as a
 * probability. */
START_TEST(weights_whose_products_overflow) {
    vit_model_bundle *bundle = new_bundle();
    for (size_t i = 0; i < bundle->model.params.total; i++) {
        bundle->params[i] = i % 2 ? 3e38f : -2e38f;
    }
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, in_folder("m.safetensors")));
    vit_model_bundle_free(bundle);
    char model[512], data[512], picture[512];
    snprintf(data, sizeof data, "%s", make_data());
    snprintf(model, sizeof model, "%s", in_folder("m.safetensors"));
    snprintf(picture, sizeof picture, "%s", in_folder("data/val/dull/1.png"));
    static const char *const forms[] = {"--csv", "--json", "--quiet"};
    for (size_t i = 0; i < 3; i++) {
        outcome result = zvit("classify", model, forms[i], picture, NULL);
        check_code(&result, 1);
        check_has(i == 1 ? result.out : result.err, "not a finite number");
        check_has_not(result.out, "nan %");
        check_has_not(result.out, "NaN");
        release(&result);
    }
    check_failure(zvit("explain", model, picture, "--out", in_folder("x.png"), NULL), "explain",
                  "not a finite number");
    /* Its classes are not those of the data. */
    check_failure(zvit("eval", model, data, NULL), "eval", "not a class of the model");
    ck_assert(!file_exists(in_folder("x.png")));
}
END_TEST

/* That of zvit, which is begun from here, to 1 GiB. */
static void limit_memory(void) {
#ifndef __SANITIZE_ADDRESS__ /* which takes more for itself */
    const struct rlimit little = {(rlim_t)1 << 30, (rlim_t)1 << 30};
    ck_assert_int_eq(setrlimit(RLIMIT_DATA, &little), 0);
#endif
}

/* The largest sizes that the table of the config allows; the file has no such tensors, so nothing
 * is allocated. */
START_TEST(configs_that_want_everything) {
    static const struct {
        const char *key, *value;
    } cases[] = {
        {"\\\"embed_dim\\\":16", "\\\"embed_dim\\\":65536"},
        {"\\\"embed_dim\\\":16", "\\\"embed_dim\\\":2147483646"},
        {"\\\"depth\\\":1", "\\\"depth\\\":1000"},
        {"\\\"depth\\\":1", "\\\"depth\\\":2147483647"},
        {"\\\"mlp_ratio\\\":4", "\\\"mlp_ratio\\\":1e300"},
        {"\\\"img_size\\\":[16,16]", "\\\"img_size\\\":[16384,16384]"},
        {"\\\"num_classes\\\":3", "\\\"num_classes\\\":2147483647"},
        {"\\\"patch_size\\\":8", "\\\"patch_size\\\":0"},
    };
    vit_bytes good = good_file();
    make_data();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *header = header_of(&good);
        replace_text(&header, cases[i].key, cases[i].value);
        write_with(&good, header);
        limit_memory();
        check_failure(zvit("info", in_folder("m.safetensors"), NULL), "info", "m.safetensors: ");
        check_failure(
            zvit("classify", in_folder("m.safetensors"), in_folder("data/val/dull/1.png"), NULL),
            "classify", "m.safetensors: ");
        free(header);
    }
    vit_bytes_free(&good);
}
END_TEST

/* A file that does hold every tensor of a huge model: a hole of terabytes. */
START_TEST(a_hole_for_a_model) {
    vit_model_bundle *bundle = new_bundle();
    vit_model model;
    vit_config config = bundle->model.config;
    config.embed_dim = 16384;
    config.depth = 12;
    ck_vit_ok(vit_model_init(&model, &config));
    vit_json *root = vit_json_object(), *metadata = vit_json_object();
    vit_json *described = vit_config_to_json(&config, &bundle->preprocess, names, NULL);
    char *text = NULL, *header = NULL;
    ck_vit_ok(vit_json_print(described, false, &text));
    vit_json_add_string(metadata, "format", "pt");
    vit_json_add_string(metadata, "zvit", "1");
    vit_json_add_string(metadata, "config", text);
    vit_json_add(root, "__metadata__", metadata);
    for (size_t i = 0; i < model.params.count; i++) {
        const vit_param *param = &model.params.items[i];
        vit_json *node = vit_json_object(), *shape = vit_json_array(), *ends = vit_json_array();
        for (int d = 0; d < param->ndim; d++) {
            vit_json_add_number(shape, NULL, (double)param->shape[d]);
        }
        vit_json_add_number(ends, NULL, (double)param->offset * 4);
        vit_json_add_number(ends, NULL, (double)(param->offset + param->size) * 4);
        vit_json_add_string(node, "dtype", "F32");
        vit_json_add(node, "shape", shape);
        vit_json_add(node, "data_offsets", ends);
        vit_json_add(root, param->name, node);
    }
    ck_vit_ok(vit_json_print(root, false, &header));
    const vit_bytes nothing = {.data = (unsigned char *)"\0\0\0\0\0\0\0", .size = 8};
    write_with(&nothing, header);
    off_t size = (off_t)(8 + strlen(header) + model.params.total * 4);
    if (truncate(in_folder("m.safetensors"), size) == 0) {
        check_refused("(expected at most the ");
    }
    free(text), free(header);
    vit_json_free(described);
    vit_json_free(root);
    vit_model_free(&model);
    vit_model_bundle_free(bundle);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hostile_model");
    TCase *tests = tcase_create("hostile model");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, lengths_that_lie);
    tcase_add_test(tests, offsets_that_lie);
    tcase_add_test(tests, names_that_come_twice);
    tcase_add_test(tests, tensors_in_another_order);
    tcase_add_test(tests, weights_that_are_no_numbers);
    tcase_add_test(tests, weights_whose_products_overflow);
    tcase_add_test(tests, configs_that_want_everything);
    tcase_add_test(tests, a_hole_for_a_model);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
