/* zvit eval as a user calls it: models of one and of several shapes, files, refusals. */
#include "data/image.h"
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/pictures.h"
#include "tests/support/support.h"
#include "tests/support/table.h"
#include "vit/file.h"
#include "vit/model_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One class has a name that CSV must quote. */
enum { CLASSES = 4, EACH = 5 };
static const char *const classes[CLASSES] = {"ant", "bee, \"wild\"", "cat", "=dog"};

/* FOLDER/NAME.safetensors, with the classes in the order given and random weights that depend on
 * the order only through the head: models of the same seed and size are the same function. */
static const char *make_model(const char *name, const int order[CLASSES], int size, double spread) {
    const vit_preprocess preprocess = {
        .crop_pct = 1, .mean = {0.5, 0.5, 0.5}, .std = {0.25, 0.25, 0.25}};
    const char *ordered[CLASSES];
    vit_config config;
    vit_model_bundle *bundle;
    static char files[2][1024]; /* in_folder keeps its last eight only */
    static int next;
    char *file = files[next++ % 2];
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.num_classes = CLASSES;
    config.img_size[0] = config.img_size[1] = size;
    config.embed_dim = 16;
    config.depth = 1;
    config.num_heads = 2;
    for (int k = 0; k < CLASSES; k++) {
        ordered[k] = classes[order[k]];
    }
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, ordered, 3, &bundle));
    float *random = random_new(17, bundle->model.params.total, spread);
    memcpy(bundle->params, random, bundle->model.params.total * sizeof *random);
    for (size_t i = 0; i < bundle->model.params.count; i++) {
        const vit_param *p = &bundle->model.params.items[i];
        if (strncmp(p->name, "head.", 5) == 0) {
            size_t row = p->size / CLASSES;
            for (size_t k = 0; k < CLASSES; k++) {
                memcpy(bundle->params + p->offset + k * row,
                       random + p->offset + (size_t)order[k] * row, row * sizeof *random);
            }
        }
    }
    snprintf(file, sizeof files[0], "%s/%s.safetensors", folder, name);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, file));
    vit_model_bundle_free(bundle);
    free(random);
    return file;
}

static const int as_named[CLASSES] = {0, 1, 2, 3}, turned[CLASSES] = {2, 0, 3, 1};

static void make_val(void) {
    make_pictures(in_folder("data"), "val", classes, CLASSES, EACH, 16, 16, 9);
}

static vit_json *eval_json(outcome result) {
    check_code(&result, 0);
    vit_json *json = parse(result.out);
    release(&result);
    return json;
}

/* ---- one model ---- */

/* The lines "weakest" and "mistaken" name first what is worst in confusion_matrix.csv. */
static void check_worst(const char *out, const char *matrix) {
    table t = table_read(matrix);
    size_t weakest = CLASSES, label = 0, taken = 0;
    double lowest = 1, most = 0, support[CLASSES] = {0};
    for (size_t r = 0; r < CLASSES; r++) {
        for (size_t c = 0; c < CLASSES; c++) {
            double n = table_number(&t, r, classes[c]);
            support[r] += n;
            if (r != c && n > most) {
                most = n;
                label = r;
                taken = c;
            }
        }
        double recall = table_number(&t, r, classes[r]) / support[r];
        if (recall < lowest) {
            lowest = recall;
            weakest = r;
        }
    }
    ck_assert_uint_lt(weakest, CLASSES);
    char line[256];
    snprintf(line, sizeof line, "\nweakest   %s (%.2f %%)", classes[weakest], 100 * lowest);
    check_has(out, line);
    snprintf(line, sizeof line, "\nmistaken  %s for %s (%.0f of %.0f)", classes[label],
             classes[taken], most, support[label]);
    check_has(out, line);
    table_free(&t);
}

