/* Data sets as people have them: lists, folders without splits, held-out shares, orders of classes.
 */
#include "data/folder.h"
#include "support/files.h"
#include "support/pictures.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *base, root[1024];
static int number;

static void setup_base(void) {
    base = temp_folder();
}
static void teardown_base(void) {
    temp_folder_remove(base);
}
static void setup(void) {
    char name[1024];
    snprintf(name, sizeof name, "%s/%d-%d", base, (int)getpid(), number++);
    snprintf(root, sizeof root, "%s", name);
    make_folders(root);
}

/* count empty files FOLDER/N.png */
static void fill(const char *folder, int count) {
    for (int i = 0; i < count; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s/%d.png", folder, i);
        write_text_below(root, name, "");
    }
}

static vit_dataset_query query(const char *split, double val_split) {
    return (vit_dataset_query){.data = root, .split = split, .val_split = val_split};
}

static vit_dataset *find(const vit_dataset_query *q) {
    vit_dataset *d;
    ck_vit_ok(vit_dataset_find(q, &d, NULL));
    return d;
}

static bool has(const vit_dataset_query *q) {
    bool found;
    ck_vit_ok(vit_dataset_has(q, &found));
    return found;
}

static void check_refused(const vit_dataset_query *q, vit_status expected, const char *words) {
    vit_dataset *d = (vit_dataset *)&number;
    ck_assert_int_eq(vit_dataset_find(q, &d, NULL), expected);
    ck_assert_ptr_null(d);
    check_message(words);
}

/* The paths below root and the classes: "a/1.png=a b/2.png=b". */
static void check_samples(const vit_dataset *d, const char *expected) {
    char text[4096] = "";
    for (size_t i = 0; i < d->count; i++) {
        const char *path = d->samples[i].path;
        size_t n = strlen(root);
        path += strncmp(path, root, n) == 0 ? n + 1 : 0;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s=%s", i ? " " : "", path,
                 d->class_names[d->samples[i].label]);
    }
    ck_assert_str_eq(text, expected);
}

static void check_classes(const vit_dataset *d, const char *expected) {
    char text[4096] = "";
    for (size_t i = 0; i < d->class_count; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
                 d->class_names[i]);
    }
    ck_assert_str_eq(text, expected);
}

/* ---- lists ---- */

static const char *const lists[] = {
    "path,label\na/1.png,cat\nb/2.png,dog\n",
    "a/1.png,cat\r\nb/2.png,dog\r\n",
    "\xef\xbb\xbfpath,label\na/1.png,cat\nb/2.png,dog",
    "b/2.png,dog\n\n\na/1.png,cat\n",
    "\"a/1.png\",\"cat\"\nb/2.png,\"dog\"\n",
    "id,Class,FILENAME\n7,cat,a/1.png\n8,dog,b/2.png\n",
};

START_TEST(lists_of_every_kind) {
    write_text_below(root, "list.csv", lists[_i]);
    char path[1024];
    vit_dataset_query q = query("train", 0);
    q.data = temp_path(path, root, "list.csv");
    vit_dataset *d = find(&q);
    check_classes(d, "cat dog");
    check_samples(d, "a/1.png=cat b/2.png=dog");
    ck_assert(d->whole);
    vit_dataset_free(d);
}
END_TEST

START_TEST(quotes_and_absolute_paths) {
    write_text_below(root, "list.csv",
                     "\"a, \"\"b\"\".png\",\"c,\"\n/x/y.png,\"c,\"\nplain \"q\".png,z\n");
    char path[1024];
    vit_dataset_query q = query("train", 0);
    q.data = temp_path(path, root, "list.csv");
    vit_dataset *d = find(&q);
    check_samples(d, "a, \"b\".png=c, /x/y.png=c, plain \"q\".png=z");
    vit_dataset_free(d);
}
END_TEST

static const struct {
    const char *text, *words;
} bad_lists[] = {
    {"", "nothing in the list (expected lines path,label)"},
    {"path,label\n", "nothing in the list (expected lines path,label)"},
    {"a.png,cat\nb.png\n", "list.csv: line 2: too few columns"},
    {"a.png,cat\n\nb.png,\n", "line 3: an empty field (expected path,label)"},
    {"a.png,cat\n,dog\n", "line 2: an empty field"},
    {"a.png,\"cat\" x\n", "line 1: text behind a closing quote"},
    {"a.png,\"cat\ndog\"\n", "line 1: a line break within quotes"},
    {"a.png,\"cat", "line 1: a quote that is not closed"},
};

