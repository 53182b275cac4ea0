#include "tools/serve/request.h"

#include "tools/serve/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_BYTES 255 /* of a picture's name */
#define FIRST_ROOM ((size_t)16 << 10)
/* Bytes that a class and an overlay of 512 x 512 pixels take in an answer that is being made. */
#define ANSWER_CLASS ((size_t)1 << 10)
#define ANSWER_OVERLAY ((size_t)4 << 20)

void serve_request_init(serve_request *request, const serve_settings *settings,
                        serve_budget *budget) {
    *request = (serve_request){.settings = settings, .budget = budget};
    request->job.class_index = -1;
    serve_query_defaults(&request->job.query);
}

void serve_request_clear(serve_request *request) {
    serve_job_clear(&request->job);
    request->room = 0;
    atomic_fetch_sub(&request->budget->held, request->held);
    request->held = 0;
}

void serve_request_refuse(serve_request *request, unsigned code, const char *format, ...) {
    va_list arguments;
    if (request->code != 0) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(request->error, sizeof request->error, format, arguments);
    va_end(arguments);
    request->code = code;
    serve_request_clear(request);
}

static size_t body_limit(const serve_request *request) {
    return (size_t)request->settings->max_body * SERVE_MIB;
}

/* ---- parameters ---- */

static void set(serve_request *request, const char *name, const char *value) {
    if (serve_query_set(&request->job.query, name, value) != VIT_OK) {
        serve_request_refuse(request, 400, "%s", vit_last_error());
    }
}

void serve_request_parameter(serve_request *request, const char *name, size_t name_size,
                             const char *value, size_t value_size) {
    if (strlen(name) != name_size || strlen(value) != value_size) {
        serve_request_refuse(request, 400, "the query holds a zero byte");
    } else if (request->code == 0) {
        set(request, name, value);
    }
}

/* ---- the body's kind and size ---- */

/* "Image/PNG ; q=1" is "image/png". */
static bool is_type(const char *type, const char *expected, bool prefix) {
    size_t length = strlen(expected);
    return strncasecmp(type, expected, length) == 0 &&
           (prefix || type[length + strspn(type + length, " \t")] == 0 ||
            type[length + strspn(type + length, " \t")] == ';');
}

serve_body serve_request_type(serve_request *request, const char *type, const char *encoding) {
    if (encoding && strcasecmp(encoding, "identity") != 0) {
        serve_request_refuse(request, 415, "Content-Encoding: %s (expected none)", encoding);
    } else if (!type || is_type(type, "image/", true) ||
               is_type(type, "application/octet-stream", false)) {
        return request->code == 0 ? SERVE_BODY_RAW : SERVE_BODY_REFUSED;
    } else if (is_type(type, "multipart/form-data", false)) {
        return request->code == 0 ? SERVE_BODY_PARTS : SERVE_BODY_REFUSED;
    } else {
        serve_request_refuse(request, 415,
                             "Content-Type: %s (expected multipart/form-data, image/... or "
                             "application/octet-stream)",
                             type);
    }
    return SERVE_BODY_REFUSED;
}

void serve_request_announce(serve_request *request, unsigned long long bytes) {
    if (bytes > body_limit(request)) {
        serve_request_refuse(request, 413, "%llu bytes (expected at most %zu)", bytes,
                             body_limit(request));
    }
}

void serve_request_count(serve_request *request, size_t bytes) {
    request->received += bytes;
    if (request->received > body_limit(request)) {
        serve_request_refuse(request, 413, "more than %zu bytes", body_limit(request));
    }
}

size_t serve_request_patience(const serve_request *request) {
    return 4 * body_limit(request);
}

/* ---- pictures ---- */

static serve_picture *last_picture(serve_request *request) {
    return &request->job.pictures[request->job.count - 1];
}

static void out_of_memory(serve_request *request) {
    serve_request_refuse(request, 503, "out of memory");
}

/* Takes bytes from what all requests may hold. */
static bool take(serve_request *request, size_t bytes) {
    serve_budget *budget = request->budget;
    size_t before = atomic_fetch_add(&budget->held, bytes);
    if (bytes > budget->limit || before > budget->limit - bytes) {
        atomic_fetch_sub(&budget->held, bytes);
        serve_request_refuse(request, 503, "busy: other requests hold %zu MiB already; try again",
                             budget->limit / SERVE_MIB);
        return false;
    }
    request->held += bytes;
    return true;
}

