/* The report's pieces: escaping, axes, points of curves, the log read back, and which sections a
 * page has. That it works in a browser: report_page.py. */
#include "eval/chart.h"
#include "eval/report_parts.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "vit/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

START_TEST(what_comes_from_outside_is_escaped) {
    static const char *const cases[][2] = {
        {"cat", "cat"},
        {"<script>alert(\"x\")</script>", "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"},
        {"a & 'b'", "a &amp; &#39;b&#39;"},
        {"tab\tline\n", "tab line "},
        {"\x01\x1b[31m\x7f", "\xef\xbf\xbd\xef\xbf\xbd[31m\xef\xbf\xbd"},
        {"\xff\xc3(", "\xef\xbf\xbd\xef\xbf\xbd("},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xc2\x85\xe2\x80\xae\xe2\x81\xa6", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"d\xc3\xa9j\xc3\xa0 \xe7\x8c\xab \xf0\x9f\x90\x88",
         "d\xc3\xa9j\xc3\xa0 \xe7\x8c\xab \xf0\x9f\x90\x88"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vit_text text = {0};
        vit_text_put(&text, "");
        vit_text_html(&text, cases[i][0]);
        ck_vit_ok(vit_text_check(&text, "text"));
        ck_assert_str_eq(text.data, cases[i][1]);
        vit_text_free(&text);
    }
}
END_TEST

START_TEST(long_names_are_cut_between_characters) {
    vit_text text = {0};
    vit_text_html_short(&text, "d\xc3\xa9j\xc3\xa0<vu>", 4);
    ck_assert_str_eq(text.data, "d\xc3\xa9j\xe2\x80\xa6");
    ck_assert_uint_eq(vit_text_length("d\xc3\xa9j\xc3\xa0\xff"), 5);
    vit_text_free(&text);
    vit_text_html_short(&text, "a<b>", 4);
    ck_assert_str_eq(text.data, "a&lt;b&gt;");
    vit_text_free(&text);
}
END_TEST

START_TEST(json_in_a_script_element_cannot_end_it) {
    vit_text text = {0};
    vit_json *object = vit_json_object(), *back = NULL;
    const char *name = "</script><!-- & \xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac \"quoted\"";
    vit_json_add_string(object, "name", name);
    vit_text_json(&text, object);
    ck_assert_ptr_null(strpbrk(text.data, "<>&"));
    ck_assert_ptr_null(strstr(text.data, "\xe2\x80\xa8"));
    ck_vit_ok(vit_json_parse(text.data, text.size, "page", &back));
    ck_assert_str_eq(vit_json_string(vit_json_get(back, "name"), ""), name);
    vit_json_free(back);
    vit_text_free(&text);
}
END_TEST

/* RFC 4648, section 10. */
START_TEST(base64_is_as_the_standard_has_it) {
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vit_text text = {0};
        vit_text_put(&text, "");
        vit_text_base64(&text, cases[i][0], strlen(cases[i][0]));
        ck_assert_str_eq(text.data, cases[i][1]);
        vit_text_free(&text);
    }
}
END_TEST

START_TEST(numbers_read_well) {
    vit_text text = {0};
    vit_text_count(&text, 1234567);
    vit_text_put(&text, " ");
    vit_text_count(&text, 999);
    vit_text_put(&text, " ");
    vit_text_count(&text, NAN);
    vit_text_put(&text, " ");
    vit_text_number(&text, 12.345, 1);
    vit_text_put(&text, " ");
    vit_text_duration(&text, 59.4);
    vit_text_put(&text, " ");
    vit_text_duration(&text, 185);
    vit_text_put(&text, " ");
    vit_text_duration(&text, 7384);
    ck_assert_str_eq(text.data, "1,234,567 999 \xe2\x80\x93 12.3 59 s 3:05 min 2:03:04 h");
    vit_text_free(&text);
}
END_TEST

/* ---- axes ---- */

