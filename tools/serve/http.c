#include "tools/serve/http.h"

#ifndef ZVIT_HAVE_MICROHTTPD

vit_status serve_http_check(void) {
    return vit_fail(VIT_ERROR_UNSUPPORTED,
                    "this zvit was built without libmicrohttpd (install its headers, Debian "
                    "package libmicrohttpd-dev, and build zvit again)");
}

vit_status serve_http_start(const serve_context *context, serve_listener *listener,
                            serve_http **out) {
    (void)context;
    (void)listener;
    *out = NULL;
    return serve_http_check();
}

void serve_http_tick(serve_http *http) {
    (void)http;
}

void serve_http_drain(serve_http *http) {
    (void)http;
}

size_t serve_http_busy(serve_http *http) {
    (void)http;
    return 0;
}

void serve_http_stop(serve_http *http) {
    (void)http;
}

#else

#include "tools/cmd.h"
#include "tools/serve/api.h"
#include "tools/serve/connections.h"
#include "tools/serve/head.h"

#include "data/checksum.h"
#include "vit/arena.h"
#include "vit/clock.h"
#include "vit/library.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

/* Loaded when a server starts, so that the other verbs start without it and what it brings. */
/* clang-format off */
#define MHD_FUNCTIONS(F) \
    F(add_response_header) F(create_post_processor) F(create_response_from_buffer) \
    F(destroy_post_processor) F(destroy_response) F(get_connection_info) \
    F(get_connection_values) F(get_connection_values_n) F(lookup_connection_value) \
    F(post_process) F(queue_response) F(quiesce_daemon) F(resume_connection) F(start_daemon) \
    F(stop_daemon) F(suspend_connection)
/* clang-format on */

#define DECLARE(name) __typeof__(MHD_##name) *name;
static struct { MHD_FUNCTIONS(DECLARE) } mhd;
static const char *const mhd_names[] = {MHD_FUNCTIONS(VIT_LIBRARY_NAME) NULL};
static vit_lazy_library library = VIT_LAZY_LIBRARY(ZVIT_MICROHTTPD_LIBRARY, mhd_names, "MHD_", mhd);

/* What a page of ours may load and do, and that nobody may frame it. */
#define PAGE_POLICY                                                                                \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "        \
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
#define DATA_POLICY "default-src 'none'; frame-ancestors 'none'"

/* Connections beyond the limit that were shut down and not yet cleaned up. */
#define SLACK 64
#define CONNECTION_MEMORY ((size_t)32 << 10) /* for a request's head */
#define PART_BUFFER 8192

struct serve_http {
    serve_context context;
    serve_budget budget;
    serve_connections *connections;
    struct MHD_Daemon *daemon;
    char machine[256]; /* this machine's name */
    atomic_bool draining;
};

/* A request and where it came in. */
typedef struct exchange {
    serve_http *http;
    struct MHD_Connection *connection;
    struct MHD_PostProcessor *parts;
    const serve_route *route; /* NULL: no such path */
    serve_request request;
    bool waiting; /* was given to the engine */
    bool close;   /* the connection, after the answer */
    bool options; /* the method OPTIONS */
    double start;
    char *what; /* "GET /path", for the access log */
    unsigned code;
    size_t sent;
} exchange;

static serve_connection *connection_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void enter_phase(serve_http *http, struct MHD_Connection *connection, serve_phase phase) {
    serve_connection *c = connection_of(connection);
    if (c) {
        serve_connections_phase(http->connections, c, phase, vit_seconds());
    }
}

