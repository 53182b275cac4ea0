#include "eval/evaluate.h"

#include "eval/metrics.h"
#include "eval/tta.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* What one thread computes with. */
typedef struct worker {
    vit_workspace *workspace;
    vit_arena memory; /* of the logits */
    float *logits;    /* (chunk,K) */
    float *mirrored;  /* (chunk,K) of the mirrored pictures, with VIT_TTA_FLIP; its own */
} worker;

/* What counts of what is said of a picture; the same bytes on every machine. */
typedef struct said {
    double loss;
    uint8_t top1, top5, failed;
    uint8_t unused[5];
} said;

/* A product's last bits depend on how many rows it has, so pictures are cut into chunks by their
 * place in the data set: batches are multiples of the chunk, and the chunk depends on the model
 * alone. Only the data set's last chunk may be short. */
struct vit_evaluator {
    const vit_model *model;
    size_t images, chunk; /* images: of all ranks */
    vit_eval_ranks ranks; /* ranks 1: the only one */
    vit_range share;      /* this rank's pictures, in whole chunks */
    vit_dataset part;     /* a view of these */
    size_t *offsets;      /* (ranks + 1) for gather */
    int threads;
    vit_loader *loader;
    vit_batch *batches[2];
    size_t worker_count;
    worker *workers;
    said *said; /* (images); of this rank until they are gathered */
    vit_tta tta;
    bool (*should_stop)(void *context);
    void *stop_context;

    /* One batch's work list, inside the critical section vit_evaluate. */
    size_t next_chunk, next_fetch;
};

/* ---- memory ---- */

size_t vit_evaluation_chunk(const vit_model *model) {
    enum { ROWS = 200, MOST = 4 };
    size_t chunk = (ROWS + model->tokens - 1) / model->tokens;
    return chunk > MOST ? MOST : chunk;
}

static vit_status check(const vit_model *model, const vit_dataset *dataset, size_t batch_size,
                        int threads) {
    if (batch_size < 1 || threads < 1) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "evaluation: batch of %zu with %d threads (expected at least 1 of both)",
                        batch_size, threads);
    }
    if (dataset->count < 1) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: no picture to evaluate", dataset->root);
    }
    return vit_dataset_check_labels(dataset, (size_t)model->config.num_classes);
}

static vit_status create_loader(vit_evaluator *e, const vit_preprocess *preprocess,
                                const vit_dataset *dataset, size_t batch_size,
                                const vit_data_options *reading) {
    vit_loader_config config = {
        .dataset = dataset,
        .batch_size = batch_size,
        .height = e->model->patch.height,
        .width = e->model->patch.width,
        .preprocess = *preprocess,
        .decode = reading ? vit_data_decode(reading) : vit_decode_defaults(),
        .skip = reading && reading->on_error == VIT_ON_ERROR_SKIP,
    };
    vit_status status = VIT_OK;
    VIT_TRY(vit_loader_create(&config, e->threads, &e->loader));
    VIT_TRY(vit_batch_create(e->loader, &e->batches[0]));
    VIT_TRY(vit_batch_create(e->loader, &e->batches[1]));
cleanup:
    return status;
}

static void plan_worker(const vit_model *model, size_t chunk, worker *w) {
    size_t floats = vit_size_times(chunk, (size_t)model->config.num_classes);
    w->logits = vit_arena_floats(&w->memory, floats);
}

static vit_status worker_init(const vit_evaluator *e, worker *w) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_workspace_create(e->model, e->chunk, VIT_INFERENCE, &w->workspace));
    plan_worker(e->model, e->chunk, w);
    VIT_TRY(vit_arena_allocate(&w->memory, "logits"));
    plan_worker(e->model, e->chunk, w);
cleanup:
    return status;
}

/* No more than there are pictures, in whole chunks. */
static size_t whole_chunks(const vit_model *model, size_t images, size_t batch_size) {
    size_t chunk = vit_evaluation_chunk(model), most = batch_size < images ? batch_size : images;
    return vit_size_times((most + chunk - 1) / chunk, chunk);
}

size_t vit_evaluator_bytes(const vit_model *model, size_t images, size_t ranks, size_t batch_size,
                           int threads) {
    size_t chunk = vit_evaluation_chunk(model), workspace;
    size_t share = images / ranks + (images % ranks != 0);
    size_t batch = whole_chunks(model, share, batch_size);
    worker w = {0};
    plan_worker(model, chunk, &w);
    if (vit_workspace_bytes(model, chunk, VIT_INFERENCE, &workspace) != VIT_OK ||
        w.memory.overflow) {
        return SIZE_MAX;
    }
    size_t batches =
        vit_size_times(2, vit_batch_bytes(batch, batch, model->patch.height, model->patch.width));
    return vit_size_plus(vit_size_plus(batches, vit_size_times(images, sizeof(said))),
                         vit_size_times((size_t)threads, vit_size_plus(workspace, w.memory.used)));
}