static void check_axis(double low, double high, size_t wanted) {
    vit_axis axis = vit_axis_fit(low, high, wanted);
    double slack = 1e-9 * (high - low);
    ck_assert_msg(axis.low <= low + slack && axis.high >= high - slack, "%g..%g holds %g..%g",
                  axis.low, axis.high, low, high);
    ck_assert_uint_ge(axis.marks, 2);
    ck_assert_uint_le(axis.marks, VIT_AXIS_MARKS);
    double first = axis.step / pow(10, floor(log10(axis.step) + 1e-9));
    ck_assert_msg(fabs(first - 1) < 1e-6 || fabs(first - 2) < 1e-6 || fabs(first - 5) < 1e-6,
                  "step %g of %g..%g", axis.step, low, high);
    ck_assert_double_eq_tol(vit_axis_mark(&axis, 0), axis.low, slack);
    ck_assert_double_eq_tol(vit_axis_mark(&axis, axis.marks - 1), axis.high, slack);
    ck_assert_double_eq_tol(vit_axis_place(&axis, axis.high), 1, 1e-12);
    /* A mark's number with these decimals is the mark. */
    for (size_t i = 0; i < axis.marks; i++) {
        char text[64];
        snprintf(text, sizeof text, "%.*f", axis.decimals, vit_axis_mark(&axis, i));
        ck_assert_double_eq_tol(strtod(text, NULL), vit_axis_mark(&axis, i), 1e-6 * axis.step);
    }
}

START_TEST(axes_hold_the_data_with_round_steps) {
    vit_rng rng = vit_rng_make(3, 0, 0, VIT_RNG_TEST);
    for (int i = 0; i < 1000; i++) {
        double scale = pow(10, vit_rng_range(&rng, -6, 7));
        double low = vit_rng_range(&rng, -1, 1) * scale;
        check_axis(low, low + vit_rng_uniform(&rng) * scale + 1e-3 * scale,
                   1 + vit_rng_below(&rng, 10));
    }
    check_axis(0, 100, 4);
    check_axis(0, 0.3, 3);
    ck_assert_double_eq_tol(vit_axis_fit(0, 0.3, 3).step, 0.1, 1e-15);
}
END_TEST

START_TEST(axes_without_a_span_are_around_the_value) {
    const double values[] = {0, 5, -3, 1e-9, NAN, INFINITY};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        vit_axis axis = vit_axis_fit(values[i], values[i], 4);
        double value = isfinite(values[i]) ? values[i] : 0;
        ck_assert(axis.low < axis.high && axis.low <= value && value <= axis.high);
        ck_assert_uint_le(axis.marks, VIT_AXIS_MARKS);
    }
    ck_assert_double_ge(vit_axis_fit_whole(1, 2, 6).step, 1);
}
END_TEST

/* ---- points ---- */

START_TEST(few_points_keep_ends_and_peaks) {
    enum { COUNT = 10000, MOST = 200 };
    static double values[2 * COUNT];
    static size_t kept[MOST];
    vit_rng rng = vit_rng_make(5, 0, 0, VIT_RNG_TEST);
    for (size_t i = 0; i < 2 * COUNT; i++) {
        values[i] = i % 7 == 0 ? NAN : vit_rng_uniform(&rng);
    }
    values[1234] = 9;          /* of the first series */
    values[COUNT + 7777] = -9; /* of the second */
    size_t count = vit_downsample(values, 2, COUNT, MOST, kept);
    bool peak = false, pit = false;
    ck_assert_uint_le(count, MOST);
    ck_assert_uint_gt(count, MOST / 3);
    ck_assert_uint_eq(kept[0], 0);
    ck_assert_uint_eq(kept[count - 1], COUNT - 1);
    for (size_t i = 0; i < count; i++) {
        ck_assert(i == 0 || kept[i] > kept[i - 1]);
        peak = peak || kept[i] == 1234;
        pit = pit || kept[i] == 7777;
    }
    ck_assert(peak && pit);
}
END_TEST

START_TEST(few_enough_points_are_all_kept) {
    double values[10] = {0};
    size_t kept[10];
    for (size_t count = 0; count <= 10; count++) {
        ck_assert_uint_eq(vit_downsample(values, 1, count, 10, kept), count);
        for (size_t i = 0; i < count; i++) {
            ck_assert_uint_eq(kept[i], i);
        }
    }
}
END_TEST

/* ---- log ---- */

#define HEAD                                                                                       \
    "epoch,step,lr,train_loss,val_loss,top1,top5,images_per_second,data_wait,seconds,skipped\n"

