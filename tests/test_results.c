/* The table of results: timm's columns, rows appended by many at once, files that are no table. */
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "support/table.h"

#include "eval/results.h"
#include "vit/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static vit_model_bundle *make_bundle(void) {
    static const char *const classes[] = {"a", "b"};
    const vit_preprocess preprocess = {.crop_pct = 0.875,
                                       .interpolation = VIT_BILINEAR,
                                       .mean = {0.5, 0.5, 0.5},
                                       .std = {0.5, 0.5, 0.5}};
    vit_config config;
    vit_model_bundle *bundle;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.num_classes = 2;
    config.img_size[0] = 28;
    config.img_size[1] = 56;
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, classes, 0, &bundle));
    return bundle;
}

static void check_text(const char *path, const char *expected) {
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, 1 << 20, &bytes));
    ck_assert_uint_eq(bytes.size, strlen(expected));
    ck_assert_mem_eq(bytes.data, expected, bytes.size);
    vit_bytes_free(&bytes);
}

#define COLUMNS "model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation"

START_TEST(rows_as_timm_writes_them) {
    char path[1024], expected[1024];
    vit_model_bundle *bundle = make_bundle();
    double millions = (double)(size_t)((double)bundle->model.params.total / 1e4 + 0.5) / 100;
    temp_path(path, folder, "results.csv");
    ck_vit_ok(vit_results_check(path));
    ck_assert_int_ne(access(path, F_OK), 0); /* a check leaves nothing behind */
    ck_vit_ok(vit_results_append(path, "runs/a", bundle, 1000.0 / 12, 99.999999));
    int length =
        snprintf(expected, sizeof expected,
                 COLUMNS "\nruns/a,83.3333,16.6667,100,0,%g,56,0.875,bilinear\n", millions);
    check_text(path, expected);
    ck_vit_ok(vit_results_check(path));
    ck_vit_ok(vit_results_append(path, "odd, \"name\"", bundle, 0, 0));
    snprintf(expected + length, sizeof expected - (size_t)length,
             "\"odd, \"\"name\"\"\",0,100,0,100,%g,56,0.875,bilinear\n", millions);
    check_text(path, expected);
    vit_model_bundle_free(bundle);
}
END_TEST

/* Python's csv ends lines in CRLF; an editor may have left out the last end; a file may be empty.
 */
START_TEST(tables_of_others) {
    char path[1024];
    vit_model_bundle *bundle = make_bundle();
    const char *const begins[] = {COLUMNS "\r\nx,1,99,1,99,1,224,0.9,bicubic\r\n",
                                  COLUMNS "\nx,1,99,1,99,1,224,0.9,bicubic", COLUMNS, ""};
    const size_t lines[] = {3, 3, 2, 2};
    for (size_t i = 0; i < 4; i++) {
        vit_bytes bytes = {0};
        write_text(temp_path(path, folder, "other.csv"), begins[i]);
        ck_vit_ok(vit_results_check(path));
        ck_vit_ok(vit_results_append(path, "y", bundle, 50, 60));
        ck_vit_ok(vit_file_read(path, 1 << 20, &bytes));
        size_t found = 0;
        for (size_t b = 0; b < bytes.size; b++) {
            found += bytes.data[b] == '\n';
        }
        ck_assert_uint_eq(found, lines[i]);
        ck_assert_ptr_nonnull(memmem(bytes.data, bytes.size, "\ny,50,50,60,40,", 15));
        ck_assert_uint_eq(bytes.data[bytes.size - 1], '\n');
        vit_bytes_free(&bytes);
    }
    vit_model_bundle_free(bundle);
}
END_TEST

START_TEST(many_at_once) {
    enum { PROCESSES = 8, ROWS = 25 };
    char path[1024];
    vit_model_bundle *bundle = make_bundle();
    temp_path(path, folder, "shared.csv");
    for (int p = 0; p < PROCESSES; p++) {
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        for (int row = 0; child == 0 && row < ROWS; row++) {
            char name[32];
            snprintf(name, sizeof name, "%d/%d", p, row);
            if (vit_results_append(path, name, bundle, p, row) != VIT_OK) {
                _exit(1);
            }
        }
        if (child == 0) {
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    table t = table_read(path);
    ck_assert_uint_eq(t.rows, PROCESSES * ROWS);
    double sum = 0;
    for (size_t i = 0; i < t.rows; i++) {
        char name[32];
        snprintf(name, sizeof name, "%g/%g", table_number(&t, i, "top1"),
                 table_number(&t, i, "top5"));
        ck_assert_str_eq(table_text(&t, i, "model"), name);
        sum += table_number(&t, i, "top1") * ROWS + table_number(&t, i, "top5");
    }
    ck_assert_double_eq(sum, (PROCESSES * ROWS - 1) * PROCESSES * ROWS / 2.0);
    table_free(&t);
    vit_model_bundle_free(bundle);
}
END_TEST

static void refused(const char *path, const vit_model_bundle *bundle, vit_status status) {
    for (int i = 0; i < 2; i++) {
        vit_status got = i ? vit_results_append(path, "x", bundle, 1, 2) : vit_results_check(path);
        ck_assert_msg(got == status, "%s: %d: %s", path, got, vit_last_error());
        check_message(path);
    }
}

START_TEST(what_is_no_table) {
    char path[1024];
    vit_model_bundle *bundle = make_bundle();
    const char *const others[] = {"path,label\na,b\n", "model,top1\n", COLUMNS ",more\n",
                                  ("\n" COLUMNS)};
    for (size_t i = 0; i < 4; i++) {
        write_text(temp_path(path, folder, "no.csv"), others[i]);
        refused(path, bundle, VIT_ERROR_FORMAT);
        check_text(path, others[i]);
    }
    refused(folder, bundle, VIT_ERROR_IO);
    refused(temp_path(path, folder, "nothere/r.csv"), bundle, VIT_ERROR_IO);
    refused(temp_path(path, folder, "no.csv/r.csv"), bundle, VIT_ERROR_IO);
    refused("/dev/null", bundle, VIT_ERROR_IO);
    ck_assert_int_eq(mkfifo(temp_path(path, folder, "fifo"), 0600), 0);
    refused(path, bundle, VIT_ERROR_IO);
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("results");
    TCase *tc = tcase_create("results");
    tcase_add_unchecked_fixture(tc, make_folder, remove_folder);
    tcase_add_test(tc, rows_as_timm_writes_them);
    tcase_add_test(tc, tables_of_others);
    tcase_add_test(tc, many_at_once);
    tcase_add_test(tc, what_is_no_table);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
