/* What is wrong with a data set, found by reading all of it. */
#include "data/survey.h"
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void draw(const char *name, int label, uint64_t seed, size_t width, size_t height) {
    char path[1024];
    temp_path(path, folder, "%s", name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    make_folders(path);
    *slash = '/';
    uint8_t *rgb = malloc(3 * width * height);
    ck_assert_ptr_nonnull(rgb);
    draw_picture(label, seed, width, height, rgb);
    write_png(path, width, height, rgb);
    free(rgb);
}

static void cut(const char *name, off_t size) {
    char path[1024];
    ck_assert_int_eq(truncate(temp_path(path, folder, "%s", name), size), 0);
}

static vit_survey *survey(double val_split) {
    const vit_dataset_query query = {.data = folder, .val_split = val_split};
    const vit_decode_options decode = vit_decode_defaults();
    vit_survey *s;
    ck_vit_ok(vit_survey_run(&query, &decode, NULL, NULL, &s));
    return s;
}

static const vit_survey_file *file(const vit_survey *s, const char *name) {
    char path[1024];
    temp_path(path, folder, "%s", name);
    for (size_t i = 0; i < s->file_count; i++) {
        if (strcmp(s->files[i].path, path) == 0) {
            return &s->files[i];
        }
    }
    ck_abort_msg("%s is not in the survey", name);
}

static const char *same_as(const vit_survey *s, const char *name) {
    const vit_survey_file *found = file(s, name);
    const char *path = s->files[found->same_as].path;
    return &s->files[found->same_as] == found ? "" : path + strlen(folder) + 1;
}

START_TEST(a_good_set_has_no_faults) {
    for (int c = 0; c < 2; c++) {
        for (int i = 0; i < 12; i++) {
            char name[64];
            snprintf(name, sizeof name, "train/%c/%d.png", 'a' + c, i);
            draw(name, c, (uint64_t)i, (size_t)(20 + i), 9);
        }
    }
    draw("val/b/x.png", 1, 99, 50, 10);
    vit_survey *s = survey(0);
    ck_assert_uint_eq(vit_survey_faults(s), 0);
    ck_assert_uint_eq(s->file_count, 25);
    ck_assert_uint_eq(s->class_count, 2);
    ck_assert_uint_eq(s->classes[1].counts[0], 12);
    ck_assert_uint_eq(s->classes[1].counts[1], 1);
    ck_assert(!s->classes[0].near_empty && !s->classes[1].unknown);
    ck_assert_uint_eq(s->pngs, 25);
    ck_assert_uint_eq(s->jpegs, 0);
    ck_assert_uint_eq(s->width.least, 20);
    ck_assert_uint_eq(s->width.median, 26);
    ck_assert_uint_eq(s->width.most, 50);
    ck_assert_uint_eq(s->height.median, 9);
    ck_assert_uint_eq(s->height.most, 10);
    ck_assert_double_eq(s->imbalance, 1);
    ck_assert_uint_eq(s->copies, 0);
    ck_assert_ptr_null(s->splits[2]);
    vit_survey_free(s);
}
END_TEST

START_TEST(every_fault_is_found) {
    char path[1024];
    draw("train/a/1.png", 0, 1, 10, 10);
    draw("train/a/2.png", 0, 2, 10, 10);
    draw("train/a/3.jpg", 0, 3, 10, 10); /* a PNG */
    draw("train/b/copy.png", 0, 1, 10, 10);
    draw("train/b/cut.png", 1, 4, 10, 10);
    cut("train/b/cut.png", 100);
    draw("train/b/empty.png", 1, 5, 10, 10);
    cut("train/b/empty.png", 0);
    draw("train/b/empty2.png", 1, 5, 10, 10);
    cut("train/b/empty2.png", 0);
    make_folders(temp_path(path, folder, "train/c"));
    draw("val/a/leak.png", 0, 2, 10, 10);
    draw("val/d/own.png", 3, 6, 10, 10);
    draw("test/a/leak.png", 0, 2, 10, 10);
    vit_survey *s = survey(0);
    ck_assert_uint_eq(s->file_count, 10);
    ck_assert_uint_eq(s->unreadable, 3);
    ck_assert_ptr_nonnull(strstr(file(s, "train/b/cut.png")->reason, "cut short"));
    ck_assert_ptr_nonnull(strstr(file(s, "train/b/empty.png")->reason, "the file is empty"));
    ck_assert_ptr_null(file(s, "train/a/1.png")->reason);
    ck_assert_uint_eq(s->wrong_endings, 1);
    ck_assert(file(s, "train/a/3.jpg")->wrong_ending);
    ck_assert_uint_eq(s->copies, 3);
    ck_assert_str_eq(same_as(s, "train/b/copy.png"), "train/a/1.png");
    ck_assert_str_eq(same_as(s, "val/a/leak.png"), "train/a/2.png");
    ck_assert_str_eq(same_as(s, "test/a/leak.png"), "train/a/2.png");
    ck_assert_str_eq(same_as(s, "train/b/empty2.png"), "");
    ck_assert_uint_eq(s->leaks, 2);
    ck_assert_uint_eq(s->conflicts, 1);
    ck_assert_uint_eq(s->class_count, 4);
    ck_assert_uint_eq(s->unknown_classes, 1);
    ck_assert(s->classes[3].unknown && strcmp(s->classes[3].name, "d") == 0);
    ck_assert_uint_eq(s->empty_classes, 1);
    ck_assert(s->classes[0].near_empty && !s->classes[2].near_empty);
    ck_assert_double_eq(s->imbalance, 4.0 / 3);
    ck_assert_uint_eq(vit_survey_faults(s), 3 + 2 + 1 + 1);
    vit_survey_free(s);
}
END_TEST

START_TEST(held_out_copies_leak) {
    for (int i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "a/%d.png", i);
        draw(name, 0, 7, 8, 8); /* all the same */
        snprintf(name, sizeof name, "b/%d.png", i);
        draw(name, 1, (uint64_t)i, 8, 8);
    }
    vit_survey *s = survey(0);
    ck_assert_ptr_null(s->splits[1]);
    ck_assert_uint_eq(s->copies, 19);
    ck_assert_uint_eq(s->leaks, 0);
    ck_assert_uint_eq(vit_survey_faults(s), 0);
    vit_survey_free(s);
    s = survey(0.25);
    ck_assert_uint_eq(s->splits[1]->count, 10);
    ck_assert_uint_eq(s->copies, 19);
    ck_assert_uint_eq(s->leaks, 5);
    vit_survey_free(s);
}
END_TEST

