/* Names of classes and of pictures that mean harm: control characters, escape sequences, quotes,
 * commas, HTML, a leading dash, direction overrides, great length, bytes that are no text. They
 * reach terminals, CSV, JSON, pages and other programs' files; each has to show them for what they
 * are, and to give them back. */
#include "support/command.h"
#include "support/files.h"
#include "support/pictures.h"
#include "support/serve_case.h"
#include "support/support.h"
#include "support/table.h"
#include "vit/file.h"
#include "vit/model_file.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG                                                                                       \
    "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll" \
    "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll"
/* As folders may be called. */
enum { CLASSES = 11 };
static const char *const names[CLASSES] = {
    "-rf",
    "=1+1",
    "a,b",
    "back\\slash",
    "csi\xc2\x9b"
    "2J",
    "del\x7f",
    "esc\x1b[31mred\x1b[0m",
    LONG,
    "q\"uote's",
    "</script><script>alert(1)</script>" /* a folder has no '/': see folder_name */,
    "rtl\xe2\x80\xae"
    "gpj",
};
#define PICTURE "p\x1b[2J\"<b>,'\xe2\x80\xa8\xff.png"

/* '/' cannot be in a folder's name. */
static void folder_name(const char *name, char out[256]) {
    snprintf(out, 256, "%s", name);
    for (char *c = out; *c; c++) {
        *c = *c == '/' ? '|' : *c;
    }
}

static const char *make_hostile_data(void) {
    static const char *const splits[] = {"train", "val"};
    uint8_t rgb[16 * 16 * 3];
    for (int s = 0; s < 2; s++) {
        for (int k = 0; k < CLASSES; k++) {
            char name[256], path[1024];
            folder_name(names[k], name);
            snprintf(path, sizeof path, "%s/data/%s/%s", folder, splits[s], name);
            ck_vit_ok(vit_folder_make(path));
            strcat(path, "/" PICTURE);
            draw_picture(k, (uint64_t)s, 16, 16, rgb);
            write_png(path, 16, 16, rgb);
        }
    }
    return in_folder("data");
}

/* What a terminal may be sent, and what is in a file that is looked at there: text without anything
 * that steers. */
static void check_plain(const char *what, const char *text) {
    static const char *const bad[] = {"\xe2\x80\xa8", "\xe2\x80\xae", "\xc2\x9b"};
    ck_assert_msg(vit_utf8_valid(text), "%s: not UTF-8", what);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        ck_assert_msg((*c >= 0x20 && *c != 0x7f) || *c == '\n' || *c == '\t',
                      "%s: byte %02x: %.80s", what, *c, (const char *)c);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!strstr(text, bad[i]), "%s: a control character of Unicode", what);
    }
}

static outcome checked(outcome result, const char *what) {
    ck_assert_msg(result.code == 0, "%s: exit code %d: %s", what, result.code, result.err);
    check_plain(what, result.out);
    check_plain(what, result.err);
    return result;
}

static void run_plain(outcome result, const char *what) {
    checked(result, what);
    release(&result);
}

static void train_hostile(void) {
    make_hostile_data();
    run_plain(zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "1",
                   TINY_MODEL, NULL),
              "train");
}

START_TEST(terminals) {
    char picture[1024], first[256];
    train_hostile();
    folder_name(names[6], first);
    snprintf(picture, sizeof picture, "%s/data/val/%s/" PICTURE, folder, first);
    run_plain(zvit("check", in_folder("data"), NULL), "check");
    run_plain(zvit("eval", in_folder("run"), in_folder("data"), NULL), "eval");
    run_plain(zvit("classify", in_folder("run"), "--topk", "11", picture, NULL), "classify");
    run_plain(zvit("info", in_folder("run"), NULL), "info");
    run_plain(zvit("preview", in_folder("data"), "--out", in_folder("sheet.png"), NULL), "preview");
    run_plain(zvit("report", in_folder("run"), NULL), "report");
    run_plain(zvit("pack", in_folder("data"), in_folder("d.zpk"), NULL), "pack");
    run_plain(zvit("eval", in_folder("run"), in_folder("d.zpk"), NULL), "eval of a pack");
    for (int k = 0; k < CLASSES; k++) {
        char name[256], flag[300];
        folder_name(names[k], name);
        snprintf(flag, sizeof flag, "--class=%s", name);
        run_plain(
            zvit("explain", in_folder("run"), picture, "--out", in_folder("x.png"), flag, NULL),
            "explain");
    }
    /* Messages too: a class that the model does not know. */
    char *stranger = strdup(in_folder("data/val/\x1b]0;t\x07\"<i>"));
    ck_vit_ok(vit_folder_make(stranger));
    char path[1024];
    copy_picture("rgb.png", temp_path(path, stranger, "1.png"));
    outcome result = zvit("eval", in_folder("run"), in_folder("data"), NULL);
    check_code(&result, 1);
    check_plain("eval's error", result.err);
    ck_assert_uint_eq(count_lines(result.err), 1);
    release(&result);
    free(stranger);
}
END_TEST

