/* What a model said, from logits to files: the files are read back by other code, and every figure
 * is computed again from predictions.csv alone. */
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "support/table.h"

#include "data/csv_write.h"
#include "eval/outcome.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { K = 7, COUNT = 203, TOPK = 6, BINS = 15 };
/* Names as people and attackers give them; one is never a label, one never a prediction. */
static const char *const names[K] = {"a,b",         "say \"hi\"", "two\nlines", "=1+1",
                                     "caf\xc3\xa9", "never",      "silent"};

/* ---- a data set without pictures, and logits for it ---- */

static vit_sample samples[COUNT];
static char paths[COUNT][64];
static float logits[COUNT * K];

static bool is_left_out(size_t i) {
    return i == 3 || i == 100 || i == COUNT - 1;
}

static vit_dataset make(void) {
    static char root[] = "some/val";
    random_floats(5, COUNT * K, 2.0, logits);
    for (size_t i = 0; i < COUNT; i++) {
        int label = (int)(i * i % 11 % 5);
        snprintf(paths[i], sizeof paths[i], "some/val/%zu,\"%zu\".png", i, i);
        samples[i] = (vit_sample){.path = paths[i], .label = label};
        logits[i * K + (size_t)label] += 2;
        logits[i * K + 6] = -30;
        for (size_t k = 0; k < K && is_left_out(i); k++) {
            logits[i * K + k] = NAN;
        }
    }
    return (vit_dataset){.root = root, .samples = samples, .count = COUNT, .class_count = K};
}

static vit_outcome *create(const vit_dataset *d) {
    vit_outcome *o;
    ck_vit_ok(vit_outcome_create(d, K, names, logits, TOPK, &o));
    return o;
}

/* ---- everything again, from predictions.csv ---- */

typedef struct again {
    size_t images, confusion[K][K];
    double top1, top5, loss, ece, balanced, macro_f1;
    double bin_count[BINS], bin_confidence[BINS], bin_right[BINS];
    double precision[K], recall[K], f1[K];
} again;

static int class_of(const char *name) {
    for (int k = 0; k < K; k++) {
        if (strcmp(names[k], name) == 0) {
            return k;
        }
    }
    ck_abort_msg("'%s' is no class", name);
    return -1;
}

static void count_row(const table *t, size_t row, again *a) {
    int label = class_of(table_text(t, row, "label"));
    int first = class_of(table_text(t, row, "top1"));
    double p = table_number(t, row, "top1_probability");
    bool five = false;
    for (int j = 1; j <= 5; j++) {
        char column[16];
        snprintf(column, sizeof column, "top%d", j);
        five = five || class_of(table_text(t, row, column)) == label;
    }
    a->images++;
    a->confusion[label][first]++;
    a->top1 += label == first;
    a->top5 += five;
    a->loss -= log(table_number(t, row, "label_probability"));
    for (int b = 0; b < BINS; b++) {
        if (p > b / 15.0 && p <= (b + 1) / 15.0) {
            a->bin_count[b]++;
            a->bin_confidence[b] += p;
            a->bin_right[b] += label == first;
        }
    }
}

static void finish(again *a) {
    double recalls = 0, f1s = 0, n = (double)a->images;
    for (int k = 0; k < K; k++) {
        double row = 0, column = 0, right = (double)a->confusion[k][k];
        for (int j = 0; j < K; j++) {
            row += (double)a->confusion[k][j];
            column += (double)a->confusion[j][k];
        }
        a->precision[k] = right / column;
        a->recall[k] = right / row;
        a->f1[k] = 1 / (0.5 * ((row + column) / right));
        a->balanced += row > 0 ? a->recall[k] : 0;
        recalls += row > 0;
        a->f1[k] = right == 0 ? (row + column > 0 ? 0 : NAN) : a->f1[k];
        a->macro_f1 += row + column > 0 ? a->f1[k] : 0;
        f1s += row + column > 0;
    }
    for (int b = 0; b < BINS; b++) {
        if (a->bin_count[b] > 0) {
            a->ece +=
                a->bin_count[b] / n *
                fabs(a->bin_right[b] / a->bin_count[b] - a->bin_confidence[b] / a->bin_count[b]);
        }
    }
    a->top1 /= n / 100;
    a->top5 /= n / 100;
    a->loss /= n;
    a->balanced *= 100 / recalls;
    a->macro_f1 *= 100 / f1s;
}

