/* The parts of a report that are words and numbers. */
#include "eval/report_parts.h"

#include "vit/arena.h"

#include <math.h>
#include <string.h>

void vit_report_row(vit_text *page, const char *name) {
    vit_text_printf(page, "<div><dt>%s</dt><dd>", name);
}

void vit_report_row_end(vit_text *page) {
    vit_text_put(page, "</dd></div>\n");
}

void vit_report_name(vit_text *page, const char *name) {
    vit_text_put(page, "<bdi>");
    vit_text_html(page, name);
    vit_text_put(page, "</bdi>");
}

/* ---- summary ---- */

static void put_tile(vit_text *page, const char *name, double value, int decimals,
                     const char *unit) {
    vit_report_row(page, name);
    vit_text_number(page, value, decimals);
    if (isfinite(value)) {
        vit_text_put(page, unit);
    }
    vit_report_row_end(page);
}

static void put_measured(const vit_report_view *view, vit_text *page) {
    const vit_metrics *m = &view->report->outcome->metrics;
    put_tile(page, "Top-5", m->top5, 2, "\xe2\x80\xaf%");
    put_tile(page, "Loss", m->loss, 4, "");
    put_tile(page, "Balanced accuracy", m->balanced_accuracy, 2, "\xe2\x80\xaf%");
    put_tile(page, "Macro F1", m->macro_f1, 2, "\xe2\x80\xaf%");
    put_tile(page, "Calibration error", 100 * m->ece, 1, " points");
}

static void put_log_figures(const vit_report_view *view, vit_text *page) {
    const vit_run_log *log = &view->log;
    put_tile(page, "Top-5", vit_log_value(log, log->best, VIT_LOG_TOP5), 2, "\xe2\x80\xaf%");
    put_tile(page, "Loss", vit_log_value(log, log->best, VIT_LOG_VAL_LOSS), 4, "");
}

static void put_hero(const vit_report_view *view, vit_text *page) {
    const vit_run_log *log = &view->log;
    double top1 = log->count > 0 ? vit_log_value(log, log->best, VIT_LOG_TOP1) : NAN;
    vit_text_put(page, "<p class=\"hero\">");
    if (isfinite(top1)) {
        vit_text_printf(page, "<b>%.2f\xe2\x80\xaf%%</b> <span>best top-1, of epoch %.0f</span>",
                        top1, vit_log_value(log, log->best, VIT_LOG_EPOCH));
    } else if (log->count > 0) {
        vit_text_printf(page,
                        "<b>%.4f</b> <span>training loss of the last epoch; there is no "
                        "val to measure on</span>",
                        vit_log_value(log, log->count - 1, VIT_LOG_TRAIN_LOSS));
    } else {
        vit_text_put(page, "<b>\xe2\x80\x93</b> <span>no epoch is finished yet</span>");
    }
    vit_text_put(page, "</p>\n");
}

static void put_pictures(const vit_dataset *set, vit_text *page) {
    vit_text_count(page, (double)set->count);
}

static double mean_speed(const vit_run_log *log) {
    double sum = 0, count = 0;
    for (size_t i = 0; i < log->count; i++) {
        double speed = vit_log_value(log, i, VIT_LOG_IMAGES_PER_SECOND);
        sum += isfinite(speed) ? speed : 0;
        count += isfinite(speed);
    }
    return count > 0 ? sum / count : NAN;
}

void vit_report_tiles(const vit_report_view *view, vit_text *page) {
    const vit_report *r = view->report;
    put_hero(view, page);
    vit_text_put(page, "<dl class=\"tiles\">\n");
    if (r->outcome) {
        put_measured(view, page);
    } else if (view->log.count > 0 &&
               isfinite(vit_log_value(&view->log, view->log.best, VIT_LOG_TOP1))) {
        put_log_figures(view, page);
    }
    vit_report_row(page, "Epochs");
    vit_text_printf(page, "%zu", view->log.count);
    if (r->epochs > 0) {
        vit_text_printf(page, " of %d", r->epochs);
    }
    vit_report_row_end(page);
    vit_report_row(page, "Time");
    vit_text_duration(page, view->log.seconds);
    vit_report_row_end(page);
    if (view->log.count > 0) {
        vit_report_row(page, "Training speed");
        vit_text_count(page, mean_speed(&view->log));
        vit_text_put(page, " pictures/s");
        vit_report_row_end(page);
    }
    if (r->parameters > 0) {
        vit_report_row(page, "Parameters");
        vit_text_count(page, r->parameters);
        vit_report_row_end(page);
    }
    if (r->flops > 0) {
        vit_report_row(page, "FLOP a picture");
        vit_text_printf(page, r->flops < 1e9 ? "%.3g M" : "%.4g G",
                        r->flops / (r->flops < 1e9 ? 1e6 : 1e9));
        vit_report_row_end(page);
    }
    vit_text_put(page, "</dl>\n");
}

