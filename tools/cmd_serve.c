#include "tools/cmd.h"
#include "tools/serve/http.h"
#include "tools/serve/routes.h"
#include "tools/signals.h"

#include "vit/clock.h"

#include <omp.h>
#include <signal.h>
#include <string.h>
#include <time.h>

/* Pictures of more pixels than the largest cameras take are refused: a small file can hold many. */
#define MAX_PIXELS "67108864"

typedef struct server {
    const cli_verb *verb;
    const cli_common *common;
    serve_context context;
    serve_listener listener;
    vit_model_bundle *bundle;
    serve_metrics *metrics;
    serve_engine *engine;
    serve_http *http;
} server;

static void nap(double seconds) {
    struct timespec duration = {.tv_nsec = (long)(seconds * 1e9)};
    nanosleep(&duration, NULL);
}

/* The threads that begin meanwhile never see the signals, so that they interrupt the main one. */
static vit_status start_threads(server *s, int threads) {
    vit_status status = VIT_OK;
    sigset_t signals, before;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGPIPE); /* a client that left is no reason to end */
    pthread_sigmask(SIG_BLOCK, &signals, &before);
    VIT_TRY(serve_engine_start(s->bundle, s->context.settings, s->context.reading, threads,
                               s->metrics, &s->engine));
    s->context.engine = s->engine;
    VIT_TRY(serve_http_start(&s->context, &s->listener, &s->http));
cleanup:
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

/* The address goes to standard output, for a program that chose port 0. */
static vit_status announce(const server *s, const char *url, int port) {
    const serve_settings *settings = s->context.settings;
    if (!s->listener.loopback) {
        cli_warn(s->verb,
                 "host %s: everybody who reaches this machine can use the server; it knows no "
                 "passwords and no encryption",
                 settings->host);
    }
    if (!s->common->quiet) {
        fprintf(stderr, "zvit serve: %s with %d classes; Ctrl-C stops\n",
                s->bundle->model.config.architecture, s->bundle->model.config.num_classes);
    }
    if (!s->common->json) {
        printf("%s\n", url);
        return cli_finish(s->verb, CLI_DONE) == CLI_DONE ? VIT_OK : VIT_ERROR_IO;
    }
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "url", url);
    vit_json_add_string(root, "host", settings->host);
    vit_json_add_number(root, "port", port);
    vit_json_add_string(root, "model", s->bundle->model.config.architecture);
    vit_status status = cli_print_json(root, false);
    fflush(stdout);
    return status;
}

/* Until a signal, then until what had begun is answered, but no longer than a request may take. */
static void serve_until_stopped(server *s) {
    const double tick = 0.1;
    while (cli_signals_caught() == 0) {
        nap(tick);
        serve_http_tick(s->http);
    }
    double start = vit_seconds(), longest = s->context.settings->timeout + 5;
    serve_http_drain(s->http);
    while (serve_http_busy(s->http) > 0 && vit_seconds() - start < longest) {
        nap(tick / 10);
        serve_http_tick(s->http);
    }
}

static vit_status serve(server *s, const char *model) {
    const serve_settings *settings = s->context.settings;
    vit_status status = VIT_OK;
    VIT_TRY(serve_http_check());
    VIT_TRY(serve_listen(settings->host, settings->port, &s->listener));
    VIT_TRY(vit_model_bundle_load(model, &s->bundle));
    VIT_TRY(serve_metrics_create(serve_route_paths, &s->metrics));
    s->context.bundle = s->bundle;
    s->context.metrics = s->metrics;
    cli_signals_catch();
    VIT_TRY(start_threads(s, omp_get_max_threads()));
    VIT_TRY(announce(s, s->listener.url, s->listener.port));
    serve_until_stopped(s);
cleanup:
    serve_engine_stop(s->engine); /* what waits is computed and answered */
    serve_http_stop(s->http);
    serve_engine_free(s->engine);
    serve_listener_close(&s->listener);
    serve_metrics_free(s->metrics);
    vit_model_bundle_free(s->bundle);
    return status;
}

int cmd_serve(const cli_verb *verb, int argc, char **argv) {
    serve_settings settings;
    vit_data_options reading = {0};
    cli_common common;
    vit_option_group data = vit_data_group(&reading, VIT_DATA_ROWS_DECODE);
    vit_option rows[VIT_DATA_ROWS_DECODE];
    memcpy(rows, data.options, sizeof rows);
    for (size_t i = 0; i < VIT_DATA_ROWS_DECODE; i++) {
        if (strcmp(rows[i].name, "max-pixels") == 0) {
            rows[i].value =
                MAX_PIXELS; /* what strangers send is trusted less than one's own data */
        }
    }
    data.options = rows;
    const vit_option_group groups[] = {serve_group(&settings), data,
                                       cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 1) {
        cli_wrong_arguments(words, "one: MODEL");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    server s = {.verb = verb,
                .common = &common,
                .context = {.settings = &settings, .reading = &reading},
                .listener = {.fd = -1}};
    return serve(&s, argv[0]) == VIT_OK ? cli_finish(verb, CLI_DONE) : cli_fail(verb);
}
