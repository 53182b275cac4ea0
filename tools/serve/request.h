/* A request while it is received, apart from the library that receives it: what it asks for, its
 * pictures, and what is wrong with it. */
#ifndef ZVIT_SERVE_REQUEST_H
#define ZVIT_SERVE_REQUEST_H

#include "tools/serve/queue.h"

#include "vit/model_file.h"

#include <stdatomic.h>

/* The bytes that all requests hold. */
typedef struct serve_budget {
    size_t limit;
    atomic_size_t held;
} serve_budget;

typedef struct serve_request {
    const serve_settings *settings;
    serve_budget *budget;
    unsigned code; /* 0: nothing is wrong; else the answer's status */
    char error[VIT_MESSAGE_MAX];
    size_t received; /* bytes of the body */
    size_t held;     /* of the budget */
    serve_job job;
    size_t room;     /* of job.pictures */
    bool open_field; /* a form field that is no file is being received: */
    char field[64], value[1024];
    size_t value_size;
} serve_request;

void serve_request_init(serve_request *request, const serve_settings *settings,
                        serve_budget *budget);
/* Releases the pictures and gives the budget back. */
void serve_request_clear(serve_request *request);

/* Notes what is wrong; the first one counts. What was received is let go. */
void serve_request_refuse(serve_request *request, unsigned code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The functions below refuse where something is wrong, and do nothing when something was. */

/* A parameter of the query; its text may hold zero bytes. */
void serve_request_parameter(serve_request *request, const char *name, size_t name_size,
                             const char *value, size_t value_size);

/* The body, as its headers describe it. type, encoding: Content-Type and Content-Encoding, or NULL.
 */
typedef enum serve_body { SERVE_BODY_REFUSED, SERVE_BODY_RAW, SERVE_BODY_PARTS } serve_body;
serve_body serve_request_type(serve_request *request, const char *type, const char *encoding);
void serve_request_announce(serve_request *request, unsigned long long bytes);
/* Bytes of the body that were received, of whatever kind, also after a refusal. */
void serve_request_count(serve_request *request, size_t bytes);
/* How many bytes are read of a request that is refused already, so that the client, which sends
 * before it listens, gets to read the answer. */
size_t serve_request_patience(const serve_request *request);

/* The whole body is one picture; its bytes follow. */
void serve_request_raw(serve_request *request);
void serve_request_append(serve_request *request, const char *data, size_t size);
/* Bytes of a part of a form: of a picture when it has a file name, else of a parameter. first: the
 * part begins with them. */
void serve_request_part(serve_request *request, const char *name, const char *filename,
                        const char *data, bool first, size_t size);
/* All is there: there is a picture, and the class asked for is one of the model's. */
void serve_request_end(serve_request *request, const vit_model_bundle *bundle);

#endif
