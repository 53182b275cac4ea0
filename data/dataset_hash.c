#include "data/checksum.h"
#include "data/folder.h"
#include "data/pack.h"

#include <string.h>
#include <sys/stat.h>

/* A file that is not there has no size, and that is part of the hash too: it is reading it that
 * fails, or skips it. */
static uint64_t file_size(const vit_sample *sample) {
    struct stat s;
    if (sample->entry) {
        return sample->entry->size;
    }
    return stat(sample->path, &s) == 0 ? (uint64_t)s.st_size : UINT64_MAX;
}

static uint64_t hash_sample(const vit_dataset *d, size_t i) {
    const vit_sample *sample = &d->samples[i];
    const char *path = vit_dataset_path_below(d, i);
    uint64_t fields[] = {i, vit_checksum(path, strlen(path)), file_size(sample),
                         (uint64_t)sample->label};
    return vit_checksum(fields, sizeof fields);
}

uint64_t vit_dataset_hash(const vit_dataset *dataset, int threads) {
    uint64_t hash = dataset->count;
    for (size_t i = 0; i < dataset->class_count; i++) {
        const char *name = dataset->class_names[i];
        uint64_t fields[] = {hash, vit_checksum(name, strlen(name))};
        hash = vit_checksum(fields, sizeof fields);
    }
    /* A sum, so that threads can share the work: a file system on the network answers slowly, but
     * many at once. Each term has its place in it. */
    uint64_t sum = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 64) reduction(+ : sum)
    for (size_t i = 0; i < dataset->count; i++) {
        sum += hash_sample(dataset, i);
    }
    uint64_t fields[] = {hash, sum};
    return vit_checksum(fields, sizeof fields);
}
