/* What zvit serve can be told: on the command line, and by a request. */
#ifndef ZVIT_SERVE_SETTINGS_H
#define ZVIT_SERVE_SETTINGS_H

#include "vit/options.h"

#define SERVE_MIB ((size_t)1 << 20)

typedef struct serve_settings {
    char host[256]; /* address or name to listen on */
    int port;       /* 0: a free one */
    char allow_host[1024];
    int max_body; /* MiB of one request */
    int max_held; /* MiB of all requests that are being received or wait */
    int max_connections;
    double timeout; /* seconds */
    int queue;      /* pictures that wait */
    int max_batch;
    double max_wait_ms;
    bool access_log;
} serve_settings;
extern const vit_option serve_options[];
extern const size_t serve_option_count;

/* What a request asks for, in its query or as form fields of those names. */
typedef struct serve_query {
    int topk;
    double threshold;
    bool explain, overlay;
    int method;           /* vit_explain_method */
    char class_name[512]; /* of the heat map; "": the most probable */
} serve_query;
extern const vit_option serve_query_options[];
extern const size_t serve_query_option_count;

vit_option_group serve_group(serve_settings *settings);
/* Sets a field of query from text; an unknown name is an error that lists the known ones. The
 * message reads "topk: abc (expected ...)". */
vit_status serve_query_set(serve_query *query, const char *name, const char *text);
void serve_query_defaults(serve_query *query);

#endif