START_TEST(a_log_is_read_by_its_heads) {
    vit_run_log log;
    ck_vit_ok(vit_run_log_parse("seconds,what,top1,val_loss,epoch\r\n2,0,50,1,1\r\n3,0,60,.9,2\n"
                                "4,0,60,.8,3\n5,0,60,.8,4\n",
                                "log", &log));
    ck_assert_uint_eq(log.count, 4);
    ck_assert_double_eq(vit_log_value(&log, 1, VIT_LOG_TOP1), 60);
    ck_assert_double_eq(vit_log_value(&log, 1, VIT_LOG_EPOCH), 2);
    ck_assert_double_nan(vit_log_value(&log, 1, VIT_LOG_LR));
    ck_assert_double_eq(log.seconds, 14);
    ck_assert_uint_eq(log.best, 2); /* lower loss, then the earlier */
    vit_run_log_free(&log);
    ck_vit_ok(vit_run_log_parse(
        HEAD "1,2,0.1,2,nan,nan,nan,5,0,1,0\n2,4,0.1,3,nan,nan,nan,5,0,1,0\n", "log", &log));
    ck_assert_uint_eq(log.best, 1); /* without val the last */
    vit_run_log_free(&log);
    ck_vit_ok(vit_run_log_parse(HEAD, "log", &log));
    ck_assert_uint_eq(log.count, 0);
    vit_run_log_free(&log);
}
END_TEST

START_TEST(a_bad_row_is_named_by_its_line) {
    static const char *const bad[] = {HEAD "1,2,3\n", HEAD "1,2,0.1,2,nan,nan,nan,5,0,1,x\n",
                                      HEAD "1,2,0.1,2,nan,nan,nan,5,0,1,0,7\n",
                                      HEAD "1,2,,2,nan,nan,nan,5,0,1,0\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vit_run_log log;
        ck_vit_fails(vit_run_log_parse(bad[i], "RUN/log.csv", &log), VIT_ERROR_FORMAT,
                     "RUN/log.csv:2:");
        ck_assert_ptr_null(log.values);
    }
}
END_TEST

/* ---- pages ---- */

/* A run's log in ROOT. */
static void write_log(size_t epochs, bool val) {
    char path[1024];
    vit_text text = {0};
    vit_text_put(&text, HEAD);
    for (size_t i = 1; i <= epochs; i++) {
        vit_text_printf(&text, "%zu,%zu,0.001,%g,", i, 10 * i, 2.0 / (double)i);
        vit_text_printf(&text, val ? "%g,50,90,100,0.1,2,0\n" : "nan,nan,nan,100,0.1,2,0\n",
                        2.5 / (double)i);
    }
    ck_vit_ok(vit_file_replace(temp_path(path, folder, "log.csv"), text.data, text.size));
    vit_text_free(&text);
}

static char *page_of(const vit_report *report) {
    char path[1024];
    vit_bytes bytes = {0};
    ck_vit_ok(vit_report_write(report, temp_path(path, folder, "page.html")));
    ck_vit_ok(vit_file_read(path, 1 << 28, &bytes));
    char *page = malloc(bytes.size + 1);
    memcpy(page, bytes.data, bytes.size);
    page[bytes.size] = 0;
    vit_bytes_free(&bytes);
    return page;
}

static void check_section(const char *page, const char *id, bool there) {
    char text[64];
    snprintf(text, sizeof text, "<section id=\"%s\"", id);
    ck_assert_msg((strstr(page, text) != NULL) == there, "section %s is %sthere", id,
                  there ? "not " : "");
    snprintf(text, sizeof text, "<a href=\"#%s\">", id);
    ck_assert_msg((strstr(page, text) != NULL) == there, "link to %s", id);
}

/* `classes` classes named by number or by `names`, `each` pictures of each, which do not exist. */
static vit_dataset *make_dataset(size_t classes, size_t each, const char *const *names) {
    vit_dataset *set = calloc(1, sizeof *set);
    set->root = strdup("DATA/val & more");
    set->class_count = classes;
    set->count = classes * each;
    set->class_names = calloc(classes, sizeof *set->class_names);
    set->samples = calloc(set->count, sizeof *set->samples);
    for (size_t k = 0; k < classes; k++) {
        char name[32];
        snprintf(name, sizeof name, "class%zu", k);
        set->class_names[k] = strdup(names ? names[k] : name);
        for (size_t i = 0; i < each; i++) {
            set->samples[k * each + i] = (vit_sample){strdup("nowhere/<i>.png"), (int)k, NULL};
        }
    }
    return set;
}

/* Random logits; with `good` the label is right most of the time. */
static vit_outcome *make_outcome(const vit_dataset *set, double good) {
    size_t K = set->class_count;
    vit_outcome *outcome = NULL;
    float *logits = random_new(7, set->count * K, 1);
    for (size_t i = 0; i < set->count; i++) {
        logits[i * K + (size_t)set->samples[i].label] += (float)good;
    }
    ck_vit_ok(
        vit_outcome_create(set, K, (const char *const *)set->class_names, logits, 3, &outcome));
    free(logits);
    return outcome;
}