/* Programs get the names themselves: JSON and CSV give them back. */
START_TEST(programs) {
    char name[256];
    train_hostile();
    outcome result = checked(
        zvit("eval", in_folder("run"), in_folder("data"), "--out", in_folder("e"), "--json", NULL),
        "eval --json");
    vit_json_free(parse(result.out));
    release(&result);
    table per_class = table_read(in_folder("e/per_class.csv"));
    table predictions = table_read(in_folder("e/predictions.csv"));
    ck_assert_uint_eq(per_class.rows, CLASSES);
    ck_assert_uint_eq(predictions.rows, CLASSES);
    for (size_t k = 0; k < CLASSES; k++) {
        bool found = false;
        for (size_t n = 0; n < CLASSES; n++) {
            folder_name(names[n], name);
            found = found || strcmp(table_text(&per_class, k, "class"), name) == 0;
        }
        ck_assert_msg(found, "per_class.csv: %s", table_text(&per_class, k, "class"));
        ck_assert_msg(strstr(table_text(&predictions, k, "path"), PICTURE) != NULL, "path");
    }
    table_free(&per_class);
    table_free(&predictions);
    char picture[1024];
    folder_name(names[0], name);
    snprintf(picture, sizeof picture, "%s/data/val/%s/" PICTURE, folder, name);
    result = checked(zvit("classify", in_folder("run"), "--json", "--topk", "11", picture, NULL),
                     "classify --json");
    ck_assert_uint_eq(count_lines(result.out), 1);
    vit_json *root = parse(result.out);
    ck_assert_uint_eq(vit_json_count(vit_json_get(root, "top")), CLASSES);
    vit_json_free(root);
    release(&result);
    result = checked(zvit("info", in_folder("run"), "--json", NULL), "info --json");
    vit_json_free(parse(result.out));
    release(&result);
    run_plain(
        zvit("export", in_folder("run"), "--format", "safetensors", "--out", in_folder("x"), NULL),
        "export");
    vit_json *config = NULL;
    ck_vit_ok(vit_json_read(in_folder("x/config.json"), 1 << 20, &config));
    vit_json_free(config);
}
END_TEST

/* Markup of ours only: no name opens a tag, ends the data block, or steers whoever prints the page.
 */
static void check_page(const char *what, const char *page) {
    check_plain(what, page);
    ck_assert_msg(!strstr(page, "<script>alert") && !strstr(page, "<b>,"), "%s: a tag", what);
}

START_TEST(pages) {
    train_hostile();
    char *page = read_text(in_folder("run/report.html"));
    check_page("report.html", page);
    check_has(page, "&lt;script&gt;alert(1)");
    free(page);
    static const char *const plots[] = {"run/confusion_matrix.svg", "run/curves.svg"};
    run_plain(zvit("report", in_folder("run"), NULL), "report");
    for (size_t i = 0; i < 2; i++) {
        if (file_exists(in_folder(plots[i]))) {
            char *plot = read_text(in_folder(plots[i]));
            check_page(plots[i], plot);
            free(plot);
        }
    }
}
END_TEST

START_TEST(lines_of_their_own) {
    train_hostile();
    char *classes = read_text(in_folder("run/classes.txt"));
    ck_assert_uint_eq(count_lines(classes), CLASSES);
    free(classes);
    /* The list gives the order back. */
    run_plain(zvit("train", in_folder("data"), "--out", in_folder("again"), "--epochs", "1",
                   "--class-order", in_folder("run/classes.txt"), TINY_MODEL, NULL),
              "train");
    /* A name of two lines would be two names there. */
    char path[1024];
    ck_vit_ok(vit_folder_make(in_folder("data/train/two\nlines")));
    snprintf(path, sizeof path, "%s", in_folder("data/train/two\nlines/1.png"));
    copy_picture("rgb.png", path);
    check_failure(zvit("train", in_folder("data"), "--out", in_folder("other"), TINY_MODEL, NULL),
                  "train", "two?lines");
    ck_assert(!file_exists(in_folder("other")));
}
END_TEST

