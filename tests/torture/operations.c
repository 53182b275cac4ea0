#include "tests/torture/operations.h"

#include "tests/support/comm_local.h"
#include "tests/support/pictures.h"
#include "tests/support/runs.h"
#include "tests/support/support.h"

#include "data/encode.h"
#include "data/pack.h"
#include "data/survey.h"
#include "eval/canvas.h"
#include "eval/evaluate.h"
#include "eval/explain.h"
#include "eval/outcome.h"
#include "eval/predict.h"
#include "eval/report.h"
#include "eval/results.h"
#include "tools/serve/engine.h"
#include "train/comm.h"
#include "train/state.h"
#include "train/trainer.h"
#include "vit/arena.h"
#include "vit/export.h"
#include "vit/file.h"
#include "vit/zvit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char data[1024], packed[1024], run[1024], picture[1024];
static char work[1024]; /* made anew for each attempt */
/* Made beforehand: nothing of Check may run while calls fail. */
static vit_train_settings settings_of_run;

const char *operations_work(void) {
    return work;
}

/* ---- reading ---- */

static vit_status load(finding *out) {
    vit_model_bundle *bundle = NULL;
    vit_status status = vit_model_bundle_load(run, &bundle);
    if (status == VIT_OK) {
        out->values[0] = (double)bundle->params[3];
    }
    vit_model_bundle_free(bundle);
    return status;
}

static vit_status find_in(const char *where, finding *out) {
    vit_dataset *dataset = NULL;
    const vit_dataset_query query = {.data = where, .split = "train", .class_order = "natural"};
    vit_status status = vit_dataset_find(&query, &dataset, NULL);
    if (status == VIT_OK) {
        out->values[0] = (double)dataset->count;
        out->values[1] = (double)dataset->class_count;
    }
    vit_dataset_free(dataset);
    return status;
}

static vit_status find_data(finding *out) {
    return find_in(data, out);
}

static vit_status find_pack(finding *out) {
    return find_in(packed, out);
}

static vit_status survey(finding *out) {
    vit_survey *found = NULL;
    const vit_dataset_query query = {.data = data};
    const vit_decode_options decode = vit_decode_defaults();
    vit_status status = vit_survey_run(&query, &decode, NULL, NULL, &found);
    if (status == VIT_OK) {
        out->values[0] = (double)found->file_count;
        for (size_t i = 0; i < found->file_count; i++) { /* a file's failure is a finding */
            const char *reason = found->files[i].reason;
            status = reason && status == VIT_OK ? vit_fail(VIT_ERROR_IO, "%s", reason) : status;
        }
    }
    vit_survey_free(found);
    return status;
}

/* ---- training ---- */

typedef struct how {
    int epochs;
    bool resume;
    bool brief; /* fewer files: no average of the weights, one checkpoint instead of two */
    int cache;
    vit_comm *comm;
} how;

