/* Lists of pictures and of class weights (CSV), the order of classes, and the log of a run. */
#include "tests/fuzz/fuzz.h"

#include "data/folder.h"
#include "eval/run_log.h"
#include "train/class_weights.h"
#include "vit/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is held out may be nothing: of a single picture of a class it is none. */
static void check_dataset(const vit_dataset *dataset, bool held_out) {
    fuzz_expect(dataset->class_count > 0, "a data set has classes");
    fuzz_expect(dataset->count > 0 || held_out, "a data set has pictures");
    for (size_t i = 0; i < dataset->count; i++) {
        fuzz_expect((size_t)dataset->samples[i].label < dataset->class_count, "labels are classes");
    }
}

/* A training that finds its own classes, and one with the classes of a model. */
static void read_list(const char *list, const char *order) {
    static const char *const known[] = {"cat", "dog", "a \"cat\""};
    const char *const orders[] = {"name", "natural", order, NULL};
    for (int i = 0; i < 4; i++) {
        vit_dataset *dataset = NULL;
        size_t missing;
        vit_dataset_query query = {.data = list,
                                   .split = i % 2 ? "val" : "train",
                                   .class_order = orders[i],
                                   .known_classes = orders[i] ? NULL : known,
                                   .known_count = 3,
                                   .val_split = i % 2 ? 0.5 : 0};
        vit_status status = vit_dataset_find(&query, &dataset, &missing);
        fuzz_expect_message(status);
        if (status == VIT_OK) {
            check_dataset(dataset, i % 2);
        }
        vit_dataset_free(dataset);
    }
}

static void read_weights(const char *list) {
    static char cat[] = "cat", dog[] = "dog", root[] = "DATA";
    static char *names[] = {cat, dog};
    static vit_sample samples[] = {{.label = 0}, {.label = 1}, {.label = 1}};
    const vit_dataset dataset = {
        .root = root, .class_names = names, .class_count = 2, .samples = samples, .count = 3};
    float *weights = NULL;
    vit_status status = vit_class_weights(list, &dataset, false, &weights);
    fuzz_expect_message(status);
    for (size_t c = 0; status == VIT_OK && c < 2; c++) {
        fuzz_expect(weights[c] >= 0 && weights[c] <= 3, "weights have the mean 1");
    }
    vit_free(weights);
}

/* The list, and after a form feed the file that says the order of its classes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *feed = size > 0 ? memchr(data, '\f', size) : NULL;
    size_t list_size = feed ? (size_t)(feed - data) : size;
    char list[64], order[64];
    snprintf(list, sizeof list, "%s", fuzz_file(data, list_size, ".csv"));
    snprintf(order, sizeof order, "%s",
             fuzz_file(feed ? feed + 1 : data, feed ? size - list_size - 1 : list_size, ".txt"));
    read_list(list, order);
    read_weights(list);

    char *text = calloc(list_size + 1, 1);
    fuzz_expect(text != NULL, "there is memory");
    memcpy(text, data, list_size);
    vit_run_log log = {0};
    fuzz_expect_message(vit_run_log_parse(text, "input", &log));
    vit_run_log_free(&log);
    free(text);
    return 0;
}