static const char *header(const exchange *x, const char *name) {
    return mhd.lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* ---- answers ---- */

/* Queues the answer; body is copied, freed or kept as mode says. */
static enum MHD_Result respond(exchange *x, unsigned code, const char *type, const void *body,
                               size_t size, enum MHD_ResponseMemoryMode mode, const char *etag) {
    struct MHD_Response *response =
        mhd.create_response_from_buffer(size, (void *)(uintptr_t)body, mode);
    if (!response) {
        if (mode == MHD_RESPMEM_MUST_FREE) {
            free((void *)(uintptr_t)body);
        }
        return MHD_NO;
    }
    bool page = x->route && x->route->kind == SERVE_ROUTE_FILE && code < 400;
    const char *const headers[][2] = {
        {"Content-Type", size > 0 ? type : NULL},
        {"Content-Security-Policy", page ? PAGE_POLICY : DATA_POLICY},
        {"X-Content-Type-Options", "nosniff"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", page ? "same-origin" : NULL},
        {"Cache-Control", page ? "no-cache" : "no-store"},
        {"ETag", etag},
        {"Allow", x->options || code == 405
                      ? (x->route ? x->route->allow : "GET, HEAD, POST, OPTIONS")
                      : NULL},
        {"Retry-After", code == 503 ? "1" : NULL},
        {"Connection", x->close || atomic_load(&x->http->draining) ? "close" : NULL},
    };
    enum MHD_Result done = MHD_YES;
    for (size_t i = 0; i < sizeof headers / sizeof *headers && done == MHD_YES; i++) {
        if (headers[i][1]) {
            done = mhd.add_response_header(response, headers[i][0], headers[i][1]);
        }
    }
    if (done == MHD_YES) {
        x->code = code;
        x->sent = size;
        enter_phase(x->http, x->connection, SERVE_SEND);
        done = mhd.queue_response(x->connection, code, response);
    }
    mhd.destroy_response(response);
    return done;
}

/* A text that was made for this answer; NULL: memory ran out. */
static enum MHD_Result respond_text(exchange *x, unsigned code, const char *type, char *text) {
    static const char no_memory[] = "{\"error\":\"out of memory\"}";
    if (!text) {
        return respond(x, 503, "application/json", no_memory, sizeof no_memory - 1,
                       MHD_RESPMEM_PERSISTENT, NULL);
    }
    return respond(x, code, type, text, strlen(text), MHD_RESPMEM_MUST_FREE, NULL);
}

/* The request's own code: 204 of OPTIONS, or what is wrong. */
static enum MHD_Result respond_judged(exchange *x) {
    if (x->request.code == 204) {
        return respond(x, 204, NULL, "", 0, MHD_RESPMEM_PERSISTENT, NULL);
    }
    return respond_text(x, x->request.code, "application/json", serve_error_json(x->request.error));
}

static enum MHD_Result respond_file(exchange *x) {
    const vit_embedded *file = x->route->file;
    char etag[32];
    const char *known = header(x, "If-None-Match");
    snprintf(etag, sizeof etag, "\"%016llx\"",
             (unsigned long long)vit_checksum(file->data, file->size));
    if (known && strstr(known, etag)) {
        return respond(x, 304, x->route->type, "", 0, MHD_RESPMEM_PERSISTENT, etag);
    }
    return respond(x, 200, x->route->type, file->data, file->size, MHD_RESPMEM_PERSISTENT, etag);
}

static enum MHD_Result respond_model(exchange *x) {
    const serve_context *context = &x->http->context;
    const serve_limits limits = {
        .body_bytes = (size_t)context->settings->max_body * SERVE_MIB,
        .pictures = (size_t)context->settings->queue,
        .pixels = vit_data_decode(context->reading).max_pixels,
        .seconds = context->settings->timeout,
    };
    char *text = NULL;
    vit_status status = serve_model_json(context->bundle, &limits, &text);
    return respond_text(x, 200, x->route->type, status == VIT_OK ? text : NULL);
}

static enum MHD_Result respond_metrics(exchange *x) {
    serve_http *http = x->http;
    const serve_gauges gauges = {
        .queue_depth = serve_queue_depth(serve_engine_queue(http->context.engine)),
        .queue_limit = (size_t)http->context.settings->queue,
        .connections = serve_connections_count(http->connections),
        .held_bytes = atomic_load(&http->budget.held),
    };
    return respond_text(x, 200, x->route->type, serve_metrics_text(http->context.metrics, &gauges));
}

static enum MHD_Result respond_answer(exchange *x) {
    unsigned code = 0;
    char *text = NULL;
    vit_status status = serve_answer_json(x->http->context.bundle, &x->request.job, &code, &text);
    return respond_text(x, code, "application/json", status == VIT_OK ? text : NULL);
}

/* ---- classify ---- */

/* In the computing thread. */
static void wake(void *context) {
    mhd.resume_connection(((exchange *)context)->connection);
}

static void submit(exchange *x) {
    serve_queue *queue = serve_engine_queue(x->http->context.engine);
    if (!serve_queue_reserve(queue, x->request.job.count)) {
        serve_request_refuse(&x->request, 503, "busy: %zu pictures wait already; try again",
                             serve_queue_depth(queue));
        return;
    }
    x->waiting = true;
    x->request.job.done = wake;
    x->request.job.context = x;
    enter_phase(x->http, x->connection, SERVE_WORK);
    mhd.suspend_connection(x->connection); /* before anybody can resume it */
    serve_queue_push(queue, &x->request.job);
}

static enum MHD_Result on_part(void *context, enum MHD_ValueKind kind, const char *key,
                               const char *filename, const char *type, const char *encoding,
                               const char *data, uint64_t offset, size_t size) {
    exchange *x = context;
    (void)kind;
    (void)type;
    (void)encoding;
    serve_request_part(&x->request, key, filename, data, offset == 0, size);
    return MHD_YES;
}

static enum MHD_Result on_query(void *context, enum MHD_ValueKind kind, const char *key,
                                size_t key_size, const char *value, size_t value_size) {
    exchange *x = context;
    (void)kind;
    serve_request_parameter(&x->request, key, key_size, value ? value : "", value_size);
    return x->request.code == 0 ? MHD_YES : MHD_NO;
}

/* The kind of body decides who reads it. */
static void begin_body(exchange *x) {
    const char *type = header(x, "Content-Type");
    switch (serve_request_type(&x->request, type, header(x, "Content-Encoding"))) {
    case SERVE_BODY_PARTS:
        x->parts = mhd.create_post_processor(x->connection, PART_BUFFER, on_part, x);
        if (!x->parts) {
            serve_request_refuse(&x->request, 400, "Content-Type: %s: no usable boundary", type);
        }
        break;
    case SERVE_BODY_RAW:
        serve_request_raw(&x->request);
        break;
    case SERVE_BODY_REFUSED:
        break;
    }
}

static void receive(exchange *x, const char *data, size_t size) {
    serve_request *request = &x->request;
    serve_request_count(request, size);
    if (request->code != 0 || x->route->kind != SERVE_ROUTE_CLASSIFY) {
        return; /* any request may have a body; the others have no use for it */
    }
    if (!x->parts) {
        serve_request_append(request, data, size);
    } else if (mhd.post_process(x->parts, data, size) == MHD_NO) {
        serve_request_refuse(request, 400, "the multipart body is malformed");
    }
}

static void end_body(exchange *x) {
    if (x->parts) {
        enum MHD_Result whole = mhd.destroy_post_processor(x->parts);
        x->parts = NULL;
        if (whole == MHD_NO) {
            serve_request_refuse(
                &x->request, 400,
                "the multipart body is malformed, or its last boundary is missing");
        }
    }
    serve_request_end(&x->request, x->http->context.bundle);
}

/* ---- a request's head ---- */

/* Of a header that comes several times the first counts. */
static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *key,
                                   const char *value) {
    serve_head *head = context;
    const struct {
        const char *key, **value;
        unsigned *count; /* NULL: nobody asks */
    } known[] = {{"Host", &head->host, &head->hosts},
                 {"Origin", &head->origin, NULL},
                 {"Sec-Fetch-Site", &head->fetch_site, NULL},
                 {"Expect", &head->expect, NULL},
                 {"Content-Length", &head->length, &head->lengths},
                 {"Transfer-Encoding", &head->encoding, &head->encodings}};
    (void)kind;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcasecmp(key, known[i].key) == 0) {
            *known[i].value = *known[i].value ? *known[i].value : value;
            if (known[i].count) {
                ++*known[i].count;
            }
        }
    }
    return MHD_YES;
}

