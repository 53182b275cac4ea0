/* The parts of zvit serve that need no HTTP: who may ask, what a request asks for, the queue, the
 * deadlines of connections, what is counted. */
#include "support/support.h"

#include "tools/serve/api.h"
#include "tools/serve/base64.h"
#include "tools/serve/connections.h"
#include "tools/serve/guard.h"
#include "tools/serve/metrics.h"
#include "tools/serve/request.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- base64: the vectors of RFC 4648, section 10, and all bytes ---- */
START_TEST(base64_is_that_of_the_rfc) {
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char *text = serve_base64((const unsigned char *)vectors[i][0], strlen(vectors[i][0]));
        ck_assert_str_eq(text, vectors[i][1]);
        free(text);
    }
    const unsigned char high[] = {0xfb, 0xff, 0xfe, 0x00};
    char *text = serve_base64(high, sizeof high);
    ck_assert_str_eq(text, "+//+AA==");
    free(text);
}
END_TEST

/* ---- guard ---- */
START_TEST(hosts_are_addresses_or_known_names) {
    static const char *const good[] = {
        "127.0.0.1",   "127.0.0.1:8080",   "192.168.1.7:80",   "[::1]:8080", "[fe80::1]",
        "localhost",   "LOCALHOST:1",      "a.localhost:8080", "box",        "Box:8080",
        "example.org", "Example.ORG.:443", "b.example.net",    "localhost."};
    static const char *const bad[] = {"",
                                      "evil.com",
                                      "evil.com:8080",
                                      "localhost.evil.com",
                                      "127.0.0.1.evil.com",
                                      "example.org.evil.com",
                                      "xexample.org",
                                      "example.or",
                                      "boxx",
                                      "[::1",
                                      "[]",
                                      ":8080",
                                      ".localhost",
                                      "127.0.0.1:80x",
                                      "localhost:8080@evil.com",
                                      "localhost/",
                                      "1.2.3"};
    const char *allowed = "example.org, b.example.net";
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ck_assert_msg(serve_host_allowed(good[i], allowed, "box"), "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_msg(!serve_host_allowed(bad[i], allowed, "box"), "%s", bad[i]);
    }
    ck_assert(serve_host_allowed("evil.com", "*", NULL));
    ck_assert(!serve_host_allowed("box", "", NULL));
    ck_assert(!serve_host_allowed("", "", ""));
    char longest[600];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = 0;
    ck_assert(!serve_host_allowed(longest, "", "box"));
}
END_TEST

START_TEST(pages_of_other_sites_make_no_work) {
    const char *host = "127.0.0.1:8080";
    ck_assert(serve_origin_allowed(NULL, NULL, host, "")); /* no browser */
    ck_assert(serve_origin_allowed("same-origin", "https://x.org", host, ""));
    ck_assert(serve_origin_allowed("none", NULL, host, ""));
    ck_assert(!serve_origin_allowed("cross-site", "http://127.0.0.1:8080", host, ""));
    ck_assert(!serve_origin_allowed("same-site", NULL, host, ""));
    ck_assert(serve_origin_allowed(NULL, "http://127.0.0.1:8080", host, ""));
    ck_assert(!serve_origin_allowed(NULL, "http://127.0.0.1:9090", host, ""));
    ck_assert(!serve_origin_allowed(NULL, "http://evil.com", host, ""));
    ck_assert(!serve_origin_allowed(NULL, "null", host, ""));
    ck_assert(!serve_origin_allowed(NULL, "http://evil.com", NULL, ""));
    ck_assert(serve_origin_allowed(NULL, "https://x.org", host, "x.org"));
    ck_assert(!serve_origin_allowed(NULL, "https://y.org", host, "x.org"));
}
END_TEST

/* ---- requests ---- */
static serve_settings settings;
static serve_budget budget;

static serve_request begin_request(void) {
    serve_request request;
    vit_option_group group = serve_group(&settings);
    ck_vit_ok(vit_options_defaults(&group));
    settings.max_body = 1;
    settings.queue = 4;
    budget.limit = 3 * SERVE_MIB;
    serve_request_init(&request, &settings, &budget);
    return request;
}

static void check_refused(const serve_request *request, unsigned code, const char *part) {
    ck_assert_msg(request->code == code, "%u, expected %u: %s", request->code, code,
                  request->error);
    ck_assert_msg(strstr(request->error, part) != NULL, "\"%s\" not in: %s", part, request->error);
    ck_assert_uint_eq(request->job.count, 0);
    ck_assert_uint_eq(request->held, 0);
}

