#include "tools/serve/routes.h"

#include <string.h>

extern const vit_embedded vit_embedded_tools_serve_page_html;
extern const vit_embedded vit_embedded_tools_serve_page_css;
extern const vit_embedded vit_embedded_tools_serve_page_js;
extern const vit_embedded vit_embedded_tools_serve_icon_svg;

#define GET_ONLY "GET, HEAD, OPTIONS"
#define POST_ONLY "POST, OPTIONS"
#define JSON "application/json"
#define ROUTES(X)                                                                                  \
    X("/", FILE, GET_ONLY, "text/html; charset=utf-8", &vit_embedded_tools_serve_page_html)        \
    X("/page.css", FILE, GET_ONLY, "text/css; charset=utf-8", &vit_embedded_tools_serve_page_css)  \
    X("/page.js", FILE, GET_ONLY, "text/javascript; charset=utf-8",                                \
      &vit_embedded_tools_serve_page_js)                                                           \
    X("/icon.svg", FILE, GET_ONLY, "image/svg+xml", &vit_embedded_tools_serve_icon_svg)            \
    X("/v1/classify", CLASSIFY, POST_ONLY, JSON, NULL)                                             \
    X("/v1/model", MODEL, GET_ONLY, JSON, NULL)                                                    \
    X("/healthz", HEALTH, GET_ONLY, JSON, NULL)                                                    \
    X("/metrics", METRICS, GET_ONLY, "text/plain; version=0.0.4; charset=utf-8", NULL)

#define ROW(path, kind, allow, type, file) {path, SERVE_ROUTE_##kind, allow, type, file},
const serve_route serve_routes[] = {ROUTES(ROW)};
const size_t serve_route_count = sizeof serve_routes / sizeof *serve_routes;

#define PATH(path, kind, allow, type, file) path,
const char *const serve_route_paths[] = {ROUTES(PATH) NULL};

const serve_route *serve_find_route(const char *path) {
    for (size_t i = 0; i < serve_route_count; i++) {
        if (strcmp(serve_routes[i].path, path) == 0) {
            return &serve_routes[i];
        }
    }
    return NULL;
}