/* Each by the thread that will use it, so that its memory lies near. */
static vit_status create_workers(vit_evaluator *e) {
    vit_first_error error = {0};
#pragma omp parallel for schedule(static, 1) num_threads(e->threads)
    for (size_t i = 0; i < e->worker_count; i++) {
        vit_status status = worker_init(e, &e->workers[i]);
        if (status != VIT_OK) {
            vit_first_error_note(&error, (long)i, status);
        }
    }
    return vit_first_error_raise(&error);
}

/* What of the data set is this rank's. */
static vit_status take_share(vit_evaluator *e, const vit_dataset *dataset,
                             const vit_eval_ranks *ranks) {
    void *block = NULL;
    vit_status status;
    e->ranks = ranks ? *ranks : (vit_eval_ranks){.ranks = 1};
    size_t count = e->ranks.ranks;
    if (count < 1 || e->ranks.rank >= count) {
        return vit_fail(VIT_ERROR_ARGUMENT, "evaluation: rank %zu of %zu (expected one of them)",
                        e->ranks.rank, count);
    }
    VIT_TRY(vit_alloc(&block, vit_size_plus(count, 1), sizeof *e->offsets, "ranks"));
    e->offsets = block;
    for (size_t r = 0; r < count; r++) {
        e->offsets[r + 1] = vit_share_of_list(r, count, dataset->count, e->chunk).end;
    }
    e->share = (vit_range){e->offsets[e->ranks.rank], e->offsets[e->ranks.rank + 1]};
    e->part = *dataset;
    e->part.samples += e->share.first;
    e->part.count = e->share.end - e->share.first;
cleanup:
    return status;
}

vit_status vit_evaluator_create_share(const vit_model *model, const vit_preprocess *preprocess,
                                      const vit_dataset *dataset, size_t batch_size, int threads,
                                      const vit_data_options *reading, const vit_eval_ranks *ranks,
                                      vit_evaluator **out) {
    *out = NULL;
    vit_evaluator *e = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(check(model, dataset, batch_size, threads));
    VIT_TRY(vit_alloc((void **)&e, 1, sizeof *e, "evaluator"));
    e->model = model;
    e->images = dataset->count;
    e->chunk = vit_evaluation_chunk(model);
    e->threads = threads;
    VIT_TRY(take_share(e, dataset, ranks));
    if (e->part.count > 0) { /* else there are more ranks than chunks */
        batch_size = whole_chunks(model, e->part.count, batch_size);
        VIT_TRY(create_loader(e, preprocess, &e->part, batch_size, reading));
    }
    VIT_TRY(vit_alloc((void **)&e->said, e->images, sizeof *e->said, "what is measured"));
    VIT_TRY(vit_alloc((void **)&e->workers, (size_t)threads, sizeof *e->workers, "evaluator"));
    e->worker_count = (size_t)threads;
    VIT_TRY(create_workers(e));
    *out = e;
cleanup:
    if (status != VIT_OK) {
        vit_evaluator_free(e);
    }
    return status;
}

vit_status vit_evaluator_create(const vit_model *model, const vit_preprocess *preprocess,
                                const vit_dataset *dataset, size_t batch_size, int threads,
                                const vit_data_options *reading, vit_evaluator **out) {
    return vit_evaluator_create_share(model, preprocess, dataset, batch_size, threads, reading,
                                      NULL, out);
}

size_t vit_evaluator_rows(const vit_evaluator *evaluator) {
    return evaluator->ranks.rank == 0 ? evaluator->images : evaluator->part.count;
}

vit_status vit_evaluator_logits(const vit_evaluator *evaluator, float **out) {
    size_t rows = vit_evaluator_rows(evaluator); /* 0: there are more ranks than chunks */
    size_t values = vit_size_times(rows ? rows : 1, (size_t)evaluator->model->config.num_classes);
    return vit_alloc((void **)out, values, sizeof **out, "logits of all pictures");
}

void vit_evaluator_free(vit_evaluator *evaluator) {
    if (!evaluator) {
        return;
    }
    for (size_t i = 0; i < evaluator->worker_count; i++) {
        vit_workspace_free(evaluator->workers[i].workspace);
        vit_arena_free(&evaluator->workers[i].memory);
        vit_free(evaluator->workers[i].mirrored);
    }
    vit_free(evaluator->workers);
    vit_free(evaluator->said);
    vit_free(evaluator->offsets);
    vit_batch_free(evaluator->batches[0]);
    vit_batch_free(evaluator->batches[1]);
    vit_loader_free(evaluator->loader);
    vit_free(evaluator);
}