START_TEST(lists_and_single_classes) {
    draw("pics/1.png", 0, 1, 8, 8);
    write_text(temp_path((char[1024]){0}, folder, "train.csv"), "pics/1.png,a\npics/gone.png,a\n");
    vit_survey *s = survey(0);
    ck_assert_uint_eq(s->unreadable, 1);
    ck_assert_ptr_nonnull(strstr(file(s, "pics/gone.png")->reason, "No such file"));
    ck_assert_uint_eq(vit_survey_faults(s), 2); /* and one class only */
    vit_survey_free(s);
    char path[1024];
    const vit_dataset_query query = {.data = temp_path(path, folder, "train.csv")};
    const vit_decode_options decode = vit_decode_defaults();
    ck_vit_ok(vit_survey_run(&query, &decode, NULL, NULL, &s));
    ck_assert_uint_eq(s->file_count, 2); /* not once more as val or test */
    vit_survey_free(s);
    const vit_dataset_query nowhere = {.data = temp_path(path, folder, "nowhere")};
    ck_assert_int_eq(vit_survey_run(&nowhere, &decode, NULL, NULL, &s), VIT_ERROR_IO);
    ck_assert_ptr_null(s);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("survey");
    TCase *c = tcase_create("survey");
    tcase_add_checked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, a_good_set_has_no_faults);
    tcase_add_test(c, every_fault_is_found);
    tcase_add_test(c, held_out_copies_leak);
    tcase_add_test(c, lists_and_single_classes);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
