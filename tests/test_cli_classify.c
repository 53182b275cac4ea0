/* zvit classify as its users meet it: what it takes, the forms in which it answers, what it sorts.
 */
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/models.h"
#include "tests/support/support.h"
#include "vit/file.h"
#include "vit/model_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const two[] = {"bright", "dull"};

/* FOLDER/NAME, a model with random weights; it is sure of class `sure`, or of none when that is -1.
 */
static const char *make_model(const char *name, int classes, const char *const *names, int sure) {
    vit_model_bundle *bundle = small_model_new(&(small_model){.classes = names,
                                                              .num_classes = classes,
                                                              .img_size = 16,
                                                              .embed_dim = 24,
                                                              .depth = 1,
                                                              .num_heads = 2,
                                                              .seed = 1,
                                                              .scale = 0.05});
    if (sure >= 0) {
        bundle->params[bundle->model.head_bias + (size_t)sure] = 30;
    }
    ck_vit_ok(vit_folder_make(in_folder(name)));
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/best.safetensors", folder, name);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    vit_model_bundle_free(bundle);
    return in_folder(name);
}

/* The paths of JSON lines, each ended by a line feed; to be freed. "!" stands before one that has
 * an error. */
static char *paths_of(const char *out) {
    char *copy = strdup(out), *paths = calloc(strlen(out) + 1, 1), *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        vit_json *root = parse(line);
        strcat(paths, vit_json_get(root, "error") ? "!" : "");
        strcat(strcat(paths, string_of(root, "path")), "\n");
        vit_json_free(root);
    }
    free(copy);
    return paths;
}

static void check_paths(const char *out, const char *expected) {
    char *paths = paths_of(out);
    ck_assert_str_eq(paths, expected);
    free(paths);
}

/* ---- what it takes ---- */
START_TEST(classify_goes_on_after_a_broken_picture) {
    char good[1024], broken[1024], last[1024];
    outcome result;
    make_model("run", 2, two, -1);
    golden_path("formats/rgba.png", good);
    golden_path("formats/bad_truncated.png", broken);
    golden_path("formats/cmyk.jpg", last);
    result = zvit("classify", in_folder("run"), good, broken, in_folder("nowhere.png"), last, NULL);
    check_code(&result, 1);
    check_has(result.out, "rgba.png");
    check_has(result.out, "cmyk.jpg");
    check_has_not(result.out, "bad_truncated.png");
    check_has(result.out, "bright");
    ck_assert_uint_eq(count_lines(result.out), 4); /* two pictures, two classes */
    check_has(result.err, "zvit classify: ");
    check_has(result.err, "bad_truncated.png");
    check_has(result.err, "nowhere.png");
    ck_assert_uint_eq(count_lines(result.err), 2);
    release(&result);
}
END_TEST

/* sure: the class that must come first, or -1. */
static void check_top(const vit_json *line, const char *path, size_t topk, int sure) {
    ck_assert_str_eq(string_of(line, "path"), path);
    const vit_json *top = vit_json_get(line, "top");
    ck_assert_uint_eq(vit_json_count(top), topk);
    double before = 1, sum = 0;
    ck_assert(sure < 0 || number_of(vit_json_first(top), "index") == sure);
    for (const vit_json *entry = vit_json_first(top); entry; entry = vit_json_next(entry)) {
        double probability = number_of(entry, "probability");
        ck_assert_double_le(probability, before);
        ck_assert_str_eq(string_of(entry, "class"),
                         number_of(entry, "index") == 0 ? "bright" : "dull");
        before = probability;
        sum += probability;
    }
    ck_assert(topk < 2 || (sum > 0.9999 && sum < 1.0001));
    ck_assert_double_ge(number_of(line, "milliseconds"), 0);
}