vit_status vit_evaluator_set_tta(vit_evaluator *evaluator, vit_tta tta) {
    size_t values = evaluator->chunk * (size_t)evaluator->model->config.num_classes;
    for (size_t i = 0; tta == VIT_TTA_FLIP && i < evaluator->worker_count; i++) {
        worker *w = &evaluator->workers[i];
        vit_status status = w->mirrored
                                ? VIT_OK
                                : vit_alloc((void **)&w->mirrored, values, sizeof(float), "logits");
        if (status != VIT_OK) {
            return status;
        }
    }
    evaluator->tta = tta;
    return VIT_OK;
}

void vit_evaluator_set_stop(vit_evaluator *evaluator, bool (*should_stop)(void *context),
                            void *context) {
    evaluator->should_stop = should_stop;
    evaluator->stop_context = context;
}

/* ---- one batch ---- */

static said say(size_t K, const float *logits, int label) {
    vit_score score;
    vit_score_logits(K, logits, label, &score);
    return (said){.loss = score.loss, .top1 = score.top1, .top5 = score.top5};
}

/* What is said of the batch (count), and its logits (count,K) or NULL. The batch's pictures are
 * used up. */
static void run_chunk(const vit_evaluator *e, const float *params, const vit_batch *batch,
                      size_t chunk, worker *w, said *result, float *logits) {
    size_t first = chunk * e->chunk, K = (size_t)e->model->config.num_classes;
    size_t B = batch->count - first < e->chunk ? batch->count - first : e->chunk;
    size_t rows = e->model->patch.channels * e->model->patch.height, width = e->model->patch.width;
    float *images = batch->images + first * rows * width;
    vit_model_forward(e->model, params, w->workspace, B, images, NULL, w->logits);
    if (e->tta == VIT_TTA_FLIP) {
        vit_mirror_rows(B * rows, width, images);
        vit_model_forward(e->model, params, w->workspace, B, images, NULL, w->mirrored);
        for (size_t b = 0; b < B; b++) {
            vit_mean_of_two_logits(K, w->logits + b * K, w->mirrored + b * K);
        }
    }
    for (size_t b = 0; b < B; b++) {
        result[first + b] = say(K, w->logits + b * K, batch->labels[first + b]);
    }
    if (logits) {
        memcpy(logits + first * K, w->logits, B * K * sizeof *logits);
    }
}

/* One work list: the chunks of the batch, then the pictures of the next one, so that decoding fills
 * the gaps. batch NULL: only fetch. */
static void run_batch(vit_evaluator *e, const float *params, const vit_batch *batch,
                      vit_batch *next, said *result, float *logits) {
    size_t chunks = batch ? (batch->count + e->chunk - 1) / e->chunk : 0;
    e->next_chunk = e->next_fetch = 0;
#pragma omp parallel num_threads(e->threads)
    {
        worker *w = &e->workers[omp_get_thread_num()];
        for (;;) {
            size_t chunk = chunks, fetch = next->count;
#pragma omp critical(vit_evaluate)
            {
                if (e->next_chunk < chunks) {
                    chunk = e->next_chunk++;
                } else if (e->next_fetch < next->count) {
                    fetch = e->next_fetch++;
                }
            }
            if (chunk < chunks) {
                run_chunk(e, params, batch, chunk, w, result, logits);
            } else if (fetch < next->count) {
                vit_loader_fetch(e->loader, next, fetch);
            } else {
                break;
            }
        }
    }
}

/* ---- the share ---- */

/* A picture that could not be read keeps its place in its chunk, so that the others' results are
 * the same as without it, but does not count. */
static void leave_out(const vit_evaluator *e, const vit_batch *batch, said *result, float *logits) {
    size_t K = (size_t)e->model->config.num_classes;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->failed[i]) {
            result[i] = (said){.failed = 1};
            for (size_t k = 0; logits && k < K; k++) {
                logits[i * K + k] = NAN;
            }
        }
    }
}

/* first: the first picture of the share that could not be read. */
static vit_status run_share(vit_evaluator *e, const float *params, vit_eval_progress progress,
                            void *context, float *logits, vit_first_error *first) {
    size_t K = (size_t)e->model->config.num_classes, done = 0;
    size_t batches = e->loader ? vit_loader_batches(e->loader) : 0;
    if (batches == 0) {
        return VIT_OK;
    }
    vit_loader_start_epoch(e->loader, 0);
    vit_loader_prepare(e->loader, 0, e->batches[0]);
    run_batch(e, params, NULL, e->batches[0], NULL, NULL);
    for (size_t i = 0; i < batches; i++) {
        vit_batch *batch = e->batches[i % 2], *next = e->batches[(i + 1) % 2];
        vit_status status = vit_first_error_raise(&batch->error);
        if (status == VIT_OK && e->should_stop && e->should_stop(e->stop_context)) {
            status = vit_fail(VIT_ERROR_STOPPED, "stopped after %zu of %zu pictures", done,
                              e->part.count);
        }
        if (status != VIT_OK) {
            return status;
        }
        vit_loader_prepare(e->loader, i + 1, next);
        said *result = e->said + e->share.first + done;
        float *rows = logits ? logits + done * K : NULL;
        run_batch(e, params, batch, next, result, rows);
        leave_out(e, batch, result, rows);
        if (first->status == VIT_OK) {
            *first = batch->skipped;
        }
        done += batch->count;
        if (progress) {
            progress(context, done, e->part.count);
        }
    }
    return VIT_OK;
}

