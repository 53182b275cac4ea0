#include "tools/serve/head.h"

#include "tools/serve/guard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool serve_head_framed(const serve_head *head, serve_request *request) {
    if (head->hosts > 1 || (head->hosts == 0 && strcmp(head->version, "HTTP/1.0") != 0)) {
        serve_request_refuse(request, 400, "%u Host headers (expected one)", head->hosts);
    } else if (head->lengths + head->encodings > 1) {
        serve_request_refuse(request, 400, "more than one of Content-Length and Transfer-Encoding");
    } else if (head->encoding && strcasecmp(head->encoding, "chunked") != 0) {
        serve_request_refuse(request, 501, "Transfer-Encoding: %s (expected chunked)",
                             head->encoding);
    }
    return request->code == 0;
}

static bool is_classify(const serve_head *head) {
    return head->route && head->route->kind == SERVE_ROUTE_CLASSIFY;
}

static bool has_body(const serve_head *head) {
    return head->lengths + head->encodings > 0;
}

static bool check_access(const serve_head *head, const char *machine, serve_request *request) {
    const char *allowed = request->settings->allow_host;
    if (head->host && !serve_host_allowed(head->host, allowed, machine)) {
        serve_request_refuse(request, 421,
                             "Host: %s: not a name of this server (zvit serve --allow-host adds "
                             "names)",
                             head->host);
    } else if (is_classify(head) &&
               !serve_origin_allowed(head->fetch_site, head->origin, head->host, allowed)) {
        serve_request_refuse(request, 403, "asked for by a page of another site");
    }
    return request->code == 0;
}

/* "GET" among "GET, HEAD": between separators. */
static bool lists_method(const char *allow, const char *method) {
    size_t length = strlen(method);
    for (const char *at = allow; *at; at += strspn(at, ", ")) {
        size_t word = strcspn(at, ", ");
        if (word == length && strncmp(at, method, word) == 0) {
            return true;
        }
        at += word;
    }
    return false;
}

void serve_head_judge(const serve_head *head, const char *machine, serve_request *request) {
    if (!check_access(head, machine, request)) {
        return;
    }
    bool options = strcmp(head->method, "OPTIONS") == 0;
    if (options && (head->route || strcmp(head->url, "*") == 0)) {
        request->code = 204;
    } else if (!head->route) {
        serve_request_refuse(request, 404, "%s: nothing is here", head->url);
    } else if (!lists_method(head->route->allow, head->method)) {
        serve_request_refuse(request, 405, "%s: not for %s (expected %s)", head->method, head->url,
                             head->route->allow);
    } else if (is_classify(head) && !has_body(head)) {
        serve_request_refuse(request, 411, "no Content-Length, nor Transfer-Encoding: chunked");
    }
}

unsigned long long serve_head_announced(const serve_head *head) {
    return head->length ? strtoull(head->length, NULL, 10) : 0;
}

bool serve_head_at_once(const serve_head *head, bool close, const serve_request *request) {
    return request->code != 0 && has_body(head) &&
           (close || head->expect || serve_head_announced(head) > serve_request_patience(request));
}
