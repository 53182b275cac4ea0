/* zvit serve as a client sees it: pages, answers, heat maps, how it begins and ends. */
#include "support/command.h"
#include "support/http_client.h"
#include "support/serve_case.h"
#include "support/support.h"

#include "vit/file.h"
#include "vit/model_file.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef ZVIT_HAVE_MICROHTTPD

START_TEST(says_how_to_build_it_in) {
    check_failure(zvit("serve", in_folder("model"), NULL), "serve", "libmicrohttpd-dev");
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, says_how_to_build_it_in);
}

#else

/* ---- what is there ---- */
static void check_headers(const reply *r, const char *type) {
    char value[512];
    ck_assert_str_eq(http_header(r, "Content-Type", value), type);
    ck_assert_str_eq(http_header(r, "X-Content-Type-Options", value), "nosniff");
    ck_assert_str_eq(http_header(r, "Referrer-Policy", value), "no-referrer");
    check_has(http_header(r, "Content-Security-Policy", value), "default-src 'none'");
    check_has(value, "frame-ancestors 'none'");
    check_has_not(value, "unsafe");
    ck_assert_str_eq(http_header(r, "Server", value), "");
    ck_assert_str_eq(http_header(r, "Access-Control-Allow-Origin", value), "");
}

/* METHOD PATH with these headers (and a body), and the code that it has to give. */
static reply ask_page(const server *s, const char *method, const char *path, const char *headers,
                      int code) {
    char request[256];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\n%s", method, path, headers);
    reply r = http_ask_text(s->port, request);
    ck_assert_msg(r.code == code, "%s: %d, expected %d", request, r.code, code);
    return r;
}

/* What else may be asked of a page than GET, which gave r. */
static void check_methods(const server *s, const char *path, const reply *r) {
    char value[512], length[512];
    reply head = ask_page(s, "HEAD", path, "Host: [::1]:80\r\n\r\n", 200);
    if (strcmp(path, "/metrics") != 0) { /* they change while they are looked at */
        ck_assert_str_eq(http_header(&head, "Content-Length", value),
                         http_header(r, "Content-Length", length));
    }
    reply_free(&head);
    reply options = ask_page(s, "OPTIONS", path, "Host: a.localhost\r\n\r\n", 204);
    ck_assert_str_eq(http_header(&options, "Allow", value), "GET, HEAD, OPTIONS");
    reply_free(&options);
    /* HTTP lets any request have a body. */
    static const char *const bodies[] = {
        "Host: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"};
    for (size_t i = 0; i < 2; i++) {
        reply with_body = ask_page(s, "GET", path, bodies[i], 200);
        reply_free(&with_body);
    }
}

START_TEST(pages_and_documents) {
    static const char *const paths[][3] = {
        {"/", "text/html; charset=utf-8", "<title>"},
        {"/page.css", "text/css; charset=utf-8", "prefers-color-scheme"},
        {"/page.js", "text/javascript; charset=utf-8", "use strict"},
        {"/icon.svg", "image/svg+xml", "<svg"},
        {"/healthz", "application/json", "ok"},
        {"/v1/model", "application/json", "zeros_micro"},
        {"/metrics", "text/plain; version=0.0.4; charset=utf-8", "zvit_uptime_seconds"},
    };
    server s = serve_model(NULL);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        reply r = http_get(s.port, paths[i][0], "");
        ck_assert_int_eq(r.code, 200);
        check_headers(&r, paths[i][1]);
        check_has(r.body, paths[i][2]);
        check_methods(&s, paths[i][0], &r);
        reply_free(&r);
    }
    serve_stop(&s);
}
END_TEST

START_TEST(a_known_page_is_not_sent_again) {
    server s = serve_model(NULL);
    char etag[512], known[600];
    reply r = http_get(s.port, "/page.js", "");
    ck_assert_str_ne(http_header(&r, "ETag", etag), "");
    snprintf(known, sizeof known, "If-None-Match: %s\r\n", etag);
    reply again = http_get(s.port, "/page.js", known);
    ck_assert_int_eq(again.code, 304);
    ck_assert_uint_eq(again.size, 0);
    reply_free(&again);
    again = http_get(s.port, "/page.css", known);
    ck_assert_int_eq(again.code, 200);
    reply_free(&again);
    reply_free(&r);
    serve_stop(&s);
}
END_TEST

