#include "eval/report.h"

#include "eval/report_parts.h"

#include "vit/arena.h"
#include "vit/embed.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const vit_embedded vit_embedded_eval_report_page_html;
extern const vit_embedded vit_embedded_eval_report_page_css;
extern const vit_embedded vit_embedded_eval_report_page_js;

/* ---- the view ---- */

void vit_report_view_free(vit_report_view *view) {
    vit_report_free_thumbnails(view);
    vit_charts_free(view->charts);
    vit_run_log_free(&view->log);
    vit_free(view->matrix_classes);
}

vit_status vit_report_view_open(const vit_report *report, vit_report_view *view) {
    char path[PATH_MAX];
    vit_status status = VIT_OK;
    *view = (vit_report_view){.report = report};
    VIT_TRY(vit_path_join(path, sizeof path, report->run, "log.csv"));
    VIT_TRY(vit_run_log_read(path, &view->log));
    VIT_TRY(vit_charts_of_log(&view->log, VIT_REPORT_POINTS, view->charts));
    VIT_TRY(vit_report_find(view));
cleanup:
    if (status != VIT_OK) {
        vit_report_view_free(view);
    }
    return status;
}

/* ---- places of the page ---- */

static bool has_curves(const vit_report_view *v) {
    return v->log.count > 0;
}
static bool has_outcome(const vit_report_view *v) {
    return v->report->outcome != NULL && v->report->outcome->metrics.images > 0;
}
static bool has_matrix(const vit_report_view *v) {
    return v->matrix_count > 0;
}
static bool is_part_of_matrix(const vit_report_view *v) {
    return v->matrix_count > 0 && v->matrix_count < v->report->outcome->K;
}
static bool has_classes(const vit_report_view *v) {
    return v->report->outcome || v->report->train;
}
static bool has_mistakes(const vit_report_view *v) {
    return v->mistake_count > 0;
}
static bool has_pairs(const vit_report_view *v) {
    return v->pair_count > 0;
}
static bool has_samples(const vit_report_view *v) {
    return v->sample_count > 0;
}
static bool has_settings(const vit_report_view *v) {
    return v->report->setting_groups > 0;
}
static bool has_machine(const vit_report_view *v) {
    return vit_json_is_object(v->report->machine);
}
static bool has_note(const vit_report_view *v) {
    return v->report->note != NULL;
}
static bool is_running(const vit_report_view *v) {
    return v->report->running;
}
static bool has_other_epoch(const vit_report_view *v) {
    return has_outcome(v) && v->report->outcome_epoch > 0 && v->log.count > 0 &&
           v->report->outcome_epoch != (int)vit_log_value(&v->log, v->log.best, VIT_LOG_EPOCH);
}

