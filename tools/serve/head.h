/* A request's head, apart from the library that received it: may this be asked, and asked so. */
#ifndef ZVIT_SERVE_HEAD_H
#define ZVIT_SERVE_HEAD_H

#include "tools/serve/request.h"
#include "tools/serve/routes.h"

/* The headers that decide; of one that came several times the first. NULL: it did not come. */
typedef struct serve_head {
    const char *method, *url, *version; /* "GET", "/path", "HTTP/1.1" */
    const serve_route *route;           /* NULL: no such path */
    const char *host, *origin, *fetch_site, *expect;
    const char *length, *encoding;      /* Content-Length and Transfer-Encoding */
    unsigned hosts, lengths, encodings; /* how many came */
} serve_head;

/* What would let two programs disagree about where a request ends is refused, and the connection is
 * then to be closed: false. */
bool serve_head_framed(const serve_head *head, serve_request *request);

/* Refuses who may not ask, what is not there, and what it is not for; OPTIONS has its answer, 204.
 * machine: this machine's name, or "". */
void serve_head_judge(const serve_head *head, const char *machine, serve_request *request);

/* The body's bytes as announced; 0 when its length is not known beforehand. */
unsigned long long serve_head_announced(const serve_head *head);

/* Whether what has its answer already gets it at once, with the body unread and the connection then
 * closed: where the body ends is not sure (close), the client waits for leave to send it, or it is
 * so large that reading it just to be polite takes too long. */
bool serve_head_at_once(const serve_head *head, bool close, const serve_request *request);

#endif
