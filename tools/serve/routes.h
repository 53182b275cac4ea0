/* What is where on the server: one table. */
#ifndef ZVIT_SERVE_ROUTES_H
#define ZVIT_SERVE_ROUTES_H

#include "vit/embed.h"

typedef enum serve_route_kind {
    SERVE_ROUTE_FILE = 0,
    SERVE_ROUTE_CLASSIFY = 1,
    SERVE_ROUTE_MODEL = 2,
    SERVE_ROUTE_HEALTH = 3,
    SERVE_ROUTE_METRICS = 4
} serve_route_kind;

typedef struct serve_route {
    const char *path;
    serve_route_kind kind;
    const char *allow;        /* methods, as the Allow header lists them */
    const char *type;         /* of the answer */
    const vit_embedded *file; /* of SERVE_ROUTE_FILE */
} serve_route;

extern const serve_route serve_routes[];
extern const size_t serve_route_count;
/* Their paths, NULL at the end. */
extern const char *const serve_route_paths[];

/* The route of exactly that path, or NULL. */
const serve_route *serve_find_route(const char *path);

#endif
