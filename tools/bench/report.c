/* Collecting figures, and saying how far they are. */
#include "tools/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

void bench_add(bench_report *report, const char *name, double value, const char *unit,
               double ceiling_share) {
    if (report->count < BENCH_MAX_RESULTS) {
        bench_result *result = &report->results[report->count++];
        *result = (bench_result){.value = value, .unit = unit, .ceiling_share = ceiling_share};
        snprintf(result->name, sizeof result->name, "%s", name);
    }
}

void bench_add_memory(bench_report *report) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    bench_add(report, "peak memory", (double)usage.ru_maxrss * 1024e-6, "MB", NAN);
}

void bench_tell(const bench_settings *settings, const char *doing, size_t done, size_t total) {
    if (settings->listener != NULL) {
        settings->listener(settings->listener_context, doing, done, total);
    }
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}