START_TEST(the_model_describes_itself) {
    static const char *const flags[] = {"--max-body",   "3",    "--queue", "7",
                                        "--max-pixels", "5000", NULL};
    server s = serve_model(flags);
    reply r = http_get(s.port, "/v1/model", "");
    vit_json *root = parse(r.body);
    const vit_json *names = vit_json_get(root, "classes"), *limits = vit_json_get(root, "limits");
    ck_assert_str_eq(string_of(root, "zvit"), VIT_VERSION_STRING);
    ck_assert_uint_eq(vit_json_count(names), SERVED_CLASSES);
    for (size_t k = 0; k < SERVED_CLASSES; k++) {
        ck_assert_str_eq(vit_json_string(vit_json_at(names, k), ""), served_classes[k]);
    }
    ck_assert_double_eq(number_of(vit_json_get(root, "config"), "num_classes"), SERVED_CLASSES);
    ck_assert_double_eq(number_of(limits, "body_bytes"), 3 << 20);
    ck_assert_double_eq(number_of(limits, "pictures"), 7);
    ck_assert_double_eq(number_of(limits, "pixels"), 5000);
    vit_json_free(root);
    reply_free(&r);
    serve_stop(&s);
}
END_TEST

/* ---- classifying ---- */
/* Those of the command line, which may compute one picture with all threads; and among others the
 * same as alone, to the last bit. */
START_TEST(answers_are_those_of_classify) {
    server s = serve_model(NULL);
    vit_json *expected[SERVED_PICTURES];
    for (size_t i = 0; i < SERVED_PICTURES; i++) {
        expected[i] = classify_picture(served_pictures[i]);
        reply r = post_golden(&s, "/v1/classify?topk=3", served_pictures[i]);
        ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
        vit_json *root = parse(r.body);
        ck_assert_str_eq(string_of(root, "model"), "zeros_micro_patch4_28");
        ck_assert_uint_eq(vit_json_count(vit_json_get(root, "results")), 1);
        check_top(vit_json_at(vit_json_get(root, "results"), 0), expected[i], 3, 1e-5);
        vit_json_free(expected[i]);
        expected[i] = root;
        reply_free(&r);
    }
    form *f = form_of_all();
    form_part(f, "name=\"topk\"", "2", 1);
    form_end(f);
    reply r = http_post(s.port, "/v1/classify", FORM, f->bytes, f->size);
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    vit_json *root = parse(r.body);
    for (size_t i = 0; i < SERVED_PICTURES; i++) {
        const vit_json *result = vit_json_at(vit_json_get(root, "results"), i);
        ck_assert_str_eq(string_of(result, "name"), served_pictures[i]);
        check_top(result, vit_json_at(vit_json_get(expected[i], "results"), 0), 2, 0);
        vit_json_free(expected[i]);
    }
    vit_json_free(root);
    reply_free(&r);
    free(f);
    serve_stop(&s);
}
END_TEST

START_TEST(a_threshold_makes_it_unknown) {
    server s = serve_model(NULL);
    reply r = post_golden(&s, "/v1/classify?topk=100&threshold=1", "rgb.png");
    vit_json *root = parse(r.body);
    const vit_json *result = vit_json_at(vit_json_get(root, "results"), 0);
    ck_assert(vit_json_bool(vit_json_get(result, "unknown"), false));
    ck_assert_str_eq(string_of(result, "prediction"), "unknown");
    ck_assert_uint_eq(vit_json_count(vit_json_get(result, "top")), SERVED_CLASSES);
    vit_json_free(root);
    reply_free(&r);
    r = post_golden(&s, "/v1/classify?threshold=0.01", "rgb.png");
    check_has(r.body, "\"unknown\":false");
    reply_free(&r);
    serve_stop(&s);
}
END_TEST

