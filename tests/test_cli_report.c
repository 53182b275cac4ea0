/* `zvit report`, and the report that train writes. */
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/support.h"

#include "eval/canvas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const plots[] = {"curves.png",           "curves.svg",
                                    "confusion_matrix.png", "confusion_matrix.svg",
                                    "calibration.png",      "calibration.svg"};
static const char *const tables[] = {"eval.json", "per_class.csv", "confusion_matrix.csv",
                                     "predictions.csv"};
enum { PLOTS = sizeof plots / sizeof *plots, TABLES = sizeof tables / sizeof *tables };

static bool in_run(const char *name) {
    char path[300];
    snprintf(path, sizeof path, "run/%s", name);
    return file_exists(in_folder(path));
}

static char *page_text(void) {
    return read_text(in_folder("run/report.html"));
}

START_TEST(training_writes_the_report_and_all_that_belongs_to_it) {
    outcome trained;
    train_for(&trained);
    char *page = page_text(), *machine = read_text(in_folder("run/machine.json"));
    check_has(page, "<section id=\"confusion\"");
    check_has(page, "<section id=\"samples\"");
    check_has(page, "<section id=\"settings\"");
    check_has(page, "<section id=\"machine\"");
    check_has_not(page, "still going on");
    check_has(machine, "\"cpu\"");
    for (size_t i = 0; i < TABLES; i++) {
        ck_assert_msg(in_run(tables[i]), "%s", tables[i]);
    }
    for (size_t i = 0; i < PLOTS; i++) {
        ck_assert_msg(in_run(plots[i]) == vit_canvas_available(), "%s", plots[i]);
    }
    free(machine);
    free(page);
}
END_TEST

START_TEST(report_says_the_same_as_training_did) {
    outcome trained;
    train_for(&trained);
    char *before = page_text(), *predictions = read_text(in_folder("run/predictions.csv"));
    outcome result = zvit("report", in_folder("run"), "--quiet", NULL);
    check_code(&result, 0);
    check_has(result.out, "run/report.html\n");
    ck_assert_str_eq(result.err, "");
    char *after = page_text(), *again = read_text(in_folder("run/predictions.csv"));
    ck_assert_msg(strcmp(before, after) == 0, "the pages differ"); /* too long to print */
    ck_assert_msg(strcmp(predictions, again) == 0, "the predictions differ");
    release(&result);
    free(before);
    free(after);
    free(predictions);
    free(again);
}
END_TEST

START_TEST(without_report_the_same_model_and_no_report) {
    make_data();
    outcome with = zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "2",
                        TINY_MODEL, NULL);
    check_code(&with, 0);
    outcome without = zvit("train", in_folder("data"), "--out", in_folder("run2"), "--epochs", "2",
                           "--no-report", TINY_MODEL, NULL);
    check_code(&without, 0);
    check_same_in(in_folder("run"), in_folder("run2"), "best.safetensors");
    check_same_in(in_folder("run"), in_folder("run2"), "last.safetensors");
    ck_assert(file_exists(in_folder("run/report.html")));
    ck_assert(!file_exists(in_folder("run2/report.html")));
    ck_assert(!file_exists(in_folder("run2/eval.json")));
    ck_assert(!file_exists(in_folder("run2/machine.json")));
    release(&with);
    release(&without);
}
END_TEST

/* A report that cannot be written is no reason to lose a model. */
START_TEST(training_goes_on_when_the_report_cannot_be_written) {
    make_data();
    ck_assert_int_eq(mkdir(in_folder("run"), 0700), 0);
    ck_assert_int_eq(mkdir(in_folder("run/report.html"), 0700), 0);
    outcome trained = zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "3",
                           TINY_MODEL, NULL);
    check_code(&trained, 0);
    check_has(trained.err, "warning: the report is not written: ");
    check_has(trained.err, "report.html");
    ck_assert(file_exists(in_folder("run/best.safetensors")));
    release(&trained);
}
END_TEST

START_TEST(a_resumed_run_reports_its_best_model) {
    outcome trained;
    train_for(&trained);
    char *before = read_text(in_folder("run/predictions.csv"));
    ck_assert_int_eq(unlink(in_folder("run/report.html")), 0);
    ck_assert_int_eq(unlink(in_folder("run/predictions.csv")), 0);
    /* Nothing is left to train: what the best model says has to be measured again. */
    outcome result = zvit("train", "--resume", in_folder("run"), NULL);
    check_code(&result, 0);
    char *page = page_text(), *after = read_text(in_folder("run/predictions.csv"));
    check_has(page, "<section id=\"confusion\"");
    ck_assert_msg(strcmp(before, after) == 0, "the predictions differ");
    free(before);
    free(after);
    free(page);
    release(&result);
}
END_TEST

START_TEST(the_page_goes_where_it_is_told_and_the_rest_beside_it) {
    outcome trained;
    train_for(&trained);
    ck_assert_int_eq(mkdir(in_folder("elsewhere"), 0700), 0);
    outcome result =
        zvit("report", in_folder("run"), "--out", in_folder("elsewhere/page.html"), "--json", NULL);
    check_code(&result, 0);
    vit_json *json = parse(result.out);
    ck_assert_str_eq(string_of(json, "report"), in_folder("elsewhere/page.html"));
    ck_assert(file_exists(in_folder("elsewhere/page.html")));
    ck_assert(file_exists(in_folder("elsewhere/predictions.csv")));
    vit_json_free(json);
    release(&result);
}
END_TEST

