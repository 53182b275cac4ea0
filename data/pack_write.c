#include "data/checksum.h"
#include "data/little_endian.h"
#include "data/pack.h"
#include "data/pack_format.h"
#include "data/resize.h"
#include "vit/arena.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUALITY 95
#define ROUND 64 /* pictures made in parallel before they are written in their order */
#define MAX_SPLITS 3
#define INDEX "index of the pack" /* in messages */

/* What of a written picture goes into the index. */
typedef struct record {
    uint64_t size, checksum;
    bool skipped;
} record;

typedef struct split {
    vit_dataset *dataset;
    const char *name; /* of the section */
    record *records;  /* (dataset->count) */
} split;

/* A thread's buffers. */
typedef struct worker {
    vit_bytes file;
    vit_image decoded, resized;
    vit_resize_scratch resize;
} worker;

/* A picture of the round. */
typedef struct outcome {
    vit_bytes bytes;
    size_t original; /* bytes */
    bool shrunk, skipped;
    char message[VIT_MESSAGE_MAX]; /* why skipped */
} outcome;

typedef struct packer {
    const vit_pack_options *options;
    vit_pack_result *result;
    vit_file_writer *writer;
    split splits[MAX_SPLITS];
    size_t split_count, total;
    worker *workers;
    outcome *outcomes; /* (ROUND) */
    vit_bytes index;
    uint64_t position; /* in the file */
} packer;

/* ---- numbers and texts into a growing buffer ---- */

static vit_status append_number(vit_bytes *to, uint64_t x, size_t width) {
    uint8_t bytes[8];
    vit_put_number(bytes, x, width);
    return vit_bytes_append(to, bytes, width, INDEX);
}

static vit_status append_text(vit_bytes *to, const char *text) {
    size_t length = strlen(text);
    vit_status status;
    if (length > PACK_MAX_TEXT) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: a name of %zu bytes (expected at most %d)", text,
                        length, PACK_MAX_TEXT);
    }
    VIT_TRY(append_number(to, length, 4));
    VIT_TRY(vit_bytes_append(to, text, length, INDEX));
cleanup:
    return status;
}

/* ---- one picture ---- */

static vit_status shrink(worker *w, size_t side) {
    size_t height, width;
    vit_short_side_size(&w->decoded, (double)side, &height, &width);
    return vit_resize(&w->decoded, NULL, width, height, VIT_BICUBIC, &w->resize, &w->resized);
}

static vit_status make_picture(const packer *p, const vit_dataset *d, size_t i, worker *w,
                               outcome *out) {
    const char *path = d->samples[i].path;
    size_t side = p->options->short_side, size;
    const void *bytes;
    vit_status status;
    *out = (outcome){.bytes = out->bytes};
    VIT_TRY(vit_sample_read(&d->samples[i], &w->file, &bytes, &size));
    out->original = size;
    if (side) {
        VIT_TRY(vit_image_decode(bytes, size, path, &p->options->decode, &w->decoded));
        out->shrunk = w->decoded.width > side && w->decoded.height > side;
    }
    if (out->shrunk) {
        VIT_TRY(shrink(w, side));
        VIT_TRY(vit_image_encode_jpeg(&w->resized, QUALITY, &out->bytes));
    } else {
        VIT_TRY(vit_bytes_reserve(&out->bytes, size, path));
        memcpy(out->bytes.data, bytes, size);
        out->bytes.size = size;
    }
cleanup:
    return status;
}

static void make_one(packer *p, const vit_dataset *d, size_t i, outcome *out,
                     vit_first_error *error) {
    vit_status status = make_picture(p, d, i, &p->workers[omp_get_thread_num()], out);
    if (p->options->skip && vit_is_pictures_fault(status)) {
        out->skipped = true;
        snprintf(out->message, sizeof out->message, "%s", vit_last_error());
    } else if (status != VIT_OK) {
        vit_first_error_note(error, (long)i, status);
    }
}

