/* Data sets from folders: what counts as a class and a picture, in which order, and what is said
 * when something is missing. */
#include "data/folder.h"
#include "data/sampler.h"
#include "support/files.h"
#include "support/pictures.h"
#include "support/support.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One folder for the program, which goes away even when a test fails, and one in it for each test.
 */
static char *base, root[1024];

static void setup_base(void) {
    base = temp_folder();
}

static void teardown_base(void) {
    temp_folder_remove(base);
    base = NULL;
}

static void setup(void) {
    temp_path(root, base, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
}

/* An empty file below root with its folders: folders are read, pictures are not opened. */
static void touch(const char *name) {
    write_text_below(root, name, "");
}

static void make_folder(const char *name) {
    char path[1024];
    make_folders(temp_path(path, root, "%s", name));
}

static void link_to(const char *target, const char *name) {
    char path[1024];
    ck_assert_int_eq(symlink(target, temp_path(path, root, "%s", name)), 0);
}

static vit_dataset *open_split(const char *split) {
    vit_dataset *d;
    ck_vit_ok(vit_dataset_open(root, split, NULL, 0, &d, NULL));
    return d;
}

static void check_sample(const vit_dataset *d, size_t i, int label, const char *path) {
    char expected[1024];
    ck_assert_uint_lt(i, d->count);
    ck_assert_str_eq(d->samples[i].path, temp_path(expected, root, "%s", path));
    ck_assert_int_eq(d->samples[i].label, label);
}

static void check_refused(const char *split, const char *const *known, size_t count,
                          vit_status status, const char *where, const char *words) {
    vit_dataset *d;
    char path[1024];
    ck_assert_int_eq(vit_dataset_open(root, split, known, count, &d, NULL), status);
    ck_assert_ptr_null(d);
    temp_path(path, root, "%s", where);
    if (!*where) {
        path[strlen(path) - 1] = 0;
    }
    ck_assert_msg(strncmp(vit_last_error(), path, strlen(path)) == 0, "%s: not about %s",
                  vit_last_error(), path);
    check_message(words);
}

START_TEST(classes_and_pictures_are_sorted_by_bytes) {
    static const char *const files[] = {"train/b/2.jpg",
                                        "train/b/10.jpg",
                                        "train/B/x.PNG",
                                        "train/a b/1.jpeg",
                                        "train/\xc3\xa9t\xc3\xa9/\xe7\x8c\xab.JPG",
                                        "train/b/a/z.png",
                                        "train/b/a-1.png"};
    for (size_t i = 0; i < 7; i++) {
        touch(files[i]);
    }
    vit_dataset *d = open_split("train");
    static const char *const classes[] = {"B", "a b", "b", "\xc3\xa9t\xc3\xa9"};
    ck_assert_uint_eq(d->class_count, 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_str_eq(d->class_names[i], classes[i]);
    }
    ck_assert_uint_eq(d->count, 7);
    check_sample(d, 0, 0, "train/B/x.PNG");
    check_sample(d, 1, 1, "train/a b/1.jpeg");
    check_sample(d, 2, 2, "train/b/10.jpg");
    check_sample(d, 3, 2, "train/b/2.jpg");
    check_sample(d, 4, 2, "train/b/a-1.png"); /* '-' is before '/' */
    check_sample(d, 5, 2, "train/b/a/z.png");
    check_sample(d, 6, 3, "train/\xc3\xa9t\xc3\xa9/\xe7\x8c\xab.JPG");
    char path[1024];
    ck_assert_str_eq(d->root, temp_path(path, root, "train"));
    vit_dataset_free(d);
}
END_TEST

START_TEST(other_files_are_left_out) {
    static const char *const files[] = {
        "train/cat/1.jpg",      "train/cat/.hidden.jpg", "train/cat/.cache/2.jpg",
        "train/cat/Thumbs.db",  "train/cat/notes.txt",   "train/cat/jpg",
        "train/cat/3.jpg.part", "train/cat/4.webp",      "train/.git/5.jpg",
        "train/directly.jpg",   "train/cat/x.jpg/6.png", /* a folder with a picture's ending */
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        touch(files[i]);
    }
    char path[1024];
    ck_assert_int_eq(mkfifo(temp_path(path, root, "train/cat/pipe.jpg"), 0600), 0);
    vit_dataset *d = open_split("train");
    ck_assert_uint_eq(d->class_count, 1); /* one class is for the trainer to judge */
    ck_assert_uint_eq(d->count, 2);
    check_sample(d, 0, 0, "train/cat/1.jpg");
    check_sample(d, 1, 0, "train/cat/x.jpg/6.png");
    vit_dataset_free(d);
}
END_TEST

START_TEST(symlinks_are_followed_but_no_loops) {
    touch("train/cat/1.jpg");
    touch("elsewhere/dogs/2.jpg");
    touch("elsewhere/3.jpg");
    link_to("../elsewhere/dogs", "train/dog");    /* a class */
    link_to("../../elsewhere", "train/cat/more"); /* a folder within a class */
    link_to("../../elsewhere/3.jpg", "train/cat/0.png");
    link_to("../cat", "train/cat/self");   /* its own class */
    link_to("..", "train/cat/up");         /* the split */
    link_to("loop.jpg", "train/cat/loop"); /* two that point at each other */
    link_to("loop", "train/cat/loop.jpg");
    link_to("gone", "train/cat/dangling");
    link_to("gone.jpg", "train/cat/dangling.jpg"); /* to be reported when it is read */
    link_to(".", "elsewhere/again");
    vit_dataset *d = open_split("train");
    ck_assert_uint_eq(d->class_count, 2);
    ck_assert_uint_eq(d->count, 7);
    check_sample(d, 0, 0, "train/cat/0.png");
    check_sample(d, 1, 0, "train/cat/1.jpg");
    check_sample(d, 2, 0, "train/cat/dangling.jpg");
    check_sample(d, 3, 0, "train/cat/loop.jpg");
    check_sample(d, 4, 0, "train/cat/more/3.jpg");
    check_sample(d, 5, 0, "train/cat/more/dogs/2.jpg");
    check_sample(d, 6, 1, "train/dog/2.jpg");
    vit_dataset_free(d);
}
END_TEST

START_TEST(a_class_that_is_the_split_itself_is_empty) {
    touch("train/cat/1.jpg");
    link_to(".", "train/loop");
    check_refused("train", NULL, 0, VIT_ERROR_FORMAT, "train/loop", "no picture in this class");
}
END_TEST

START_TEST(deep_folders_end_with_an_error) {
    char name[1024] = "train/cat";
    for (int i = 0; i < 70; i++) {
        strcat(name, "/d");
    }
    strcat(name, "/1.jpg");
    touch(name);
    check_refused("train", NULL, 0, VIT_ERROR_LIMIT, "train/cat/d/d", "within each other");
}
END_TEST

START_TEST(missing_things_are_named) {
    vit_dataset *d;
    char path[1024];
    temp_path(path, root, "nowhere");
    ck_vit_fails(vit_dataset_open(path, "train", NULL, 0, &d, NULL), VIT_ERROR_IO, path);
    check_message("No such file");
    check_message("nowhere/train/CLASS/pictures");

    check_refused("train", NULL, 0, VIT_ERROR_IO, "",
                  "no folder 'train' in it and no class folder (expected ");
    check_refused("val", NULL, 0, VIT_ERROR_IO, "",
                  "no folder 'val', 'validation' or 'test' in it");
    touch("train/1.jpg");
    check_refused("train", NULL, 0, VIT_ERROR_FORMAT, "train", "no class folder in it");
    touch("train/cat/1.jpg");
    make_folder("train/dog");
    check_refused("train", NULL, 0, VIT_ERROR_FORMAT, "train/dog", "no picture in this class");
    touch("train/dog/1.webp");
    touch("train/dog/deep/2.webp");
    check_refused("train", NULL, 0, VIT_ERROR_FORMAT, "train/dog", "2 other files, such as '");

    touch("file/train");
    temp_path(path, root, "file/train");
    ck_vit_fails(vit_dataset_open(path, "train", NULL, 0, &d, NULL), VIT_ERROR_IO,
                 "Not a directory");
}
END_TEST

START_TEST(unreadable_folders_are_named) {
    if (geteuid() == 0) {
        return; /* root reads everything */
    }
    char path[1024];
    touch("train/cat/locked/1.jpg");
    chmod(temp_path(path, root, "train/cat/locked"), 0);
    check_refused("train", NULL, 0, VIT_ERROR_IO, "train/cat/locked", "Permission denied");
    chmod(path, 0700);
}
END_TEST

START_TEST(val_is_also_called_validation) {
    ck_assert(!has_split(root, "val"));
    touch("validation/cat/1.jpg");
    ck_assert(has_split(root, "val"));
    ck_assert(has_split(root, "validation"));
    ck_assert(!has_split(root, "train"));
    vit_dataset *d = open_split("val");
    check_sample(d, 0, 0, "validation/cat/1.jpg");
    vit_dataset_free(d);
    touch("val/cat/2.jpg"); /* the name asked for goes first */
    d = open_split("val");
    check_sample(d, 0, 0, "val/cat/2.jpg");
    vit_dataset_free(d);
    touch("test/cat/3.jpg"); /* no split is special but val */
    d = open_split("test");
    check_sample(d, 0, 0, "test/cat/3.jpg");
    vit_dataset_free(d);
}
END_TEST

START_TEST(a_slash_at_the_end_changes_nothing) {
    touch("train/cat/1.jpg");
    char path[1024];
    temp_path(path, root, "%s", "");
    vit_dataset *d;
    ck_vit_ok(vit_dataset_open(path, "train", NULL, 0, &d, NULL));
    check_sample(d, 0, 0, "train/cat/1.jpg");
    vit_dataset_free(d);
}
END_TEST

/* ---- the model's classes ---- */

START_TEST(labels_follow_the_model) {
    static const char *const known[] = {"zebra", "cat", "dog", "ant"}; /* not sorted */
    touch("val/cat/1.jpg");
    touch("val/ant/2.jpg");
    touch("val/zebra/3.jpg");
    vit_dataset *d;
    size_t missing = 99;
    ck_vit_ok(vit_dataset_open(root, "val", known, 4, &d, &missing));
    ck_assert_uint_eq(missing, 1);
    ck_assert_uint_eq(d->class_count, 4);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_str_eq(d->class_names[i], known[i]);
    }
    ck_assert_uint_eq(d->count, 3);
    check_sample(d, 0, 0, "val/zebra/3.jpg");
    check_sample(d, 1, 1, "val/cat/1.jpg");
    check_sample(d, 2, 3, "val/ant/2.jpg");
    vit_dataset_free(d);
}
END_TEST

