/* What zvit serve refuses: wrong requests, broken HTTP, broken forms. */
#include "support/command.h"
#include "support/http_client.h"
#include "support/serve_case.h"
#include "support/support.h"

#include "vit/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct {
    int code;
    const char *line, *headers, *part;
} wrong_requests[] = {
    {404, "GET /nothing", "", "/nothing"},
    {404, "GET /../../etc/passwd", "", "nothing is here"},
    {404, "GET /%2e%2e/%2e%2e/etc/passwd", "", "nothing is here"},
    {404, "GET //", "", "nothing is here"},
    {404, "GET /page.css/", "", "nothing is here"},
    {404, "GET /v1", "", "nothing is here"},
    {404, "GET /\xff\xfe", "", "nothing is here"},
    {404, "OPTIONS /nothing", "", "/nothing: nothing is here"},
    {204, "OPTIONS /", "Content-Length: 2\r\nExpect: 100-continue\r\n", ""},
    {405, "DELETE /", "", "expected GET, HEAD, OPTIONS"},
    {405, "GET /v1/classify", "", "expected POST, OPTIONS"},
    {405, "HEAD /v1/classify", "", ""},
    {405, "POST /healthz", "Content-Length: 2\r\n", "expected GET"},
    {405, "BREW /", "", "BREW"},
    {411, "POST /v1/classify", "", "Content-Length"},
    {415, "POST /v1/classify", "Content-Length: 2\r\nContent-Type: text/plain\r\n", "text/plain"},
    {415, "POST /v1/classify", "Content-Length: 2\r\nContent-Encoding: gzip\r\n", "gzip"},
    {400, "POST /v1/classify?topk=x", "Content-Length: 2\r\n", "topk: x"},
    {400, "POST /v1/classify?topk=1&topk=0", "Content-Length: 2\r\n", "topk: 0"},
    {400, "POST /v1/classify?top%00k=1", "Content-Length: 2\r\n", "zero byte"},
    {400, "POST /v1/classify?color=red", "Content-Length: 2\r\n", "color: unknown"},
    {400, "POST /v1/classify?class=ann", "Content-Length: 2\r\n", "did you mean ant?"},
    {400, "POST /v1/classify", "Content-Length: 0\r\n", "no picture"},
    {400, "POST /v1/classify", "Content-Type: multipart/form-data\r\nContent-Length: 2\r\n",
     "boundary"},
    {421, "GET /", "Host: evil.com\r\n", "evil.com"},
    {421, "GET /", "Host: localhost.evil.com:80\r\n", "evil.com"},
    {400, "GET /", "Host: a\r\nHost: b\r\n", "2 Host headers"},
    {400, "GET /", "Host:\r\nX: y\r\nHost: localhost\r\n", "2 Host headers"},
    {403, "POST /v1/classify", "Content-Length: 2\r\nOrigin: http://evil.com\r\n", "another site"},
    {403, "POST /v1/classify", "Content-Length: 2\r\nSec-Fetch-Site: cross-site\r\n",
     "another site"},
    {501, "POST /v1/classify", "Transfer-Encoding: gzip\r\n", "expected chunked"},
    {413, "POST /v1/classify", "Content-Length: 2000000000\r\n", "expected at most 20971520"},
    {413, "POST /v1/classify", "Content-Length: 30000000\r\nExpect: 100-continue\r\n",
     "expected at most 20971520"},
    {400, "POST /v1/classify", "Content-Length: 2\r\nContent-Length: 3\r\n", "more than one"},
    {400, "POST /v1/classify", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
     "more than one"},
};

static void check_wrong(const server *s, size_t i) {
    char request[1024], allow[512];
    const char *headers = wrong_requests[i].headers;
    const char *host = strstr(headers, "Host:") ? "" : "Host: localhost\r\n";
    snprintf(request, sizeof request, "%s HTTP/1.1\r\n%s%s\r\nxx", wrong_requests[i].line, host,
             headers);
    reply r = http_ask_text(s->port, request);
    ck_assert_msg(r.code == wrong_requests[i].code, "%s: %d, expected %d: %s%s", request, r.code,
                  wrong_requests[i].code, r.head, r.body);
    ck_assert_msg(strstr(r.body, wrong_requests[i].part) != NULL, "%s: %s", request, r.body);
    if (r.size > 0) {
        vit_json *root = parse(r.body);
        ck_assert(*string_of(root, "error"));
        vit_json_free(root);
    }
    if (r.code == 405) {
        check_has(http_header(&r, "Allow", allow), "OPTIONS");
    }
    reply_free(&r);
}

START_TEST(wrong_requests_are_named) {
    server s = serve_model(NULL);
    for (size_t i = 0; i < sizeof wrong_requests / sizeof *wrong_requests; i++) {
        check_wrong(&s, i);
        check_served(&s);
    }
    serve_stop(&s);
}
END_TEST

/* The HTTP library's own refusals, or a closed connection: never an answer that says it went well,
 * and the server goes on. */
START_TEST(what_is_no_http_is_refused) {
    static const char *const garbage[] = {
        "\r\n\r\n\r\n\r\n",
        "hello\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz\r\n\r\n",
        "GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n", /* no Host */
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\nhello",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5x\r\n\r\nhello",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r"
        "\n\r\nhello",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "zz\r\nhello\r\n0\r\n\r\n",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhelloXX0\r\n\r\n",
    };
    server s = serve_model(NULL);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int fd = http_connect(s.port);
        http_text(fd, garbage[i]);
        shutdown(fd, SHUT_WR);
        reply r = http_read(fd);
        ck_assert_msg(r.code == 0 || r.code >= 400, "%s: %s%s", garbage[i], r.head, r.body);
        reply_free(&r);
        close(fd);
        check_served(&s);
    }
    serve_stop(&s);
}
END_TEST