static vit_status write_one(packer *p, const outcome *out, record *r) {
    vit_pack_result *result = p->result;
    vit_status status = VIT_OK;
    if (out->skipped) {
        r->skipped = true;
        if (result->skipped++ == 0) {
            memcpy(result->first_skipped, out->message, sizeof out->message);
        }
        return VIT_OK;
    }
    VIT_TRY(vit_file_write(p->writer, out->bytes.data, out->bytes.size));
    r->size = out->bytes.size;
    r->checksum = vit_checksum(out->bytes.data, out->bytes.size);
    p->position += r->size;
    result->pictures++;
    result->shrunk += out->shrunk;
    result->bytes_read += out->original;
    result->bytes_written += r->size;
cleanup:
    return status;
}

static vit_status write_split(packer *p, split *s) {
    vit_status status = VIT_OK;
    for (size_t first = 0; first < s->dataset->count; first += ROUND) {
        size_t left = s->dataset->count - first;
        long count = (long)(left < ROUND ? left : ROUND);
        vit_first_error error = {0};
#pragma omp parallel for schedule(dynamic, 1) num_threads(p->options->threads)
        for (long j = 0; j < count; j++) {
            make_one(p, s->dataset, first + (size_t)j, &p->outcomes[j], &error);
        }
        VIT_TRY(vit_first_error_raise(&error));
        for (long j = 0; j < count; j++) {
            VIT_TRY(write_one(p, &p->outcomes[j], &s->records[first + (size_t)j]));
        }
        if (p->options->progress) {
            p->options->progress(p->options->context, p->result->pictures + p->result->skipped,
                                 p->total);
        }
    }
cleanup:
    return status;
}

/* ---- the index ---- */

typedef struct named_class {
    const char *name;
    uint32_t label;
} named_class;

static int compare_classes(const void *a, const void *b) {
    return strcmp(((const named_class *)a)->name, ((const named_class *)b)->name);
}

/* Appends the class names by bytes; places[label] is where a class has come to stand. */
static vit_status append_classes(packer *p, const vit_dataset *d, uint32_t *places) {
    named_class *sorted = vit_reallocarray(NULL, d->class_count, sizeof *sorted);
    vit_status status = VIT_OK;
    if (!sorted) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: no memory for the class names", d->root);
    }
    for (size_t i = 0; i < d->class_count; i++) {
        sorted[i] = (named_class){d->class_names[i], (uint32_t)i};
    }
    qsort(sorted, d->class_count, sizeof *sorted, compare_classes);
    VIT_TRY(append_number(&p->index, d->class_count, 4));
    for (size_t i = 0; i < d->class_count; i++) {
        places[sorted[i].label] = (uint32_t)i;
        VIT_TRY(append_text(&p->index, sorted[i].name));
    }
cleanup:
    vit_free(sorted);
    return status;
}

static vit_status append_split(packer *p, const split *s) {
    const vit_dataset *d = s->dataset;
    uint64_t count = 0;
    uint32_t *places = vit_calloc(d->class_count, sizeof *places);
    vit_status status = VIT_OK;
    if (!places) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: no memory for the class names", d->root);
    }
    for (size_t i = 0; i < d->count; i++) {
        count += !s->records[i].skipped;
    }
    VIT_TRY(append_text(&p->index, s->name));
    VIT_TRY(append_classes(p, d, places));
    VIT_TRY(append_number(&p->index, count, 8));
    for (size_t i = 0; i < d->count; i++) {
        const record *r = &s->records[i];
        if (r->skipped) {
            continue;
        }
        VIT_TRY(append_number(&p->index, r->size, 8));
        VIT_TRY(append_number(&p->index, r->checksum, 8));
        VIT_TRY(append_number(&p->index, places[d->samples[i].label], 4));
        VIT_TRY(append_text(&p->index, vit_dataset_path_below(d, i)));
    }
cleanup:
    vit_free(places);
    return status;
}

static vit_status write_end(packer *p, const uint8_t header[PACK_HEADER]) {
    uint8_t summed[PACK_HEADER + PACK_FOOTER];
    vit_status status;
    VIT_TRY(append_number(&p->index, p->split_count, 4));
    for (size_t i = 0; i < p->split_count; i++) {
        VIT_TRY(append_split(p, &p->splits[i]));
    }
    memcpy(summed, header, PACK_HEADER);
    vit_put_number(summed + PACK_HEADER, p->position, 8);
    vit_put_number(summed + PACK_HEADER + 8, p->index.size, 8);
    vit_put_number(summed + PACK_HEADER + 16, vit_checksum(p->index.data, p->index.size), 8);
    vit_put_number(summed + PACK_HEADER + 24, vit_checksum(summed, PACK_HEADER + 24), 8);
    VIT_TRY(vit_file_write(p->writer, p->index.data, p->index.size));
    VIT_TRY(vit_file_write(p->writer, summed + PACK_HEADER, PACK_FOOTER));
cleanup:
    return status;
}