static again compute_again(const char *path) {
    again a = {0};
    table t = table_read(path);
    ck_assert_uint_eq(t.rows, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        ck_assert_str_eq(table_text(&t, i, "path"), paths[i]);
        if (is_left_out(i)) {
            ck_assert_str_eq(table_text(&t, i, "top1"), "");
            ck_assert_str_eq(table_text(&t, i, "top6_probability"), "");
            ck_assert_str_eq(table_text(&t, i, "label_probability"), "");
        } else {
            count_row(&t, i, &a);
        }
    }
    table_free(&t);
    finish(&a);
    return a;
}

static void check_value(const char *what, double actual, double expected) {
    ck_assert_msg(isnan(expected) ? isnan(actual)
                                  : fabs(actual - expected) <= 1e-9 * fmax(1, fabs(expected)),
                  "%s: %.15g, expected %.15g", what, actual, expected);
}

START_TEST(figures_are_those_of_the_predictions) {
    char path[1024];
    vit_dataset d = make();
    vit_outcome *o = create(&d);
    ck_vit_ok(vit_outcome_write(o, folder));
    again a = compute_again(temp_path(path, folder, "predictions.csv"));
    const vit_metrics *m = &o->metrics;
    ck_assert_uint_eq(m->images, COUNT - 3);
    ck_assert_uint_eq(a.images, COUNT - 3);
    ck_assert_uint_eq(o->skipped, 3);
    check_value("top-1", m->top1, a.top1);
    check_value("top-5", m->top5, a.top5);
    check_value("loss", m->loss, a.loss);
    check_value("balanced accuracy", m->balanced_accuracy, a.balanced);
    check_value("macro F1", m->macro_f1, a.macro_f1);
    check_value("ECE", m->ece, a.ece);
    ck_assert(a.top1 > 20 && a.top1 < a.top5 && a.top5 < 100 && a.ece > 0.01);
    ck_assert(m->per_class[5].support == 0 && m->per_class[5].predicted > 0); /* "never" */
    ck_assert(m->per_class[6].support == 0 && m->per_class[6].predicted == 0);
    for (int b = 0; b < BINS; b++) {
        check_value("bin", (double)m->bins[b].count, a.bin_count[b]);
        check_value("confidence", m->bins[b].confidence, a.bin_confidence[b] / a.bin_count[b]);
        check_value("accuracy", m->bins[b].accuracy, a.bin_right[b] / a.bin_count[b]);
    }
    vit_outcome_free(o);
}
END_TEST

START_TEST(tables_are_those_of_the_predictions) {
    char path[1024];
    vit_dataset d = make();
    vit_outcome *o = create(&d);
    ck_vit_ok(vit_outcome_write(o, folder));
    again a = compute_again(temp_path(path, folder, "predictions.csv"));
    table t = table_read(temp_path(path, folder, "confusion_matrix.csv"));
    ck_assert_uint_eq(t.rows, K);
    ck_assert_uint_eq(t.columns, K + 1);
    for (size_t r = 0; r < K; r++) {
        ck_assert_str_eq(table_text(&t, r, "label"), names[r]);
        for (size_t c = 0; c < K; c++) {
            check_value("cell", table_number(&t, r, names[c]), (double)a.confusion[r][c]);
        }
    }
    table_free(&t);
    t = table_read(temp_path(path, folder, "per_class.csv"));
    ck_assert_uint_eq(t.rows, K);
    for (size_t k = 0; k < K; k++) {
        double support = 0, predicted = 0;
        for (size_t j = 0; j < K; j++) {
            support += (double)a.confusion[k][j];
            predicted += (double)a.confusion[j][k];
        }
        ck_assert_str_eq(table_text(&t, k, "class"), names[k]);
        check_value("support", table_number(&t, k, "support"), support);
        check_value("predicted", table_number(&t, k, "predicted"), predicted);
        check_value("right", table_number(&t, k, "right"), (double)a.confusion[k][k]);
        check_value("precision", table_number(&t, k, "precision"), 100 * a.precision[k]);
        check_value("recall", table_number(&t, k, "recall"), 100 * a.recall[k]);
        check_value("F1", table_number(&t, k, "f1"), 100 * a.f1[k]);
    }
    table_free(&t);
    vit_outcome_free(o);
}
END_TEST