/* ---- the data set ---- */

/* offsets of things of so many bytes for each picture, or for each rank. */
static void set_offsets(vit_evaluator *e, size_t bytes, bool of_ranks) {
    for (size_t r = 0; r <= e->ranks.ranks; r++) {
        size_t things = of_ranks ? r
                        : r == 0
                            ? 0
                            : vit_share_of_list(r - 1, e->ranks.ranks, e->images, e->chunk).end;
        e->offsets[r] = things * bytes;
    }
}

/* What every rank has said; and the logits, on rank 0. */
static vit_status gather(vit_evaluator *e, vit_status status, float *logits) {
    const vit_eval_ranks *ranks = &e->ranks;
    if (ranks->ranks == 1) {
        return status;
    }
    VIT_TRY(ranks->agree(ranks->context, status));
    set_offsets(e, sizeof *e->said, false);
    VIT_TRY(ranks->gather(ranks->context, e->said, e->offsets));
    if (logits) {
        set_offsets(e, (size_t)e->model->config.num_classes * sizeof *logits, false);
        VIT_TRY(ranks->collect(ranks->context, logits, e->offsets));
    }
cleanup:
    return status;
}

/* Why the first picture of all that could not be read could not; it is one of rank r's. */
static vit_status gather_reason(vit_evaluator *e, size_t r, vit_first_error *first) {
    const vit_eval_ranks *ranks = &e->ranks;
    void *block = NULL;
    vit_status status = VIT_OK;
    if (ranks->ranks == 1) {
        return VIT_OK;
    }
    VIT_TRY(vit_alloc(&block, ranks->ranks, sizeof *first, "ranks"));
    vit_first_error *all = block;
    all[ranks->rank] = *first;
    set_offsets(e, sizeof *first, true);
    VIT_TRY(ranks->gather(ranks->context, all, e->offsets));
    *first = all[r];
cleanup:
    vit_free(block);
    return status;
}

typedef struct totals {
    size_t skipped, best, among_five;
    size_t first_skipped; /* its place in the data set */
    double loss;
} totals;

/* In the order of the data set, so that the sum has the same bits whoever computed what. */
static totals add_up(const vit_evaluator *e) {
    totals sum = {0};
    for (size_t i = 0; i < e->images; i++) {
        const said *s = &e->said[i];
        if (s->failed) {
            sum.first_skipped = sum.skipped ? sum.first_skipped : i;
            sum.skipped++;
        } else {
            sum.loss += s->loss;
            sum.best += s->top1;
            sum.among_five += s->top5;
        }
    }
    return sum;
}

static size_t rank_of(const vit_evaluator *e, size_t image) {
    size_t r = 0;
    while (vit_share_of_list(r, e->ranks.ranks, e->images, e->chunk).end <= image) {
        r++;
    }
    return r;
}

vit_status vit_evaluate(vit_evaluator *evaluator, const float *params, vit_eval_progress progress,
                        void *context, float *logits, vit_eval_result *result) {
    double start = vit_seconds();
    vit_first_error first = {0};
    vit_status status = run_share(evaluator, params, progress, context, logits, &first);
    VIT_TRY(gather(evaluator, status, logits));
    totals sum = add_up(evaluator);
    if (sum.skipped > 0) {
        VIT_TRY(gather_reason(evaluator, rank_of(evaluator, sum.first_skipped), &first));
    }
    if (sum.skipped == evaluator->images) {
        vit_first_error_raise(&first);
        return vit_fail_context(first.status, "no picture could be read; the first");
    }
    double seconds = vit_seconds() - start, images = (double)(evaluator->images - sum.skipped);
    *result = (vit_eval_result){
        .images = evaluator->images - sum.skipped,
        .skipped = sum.skipped,
        .classes = (size_t)evaluator->model->config.num_classes,
        .top1 = 100.0 * (double)sum.best / images,
        .top5 = 100.0 * (double)sum.among_five / images,
        .loss = sum.loss / images,
        .seconds = seconds,
        .images_per_second = seconds > 0 ? images / seconds : 0,
    };
    memcpy(result->first_skipped, first.message, sizeof result->first_skipped);
cleanup:
    return status;
}
