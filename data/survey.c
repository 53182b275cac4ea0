#include "data/survey.h"

#include "vit/heap.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

const char *const vit_survey_split_names[VIT_SURVEY_SPLITS] = {"train", "val", "test"};

static vit_status no_memory(void) {
    return vit_fail(VIT_ERROR_MEMORY, "no memory for the list of pictures");
}

/* ---- the data ---- */

static vit_status open_splits(vit_survey *s, const vit_dataset_query *query) {
    vit_dataset_query q = *query;
    vit_status status = VIT_OK;
    q.known_classes = NULL;
    q.keep_empty = true;
    for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
        bool has = i == 0;
        q.split = vit_survey_split_names[i];
        q.val_split = i < 2 ? query->val_split : 0;
        /* The order is train's alone: another split may lack a class of the file. */
        q.class_order = i == 0 ? query->class_order : NULL;
        if (i > 0) {
            VIT_TRY(vit_dataset_has(&q, &has));
        }
        if (has) {
            VIT_TRY(vit_dataset_find(&q, &s->splits[i], NULL));
        }
    }
    /* Without val, test stands for it. */
    if (s->splits[1] && s->splits[2] && strcmp(s->splits[1]->root, s->splits[2]->root) == 0) {
        vit_dataset_free(s->splits[2]);
        s->splits[2] = NULL;
    }
cleanup:
    return status;
}

static size_t find_class(vit_survey *s, const char *name) {
    size_t i = 0;
    while (i < s->class_count && strcmp(s->classes[i].name, name) != 0) {
        i++;
    }
    return i;
}

/* Classes of all splits by name. Splits mostly have the same ones in the same order, so a name is
 * looked for where it was in train. */
static vit_status list_classes(vit_survey *s) {
    const vit_dataset *train = s->splits[0]; /* the one that is always there */
    size_t most = train->class_count;
    s->file_count = train->count;
    for (int i = 1; i < VIT_SURVEY_SPLITS; i++) {
        most += s->splits[i] ? s->splits[i]->class_count : 0;
        s->file_count += s->splits[i] ? s->splits[i]->count : 0;
    }
    s->classes = vit_calloc(most, sizeof *s->classes);
    s->files = vit_calloc(s->file_count ? s->file_count : 1, sizeof *s->files);
    if (!s->classes || !s->files) {
        return no_memory();
    }
    for (; s->class_count < train->class_count; s->class_count++) {
        s->classes[s->class_count].name = train->class_names[s->class_count];
    }
    return VIT_OK;
}

static vit_status list_files(vit_survey *s) {
    size_t at = 0;
    for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
        const vit_dataset *d = s->splits[i];
        size_t *index = d ? vit_calloc(d->class_count, sizeof *index) : NULL;
        if (d && !index) {
            return no_memory();
        }
        for (size_t c = 0; d && c < d->class_count; c++) {
            const char *name = d->class_names[c];
            index[c] = c < s->class_count && strcmp(s->classes[c].name, name) == 0
                           ? c
                           : find_class(s, name);
            if (index[c] == s->class_count) {
                s->classes[s->class_count++] = (vit_survey_class){.name = name, .unknown = true};
            }
        }
        for (size_t j = 0; d && j < d->count; j++, at++) {
            size_t c = index[d->samples[j].label];
            s->files[at] = (vit_survey_file){.sample = &d->samples[j],
                                             .path = d->samples[j].path,
                                             .split = i,
                                             .class_index = c,
                                             .same_as = at};
            s->classes[c].counts[i]++;
        }
        vit_free(index);
    }
    return VIT_OK;
}

/* ---- one file ---- */

typedef struct fingerprint {
    size_t bytes;
    uint64_t hash[2];
    size_t index; /* of the file */
} fingerprint;

/* Two multiplicative hashes over words of eight bytes; files that agree are compared. */
static void hash_bytes(const unsigned char *data, size_t size, uint64_t hash[2]) {
    uint64_t a = 0x9e3779b97f4a7c15u ^ size, b = 0xc2b2ae3d27d4eb4fu + size;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, data + at, size - at < 8 ? size - at : 8);
        a = (a ^ word) * 0xff51afd7ed558ccdu;
        a ^= a >> 32;
        b = (b + word) * 0x9fb21c651e98df25u;
        b ^= b >> 29;
    }
    hash[0] = a;
    hash[1] = b;
}

