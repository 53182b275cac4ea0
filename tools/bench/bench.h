/* What zvit bench measures. Each kind is a function of settings that adds its figures to a report;
 * the table of them is in tools/cmd_bench.c. Figures are medians. */
#ifndef ZVIT_BENCH_H
#define ZVIT_BENCH_H

#include "vit/model.h"

#define BENCH_NAME_MAX 64
#define BENCH_MAX_RESULTS 128
#define BENCH_MAX_REPEATS 100
#define BENCH_MAX_TOKENS 4

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

/* Hears between two timings what is measured next, and how many timings of how many are done. */
typedef void bench_listener(void *context, const char *doing, size_t done, size_t total);

typedef struct bench_settings {
    vit_config model;
    int threads;
    int batch_size, pictures, repeats;
    int tokens[BENCH_MAX_TOKENS]; /* of bench_attention; a value as before it ends the list */
    bool fast_decode;             /* of bench_loader */
    bool int8;                    /* of bench_infer: the same with int8 weights, in turns */
    const char *data;             /* DATA, or NULL */
    bench_listener *listener;     /* or NULL */
    void *listener_context;
} bench_settings;

/* Past BENCH_MAX_RESULTS nothing is added. */
void bench_add(bench_report *report, const char *name, double value, const char *unit,
               double ceiling_share);

/* The most memory that this process has held at once (peak resident set), in MB of 10^6 bytes. */
void bench_add_memory(bench_report *report);

/* Tells the listener; never while something is timed. */
void bench_tell(const bench_settings *settings, const char *doing, size_t done, size_t total);

/* The middle value (the mean of the two middle ones); sorts values. */
double bench_median(double *values, size_t count);

/* ---- the ceiling: ceiling.c ---- */

/* The rate at which this machine computes the matrix products of a model, every thread products of
 * its own, single-threaded, all at the same time. A processor that others share changes its speed
 * within seconds, so samples are taken in turns with what is measured against them. */
#define BENCH_SAMPLES 5
typedef struct bench_ceiling {
    const vit_model *model;
    int threads;
    size_t pictures; /* in one product */
    bool training;   /* with the products of the backward */
    double rates[BENCH_SAMPLES];
    size_t count;
} bench_ceiling;
bench_ceiling bench_ceiling_of(const bench_settings *settings, const vit_model *model,
                               bool training);
/* One more sample, in some tenths of a second; past BENCH_SAMPLES none is taken. */
vit_status bench_ceiling_sample(bench_ceiling *ceiling);
/* Flop/s over all threads: the median of the samples. */
double bench_ceiling_rate(const bench_ceiling *ceiling);

/* How many of the repeats, the count of which is `repeats`, come after sample number `sample` (from
 * 0, of BENCH_SAMPLES): none after the last. */
int bench_share_of_repeats(int repeats, size_t sample);

/* ---- the kinds ---- */

/* ceiling.c: the rate of a large square product, and of every product of a training step of the
 * model with `pictures` pictures at once, and of all of them weighted by their flops. */
vit_status bench_gemm(const bench_settings *settings, bench_report *report);

/* train.c: steps of training on pictures of random numbers. */
vit_status bench_train(const bench_settings *settings, bench_report *report);
/* The same steps, for zvit plan: median seconds of forward and backward, and of norm and update. */
vit_status bench_train_step(const bench_settings *settings, double *compute, double *update);

/* infer.c: forward passes of one picture, all threads on it, and of a batch; with int8, of both
 * kinds of weights, and how many times as fast those in 8 bits are. */
vit_status bench_infer(const bench_settings *settings, bench_report *report);

/* attention.c: forward and backward of one layer of every kind of attention over growing numbers of
 * tokens. */
vit_status bench_attention(const bench_settings *settings, bench_report *report);

/* loader.c: how many pictures of data's train split are read, decoded, randomly cropped to 224 x
 * 224, mirrored and normalised in a second and in a second of one processor's time, on one thread
 * and on all of them; their ceiling is as many times one thread's rate. */
vit_status bench_loader(const bench_settings *settings, bench_report *report);

/* startup.c: zvit classify of one picture, from the start of the process to its answer. */
vit_status bench_startup(const bench_settings *settings, bench_report *report);

#endif
