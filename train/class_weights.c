#include "train/class_weights.h"

#include "data/csv.h"
#include "vit/arena.h"
#include "vit/number.h"

#include <math.h>
#include <string.h>

static const char *const class_names[] = {"class", "label", NULL};
static const char *const weight_names[] = {"weight", NULL};
static const vit_csv_columns columns = {"class,weight", class_names, weight_names};

static vit_status set_weight(const char *path, const vit_dataset *d, const char *name,
                             const char *text, double *weights) {
    double value;
    size_t c = 0;
    while (c < d->class_count && strcmp(d->class_names[c], name) != 0) {
        c++;
    }
    if (c == d->class_count) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: no class '%s' in %s", path, name, d->root);
    }
    const char *end = vit_number_parse(text, &value);
    if (end == text || *end || !isfinite(value) || value < 0) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: class '%s': weight %s (expected a number from 0 up)",
                        path, name, text);
    }
    if (!isnan(weights[c])) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: class '%s' is named twice", path, name);
    }
    weights[c] = value;
    return VIT_OK;
}

static vit_status read_weights(const char *path, const vit_dataset *d, double *weights) {
    vit_name_list names = {0}, values = {0};
    vit_status status;
    VIT_TRY(vit_csv_read(path, &columns, &names, &values));
    for (size_t c = 0; c < d->class_count; c++) {
        weights[c] = NAN;
    }
    for (size_t i = 0; i < names.count; i++) {
        VIT_TRY(set_weight(path, d, names.names[i], values.names[i], weights));
    }
    for (size_t c = 0; c < d->class_count; c++) {
        if (isnan(weights[c])) {
            VIT_TRY(
                vit_fail(VIT_ERROR_FORMAT, "%s: no weight of class '%s'", path, d->class_names[c]));
        }
    }
cleanup:
    vit_list_free(&names);
    vit_list_free(&values);
    return status;
}

static void inverse_counts(const vit_dataset *d, double *weights) {
    for (size_t i = 0; i < d->count; i++) {
        weights[d->samples[i].label]++;
    }
    for (size_t c = 0; c < d->class_count; c++) {
        weights[c] = weights[c] > 0 ? 1 / weights[c] : 0;
    }
}

vit_status vit_class_weights(const char *how, const vit_dataset *dataset, bool balanced,
                             float **out) {
    double *weights = NULL, sum = 0;
    size_t drawn = 0;
    vit_status status = VIT_OK;
    *out = NULL;
    if (strcmp(how, "none") == 0 || !*how) {
        return VIT_OK;
    }
    VIT_TRY(vit_alloc((void **)&weights, dataset->class_count, sizeof *weights, "class weights"));
    VIT_TRY(vit_alloc((void **)out, dataset->class_count, sizeof **out, "class weights"));
    if (strcmp(how, "auto") == 0) {
        inverse_counts(dataset, weights);
    } else {
        VIT_TRY(read_weights(how, dataset, weights));
    }
    for (size_t i = 0; i < dataset->count; i++) { /* sorted by class */
        int label = dataset->samples[i].label;
        if (!balanced || i == 0 || label != dataset->samples[i - 1].label) {
            sum += weights[label];
            drawn++;
        }
    }
    if (!(sum > 0) || !isfinite(sum)) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT,
                         "--class-weights %s: the weights of the pictures add up to %g (expected "
                         "more than 0)",
                         how, sum));
    }
    for (size_t c = 0; c < dataset->class_count; c++) {
        (*out)[c] = (float)(weights[c] * (double)drawn / sum);
    }
cleanup:
    vit_free(weights);
    if (status != VIT_OK) {
        vit_free(*out);
        *out = NULL;
    }
    return status;
}