static bool ends_wrongly(const char *path, vit_image_format format) {
    return (format == VIT_IMAGE_PNG && !vit_path_ends(path, ".png")) ||
           (format == VIT_IMAGE_JPEG && !vit_path_ends(path, ".jpg") &&
            !vit_path_ends(path, ".jpeg"));
}

/* Fails only for want of memory. */
static vit_status read_file(vit_survey_file *file, const vit_decode_options *decode,
                            vit_bytes *buffer, vit_image *image, fingerprint *print) {
    const void *bytes;
    size_t size;
    vit_status status = vit_sample_read(file->sample, buffer, &bytes, &size);
    if (status == VIT_OK) {
        file->bytes = print->bytes = size;
        hash_bytes(bytes, size, print->hash);
        file->format = vit_image_sniff(bytes, size);
        /* A pack may hold a picture as a JPEG that was a PNG before. */
        file->wrong_ending = !file->sample->entry && ends_wrongly(file->path, file->format);
        status = vit_image_decode(bytes, size, file->path, decode, image);
    }
    if (status == VIT_OK) {
        file->width = image->width;
        file->height = image->height;
    } else if (status != VIT_ERROR_MEMORY) {
        file->reason = vit_strdup(vit_last_error());
        status = file->reason ? VIT_OK : no_memory();
    }
    return status;
}

static vit_status read_files(vit_survey *s, const vit_decode_options *decode,
                             vit_survey_progress progress, void *context, fingerprint *prints) {
    vit_first_error error = {0};
    size_t done = 0;
#pragma omp parallel
    {
        vit_bytes bytes = {0};
        vit_image image = {0};
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < s->file_count; i++) {
            size_t now;
            prints[i].index = i;
            vit_status status = read_file(&s->files[i], decode, &bytes, &image, &prints[i]);
            if (status != VIT_OK) {
                vit_first_error_note(&error, (long)i, status);
            }
#pragma omp atomic capture
            now = ++done;
            if (progress && omp_get_thread_num() == 0) {
                progress(context, now, s->file_count);
            }
        }
        vit_bytes_free(&bytes);
        vit_image_free(&image);
    }
    return vit_first_error_raise(&error);
}

/* ---- copies ---- */

static int compare_contents(const fingerprint *x, const fingerprint *y) {
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? -1 : 1;
    }
    for (int i = 0; i < 2; i++) {
        if (x->hash[i] != y->hash[i]) {
            return x->hash[i] < y->hash[i] ? -1 : 1;
        }
    }
    return 0;
}

static int compare_prints(const void *a, const void *b) {
    const fingerprint *x = a, *y = b;
    int order = compare_contents(x, y);
    return order ? order : (x->index < y->index ? -1 : x->index > y->index);
}

static bool same_bytes(const vit_sample *a, const vit_sample *b, vit_bytes *x, vit_bytes *y) {
    const void *bytes[2];
    size_t sizes[2];
    return vit_sample_read(a, x, &bytes[0], &sizes[0]) == VIT_OK &&
           vit_sample_read(b, y, &bytes[1], &sizes[1]) == VIT_OK && sizes[0] == sizes[1] &&
           (sizes[0] == 0 || memcmp(bytes[0], bytes[1], sizes[0]) == 0);
}

/* Marks the files of a run of equal fingerprints that equal the first of them, and counts. A copy
 * leaks when any file before it in the group lies in another split. */
static void mark_copies(vit_survey *s, const fingerprint *prints, size_t count, vit_bytes *x,
                        vit_bytes *y) {
    const vit_survey_file *first = &s->files[prints[0].index];
    unsigned splits = 1u << first->split;
    for (size_t i = 1; i < count; i++) {
        vit_survey_file *file = &s->files[prints[i].index];
        if (!same_bytes(first->sample, file->sample, x, y)) {
            continue;
        }
        file->same_as = prints[0].index;
        s->copies++;
        s->leaks += (splits & ~(1u << file->split)) != 0;
        s->conflicts += file->class_index != first->class_index;
        splits |= 1u << file->split;
    }
}