static vit_status train_on(const char *pictures, const char *folder, how h, finding *out) {
    vit_train_settings settings = settings_of_run;
    settings.recipe.epochs = h.epochs;
    settings.data.cache = h.cache;
    if (h.brief) {
        settings.recipe.model_ema = false;
        *settings.recipe.save_every = 0;
    }
    const vit_train_request request = {.settings = &settings,
                                       .data = pictures,
                                       .out = folder,
                                       .resume = h.resume,
                                       .override = h.resume,
                                       .comm = h.comm,
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
    return train_on(data, work, (how){.epochs = 1}, out);
}

/* With the thread that talks to other ranks, and the one that writes checkpoints meanwhile. */
static vit_status train_as_rank(finding *out) {
    vit_comm *comm = NULL;
    vit_status status = local_ranks_open(1, &comm);
    if (status == VIT_OK) {
        status = train_on(data, work, (how){.epochs = 1, .brief = true, .comm = comm}, out);
        vit_comm_free(comm);
    }
    return status;
}

static vit_status train_cached(finding *out) {
    return train_on(packed, work, (how){.epochs = 1, .brief = true, .cache = VIT_CACHE_RAM}, out);
}

/* From a finished run of one epoch to two. */
static vit_status resume(finding *out) {
    return train_on(data, work, (how){.epochs = 2, .resume = true}, out);
}

/* ---- measuring ---- */

typedef struct measured {
    vit_model_bundle *bundle;
    vit_dataset *val;
    float *logits;
    vit_eval_result result;
} measured;

static void measured_free(measured *m) {
    vit_dataset_free(m->val);
    vit_model_bundle_free(m->bundle);
    vit_free(m->logits);
}

static vit_status measure(const char *pictures, measured *m) {
    vit_status status = VIT_OK;
    vit_evaluator *evaluator = NULL;
    *m = (measured){0};
    VIT_TRY(vit_model_bundle_load(run, &m->bundle));
    VIT_TRY(vit_dataset_open(pictures, "val", (const char *const *)m->bundle->class_names, 3,
                             &m->val, NULL));
    VIT_TRY(vit_evaluator_create(&m->bundle->model, &m->bundle->preprocess, m->val, 4, 1,
                                 &settings_of_run.data, &evaluator));
    VIT_TRY(vit_alloc((void **)&m->logits, m->val->count * 3, sizeof *m->logits, "logits"));
    VIT_TRY(vit_evaluate(evaluator, m->bundle->params, NULL, NULL, m->logits, &m->result));
cleanup:
    vit_evaluator_free(evaluator);
    return status;
}

static vit_status evaluate_in(const char *pictures, finding *out) {
    measured m;
    vit_status status = measure(pictures, &m);
    if (status == VIT_OK) {
        out->values[0] = m.result.top1;
        out->values[1] = m.result.loss;
    }
    measured_free(&m);
    return status;
}

static vit_status evaluate(finding *out) {
    return evaluate_in(data, out);
}

static vit_status evaluate_pack(finding *out) {
    return evaluate_in(packed, out);
}

/* Made once, before calls fail: what the writing of results alone needs. */
static measured ready;
static vit_outcome *outcome;

static void make_outcome(void) {
    ck_vit_ok(measure(data, &ready));
    ck_vit_ok(vit_outcome_create(ready.val, 3, (const char *const *)ready.bundle->class_names,
                                 ready.logits, 3, &outcome));
    outcome->model = "run";
}

static vit_status tables(finding *out) {
    vit_outcome *own = NULL;
    vit_status status = vit_outcome_create(
        ready.val, 3, (const char *const *)ready.bundle->class_names, ready.logits, 3, &own);
    if (status == VIT_OK) {
        out->values[0] = own->metrics.top1;
        status = vit_outcome_write(own, work);
    }
    vit_outcome_free(own);
    return status;
}

static vit_status results(finding *out) {
    char path[1100];
    vit_status status = VIT_OK;
    snprintf(path, sizeof path, "%s/results.csv", work);
    VIT_TRY(vit_folder_make(work));
    for (int i = 0; i < 2; i++) {
        VIT_TRY(vit_results_check(path));
        VIT_TRY(vit_results_append(path, "a model", ready.bundle, 50, 100));
    }
    out->values[0] = 1;
cleanup:
    return status;
}

static vit_status report(finding *out) {
    char path[1100];
    vit_status status = VIT_OK;
    const vit_report page = {
        .run = run, .outcome = outcome, .val = ready.val, .decode = vit_decode_defaults()};
    snprintf(path, sizeof path, "%s/report.html", work);
    VIT_TRY(vit_folder_make(work));
    VIT_TRY(vit_report_write(&page, path));
    out->values[0] = 1;
cleanup:
    return status;
}

static vit_status plots(finding *out) {
    vit_status status = VIT_OK;
    const vit_report page = {.run = run, .outcome = outcome, .val = ready.val};
    VIT_TRY(vit_folder_make(work));
    if (vit_canvas_available()) {
        VIT_TRY(vit_report_plots(&page, work));
    }
    out->values[0] = 1;
cleanup:
    return status;
}

/* ---- predicting ---- */

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

/* The same as a program would that knows <zvit.h> alone. */
static vit_status classify_public(finding *out) {
    vit_status status = VIT_OK;
    vit_model *model = NULL;
    vit_classifier *classifier = NULL;
    const char *paths[] = {picture};
    VIT_TRY(vit_model_open(&model, run, NULL));
    VIT_TRY(vit_classifier_create(&classifier, model, NULL));
    VIT_TRY(vit_classify_files(classifier, paths, 1));
    const vit_result *result = vit_classifier_get_result(classifier, 0);
    VIT_TRY(result->status == VIT_OK ? VIT_OK : vit_fail(result->status, "%s", result->message));
    out->values[0] = (double)result->probabilities[1];
cleanup:
    vit_classifier_free(classifier);
    vit_model_close(model);
    return status;
}

static vit_status explain(finding *out) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_bytes bytes = {0};
    vit_image image = {0}, overlay = {0};
    vit_heat_map map = {0};
    const vit_decode_options decode = vit_decode_defaults();
    const vit_explain_options options = {.method = VIT_EXPLAIN_AUTO, .class_index = -1};
    char path[1100];
    snprintf(path, sizeof path, "%s/heat.png", work);
    VIT_TRY(vit_folder_make(work));
    VIT_TRY(vit_model_bundle_load(run, &bundle));
    VIT_TRY(vit_image_load(picture, &decode, &bytes, &image));
    VIT_TRY(vit_explain(bundle, &image, &options, &map));
    VIT_TRY(vit_heat_overlay(&map, &image, VIT_HEAT_ALPHA, &overlay));
    VIT_TRY(vit_png_write(path, &overlay));
    out->values[0] = (double)map.values[0];
cleanup:
    vit_heat_map_free(&map);
    vit_image_free(&image);
    vit_image_free(&overlay);
    vit_bytes_free(&bytes);
    vit_model_bundle_free(bundle);
    return status;
}

