#include "tools/serve/metrics.h"

#include "tools/cmd.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Upper bounds; what is above the last goes to +Inf. */
static const double second_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                       0.25,  0.5,    1,     2.5,  5,     10};
static const double batch_bounds[] = {1, 2, 4, 8, 16, 32, 64, 128};
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BUCKETS_MAX 16

typedef struct histogram {
    uint64_t buckets[BUCKETS_MAX]; /* not cumulative; the last used one is +Inf */
    double sum;
} histogram;

#define CODES (600 - 200)

struct serve_metrics {
    pthread_mutex_t lock;
    const char *const *routes;
    size_t route_count;
    double start;
    uint64_t requests[SERVE_ROUTES_MAX + 1][CODES];
    uint64_t received, sent, classified, refused;
    histogram request_seconds, batch_pictures, batch_seconds;
};

vit_status serve_metrics_create(const char *const *routes, serve_metrics **out) {
    vit_status status = vit_alloc((void **)out, 1, sizeof **out, "metrics");
    if (status == VIT_OK) {
        pthread_mutex_init(&(*out)->lock, NULL);
        (*out)->routes = routes;
        while (routes[(*out)->route_count] && (*out)->route_count < SERVE_ROUTES_MAX) {
            (*out)->route_count++;
        }
        (*out)->start = vit_seconds();
    }
    return status;
}

void serve_metrics_free(serve_metrics *metrics) {
    if (metrics) {
        pthread_mutex_destroy(&metrics->lock);
        vit_free(metrics);
    }
}

static void observe(histogram *h, const double *bounds, size_t count, double value) {
    size_t i = 0;
    while (i < count && value > bounds[i]) {
        i++;
    }
    h->buckets[i]++;
    h->sum += value;
}

void serve_metrics_request(serve_metrics *m, size_t route, unsigned code, double seconds,
                           size_t received, size_t sent) {
    pthread_mutex_lock(&m->lock);
    if (route <= m->route_count && code >= 200 && code < 200 + CODES) {
        m->requests[route][code - 200]++;
    }
    m->received += received;
    m->sent += sent;
    observe(&m->request_seconds, second_bounds, COUNT(second_bounds), seconds);
    pthread_mutex_unlock(&m->lock);
}

void serve_metrics_batch(serve_metrics *m, size_t pictures, size_t refused, double seconds) {
    pthread_mutex_lock(&m->lock);
    m->classified += pictures - refused;
    m->refused += refused;
    observe(&m->batch_pictures, batch_bounds, COUNT(batch_bounds), (double)pictures);
    observe(&m->batch_seconds, second_bounds, COUNT(second_bounds), seconds);
    pthread_mutex_unlock(&m->lock);
}

/* ---- text ---- */

static void head(FILE *out, const char *name, const char *type, const char *help) {
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(FILE *out, const char *name, const char *type, const char *help, double value) {
    head(out, name, type, help);
    fprintf(out, "%s %.17g\n", name, value);
}

static void print_histogram(FILE *out, const char *name, const char *help, const histogram *h,
                            const double *bounds, size_t count) {
    uint64_t total = 0;
    head(out, name, "histogram", help);
    for (size_t i = 0; i < count; i++) {
        total += h->buckets[i];
        fprintf(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i], (unsigned long long)total);
    }
    total += h->buckets[count];
    fprintf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
            (unsigned long long)total, name, h->sum, name, (unsigned long long)total);
}

static void print_requests(FILE *out, const serve_metrics *m) {
    head(out, "zvit_http_requests_total", "counter", "Requests answered.");
    for (size_t r = 0; r <= m->route_count; r++) {
        for (unsigned code = 0; code < CODES; code++) {
            if (m->requests[r][code] > 0) {
                fprintf(out, "zvit_http_requests_total{path=\"%s\",code=\"%u\"} %llu\n",
                        r < m->route_count ? m->routes[r] : "other", code + 200,
                        (unsigned long long)m->requests[r][code]);
            }
        }
    }
}

/* Resident memory, and its largest so far; 0 where the system does not tell. */
static double resident_bytes(void) {
    unsigned long long resident = 0;
    char line[256];
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        const char *second = fgets(line, sizeof line, file) ? strchr(line, ' ') : NULL;
        resident = second ? strtoull(second, NULL, 10) : 0;
        fclose(file);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_descriptors(void) {
    double count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder) {
        while (readdir(folder)) {
            count++;
        }
        closedir(folder);
    }
    return count > 3 ? count - 3 : 0; /* ".", ".." and the folder's own */
}

static void print_process(FILE *out, const serve_metrics *m) {
    number(out, "zvit_uptime_seconds", "gauge", "Since the server started.",
           vit_seconds() - m->start);
    number(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
    number(out, "process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
    head(out, "zvit_build_info", "gauge", "The version, as a label.");
    fprintf(out, "zvit_build_info{version=\"%s\"} 1\n", vit_version());
}

static void print_all(FILE *out, const serve_metrics *m, const serve_gauges *g) {
    print_requests(out, m);
    print_histogram(out, "zvit_http_request_seconds", "From a request's head to its answer's end.",
                    &m->request_seconds, second_bounds, COUNT(second_bounds));
    number(out, "zvit_http_received_bytes_total", "counter", "Bytes of request bodies.",
           (double)m->received);
    number(out, "zvit_http_sent_bytes_total", "counter", "Bytes of answers' bodies.",
           (double)m->sent);
    head(out, "zvit_pictures_total", "counter", "Pictures computed, and those that were none.");
    fprintf(out,
            "zvit_pictures_total{result=\"classified\"} %llu\n"
            "zvit_pictures_total{result=\"refused\"} %llu\n",
            (unsigned long long)m->classified, (unsigned long long)m->refused);
    print_histogram(out, "zvit_batch_pictures", "Pictures computed at once.", &m->batch_pictures,
                    batch_bounds, COUNT(batch_bounds));
    print_histogram(out, "zvit_batch_seconds", "Computing a batch.", &m->batch_seconds,
                    second_bounds, COUNT(second_bounds));
    number(out, "zvit_queue_pictures", "gauge", "Pictures that wait.", (double)g->queue_depth);
    number(out, "zvit_queue_limit_pictures", "gauge", "Pictures that may wait.",
           (double)g->queue_limit);
    number(out, "zvit_connections", "gauge", "Open connections.", (double)g->connections);
    number(out, "zvit_held_bytes", "gauge", "Bytes that requests in progress hold.",
           (double)g->held_bytes);
    print_process(out, m);
}

char *serve_metrics_text(serve_metrics *metrics, const serve_gauges *gauges) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        return NULL;
    }
    pthread_mutex_lock(&metrics->lock);
    print_all(out, metrics, gauges);
    pthread_mutex_unlock(&metrics->lock);
    bool failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}