START_TEST(everything_is_written_and_agrees) {
    make_val();
    const char *model = make_model("m", as_named, 16, 0.4);
    outcome result =
        zvit("eval", model, in_folder("data"), "--out", in_folder("new/out"), "--topk", "3", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    const char *const labels[] = {
        "model     ", "data      ",           "pictures  20 in 4 classes\n",
        "top-1     ", "top-5     100.00 %\n", "loss      ",
        "balanced  ", "macro F1  ",           "ECE       ",
        "speed     "};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        check_has(result.out, labels[i]);
    }
    check_worst(result.out, in_folder("new/out/confusion_matrix.csv"));
    release(&result);
    ck_assert_uint_eq(count_entries(in_folder("new/out")), 4);
    table t = table_read(in_folder("new/out/predictions.csv"));
    ck_assert_uint_eq(t.rows, CLASSES * EACH);
    ck_assert_uint_eq(t.columns, 3 + 2 * 3);
    double right = 0, loss = 0;
    for (size_t i = 0; i < t.rows; i++) {
        char path[1024];
        right += strcmp(table_text(&t, i, "label"), table_text(&t, i, "top1")) == 0;
        loss -= log(table_number(&t, i, "label_probability"));
        /* The label is the folder. */
        snprintf(path, sizeof path, "data/val/%s/", table_text(&t, i, "label"));
        check_has(table_text(&t, i, "path"), path);
    }
    table_free(&t);
    vit_json *printed = eval_json(zvit("eval", model, in_folder("data"), "--json", NULL));
    vit_json *written;
    ck_vit_ok(vit_json_read(in_folder("new/out/eval.json"), 1 << 20, &written));
    const char *const keys[] = {"images", "skipped", "classes",           "top1",    "top5",
                                "loss",   "ece",     "balanced_accuracy", "macro_f1"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        ck_assert_double_eq(number_of(written, keys[i]), number_of(printed, keys[i]));
    }
    ck_assert_double_eq_tol(number_of(printed, "top1"), 100 * right / 20, 1e-9);
    ck_assert_double_eq_tol(number_of(printed, "loss"), loss / 20, 1e-9);
    ck_assert_double_eq(number_of(printed, "images"), 20);
    ck_assert_str_eq(string_of(printed, "model"), model);
    ck_assert_str_eq(string_of(printed, "data"), in_folder("data"));
    ck_assert_str_eq(string_of(printed, "split"), "val");
    ck_assert_str_eq(string_of(printed, "tta"), "none");
    number_of(printed, "seconds");
    number_of(printed, "images_per_second");
    ck_assert_ptr_null(vit_json_get(printed, "reliability"));
    ck_assert_uint_eq(vit_json_count(vit_json_get(written, "reliability")), 15);
    vit_json_free(printed);
    vit_json_free(written);
}
END_TEST

START_TEST(batch_and_threads_do_not_show) {
    make_val();
    const char *model = make_model("m", as_named, 16, 0.4);
    const char *const words[][2] = {{"1", "1"}, {"7", "3"}, {"64", "2"}};
    char *first = NULL;
    for (size_t i = 0; i < 3; i++) {
        outcome result = zvit("eval", model, in_folder("data"), "-b", words[i][0], "--threads",
                              words[i][1], "--quiet", "--out", in_folder("out"), NULL);
        check_code(&result, 0);
        release(&result);
        char *text = read_text(in_folder("out/predictions.csv"));
        if (first) {
            ck_assert_str_eq(text, first);
            free(text);
        } else {
            first = text;
        }
    }
    free(first);
}
END_TEST