/* ---- epochs ---- */

static const struct {
    vit_log_column column;
    const char *title;
    int decimals;
    bool scientific;
    double scale;
} epoch_columns[] = {
    {VIT_LOG_EPOCH, "Epoch", 0, false, 1},
    {VIT_LOG_TRAIN_LOSS, "Train loss", 4, false, 1},
    {VIT_LOG_VAL_LOSS, "Val loss", 4, false, 1},
    {VIT_LOG_TOP1, "Top-1, %", 2, false, 1},
    {VIT_LOG_TOP5, "Top-5, %", 2, false, 1},
    {VIT_LOG_LR, "Learning rate", 2, true, 1},
    {VIT_LOG_IMAGES_PER_SECOND, "Pictures/s", 0, false, 1},
    {VIT_LOG_DATA_WAIT, "Waiting for data, %", 1, false, 100},
    {VIT_LOG_SECONDS, "Seconds", 1, false, 1},
    {VIT_LOG_SKIPPED, "Left out", 0, false, 1},
};
enum { EPOCH_COLUMNS = sizeof epoch_columns / sizeof *epoch_columns };

static void put_epoch(const vit_report_view *view, vit_text *page, size_t row) {
    vit_text_put(page, row == view->log.best ? "<tr class=\"best\">" : "<tr>");
    for (size_t c = 0; c < EPOCH_COLUMNS; c++) {
        double value =
            epoch_columns[c].scale * vit_log_value(&view->log, row, epoch_columns[c].column);
        vit_text_put(page, c == 0 ? "<th scope=\"row\" class=\"num\">" : "<td class=\"num\">");
        if (epoch_columns[c].scientific && isfinite(value)) {
            vit_text_printf(page, "%.*e", epoch_columns[c].decimals, value);
        } else {
            vit_text_number(page, value, epoch_columns[c].decimals);
        }
        vit_text_put(page, c == 0 ? "</th>" : "</td>");
    }
    vit_text_put(page, "</tr>\n");
}

void vit_report_epochs(const vit_report_view *view, vit_text *page) {
    size_t count = view->log.count, every = (count - 1) / VIT_REPORT_ROWS + 1;
    vit_text_put(page, "<details><summary>All epochs as a table</summary>\n");
    if (every > 1) {
        vit_text_printf(
            page, "<p>One epoch in %zu, the best and the last; log.csv has them all.</p>\n", every);
    }
    vit_text_put(page, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Epochs\">"
                       "<table class=\"sortable\"><caption class=\"hidden\">Epochs</caption>"
                       "<thead><tr>");
    for (size_t c = 0; c < EPOCH_COLUMNS; c++) {
        vit_text_printf(page, "<th scope=\"col\" class=\"num\">%s</th>", epoch_columns[c].title);
    }
    vit_text_put(page, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < count; i++) {
        if (i % every == 0 || i == view->log.best || i + 1 == count) {
            put_epoch(view, page, i);
        }
    }
    vit_text_put(page, "</tbody></table></div></details>\n");
}

/* ---- classes ---- */

static void count_pictures(const vit_dataset *set, size_t classes, size_t *counts) {
    for (size_t i = 0; set && i < set->count; i++) {
        if ((size_t)set->samples[i].label < classes) {
            counts[set->samples[i].label]++;
        }
    }
}

static void put_share(vit_text *page, double percent) {
    vit_text_put(page, "<td class=\"num\">");
    vit_text_number(page, percent, 1);
    vit_text_put(page, "</td>");
}

/* A bar beside the number, so that the eye finds the weak ones. */
static void put_share_with_bar(vit_text *page, double percent) {
    vit_text_put(page, "<td class=\"num\">");
    if (isfinite(percent)) {
        vit_text_printf(page,
                        "<svg class=\"gauge\" width=\"56\" height=\"6\" aria-hidden=\"true\"><rect "
                        "width=\"56\" height=\"6\"/><rect class=\"full\" width=\"%.1f\" "
                        "height=\"6\"/></svg>",
                        0.56 * percent);
    }
    vit_text_put(page, "<span class=\"share\">");
    vit_text_number(page, percent, 1);
    vit_text_put(page, "</span></td>");
}