START_TEST(bad_lists_are_refused_with_their_line) {
    write_text_below(root, "list.csv", bad_lists[_i].text);
    char path[1024];
    vit_dataset_query q = query("train", 0);
    q.data = temp_path(path, root, "list.csv");
    check_refused(&q, VIT_ERROR_FORMAT, bad_lists[_i].words);
}
END_TEST

START_TEST(lists_cut_anywhere_never_crash) {
    static const char text[] = "\xef\xbb\xbf"
                               "path,x,label\r\n\"a \"\"1\"\".png\",,\"c\"\r\nb,,d\n";
    char path[1024];
    vit_dataset_query q = query("train", 0);
    q.data = temp_path(path, root, "list.csv");
    for (size_t n = 0; n < sizeof text; n++) {
        FILE *file = fopen(path, "wb");
        ck_assert_ptr_nonnull(file);
        fwrite(text, 1, n, file);
        fclose(file);
        vit_dataset *d;
        if (vit_dataset_find(&q, &d, NULL) != VIT_OK) {
            check_message("list.csv");
        }
        vit_dataset_free(d);
    }
}
END_TEST

START_TEST(lists_in_a_folder_go_before_folders) {
    fill("train/a", 3);
    fill("train/b", 3);
    write_text_below(root, "train.csv", "train/a/0.png,x\ntrain/b/1.png,y\n");
    write_text_below(root, "validation.csv", "train/b/2.png,y\n");
    vit_dataset_query q = query("train", 0);
    vit_dataset *d = find(&q);
    check_samples(d, "train/a/0.png=x train/b/1.png=y");
    ck_assert(!d->whole);
    vit_dataset *val;
    size_t missing;
    q.split = "val";
    q.known_classes = (const char *const *)d->class_names;
    q.known_count = d->class_count;
    ck_assert(has(&q));
    ck_vit_ok(vit_dataset_find(&q, &val, &missing));
    check_samples(val, "train/b/2.png=y");
    ck_assert_uint_eq(missing, 1);
    vit_dataset_free(val);
    write_text_below(root, "validation.csv", "train/b/2.png,z\n");
    check_refused(&q, VIT_ERROR_FORMAT, "validation.csv/z: not a class of the model");
    vit_dataset_free(d);
}
END_TEST

/* ---- folders ---- */

START_TEST(class_folders_alone_are_the_whole_set) {
    fill("a", 1);
    fill("b", 2);
    vit_dataset_query q = query("train", 0);
    vit_dataset *d = find(&q);
    check_samples(d, "a/0.png=a b/0.png=b b/1.png=b");
    ck_assert(d->whole);
    vit_dataset_free(d);
    ck_assert(has(&q));
    q.split = "val";
    ck_assert(!has(&q)); /* nothing to measure on while training */
    d = find(&q);        /* but eval measures on all */
    ck_assert_uint_eq(d->count, 3);
    vit_dataset_free(d);
    q.split = "other";
    ck_assert(!has(&q));
    check_refused(&q, VIT_ERROR_IO, "no folder 'other' in it (expected");
}
END_TEST

START_TEST(splits_by_another_name_are_no_classes) {
    fill("Training/a", 1);
    fill("valid/a", 1);
    vit_dataset_query q = query("train", 0);
    check_refused(&q, VIT_ERROR_IO, "no folder 'train' in it, but 'Training'");
}
END_TEST

START_TEST(a_val_folder_alone_is_no_training_set) {
    fill("val/a", 1);
    vit_dataset_query q = query("train", 0);
    check_refused(&q, VIT_ERROR_IO, "no folder 'train' in it");
}
END_TEST

START_TEST(test_stands_for_val) {
    fill("train/a", 2);
    fill("test/a", 1);
    vit_dataset_query q = query("val", 0);
    ck_assert(has(&q));
    vit_dataset *d = find(&q);
    check_samples(d, "test/a/0.png=a");
    vit_dataset_free(d);
    fill("validation/a", 1);
    d = find(&q);
    check_samples(d, "validation/a/0.png=a");
    vit_dataset_free(d);
}
END_TEST

/* ---- held out ---- */

