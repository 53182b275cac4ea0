/* The command on data as people have them: what is wrong with it, what it looks like, how it is
 * divided. */
#include "data/image.h"
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/support.h"
#include "vit/file.h"

#include <stdio.h>
#include <string.h>

START_TEST(check_says_what_is_wrong) {
    make_data();
    outcome result = zvit("check", in_folder("data"), NULL);
    check_code(&result, 0);
    check_has(result.out, "train      6 pictures in 2 classes");
    check_has(result.out, "Nothing must be put right.");
    release(&result);
    copy_picture("rgb.png", in_folder("data/val/dull/2.png"));
    copy_picture("bad_truncated.png", in_folder("data/train/dull/4.png"));
    result = zvit("check", in_folder("data"), "--quiet", NULL);
    check_code(&result, 1);
    ck_assert_str_eq(result.err, "");
    check_has(result.out, "train/dull/4.png: ");
    check_has(result.out, "val/dull/2.png: the same as ");
    check_has(result.out, "To be put right: 1 unreadable pictures, 1 pictures that are in two");
    release(&result);
    result = zvit("check", in_folder("data"), "--json", NULL);
    check_code(&result, 1);
    vit_json *json = parse(result.out);
    ck_assert_double_eq(number_of(json, "faults"), 2);
    const vit_json *copies = vit_json_get(json, "copies");
    ck_assert_uint_eq(vit_json_count(copies), 1);
    check_has(string_of(vit_json_at(copies, 0), "same_as"), "train/bright/1.png");
    vit_json_free(json);
    release(&result);
    check_usage(zvit("check", NULL), "DATA");
    check_failure(zvit("check", in_folder("nodata"), NULL), "check", "nodata");
}
END_TEST