/* What the class's pictures are taken for most often, when they are mistaken. */
static void put_rival(const vit_report_view *view, vit_text *page, size_t k) {
    const vit_outcome *o = view->report->outcome;
    const vit_metrics *m = &o->metrics;
    size_t most = 0, rival = 0;
    for (size_t j = 0; m->confusion && j < m->classes; j++) {
        if (j != k && m->confusion[k * m->classes + j] > most) {
            most = m->confusion[k * m->classes + j];
            rival = j;
        }
    }
    vit_text_printf(page, "<td data-v=\"%zu\">", most);
    if (most > 0) {
        vit_report_name(page, o->class_names[rival]);
        vit_text_printf(page, " <span class=\"count\">%zu</span>", most);
    }
    vit_text_put(page, "</td>");
}

static void put_count(vit_text *page, size_t count) {
    vit_text_put(page, "<td class=\"num\">");
    vit_text_count(page, (double)count);
    vit_text_put(page, "</td>");
}

static void put_class(const vit_report_view *view, vit_text *page, size_t k, const char *name,
                      const size_t *counts) {
    const vit_report *r = view->report;
    vit_text_put(page, "<tr><th scope=\"row\">");
    vit_report_name(page, name);
    vit_text_put(page, "</th>");
    if (r->outcome) {
        const vit_class_metrics *c = &r->outcome->metrics.per_class[k];
        put_share_with_bar(page, c->recall);
        put_share(page, c->precision);
        put_share(page, c->f1);
        put_rival(view, page, k);
        put_count(page, c->support);
    }
    if (r->train) {
        put_count(page, counts[k]);
    }
    vit_text_put(page, "</tr>\n");
}

void vit_report_classes(const vit_report_view *view, vit_text *page) {
    const vit_report *r = view->report;
    size_t K = r->outcome ? r->outcome->K : r->train->class_count, *counts = NULL;
    const char *const *names =
        r->outcome ? r->outcome->class_names : (const char *const *)r->train->class_names;
    if (vit_alloc((void **)&counts, K, sizeof *counts, "report") != VIT_OK) {
        page->failed = true;
        return;
    }
    count_pictures(r->train, K, counts);
    vit_text_put(page,
                 "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Classes\">"
                 "<table class=\"sortable\" id=\"class-table\"><caption class=\"hidden\">"
                 "Classes</caption><thead><tr><th scope=\"col\">Class</th>");
    if (r->outcome) {
        vit_text_put(page, "<th scope=\"col\" class=\"num\">Recall, %</th><th scope=\"col\" "
                           "class=\"num\">Precision, %</th><th scope=\"col\" class=\"num\">F1, "
                           "%</th><th scope=\"col\">Most often mistaken for</th><th "
                           "scope=\"col\" class=\"num\">Val pictures</th>");
    }
    if (r->train) {
        vit_text_put(page, "<th scope=\"col\" class=\"num\">Train pictures</th>");
    }
    vit_text_put(page, "</tr></thead><tbody>\n");
    for (size_t k = 0; k < K; k++) {
        put_class(view, page, k, names[k], counts);
    }
    vit_text_put(page, "</tbody></table></div>\n");
    vit_free(counts);
}

/* ---- settings ---- */

static void put_setting(const vit_option_group *group, size_t i, vit_text *page) {
    const vit_option *option = &group->options[i];
    unsigned char source = group->sources ? group->sources[i] : VIT_FROM_DEFAULT;
    char value[5000];
    vit_option_format(option, group->target, value, sizeof value);
    vit_text_printf(page, "<tr%s><th scope=\"row\"><code>%s</code><span class=\"help\">",
                    source == VIT_FROM_DEFAULT ? " class=\"default\"" : "", option->name);
    vit_text_html(page, option->help ? option->help : "");
    vit_text_put(page, "</span></th><td><code>");
    vit_text_html(page, *value ? value : "\xe2\x80\x93");
    vit_text_printf(page, "</code></td><td>%s</td></tr>\n",
                    group->sources ? vit_source_names[source] : "");
}