START_TEST(a_page_without_anything_measured) {
    write_log(3, false);
    char *page = page_of(&(vit_report){.run = folder, .data = "DATA <b>"});
    static const char *const absent[] = {"confusion",   "classes", "mistakes", "pairs",
                                         "calibration", "samples", "settings", "machine"};
    check_section(page, "summary", true);
    check_section(page, "curves", true);
    check_section(page, "data", true);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        check_section(page, absent[i], false);
    }
    ck_assert_ptr_nonnull(strstr(page, "DATA &lt;b&gt;"));
    ck_assert_ptr_null(strstr(page, "{{"));
    ck_assert_ptr_null(strstr(page, "nan"));
    ck_assert_ptr_null(strstr(page, "id=\"chart-accuracy\""));
    free(page);
}
END_TEST

START_TEST(a_page_before_the_first_epoch) {
    write_log(0, true);
    char *page = page_of(&(vit_report){.run = folder, .note = "because <of> this"});
    check_section(page, "curves", false);
    ck_assert_ptr_nonnull(strstr(page, "because &lt;of&gt; this"));
    ck_assert_ptr_nonnull(strstr(page, "no epoch is finished"));
    free(page);
}
END_TEST

START_TEST(a_page_with_everything_measured) {
    static const char *const names[] = {"<script>alert(1)</script>", "\"quoted'", "{{css}}"};
    vit_dataset *set = make_dataset(3, 40, names);
    vit_outcome *outcome = make_outcome(set, 1);
    static const char *const present[] = {"curves", "confusion",   "classes", "mistakes",
                                          "pairs",  "calibration", "data"};
    write_log(5, true);
    char *page = page_of(&(vit_report){.run = folder, .outcome = outcome, .val = set});
    for (size_t i = 0; i < sizeof present / sizeof *present; i++) {
        check_section(page, present[i], true);
    }
    ck_assert_ptr_null(strstr(page, "<script>alert"));
    ck_assert_ptr_nonnull(strstr(page, "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>"));
    ck_assert_ptr_nonnull(strstr(page, "<bdi>&quot;quoted&#39;</bdi>"));
    ck_assert_ptr_nonnull(strstr(page, "<bdi>{{css}}</bdi>")); /* what is put in is no template */
    ck_assert_ptr_nonnull(strstr(page, "not readable"));       /* pictures that are gone */
    ck_assert_ptr_null(strstr(page, "<i>.png"));
    ck_assert_ptr_nonnull(strstr(page, "</html>"));
    free(page);
    vit_outcome_free(outcome);
    vit_dataset_free(set);
}
END_TEST

START_TEST(of_many_classes_the_most_confused_are_shown) {
    vit_dataset *set = make_dataset(300, 3, NULL);
    vit_outcome *outcome = make_outcome(set, 3);
    vit_report_view view;
    write_log(1, true);
    const vit_report report = {.run = folder, .outcome = outcome};
    ck_vit_ok(vit_report_view_open(&report, &view));
    const vit_class_metrics *m = outcome->metrics.per_class;
    size_t least = SIZE_MAX, shown = 0;
    ck_assert_uint_eq(view.matrix_count, VIT_REPORT_MATRIX_MOST);
    for (size_t i = 0; i < view.matrix_count; i++) {
        size_t k = view.matrix_classes[i];
        size_t errors = m[k].support + m[k].predicted - 2 * m[k].right;
        least = errors < least ? errors : least;
        ck_assert(i == 0 || k > view.matrix_classes[i - 1]);
    }
    for (size_t k = 0; k < 300; k++) { /* nothing that is left out has more */
        shown += m[k].support + m[k].predicted - 2 * m[k].right > least;
    }
    ck_assert_uint_lt(shown, VIT_REPORT_MATRIX_MOST);
    vit_report_view_free(&view);
    char *page = page_of(&report);
    ck_assert_ptr_nonnull(strstr(page, "Of 300 classes the 50"));
    free(page);
    vit_outcome_free(outcome);
    vit_dataset_free(set);
}
END_TEST