/* ---- serving: the computing thread, asked for a picture with its heat map ---- */

typedef struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
} waiting;

static void note_done(void *context) {
    waiting *w = context;
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static vit_status ask(serve_engine *engine, serve_job *job) {
    waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    job->done = note_done;
    job->context = &w;
    if (!serve_queue_reserve(serve_engine_queue(engine), job->count)) {
        return vit_fail(VIT_ERROR_LIMIT, "the queue is full");
    }
    serve_queue_push(serve_engine_queue(engine), job);
    pthread_mutex_lock(&w.lock);
    while (!w.done) {
        pthread_cond_wait(&w.changed, &w.lock);
    }
    pthread_mutex_unlock(&w.lock);
    const serve_picture *p = &job->pictures[0];
    const char *reason = p->error ? p->error : "out of memory"; /* as the server answers it */
    return p->status == VIT_OK ? VIT_OK : vit_fail(p->status, "%s", reason);
}

static vit_status serve(finding *out) {
    static const char *const routes[] = {"/", NULL};
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    serve_metrics *metrics = NULL;
    serve_engine *engine = NULL;
    serve_settings settings = {.queue = 4, .max_batch = 2};
    serve_picture asked = {0};
    serve_job job = {.pictures = &asked, .count = 1, .remaining = 1, .class_index = -1};
    asked.job = &job;
    job.query = (serve_query){.explain = true, .overlay = true};
    VIT_TRY(vit_model_bundle_load(run, &bundle));
    VIT_TRY(vit_file_read(picture, SIZE_MAX / 2, &asked.bytes));
    VIT_TRY(serve_metrics_create(routes, &metrics));
    VIT_TRY(serve_engine_start(bundle, &settings, &settings_of_run.data, 1, metrics, &engine));
    VIT_TRY(ask(engine, &job));
    out->values[0] = (double)asked.probabilities[1];
cleanup:
    serve_engine_free(engine);
    serve_metrics_free(metrics);
    vit_bytes_free(&asked.bytes);
    vit_bytes_free(&asked.overlay);
    vit_free(asked.probabilities);
    vit_heat_map_free(&asked.heat);
    free(asked.error);
    vit_model_bundle_free(bundle);
    return status;
}

/* ---- for other programs ---- */

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

static vit_status export_safetensors(finding *out) {
    return export_as(VIT_EXPORT_SAFETENSORS, out);
}

static vit_status export_int8(finding *out) {
    return export_as(VIT_EXPORT_INT8, out);
}

/* The timm format is for softmax models: one as it is made, not trained. */
static vit_status export_timm(finding *out) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_export_paths paths;
    vit_config config = settings_of_run.model;
    config.attn = VIT_ATTENTION_SOFTMAX;
    config.rope = VIT_ROPE_NONE;
    config.num_classes = 3;
    VIT_TRY(
        vit_model_bundle_new(&config, &ready.bundle->preprocess, small_run_classes, 1, &bundle));
    VIT_TRY(vit_export_place(VIT_EXPORT_TIMM, work, &paths));
    VIT_TRY(vit_export(bundle, VIT_EXPORT_TIMM, &paths));
    out->values[0] = 1;
cleanup:
    vit_model_bundle_free(bundle);
    return status;
}