void vit_report_settings(const vit_report_view *view, vit_text *page) {
    const vit_report *r = view->report;
    vit_text_put(page, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" "
                       "aria-label=\"Settings\"><table id=\"settings-table\"><caption "
                       "class=\"hidden\">Settings</caption><thead><tr><th scope=\"col\">Setting"
                       "</th><th scope=\"col\">Value</th><th scope=\"col\">From</th></tr></thead>"
                       "\n");
    for (size_t g = 0; g < r->setting_groups; g++) {
        const vit_option_group *group = &r->settings[g];
        vit_text_printf(page,
                        "<tbody><tr class=\"group\"><th colspan=\"3\" scope=\"rowgroup\">%s</th>"
                        "</tr>\n",
                        group->title);
        for (size_t i = 0; i < group->count; i++) {
            put_setting(group, i, page);
        }
        vit_text_put(page, "</tbody>\n");
    }
    vit_text_put(page, "</table></div>\n");
}

/* ---- data and machine ---- */

static void put_split(const vit_dataset *set, const char *name, vit_text *page) {
    if (!set) {
        return;
    }
    vit_report_row(page, name);
    put_pictures(set, page);
    vit_text_put(page, " pictures <span class=\"path\">");
    vit_text_html(page, set->root);
    vit_text_put(page, "</span>");
    vit_report_row_end(page);
}

/* Largest and smallest class of the training pictures. */
static void put_balance(const vit_dataset *set, vit_text *page) {
    size_t *counts = NULL, least = 0, most = 0;
    if (vit_alloc((void **)&counts, set->class_count, sizeof *counts, "report") != VIT_OK) {
        page->failed = true;
        return;
    }
    count_pictures(set, set->class_count, counts);
    for (size_t k = 0; k < set->class_count; k++) {
        least = counts[k] < counts[least] ? k : least;
        most = counts[k] > counts[most] ? k : most;
    }
    vit_report_row(page, "Classes");
    vit_text_count(page, (double)set->class_count);
    vit_report_row_end(page);
    vit_report_row(page, "Largest class");
    vit_report_name(page, set->class_names[most]);
    vit_text_printf(page, ", %zu pictures", counts[most]);
    vit_report_row_end(page);
    vit_report_row(page, "Smallest class");
    vit_report_name(page, set->class_names[least]);
    vit_text_printf(page, ", %zu pictures", counts[least]);
    vit_report_row_end(page);
    if (counts[least] > 0) {
        put_tile(page, "Largest to smallest", (double)counts[most] / (double)counts[least], 1,
                 " times");
    }
    vit_free(counts);
}

void vit_report_data(const vit_report_view *view, vit_text *page) {
    const vit_report *r = view->report;
    vit_text_put(page, "<dl class=\"facts\">\n");
    vit_report_row(page, "Data");
    vit_text_put(page, "<span class=\"path\">");
    vit_text_html(page, r->data ? r->data : "");
    vit_text_put(page, "</span>");
    vit_report_row_end(page);
    put_split(r->train, "To train on", page);
    put_split(r->val, "To measure on", page);
    if (r->outcome && r->outcome->skipped > 0) {
        vit_report_row(page, "Not readable");
        vit_text_printf(page, "%zu of the pictures to measure on", r->outcome->skipped);
        vit_report_row_end(page);
    }
    if (r->train && r->train->class_count > 0) {
        put_balance(r->train, page);
    }
    vit_text_put(page, "</dl>\n");
}

static const struct {
    const char *key, *title;
} machine_rows[] = {{"cpu", "Processor"},       {"cores", "Cores"}, {"threads", "Threads"},
                    {"isa", "Instructions"},    {"blas", "BLAS"},   {"blas_kernel", "BLAS kernel"},
                    {"memory_bytes", "Memory"}, {"zvit", "zvit"}};

void vit_report_machine(const vit_report_view *view, vit_text *page) {
    vit_text_put(page, "<dl class=\"facts\">\n");
    for (size_t i = 0; i < sizeof machine_rows / sizeof *machine_rows; i++) {
        const vit_json *node = vit_json_get(view->report->machine, machine_rows[i].key);
        const char *words = vit_json_string(node, NULL);
        if (!words && !vit_json_is_number(node)) {
            continue;
        }
        vit_report_row(page, machine_rows[i].title);
        if (words) {
            vit_text_html(page, words);
        } else if (strcmp(machine_rows[i].key, "memory_bytes") == 0) {
            vit_text_printf(page, "%.1f GiB", vit_json_number(node, 0) / 0x1p30);
        } else {
            vit_text_count(page, vit_json_number(node, 0));
        }
        vit_report_row_end(page);
    }
    vit_text_put(page, "</dl>\n");
}
