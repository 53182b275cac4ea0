#include "train/ranks.h"

#include "vit/arena.h"
#include "vit/file.h"
#include "vit/quant_model.h"

#include <stdio.h>
#include <string.h>

/* ---- the same run on every rank ---- */

enum { VALUE_MAX = 512, PROGRAM_MAX = 1 << 28 };

/* What every rank must have as rank 0 has it. */
typedef struct identity {
    char version[32];
    uint64_t program; /* hash of the executable file */
    uint64_t layout;  /* hash of the parameter table */
    uint64_t data;    /* hash of the pictures' names, sizes and labels */
    uint64_t pictures, classes;
    uint64_t weights; /* hash of the teacher's, or of those that are measured */
    uint64_t options; /* of a measurement; those of a training are compared one by one */
} identity;

/* In the manner of FNV-1a, eight bytes at once: programs and weights have millions. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *at = data;
    for (size_t step; bytes > 0; at += step, bytes -= step) {
        uint64_t word = 0;
        step = bytes < sizeof word ? bytes : sizeof word;
        memcpy(&word, at, step);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 32;
    }
    return hash;
}

#define HASH_START 0xcbf29ce484222325u

static uint64_t hash_layout(const vit_param_table *table) {
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < table->count; i++) {
        const vit_param *p = &table->items[i];
        hash = hash_bytes(hash, p->name, strlen(p->name) + 1);
        hash = hash_bytes(hash, &p->offset, sizeof p->offset);
        hash = hash_bytes(hash, &p->size, sizeof p->size);
    }
    return hash_bytes(hash, &(size_t){sizeof(vit_train_settings)}, sizeof(size_t));
}

/* 0 without a bundle. Of weights in 8 bits, the floats that they stand for: how they are packed
 * depends on the processor, and the parameter block does not hold them. */
static vit_status hash_weights(const vit_model_bundle *bundle, uint64_t *hash) {
    vit_status status = VIT_OK;
    float *whole = NULL;
    *hash = 0;
    if (!bundle) {
        return VIT_OK;
    }
    const float *params = bundle->params;
    size_t total = bundle->model.params.total;
    const bool int8 = bundle->model.int8 != NULL;
    if (int8) {
        VIT_TRY(vit_alloc_raw((void **)&whole, total, sizeof *whole, "the teacher's weights"));
        memcpy(whole, params, total * sizeof *whole);
        vit_quant_model_floats(&bundle->model, whole);
        params = whole;
    }
    *hash = hash_bytes(hash_bytes(HASH_START, &int8, sizeof int8), params, total * sizeof *params);
cleanup:
    vit_free(whole);
    return status;
}

/* 0 when it cannot be read: then the version has to do. */
static uint64_t hash_program(void) {
    vit_bytes file = {0};
    uint64_t hash = 0;
    if (vit_file_read("/proc/self/exe", PROGRAM_MAX, &file) == VIT_OK) {
        hash = hash_bytes(HASH_START, file.data, file.size);
    }
    vit_bytes_free(&file);
    return hash;
}

static vit_status identify(const vit_model *model, const vit_model_bundle *weights,
                           const vit_dataset *train, const vit_dataset *val, int threads,
                           identity *own) {
    memset(own, 0, sizeof *own);
    snprintf(own->version, sizeof own->version, "%s", vit_version());
    own->program = hash_program();
    own->layout = hash_layout(&model->params);
    own->data = vit_dataset_hash(train, threads);
    if (val) {
        uint64_t hash = vit_dataset_hash(val, threads);
        own->data = hash_bytes(own->data, &hash, sizeof hash);
    }
    own->pictures = train->count + (val ? val->count : 0);
    own->classes = train->class_count;
    return hash_weights(weights, &own->weights);
}

/* weights: what they are called. */
static vit_status compare(const identity *own, const identity *first, const char *weights) {
    if (strcmp(own->version, first->version) != 0 || own->program != first->program ||
        own->layout != first->layout) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "another build of zvit %s than rank 0's %s (expected the same program on "
                        "every machine)",
                        own->version, first->version);
    }
    if (own->data != first->data) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "DATA: %llu pictures in %llu classes that are not rank 0's %llu in %llu "
                        "(expected the same files and sizes on every machine)",
                        (unsigned long long)own->pictures, (unsigned long long)own->classes,
                        (unsigned long long)first->pictures, (unsigned long long)first->classes);
    }
    if (own->weights != first->weights) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s: other weights than rank 0's (expected the same file)", weights);
    }
    if (own->options != first->options) {
        return vit_fail(VIT_ERROR_ARGUMENT, "other options than rank 0's (expected the same on "
                                            "every rank)");
    }
    return VIT_OK;
}

/* Every setting as text, in the order of the tables. */
static void format_settings(const vit_train_settings *settings, char (*values)[VALUE_MAX],
                            const char **names) {
    vit_train_settings copy = *settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&copy, NULL, groups);
    for (size_t g = 0, n = 0; g < count; g++) {
        for (size_t i = 0; i < groups[g].count; i++, n++) {
            names[n] = groups[g].options[i].name;
            vit_option_format(&groups[g].options[i], groups[g].target, values[n], VALUE_MAX);
        }
    }
}