static void find_copies(vit_survey *s, fingerprint *prints) {
    vit_bytes x = {0}, y = {0};
    if (s->file_count) {
        qsort(prints, s->file_count, sizeof *prints, compare_prints);
    }
    for (size_t first = 0, end; first < s->file_count; first = end) {
        for (end = first + 1; end < s->file_count; end++) {
            if (compare_contents(&prints[first], &prints[end]) != 0) {
                break;
            }
        }
        if (prints[first].bytes > 0) { /* empty files, and those never read, are unreadable */
            mark_copies(s, prints + first, end - first, &x, &y);
        }
    }
    vit_bytes_free(&x);
    vit_bytes_free(&y);
}

/* ---- figures ---- */

static int compare_sizes(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts values. */
static vit_survey_range range_of(size_t *values, size_t count) {
    if (count == 0) {
        return (vit_survey_range){0};
    }
    qsort(values, count, sizeof *values, compare_sizes);
    return (vit_survey_range){values[0], values[count / 2], values[count - 1]};
}

static void count_files(vit_survey *s, size_t *values) {
    size_t readable = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        const vit_survey_file *file = &s->files[i];
        s->unreadable += file->reason != NULL;
        s->wrong_endings += file->wrong_ending;
        s->jpegs += file->format == VIT_IMAGE_JPEG;
        s->pngs += file->format == VIT_IMAGE_PNG;
        if (!file->reason) {
            values[readable++] = file->width;
        }
    }
    s->width = range_of(values, readable);
    readable = 0;
    for (size_t i = 0; i < s->file_count; i++) {
        if (!s->files[i].reason) {
            values[readable++] = s->files[i].height;
        }
    }
    s->height = range_of(values, readable);
}

static void count_classes(vit_survey *s, size_t *values) {
    size_t known = s->splits[0]->class_count, filled = 0;
    for (size_t c = 0; c < known; c++) {
        size_t n = s->classes[c].counts[0];
        s->empty_classes += n == 0;
        if (n > 0) {
            values[filled++] = n;
        }
    }
    s->unknown_classes = s->class_count - known;
    vit_survey_range sizes = range_of(values, filled);
    s->imbalance = filled ? (double)sizes.most / (double)sizes.least : 0;
    for (size_t c = 0; c < known; c++) {
        size_t n = s->classes[c].counts[0];
        s->classes[c].near_empty = n > 0 && (n < 10 || 10 * n < sizes.median);
    }
}

vit_status vit_survey_run(const vit_dataset_query *query, const vit_decode_options *decode,
                          vit_survey_progress progress, void *context, vit_survey **out) {
    fingerprint *prints = NULL;
    size_t *values = NULL;
    vit_status status = VIT_OK;
    *out = NULL;
    vit_survey *s = vit_calloc(1, sizeof *s);
    VIT_TRY(s ? VIT_OK : no_memory());
    VIT_TRY(open_splits(s, query));
    VIT_TRY(list_classes(s));
    VIT_TRY(list_files(s));
    prints = vit_calloc(s->file_count + 1, sizeof *prints);
    values = vit_calloc(s->file_count + s->class_count + 1, sizeof *values);
    VIT_TRY(prints && values ? VIT_OK : no_memory());
    VIT_TRY(read_files(s, decode, progress, context, prints));
    find_copies(s, prints);
    count_files(s, values);
    count_classes(s, values);
    *out = s;
    s = NULL;
cleanup:
    vit_free(prints);
    vit_free(values);
    vit_survey_free(s);
    return status;
}

void vit_survey_free(vit_survey *survey) {
    if (!survey) {
        return;
    }
    for (size_t i = 0; survey->files && i < survey->file_count; i++) {
        vit_free(survey->files[i].reason);
    }
    for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
        vit_dataset_free(survey->splits[i]);
    }
    vit_free(survey->files);
    vit_free(survey->classes);
    vit_free(survey);
}

size_t vit_survey_faults(const vit_survey *survey) {
    return survey->unreadable + survey->leaks + survey->unknown_classes + survey->empty_classes +
           (survey->splits[0]->class_count < 2);
}