/* Softmax and order by plain formulas. */
START_TEST(predictions_are_the_softmax) {
    vit_dataset d = make();
    vit_outcome *o = create(&d);
    for (size_t i = 0; i < COUNT; i++) {
        const int *top = o->top + i * TOPK;
        const double *p = o->top_probability + i * TOPK;
        double sum = 0;
        if (is_left_out(i)) {
            ck_assert(top[0] == -1 && top[TOPK - 1] == -1 && isnan(p[0]) && isnan(p[TOPK - 1]));
            ck_assert(isnan(o->label_probability[i]) && isnan(o->losses[i]));
            continue;
        }
        for (size_t k = 0; k < K; k++) {
            sum += exp((double)logits[i * K + k]);
        }
        for (size_t j = 0; j < TOPK; j++) {
            check_value("probability", p[j], exp((double)logits[i * K + (size_t)top[j]]) / sum);
            ck_assert(j == 0 || p[j] <= p[j - 1]);
        }
        double own = exp((double)logits[i * K + (size_t)samples[i].label]) / sum;
        check_value("label's", o->label_probability[i], own);
        check_value("loss", o->losses[i], -log(own));
    }
    vit_outcome_free(o);
}
END_TEST

START_TEST(json_has_the_figures) {
    char path[1024];
    vit_dataset d = make();
    vit_outcome *o = create(&d);
    vit_json *json;
    o->model = "m";
    o->data = "d";
    o->split = "val";
    ck_vit_ok(vit_outcome_write(o, folder));
    ck_vit_ok(vit_json_read(temp_path(path, folder, "eval.json"), 1 << 20, &json));
    const vit_metrics *m = &o->metrics;
    ck_assert_str_eq(vit_json_string(vit_json_get(json, "model"), ""), "m");
    ck_assert_ptr_null(vit_json_get(json, "tta"));
    ck_assert_ptr_null(vit_json_get(json, "seconds"));
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "images"), 0), COUNT - 3);
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "skipped"), 0), 3);
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "ece"), 0), m->ece);
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "loss"), 0), m->loss);
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "balanced_accuracy"), 0),
                        m->balanced_accuracy);
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "macro_f1"), 0), m->macro_f1);
    const vit_json *bins = vit_json_get(json, "reliability");
    ck_assert_uint_eq(vit_json_count(bins), BINS);
    for (size_t b = 0; b < BINS; b++) {
        const vit_json *bin = vit_json_at(bins, b);
        double count = vit_json_number(vit_json_get(bin, "images"), -1);
        ck_assert_double_eq(count, (double)m->bins[b].count);
        ck_assert_int_eq(vit_json_is_number(vit_json_get(bin, "accuracy")), count > 0);
        ck_assert_double_eq(vit_json_number(vit_json_get(bin, "to"), 0), (double)(b + 1) / 15);
    }
    vit_json_free(json);
    vit_outcome_free(o);
}
END_TEST