START_TEST(data_that_is_gone_is_left_out) {
    outcome trained;
    train_for(&trained);
    ck_assert_int_eq(rename(in_folder("data"), in_folder("gone")), 0);
    outcome result = zvit("report", in_folder("run"), NULL);
    check_code(&result, 0);
    check_has(result.err, "warning: without pictures and what was measured on them: ");
    ck_assert_uint_eq(count_lines(result.err), 1);
    char *page = page_text();
    check_has(page, "<section id=\"curves\"");
    check_has(page, "<section id=\"settings\"");
    check_has(page, "without pictures and what was measured on them: ");
    check_has_not(page, "<section id=\"confusion\"");
    check_has_not(page, "<section id=\"samples\"");
    free(page);
    release(&result);
}
END_TEST

START_TEST(without_val_there_are_curves_and_samples) {
    make_data();
    ck_assert_int_eq(rename(in_folder("data/val"), in_folder("val")), 0);
    outcome trained = zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "2",
                           TINY_MODEL, NULL);
    check_code(&trained, 0);
    for (int i = 0; i < 2; i++) {
        char *page = page_text();
        check_has(page, "<section id=\"curves\"");
        check_has(page, "<section id=\"samples\"");
        check_has(page, "no val to measure on");
        check_has_not(page, "<section id=\"confusion\"");
        check_has_not(page, "<section id=\"calibration\"");
        check_has_not(page, "id=\"chart-accuracy\"");
        free(page);
        outcome result = zvit("report", in_folder("run"), NULL);
        check_code(&result, 0);
        ck_assert_str_eq(result.err, "");
        release(&result);
    }
    ck_assert(!file_exists(in_folder("run/eval.json")));
    release(&trained);
}
END_TEST

START_TEST(a_run_cut_off_before_its_first_epoch) {
    outcome trained;
    train_for(&trained);
    static const char *const names[] = {"run/best.safetensors", "run/last.safetensors",
                                        "run/last.state.safetensors", "run/report.html"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_int_eq(unlink(in_folder(names[i])), 0);
    }
    char *log = read_text(in_folder("run/log.csv"));
    ck_vit_ok(vit_file_replace(in_folder("run/log.csv"), log, strcspn(log, "\n") + 1));
    outcome result = zvit("report", in_folder("run"), NULL);
    check_code(&result, 0);
    check_has(result.err, "warning: without figures of a model: the run has finished no epoch\n");
    char *page = page_text();
    check_has(page, "no epoch is finished yet");
    check_has(page, "<section id=\"samples\"");
    check_has_not(page, "<section id=\"curves\"");
    free(log);
    free(page);
    release(&result);
}
END_TEST

START_TEST(what_is_no_run_is_refused_in_one_line) {
    make_data();
    check_failure(zvit("report", in_folder("data"), NULL), "report", "holds no run");
    check_failure(zvit("report", in_folder("nowhere"), NULL), "report", "no such folder");
    check_failure(zvit("report", in_folder("data/val"), NULL), "report", "expected a folder");
    check_usage(zvit("report", NULL), "0 arguments (expected one: RUN)");
    check_usage(zvit("report", "a", "b", NULL), "2 arguments (expected one: RUN)");
    check_usage(zvit("report", "a", "--outt", "b", NULL), "--outt");
}
END_TEST

START_TEST(damaged_files_are_named) {
    outcome trained;
    train_for(&trained);
    static const char bad[] = "epoch,step\nnonsense\n";
    check_failure(zvit("report", in_folder("run"), "--out", in_folder("no/where.html"), NULL),
                  "report", "no/where.html");
    write_text(in_folder("run/log.csv"), bad);
    check_failure(zvit("report", in_folder("run"), NULL), "report", "log.csv:2: ");
    write_text(in_folder("run/last.state.safetensors"), bad);
    check_failure(zvit("report", in_folder("run"), NULL), "report", "last.state.safetensors");
}
END_TEST

START_TEST(help_tells_of_the_flags) {
    outcome result = zvit("report", "--help", NULL);
    check_code(&result, 0);
    check_has(result.out, "Usage: zvit report [FLAGS] RUN");
    check_has(result.out, "--out FILE");
    release(&result);
    result = zvit("train", "--help", NULL);
    check_has(result.out, "--[no-]report");
    release(&result);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cli_report");
    TCase *cases = tcase_create("report");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, training_writes_the_report_and_all_that_belongs_to_it);
    tcase_add_test(cases, report_says_the_same_as_training_did);
    tcase_add_test(cases, without_report_the_same_model_and_no_report);
    tcase_add_test(cases, training_goes_on_when_the_report_cannot_be_written);
    tcase_add_test(cases, a_resumed_run_reports_its_best_model);
    tcase_add_test(cases, the_page_goes_where_it_is_told_and_the_rest_beside_it);
    tcase_add_test(cases, data_that_is_gone_is_left_out);
    tcase_add_test(cases, without_val_there_are_curves_and_samples);
    tcase_add_test(cases, a_run_cut_off_before_its_first_epoch);
    tcase_add_test(cases, what_is_no_run_is_refused_in_one_line);
    tcase_add_test(cases, damaged_files_are_named);
    tcase_add_test(cases, help_tells_of_the_flags);
    suite_add_tcase(suite, cases);
    return test_run(suite);
}