#ifdef ZVIT_HAVE_PROTOBUF_C
static vit_status export_onnx(finding *out) {
    return export_as(VIT_EXPORT_ONNX, out);
}
#endif

static vit_status pack_into(const char *path, size_t short_side, finding *out) {
    vit_pack_options options = {
        .short_side = short_side, .decode = vit_decode_defaults(), .threads = 1};
    vit_pack_result result;
    vit_status status = vit_pack_write(data, path, &options, &result);
    if (status == VIT_OK) {
        out->values[0] = (double)result.pictures;
        out->values[1] = (double)result.bytes_written;
    }
    return status;
}

static vit_status pack(finding *out) {
    char path[1100];
    vit_status status = vit_folder_make(work);
    snprintf(path, sizeof path, "%s/pack.zpk", work);
    return status == VIT_OK ? pack_into(path, 8, out) : status;
}

/* ---- what is left behind: every file is whole, or not there ---- */

static bool is_there(char path[1024], const char *name) {
    return access(temp_path(path, work, "%s", name), F_OK) == 0;
}

static void inspect_run(void) {
    char path[1024];
    static const char *const models[] = {"best.safetensors", "last.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        vit_model_bundle *bundle = NULL;
        if (is_there(path, models[i])) {
            ck_vit_ok(vit_model_bundle_load(path, &bundle));
        }
        vit_model_bundle_free(bundle);
    }
    if (is_there(path, "last.state.safetensors")) {
        vit_state *state = NULL;
        ck_vit_ok(vit_state_open(path, &state));
        vit_state_close(state);
    }
    if (is_there(path, "args.json")) {
        vit_json *args = NULL;
        ck_vit_ok(vit_json_read(path, 1 << 20, &args));
        vit_json_free(args);
    }
}

static void inspect_files(void) {
    char path[1024];
    vit_safetensors *file = NULL;
    vit_pack *opened = NULL;
    if (is_there(path, "model.safetensors")) {
        ck_vit_ok(vit_safetensors_open(path, &file));
        vit_safetensors_close(file);
    }
    if (is_there(path, "pack.zpk")) {
        ck_vit_ok(vit_pack_open(path, &opened));
        vit_pack_close(opened);
    }
}

/* Texts end as they should. */
static void check_end(const char *name, const char *begin, const char *end) {
    char path[1024];
    vit_bytes bytes = {0};
    if (is_there(path, name)) {
        ck_vit_ok(vit_file_read(path, SIZE_MAX / 2, &bytes));
        ck_assert_uint_ge(bytes.size, strlen(end));
        ck_assert_mem_eq(bytes.data, begin, strlen(begin));
        ck_assert_mem_eq(bytes.data + bytes.size - strlen(end), end, strlen(end));
    }
    vit_bytes_free(&bytes);
}

static void inspect_texts(void) {
    check_end("eval.json", "{", "}\n");
    check_end("per_class.csv", "class,", "\n");
    check_end("predictions.csv", "path,", "\n");
    check_end("report.html", "<!doctype html>", "</html>\n");
    check_end("curves.svg", "<?xml", "</svg>\n");
    check_end("curves.png", "\x89PNG", "IEND\xae\x42\x60\x82");
    check_end("heat.png", "\x89PNG", "IEND\xae\x42\x60\x82");
}

/* The rows that are there are whole ones, or none is: an empty table. */
static void inspect_results(void) {
    char path[1024];
    vit_bytes bytes = {0};
    if (is_there(path, "results.csv")) {
        ck_vit_ok(vit_file_read(path, SIZE_MAX / 2, &bytes));
        ck_assert(bytes.size == 0 || bytes.data[bytes.size - 1] == '\n');
        ck_vit_ok(vit_results_check(path));
    }
    vit_bytes_free(&bytes);
}

