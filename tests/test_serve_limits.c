/* The limits of zvit serve: of bodies, of the queue, of time and of connections. */
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

static char *chunked(const char *bytes, size_t size, size_t *out) {
    static const char head[] = "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                               "image/png\r\nTransfer-Encoding: chunked\r\n\r\n";
    char *request = malloc(size + size / 1000 * 16 + 4096);
    ck_assert_ptr_nonnull(request);
    *out = (size_t)sprintf(request, "%s", head);
    for (size_t at = 0; at < size; at += 1000) {
        size_t piece = size - at < 1000 ? size - at : 1000;
        *out += (size_t)sprintf(request + *out, "%zx\r\n", piece);
        memcpy(request + *out, bytes + at, piece);
        *out += piece;
        *out += (size_t)sprintf(request + *out, "\r\n");
    }
    *out += (size_t)sprintf(request + *out, "0\r\n\r\n");
    return request;
}

START_TEST(bodies_are_bounded) {
    server s = serve_model((const char *const[]){"--max-body", "1", "--max-held", "3", NULL});
    size_t large = ((size_t)1 << 20) + 1, size;
    char *zeros = calloc(6, large);
    ck_assert_ptr_nonnull(zeros);
    check_reply(http_post(s.port, "/v1/classify", "image/png", zeros, large - 1), 422, "picture");
    check_reply(http_post(s.port, "/v1/classify", "image/png", zeros, large), 413, "1048577 bytes");
    vit_bytes picture = golden_bytes("rgb.png");
    char *request = chunked((const char *)picture.data, picture.size, &size);
    reply r = http_ask(s.port, request, size);
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    reply_free(&r);
    free(request);
    request = chunked(zeros, large, &size);
    check_reply(http_ask(s.port, request, size), 413, "more than 1048576 bytes");
    free(request);
    request = chunked(zeros, 6 * large, &size); /* not read to its end */
    int fd = http_connect(s.port);
    http_send(fd, request, size);
    ck_assert(http_closed(fd));
    close(fd);
    free(request);
    check_served(&s);
    ck_assert_double_eq(serve_metric(&s, "zvit_held_bytes"), 0);
    vit_bytes_free(&picture);
    free(zeros);
    serve_stop(&s);
}
END_TEST

/* The batch waits for pictures that do not come, so the queue fills up. */
START_TEST(a_full_queue_says_when_to_come_again) {
    server s = serve_model(
        (const char *const[]){"--queue", "2", "--max-batch", "8", "--max-wait-ms", "2000", NULL});
    vit_bytes picture = golden_bytes("rgb.png");
    form *f = form_of_all();
    form_end(f);
    check_reply(http_post(s.port, "/v1/classify", FORM, f->bytes, f->size), 413,
                "more than 2 pictures");
    int first = post_without_reading(&s, &picture), second = post_without_reading(&s, &picture);
    wait_for_queue(&s, 2);
    char value[512];
    reply r = post_golden(&s, "/v1/classify", "rgb.png");
    ck_assert_msg(r.code == 503, "%s%s", r.head, r.body);
    ck_assert_str_eq(http_header(&r, "Retry-After", value), "1");
    check_has(r.body, "busy");
    reply_free(&r);
    check_served(&s); /* everything else goes on */
    check_reply(http_read(first), 200, "results");
    check_reply(http_read(second), 200, "results");
    close(first);
    close(second);
    free(f);
    vit_bytes_free(&picture);
    serve_stop(&s);
}
END_TEST

/* Two clients at once share a batch: neither waits out the time that it would alone. */
START_TEST(clients_share_a_batch) {
    server s =
        serve_model((const char *const[]){"--max-batch", "2", "--max-wait-ms", "10000", NULL});
    vit_bytes picture = golden_bytes("rgb.png"), other = golden_bytes("progressive.jpg");
    vit_json *expected[] = {classify_picture("rgb.png"), classify_picture("progressive.jpg")};
    for (int i = 0; i < 5; i++) {
        int fds[] = {post_without_reading(&s, &picture), post_without_reading(&s, &other)};
        for (int k = 0; k < 2; k++) {
            reply r = http_read(fds[k]);
            ck_assert_int_eq(r.code, 200);
            vit_json *root = parse(r.body);
            check_top(vit_json_at(vit_json_get(root, "results"), 0), expected[k], 4, 1e-5);
            vit_json_free(root);
            reply_free(&r);
            close(fds[k]);
        }
    }
    ck_assert_double_eq(serve_metric(&s, "zvit_batch_pictures_sum"), 10);
    ck_assert_double_eq(serve_metric(&s, "zvit_batch_pictures_count"), 5);
    vit_json_free(expected[0]);
    vit_json_free(expected[1]);
    vit_bytes_free(&picture);
    vit_bytes_free(&other);
    serve_stop(&s);
}
END_TEST