START_TEST(unknown_classes_are_refused) {
    static const char *const known[] = {"cat", "dog"};
    touch("val/cat/1.jpg");
    touch("val/cow/1.jpg");
    check_refused("val", known, 2, VIT_ERROR_FORMAT, "val/cow", "not a class of the model");
    check_refused("val", known, 0, VIT_ERROR_ARGUMENT, "val", "a model of 0 classes");
}
END_TEST

/* ---- pictures without classes ---- */

static void free_paths(char **paths, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(paths[i]);
    }
    free(paths);
}

START_TEST(pictures_are_collected) {
    touch("in/b.jpg");
    touch("in/a/c.png");
    touch("in/notes.txt");
    touch("single");
    make_folder("empty");
    char **paths = NULL, path[1024];
    size_t count = 0;
    ck_vit_ok(vit_collect_images(temp_path(path, root, "single"), &paths, &count));
    ck_vit_ok(vit_collect_images(temp_path(path, root, "empty"), &paths, &count));
    ck_vit_ok(vit_collect_images(temp_path(path, root, "in"), &paths, &count));
    ck_assert_uint_eq(count, 3);
    ck_assert_str_eq(paths[0], temp_path(path, root, "single")); /* named: taken as it is */
    ck_assert_str_eq(paths[1], temp_path(path, root, "in/a/c.png"));
    ck_assert_str_eq(paths[2], temp_path(path, root, "in/b.jpg"));
    ck_vit_fails(vit_collect_images(temp_path(path, root, "gone.jpg"), &paths, &count),
                 VIT_ERROR_IO, path);
    ck_assert_uint_eq(count, 3);
    free_paths(paths, count);
}
END_TEST

