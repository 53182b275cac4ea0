/* For every operation and every n: the n-th call that can fail does. What must come of it is an
 * error with one line of message, or, where the call was not needed, the same result as without;
 * nothing lost in memory or descriptors, no damaged file, and afterwards the operation works. */
#include "tests/torture/fault.h"

#include "tests/support/pictures.h"
#include "tests/support/runs.h"
#include "tests/support/support.h"

#include "data/pack.h"
#include "eval/evaluate.h"
#include "eval/predict.h"
#include "train/state.h"
#include "train/trainer.h"
#include "vit/arena.h"
#include "vit/export.h"
#include "vit/file.h"

#include <dirent.h>
#include <malloc.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *base;
static char data[1024], run[1024], picture[1024];
static char work[1024]; /* made anew for each attempt */

/* What an operation found, for comparison with the result without a failure. */
typedef struct finding {
    double values[4];
} finding;

typedef struct operation {
    const char *name;
    vit_status (*run)(finding *out);
    /* Looks at what a failed attempt left in `work`; NULL: nothing is written. */
    void (*inspect)(void);
} operation;

/* ---- the operations ---- */

static vit_status load(finding *out) {
    vit_model_bundle *bundle = NULL;
    vit_status status = vit_model_bundle_load(run, &bundle);
    if (status == VIT_OK) {
        out->values[0] = (double)bundle->params[3];
    }
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status find_data(finding *out) {
    vit_dataset *dataset = NULL;
    const vit_dataset_query query = {.data = data, .split = "train", .class_order = "natural"};
    vit_status status = vit_dataset_find(&query, &dataset, NULL);
    if (status == VIT_OK) {
        out->values[0] = (double)dataset->count;
    }
    vit_dataset_free(dataset);
    return status;
}

/* Made beforehand: nothing of Check may run while calls fail. */
static vit_train_settings settings_of_run;

static void make_settings(void) {
    settings_of_run = small_run_settings();
    settings_of_run.model.depth = 1;
    settings_of_run.recipe.warmup_epochs = 0;
    settings_of_run.recipe.mixup = 0.5;
    settings_of_run.recipe.model_ema = true;
    settings_of_run.data.on_error = VIT_ON_ERROR_FAIL;
}

static vit_status train_in(const char *folder, int epochs, bool resume, finding *out) {
    vit_train_settings settings = settings_of_run;
    settings.recipe.epochs = epochs;
    const vit_train_request request = {.settings = &settings,
                                       .data = data,
                                       .out = folder,
                                       .resume = resume,
                                       .override = resume,
                                       .memory = (uint64_t)1 << 40};
    vit_train_result result;
    vit_status status = vit_train(&request, NULL, &result);
    if (status == VIT_OK) {
        out->values[0] = result.last_top1;
        out->values[1] = result.best_epoch;
    }
    return status;
}

static vit_status train(finding *out) {
    return train_in(work, 1, false, out);
}

/* From a finished run of one epoch to two. */
static vit_status resume(finding *out) {
    return train_in(work, 2, true, out);
}

static vit_status evaluate(finding *out) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_dataset *val = NULL;
    vit_evaluator *evaluator = NULL;
    vit_eval_result result;
    VIT_TRY(vit_model_bundle_load(run, &bundle));
    VIT_TRY(vit_dataset_open(data, "val", (const char *const *)bundle->class_names, 3, &val, NULL));
    VIT_TRY(vit_evaluator_create(&bundle->model, &bundle->preprocess, val, 4, 1,
                                 &settings_of_run.data, &evaluator));
    VIT_TRY(vit_evaluate(evaluator, bundle->params, NULL, NULL, NULL, &result));
    out->values[0] = result.top1;
    out->values[1] = result.loss;
cleanup:
    vit_evaluator_free(evaluator);
    vit_dataset_free(val);
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status classify(finding *out) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_predictor *predictor = NULL;
    vit_prediction prediction;
    const char *paths[] = {picture};
    VIT_TRY(vit_model_bundle_load(run, &bundle));
    VIT_TRY(vit_predictor_create(bundle, 1, 1, NULL, &predictor));
    VIT_TRY(vit_predict_files(predictor, paths, 1, &prediction));
    if (prediction.status != VIT_OK) {
        status = vit_fail(prediction.status, "%s", prediction.error);
        goto cleanup;
    }
    out->values[0] = (double)prediction.probabilities[1];
cleanup:
    vit_predictor_free(predictor);
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status export_as(vit_export_format format, finding *out) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_export_paths paths;
    VIT_TRY(vit_model_bundle_load(run, &bundle));
    VIT_TRY(vit_export_place(format, work, &paths));
    VIT_TRY(vit_export(bundle, format, &paths));
    VIT_TRY(vit_export_sample(bundle, 1, 1, paths.sample, NULL, NULL));
    out->values[0] = 1;
cleanup:
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status export(finding *out) {
    return export_as(VIT_EXPORT_SAFETENSORS, out);
}

#ifdef ZVIT_HAVE_PROTOBUF_C
static vit_status export_onnx(finding *out) {
    return export_as(VIT_EXPORT_ONNX, out);
}
#endif

static vit_status pack(finding *out) {
    vit_pack_options options = {.short_side = 8, .decode = vit_decode_defaults(), .threads = 1};
    vit_pack_result result;
    char path[1100];
    vit_status status = vit_folder_make(work);
    snprintf(path, sizeof path, "%s/pack.zpk", work);
    status = status == VIT_OK ? vit_pack_write(data, path, &options, &result) : status;
    if (status == VIT_OK) {
        out->values[0] = (double)result.pictures;
        out->values[1] = (double)result.bytes_written;
    }
    return status;
}

/* ---- what is left behind ---- */

/* Every file in the folder is whole, or not there. */
static void inspect_run(void) {
    char path[1100];
    static const char *const models[] = {"best.safetensors", "last.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        vit_model_bundle *bundle = NULL;
        if (access(temp_path(path, work, "%s", models[i]), F_OK) == 0) {
            ck_vit_ok(vit_model_bundle_load(path, &bundle));
        }
        vit_model_bundle_free(bundle);
    }
    if (access(temp_path(path, work, "last.state.safetensors"), F_OK) == 0) {
        vit_state *state = NULL;
        ck_vit_ok(vit_state_open(path, &state));
        vit_state_close(state);
    }
}

static void inspect_files(void) {
    char path[1100];
    if (access(temp_path(path, work, "model.safetensors"), F_OK) == 0) {
        vit_safetensors *file = NULL;
        ck_vit_ok(vit_safetensors_open(path, &file));
        vit_safetensors_close(file);
    }
    if (access(temp_path(path, work, "pack.zpk"), F_OK) == 0) {
        vit_pack *opened = NULL;
        ck_vit_ok(vit_pack_open(path, &opened));
        vit_pack_close(opened);
    }
}

static const operation operations[] = {
    {"load", load, NULL},
    {"data", find_data, NULL},
    {"train", train, inspect_run},
    {"resume", resume, inspect_run},
    {"evaluate", evaluate, NULL},
    {"classify", classify, NULL},
    {"export", export, inspect_files},
#ifdef ZVIT_HAVE_PROTOBUF_C
    {"export to ONNX", export_onnx, inspect_files},
#endif
    {"pack", pack, inspect_files},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

/* ---- one attempt ---- */

static void copy_run(void) {
    static const char *const files[] = {"args.json",        "log.csv",
                                        "classes.txt",      "best.safetensors",
                                        "last.safetensors", "last.state.safetensors"};
    vit_bytes bytes = {0};
    char path[1100];
    make_folders(work);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ck_vit_ok(vit_file_read(temp_path(path, run, "%s", files[i]), SIZE_MAX / 2, &bytes));
        ck_vit_ok(vit_file_replace(temp_path(path, work, "%s", files[i]), bytes.data, bytes.size));
    }
    vit_bytes_free(&bytes);
}

/* A fresh `work`, which for resume holds the finished run. */
static void prepare(const operation *op) {
    temp_folder_remove(strdup(work));
    if (op->run == resume) {
        copy_run();
    }
}

static void check_no_temporaries(const char *what) {
    DIR *folder = opendir(work);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        ck_assert_msg(!strstr(entry->d_name, ".tmp-"), "%s: left %s", what, entry->d_name);
    }
    if (folder) {
        closedir(folder);
    }
}

