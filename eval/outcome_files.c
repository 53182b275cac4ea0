#include "eval/outcome.h"

#include "data/csv_write.h"

#include <limits.h>
#include <stdio.h>

/* ---- eval.json ---- */

static vit_json *bins_json(const vit_metrics *m) {
    vit_json *bins = vit_json_array();
    for (size_t b = 0; b < VIT_RELIABILITY_BINS; b++) {
        vit_json *bin = vit_json_object();
        vit_json_add_number(bin, "from", (double)b / VIT_RELIABILITY_BINS);
        vit_json_add_number(bin, "to", (double)(b + 1) / VIT_RELIABILITY_BINS);
        vit_json_add_number(bin, "images", (double)m->bins[b].count);
        vit_json_add_number(bin, "confidence", m->bins[b].confidence);
        vit_json_add_number(bin, "accuracy", m->bins[b].accuracy);
        vit_json_add(bins, NULL, bin);
    }
    return bins;
}

vit_json *vit_outcome_json(const vit_outcome *outcome, bool whole) {
    const vit_metrics *m = &outcome->metrics;
    const struct {
        const char *key, *value;
    } texts[] = {{"model", outcome->model},
                 {"data", outcome->data},
                 {"split", outcome->split},
                 {"tta", outcome->tta}};
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"images", (double)m->images},
                   {"skipped", (double)outcome->skipped},
                   {"classes", (double)m->classes},
                   {"top1", m->top1},
                   {"top5", m->top5},
                   {"loss", m->loss},
                   {"balanced_accuracy", m->balanced_accuracy},
                   {"macro_f1", m->macro_f1},
                   {"ece", m->ece},
                   {"images_per_second", outcome->images_per_second},
                   {"seconds", outcome->seconds}};
    size_t count = sizeof numbers / sizeof *numbers - (outcome->seconds > 0 ? 0 : 2);
    vit_json *root = vit_json_object();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].value) {
            vit_json_add_string(root, texts[i].key, texts[i].value);
        }
    }
    for (size_t i = 0; i < count; i++) {
        vit_json_add_number(root, numbers[i].key, numbers[i].value);
    }
    if (whole) {
        vit_json_add(root, "reliability", bins_json(m));
    }
    return root;
}

static vit_status write_json(const vit_outcome *outcome, const char *path) {
    vit_json *root = vit_outcome_json(outcome, true);
    vit_status status = vit_json_save(root, path);
    vit_json_free(root);
    return status;
}

/* ---- tables ---- */

static void per_class_table(const vit_outcome *outcome, vit_csv *csv) {
    vit_csv_raw(csv, "class,support,predicted,right,precision,recall,f1");
    vit_csv_end_line(csv);
    for (size_t k = 0; k < outcome->K; k++) {
        const vit_class_metrics *c = &outcome->metrics.per_class[k];
        vit_csv_text(csv, outcome->class_names[k]);
        vit_csv_number(csv, (double)c->support);
        vit_csv_number(csv, (double)c->predicted);
        vit_csv_number(csv, (double)c->right);
        vit_csv_number(csv, c->precision);
        vit_csv_number(csv, c->recall);
        vit_csv_number(csv, c->f1);
        vit_csv_end_line(csv);
    }
}

/* A row for each label, a column for each prediction. */
static void confusion_table(const vit_outcome *outcome, vit_csv *csv) {
    size_t K = outcome->K;
    vit_csv_text(csv, "label");
    for (size_t k = 0; k < K; k++) {
        vit_csv_text(csv, outcome->class_names[k]);
    }
    vit_csv_end_line(csv);
    for (size_t row = 0; row < K; row++) {
        vit_csv_text(csv, outcome->class_names[row]);
        for (size_t k = 0; k < K; k++) {
            vit_csv_number(csv, (double)outcome->metrics.confusion[row * K + k]);
        }
        vit_csv_end_line(csv);
    }
}

static void predictions_head(const vit_outcome *outcome, vit_csv *csv) {
    vit_csv_raw(csv, "path,label,label_probability");
    for (size_t j = 0; j < outcome->topk; j++) {
        char name[64];
        snprintf(name, sizeof name, "top%zu", j + 1);
        vit_csv_text(csv, name);
        snprintf(name, sizeof name, "top%zu_probability", j + 1);
        vit_csv_text(csv, name);
    }
    vit_csv_end_line(csv);
}

/* A picture that could not be read has empty fields behind its label. */
static void predictions_table(const vit_outcome *outcome, vit_csv *csv) {
    predictions_head(outcome, csv);
    for (size_t i = 0; i < outcome->count; i++) {
        const vit_sample *sample = &outcome->dataset->samples[i];
        vit_csv_text(csv, sample->path);
        vit_csv_text(csv, outcome->class_names[sample->label]);
        vit_csv_number(csv, outcome->label_probability[i]);
        for (size_t j = 0; j < outcome->topk; j++) {
            int class = outcome->top[i * outcome->topk + j];
            vit_csv_text(csv, class < 0 ? "" : outcome->class_names[class]);
            vit_csv_number(csv, outcome->top_probability[i * outcome->topk + j]);
        }
        vit_csv_end_line(csv);
    }
}

typedef void (*table)(const vit_outcome *outcome, vit_csv *csv);

static vit_status write_table(const vit_outcome *outcome, table fill, const char *path) {
    vit_csv csv = {0};
    fill(outcome, &csv);
    vit_status status = vit_csv_save(&csv, path);
    vit_csv_free(&csv);
    return status;
}

vit_status vit_outcome_write(const vit_outcome *outcome, const char *dir) {
    static const struct {
        const char *name;
        table fill;
    } tables[] = {{"per_class.csv", per_class_table},
                  {"confusion_matrix.csv", confusion_table},
                  {"predictions.csv", predictions_table}};
    char path[PATH_MAX];
    vit_status status = VIT_OK;
    VIT_TRY(vit_folder_make(dir));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (tables[i].fill != confusion_table || outcome->metrics.confusion) {
            VIT_TRY(vit_path_join(path, sizeof path, dir, tables[i].name));
            VIT_TRY(write_table(outcome, tables[i].fill, path));
        }
    }
    VIT_TRY(vit_path_join(path, sizeof path, dir, "eval.json"));
    VIT_TRY(write_json(outcome, path));
cleanup:
    return status;
}