/* More head than there is room for; a line without end. */
START_TEST(floods_are_refused) {
    server s = serve_model(NULL);
    char *flood = malloc(1 << 20);
    ck_assert_ptr_nonnull(flood);
    memset(flood, 'a', 1 << 20);
    int fd = http_connect(s.port);
    http_text(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 20000; i++) {
        char line[64];
        snprintf(line, sizeof line, "X-%d: %d\r\n", i, i);
        http_text(fd, line);
    }
    http_text(fd, "\r\n");
    reply r = http_read(fd);
    ck_assert_msg(r.code == 0 || r.code == 431 || r.code == 413, "%s", r.head);
    reply_free(&r);
    close(fd);
    fd = http_connect(s.port);
    http_text(fd, "GET /");
    http_send(fd, flood, 1 << 20);
    r = http_read(fd);
    ck_assert_msg(r.code == 0 || r.code == 414, "%s", r.head);
    reply_free(&r);
    close(fd);
    free(flood);
    check_served(&s);
    serve_stop(&s);
}
END_TEST

START_TEST(broken_forms_are_refused) {
    static const struct {
        const char *type, *body, *part;
    } cases[] = {
        {FORM, "hello", "no picture"},
        {FORM, "", "no picture"},
        {FORM, "--" BOUNDARY "--\r\n", "no picture"},
        {FORM, "--" BOUNDARY "\r\n\r\nxxx\r\n--" BOUNDARY "--\r\n", ""},
        {FORM,
         "--" BOUNDARY "\r\nContent-Disposition: form-data\r\n\r\nxxx\r\n--" BOUNDARY "--\r\n", ""},
        {FORM,
         "--" BOUNDARY
         "\r\nContent-Disposition: form-data; name=\"a\"; filename=\"a.png\"\r\n\r\nxxx",
         ""},
        {FORM,
         "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"a\"; "
         "filename=\"a.png\"\r\n\r\nxxx\r\n--other--\r\n",
         ""},
        {FORM,
         "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"topk\"\r\n\r\n0\r\n--" BOUNDARY
         "--\r\n",
         "topk: 0"},
        {"multipart/form-data; boundary=", "x", "boundary"},
        {"multipart/form-data; boundary=\"", "x", ""},
        {"multipart/form-data; charset=x", "x", "boundary"},
    };
    server s = serve_model(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reply r =
            http_post(s.port, "/v1/classify", cases[i].type, cases[i].body, strlen(cases[i].body));
        ck_assert_msg(r.code == 400 || r.code == 422, "case %zu: %s%s", i, r.head, r.body);
        check_has(r.body, cases[i].part);
        reply_free(&r);
    }
    /* Every prefix of a good form: refused, or, where the last boundary's end alone is missing,
     * answered; never anything else. */
    form *f = calloc(1, sizeof *f);
    form_part(f, "name=\"a\"; filename=\"a.png\"", "xyz", 3);
    form_end(f);
    for (size_t size = 0; size < f->size; size++) {
        reply r = http_post(s.port, "/v1/classify", FORM, f->bytes, size);
        ck_assert_msg(r.code == 400 || r.code == 422, "%zu bytes: %s%s", size, r.head, r.body);
        reply_free(&r);
    }
    free(f);
    check_served(&s);
    serve_stop(&s);
}
END_TEST

/* Clients that leave in the middle. */
START_TEST(truncated_requests_leave_nothing_behind) {
    server s = serve_model(NULL);
    vit_bytes picture = golden_bytes("baseline_420.jpg");
    char head[256];
    int length = snprintf(head, sizeof head,
                          "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                          "image/jpeg\r\nContent-Length: %zu\r\n\r\n",
                          picture.size);
    check_served(&s);
    double descriptors = serve_metric(&s, "process_open_fds");
    for (int i = 0; i < 60; i++) {
        int fd = http_connect(s.port);
        size_t part = picture.size * (size_t)(i % 10) / 10;
        http_send(fd, head, (size_t)(i % 3 == 0 ? length / 2 : length));
        http_send(fd, picture.data, i % 3 == 0 ? 0 : part);
        close(fd);
    }
    /* And one that sends all and does not wait for the answer. */
    for (int i = 0; i < 20; i++) {
        int fd = http_connect(s.port);
        http_send(fd, head, (size_t)length);
        http_send(fd, picture.data, picture.size);
        close(fd);
    }
    for (int i = 0; i < 500 && (serve_metric(&s, "zvit_connections") > 1 ||
                                serve_metric(&s, "zvit_held_bytes") > 0);
         i++) {
        nap(10);
    }
    ck_assert_double_eq(serve_metric(&s, "zvit_connections"), 1);
    ck_assert_double_eq(serve_metric(&s, "zvit_held_bytes"), 0);
    ck_assert_double_eq(serve_metric(&s, "zvit_queue_pictures"), 0);
    ck_assert_double_eq(serve_metric(&s, "process_open_fds"), descriptors);
    vit_bytes_free(&picture);
    serve_stop(&s);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, wrong_requests_are_named);
    tcase_add_test(tcase, what_is_no_http_is_refused);
    tcase_add_test(tcase, floods_are_refused);
    tcase_add_test(tcase, broken_forms_are_refused);
    tcase_add_test(tcase, truncated_requests_leave_nothing_behind);
}

int main(void) {
    Suite *suite = suite_create("serve_refused");
    TCase *server_case = tcase_create("server");
    tcase_add_checked_fixture(server_case, make_folder, remove_folder);
    add_tests(server_case);
    suite_add_tcase(suite, server_case);
    return test_run(suite);
}