/* Pictures turned left to right by this test; both evaluations averaged by it. */
START_TEST(tta_is_the_mean_of_two_evaluations) {
    make_val();
    const char *model = make_model("m", as_named, 16, 0.6);
    for (int k = 0; k < CLASSES; k++) {
        char path[512];
        snprintf(path, sizeof path, "turned/val/%s", classes[k]);
        make_folders(in_folder(path));
        for (int i = 0; i < EACH; i++) {
            const vit_decode_options options = vit_decode_defaults();
            vit_bytes bytes = {0};
            vit_image image = {0};
            uint8_t turned_row[3 * 16], rgb[16 * 16 * 3];
            snprintf(path, sizeof path, "data/val/%s/%03d.png", classes[k], i);
            ck_vit_ok(vit_image_load(in_folder(path), &options, &bytes, &image));
            ck_assert_uint_eq(image.width, 16);
            for (size_t y = 0; y < 16; y++) {
                for (size_t x = 0; x < 16; x++) {
                    memcpy(turned_row + 3 * x, image.pixels + 3 * (16 * y + 15 - x), 3);
                }
                memcpy(rgb + 48 * y, turned_row, sizeof turned_row);
            }
            snprintf(path, sizeof path, "turned/val/%s/%03d.png", classes[k], i);
            write_png(in_folder(path), 16, 16, rgb);
            vit_bytes_free(&bytes);
            vit_image_free(&image);
        }
    }
    const char *const calls[][3] = {
        {"data", "a", "none"}, {"turned", "b", "none"}, {"data", "c", "flip"}};
    table t[3];
    for (int i = 0; i < 3; i++) {
        char path[64];
        outcome result = zvit("eval", model, in_folder(calls[i][0]), "--out",
                              in_folder(calls[i][1]), "--tta", calls[i][2], "--topk", "99", NULL);
        check_code(&result, 0);
        release(&result);
        snprintf(path, sizeof path, "%s/predictions.csv", calls[i][1]);
        t[i] = table_read(in_folder(path));
        ck_assert_uint_eq(t[i].columns, 3 + 2 * CLASSES);
    }
    double difference = 0;
    for (size_t i = 0; i < CLASSES * EACH; i++) {
        double a = table_number(&t[0], i, "label_probability"),
               b = table_number(&t[1], i, "label_probability"),
               c = table_number(&t[2], i, "label_probability");
        ck_assert_double_eq_tol(c, (a + b) / 2, 1e-6);
        difference = fmax(difference, fabs(a - b));
    }
    ck_assert_double_gt(difference, 0.01);
    for (int i = 0; i < 3; i++) {
        table_free(&t[i]);
    }
}
END_TEST

START_TEST(skipped_pictures_do_not_count) {
    make_val();
    const char *model = make_model("m", as_named, 16, 0.4);
    vit_json *whole = eval_json(zvit("eval", model, in_folder("data"), "--json", NULL));
    copy_picture("bad_truncated.png", in_folder("data/val/cat/x.png"));
    check_failure(zvit("eval", model, in_folder("data"), "--json", NULL), "eval", "x.png");
    vit_json *json = eval_json(zvit("eval", model, in_folder("data"), "--on-error", "skip",
                                    "--json", "--out", in_folder("out"), NULL));
    const char *const keys[] = {"images", "top1", "loss", "ece", "balanced_accuracy", "macro_f1"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        ck_assert_double_eq_tol(number_of(json, keys[i]), number_of(whole, keys[i]), 1e-6);
    }
    ck_assert_double_eq(number_of(json, "skipped"), 1);
    table t = table_read(in_folder("out/predictions.csv"));
    ck_assert_uint_eq(t.rows, CLASSES * EACH + 1);
    size_t empty = 0;
    for (size_t i = 0; i < t.rows; i++) {
        bool is_empty = !*table_text(&t, i, "top1");
        ck_assert_int_eq(is_empty, strstr(table_text(&t, i, "path"), "x.png") != NULL);
        empty += is_empty;
    }
    ck_assert_uint_eq(empty, 1);
    table_free(&t);
    vit_json_free(whole);
    vit_json_free(json);
}
END_TEST

/* ---- classes ---- */

