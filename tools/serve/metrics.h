/* What the server counts, for GET /metrics. */
#ifndef ZVIT_SERVE_METRICS_H
#define ZVIT_SERVE_METRICS_H

#include "vit/status.h"

#define SERVE_ROUTES_MAX 16

typedef struct serve_metrics serve_metrics;
/* routes: their paths, NULL at the end, at most SERVE_ROUTES_MAX; kept. */
vit_status serve_metrics_create(const char *const *routes, serve_metrics **out);
void serve_metrics_free(serve_metrics *metrics);

/* A request that was answered. route: an index into routes, or their number for any other path;
 * bytes of the bodies. */
void serve_metrics_request(serve_metrics *metrics, size_t route, unsigned code, double seconds,
                           size_t received, size_t sent);
/* Pictures computed at once, how long that took, and how many of them were no pictures. */
void serve_metrics_batch(serve_metrics *metrics, size_t pictures, size_t refused, double seconds);

/* What is looked at when it is asked for. */
typedef struct serve_gauges {
    size_t queue_depth, queue_limit, connections, held_bytes;
} serve_gauges;
/* The text form that Prometheus reads, version 0.0.4; malloc'ed. NULL: memory ran out. */
char *serve_metrics_text(serve_metrics *metrics, const serve_gauges *gauges);

#endif