static vit_status compare_settings(const vit_run *r) {
    size_t count = vit_train_setting_count();
    char(*own)[VALUE_MAX] = NULL, (*first)[VALUE_MAX] = NULL;
    const char **names = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&own, count, VALUE_MAX, "settings"));
    VIT_TRY(vit_alloc((void **)&first, count, VALUE_MAX, "settings"));
    VIT_TRY(vit_alloc((void **)&names, count, sizeof *names, "settings"));
    format_settings(&r->settings, own, names);
    memcpy(first, own, count * VALUE_MAX);
    VIT_TRY(vit_comm_broadcast(r->comm, 0, first, count * VALUE_MAX));
    for (size_t i = 0; i < count && status == VIT_OK; i++) {
        if (strcmp(own[i], first[i]) != 0) {
            status = vit_fail(VIT_ERROR_ARGUMENT,
                              "--%s: %s, but rank 0 has %s (expected the same options on every "
                              "rank)",
                              names[i], *own[i] ? own[i] : "\"\"", *first[i] ? first[i] : "\"\"");
        }
    }
    VIT_TRY(vit_comm_agree(r->comm, status));
cleanup:
    vit_free(own);
    vit_free(first);
    vit_free((void *)names);
    return status;
}

/* Whether all are rank 0, given how identifying this one went. */
static vit_status check_same(vit_comm *comm, vit_status identified, const identity *own,
                             const char *weights) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_comm_agree(comm, identified));
    identity first = *own;
    VIT_TRY(vit_comm_broadcast(comm, 0, &first, sizeof first));
    VIT_TRY(vit_comm_agree(comm, compare(own, &first, weights)));
cleanup:
    return status;
}

vit_status vit_ranks_check(const vit_run *r) {
    if (!r->comm) {
        return VIT_OK;
    }
    identity own;
    vit_status status =
        identify(&r->bundle->model, r->teacher_bundle, r->train, r->val, r->threads, &own);
    status = check_same(r->comm, status, &own, "--distill");
    return status == VIT_OK ? compare_settings(r) : status;
}

vit_status vit_ranks_check_measurement(vit_comm *comm, const vit_model_bundle *bundle,
                                       const vit_dataset *dataset, const char *options,
                                       int threads) {
    if (!comm) {
        return VIT_OK;
    }
    identity own;
    vit_status status = identify(&bundle->model, bundle, dataset, NULL, threads, &own);
    own.options = hash_bytes(HASH_START, options, strlen(options));
    return check_same(comm, status, &own, "MODEL");
}

vit_status vit_ranks_take_state(vit_run *r) {
    vit_status status = VIT_OK;
    float *blocks[VIT_STATE_BLOCKS];
    size_t bytes = r->bundle->model.params.total * sizeof(float);
    vit_run_blocks(r, blocks);
    VIT_TRY(vit_comm_broadcast(r->comm, 0, &r->at, sizeof r->at));
    for (size_t b = 0; b < VIT_STATE_BLOCKS; b++) {
        if (blocks[b]) {
            VIT_TRY(vit_comm_broadcast(r->comm, 0, blocks[b], bytes));
        }
    }
cleanup:
    return status;
}

/* ---- batches ---- */

/* Flags of all ranks, of which each knows those that it fetched; and why, of the first picture in
 * the batch. Seldom done. */
static vit_status gather_failed(vit_run *r, vit_batch *batch) {
    size_t size = vit_comm_size(r->comm), rank = vit_comm_rank(r->comm);
    bool *flags = NULL;
    vit_first_error *reasons = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&flags, vit_size_times(size, batch->count), sizeof *flags, "ranks"));
    VIT_TRY(vit_alloc((void **)&reasons, size, sizeof *reasons, "ranks"));
    memcpy(flags + rank * batch->count, batch->failed, batch->count * sizeof *flags);
    reasons[rank] = batch->skipped;
    VIT_TRY(vit_comm_gather_equal(r->comm, flags, batch->count * sizeof *flags));
    VIT_TRY(vit_comm_gather_equal(r->comm, reasons, sizeof *reasons));
    for (size_t i = 0; i < size; i++) {
        for (size_t j = 0; j < batch->count; j++) {
            batch->failed[j] |= flags[i * batch->count + j];
        }
        if (reasons[i].status != VIT_OK &&
            (batch->skipped.status == VIT_OK || reasons[i].index < batch->skipped.index)) {
            batch->skipped = reasons[i];
        }
    }
cleanup:
    vit_free(flags);
    vit_free(reasons);
    return status;
}

enum { FETCH_FAILED = 1, PICTURE_FAILED = 2 };

vit_status vit_ranks_settle_batch(vit_run *r, vit_batch *batch, size_t *dropped) {
    vit_status status = VIT_OK;
    uint64_t bits = (batch->error.status != VIT_OK ? FETCH_FAILED : 0) |
                    (batch->skipped.status != VIT_OK ? PICTURE_FAILED : 0);
    *dropped = 0;
    VIT_TRY(vit_comm_any(r->comm, &bits));
    if (bits & FETCH_FAILED) {
        VIT_TRY(vit_comm_agree(r->comm, vit_first_error_raise(&batch->error)));
    }
    if (bits & PICTURE_FAILED) {
        if (r->comm) {
            VIT_TRY(gather_failed(r, batch));
        }
        *dropped = vit_loader_drop_failed(r->loader, batch);
        vit_run_fill(r, batch);
        VIT_TRY(vit_comm_agree(r->comm, vit_first_error_raise(&batch->error)));
    }
cleanup:
    return status;
}

/* ---- decisions ---- */

enum { STOP = 1, OUT_OF_TIME = 2, SAVE = 4 };

vit_status vit_ranks_decide(const vit_run *r, vit_decisions *decisions) {
    uint64_t bits = decisions->stop ? STOP : 0;
    if (vit_run_leads(r)) {
        bits |= (decisions->out_of_time ? OUT_OF_TIME : 0) | (decisions->save ? SAVE : 0);
    }
    vit_status status = vit_comm_any(r->comm, &bits);
    *decisions = (vit_decisions){bits & STOP, bits & OUT_OF_TIME, bits & SAVE};
    return status;
}