START_TEST(classes_are_matched_by_name) {
    make_val();
    /* The same function with its outputs in another order: the same figures. */
    const char *model = make_model("m", as_named, 16, 0.4),
               *other = make_model("t", turned, 16, 0.4);
    vit_json *both = eval_json(zvit("eval", model, other, in_folder("data"), "--json", NULL));
    ck_assert(vit_json_is_array(both));
    ck_assert_uint_eq(vit_json_count(both), 2);
    const char *const keys[] = {"top1", "loss", "ece", "balanced_accuracy", "macro_f1"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        ck_assert_double_eq_tol(number_of(vit_json_at(both, 0), keys[i]),
                                number_of(vit_json_at(both, 1), keys[i]), 1e-4);
    }
    ck_assert_double_gt(number_of(vit_json_at(both, 0), "top1"), 0);
    vit_json_free(both);
    /* A val of two of the classes, in another order than the model's. */
    make_pictures(in_folder("part"), "val", classes + 2, 2, 3, 16, 16, 9);
    outcome result = zvit("eval", other, in_folder("part"), "--out", in_folder("out"), NULL);
    check_code(&result, 0);
    check_has(result.err, "part/val: 2 of the 4 classes of the model have no picture");
    ck_assert_uint_eq(count_lines(result.err), 1);
    check_has(result.out, "pictures  6 in 4 classes");
    release(&result);
    table t = table_read(in_folder("out/per_class.csv"));
    for (size_t k = 0; k < CLASSES; k++) {
        bool there = turned[k] >= 2;
        ck_assert_str_eq(table_text(&t, k, "class"), classes[turned[k]]);
        ck_assert_double_eq(table_number(&t, k, "support"), there ? 3 : 0);
        ck_assert_int_eq(isnan(table_number(&t, k, "recall")) != 0, !there);
    }
    table_free(&t);
}
END_TEST

START_TEST(unknown_classes_are_refused) {
    make_val();
    const char *model = make_model("m", as_named, 16, 0.4);
    make_folders(in_folder("data/val/zebra"));
    copy_picture("rgb.png", in_folder("data/val/zebra/1.png"));
    check_failure(zvit("eval", model, in_folder("data"), NULL), "eval",
                  "data/val/zebra: not a class of the model");
    /* Of several models the message says which. */
    check_failure(zvit("eval", model, model, in_folder("data"), NULL), "eval", "m.safetensors");
    check_failure(zvit("eval", model, model, in_folder("data"), NULL), "eval", "zebra");
}
END_TEST

/* ---- several models ---- */

START_TEST(models_side_by_side) {
    make_val();
    const char *a = make_model("a", as_named, 16, 0.4), *b = make_model("b", turned, 24, 0.5);
    outcome result = zvit("eval", a, b, in_folder("data"), "--out", in_folder("out"),
                          "--results-file", in_folder("results.csv"), NULL);
    check_code(&result, 0);
    check_has(result.out, "pictures  20\n");
    check_has(result.out, "parameters     top-1     top-5     loss  balanced  macro F1");
    check_has(result.out, a);
    check_has(result.out, b);
    ck_assert_uint_eq(count_lines(result.out), 6);
    release(&result);
    ck_assert(file_exists(in_folder("out/1-a/predictions.csv")));
    ck_assert(file_exists(in_folder("out/2-b/eval.json")));
    vit_json *all, *alone = eval_json(zvit("eval", b, in_folder("data"), "--json", NULL));
    ck_vit_ok(vit_json_read(in_folder("out/eval.json"), 1 << 20, &all));
    ck_assert_uint_eq(vit_json_count(all), 2);
    ck_assert_double_eq(number_of(vit_json_at(all, 1), "loss"), number_of(alone, "loss"));
    ck_assert_double_ne(number_of(vit_json_at(all, 0), "loss"), number_of(alone, "loss"));
    table t = table_read(in_folder("results.csv"));
    ck_assert_uint_eq(t.rows, 2);
    ck_assert_str_eq(table_text(&t, 1, "model"), b);
    ck_assert_double_eq(table_number(&t, 0, "img_size"), 16);
    ck_assert_double_eq(table_number(&t, 1, "img_size"), 24);
    ck_assert_double_eq_tol(table_number(&t, 1, "top1"), number_of(alone, "top1"), 1e-4);
    ck_assert_str_eq(table_text(&t, 1, "interpolation"), "bicubic");
    table_free(&t);
    vit_json_free(all);
    vit_json_free(alone);
    /* A second call adds to the file. */
    result = zvit("eval", a, in_folder("data"), "--results-file", in_folder("results.csv"), NULL);
    check_code(&result, 0);
    release(&result);
    t = table_read(in_folder("results.csv"));
    ck_assert_uint_eq(t.rows, 3);
    table_free(&t);
}
END_TEST

/* ---- refusals ---- */