/* Invalid UTF-8 in a class's name could not be kept in a model. */
START_TEST(classes_that_are_no_text) {
    make_data();
    char path[1024];
    ck_vit_ok(vit_folder_make(in_folder("data/train/caf\xe9")));
    snprintf(path, sizeof path, "%s", in_folder("data/train/caf\xe9/1.png"));
    copy_picture("rgb.png", path);
    ck_vit_ok(vit_folder_make(in_folder("data/val/caf\xe9")));
    copy_picture("rgb.png", in_folder("data/val/caf\xe9/1.png"));
    outcome result =
        zvit("train", in_folder("data"), "--out", in_folder("other"), TINY_MODEL, NULL);
    check_plain("train", result.err);
    check_failure(result, "train", "expected a name in UTF-8");
    ck_assert(!file_exists(in_folder("other")));
}
END_TEST

/* A model may come with any names, line breaks among them: shown on one line, given back whole. */
START_TEST(models_of_others) {
    static const char *const foreign[] = {"two\nlines\r\n", "tab\tand \x1b[1mbold",
                                          "</script><script>alert(1)</script>", "../../up"};
    const vit_preprocess preprocess = {VIT_BICUBIC, 1, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
    vit_config config;
    vit_model_bundle *bundle;
    char picture[1024];
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.num_classes = 4;
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, foreign, 1, &bundle));
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, in_folder("m.safetensors")));
    vit_model_bundle_free(bundle);
    snprintf(picture, sizeof picture, "%s/pic\nture.png", folder);
    copy_picture("rgb.png", picture);
    const char *model = in_folder("m.safetensors");
    outcome result = checked(zvit("classify", model, picture, NULL), "classify");
    ck_assert_uint_eq(count_lines(result.out), 4);
    check_has(result.out, "tab?and ?[1mbold");
    release(&result);
    result = checked(zvit("classify", model, "--json", picture, NULL), "classify --json");
    ck_assert_uint_eq(count_lines(result.out), 1);
    vit_json *root = parse(result.out);
    ck_assert_str_eq(string_of(root, "path"), picture);
    vit_json_free(root);
    release(&result);
    result = zvit("classify", model, "--csv", picture, NULL);
    check_code(&result, 0);
    check_has(result.out, "pic\nture.png\""); /* within quotes */
    release(&result);
    run_plain(zvit("info", model, NULL), "info");
    run_plain(zvit("explain", model, picture, "--out", in_folder("x.png"), NULL), "explain");
}
END_TEST

/* ---- the page and the answers of zvit serve ---- */

START_TEST(served) {
    train_hostile();
    ck_assert_int_eq(rename(in_folder("run"), in_folder("model")), 0);
    server s = serve_model(NULL);
    reply page = http_get(s.port, "/", "");
    ck_assert_int_eq(page.code, 200);
    check_page("the page", page.body);
    reply_free(&page);
    reply answer = http_get(s.port, "/v1/model", "");
    ck_assert_int_eq(answer.code, 200);
    check_plain("/v1/model", answer.body);
    vit_json_free(parse(answer.body));
    reply_free(&answer);
    char picture[1024], name[256];
    vit_bytes bytes = {0};
    folder_name(names[0], name);
    snprintf(picture, sizeof picture, "%s/data/val/%s/" PICTURE, folder, name);
    ck_vit_ok(vit_file_read(picture, 1 << 20, &bytes));
    answer = http_post(s.port, "/v1/classify?topk=11", "application/octet-stream", bytes.data,
                       bytes.size);
    ck_assert_int_eq(answer.code, 200);
    check_plain("/v1/classify", answer.body);
    vit_json_free(parse(answer.body));
    reply_free(&answer);
    vit_bytes_free(&bytes);
    kill(s.process, SIGTERM);
    ck_assert_int_eq(wait_for(s.process), 0);
    char *log = read_text(in_folder("log"));
    check_plain("the log", log);
    free(log);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hostile_names");
    TCase *tests = tcase_create("hostile names");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, terminals);
    tcase_add_test(tests, programs);
    tcase_add_test(tests, pages);
    tcase_add_test(tests, lines_of_their_own);
    tcase_add_test(tests, classes_that_are_no_text);
    tcase_add_test(tests, models_of_others);
    tcase_add_test(tests, served);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