static void parameter(serve_request *request, const char *name, const char *value) {
    serve_request_parameter(request, name, strlen(name), value, strlen(value));
}

START_TEST(parameters_come_from_the_query) {
    serve_request r = begin_request();
    ck_assert_int_eq(r.job.query.topk, 5);
    ck_assert(!r.job.query.explain);
    parameter(&r, "topk", "3");
    parameter(&r, "threshold", "0.25");
    parameter(&r, "explain", "1");
    parameter(&r, "class", "caf\xc3\xa9");
    ck_assert_uint_eq(r.code, 0);
    ck_assert_int_eq(r.job.query.topk, 3);
    ck_assert_double_eq(r.job.query.threshold, 0.25);
    ck_assert(r.job.query.explain);
    ck_assert_str_eq(r.job.query.class_name, "caf\xc3\xa9");
    serve_request_clear(&r);
    static const char *const wrong[][3] = {
        {"topk", "0", "topk: 0 (expected 1 to"},
        {"topk", "many", "topk: many"},
        {"topk", "", "topk: \"\""},
        {"threshold", "1.5", "threshold: 1.5 (expected 0 to 1)"},
        {"threshold", "nan", "threshold: nan"},
        {"explain", "maybe", "explain: maybe"},
        {"topc", "3", "topc: unknown (expected topk, threshold"},
        {"", "3", "unknown"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        r = begin_request();
        parameter(&r, wrong[i][0], wrong[i][1]);
        check_refused(&r, 400, wrong[i][2]);
    }
    r = begin_request();
    serve_request_parameter(&r, "topk", 4, "3\0000", 3);
    check_refused(&r, 400, "zero byte");
}
END_TEST

START_TEST(the_body_is_of_a_kind) {
    static const struct {
        const char *type, *encoding;
        serve_body expected;
    } cases[] = {
        {NULL, NULL, SERVE_BODY_RAW},
        {"image/png", NULL, SERVE_BODY_RAW},
        {"IMAGE/JPEG", "identity", SERVE_BODY_RAW},
        {"application/octet-stream", NULL, SERVE_BODY_RAW},
        {"application/octet-stream ; x=1", NULL, SERVE_BODY_RAW},
        {"multipart/form-data; boundary=x", NULL, SERVE_BODY_PARTS},
        {"Multipart/Form-Data;boundary=x", NULL, SERVE_BODY_PARTS},
        {"multipart/form-dataset", NULL, SERVE_BODY_REFUSED},
        {"multipart/mixed; boundary=x", NULL, SERVE_BODY_REFUSED},
        {"application/x-www-form-urlencoded", NULL, SERVE_BODY_REFUSED},
        {"application/json", NULL, SERVE_BODY_REFUSED},
        {"text/plain", NULL, SERVE_BODY_REFUSED},
        {"", NULL, SERVE_BODY_REFUSED},
        {"image/png", "gzip", SERVE_BODY_REFUSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        serve_request r = begin_request();
        ck_assert_int_eq(serve_request_type(&r, cases[i].type, cases[i].encoding),
                         cases[i].expected);
        ck_assert_uint_eq(r.code, cases[i].expected == SERVE_BODY_REFUSED ? 415 : 0);
        serve_request_clear(&r);
    }
}
END_TEST

static const vit_model_bundle ten_classes = {.model = {.head_shape = {.classes = 10}}};

START_TEST(parts_are_pictures_and_parameters) {
    serve_request r = begin_request();
    serve_request_part(&r, "a", "one.png", "12", true, 2);
    serve_request_part(&r, "a", "one.png", "345", false, 3);
    serve_request_part(&r, "topk", NULL, "", true, 0);
    serve_request_part(&r, "topk", NULL, "1", false, 1);
    serve_request_part(&r, "topk", NULL, "2", false, 1);
    serve_request_part(&r, "a", "one.png", "x", true, 1); /* the same name again: another one */
    serve_request_part(&r, "a", "../../etc/passwd", "", true, 0);
    serve_request_part(&r, "explain", NULL, "yes", true, 3);
    serve_request_end(&r, &ten_classes);
    ck_assert_msg(r.code == 0, "%s", r.error);
    ck_assert_uint_eq(r.job.count, 3);
    ck_assert_str_eq(r.job.pictures[0].name, "one.png");
    ck_assert_uint_eq(r.job.pictures[0].bytes.size, 5);
    ck_assert_mem_eq(r.job.pictures[0].bytes.data, "12345", 5);
    ck_assert_uint_eq(r.job.pictures[1].bytes.size, 1);
    ck_assert_uint_eq(r.job.pictures[2].bytes.size, 0);
    ck_assert_int_eq(r.job.query.topk, 12);
    ck_assert(r.job.query.explain);
    ck_assert_uint_gt(atomic_load(&budget.held), 0);
    serve_request_clear(&r);
    ck_assert_uint_eq(atomic_load(&budget.held), 0);
}
END_TEST

START_TEST(odd_parts_are_refused) {
    static char large[2000];
    memset(large, 'x', sizeof large);
    serve_request r = begin_request();
    serve_request_part(&r, "image", NULL, large, true, sizeof large);
    check_refused(&r, 400, "image: longer than");
    r = begin_request();
    serve_request_part(&r, NULL, NULL, "x", true, 1);
    check_refused(&r, 400, "no name");
    r = begin_request();
    serve_request_part(&r, "topk", NULL, "1\0", true, 2);
    serve_request_end(&r, &ten_classes);
    check_refused(&r, 400, "zero byte");
    r = begin_request();
    serve_request_part(&r, "topk", NULL, "3", true, 1);
    serve_request_end(&r, &ten_classes);
    check_refused(&r, 400, "no picture");
    r = begin_request();
    serve_request_part(&r, "a", "empty.png", "", true, 0);
    serve_request_end(&r, &ten_classes);
    check_refused(&r, 400, "no picture");
    r = begin_request();
    serve_request_part(&r, "overlay", NULL, "1", true, 1);
    serve_request_part(&r, "a", "a.png", "x", true, 1);
    serve_request_end(&r, &ten_classes);
    check_refused(&r, 413, "the answer to 1 picture would be too large"); /* above 3 MiB */
    r = begin_request();
    for (int i = 0; i < 5; i++) {
        serve_request_part(&r, "a", "a.png", "x", true, 1);
    }
    check_refused(&r, 413, "more than 4 pictures");
    serve_request_part(&r, "a", "a.png", "x", false, 1); /* what comes after is let go */
    check_refused(&r, 413, "more than 4 pictures");
    r = begin_request();
    char name[1000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    serve_request_part(&r, "a", name, "x", true, 1);
    ck_assert_uint_eq(strlen(r.job.pictures[0].name), 255);
    serve_request_clear(&r);
}
END_TEST

START_TEST(bodies_and_all_together_are_bounded) {
    static char chunk[65536];
    serve_request r = begin_request();
    serve_request_announce(&r, SERVE_MIB);
    ck_assert_uint_eq(r.code, 0);
    serve_request_announce(&r, SERVE_MIB + 1);
    check_refused(&r, 413, "1048577 bytes (expected at most 1048576)");

    r = begin_request(); /* not announced: chunked */
    serve_request_raw(&r);
    for (size_t sent = 0; sent < SERVE_MIB; sent += sizeof chunk) {
        serve_request_count(&r, sizeof chunk);
        serve_request_append(&r, chunk, sizeof chunk);
        ck_assert_uint_eq(r.code, 0);
    }
    ck_assert_uint_eq(r.job.pictures[0].bytes.size, SERVE_MIB);
    serve_request_count(&r, 1);
    check_refused(&r, 413, "more than 1048576 bytes");
    serve_request_append(&r, chunk, 1);
    ck_assert_uint_eq(atomic_load(&budget.held), 0);

    serve_request several[4];
    for (int i = 0; i < 4; i++) {
        several[i] = begin_request();
        budget.limit = 3 * SERVE_MIB;
        serve_request_raw(&several[i]);
        for (size_t sent = 0; sent < SERVE_MIB; sent += sizeof chunk) {
            serve_request_append(&several[i], chunk, sizeof chunk);
        }
        ck_assert_uint_le(atomic_load(&budget.held), budget.limit);
    }
    check_refused(&several[3], 503, "busy");
    for (int i = 0; i < 4; i++) {
        serve_request_clear(&several[i]);
    }
    ck_assert_uint_eq(atomic_load(&budget.held), 0);

    r = begin_request(); /* more than all may hold */
    budget.limit = 1000;
    serve_request_raw(&r);
    serve_request_append(&r, chunk, 1001);
    check_refused(&r, 503, "busy");
    ck_assert_uint_eq(atomic_load(&budget.held), 0);
}
END_TEST

START_TEST(errors_are_json_whatever_they_hold) {
    char *text = serve_error_json("a \"b\"\n\xff\xc3");
    vit_json *root = NULL;
    ck_assert_ptr_nonnull(text);
    ck_vit_ok(vit_json_parse(text, strlen(text), "error", &root));
    ck_assert_str_eq(vit_json_string(vit_json_get(root, "error"), ""),
                     "a \"b\"\n\xef\xbf\xbd\xef\xbf\xbd");
    vit_json_free(root);
    free(text);
}
END_TEST

/* ---- queue ---- */
static void nothing(void *context) {
    (void)context;
}

static serve_job new_job(size_t count) {
    serve_job job = {.count = count, .done = nothing};
    job.pictures = calloc(count, sizeof *job.pictures);
    ck_assert_ptr_nonnull(job.pictures);
    return job;
}

START_TEST(the_queue_keeps_order_and_its_bound) {
    serve_queue *queue;
    serve_picture *taken[8];
    ck_vit_ok(serve_queue_create(5, &queue));
    serve_job a = new_job(2), b = new_job(3);
    ck_assert(serve_queue_reserve(queue, 2));
    ck_assert(serve_queue_reserve(queue, 3));
    ck_assert(!serve_queue_reserve(queue, 1));
    serve_queue_push(queue, &a);
    ck_assert_uint_eq(serve_queue_depth(queue), 2);
    ck_assert(!serve_queue_reserve(queue, 1)); /* b's places are promised */
    serve_queue_push(queue, &b);
    ck_assert_uint_eq(serve_queue_take(queue, 3, 0, taken), 3);
    ck_assert_ptr_eq(taken[0], &a.pictures[0]);
    ck_assert_ptr_eq(taken[1], &a.pictures[1]);
    ck_assert_ptr_eq(taken[2], &b.pictures[0]); /* a request may be spread over batches */
    ck_assert_uint_eq(b.remaining, 3);
    ck_assert(serve_queue_reserve(queue, 3));
    ck_assert(!serve_queue_reserve(queue, 1));
    serve_job c = new_job(3);
    serve_queue_push(queue, &c);
    serve_queue_close(queue);
    ck_assert(!serve_queue_reserve(queue, 1));
    ck_assert_uint_eq(serve_queue_take(queue, 8, 1000, taken), 5); /* closed: no waiting */
    ck_assert_ptr_eq(taken[1], &b.pictures[2]);
    ck_assert_ptr_eq(taken[4], &c.pictures[2]);
    ck_assert_uint_eq(serve_queue_take(queue, 8, 0, taken), 0);
    ck_assert_uint_eq(serve_queue_depth(queue), 0);
    ck_assert(!serve_queue_reserve(queue, SIZE_MAX));
    serve_job_clear(&a);
    serve_job_clear(&b);
    serve_job_clear(&c);
    serve_queue_free(queue);
}
END_TEST

typedef struct late_push {
    serve_queue *queue;
    serve_job jobs[3];
} late_push;

static void *push_late(void *context) {
    late_push *late = context;
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    for (int i = 0; i < 3; i++) {
        nanosleep(&pause, NULL);
        serve_queue_push(late->queue, &late->jobs[i]);
    }
    return NULL;
}

/* Pictures of one moment are taken together; a promise made before closing is waited for. */
START_TEST(the_queue_waits_for_a_batch) {
    late_push late;
    serve_picture *taken[8];
    pthread_t thread;
    ck_vit_ok(serve_queue_create(8, &late.queue));
    for (int i = 0; i < 3; i++) {
        late.jobs[i] = new_job(1);
        ck_assert(serve_queue_reserve(late.queue, 1));
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, push_late, &late), 0);
    ck_assert_uint_eq(serve_queue_take(late.queue, 2, 60000, taken), 2);
    serve_queue_close(late.queue);
    ck_assert_uint_eq(serve_queue_take(late.queue, 2, 60000, taken), 1);
    ck_assert_ptr_eq(taken[0], &late.jobs[2].pictures[0]);
    ck_assert_uint_eq(serve_queue_take(late.queue, 2, 60000, taken), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++) {
        serve_job_clear(&late.jobs[i]);
    }
    serve_queue_free(late.queue);
}
END_TEST

/* ---- connections ---- */
typedef struct wire {
    int near, far; /* the server's end and the client's */
    serve_connection *connection;
} wire;

static wire open_wire(serve_connections *all, double now) {
    int ends[2];
    wire w;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    w.near = ends[0];
    w.far = ends[1];
    w.connection = serve_connections_add(all, w.near, now);
    ck_assert_ptr_nonnull(w.connection);
    return w;
}

static void close_wire(serve_connections *all, wire *w) {
    serve_connections_remove(all, w->connection);
    close(w->near);
    close(w->far);
}

/* What the client gets before the end, or NULL while the connection is open. */
static const char *read_wire(const wire *w, char buffer[512]) {
    ssize_t got = recv(w->far, buffer, 511, MSG_DONTWAIT);
    buffer[got > 0 ? got : 0] = 0;
    if (got > 0) {
        char rest[8];
        ck_assert_int_eq(recv(w->far, rest, sizeof rest, MSG_DONTWAIT), 0);
    }
    return got < 0 ? NULL : buffer;
}

START_TEST(late_connections_are_closed) {
    serve_connections *all;
    char text[512];
    ck_vit_ok(serve_connections_create(10, 30, &all));
    wire idle = open_wire(all, 0), head = open_wire(all, 0), body = open_wire(all, 0),
         work = open_wire(all, 0), young = open_wire(all, 0);
    serve_connections_phase(all, head.connection, SERVE_HEAD, 5);
    serve_connections_phase(all, body.connection, SERVE_HEAD, 5);
    serve_connections_phase(all, body.connection, SERVE_BODY, 25); /* the same deadline */
    serve_connections_phase(all, work.connection, SERVE_WORK, 5);
    serve_connections_phase(all, young.connection, SERVE_HEAD, 20);
    ck_assert_uint_eq(serve_connections_busy(all), 4);
    serve_connections_reap(all, 29);
    ck_assert_ptr_null(read_wire(&idle, text));
    serve_connections_reap(all, 31);
    ck_assert_str_eq(read_wire(&idle, text), ""); /* it has not asked anything: no answer */
    ck_assert_ptr_null(read_wire(&head, text));
    serve_connections_reap(all, 36);
    ck_assert_ptr_nonnull(read_wire(&head, text));
    ck_assert_ptr_eq(strstr(text, "HTTP/1.1 408 "), text);
    const char *json = strstr(text, "\r\n\r\n");
    ck_assert_ptr_nonnull(json);
    char length[64];
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(json + 4));
    ck_assert_ptr_nonnull(strstr(text, length));
    ck_assert_ptr_nonnull(read_wire(&body, text));
    ck_assert_ptr_nonnull(strstr(text, " 408 "));
    ck_assert_ptr_null(read_wire(&work, text));
    ck_assert_ptr_null(read_wire(&young, text));
    ck_assert_uint_eq(serve_connections_busy(all), 2);
    ck_assert_uint_eq(serve_connections_count(all), 5);
    close_wire(all, &idle);
    close_wire(all, &body);
    close_wire(all, &head);
    close_wire(all, &work);
    ck_assert_uint_eq(serve_connections_count(all), 1);
    close_wire(all, &young);
    serve_connections_free(all);
}
END_TEST

START_TEST(idle_connections_give_way) {
    serve_connections *all;
    char text[512];
    ck_vit_ok(serve_connections_create(3, 1000, &all));
    wire receiving = open_wire(all, 0), idle = open_wire(all, 1), working = open_wire(all, 0);
    serve_connections_phase(all, receiving.connection, SERVE_HEAD, 0);
    serve_connections_phase(all, working.connection, SERVE_WORK, 0);
    wire fourth = open_wire(all, 10);
    ck_assert_ptr_nonnull(read_wire(&idle, text)); /* before one that sends something */
    ck_assert_ptr_null(read_wire(&fourth, text));
    wire fifth = open_wire(all, 10.5);
    ck_assert_ptr_nonnull(read_wire(&receiving, text)); /* the fourth is young yet */
    ck_assert_ptr_null(read_wire(&fourth, text));
    ck_assert_ptr_null(read_wire(&fifth, text));
    wire sixth = open_wire(all, 10.6);
    ck_assert_ptr_nonnull(read_wire(&sixth, text)); /* nobody to give way */
    ck_assert_ptr_null(read_wire(&working, text));
    ck_assert_ptr_null(read_wire(&fourth, text));
    close_wire(all, &receiving);
    close_wire(all, &idle);
    close_wire(all, &working);
    close_wire(all, &fourth);
    close_wire(all, &fifth);
    close_wire(all, &sixth);
    serve_connections_free(all);
}
END_TEST

/* ---- metrics ---- */
static void check_line(const char *text, const char *line) {
    char framed[256];
    snprintf(framed, sizeof framed, "\n%s\n", line);
    ck_assert_msg(strstr(text, framed) != NULL, "no line \"%s\" in:\n%s", line, text);
}

START_TEST(metrics_are_in_prometheus_form) {
    static const char *const routes[] = {"/a", "/b", NULL};
    serve_metrics *metrics;
    ck_vit_ok(serve_metrics_create(routes, &metrics));
    serve_metrics_request(metrics, 0, 200, 0.003, 100, 10);
    serve_metrics_request(metrics, 0, 200, 0.0025, 1, 1);
    serve_metrics_request(metrics, 2, 404, 100, 0, 5);
    serve_metrics_batch(metrics, 3, 1, 0.5);
    serve_metrics_batch(metrics, 500, 0, 0.5);
    char *text = serve_metrics_text(metrics, &(serve_gauges){1, 2, 3, 4});
    ck_assert_ptr_nonnull(text);
    check_line(text, "# TYPE zvit_http_requests_total counter");
    check_line(text, "zvit_http_requests_total{path=\"/a\",code=\"200\"} 2");
    check_line(text, "zvit_http_requests_total{path=\"other\",code=\"404\"} 1");
    check_line(text, "zvit_http_request_seconds_bucket{le=\"0.0025\"} 1"); /* at most, not below */
    check_line(text, "zvit_http_request_seconds_bucket{le=\"0.005\"} 2");
    check_line(text, "zvit_http_request_seconds_bucket{le=\"10\"} 2");
    check_line(text, "zvit_http_request_seconds_bucket{le=\"+Inf\"} 3");
    check_line(text, "zvit_http_request_seconds_count 3");
    check_line(text, "zvit_http_received_bytes_total 101");
    check_line(text, "zvit_http_sent_bytes_total 16");
    check_line(text, "zvit_pictures_total{result=\"classified\"} 502");
    check_line(text, "zvit_pictures_total{result=\"refused\"} 1");
    check_line(text, "zvit_batch_pictures_bucket{le=\"4\"} 1");
    check_line(text, "zvit_batch_pictures_bucket{le=\"+Inf\"} 2");
    check_line(text, "zvit_batch_pictures_sum 503");
    check_line(text, "zvit_queue_pictures 1");
    check_line(text, "zvit_queue_limit_pictures 2");
    check_line(text, "zvit_connections 3");
    check_line(text, "zvit_held_bytes 4");
    /* Every line is a comment, or NAME VALUE. */
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *end, *space = strrchr(line, ' ');
        if (*line != '#') {
            ck_assert_ptr_nonnull(space);
            strtod(space + 1, &end);
            ck_assert_msg(*end == 0 && end != space + 1, "%s", line);
        }
    }
    free(text);
    serve_metrics_free(metrics);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("serve_parts");
    TCase *pure = tcase_create("pure");
    tcase_add_test(pure, base64_is_that_of_the_rfc);
    tcase_add_test(pure, hosts_are_addresses_or_known_names);
    tcase_add_test(pure, pages_of_other_sites_make_no_work);
    suite_add_tcase(suite, pure);
    TCase *requests = tcase_create("requests");
    tcase_add_test(requests, parameters_come_from_the_query);
    tcase_add_test(requests, the_body_is_of_a_kind);
    tcase_add_test(requests, parts_are_pictures_and_parameters);
    tcase_add_test(requests, odd_parts_are_refused);
    tcase_add_test(requests, bodies_and_all_together_are_bounded);
    tcase_add_test(requests, errors_are_json_whatever_they_hold);
    suite_add_tcase(suite, requests);
    TCase *threads = tcase_create("threads");
    tcase_add_test(threads, the_queue_keeps_order_and_its_bound);
    tcase_add_test(threads, the_queue_waits_for_a_batch);
    tcase_add_test(threads, late_connections_are_closed);
    tcase_add_test(threads, idle_connections_give_way);
    tcase_add_test(threads, metrics_are_in_prometheus_form);
    suite_add_tcase(suite, threads);
    return test_run(suite);
}