/* Its answers are those of classify; it has no backward, so no heat maps. */
START_TEST(a_model_with_int8_weights) {
    vit_model_bundle *bundle;
    serve_make_model();
    ck_vit_ok(vit_model_bundle_load(in_folder("model"), &bundle));
    ck_vit_ok(vit_model_bundle_save_int8(bundle, in_folder("model")));
    vit_model_bundle_free(bundle);
    server s = serve_model(NULL);
    vit_json *expected = classify_picture(served_pictures[0]);
    reply r = post_golden(&s, "/v1/classify?topk=3", served_pictures[0]);
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    vit_json *root = parse(r.body);
    check_top(vit_json_at(vit_json_get(root, "results"), 0), expected, 3, 1e-6);
    vit_json_free(root);
    vit_json_free(expected);
    reply_free(&r);
    check_reply(post_golden(&s, "/v1/classify?explain=1", served_pictures[0]), 400,
                "the model has int8 weights");
    serve_stop(&s);
}
END_TEST

/* ---- heat maps ---- */
START_TEST(heat_maps_are_of_the_class_asked_for) {
    server s = serve_model(NULL);
    reply r = post_golden(&s, "/v1/classify?explain=1&class=caf%c3%a9&method=gradient", "rgb.png");
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    vit_json *root = parse(r.body);
    const vit_json *result = vit_json_at(vit_json_get(root, "results"), 0);
    const vit_json *heat = vit_json_get(result, "heat"), *grid = vit_json_get(heat, "grid");
    ck_assert_str_eq(string_of(heat, "class"), "caf\xc3\xa9");
    ck_assert_double_eq(number_of(heat, "index"), 2);
    ck_assert_str_eq(string_of(heat, "method"), "gradient");
    ck_assert_double_eq(number_of(heat, "width"), 96);
    ck_assert_double_eq(number_of(heat, "height"), 64);
    ck_assert_double_eq(vit_json_number(vit_json_at(grid, 0), 0), SERVED_SIDE / 4);
    ck_assert_double_eq(vit_json_number(vit_json_at(grid, 1), 0), SERVED_SIDE / 4);
    ck_assert_uint_eq(vit_json_count(vit_json_get(heat, "values")),
                      SERVED_SIDE / 4 * SERVED_SIDE / 4);
    /* crop_pct 0.9 of the short side, in the middle: 16 / floor(16 / 0.9) of 64 pixels. */
    const vit_json *box = vit_json_get(heat, "box");
    double x0 = vit_json_number(vit_json_at(box, 0), 0),
           x1 = vit_json_number(vit_json_at(box, 2), 0);
    ck_assert_double_eq_tol(x1 - x0, 64.0 * 16 / 17, 2);
    ck_assert_double_eq_tol((x0 + x1) / 2, 48, 3);
    ck_assert_ptr_null(vit_json_get(result, "overlay"));
    vit_json_free(root);
    reply_free(&r);
    /* Without a class, of the best one. */
    r = post_golden(&s, "/v1/classify?explain=1", "rgb.png");
    root = parse(r.body);
    result = vit_json_at(vit_json_get(root, "results"), 0);
    ck_assert_str_eq(string_of(vit_json_get(result, "heat"), "class"),
                     string_of(result, "prediction"));
    vit_json_free(root);
    reply_free(&r);
    check_reply(post_golden(&s, "/v1/classify?explain=1&method=rollout", "rgb.png"), 400,
                "method rollout does not suit");
    check_reply(post_golden(&s, "/v1/classify?explain=1&class=cat", "rgb.png"), 400, "class: cat");
    check_reply(post_golden(&s, "/v1/classify?explain=1", "bad_truncated.jpg"), 422, "error");
    serve_stop(&s);
}
END_TEST

START_TEST(an_overlay_is_a_png) {
    server s = serve_model(NULL);
    reply r = post_golden(&s, "/v1/classify?overlay=1", "rgb.png");
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    check_has(r.body, "\"overlay\":\"iVBORw0KGgo"); /* a PNG's signature in base64 */
    check_has(r.body, "\"heat\":{");
    reply_free(&r);
    serve_stop(&s);
}
END_TEST