static void begin_classify(exchange *x, const serve_head *head) {
    mhd.get_connection_values_n(x->connection, MHD_GET_ARGUMENT_KIND, on_query, x);
    serve_request_announce(&x->request, serve_head_announced(head));
    if (x->request.code == 0) {
        begin_body(x);
    }
}

static enum MHD_Result begin(exchange *x, const char *url, const char *method,
                             const char *version) {
    serve_request *request = &x->request;
    serve_connection *c = connection_of(x->connection);
    if (!c || asprintf(&x->what, "%s %s", method, url) < 0) {
        x->what = NULL;
        return MHD_NO;
    }
    enter_phase(x->http, x->connection, SERVE_BODY);
    x->route = serve_find_route(url);
    x->options = strcmp(method, "OPTIONS") == 0;
    serve_head head = {.method = method, .url = url, .version = version, .route = x->route};
    mhd.get_connection_values(x->connection, MHD_HEADER_KIND, take_header, &head);
    x->close = !serve_head_framed(&head, request);
    if (!x->close) {
        serve_head_judge(&head, x->http->machine, request);
    }
    if (request->code == 0 && x->route->kind == SERVE_ROUTE_CLASSIFY) {
        begin_classify(x, &head);
    }
    if (serve_head_at_once(&head, x->close, request)) {
        x->close = true;
        return respond_judged(x);
    }
    return MHD_YES;
}

