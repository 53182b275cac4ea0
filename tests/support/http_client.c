#include "tests/support/http_client.h"

#include "tests/support/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

void reply_free(reply *r) {
    free(r->head);
    free(r->body);
    *r = (reply){0};
}

int http_connect(int port) {
    const struct timeval wait = {.tv_sec = 20};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    return fd;
}

void http_send(int fd, const void *bytes, size_t size) {
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        at += sent;
        size -= (size_t)sent;
    }
}

void http_text(int fd, const char *text) {
    http_send(fd, text, strlen(text));
}

/* One byte at a time: what follows belongs to the next answer. */
static char *read_head(int fd) {
    size_t size = 0, room = 65536;
    char *head = calloc(room, 1);
    ck_assert_ptr_nonnull(head);
    while (size < room - 1 && (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4) != 0)) {
        if (recv(fd, head + size, 1, 0) != 1) {
            break;
        }
        size++;
    }
    head[size] = 0;
    return head;
}

static reply read_reply(int fd, bool with_body) {
    reply r = {.head = read_head(fd)};
    char length[512];
    if (sscanf(r.head, "HTTP/1.1 %d", &r.code) != 1) {
        r.code = 0;
    }
    r.size = with_body ? strtoul(http_header(&r, "Content-Length", length), NULL, 10) : 0;
    ck_assert_uint_lt(r.size, (size_t)1 << 26);
    r.body = calloc(r.size + 1, 1);
    ck_assert_ptr_nonnull(r.body);
    for (size_t got = 0; got < r.size;) {
        ssize_t more = recv(fd, r.body + got, r.size - got, 0);
        ck_assert_msg(more > 0, "the body ends after %zu of %zu bytes", got, r.size);
        got += (size_t)more;
    }
    return r;
}

reply http_read(int fd) {
    return read_reply(fd, true);
}

reply http_read_head(int fd) {
    return read_reply(fd, false);
}

int http_closed(int fd) {
    char rest[4096];
    ssize_t got;
    do {
        got = recv(fd, rest, sizeof rest, 0);
    } while (got > 0);
    /* An error other than a reset is the wait's end. */
    return got == 0 || errno == ECONNRESET;
}

reply http_ask(int port, const void *request, size_t size) {
    int fd = http_connect(port);
    ck_assert_msg(fd >= 0, "nobody listens on port %d", port);
    http_send(fd, request, size);
    bool head = size > 5 && memcmp(request, "HEAD ", 5) == 0;
    reply r = head ? http_read_head(fd) : http_read(fd);
    close(fd);
    return r;
}

reply http_ask_text(int port, const char *request) {
    return http_ask(port, request, strlen(request));
}

reply http_get(int port, const char *path, const char *headers) {
    char request[2048];
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path,
             headers);
    return http_ask_text(port, request);
}

reply http_post(int port, const char *path, const char *type, const void *body, size_t size) {
    char head[1024];
    int length = snprintf(head, sizeof head,
                          "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n"
                          "Content-Length: %zu\r\n\r\n",
                          path, type, size);
    char *request = malloc((size_t)length + size);
    ck_assert_ptr_nonnull(request);
    memcpy(request, head, (size_t)length);
    memcpy(request + length, body, size);
    reply r = http_ask(port, request, (size_t)length + size);
    free(request);
    return r;
}

const char *http_header(const reply *r, const char *name, char buffer[512]) {
    size_t length = strlen(name);
    *buffer = 0;
    for (const char *line = strchr(r->head, '\n'); line; line = strchr(line + 1, '\n')) {
        if (strncasecmp(line + 1, name, length) == 0 && line[1 + length] == ':') {
            const char *value = line + 2 + length;
            value += strspn(value, " ");
            snprintf(buffer, 512, "%.*s", (int)strcspn(value, "\r\n"), value);
            break;
        }
    }
    return buffer;
}