START_TEST(broken_pictures_are_named) {
    server s = serve_model(NULL);
    check_reply(post_golden(&s, "/v1/classify", "bad_text.jpg"), 422, "expected a JPEG or PNG");
    check_reply(post_golden(&s, "/v1/classify", "bad_truncated.png"), 422, "error");
    check_reply(post_golden(&s, "/v1/classify", "bad_garbage.png"), 422, "error");
    check_reply(post_golden(&s, "/v1/classify", "bad_empty.jpg"), 400, "no picture");
    copy_picture("rgb.png", in_folder("on_the_server.png"));
    /* An empty part by the name of a file here: the file is not looked at. */
    form *f = calloc(1, sizeof *f);
    char disposition[1200];
    vit_bytes small = golden_bytes("bilevel.png"), bad = golden_bytes("bad_truncated.jpg");
    snprintf(disposition, sizeof disposition, "name=\"a\"; filename=\"%s\"",
             in_folder("on_the_server.png"));
    form_part(f, disposition, "", 0);
    form_part(f, disposition, bad.data, bad.size);
    form_part(f, "name=\"a\"; filename=\"\xff\xfe\x80.png\"", small.data, small.size);
    form_end(f);
    reply r = http_post(s.port, "/v1/classify", FORM, f->bytes, f->size);
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    vit_json *root = parse(r.body);
    const vit_json *results = vit_json_get(root, "results");
    ck_assert_uint_eq(vit_json_count(results), 3);
    ck_assert(*string_of(vit_json_at(results, 0), "error"));
    ck_assert_ptr_null(vit_json_get(vit_json_at(results, 0), "top"));
    ck_assert(*string_of(vit_json_at(results, 1), "error"));
    ck_assert_str_eq(string_of(vit_json_at(results, 2), "name"),
                     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd.png");
    vit_json_free(root);
    reply_free(&r);
    vit_bytes_free(&small);
    vit_bytes_free(&bad);
    free(f);
    serve_stop(&s);
    s = serve_model((const char *const[]){"--max-pixels", "100", NULL});
    check_reply(post_golden(&s, "/v1/classify", "rgb.png"), 413, "pixels");
    serve_stop(&s);
}
END_TEST

/* ---- beginning and end ---- */
START_TEST(help_lists_the_settings) {
    static const char *const flags[] = {
        "--host",    "--port",       "--allow-host", "--max-body",    "--max-connections",
        "--timeout", "--queue",      "--max-batch",  "--max-wait-ms", "--max-pixels",
        "67108864",  "docs/serve.md"};
    outcome result = zvit("serve", "--help", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        check_has(result.out, flags[i]);
    }
    release(&result);
}
END_TEST

START_TEST(a_stop_answers_what_came) {
    static const int signals[] = {SIGTERM, SIGINT};
    vit_bytes picture = golden_bytes("rgb.png");
    for (int i = 0; i < 2; i++) {
        server s = serve_model((const char *const[]){"--max-wait-ms", "800", NULL});
        int idle = http_connect(s.port), kept = http_connect(s.port);
        http_text(kept, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        check_reply(http_read(kept), 200, "ok");
        int busy = post_without_reading(&s, &picture);
        wait_for_queue(&s, 1);
        kill(s.process, signals[i]);
        char value[512];
        reply r = http_read(busy);
        ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
        ck_assert_str_eq(http_header(&r, "Connection", value), "close");
        reply_free(&r);
        ck_assert_int_eq(wait_for(s.process), 0);
        ck_assert(http_closed(idle));
        ck_assert(http_closed(kept));
        ck_assert_int_eq(http_connect(s.port), -1);
        close(busy);
        close(idle);
        close(kept);
    }
    vit_bytes_free(&picture);
}
END_TEST

START_TEST(beginnings_that_go_wrong) {
    server s = serve_model(NULL);
    char port[16];
    snprintf(port, sizeof port, "%d", s.port);
    check_failure(zvit("serve", in_folder("model"), "--port", port, NULL), "serve", "taken by");
    check_failure(zvit("serve", in_folder("nomodel"), "--port", "0", NULL), "serve", "nomodel");
    check_failure(
        zvit("serve", in_folder("model"), "--port", "0", "--host", "no.such.host.invalid", NULL),
        "serve", "no.such.host.invalid");
    check_failure(zvit("serve", in_folder("model"), "--port", "0", "--host", "192.0.2.1", NULL),
                  "serve", "192.0.2.1: no address of this machine");
    check_usage(zvit("serve", NULL), "MODEL");
    check_usage(zvit("serve", "a", "b", NULL), "MODEL");
    check_usage(zvit("serve", "a", "--port", "65536", NULL), "--port: 65536 (expected 0 to 65535)");
    check_usage(zvit("serve", "a", "--max-body", "0", NULL), "--max-body: 0");
    serve_stop(&s);
}
END_TEST

START_TEST(everybody_is_warned_of) {
    server s = serve_model(
        (const char *const[]){"--host", "0.0.0.0", "--allow-host", "pics.example", "--json", NULL});
    reply r = http_ask_text(s.port, "GET /healthz HTTP/1.1\r\nHost: pics.example\r\n\r\n");
    ck_assert_int_eq(r.code, 200);
    reply_free(&r);
    r = http_ask_text(s.port, "GET /healthz HTTP/1.1\r\nHost: other.example\r\n\r\n");
    ck_assert_int_eq(r.code, 421);
    reply_free(&r);
    kill(s.process, SIGTERM);
    ck_assert_int_eq(wait_for(s.process), 0);
    char *log = read_text(in_folder("log")), *out = read_text(in_folder("url"));
    check_has(log, "zvit serve: warning: host 0.0.0.0: everybody");
    ck_assert_uint_eq(count_lines(log), 2);
    vit_json *root = parse(out);
    ck_assert_double_eq(number_of(root, "port"), s.port);
    check_has(string_of(root, "url"), "http://0.0.0.0:");
    vit_json_free(root);
    free(log);
    free(out);
}
END_TEST

START_TEST(the_access_log_cannot_steer_a_terminal) {
    server s = serve_model((const char *const[]){"--access-log", "--quiet", NULL});
    check_reply(http_get(s.port, "/%1b[31mred%0a%0d", ""), 404, "nothing");
    check_served(&s);
    kill(s.process, SIGTERM);
    ck_assert_int_eq(wait_for(s.process), 0);
    char *log = read_text(in_folder("log"));
    ck_assert_uint_eq(count_lines(log), 2);
    check_has(log, "127.0.0.1 GET /?[31mred?? 404 ");
    check_has(log, "127.0.0.1 GET /healthz 200 15 B ");
    free(log);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_test(tcase, pages_and_documents);
    tcase_add_test(tcase, a_known_page_is_not_sent_again);
    tcase_add_test(tcase, the_model_describes_itself);
    tcase_add_test(tcase, answers_are_those_of_classify);
    tcase_add_test(tcase, a_model_with_int8_weights);
    tcase_add_test(tcase, a_threshold_makes_it_unknown);
    tcase_add_test(tcase, heat_maps_are_of_the_class_asked_for);
    tcase_add_test(tcase, an_overlay_is_a_png);
    tcase_add_test(tcase, broken_pictures_are_named);
    tcase_add_test(tcase, a_stop_answers_what_came);
    tcase_add_test(tcase, help_lists_the_settings);
    tcase_add_test(tcase, beginnings_that_go_wrong);
    tcase_add_test(tcase, everybody_is_warned_of);
    tcase_add_test(tcase, the_access_log_cannot_steer_a_terminal);
}

#endif

int main(void) {
    Suite *suite = suite_create("serve");
    TCase *server_case = tcase_create("server");
    tcase_add_checked_fixture(server_case, make_folder, remove_folder);
    add_tests(server_case);
    suite_add_tcase(suite, server_case);
    return test_run(suite);
}