/* ---- the splits ---- */

static vit_status add_split(packer *p, const vit_dataset_query *query, const char *name) {
    split *s = &p->splits[p->split_count];
    void *block = NULL;
    vit_status status;
    VIT_TRY(vit_dataset_find(query, &s->dataset, NULL));
    p->split_count++;
    s->name = s->dataset->whole ? "" : name;
    VIT_TRY(vit_alloc(&block, s->dataset->count, sizeof *s->records, INDEX));
    s->records = block;
    p->total += s->dataset->count;
cleanup:
    return status;
}

/* Train, or all there is; val; and test, unless that is what val was found as. */
static vit_status find_splits(packer *p, const char *data) {
    static const char *const names[MAX_SPLITS] = {"train", "val", "test"};
    vit_dataset_query query = {.data = data, .val_split = p->options->val_split};
    vit_status status = VIT_OK;
    for (size_t i = 0; i < MAX_SPLITS; i++) {
        bool has = i == 0;
        query.split = names[i];
        if (i == 2 && (query.val_split > 0 || p->splits[0].dataset->whole)) {
            break;
        }
        if (i > 0) {
            VIT_TRY(vit_dataset_has(&query, &has));
        }
        if (has) {
            VIT_TRY(add_split(p, &query, names[i]));
        }
        if (i == 2 && has && p->split_count == 3 &&
            strcmp(p->splits[1].dataset->root, p->splits[2].dataset->root) == 0) {
            p->split_count = 2; /* split_free still finds the third */
            p->total -= p->splits[2].dataset->count;
        }
    }
cleanup:
    return status;
}

static void packer_free(packer *p) {
    for (size_t i = 0; i < MAX_SPLITS; i++) {
        vit_dataset_free(p->splits[i].dataset);
        vit_free(p->splits[i].records);
    }
    for (int i = 0; p->workers && i < p->options->threads; i++) {
        vit_bytes_free(&p->workers[i].file);
        vit_image_free(&p->workers[i].decoded);
        vit_image_free(&p->workers[i].resized);
        vit_resize_scratch_free(&p->workers[i].resize);
    }
    for (int i = 0; p->outcomes && i < ROUND; i++) {
        vit_bytes_free(&p->outcomes[i].bytes);
    }
    vit_free(p->workers);
    vit_free(p->outcomes);
    vit_bytes_free(&p->index);
    vit_file_abort(p->writer);
}

vit_status vit_pack_write(const char *data, const char *path, const vit_pack_options *options,
                          vit_pack_result *result) {
    packer p = {.options = options, .result = result, .position = PACK_HEADER};
    uint8_t header[PACK_HEADER] = PACK_MAGIC;
    void *block = NULL;
    vit_status status;
    *result = (vit_pack_result){0};
    vit_put_number(header + 8, VIT_PACK_VERSION, 4);
    if (!vit_pack_is_name(path)) {
        VIT_TRY(
            vit_fail(VIT_ERROR_ARGUMENT, "%s: not the name of a pack (expected NAME.zpk)", path));
    }
    VIT_TRY(find_splits(&p, data));
    VIT_TRY(vit_alloc(&block, (size_t)options->threads, sizeof *p.workers, "packing"));
    p.workers = block;
    VIT_TRY(vit_alloc(&block, ROUND, sizeof *p.outcomes, "packing"));
    p.outcomes = block;
    VIT_TRY(vit_file_begin(path, &p.writer));
    VIT_TRY(vit_file_write(p.writer, header, sizeof header));
    for (size_t i = 0; i < p.split_count; i++) {
        VIT_TRY(write_split(&p, &p.splits[i]));
    }
    VIT_TRY(write_end(&p, header));
    status = vit_file_commit(p.writer);
    p.writer = NULL;
cleanup:
    packer_free(&p);
    return status;
}