/* Bytes that the process holds of the C library; exact only without its caches a thread. */
static size_t held(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static bool leaks_show(void) {
    const char *tunables = getenv("GLIBC_TUNABLES");
    return tunables && strstr(tunables, "tcache_count=0");
}

static size_t descriptors(void) {
    return count_entries("/proc/self/fd");
}

static bool same(const finding *a, const finding *b) {
    for (size_t i = 0; i < 4; i++) {
        if (a->values[i] != b->values[i] && !(isnan(a->values[i]) && isnan(b->values[i]))) {
            return false;
        }
    }
    return true;
}

/* Returns false once the operation makes fewer than n such calls. */
static bool attempt(const operation *op, fault_kind kind, unsigned long n,
                    const finding *expected) {
    char what[64];
    finding found = {{0}};
    snprintf(what, sizeof what, "%s, %s call %lu", op->name, fault_names[kind], n);
    prepare(op);
    size_t before = held(), open_before = descriptors();
    vit_fail(VIT_OK, "%s", "");
    fault_arm(kind, n);
    vit_status status = op->run(&found);
    bool reached = fault_disarm();
    ck_assert_msg(!leaks_show() || held() <= before, "%s: %zu bytes lost", what, held() - before);
    ck_assert_msg(descriptors() == open_before, "%s: a descriptor lost", what);
    if (kind == FAULT_SHORT || !reached) {
        ck_assert_msg(status == VIT_OK, "%s: %s", what, vit_last_error());
    }
    if (status == VIT_OK) {
        ck_assert_msg(same(&found, expected), "%s: went well with another result", what);
    } else {
        ck_assert_msg(*vit_last_error() && !strchr(vit_last_error(), '\n'),
                      "%s: message \"%s\" (expected one line)", what, vit_last_error());
        check_no_temporaries(what);
    }
    if (op->inspect) {
        op->inspect();
    }
    if (status != VIT_OK && op->run == resume) {
        ck_vit_ok(op->run(&found));
        ck_assert_msg(same(&found, expected), "%s: resumed to another result", what);
    }
    return reached;
}

static void torture(const operation *op, fault_kind kind) {
    finding expected = {{0}};
    for (int warm = 0; warm < 2; warm++) {
        prepare(op);
        ck_vit_ok(op->run(&expected));
    }
    if (kind == FAULT_SHORT) {
        attempt(op, kind, 1, &expected);
        return;
    }
    unsigned long n = 1;
    while (attempt(op, kind, n, &expected)) {
        n++;
    }
    printf("%s: %lu %s calls\n", op->name, n - 1, fault_names[kind]);
    fflush(stdout);
}

static void setup(void) {
    omp_set_num_threads(1);
    base = temp_folder();
    temp_path(data, base, "data");
    temp_path(run, base, "run");
    temp_path(work, base, "work");
    temp_path(picture, data, "val/bee/000.png");
    make_settings();
    make_pictures(data, "train", small_run_classes, 3, 4, 17, 16, 1);
    make_pictures(data, "val", small_run_classes, 3, 2, 16, 18, 1000);
    finding ignored;
    ck_vit_ok(train_in(run, 1, false, &ignored));
}

static void teardown(void) {
    temp_folder_remove(base);
}

START_TEST(test_every_call_fails) {
    torture(&operations[_i / FAULT_KINDS], (fault_kind)(_i % FAULT_KINDS));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("torture");
    TCase *tests = tcase_create("every call");
    tcase_set_timeout(tests, 280);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, test_every_call_fails, 0, OPERATIONS * FAULT_KINDS);
    suite_add_tcase(suite, tests);
    return test_run(suite);
}