static void add_picture(serve_request *request, const char *name) {
    serve_job *job = &request->job;
    if (job->count >= (size_t)request->settings->queue) {
        serve_request_refuse(request, 413, "more than %d pictures", request->settings->queue);
        return;
    }
    if (job->count == request->room) {
        size_t room = request->room ? request->room * 2 : 1;
        serve_picture *grown = realloc(job->pictures, room * sizeof *grown);
        if (!grown) {
            out_of_memory(request);
            return;
        }
        job->pictures = grown;
        request->room = room;
    }
    job->pictures[job->count++] = (serve_picture){0};
    if (name) {
        last_picture(request)->name = strndup(name, NAME_MAX_BYTES);
        if (!last_picture(request)->name) {
            out_of_memory(request);
        }
    }
}

void serve_request_raw(serve_request *request) {
    if (request->code == 0) {
        add_picture(request, NULL);
    }
}

void serve_request_append(serve_request *request, const char *data, size_t size) {
    if (request->code != 0 || size == 0 || request->job.count == 0) {
        return;
    }
    vit_bytes *bytes = &last_picture(request)->bytes;
    size_t needed = bytes->size + size; /* both below the limit of a body */
    if (needed > bytes->capacity) {
        size_t room = bytes->capacity * 2 > FIRST_ROOM ? bytes->capacity * 2 : FIRST_ROOM;
        room = room < needed ? needed : room;
        if (!take(request, room - bytes->capacity)) {
            return;
        }
        if (vit_bytes_reserve(bytes, room, "request") != VIT_OK) {
            out_of_memory(request);
            return;
        }
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size = needed;
}

/* ---- forms ---- */

static void end_field(serve_request *request) {
    if (request->open_field && request->code == 0) {
        request->value[request->value_size] = 0;
        if (strlen(request->value) != request->value_size) {
            serve_request_refuse(request, 400, "%s: holds a zero byte", request->field);
        } else {
            set(request, request->field, request->value);
        }
    }
    request->open_field = false;
}

static void begin_field(serve_request *request, const char *name) {
    if (!name || strlen(name) >= sizeof request->field) {
        serve_request_refuse(request, 400, "a part of the form has no name, or a long one");
        return;
    }
    snprintf(request->field, sizeof request->field, "%s", name);
    request->value_size = 0;
    request->open_field = true;
}

void serve_request_part(serve_request *request, const char *name, const char *filename,
                        const char *data, bool first, size_t size) {
    if (first) {
        end_field(request);
    }
    if (request->code != 0) {
        return;
    }
    if (filename) {
        if (first || request->job.count == 0) {
            add_picture(request, filename);
        }
        serve_request_append(request, data, size);
        return;
    }
    if (first) {
        begin_field(request, name);
    }
    if (request->code == 0 && size >= sizeof request->value - request->value_size) {
        serve_request_refuse(request, 400,
                             "%s: longer than %zu bytes (a picture needs a file name)",
                             request->field, sizeof request->value - 1);
    } else if (request->code == 0 && size > 0) {
        memcpy(request->value + request->value_size, data, size);
        request->value_size += size;
    }
}

/* What the answer takes while it is made counts too: for a class its JSON, twice, and its text; for
 * an overlay a PNG, in base64, twice in JSON, and as text. */
static void take_answer(serve_request *request, size_t classes) {
    const serve_query *query = &request->job.query;
    size_t topk = (size_t)query->topk < classes ? (size_t)query->topk : classes;
    size_t each = topk * ANSWER_CLASS + (query->overlay ? ANSWER_OVERLAY : 0);
    size_t pictures = request->job.count;
    if (pictures * each > request->budget->limit) {
        serve_request_refuse(request, 413,
                             "the answer to %zu picture%s would be too large (expected fewer "
                             "pictures, a smaller topk, or no overlay)",
                             pictures, pictures == 1 ? "" : "s");
    } else {
        take(request, pictures * each);
    }
}

void serve_request_end(serve_request *request, const vit_model_bundle *bundle) {
    const serve_query *query = &request->job.query;
    end_field(request);
    if (request->code != 0) {
        return;
    }
    bool empty = request->job.count == 0 ||
                 (request->job.count == 1 && last_picture(request)->bytes.size == 0);
    if (empty) {
        serve_request_refuse(request, 400,
                             "no picture came (expected a file in the form, or a "
                             "picture as the body)");
    } else if (*query->class_name &&
               serve_find_class(bundle, query->class_name, &request->job.class_index) != VIT_OK) {
        serve_request_refuse(request, 400, "%s", vit_last_error());
    }
    if (request->code == 0) {
        take_answer(request, bundle->model.head_shape.classes);
    }
}