START_TEST(slow_requests_get_a_408) {
    static const char *const halves[] = {
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Len",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"};
    server s = serve_model((const char *const[]){"--timeout", "0.7", NULL});
    for (int i = 0; i < 2; i++) {
        int fd = http_connect(s.port);
        http_text(fd, halves[i]);
        reply r = http_read(fd);
        ck_assert_msg(r.code == 408, "%s", r.head);
        check_has(r.body, "error");
        reply_free(&r);
        ck_assert(http_closed(fd));
        close(fd);
    }
    /* A byte now and then is no excuse. */
    int fd = http_connect(s.port);
    http_text(fd, halves[1]);
    for (int i = 0; i < 12; i++) {
        http_text(fd, "x");
        nap(100);
    }
    reply r = http_read(fd);
    ck_assert_msg(r.code == 408, "%s", r.head);
    reply_free(&r);
    close(fd);
    /* One that has asked nothing is closed without a word. */
    fd = http_connect(s.port);
    char byte;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
    check_served(&s);
    serve_stop(&s);
}
END_TEST

START_TEST(idle_connections_keep_nobody_out) {
    enum { HELD = 60 };
    server s = serve_model((const char *const[]){"--max-connections", "8", NULL});
    int fds[HELD];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < HELD; i++) {
            fds[i] = http_connect(s.port);
            ck_assert_int_ge(fds[i], 0);
            if (round == 1) {
                http_text(fds[i], "GET /healthz HTTP/1.1\r\nHost: loc");
            }
        }
        nap(1200);
        for (int i = 0; i < 5; i++) {
            check_served(&s);
        }
        reply r = post_golden(&s, "/v1/classify", "rgb.png");
        ck_assert_int_eq(r.code, 200);
        reply_free(&r);
        for (int i = 0; i < HELD; i++) {
            close(fds[i]);
        }
    }
    serve_stop(&s);
}
END_TEST

START_TEST(connections_are_kept) {
    server s = serve_model(NULL);
    int fd = http_connect(s.port);
    static const char get[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char wrong[] = "POST /v1/classify?topk=0 HTTP/1.1\r\nHost: localhost\r\n"
                                "Content-Length: 5\r\n\r\nhello";
    http_text(fd, get);
    check_reply(http_read(fd), 200, "ok");
    http_text(fd, wrong); /* its body is not taken for a request */
    check_reply(http_read(fd), 400, "topk");
    http_text(fd, get);
    http_text(fd, get); /* without waiting for the first one's answer */
    check_reply(http_read(fd), 200, "ok");
    check_reply(http_read(fd), 200, "ok");
    http_text(fd, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    check_reply(http_read(fd), 200, "ok");
    ck_assert(http_closed(fd));
    close(fd);
    reply r = http_ask_text(s.port, "GET /healthz HTTP/1.0\r\n\r\n"); /* needs no Host */
    ck_assert_int_eq(r.code, 200);
    reply_free(&r);
    serve_stop(&s);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, bodies_are_bounded);
    tcase_add_test(tcase, a_full_queue_says_when_to_come_again);
    tcase_add_test(tcase, clients_share_a_batch);
    tcase_add_test(tcase, slow_requests_get_a_408);
    tcase_add_test(tcase, idle_connections_keep_nobody_out);
    tcase_add_test(tcase, connections_are_kept);
}

int main(void) {
    Suite *suite = suite_create("serve_limits");
    TCase *server_case = tcase_create("server");
    tcase_add_checked_fixture(server_case, make_folder, remove_folder);
    add_tests(server_case);
    suite_add_tcase(suite, server_case);
    return test_run(suite);
}
