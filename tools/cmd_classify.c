#include "tools/cmd.h"
#include "tools/progress.h"

#include "data/folder.h"
#include "eval/metrics.h"
#include "eval/predict.h"

#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct classify_flags {
    int topk, batch_size;
} classify_flags;

static const vit_option classify_options[] = {
    {.name = "topk",
     .type = VIT_OPT_INT,
     .offset = offsetof(classify_flags, topk),
     .min = 1,
     .max = 1000000,
     .value = "5",
     .help = "classes to name for each picture, best first; at most all of them"},
    {.name = "batch-size",
     .letter = 'b',
     .type = VIT_OPT_INT,
     .offset = offsetof(classify_flags, batch_size),
     .min = 1,
     .max = 65536,
     .value = "32",
     .help = "pictures at once; the result does not depend on it"},
};

/* The pictures to classify, in order. A PATH that could not be searched has its own entry with the
 * reason, so that it is reported in its place. */
typedef struct work {
    char **paths;
    char **errors; /* NULL: a picture */
    size_t count, capacity;
} work;

/* What is computed with and what is printed. */
typedef struct classifier {
    const cli_verb *verb;
    const vit_model_bundle *bundle;
    bool json;
    size_t topk, path_width, class_width, failures;
    int *indices; /* (topk) */
    cli_progress progress;
} classifier;

static vit_status work_reserve(work *list, size_t more) {
    size_t needed = list->count + more;
    if (needed <= list->capacity) {
        return VIT_OK;
    }
    size_t capacity = needed > list->capacity * 2 ? needed : list->capacity * 2;
    char **paths = realloc(list->paths, capacity * sizeof *paths);
    list->paths = paths != NULL ? paths : list->paths;
    char **errors = paths != NULL ? realloc(list->errors, capacity * sizeof *errors) : NULL;
    if (errors == NULL) {
        return vit_fail(VIT_ERROR_MEMORY, "out of memory for a list of %zu pictures", needed);
    }
    list->errors = errors;
    list->capacity = capacity;
    return VIT_OK;
}

/* Takes over the strings, or frees them. */
static vit_status work_add(work *list, char *path, char *error) {
    vit_status status = VIT_OK;
    if (path == NULL) {
        status = vit_fail(VIT_ERROR_MEMORY, "out of memory for the name of a picture");
    } else {
        status = work_reserve(list, 1);
    }
    if (status != VIT_OK) {
        free(path);
        free(error);
        return status;
    }
    list->paths[list->count] = path;
    list->errors[list->count++] = error;
    return VIT_OK;
}

static void work_free(work *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->paths[i]);
        free(list->errors[i]);
    }
    free(list->paths);
    free(list->errors);
}

static vit_status collect_failed(work *list, const char *argument) {
    char *error = strdup(vit_last_error());
    if (error == NULL) {
        return vit_fail(VIT_ERROR_MEMORY, "out of memory for the name of a picture");
    }
    return work_add(list, strdup(argument), error);
}

/* Appends the pictures that one PATH stands for. */
static vit_status collect(work *list, const char *argument) {
    char **found = NULL;
    size_t count = 0, taken = 0;
    vit_status status = vit_collect_images(argument, &found, &count);
    if (status == VIT_ERROR_MEMORY) {
        goto cleanup;
    }
    if (status != VIT_OK) {
        status = collect_failed(list, argument);
        goto cleanup;
    }
    for (; taken < count; taken++) {
        VIT_TRY(work_add(list, found[taken], NULL));
        found[taken] = NULL;
    }
cleanup:
    for (size_t i = 0; i < count; i++) {
        free(found[i]);
    }
    free(found);
    return status;
}

static vit_status report_error(classifier *c, const char *path, const char *error) {
    c->failures++;
    cli_progress_clear(&c->progress);
    /* The library's message names the file already. */
    vit_fail(VIT_ERROR_IO, "%s", error);
    cli_fail(c->verb);
    if (!c->json) {
        return VIT_OK;
    }
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "path", path);
    vit_json_add_string(root, "error", error);
    return cli_print_json(root, false);
}

static vit_status print_json(const classifier *c, const char *path,
                             const vit_prediction *prediction) {
    vit_json *root = vit_json_object(), *top = vit_json_array();
    vit_json_add_string(root, "path", path);
    for (size_t i = 0; i < c->topk; i++) {
        vit_json *entry = vit_json_object();
        int index = c->indices[i];
        vit_json_add_string(entry, "class", c->bundle->class_names[index]);
        vit_json_add_number(entry, "index", index);
        vit_json_add_number(entry, "probability", (double)prediction->probabilities[index]);
        vit_json_add(top, NULL, entry);
    }
    vit_json_add(root, "top", top);
    vit_json_add_number(root, "milliseconds", prediction->milliseconds);
    return cli_print_json(root, false);
}