static bool contains(const vit_dataset *d, const char *path) {
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->samples[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* Train and val are apart, together everything, and each class has its share. */
static void check_held_out(const vit_dataset_query *all, double share) {
    vit_dataset_query q = *all;
    vit_dataset *d = find(&q);
    q.val_split = share;
    q.split = "train";
    vit_dataset *train = find(&q);
    q.split = "val";
    ck_assert(has(&q));
    vit_dataset *val = find(&q);
    ck_assert_uint_eq(train->count + val->count, d->count);
    ck_assert(!train->whole && !val->whole);
    size_t of[2][8] = {{0}};
    for (size_t i = 0; i < d->count; i++) {
        bool held = contains(val, d->samples[i].path);
        ck_assert(held != contains(train, d->samples[i].path));
        of[held][d->samples[i].label]++;
    }
    for (size_t c = 0; c < d->class_count; c++) {
        size_t n = of[0][c] + of[1][c];
        double wanted = share * (double)n;
        ck_assert_msg(n == 1 ? of[1][c] == 0
                             : of[0][c] >= 1 && of[1][c] >= 1 &&
                                   ((double)of[1][c] <= wanted + 0.5 || of[1][c] == 1),
                      "class %zu: %zu of %zu", c, of[1][c], n);
    }
    vit_dataset_free(d);
    vit_dataset_free(train);
    vit_dataset_free(val);
}

START_TEST(a_share_of_each_class_is_held_out) {
    fill("a", 1);
    fill("b", 2);
    fill("c/deep", 10);
    fill("d", 57);
    vit_dataset_query q = query("train", 0);
    check_held_out(&q, 0.2);
    check_held_out(&q, 0.01);
    check_held_out(&q, 0.99);
    q = query("train", 0.2);
    vit_dataset *d = find(&q);
    ck_assert_uint_eq(d->count, 1 + 1 + 8 + 46);
    vit_dataset_free(d);
}
END_TEST

START_TEST(a_share_of_train_and_of_lists_is_held_out) {
    fill("train/a", 20);
    fill("train/b", 30);
    vit_dataset_query q = query("train", 0);
    check_held_out(&q, 0.3);
    char text[4096] = "", path[1024];
    for (int i = 0; i < 40; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%d.png,%c\n", i, 'x' + i % 2);
    }
    write_text_below(root, "all.csv", text);
    q.data = temp_path(path, root, "all.csv");
    check_held_out(&q, 0.25);
}
END_TEST

/* The choice is by the path relative to DATA alone: where DATA lies, how it is written and what
 * other pictures there are does not matter. */
START_TEST(the_share_is_the_same_everywhere) {
    fill("here/train/a", 40);
    fill("there/train/a", 40);
    fill("there/train/b", 7);
    char one[1024], two[1024];
    vit_dataset_query q = query("val", 0.25);
    q.data = temp_path(one, root, "here");
    vit_dataset *d = find(&q);
    q.data = temp_path(two, root, "there/");
    vit_dataset *e = find(&q);
    ck_assert_uint_eq(d->count, 10);
    ck_assert_uint_eq(e->count, 12);
    bool first_ten = true;
    for (size_t i = 0; i < d->count; i++) {
        ck_assert_str_eq(d->samples[i].path + strlen(one), e->samples[i].path + strlen(two) - 1);
        char path[1200];
        snprintf(path, sizeof path, "%s/train/a/%zu.png", one, i);
        first_ten = first_ten && contains(d, path);
    }
    ck_assert(!first_ten);
    vit_dataset_free(d);
    vit_dataset_free(e);
}
END_TEST

/* Pinned: another choice would mix what was held out into the training of old runs. */
START_TEST(the_share_never_changes) {
    fill("train/a", 12);
    vit_dataset_query q = query("val", 0.25);
    vit_dataset *d = find(&q);
    check_samples(d, "train/a/0.png=a train/a/1.png=a train/a/3.png=a");
    vit_dataset_free(d);
}
END_TEST

START_TEST(wrong_shares_are_refused) {
    fill("train/a", 2);
    vit_dataset_query q = query("train", 1);
    check_refused(&q, VIT_ERROR_ARGUMENT, "--val-split 1 (expected 0 up to");
    q.val_split = -0.1;
    check_refused(&q, VIT_ERROR_ARGUMENT, "--val-split -0.1");
    q = query("extra", 0.2);
    check_refused(&q, VIT_ERROR_ARGUMENT, "makes train and val only (asked for split 'extra')");
    fill("val/a", 2);
    q = query("train", 0.2);
    check_refused(&q, VIT_ERROR_ARGUMENT, "/val already");
    q = query("val", 0.2);
    check_refused(&q, VIT_ERROR_ARGUMENT, "/val already");
}
END_TEST

/* ---- class order ---- */

START_TEST(classes_in_every_order) {
    static const char *const names[] = {"img10", "img9", "img2b", "img02",
                                        "img2",  "Z",    "0010",  "a"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[64];
        snprintf(folder, sizeof folder, "train/%s", names[i]);
        fill(folder, 1);
    }
    vit_dataset_query q = query("train", 0);
    vit_dataset *d = find(&q);
    check_classes(d, "0010 Z a img02 img10 img2 img2b img9");
    vit_dataset_free(d);
    q.class_order = "natural";
    d = find(&q);
    check_classes(d, "0010 Z a img02 img2 img2b img9 img10");
    check_samples(d, "train/0010/0.png=0010 train/Z/0.png=Z train/a/0.png=a "
                     "train/img02/0.png=img02 train/img2/0.png=img2 train/img2b/0.png=img2b "
                     "train/img9/0.png=img9 train/img10/0.png=img10");
    vit_dataset_free(d);
    char path[1024];
    q.class_order = temp_path(path, root, "order.txt");
    write_text_below(root, "order.txt", "Z\r\nimg2b\n\nimg02\nimg2\nimg9\nimg10\na\n0010");
    d = find(&q);
    check_classes(d, "Z img2b img02 img2 img9 img10 a 0010");
    vit_dataset_free(d);
    write_text_below(root, "order.txt", "Z\nimg2b\nimg02\nimg2\nimg9\nimg10\na\n");
    check_refused(&q, VIT_ERROR_FORMAT, "class '0010' is not in --class-order");
    write_text_below(root, "order.txt", "Z\nimg2b\nimg02\nimg2\nimg9\nimg10\na\n0010\nb\n");
    check_refused(&q, VIT_ERROR_FORMAT, "1 of the 9 classes in it have no pictures");
    write_text_below(root, "order.txt", "Z\nimg2b\nimg02\nZ\nimg2\nimg9\nimg10\na\n0010\n");
    check_refused(&q, VIT_ERROR_FORMAT, "order.txt: class 'Z' is named twice");
    q.class_order = "alphabetical";
    check_refused(&q, VIT_ERROR_IO, "alphabetical");
}
END_TEST

START_TEST(empty_classes_may_be_kept) {
    fill("train/a", 1);
    char path[1024];
    make_folders(temp_path(path, root, "train/b"));
    vit_dataset_query q = query("train", 0);
    check_refused(&q, VIT_ERROR_FORMAT, "train/b: no picture in this class");
    q.keep_empty = true;
    vit_dataset *d = find(&q);
    check_classes(d, "a b");
    check_samples(d, "train/a/0.png=a");
    vit_dataset_free(d);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("dataset");
    TCase *c = tcase_create("dataset");
    tcase_add_unchecked_fixture(c, setup_base, teardown_base);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_loop_test(c, lists_of_every_kind, 0, (int)(sizeof lists / sizeof *lists));
    tcase_add_test(c, quotes_and_absolute_paths);
    tcase_add_loop_test(c, bad_lists_are_refused_with_their_line, 0,
                        (int)(sizeof bad_lists / sizeof *bad_lists));
    tcase_add_test(c, lists_cut_anywhere_never_crash);
    tcase_add_test(c, lists_in_a_folder_go_before_folders);
    tcase_add_test(c, class_folders_alone_are_the_whole_set);
    tcase_add_test(c, splits_by_another_name_are_no_classes);
    tcase_add_test(c, a_val_folder_alone_is_no_training_set);
    tcase_add_test(c, test_stands_for_val);
    tcase_add_test(c, a_share_of_each_class_is_held_out);
    tcase_add_test(c, a_share_of_train_and_of_lists_is_held_out);
    tcase_add_test(c, the_share_is_the_same_everywhere);
    tcase_add_test(c, the_share_never_changes);
    tcase_add_test(c, wrong_shares_are_refused);
    tcase_add_test(c, classes_in_every_order);
    tcase_add_test(c, empty_classes_may_be_kept);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
