/* A client that writes what it is told, byte by byte, and takes answers apart. */
#ifndef VIT_TEST_HTTP_CLIENT_H
#define VIT_TEST_HTTP_CLIENT_H

#include <stddef.h>

typedef struct reply {
    int code;   /* 0: the server closed without an answer */
    char *head; /* the status line and the headers */
    char *body; /* zero-terminated */
    size_t size;
} reply;
void reply_free(reply *r);

/* 127.0.0.1; reading waits at most 20 s. -1 when nobody listens. */
int http_connect(int port);
void http_send(int fd, const void *bytes, size_t size); /* a server that closed is fine */
void http_text(int fd, const char *text);
/* One answer; to a HEAD request it has no body. */
reply http_read(int fd);
reply http_read_head(int fd);
/* True when the server has closed the connection, or does so within 20 s. */
int http_closed(int fd);

/* A connection for this one exchange; size bytes of request. */
reply http_ask(int port, const void *request, size_t size);
reply http_ask_text(int port, const char *request);
/* GET of a path, with further header lines ("A: b\r\n") or "". */
reply http_get(int port, const char *path, const char *headers);
/* POST of a body of that type. */
reply http_post(int port, const char *path, const char *type, const void *body, size_t size);

/* The value of a header, in buffer; "" when there is none. */
const char *http_header(const reply *r, const char *name, char buffer[512]);

#endif
