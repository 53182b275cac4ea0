/* The data path alone: read, decode, RandomResizedCrop(224), mirror, normalise into batches. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "data/loader.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define SIDE 224

typedef struct reader {
    vit_dataset *dataset;
    vit_loader *loader;
    vit_batch *batch;
    double wall[BENCH_MAX_REPEATS], cpu[BENCH_MAX_REPEATS]; /* seconds of an epoch */
} reader;

static void reader_free(reader *r) {
    vit_batch_free(r->batch);
    vit_loader_free(r->loader);
    vit_dataset_free(r->dataset);
}

static vit_status reader_create(const bench_settings *settings, reader *r) {
    vit_status status;
    vit_augment augment;
    const vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &augment};
    VIT_TRY(vit_options_defaults(&group));
    augment.color_jitter = 0;
    augment.train_interpolation = VIT_BILINEAR; /* what torchvision takes */
    augment.fast_decode = settings->fast_decode;
    VIT_TRY(vit_dataset_open(settings->data, "train", NULL, 0, &r->dataset, NULL));
    const vit_loader_config config = {
        .dataset = r->dataset,
        .batch_size = (size_t)settings->batch_size,
        .height = SIDE,
        .width = SIDE,
        .preprocess = {.crop_pct = 0.875,
                       .mean = {0.485, 0.456, 0.406},
                       .std = {0.229, 0.224, 0.225}},
        .augment = &augment,
        .shuffle = true,
        .decode = vit_decode_defaults(),
    };
    VIT_TRY(vit_loader_create(&config, settings->threads, &r->loader));
    VIT_TRY(vit_batch_create(r->loader, &r->batch));
cleanup:
    return status;
}

/* Seconds that the processors worked for this process, in it and in the kernel. */
static double cpu_now(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static vit_status read_epoch(reader *r, uint32_t epoch, int threads) {
    vit_status status = VIT_OK;
    vit_loader_start_epoch(r->loader, epoch);
    for (size_t i = 0; i < vit_loader_batches(r->loader) && status == VIT_OK; i++) {
        vit_loader_prepare(r->loader, i, r->batch);
        long count = (long)r->batch->count;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (long j = 0; j < count; j++) {
            vit_loader_fetch(r->loader, r->batch, (size_t)j);
        }
        status = vit_first_error_raise(&r->batch->error);
    }
    return status;
}

/* Pictures in a second and in a CPU-second, each the median of the epochs. */
static vit_status measure(const bench_settings *settings, reader *r, int threads, double rates[2]) {
    vit_status status;
    char doing[BENCH_NAME_MAX];
    size_t repeats = (size_t)settings->repeats;
    snprintf(doing, sizeof doing, "reading, %d thread%s", threads, threads == 1 ? "" : "s");
    bench_tell(settings, doing, 0, repeats + 1);
    VIT_TRY(read_epoch(r, 0, threads)); /* the files come into the kernel's memory */
    for (size_t i = 0; i < repeats; i++) {
        bench_tell(settings, doing, i + 1, repeats + 1);
        double wall = vit_seconds(), cpu = cpu_now();
        VIT_TRY(read_epoch(r, (uint32_t)i, threads));
        r->wall[i] = vit_seconds() - wall;
        r->cpu[i] = cpu_now() - cpu;
    }
    double pictures = (double)r->dataset->count;
    rates[0] = pictures / bench_median(r->wall, repeats);
    rates[1] = pictures / bench_median(r->cpu, repeats);
cleanup:
    return status;
}

vit_status bench_loader(const bench_settings *settings, bench_report *report) {
    vit_status status = VIT_OK;
    reader r;
    double one[2], all[2];
    memset(&r, 0, sizeof r);
    VIT_TRY(reader_create(settings, &r));
    VIT_TRY(measure(settings, &r, 1, one));
    bench_add(report, "reading, 1 thread", one[0], "images/s", NAN);
    bench_add(report, "of a processor, 1 thread", one[1], "images/CPU-s", NAN);
    if (settings->threads > 1) {
        char name[BENCH_NAME_MAX];
        VIT_TRY(measure(settings, &r, settings->threads, all));
        snprintf(name, sizeof name, "reading, %d threads", settings->threads);
        bench_add(report, name, all[0], "images/s", all[0] / (one[0] * settings->threads));
        snprintf(name, sizeof name, "of a processor, %d threads", settings->threads);
        bench_add(report, name, all[1], "images/CPU-s", NAN);
    }
cleanup:
    reader_free(&r);
    return status;
}
