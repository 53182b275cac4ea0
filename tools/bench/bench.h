/* What zvit bench measures. */
#ifndef ZVIT_BENCH_H
#define ZVIT_BENCH_H

#include "vit/model.h"

#define BENCH_NAME_MAX 64
#define BENCH_MAX_RESULTS 64

typedef struct bench_result {
    char name[BENCH_NAME_MAX];
    double value;
    const char *unit;
    double ceiling_share; /* 0..1; NaN when there is no ceiling to compare with */
} bench_result;

typedef struct bench_report {
    bench_result results[BENCH_MAX_RESULTS];
    size_t count;
} bench_report;

typedef struct bench_settings {
    vit_config model;
    int threads, batch_size, repeats;
    bool fast_decode; /* of bench_loader */
} bench_settings;

/* Past BENCH_MAX_RESULTS nothing is added. */
void bench_add(bench_report *report, const char *name, double value, const char *unit,
               double ceiling_share);

/* The middle value (the mean of the two middle ones); sorts values. */
double bench_median(double *values, size_t count);

/* gemm.c: adds the rate of a large square product, of every product of a training step of the
 * model with `pictures` pictures at once, and of all of them together weighted by their flops:
 * that one, in flop/s over all threads, is *rate. */
vit_status bench_gemm(const bench_settings *settings, const vit_model *model, size_t pictures,
                      bench_report *report, double *rate);

/* train.c: adds the rate of training steps on synthetic pictures. gemm_rate: flop/s that are the
 * ceiling. */
vit_status bench_train(const bench_settings *settings, const vit_model *model, double gemm_rate,
                       bench_report *report);

/* loader.c: adds how many pictures of data's train split are read, decoded, randomly cropped to 224
 * x 224, mirrored and normalised in a second and in a second of one processor's time, on one thread
 * and on all of them; their ceiling is as many times one thread's rate. */
vit_status bench_loader(const bench_settings *settings, const char *data, bench_report *report);

#endif