/* Without augmentation every version is the same, and what eval would show. */
START_TEST(preview_draws_a_sheet) {
    make_data();
    const vit_decode_options options = vit_decode_defaults();
    vit_bytes bytes = {0};
    vit_image image = {0};
    outcome result = zvit("preview", in_folder("data"), "--out", in_folder("sheet.png"), "--no-aug",
                          "--img-size", "100", "--pictures", "4", "--versions", "2", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    check_has(result.out, "4 pictures, each with 2 versions");
    release(&result);
    ck_vit_ok(vit_image_load(in_folder("sheet.png"), &options, &bytes, &image));
    ck_assert_uint_eq(image.width, 3 * 106 + 6);
    ck_assert_uint_eq(image.height, 4 * 116 + 6);
    for (size_t y = 0; y < image.height; y++) {
        const uint8_t *row = image.pixels + 3 * y * image.width;
        ck_assert_mem_eq(row + 3 * (106 + 6), row + 3 * (2 * 106 + 6), 3 * 100);
    }
    vit_bytes_free(&bytes);
    vit_image_free(&image);
    check_usage(zvit("preview", in_folder("data"), NULL), "--out");
    check_usage(zvit("preview", "--out", "x.png", NULL), "DATA");
    check_usage(zvit("preview", "d", "--out", "x.png", "--aa", "nosuch", NULL), "nosuch");
    check_usage(zvit("preview", "d", "--out", "x.jpg", NULL),
                "x.jpg: not the name of a PNG file (expected a name that ends in .png)");
    check_failure(zvit("preview", in_folder("nodata"), "--out", "x.PNG", NULL), "preview",
                  "nodata"); /* capitals are fine */
    check_failure(zvit("preview", in_folder("nodata"), "--out", in_folder("y.png"), NULL),
                  "preview", "nodata");
    ck_assert(!file_exists(in_folder("y.png")));
}
END_TEST

/* The same flag holds the same pictures out in training and in measuring; so does a list of them.
 */
START_TEST(a_share_is_held_out) {
    make_data();
    const char *train = "data/train"; /* two folders of three pictures: a set without splits */
    outcome result = zvit("train", in_folder(train), "--val-split", "0.4", "--class-order",
                          "natural", "--out", in_folder("run"), "--epochs", "1", TINY_MODEL, NULL);
    check_code(&result, 0);
    check_has_not(result.err, "warning");
    check_has(result.err, "4 pictures to train on, 2 to measure on");
    release(&result);
    result = zvit("eval", in_folder("run"), in_folder(train), "--val-split", "0.4", "--json", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    vit_json *json = parse(result.out);
    ck_assert_double_eq(number_of(json, "images"), 2);
    vit_json_free(json);
    release(&result);
    const char list[] = "path,label\ntrain/dull/1.png,dull\n\"train/bright/1.png\",bright\n";
    write_text(in_folder("data/some.csv"), list);
    result = zvit("eval", in_folder("run"), in_folder("data/some.csv"), NULL);
    check_code(&result, 0);
    check_has(result.err, "is not divided into train and val");
    check_has(result.out, "pictures  2 in 2 classes");
    release(&result);
    check_usage(zvit("train", "d", "--val-split", "1", NULL), "--val-split: 1");
    check_failure(zvit("eval", in_folder("run"), in_folder("data"), "--val-split", "0.4", NULL),
                  "eval", "data/val already");
}
END_TEST

START_TEST(unreadable_pictures_fail_or_are_skipped) {
    train_for(&(outcome){0});
    copy_picture("bad_truncated.png", in_folder("data/val/dull/2.png"));
    check_failure(zvit("eval", in_folder("run"), in_folder("data"), NULL), "eval", "2.png");
    outcome result =
        zvit("eval", in_folder("run"), in_folder("data"), "--on-error", "skip", "--json", NULL);
    check_code(&result, 0);
    check_has(result.err, "1 of 3 pictures could not be read and were left out");
    vit_json *json = parse(result.out);
    ck_assert_double_eq(number_of(json, "images"), 2);
    ck_assert_double_eq(number_of(json, "skipped"), 1);
    vit_json_free(json);
    release(&result);
    check_failure(zvit("classify", in_folder("run"), in_folder("data/val/dull/1.png"),
                       "--max-pixels", "9", NULL),
                  "classify", "expected at most 9 pixels");
}
END_TEST

/* The same model to the last bit from the folder, from a pack of it, and from memory. */
START_TEST(packs_and_the_cache_train_the_same) {
    static const char *const runs[] = {"folder", "packed", "cached"};
    char expected[64];
    make_data();
    outcome result = zvit("pack", in_folder("data"), in_folder("a.zpk"), "--json", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    vit_json *json = parse(result.out);
    ck_assert_double_eq(number_of(json, "pictures"), 8);
    ck_assert_double_eq(number_of(json, "shrunk"), 0);
    vit_json_free(json);
    release(&result);
    for (int i = 0; i < 3; i++) {
        result = zvit("train", in_folder(i == 1 ? "a.zpk" : "data"), "--out", in_folder(runs[i]),
                      "--epochs", "2", "--no-fast-decode", "--cache", i == 2 ? "ram" : "none",
                      TINY_MODEL, NULL);
        check_code(&result, 0);
        release(&result);
        snprintf(expected, sizeof expected, "%s/last.safetensors", runs[i]);
        check_same_file(in_folder(expected), in_folder("folder/last.safetensors"));
    }
    result = zvit("eval", in_folder("folder"), in_folder("a.zpk"), "--json", NULL);
    check_code(&result, 0);
    json = parse(result.out);
    ck_assert_double_eq(number_of(json, "images"), 2);
    vit_json_free(json);
    release(&result);
    result = zvit("bench", "loader", in_folder("a.zpk"), "--repeats", "1", "--threads", "2",
                  "--json", NULL);
    check_code(&result, 0);
    json = parse(result.out);
    ck_assert_uint_eq(vit_json_count(vit_json_get(json, "results")), 4);
    vit_json_free(json);
    release(&result);
    check_failure(zvit("pack", in_folder("data"), in_folder("a.tar"), NULL), "pack", "NAME.zpk");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("cli_data");
    TCase *c = tcase_create("data");
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, check_says_what_is_wrong);
    tcase_add_test(c, preview_draws_a_sheet);
    tcase_add_test(c, a_share_is_held_out);
    tcase_add_test(c, unreadable_pictures_fail_or_are_skipped);
    tcase_add_test(c, packs_and_the_cache_train_the_same);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