START_TEST(mistakes_and_pairs_are_the_worst) {
    vit_dataset *set = make_dataset(6, 50, NULL);
    vit_outcome *outcome = make_outcome(set, 1);
    vit_report_view view;
    write_log(1, true);
    const vit_report report = {.run = folder, .outcome = outcome};
    ck_vit_ok(vit_report_view_open(&report, &view));
    ck_assert_uint_eq(view.mistake_count, VIT_REPORT_MISTAKES);
    for (size_t i = 0; i < view.mistake_count; i++) {
        size_t picture = view.mistakes[i];
        ck_assert_int_ne(outcome->top[3 * picture], set->samples[picture].label);
        ck_assert(i == 0 || outcome->top_probability[3 * picture] <=
                                outcome->top_probability[3 * view.mistakes[i - 1]]);
    }
    ck_assert_uint_eq(view.pair_count, VIT_REPORT_PAIRS);
    size_t larger = 0, last = view.pairs[view.pair_count - 1].count;
    for (size_t i = 0; i < 36; i++) {
        larger += i / 6 != i % 6 && outcome->metrics.confusion[i] > last;
    }
    ck_assert_uint_lt(larger, VIT_REPORT_PAIRS);
    for (size_t p = 0; p < view.pair_count; p++) {
        const vit_confused_pair *pair = &view.pairs[p];
        ck_assert_uint_eq(pair->count,
                          outcome->metrics.confusion[pair->label * 6 + pair->prediction]);
        ck_assert(p == 0 || pair->count <= view.pairs[p - 1].count);
        ck_assert_uint_eq(view.pair_picture_counts[p], pair->count < VIT_REPORT_PAIR_PICTURES
                                                           ? pair->count
                                                           : VIT_REPORT_PAIR_PICTURES);
    }
    vit_report_view_free(&view);
    vit_outcome_free(outcome);
    vit_dataset_free(set);
}
END_TEST

START_TEST(samples_are_drawn_version_by_version) {
    static const char *const classes[] = {"one", "two", "three"};
    vit_dataset *set = NULL;
    make_pictures(folder, "train", classes, 3, 4, 20, 12, 1);
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &set, NULL));
    vit_samples_config samples = {.dataset = set,
                                  .pictures = 5,
                                  .versions = 2,
                                  .height = 8,
                                  .width = 8,
                                  .decode = vit_decode_defaults()};
    const vit_option_group groups[] = {
        {"", vit_preprocess_options, vit_preprocess_option_count, &samples.preprocess, NULL},
        {"", vit_augment_options, vit_augment_option_count, &samples.augment, NULL}};
    ck_vit_ok(vit_options_defaults(&groups[0]));
    ck_vit_ok(vit_options_defaults(&groups[1]));
    write_log(1, false);
    char *page = page_of(&(vit_report){.run = folder, .train = set, .samples = &samples});
    size_t pictures = 0;
    for (const char *at = page; (at = strstr(at, "<img ")) != NULL; at++) {
        pictures++;
    }
    ck_assert_uint_eq(pictures, 5 * 3);
    check_section(page, "samples", true);
    check_section(page, "classes", true); /* with their pictures counted */
    ck_assert_ptr_nonnull(strstr(page, "alt=\"three, as in epoch 2\""));
    free(page);
    vit_dataset_free(set);
}
END_TEST

START_TEST(a_run_without_a_log_is_an_error) {
    char path[1024], run[1024];
    const vit_report report = {.run = temp_path(run, folder, "empty")};
    make_folders(run);
    ck_vit_fails(vit_report_write(&report, temp_path(path, run, "page.html")), VIT_ERROR_IO,
                 "log.csv");
    ck_assert_uint_eq(count_entries(run), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("report");
    TCase *cases = tcase_create("pieces");
    tcase_add_test(cases, what_comes_from_outside_is_escaped);
    tcase_add_test(cases, long_names_are_cut_between_characters);
    tcase_add_test(cases, json_in_a_script_element_cannot_end_it);
    tcase_add_test(cases, base64_is_as_the_standard_has_it);
    tcase_add_test(cases, numbers_read_well);
    tcase_add_test(cases, axes_hold_the_data_with_round_steps);
    tcase_add_test(cases, axes_without_a_span_are_around_the_value);
    tcase_add_test(cases, few_points_keep_ends_and_peaks);
    tcase_add_test(cases, few_enough_points_are_all_kept);
    tcase_add_test(cases, a_log_is_read_by_its_heads);
    tcase_add_test(cases, a_bad_row_is_named_by_its_line);
    suite_add_tcase(suite, cases);
    cases = tcase_create("pages");
    tcase_add_unchecked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, a_run_without_a_log_is_an_error);
    tcase_add_test(cases, a_page_without_anything_measured);
    tcase_add_test(cases, a_page_before_the_first_epoch);
    tcase_add_test(cases, a_page_with_everything_measured);
    tcase_add_test(cases, of_many_classes_the_most_confused_are_shown);
    tcase_add_test(cases, mistakes_and_pairs_are_the_worst);
    tcase_add_test(cases, samples_are_drawn_version_by_version);
    suite_add_tcase(suite, cases);
    return test_run(suite);
}