/* One line a class, the path on the first. */
static void print_table(const classifier *c, const char *path, const vit_prediction *prediction) {
    for (size_t i = 0; i < c->topk; i++) {
        int index = c->indices[i];
        cli_put_padded(stdout, i == 0 ? path : "", c->path_width);
        fputs("  ", stdout);
        cli_put_padded(stdout, c->bundle->class_names[index], c->class_width);
        printf("  %6.2f %%\n", 100 * (double)prediction->probabilities[index]);
    }
}

static vit_status report(classifier *c, const char *path, const vit_prediction *prediction) {
    if (prediction->status != VIT_OK) {
        return report_error(c, path, prediction->error);
    }
    size_t K = (size_t)c->bundle->model.config.num_classes;
    vit_top_k(K, prediction->probabilities, c->topk, c->indices);
    cli_progress_clear(&c->progress);
    if (c->json) {
        return print_json(c, path, prediction);
    }
    print_table(c, path, prediction);
    return VIT_OK;
}

/* The longest entry, but no wider than a line of a terminal leaves room for. */
static void measure_columns(classifier *c, const work *list) {
    enum { WIDEST = 56 };
    for (size_t i = 0; i < list->count; i++) {
        size_t width = cli_put(NULL, list->paths[i]);
        c->path_width = width > c->path_width && width <= WIDEST ? width : c->path_width;
    }
    for (int i = 0; i < c->bundle->model.config.num_classes; i++) {
        size_t width = cli_put(NULL, c->bundle->class_names[i]);
        c->class_width = width > c->class_width && width <= WIDEST ? width : c->class_width;
    }
}

static vit_status classify_all(classifier *c, const work *list, vit_predictor *predictor,
                               size_t batch_size, vit_prediction *predictions) {
    vit_status status = VIT_OK;
    for (size_t first = 0; first < list->count;) {
        if (list->errors[first] != NULL) {
            VIT_TRY(report_error(c, list->paths[first], list->errors[first]));
            first++;
            continue;
        }
        size_t count = 0;
        while (count < batch_size && first + count < list->count &&
               list->errors[first + count] == NULL) {
            count++;
        }
        VIT_TRY(vit_predict_files(predictor, (const char *const *)&list->paths[first], count,
                                  predictions));
        for (size_t i = 0; i < count; i++) {
            VIT_TRY(report(c, list->paths[first + i], &predictions[i]));
        }
        fflush(stdout);
        first += count;
        cli_progress_count(&c->progress, "", first, list->count);
    }
cleanup:
    cli_progress_clear(&c->progress);
    return status;
}

static vit_status classify(const cli_verb *verb, const classify_flags *flags,
                           const vit_data_options *reading, const cli_common *common, char **words,
                           int word_count, size_t *failures) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_predictor *predictor = NULL;
    vit_prediction *predictions = NULL;
    work list = {0};
    classifier c = {.verb = verb, .json = common->json};
    cli_progress_init(&c.progress, verb, common);

    VIT_TRY(vit_model_bundle_load(words[0], &bundle));
    for (int i = 1; i < word_count; i++) {
        VIT_TRY(collect(&list, words[i]));
    }
    c.bundle = bundle;
    size_t K = (size_t)bundle->model.config.num_classes;
    c.topk = (size_t)flags->topk < K ? (size_t)flags->topk : K;
    VIT_TRY(vit_alloc((void **)&c.indices, c.topk, sizeof *c.indices, "best classes"));
    measure_columns(&c, &list);
    size_t batch_size = (size_t)flags->batch_size;
    batch_size = list.count > 0 && list.count < batch_size ? list.count : batch_size;
    VIT_TRY(vit_alloc((void **)&predictions, batch_size, sizeof *predictions, "predictions"));
    VIT_TRY(vit_predictor_create(bundle, batch_size, omp_get_max_threads(), reading, &predictor));
    VIT_TRY(classify_all(&c, &list, predictor, batch_size, predictions));
cleanup:
    *failures = c.failures;
    vit_predictor_free(predictor);
    vit_free(predictions);
    vit_free(c.indices);
    work_free(&list);
    vit_model_bundle_free(bundle);
    return status;
}

int cmd_classify(const cli_verb *verb, int argc, char **argv) {
    classify_flags flags;
    vit_data_options reading = {0};
    cli_common common;
    const vit_option_group groups[] = {{"Classification", classify_options,
                                        sizeof classify_options / sizeof *classify_options, &flags,
                                        NULL},
                                       vit_data_group(&reading, VIT_DATA_ROWS_DECODE),
                                       cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    size_t failures = 0;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (words < 2) {
        vit_fail(VIT_ERROR_ARGUMENT, "%d argument%s (expected MODEL and at least one PATH)", words,
                 words == 1 ? "" : "s");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    if (classify(verb, &flags, &reading, &common, argv, words, &failures) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, failures > 0 ? CLI_FAILED : CLI_DONE);
}