static enum MHD_Result answer(exchange *x) {
    static const char healthy[] = "{\"status\":\"ok\"}";
    if (x->request.code != 0) {
        return respond_judged(x);
    }
    switch (x->route->kind) {
    case SERVE_ROUTE_FILE:
        return respond_file(x);
    case SERVE_ROUTE_MODEL:
        return respond_model(x);
    case SERVE_ROUTE_HEALTH:
        return respond(x, 200, x->route->type, healthy, sizeof healthy - 1, MHD_RESPMEM_PERSISTENT,
                       NULL);
    case SERVE_ROUTE_METRICS:
        return respond_metrics(x);
    case SERVE_ROUTE_CLASSIFY:
        break;
    }
    if (x->waiting) {
        return respond_answer(x);
    }
    end_body(x);
    if (x->request.code == 0) {
        submit(x);
    }
    return x->request.code == 0 ? MHD_YES : respond_judged(x);
}

/* ---- what libmicrohttpd calls, all in its one thread ---- */

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **own) {
    serve_http *http = context;
    exchange *x = *own;
    if (!x) {
        x = calloc(1, sizeof *x);
        if (!x) {
            return MHD_NO;
        }
        *own = x;
        x->http = http;
        x->connection = connection;
        x->start = vit_seconds();
        serve_request_init(&x->request, http->context.settings, &http->budget);
        return begin(x, url, method, version);
    }
    if (*size > 0) {
        receive(x, data, *size);
        *size = 0;
        /* A body without end. */
        return x->request.received > serve_request_patience(&x->request) ? MHD_NO : MHD_YES;
    }
    return answer(x);
}