START_TEST(threads_do_not_show) {
    vit_dataset d = make();
    omp_set_num_threads(1);
    vit_outcome *one = create(&d);
    omp_set_num_threads(3);
    vit_outcome *three = create(&d);
    ck_assert_mem_eq(one->top, three->top, COUNT * TOPK * sizeof *one->top);
    ck_assert_mem_eq(one->losses, three->losses, COUNT * sizeof *one->losses);
    ck_assert_double_eq(one->metrics.loss, three->metrics.loss);
    ck_assert_double_eq(one->metrics.ece, three->metrics.ece);
    vit_outcome_free(one);
    vit_outcome_free(three);
}
END_TEST

START_TEST(wrong_arguments) {
    vit_dataset d = make();
    vit_outcome *o;
    ck_assert_int_eq(vit_outcome_create(&d, K, names, logits, 0, &o), VIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(o);
    ck_vit_fails(vit_outcome_create(&d, 4, names, logits, 1, &o), VIT_ERROR_ARGUMENT, "class 4");
    ck_vit_ok(vit_outcome_create(&d, K, names, logits, 1000, &o)); /* all there are */
    ck_assert_uint_eq(o->topk, K);
    char path[1024];
    write_text(temp_path(path, folder, "file"), "x");
    ck_vit_fails(vit_outcome_write(o, path), VIT_ERROR_IO, path);
    vit_outcome_free(o);
}
END_TEST

/* ---- CSV ---- */

START_TEST(csv_fields_read_back) {
    static const char *const hard[] = {"",       "plain",        ",",    "\"",
                                       "\"\"",   "a\"b,c\n",     "\r\n", " x ",
                                       "=cmd()", "\xff\xfe raw", "+-@\t"};
    enum { HARD = sizeof hard / sizeof *hard };
    char path[1024];
    vit_csv csv = {0};
    vit_csv_raw(&csv, "text,number,again");
    vit_csv_end_line(&csv);
    for (size_t i = 0; i < HARD; i++) {
        vit_csv_text(&csv, hard[i]);
        vit_csv_number(&csv, 0.1 * (double)i);
        vit_csv_text(&csv, hard[HARD - 1 - i]);
        vit_csv_end_line(&csv);
    }
    ck_vit_ok(vit_csv_save(&csv, temp_path(path, folder, "hard.csv")));
    vit_csv_free(&csv);
    table t = table_read(path);
    ck_assert_uint_eq(t.rows, HARD);
    for (size_t i = 0; i < HARD; i++) {
        ck_assert_str_eq(table_text(&t, i, "text"), hard[i]);
        ck_assert_str_eq(table_text(&t, i, "again"), hard[HARD - 1 - i]);
        ck_assert_double_eq_tol(table_number(&t, i, "number"), 0.1 * (double)i, 1e-9);
    }
    table_free(&t);
}
END_TEST

START_TEST(csv_numbers) {
    vit_csv csv = {0};
    vit_csv_number(&csv, 1e6);
    vit_csv_number(&csv, NAN);
    vit_csv_number(&csv, -INFINITY);
    vit_csv_number(&csv, -1.0 / 3);
    vit_csv_end_line(&csv);
    ck_vit_ok(csv.status);
    const char expected[] = "1000000,,,-0.3333333333\n";
    ck_assert_uint_eq(csv.text.size, sizeof expected - 1);
    ck_assert_mem_eq(csv.text.data, expected, sizeof expected - 1);
    vit_csv_free(&csv);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("outcome");
    TCase *tc = tcase_create("outcome");
    tcase_add_unchecked_fixture(tc, make_folder, remove_folder);
    tcase_add_test(tc, figures_are_those_of_the_predictions);
    tcase_add_test(tc, tables_are_those_of_the_predictions);
    tcase_add_test(tc, predictions_are_the_softmax);
    tcase_add_test(tc, json_has_the_figures);
    tcase_add_test(tc, threads_do_not_show);
    tcase_add_test(tc, wrong_arguments);
    tcase_add_test(tc, csv_fields_read_back);
    tcase_add_test(tc, csv_numbers);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