static void change_version(const char *from, const char *to) {
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(from, 1 << 24, &bytes));
    char *at = memmem(bytes.data, bytes.size, "\"zvit\":\"1\"", 10);
    ck_assert_ptr_nonnull(at);
    memcpy(at, "\"zvit\":\"9\"", 10);
    ck_vit_ok(vit_file_replace(to, bytes.data, bytes.size));
    ck_vit_ok(vit_file_replace(in_folder("cut.safetensors"), bytes.data, bytes.size - 10));
    vit_bytes_free(&bytes);
}

START_TEST(bad_models) {
    make_val();
    const char *good = make_model("m", as_named, 16, 0.4);
    char data[512];
    snprintf(data, sizeof data, "%s/data", folder);
    change_version(good, in_folder("newer.safetensors"));
    check_failure(zvit("eval", in_folder("newer.safetensors"), data, NULL), "eval", "newer");
    check_failure(zvit("eval", in_folder("cut.safetensors"), data, NULL), "eval", "cut");
    check_failure(zvit("eval", in_folder("none.safetensors"), data, NULL), "eval", "none");
    check_failure(zvit("eval", data, data, NULL), "eval", "data");
    /* A broken one behind a good one is found before anything is measured or written. */
    outcome result = zvit("eval", good, in_folder("cut.safetensors"), data, "--results-file",
                          in_folder("r.csv"), "--out", in_folder("out"), NULL);
    check_failure(result, "eval", "cut.safetensors");
    ck_assert(!file_exists(in_folder("r.csv")));
    ck_assert(!file_exists(in_folder("out")));
}
END_TEST

START_TEST(bad_data_and_places) {
    make_val();
    const char *model = make_model("m", as_named, 16, 0.4);
    make_folders(in_folder("empty/val"));
    make_folders(in_folder("hollow/val/cat"));
    check_failure(zvit("eval", model, in_folder("nodata"), NULL), "eval", "nodata");
    check_failure(zvit("eval", model, in_folder("empty"), NULL), "eval", "empty/val");
    check_failure(zvit("eval", model, in_folder("hollow"), NULL), "eval", "hollow/val/cat");
    write_text(in_folder("file"), "x");
    check_failure(zvit("eval", model, in_folder("data"), "--out", in_folder("file"), NULL), "eval",
                  "/file");
    check_failure(zvit("eval", model, in_folder("data"), "--out", in_folder("file/x"), NULL),
                  "eval", "/file");
    check_failure(zvit("eval", model, in_folder("data"), "--results-file", in_folder("file"), NULL),
                  "eval", "expected the columns model,top1");
    check_failure(
        zvit("eval", model, in_folder("data"), "--results-file", in_folder("no/r.csv"), NULL),
        "eval", "no/r.csv");
}
END_TEST

START_TEST(wrong_usage) {
    check_usage(zvit("eval", NULL), "0 arguments (expected at least two: MODEL... DATA)");
    check_usage(zvit("eval", "m", NULL), "1 argument (");
    check_usage(zvit("eval", "m", "d", "--tta", "flop", NULL),
                "--tta: flop (expected one of none, flip)");
    check_usage(zvit("eval", "m", "d", "--topk", "0", NULL), "--topk: 0");
    check_usage(zvit("eval", "m", "d", "--out", NULL), "--out");
    outcome result = zvit("eval", "--help", NULL);
    check_code(&result, 0);
    const char *const flags[] = {"MODEL... DATA", "--split",        "--batch-size", "--tta",
                                 "--out DIR",     "--results-file", "--topk"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        check_has(result.out, flags[i]);
    }
    release(&result);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("cli_eval");
    TCase *tc = tcase_create("cli_eval");
    tcase_add_checked_fixture(tc, make_folder, remove_folder);
    tcase_add_test(tc, everything_is_written_and_agrees);
    tcase_add_test(tc, batch_and_threads_do_not_show);
    tcase_add_test(tc, tta_is_the_mean_of_two_evaluations);
    tcase_add_test(tc, skipped_pictures_do_not_count);
    tcase_add_test(tc, classes_are_matched_by_name);
    tcase_add_test(tc, unknown_classes_are_refused);
    tcase_add_test(tc, models_side_by_side);
    tcase_add_test(tc, bad_models);
    tcase_add_test(tc, bad_data_and_places);
    tcase_add_test(tc, wrong_usage);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