START_TEST(classify_prints_json_lines) {
    char good[1024], broken[1024];
    outcome result;
    make_model("run", 2, two, -1);
    golden_path("formats/rgba.png", good);
    golden_path("formats/bad_empty.jpg", broken);
    make_data();
    result = zvit("classify", in_folder("run"), "--json", "-b", "2", in_folder("data/val"), broken,
                  good, NULL);
    check_code(&result, 1);
    const char *paths[] = {in_folder("data/val/bright/1.jpg"), in_folder("data/val/dull/1.png"),
                           broken, good};
    char *rest = NULL, *line = strtok_r(result.out, "\n", &rest);
    for (size_t i = 0; i < 4; i++, line = strtok_r(NULL, "\n", &rest)) {
        ck_assert_ptr_nonnull(line);
        vit_json *root = parse(line);
        if (paths[i] == broken) {
            ck_assert_str_eq(string_of(root, "path"), broken);
            check_has(string_of(root, "error"), "bad_empty.jpg");
        } else {
            check_top(root, paths[i], 2, -1);
        }
        vit_json_free(root);
    }
    ck_assert_ptr_null(line);
    release(&result);

    result = zvit("classify", in_folder("run"), "--json", "--topk", "1", good, NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    check_top(root, good, 1, -1);
    vit_json_free(root);
    release(&result);
}
END_TEST

START_TEST(names_cannot_steer_the_terminal) {
    outcome result;
    make_model("run", 2, two, -1);
    const char *path = in_folder("a\x1b[31m\xc2\x9b\xe2\x80\xae\xff.png");
    copy_picture("rgb.png", path);
    result = zvit("classify", in_folder("run"), path, NULL);
    check_code(&result, 0);
    check_has(result.out, "a?[31m???.png");
    check_has_not(result.out, "\x1b");
    release(&result);
    result = zvit("classify", in_folder("run"), in_folder("b\x1b[2J.png"), NULL);
    check_code(&result, 1);
    check_has(result.err, "b?[2J.png");
    check_has_not(result.err, "\x1b");
    release(&result);
    path = in_folder("tab\there.png");
    copy_picture("rgb.png", path);
    result = zvit("classify", in_folder("run"), "--json", path, NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    ck_assert_str_eq(string_of(root, "path"), path);
    vit_json_free(root);
    release(&result);
}
END_TEST

START_TEST(folders_are_searched_in_order) {
    make_model("run", 2, two, 0);
    ck_vit_ok(vit_folder_make(in_folder("set/b/c")));
    ck_vit_ok(vit_folder_make(in_folder("none")));
    copy_picture("rgb.png", in_folder("set/z.png"));
    copy_picture("gray.jpg", in_folder("set/b/2.JPG"));
    copy_picture("gray.jpg", in_folder("set/b/c/1.jpeg"));
    copy_picture("gray.jpg", in_folder("set/other.txt"));
    write_text(in_folder("none/notes.txt"), "no picture\n");
    outcome result =
        zvit("classify", in_folder("run"), "--json", in_folder("none"), in_folder("set/z.png"),
             in_folder("set"), in_folder("set/other.txt"), "--threads", "3", NULL);
    check_code(&result, 1);
    char expected[4096];
    snprintf(expected, sizeof expected,
             "!%s/none\n%s/set/z.png\n%s/set/b/2.JPG\n%s/set/b/c/1.jpeg\n%s/set/z.png\n"
             "%s/set/other.txt\n",
             folder, folder, folder, folder, folder, folder);
    check_paths(result.out, expected);
    check_has(result.err, "none: no picture in it");
    ck_assert_uint_eq(count_lines(result.err), 1);
    release(&result);
    check_failure(zvit("classify", in_folder("run"), in_folder("none"), NULL), "classify",
                  "none: no picture in it (expected files that end in .jpg, .jpeg or .png)");
}
END_TEST

START_TEST(lists_name_pictures) {
    char text[8192], expected[4096];
    make_model("run", 2, two, 0);
    ck_vit_ok(vit_folder_make(in_folder("set")));
    copy_picture("rgb.png", in_folder("set/a b.png"));
    copy_picture("gray.jpg", in_folder("one.jpg"));
    /* A byte order mark, CRLF, empty lines, a folder, a file that is not there, no end of line. */
    snprintf(text, sizeof text,
             "\xef\xbb\xbf%s/one.jpg\r\n\r\n\n%s/set\n%s/nowhere.png\n%s/one.jpg", folder, folder,
             folder, folder);
    write_text(in_folder("list.txt"), text);
    snprintf(expected, sizeof expected, "%s/one.jpg\n%s/set/a b.png\n!%s/nowhere.png\n%s/one.jpg\n",
             folder, folder, folder, folder);
    char list[1024];
    snprintf(list, sizeof list, "@%s", in_folder("list.txt"));
    for (int from_stdin = 0; from_stdin < 2; from_stdin++) {
        outcome result = from_stdin ? zvit_fed(in_folder("list.txt"), "classify", in_folder("run"),
                                               "--json", "@-", NULL)
                                    : zvit("classify", in_folder("run"), "--json", list, NULL);
        check_code(&result, 1);
        check_paths(result.out, expected);
        check_has(result.err, "nowhere.png");
        ck_assert_uint_eq(count_lines(result.err), 1);
        release(&result);
    }
}
END_TEST

START_TEST(lists_that_are_none) {
    char list[1024], line[8192];
    make_model("run", 2, two, 0);
    snprintf(list, sizeof list, "@%s", in_folder("list.txt"));
    check_failure(zvit("classify", in_folder("run"), list, NULL), "classify", "list.txt: ");
    write_text(in_folder("list.txt"), "\r\n\n");
    check_failure(zvit("classify", in_folder("run"), list, NULL), "classify", "names no picture");
    copy_picture("rgb.png", in_folder("list.txt"));
    check_failure(zvit("classify", in_folder("run"), list, NULL), "classify", "zero byte");
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    write_text(in_folder("list.txt"), line);
    check_failure(zvit("classify", in_folder("run"), list, NULL), "classify", "line 1: 8191 bytes");
    check_failure(zvit("classify", in_folder("run"), "@", NULL), "classify", "@: no name");
    check_failure(zvit("classify", in_folder("run"), "@-", NULL), "classify", "names no picture");
    /* A name that begins with '@' is reached by its folder. */
    copy_picture("rgb.png", in_folder("@a.png"));
    outcome result = zvit("classify", in_folder("run"), in_folder("@a.png"), NULL);
    check_code(&result, 0);
    release(&result);
}
END_TEST

START_TEST(a_picture_on_standard_input) {
    char picture[1024];
    make_model("run", 2, two, -1);
    golden_path("formats/rgb.png", picture);
    outcome fed = zvit_fed(picture, "classify", in_folder("run"), "--csv", "-", NULL);
    outcome named = zvit("classify", in_folder("run"), "--csv", picture, NULL);
    check_code(&fed, 0);
    check_code(&named, 0);
    const char *line = strchr(fed.out, '\n') + 1;
    ck_assert_msg(strncmp(line, "-,", 2) == 0, "%s", line);
    check_has(named.out, line + 1); /* the same but for the path */
    release(&fed);
    release(&named);
    check_failure(zvit("classify", in_folder("run"), "-", NULL), "classify",
                  "standard input: the file is empty");
    check_failure(zvit_fed(NULL, "classify", in_folder("run"), "-", NULL), "classify",
                  "standard input: cannot read");
    outcome twice = zvit_fed(picture, "classify", in_folder("run"), "--json", "-", "@-", NULL);
    check_code(&twice, 1);
    check_paths(twice.out, "-\n!@-\n");
    check_has(twice.err, "standard input: was read already");
    release(&twice);
}
END_TEST

/* ---- the forms ---- */
START_TEST(the_batch_does_not_show) {
    make_model("run", 2, two, -1);
    static const char *const files[] = {"rgb.png",  "gray.jpg", "bad_truncated.png",     "cmyk.jpg",
                                        "gray.png", "rgba.png", "exif_orientation_6.jpg"};
    char paths[7][1024];
    for (int i = 0; i < 7; i++) {
        char name[64];
        snprintf(name, sizeof name, "formats/%s", files[i]);
        golden_path(name, paths[i]);
    }
    char *first = NULL;
    for (int batch = 0; batch <= 8; batch += batch < 3 ? 1 : 5) {
        char size[16], threads[16];
        snprintf(size, sizeof size, "%d", batch);
        snprintf(threads, sizeof threads, "%d", batch % 3 + 1);
        outcome result =
            zvit("classify", in_folder("run"), "--csv", "-b", size, "--threads", threads, paths[0],
                 paths[1], paths[2], paths[3], paths[4], paths[5], paths[6], NULL);
        check_code(&result, 1);
        ck_assert_uint_eq(count_lines(result.out), 8);
        first = first ? first : strdup(result.out);
        ck_assert_str_eq(result.out, first);
        release(&result);
    }
    free(first);
}
END_TEST

START_TEST(csv_has_a_line_for_each) {
    static const char *const names[] = {"plain", "a, \"b\"", "c"};
    make_model("run", 3, names, 1);
    copy_picture("rgb.png", in_folder("a,b.png"));
    outcome result = zvit("classify", in_folder("run"), "--csv", "--topk", "2",
                          in_folder("a,b.png"), in_folder("none.png"), NULL);
    check_code(&result, 1);
    char *rest = NULL, start[2048];
    const char *head = strtok_r(result.out, "\n", &rest);
    ck_assert_str_eq(head, "path,prediction,top1,top1_probability,top2,top2_probability,error");
    snprintf(start, sizeof start, "\"%s/a,b.png\",\"a, \"\"b\"\"\",\"a, \"\"b\"\"\",", folder);
    const char *line = strtok_r(NULL, "\n", &rest);
    ck_assert_msg(strncmp(line, start, strlen(start)) == 0, "%s", line);
    ck_assert_double_gt(strtod(line + strlen(start), NULL), 0.99);
    snprintf(start, sizeof start, "%s/none.png,,,,,,%s/none.png: ", folder, folder);
    line = strtok_r(NULL, "\n", &rest);
    ck_assert_msg(strncmp(line, start, strlen(start)) == 0, "%s", line);
    ck_assert_ptr_null(strtok_r(NULL, "\n", &rest));
    release(&result);
}
END_TEST

START_TEST(below_the_threshold_is_unknown) {
    char picture[1024];
    golden_path("formats/rgb.png", picture);
    make_model("sure", 2, two, 1);
    make_model("unsure", 2, two, -1);
    for (int unknown = 0; unknown < 2; unknown++) {
        const char *model = unknown ? "unsure" : "sure", *said = unknown ? "unknown" : "dull";
        outcome result = zvit("classify", in_folder(model), "--threshold", "0.99", picture, NULL);
        check_code(&result, 0);
        (unknown ? check_has : check_has_not)(result.out, "rgb.png  unknown\n");
        ck_assert_uint_eq(count_lines(result.out), unknown ? 3 : 2);
        release(&result);
        result = zvit("classify", in_folder(model), "--threshold", "0.99", "--json", picture, NULL);
        check_code(&result, 0);
        vit_json *root = parse(result.out);
        ck_assert_str_eq(string_of(root, "prediction"), said);
        ck_assert_int_eq(vit_json_bool(vit_json_get(root, "unknown"), !unknown), unknown);
        check_top(root, picture, 2, unknown ? -1 : 1);
        vit_json_free(root);
        release(&result);
        result = zvit("classify", in_folder(model), "--threshold", "0.99", "--csv", picture, NULL);
        check_code(&result, 0);
        char part[64];
        snprintf(part, sizeof part, "rgb.png,%s,", said);
        check_has(result.out, part);
        release(&result);
    }
    check_usage(zvit("classify", "m", "p", "--tta", "flop", NULL), "none, flip");
    check_usage(zvit("classify", "m", "p", "--threshold", "50", NULL), "expected 0 to 1");
    check_usage(zvit("classify", "m", "p", "--csv", "--json", NULL), "expected one of them");
    check_usage(zvit("classify", "m", "p", "--sort-by", "symlink", NULL), "--sort-into");
}
END_TEST

START_TEST(mirror_images_count) {
    char picture[1024];
    golden_path("formats/rgb.png", picture);
    make_model("run", 2, two, -1);
    double best[2];
    for (int flip = 0; flip < 2; flip++) {
        outcome result = zvit("classify", in_folder("run"), "--json", "--tta",
                              flip ? "flip" : "none", picture, NULL);
        check_code(&result, 0);
        vit_json *root = parse(result.out);
        check_top(root, picture, 2, -1);
        best[flip] = number_of(vit_json_first(vit_json_get(root, "top")), "probability");
        vit_json_free(root);
        release(&result);
    }
    ck_assert(best[0] != best[1]);
}
END_TEST

START_TEST(results_that_nobody_takes) {
    make_model("run", 2, two, 0);
    make_data();
    char model[1024], data[1024];
    snprintf(model, sizeof model, "%s", in_folder("run"));
    snprintf(data, sizeof data, "%s", in_folder("data"));
    char *words[] = {"zvit", "classify", model, data, "-b", "1", NULL};
    ck_assert_int_eq(wait_for(start("/dev/full", in_folder(".err"), words)), 1);
    char *err = read_text(in_folder(".err"));
    check_has(err, "standard output: ");
    ck_assert_uint_eq(count_lines(err), 1);
    free(err);
    /* A reader that has gone away: no signal, and nothing to say. */
    int ends[2];
    char name[64];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[1]);
    pid_t child = start(name, in_folder(".err"), words);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(wait_for(child), 1);
    err = read_text(in_folder(".err"));
    ck_assert_str_eq(err, "");
    free(err);
}
END_TEST

/* ---- sorting ---- */
START_TEST(pictures_are_sorted) {
    make_model("run", 2, two, 0);
    ck_vit_ok(vit_folder_make(in_folder("in/other")));
    copy_picture("rgb.png", in_folder("in/a.png"));
    copy_picture("gray.png", in_folder("in/other/a.png"));
    copy_picture("bad_truncated.png", in_folder("in/broken.png"));
    static const char *const ways[] = {"copy", "hardlink", "symlink"};
    for (int way = 0; way < 3; way++) {
        char out[1024], name[1200];
        snprintf(out, sizeof out, "%s", in_folder(ways[way]));
        for (int again = 0; again < 2; again++) {
            outcome result = zvit("classify", in_folder("run"), in_folder("in"), "--json",
                                  "--sort-into", out, "--sort-by", ways[way], NULL);
            check_code(&result, 1); /* for the broken one, of which nothing comes */
            check_has(result.err, "2 pictures sorted into");
            snprintf(name, sizeof name, "\"sorted_to\":\"%s/bright/a%s.png\"", out,
                     again ? "-3" : "");
            check_has(result.out, name);
            release(&result);
        }
        /* in/a.png comes before in/other/a.png. */
        static const char *const names[] = {"a", "a-2", "a-3", "a-4"};
        for (int i = 0; i < 4; i++) {
            struct stat from, to;
            const char *source = in_folder(i % 2 ? "in/other/a.png" : "in/a.png");
            snprintf(name, sizeof name, "%s/bright/%s.png", out, names[i]);
            check_same_file(name, source);
            ck_assert_int_eq(lstat(name, &to), 0);
            ck_assert_int_eq(stat(source, &from), 0);
            ck_assert_int_eq(S_ISLNK(to.st_mode) != 0, way == 2);
            ck_assert_int_eq(from.st_ino == to.st_ino, way == 1);
        }
        snprintf(name, sizeof name, "%s/dull", out);
        ck_assert(!file_exists(name)); /* made when it is needed */
        snprintf(name, sizeof name, "%s/bright/broken.png", out);
        ck_assert(!file_exists(name));
    }
    ck_assert(file_exists(in_folder("in/a.png")));
}
END_TEST

START_TEST(what_is_unknown_is_sorted) {
    static const char *const names[] = {"unknown", "other"};
    char picture[1024];
    golden_path("formats/rgb.png", picture);
    make_model("sure", 2, names, 0);
    make_model("unsure", 2, names, -1);
    outcome result = zvit("classify", in_folder("unsure"), "--threshold", "0.99", "--sort-into",
                          in_folder("out"), picture, NULL);
    check_code(&result, 0);
    release(&result);
    ck_assert(file_exists(in_folder("out/unknown/rgb.png")));
    /* A class of that name goes elsewhere. */
    result = zvit("classify", in_folder("sure"), "--threshold", "0.99", "--sort-into",
                  in_folder("out"), picture, NULL);
    check_code(&result, 0);
    release(&result);
    ck_assert(file_exists(in_folder("out/unknown-2/rgb.png")));
    result = zvit_fed(picture, "classify", in_folder("sure"), "--csv", "--topk", "1", "--sort-into",
                      in_folder("out"), "-", NULL);
    check_code(&result, 0);
    check_has(result.out, "path,prediction,top1,top1_probability,sorted_to,error\n");
    check_has(result.out, "out/unknown/stdin.png,\n");
    release(&result);
    check_same_file(in_folder("out/unknown/stdin.png"), picture);
    result = zvit_fed(picture, "classify", in_folder("sure"), "--sort-by", "symlink", "--sort-into",
                      in_folder("out"), "-", NULL);
    check_code(&result, 1);
    check_has(result.out, "unknown  100.00 %");
    check_has(result.err, "standard input: is no file to link to");
    release(&result);
    write_text(in_folder("file"), "in the way");
    check_failure(
        zvit("classify", in_folder("sure"), "--sort-into", in_folder("file/x"), picture, NULL),
        "classify", "file");
}
END_TEST

/* The names of classes come from a file that may be anybody's. */
START_TEST(unsafe_names_of_classes) {
    static const char *const names[] = {"..",  "../../up",         "a/b", "a_b", ".dot",
                                        "-rf", "\x1b[31m\xc2\x9b", "a\\b"};
    static const char *const folders[] = {"_.",   "_._.._up", "a_b",     "a_b-2",
                                          "_dot", "_rf",      "_[31m__", "a_b-3"};
    char picture[1024];
    golden_path("formats/rgb.png", picture);
    for (int k = 0; k < 8; k++) {
        char path[256];
        make_model("run", 8, names, k);
        outcome result =
            zvit("classify", in_folder("run"), "--sort-into", in_folder("out/in"), picture, NULL);
        check_code(&result, 0);
        release(&result);
        snprintf(path, sizeof path, "out/in/%s/rgb.png", folders[k]);
        ck_assert_msg(file_exists(in_folder(path)), "%s", path);
    }
    ck_assert(!file_exists(in_folder("out/rgb.png")));
    ck_assert(!file_exists(in_folder("up")));
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("cli_classify");
    TCase *tc = tcase_create("classify");
    tcase_add_checked_fixture(tc, make_folder, remove_folder);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(s, tc);
    tcase_add_test(tc, classify_goes_on_after_a_broken_picture);
    tcase_add_test(tc, classify_prints_json_lines);
    tcase_add_test(tc, names_cannot_steer_the_terminal);
    tcase_add_test(tc, folders_are_searched_in_order);
    tcase_add_test(tc, lists_name_pictures);
    tcase_add_test(tc, lists_that_are_none);
    tcase_add_test(tc, a_picture_on_standard_input);
    tcase_add_test(tc, the_batch_does_not_show);
    tcase_add_test(tc, csv_has_a_line_for_each);
    tcase_add_test(tc, below_the_threshold_is_unknown);
    tcase_add_test(tc, mirror_images_count);
    tcase_add_test(tc, results_that_nobody_takes);
    tcase_add_test(tc, pictures_are_sorted);
    tcase_add_test(tc, what_is_unknown_is_sorted);
    tcase_add_test(tc, unsafe_names_of_classes);
    return s;
}

int main(void) {
    return test_run(suite());
}
