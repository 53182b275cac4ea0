/* HTTP, through libmicrohttpd: http.c alone includes its header. One thread reads and writes all
 * connections; a request that was received whole is suspended while the engine has it. */
#ifndef ZVIT_SERVE_HTTP_H
#define ZVIT_SERVE_HTTP_H

#include "tools/serve/engine.h"
#include "tools/serve/listen.h"

typedef struct serve_context {
    const vit_model_bundle *bundle;
    const serve_settings *settings;
    const vit_data_options *reading;
    serve_engine *engine;
    serve_metrics *metrics; /* made with serve_route_paths */
} serve_context;

typedef struct serve_http serve_http;
/* An error says how to build it in, when it is not. */
vit_status serve_http_check(void);
/* Takes over the listener's descriptor; context is copied, what it points to outlives the server.
 */
vit_status serve_http_start(const serve_context *context, serve_listener *listener,
                            serve_http **out);
/* To be called several times a second: closes connections that are late. */
void serve_http_tick(serve_http *http);
/* Stops accepting; kept connections are closed with their next answer. */
void serve_http_drain(serve_http *http);
/* Requests that are being received, computed or answered. */
size_t serve_http_busy(serve_http *http);
/* After the engine was stopped. NULL is fine. */
void serve_http_stop(serve_http *http);

#endif