static void write_log(const exchange *x, double seconds) {
    char address[INET6_ADDRSTRLEN] = "?";
    const union MHD_ConnectionInfo *info =
        mhd.get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *client = info ? info->client_addr : NULL;
    if (client && client->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)client;
        inet_ntop(AF_INET6, &v6->sin6_addr, address, sizeof address);
    } else if (client) {
        const struct sockaddr_in *v4 = (const void *)client;
        inet_ntop(AF_INET, &v4->sin_addr, address, sizeof address);
    }
    flockfile(stderr);
    fprintf(stderr, "%s ", address);
    cli_put(stderr, x->what ? x->what : "?");
    fprintf(stderr, " %u %zu B %.1f ms\n", x->code, x->sent, seconds * 1e3);
    funlockfile(stderr);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **own,
                         enum MHD_RequestTerminationCode how) {
    serve_http *http = context;
    exchange *x = *own;
    (void)how;
    if (x) {
        double seconds = vit_seconds() - x->start;
        if (x->code != 0) {
            size_t route = x->route ? (size_t)(x->route - serve_routes) : serve_route_count;
            serve_metrics_request(http->context.metrics, route, x->code, seconds,
                                  x->request.received, x->sent);
        }
        if (http->context.settings->access_log) {
            write_log(x, seconds);
        }
        if (x->parts) {
            mhd.destroy_post_processor(x->parts);
        }
        serve_request_clear(&x->request);
        free(x->what);
        free(x);
        *own = NULL;
    }
    enter_phase(http, connection, SERVE_IDLE);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **own,
                          enum MHD_ConnectionNotificationCode code) {
    serve_http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *own =
            info ? serve_connections_add(http->connections, info->connect_fd, vit_seconds()) : NULL;
    } else if (*own) {
        serve_connections_remove(http->connections, *own);
        *own = NULL;
    }
}

/* The first line of a request is there. */
static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection) {
    (void)uri;
    enter_phase(context, connection, SERVE_HEAD);
    return NULL;
}

/* ---- the server ---- */

vit_status serve_http_check(void) {
    if (!vit_lazy_library_load(&library)) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "serving needs %s, which was not found (Debian package libmicrohttpd12)",
                        ZVIT_MICROHTTPD_LIBRARY);
    }
    return VIT_OK;
}

vit_status serve_http_start(const serve_context *context, serve_listener *listener,
                            serve_http **out) {
    vit_status status = VIT_OK;
    const serve_settings *settings = context->settings;
    serve_http *http = NULL;
    *out = NULL;
    VIT_TRY(vit_alloc((void **)&http, 1, sizeof *http, "server"));
    http->context = *context;
    http->budget.limit = (size_t)settings->max_held * SERVE_MIB;
    if (gethostname(http->machine, sizeof http->machine - 1) != 0) {
        http->machine[0] = 0;
    }
    size_t most = (size_t)settings->max_connections;
    VIT_TRY(serve_reserve_descriptors(most + SLACK + 64));
    VIT_TRY(serve_connections_create(most, settings->timeout, &http->connections));
    /* poll, not epoll: with its edges libmicrohttpd 0.9.75 misses the end of a stream that comes
     * together with data, and keeps the connection of a client that left until it times out. */
    http->daemon = mhd.start_daemon(
        MHD_USE_POLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0,
        NULL, NULL, on_request, http, MHD_OPTION_LISTEN_SOCKET, listener->fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)most + SLACK, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)ceil(settings->timeout) + 5,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, http, MHD_OPTION_URI_LOG_CALLBACK, on_uri, http, MHD_OPTION_END);
    if (!http->daemon) {
        VIT_TRY(vit_fail(VIT_ERROR_IO, "%s: the HTTP server could not be started", listener->url));
    }
    listener->fd = -1;
    *out = http;
cleanup:
    if (status != VIT_OK) {
        serve_http_stop(http);
    }
    return status;
}

void serve_http_tick(serve_http *http) {
    serve_connections_reap(http->connections, vit_seconds());
}

void serve_http_drain(serve_http *http) {
    if (!atomic_exchange(&http->draining, true)) {
        MHD_socket fd = mhd.quiesce_daemon(http->daemon);
        if (fd != MHD_INVALID_SOCKET) {
            close(fd);
        }
    }
}

size_t serve_http_busy(serve_http *http) {
    return serve_connections_busy(http->connections);
}

void serve_http_stop(serve_http *http) {
    if (!http) {
        return;
    }
    if (http->daemon) {
        serve_http_drain(http);
        mhd.stop_daemon(http->daemon);
    }
    serve_connections_free(http->connections);
    vit_free(http);
}

#endif
