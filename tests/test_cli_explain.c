/* zvit explain: every flag, what it writes and says, and bad input. */
#include "support/command.h"
#include "support/files.h"
#include "support/models.h"
#include "support/support.h"

#include "eval/canvas.h"
#include "eval/explain.h"
#include "vit/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char model[512], picture[512], softmax[512];

/* Untrained models will do. */
static void save_model(int attn, const char *path) {
    static const char *const classes[] = {"bright", "dull", "dusk"};
    small_model_save(&(small_model){.classes = classes,
                                    .num_classes = 3,
                                    .img_size = 16,
                                    .embed_dim = 16,
                                    .depth = 2,
                                    .num_heads = 2,
                                    .attn = attn,
                                    .seed = 1,
                                    .scale = 0.3},
                     path);
}

static void setup(void) {
    make_folder();
    snprintf(model, sizeof model, "%s/zeros.safetensors", folder);
    snprintf(softmax, sizeof softmax, "%s/softmax.safetensors", folder);
    snprintf(picture, sizeof picture, "%s/picture.jpg", folder);
    save_model(VIT_ATTENTION_ZEROS, model);
    save_model(VIT_ATTENTION_SOFTMAX, softmax);
    copy_picture("baseline_420.jpg", picture);
}

static void decode(const char *path, vit_image *image) {
    const vit_decode_options options = vit_decode_defaults();
    vit_bytes bytes = {0};
    ck_vit_ok(vit_image_load(path, &options, &bytes, image));
    vit_bytes_free(&bytes);
}

static size_t colored_pixels(const char *path) {
    vit_image image = {0};
    size_t count = 0;
    decode(path, &image);
    for (size_t i = 0; i < image.width * image.height; i++) {
        const uint8_t *p = image.pixels + 3 * i;
        count += abs(p[0] - p[2]) > 40;
    }
    vit_image_free(&image);
    return count;
}

START_TEST(figure) {
    char out[512], plain[512];
    snprintf(out, sizeof out, "%s/heat.png", folder);
    snprintf(plain, sizeof plain, "%s/plain.png", folder);
    outcome result = zvit("explain", model, picture, "--out", out, "--class", "dusk", NULL);
    check_code(&result, 0);
    check_has(result.out, "class     dusk  ");
    check_has(result.out, "method    zeros-rollout\n");
    check_has(result.out, out);
    if (vit_canvas_available()) {
        ck_assert_str_eq(result.err, "");
    } else {
        check_has(result.err, "cairo");
    }
    release(&result);
    result = zvit("explain", model, picture, "-o", plain, "--class", "dusk", "--alpha", "0", NULL);
    check_code(&result, 0);
    release(&result);
    ck_assert_uint_gt(colored_pixels(out), colored_pixels(plain));
}
END_TEST

static double value_at(const vit_json *root, const char *key, size_t i) {
    return vit_json_number(vit_json_at(vit_json_get(root, key), i), (double)NAN);
}

START_TEST(numbers) {
    outcome result = zvit("explain", model, picture, "--json", "--deletion", "3", "--class", "1",
                          "--method", "gradient", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    ck_assert_str_eq(string_of(root, "class"), "dull");
    ck_assert_double_eq(number_of(root, "index"), 1);
    ck_assert_str_eq(string_of(root, "method"), "gradient");
    ck_assert_str_eq(string_of(root, "path"), picture);
    double p = number_of(root, "probability");
    ck_assert(p >= 0 && p <= 1);
    ck_assert_double_eq(value_at(root, "grid", 0), 4);
    ck_assert_double_eq(value_at(root, "grid", 1), 4);
    ck_assert_double_lt(value_at(root, "box", 0), value_at(root, "box", 2));
    ck_assert_uint_eq(vit_json_count(vit_json_get(root, "values")), 4);
    const vit_json *deletion = vit_json_get(root, "deletion");
    ck_assert(number_of(deletion, "map") >= 0 && number_of(deletion, "random") >= 0 &&
              number_of(deletion, "reversed") >= 0);
    vit_json_free(root);
    release(&result);
    result = zvit("explain", softmax, picture, "--json", "--method", "rollout", NULL);
    check_code(&result, 0);
    check_has(result.out, "\"rollout\"");
    check_has_not(result.out, "deletion");
    release(&result);
}
END_TEST

START_TEST(bad_input) {
    char out[512], text[512];
    snprintf(out, sizeof out, "%s/heat.png", folder);
    check_usage(zvit("explain", model, "--out", out, NULL), "1 argument");
    check_usage(zvit("explain", model, picture, picture, "--out", out, NULL), "3 arguments");
    check_usage(zvit("explain", model, picture, NULL), "--out");
    check_usage(zvit("explain", model, picture, "-o", "heat.gif", "--json", NULL),
                "heat.gif: not the name of a PNG file (expected a name that ends in .png)");
    check_usage(zvit("explain", model, picture, "-o", "heatpng", NULL), "ends in .png");
    check_usage(zvit("explain", model, picture, "-o", out, "--alpha", "2", NULL), "--alpha");
    check_usage(zvit("explain", model, picture, "-o", out, "--method", "lime", NULL), "gradient");
    check_usage(zvit("explain", model, picture, "-o", out, "--deletion", "-1", NULL), "--deletion");
    check_failure(zvit("explain", model, picture, "-o", out, "--class", "duxk", NULL), "explain",
                  "did you mean 'dusk'?");
    check_failure(zvit("explain", model, picture, "-o", out, "--class", "zebra", NULL), "explain",
                  "0 to 2");
    check_failure(zvit("explain", model, picture, "-o", out, "--method", "rollout", NULL),
                  "explain", "zeros-rollout, gradient");
    check_failure(zvit("explain", model, "/nowhere.png", "-o", out, NULL), "explain",
                  "/nowhere.png");
    check_failure(zvit("explain", "/nowhere.safetensors", picture, "-o", out, NULL), "explain",
                  "/nowhere.safetensors");
    snprintf(text, sizeof text, "%s/text.png", folder);
    write_text(text, "no picture");
    check_failure(zvit("explain", model, text, "-o", out, NULL), "explain", text);
    check_failure(zvit("explain", model, picture, "-o", "/nowhere/heat.png", NULL), "explain",
                  "/nowhere/heat.png");
    ck_assert(!file_exists(out));
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("cli explain");
    TCase *tc = tcase_create("explain");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, remove_folder);
    tcase_add_test(tc, figure);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, bad_input);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