const operation operations[] = {
    {.part = "use", .name = "load", .run = load},
    {.part = "use", .name = "find", .run = find_data},
    {.part = "use", .name = "find in a pack", .run = find_pack},
    {.part = "use", .name = "check", .run = survey},
    {.part = "train", .name = "train", .run = train, .inspect = inspect_run},
    {.part = "pack",
     .name = "train from a pack, cached",
     .run = train_cached,
     .inspect = inspect_run},
    {.part = "rank", .name = "train as a rank", .run = train_as_rank, .inspect = inspect_run},
    {.part = "resume", .name = "resume", .run = resume, .inspect = inspect_run, .goes_on = true},
    {.part = "measure", .name = "evaluate", .run = evaluate},
    {.part = "measure", .name = "evaluate a pack", .run = evaluate_pack},
    {.part = "measure", .name = "write tables", .run = tables, .inspect = inspect_texts},
    {.part = "measure", .name = "append results", .run = results, .inspect = inspect_results},
    {.part = "measure", .name = "write a report", .run = report, .inspect = inspect_texts},
    {.part = "measure",
     .name = "draw plots",
     .run = plots,
     .inspect = inspect_texts,
     .foreign_ends = true},
    {.part = "use", .name = "classify", .run = classify},
    {.part = "use", .name = "classify through <zvit.h>", .run = classify_public},
    {.part = "use", .name = "explain", .run = explain, .inspect = inspect_texts},
    {.part = "use", .name = "serve", .run = serve},
    {.part = "use", .name = "export", .run = export_safetensors, .inspect = inspect_files},
    {.part = "use", .name = "export to timm", .run = export_timm, .inspect = inspect_files},
    {.part = "use", .name = "export to int8", .run = export_int8, .inspect = inspect_files},
#ifdef ZVIT_HAVE_PROTOBUF_C
    {.part = "use", .name = "export to ONNX", .run = export_onnx, .inspect = inspect_files},
#endif
    {.part = "use", .name = "pack", .run = pack, .inspect = inspect_files},
};
const size_t operation_count = sizeof operations / sizeof *operations;

/* ---- beginnings ---- */

static void copy_run(void) {
    static const char *const files[] = {"args.json",        "log.csv",
                                        "classes.txt",      "best.safetensors",
                                        "last.safetensors", "last.state.safetensors"};
    vit_bytes bytes = {0};
    char path[1024];
    make_folders(work);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        ck_vit_ok(vit_file_read(temp_path(path, run, "%s", files[i]), SIZE_MAX / 2, &bytes));
        ck_vit_ok(vit_file_replace(temp_path(path, work, "%s", files[i]), bytes.data, bytes.size));
    }
    vit_bytes_free(&bytes);
}

void operation_begin(const operation *op) {
    temp_folder_remove(strdup(work));
    if (op->goes_on) {
        copy_run();
    }
}

void operations_prepare(const char *base) {
    finding ignored;
    temp_path(data, base, "data");
    temp_path(packed, base, "packed.zpk");
    temp_path(run, base, "run");
    temp_path(work, base, "work");
    temp_path(picture, data, "val/bee/000.png");
    settings_of_run = small_run_settings();
    settings_of_run.model.depth = 1;
    settings_of_run.recipe.warmup_epochs = 0;
    settings_of_run.recipe.batch_size = 6; /* two steps: one checkpoint within the epoch */
    settings_of_run.recipe.mixup = 0.5;
    settings_of_run.recipe.model_ema = true;
    settings_of_run.data.on_error = VIT_ON_ERROR_FAIL;
    snprintf(settings_of_run.recipe.save_every, sizeof settings_of_run.recipe.save_every, "1");
    make_pictures(data, "train", small_run_classes, 3, 4, 17, 16, 1);
    make_pictures(data, "val", small_run_classes, 3, 2, 16, 18, 1000);
    ck_vit_ok(pack_into(packed, 0, &ignored));
    ck_vit_ok(train_on(data, run, (how){.epochs = 1}, &ignored));
    make_outcome();
}