/* ---- order ---- */

START_TEST(shuffling_permutes) {
    uint32_t a[100], b[100];
    bool seen[100] = {false};
    vit_shuffle(1, 0, a, 100);
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_lt(a[i], 100);
        ck_assert(!seen[a[i]]);
        seen[a[i]] = true;
    }
    vit_shuffle(1, 0, b, 100);
    ck_assert_mem_eq(a, b, sizeof a);
    vit_shuffle(1, 1, b, 100);
    ck_assert_mem_ne(a, b, sizeof a);
    vit_shuffle(2, 0, b, 100);
    ck_assert_mem_ne(a, b, sizeof a);
    vit_shuffle(1, 0, a, 0);
    vit_shuffle(1, 0, a, 1);
    ck_assert_uint_eq(a[0], 0);
}
END_TEST

/* All 24 orders of four, 24000 draws: each 1000 times, within five standard deviations. */
START_TEST(every_order_is_as_likely) {
    int seen[256] = {0};
    for (uint32_t epoch = 0; epoch < 24000; epoch++) {
        uint32_t order[4];
        vit_shuffle(5, epoch, order, 4);
        seen[order[0] << 6 | order[1] << 4 | order[2] << 2 | order[3]]++;
    }
    int orders = 0;
    for (int i = 0; i < 256; i++) {
        orders += seen[i] != 0;
        ck_assert_msg(seen[i] == 0 || abs(seen[i] - 1000) < 155, "order %d: %d times", i, seen[i]);
    }
    ck_assert_int_eq(orders, 24);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("folder");
    TCase *c = tcase_create("folder");
    tcase_add_unchecked_fixture(c, setup_base, teardown_base);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, classes_and_pictures_are_sorted_by_bytes);
    tcase_add_test(c, other_files_are_left_out);
    tcase_add_test(c, symlinks_are_followed_but_no_loops);
    tcase_add_test(c, a_class_that_is_the_split_itself_is_empty);
    tcase_add_test(c, deep_folders_end_with_an_error);
    tcase_add_test(c, missing_things_are_named);
    tcase_add_test(c, unreadable_folders_are_named);
    tcase_add_test(c, val_is_also_called_validation);
    tcase_add_test(c, a_slash_at_the_end_changes_nothing);
    tcase_add_test(c, labels_follow_the_model);
    tcase_add_test(c, unknown_classes_are_refused);
    tcase_add_test(c, pictures_are_collected);
    suite_add_tcase(s, c);
    TCase *order = tcase_create("order");
    tcase_add_test(order, shuffling_permutes);
    tcase_add_test(order, every_order_is_as_likely);
    suite_add_tcase(s, order);
    return s;
}

int main(void) {
    return test_run(suite());
}
