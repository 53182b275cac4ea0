#include "tools/serve/settings.h"

#include "eval/explain.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FIELD(name) offsetof(serve_settings, name)
const vit_option serve_options[] = {
    {.name = "host",
     .type = VIT_OPT_STRING,
     .offset = FIELD(host),
     .count = sizeof((serve_settings *)0)->host,
     .value = "127.0.0.1",
     .metavar = "ADDRESS",
     .help = "address to listen on; 0.0.0.0 or :: for all of this machine, which lets everybody in "
             "who reaches it"},
    {.name = "port",
     .letter = 'p',
     .type = VIT_OPT_INT,
     .offset = FIELD(port),
     .min = 0,
     .max = 65535,
     .value = "8080",
     .help = "0: a free one, which the printed address names"},
    {.name = "allow-host",
     .type = VIT_OPT_STRING,
     .offset = FIELD(allow_host),
     .count = sizeof((serve_settings *)0)->allow_host,
     .metavar = "NAME,...",
     .help =
         "names under which requests may reach the server, beside addresses, localhost and this "
         "machine's name; * for any"},
    {.name = "max-body",
     .type = VIT_OPT_INT,
     .offset = FIELD(max_body),
     .min = 1,
     .max = 2000,
     .value = "20",
     .metavar = "MIB",
     .help = "a request of more MiB is refused"},
    {.name = "max-held",
     .type = VIT_OPT_INT,
     .offset = FIELD(max_held),
     .min = 1,
     .max = 1000000,
     .value = "512",
     .metavar = "MIB",
     .help = "MiB that all requests may hold at a time, received in part or waiting; what goes "
             "beyond is told to come again"},
    {.name = "max-connections",
     .type = VIT_OPT_INT,
     .offset = FIELD(max_connections),
     .min = 1,
     .max = 100000,
     .value = "512",
     .help = "at a time; a further one takes the place of the one that has been idle the longest"},
    {.name = "timeout",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(timeout),
     .min = 0.1,
     .max = 86400,
     .value = "30",
     .metavar = "SECONDS",
     .help =
         "within which a request must have arrived whole; an idle connection is closed after it"},
    {.name = "queue",
     .type = VIT_OPT_INT,
     .offset = FIELD(queue),
     .min = 1,
     .max = 1000000,
     .value = "256",
     .help = "pictures that may wait; what goes beyond is told to come again (503)"},
    {.name = "max-batch",
     .type = VIT_OPT_INT,
     .offset = FIELD(max_batch),
     .min = 1,
     .max = 65536,
     .value = "32",
     .help = "pictures to compute at once; what is said of one does not depend on the others"},
    {.name = "max-wait-ms",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(max_wait_ms),
     .min = 0,
     .max = 10000,
     .value = "0",
     .metavar = "MS",
     .help = "to wait for a batch to fill up; 0: take what is there"},
    {.name = "access-log",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(access_log),
     .help = "a line on standard error for each request"},
};
const size_t serve_option_count = sizeof serve_options / sizeof *serve_options;
#undef FIELD

vit_option_group serve_group(serve_settings *settings) {
    return (vit_option_group){.title = "Server",
                              .options = serve_options,
                              .count = serve_option_count,
                              .target = settings};
}

#define FIELD(name) offsetof(serve_query, name)
const vit_option serve_query_options[] = {
    {.name = "topk",
     .type = VIT_OPT_INT,
     .offset = FIELD(topk),
     .min = 1,
     .max = 1000000,
     .value = "5",
     .help = "classes to name, best first"},
    {.name = "threshold",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(threshold),
     .min = 0,
     .max = 1,
     .value = "0",
     .help = "below this probability of the best class the picture is unknown"},
    {.name = "explain",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(explain),
     .help = "also the heat map of each picture"},
    {.name = "overlay",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(overlay),
     .help = "the heat map, and a drawing of it over the picture as PNG"},
    {.name = "class",
     .type = VIT_OPT_STRING,
     .offset = FIELD(class_name),
     .count = sizeof((serve_query *)0)->class_name,
     .help = "of the heat map; absent: the most probable one"},
    {.name = "method",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(method),
     .choices = vit_explain_method_names,
     .value = "auto",
     .help = "of the heat map"},
};
const size_t serve_query_option_count = sizeof serve_query_options / sizeof *serve_query_options;
#undef FIELD

static vit_option_group query_group(serve_query *query) {
    return (vit_option_group){.title = "Request",
                              .options = serve_query_options,
                              .count = serve_query_option_count,
                              .target = query};
}

void serve_query_defaults(serve_query *query) {
    vit_option_group group = query_group(query);
    *query = (serve_query){0};
    vit_options_defaults(&group); /* the table's own values: cannot fail */
}

vit_status serve_query_set(serve_query *query, const char *name, const char *text) {
    vit_option_group group = query_group(query);
    char known[256] = "";
    for (size_t i = 0; i < group.count; i++) {
        if (strcmp(group.options[i].name, name) == 0) {
            return vit_option_set(&group, i, text, "", VIT_FROM_USER);
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                 group.options[i].name);
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "%s: unknown (expected %s)", name, known);
}