static void put_css(const vit_report_view *v, vit_text *page) {
    (void)v;
    vit_text_add(page, vit_embedded_eval_report_page_css.data,
                 vit_embedded_eval_report_page_css.size);
}
static void put_js(const vit_report_view *v, vit_text *page) {
    (void)v;
    vit_text_add(page, vit_embedded_eval_report_page_js.data,
                 vit_embedded_eval_report_page_js.size);
}
static void put_hash(const vit_embedded *file, vit_text *page) {
    unsigned char bytes[32];
    for (size_t i = 0; i < sizeof bytes; i++) {
        const char digits[3] = {file->sha256[2 * i], file->sha256[2 * i + 1], 0};
        bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    vit_text_base64(page, bytes, sizeof bytes);
}
static void put_css_hash(const vit_report_view *v, vit_text *page) {
    (void)v;
    put_hash(&vit_embedded_eval_report_page_css, page);
}
static void put_js_hash(const vit_report_view *v, vit_text *page) {
    (void)v;
    put_hash(&vit_embedded_eval_report_page_js, page);
}

/* The folder's name alone. */
static void put_run(const vit_report_view *v, vit_text *page) {
    char copy[PATH_MAX];
    strncpy(copy, v->report->run, sizeof copy - 1);
    copy[sizeof copy - 1] = 0;
    size_t length = strlen(copy);
    while (length > 1 && copy[length - 1] == '/') {
        copy[--length] = 0;
    }
    const char *slash = strrchr(copy, '/');
    vit_text_html(page, slash && slash[1] ? slash + 1 : copy);
}
static void put_path(const vit_report_view *v, vit_text *page) {
    vit_text_html(page, v->report->run);
}
static void put_architecture(const vit_report_view *v, vit_text *page) {
    vit_text_html(page, v->report->architecture ? v->report->architecture : "");
}
static void put_data_name(const vit_report_view *v, vit_text *page) {
    vit_text_html(page, v->report->data ? v->report->data : "");
}
static void put_note(const vit_report_view *v, vit_text *page) {
    vit_text_html(page, v->report->note);
}
static void put_version(const vit_report_view *v, vit_text *page) {
    (void)v;
    vit_text_html(page, vit_version());
}
static void put_outcome_epoch(const vit_report_view *v, vit_text *page) {
    vit_text_printf(page, "%d", v->report->outcome_epoch);
}
static void put_matrix_count(const vit_report_view *v, vit_text *page) {
    vit_text_printf(page, "%zu", v->matrix_count);
}
static void put_class_count(const vit_report_view *v, vit_text *page) {
    vit_text_count(page, (double)v->report->outcome->K);
}

/* Where a name stands in page.html: {{name}} is replaced by what put writes; what is between
 * {{#name}} and {{/name}} stays only if has says so. */
static const struct {
    const char *name;
    bool (*has)(const vit_report_view *view);
    void (*put)(const vit_report_view *view, vit_text *page);
} places[] = {
    {"css", NULL, put_css},
    {"css_hash", NULL, put_css_hash},
    {"js", NULL, put_js},
    {"js_hash", NULL, put_js_hash},
    {"values", NULL, vit_report_values},
    {"run", NULL, put_run},
    {"path", NULL, put_path},
    {"architecture", NULL, put_architecture},
    {"data_name", NULL, put_data_name},
    {"version", NULL, put_version},
    {"running", is_running, NULL},
    {"note", has_note, put_note},
    {"tiles", NULL, vit_report_tiles},
    {"curves", has_curves, vit_report_curves},
    {"epochs", NULL, vit_report_epochs},
    {"outcome", has_outcome, NULL},
    {"other_epoch", has_other_epoch, put_outcome_epoch},
    {"matrix", has_matrix, vit_report_matrix},
    {"matrix_part", is_part_of_matrix, NULL},
    {"matrix_count", NULL, put_matrix_count},
    {"class_count", NULL, put_class_count},
    {"classes", has_classes, vit_report_classes},
    {"mistakes", has_mistakes, vit_report_mistakes},
    {"pairs", has_pairs, vit_report_pairs},
    {"calibration", NULL, vit_report_calibration},
    {"samples", has_samples, vit_report_samples},
    {"settings", has_settings, vit_report_settings},
    {"data", NULL, vit_report_data},
    {"machine", has_machine, vit_report_machine},
};

static size_t find_place(const char *name, size_t length) {
    size_t i = 0;
    while (i < sizeof places / sizeof *places &&
           (strlen(places[i].name) != length || memcmp(places[i].name, name, length) != 0)) {
        i++;
    }
    return i;
}

/* Fills the template from `at` on. Text put in is not looked at again: it may hold braces. */
static vit_status fill(const vit_report_view *view, const char *at, vit_text *page) {
    const char *open;
    while ((open = strstr(at, "{{")) != NULL) {
        vit_text_add(page, at, (size_t)(open - at));
        const char *name = open + 2;
        bool section = *name == '#', end = *name == '/';
        name += section || end;
        const char *close = strstr(name, "}}");
        size_t length = close ? (size_t)(close - name) : 0;
        size_t place = find_place(name, length);
        if (!close || place == sizeof places / sizeof *places ||
            (section ? !places[place].has : !end && !places[place].put)) {
            return vit_fail(VIT_ERROR_FORMAT, "the report's page: {{%.*s}} is not known",
                            (int)length, name);
        }
        at = close + 2;
        if (section && !places[place].has(view)) {
            char stop[64];
            snprintf(stop, sizeof stop, "{{/%.*s}}", (int)length, name);
            const char *found = strstr(at, stop);
            if (!found) {
                return vit_fail(VIT_ERROR_FORMAT, "the report's page: no %s", stop);
            }
            at = found + strlen(stop);
        } else if (!section && !end) {
            places[place].put(view, page);
        }
    }
    vit_text_put(page, at);
    return VIT_OK;
}

vit_status vit_report_write(const vit_report *report, const char *path) {
    vit_report_view view;
    vit_text page = {0};
    vit_status status = VIT_OK;
    VIT_TRY(vit_report_view_open(report, &view));
    status = vit_report_draw_thumbnails(&view);
    if (status == VIT_OK) {
        status = fill(&view, (const char *)vit_embedded_eval_report_page_html.data, &page);
    }
    vit_report_view_free(&view);
    VIT_TRY(status);
    VIT_TRY(vit_text_check(&page, path));
    VIT_TRY(vit_file_replace(path, page.data, page.size));
cleanup:
    vit_text_free(&page);
    return status;
}
