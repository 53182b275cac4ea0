/* zvit serve as its clients meet it: the built program on a free port, and raw sockets. */
#include "support/command.h"
#include "support/http_client.h"
#include "support/support.h"

#include "vit/file.h"
#include "vit/model_file.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
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

enum { CLASSES = 4, SIDE = 16 };
static const char *const classes[] = {"ant", "bee", "caf\xc3\xa9", "dog"};

/* Random weights: every class has its share. Wide enough that one picture's products are cut into
 * pieces where threads share them. */
static void make_model(void) {
    const vit_preprocess preprocess = {
        .crop_pct = 0.9, .mean = {0.5, 0.4, 0.3}, .std = {0.2, 0.3, 0.25}};
    vit_config config;
    vit_model_bundle *bundle;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.img_size[0] = config.img_size[1] = SIDE;
    config.num_classes = CLASSES;
    config.embed_dim = 96;
    config.depth = 2;
    config.num_heads = 3;
    ck_vit_ok(vit_model_bundle_new(&config, &preprocess, classes, 1, &bundle));
    random_floats(1, bundle->model.params.total, 0.1, bundle->params);
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, in_folder("model")));
    vit_model_bundle_free(bundle);
}

/* ---- the server ---- */
typedef struct server {
    pid_t process;
    int port;
} server;

static void nap(int milliseconds) {
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* zvit serve FOLDER/model --port 0 with further flags; ready when it has printed its address. */
static server serve(const char *const *flags) {
    const char *words[32] = {"zvit", "serve", in_folder("model"), "--port", "0"};
    size_t count = 5;
    for (; flags && *flags; flags++) {
        words[count++] = *flags;
    }
    if (!exists(in_folder("model"))) {
        make_model();
    }
    unlink(in_folder("url"));
    server s = {.process = start(in_folder("url"), in_folder("log"), (char *const *)(void *)words)};
    for (int i = 0; i < 3000 && s.port == 0; i++) {
        nap(10);
        if (exists(in_folder("url"))) {
            char *url = read_text(in_folder("url"));
            if (strchr(url, '\n')) {
                const char *address = strstr(url, "http://"); /* also with --json */
                ck_assert_int_eq(sscanf(address, "http://%*[^:]:%d/", &s.port), 1);
            }
            free(url);
        }
    }
    ck_assert_msg(s.port != 0, "no address: %s", read_text(in_folder("log")));
    return s;
}

/* Ends it; it has to go well, and to have said nothing but its greeting. */
static void stop(const server *s) {
    kill(s->process, SIGTERM);
    int code = wait_for(s->process);
    char *log = read_text(in_folder("log"));
    ck_assert_msg(code == 0, "exit code %d: %s", code, log);
    ck_assert_uint_eq(count_lines(log), 1);
    check_has(log, "4 classes; Ctrl-C stops");
    free(log);
}

static void check_alive(const server *s) {
    reply r = http_get(s->port, "/healthz", "");
    ck_assert_int_eq(r.code, 200);
    ck_assert_str_eq(r.body, "{\"status\":\"ok\"}");
    reply_free(&r);
}

static vit_bytes golden(const char *name) {
    char relative[256], path[1024];
    vit_bytes bytes = {0};
    snprintf(relative, sizeof relative, "formats/%s", name);
    ck_vit_ok(vit_file_read(golden_path(relative, path), (size_t)1 << 24, &bytes));
    return bytes;
}

static reply post_golden(const server *s, const char *path, const char *name) {
    vit_bytes bytes = golden(name);
    reply r = http_post(s->port, path, "application/octet-stream", bytes.data, bytes.size);
    vit_bytes_free(&bytes);
    return r;
}

static void check_reply(reply r, int code, const char *part) {
    ck_assert_msg(r.code == code, "%d, expected %d: %s%s", r.code, code, r.head, r.body);
    ck_assert_msg(strstr(r.body, part) != NULL, "\"%s\" not in: %s", part, r.body);
    if (code >= 400) {
        vit_json *root = parse(r.body);
        ck_assert(*string_of(root, "error"));
        vit_json_free(root);
    }
    reply_free(&r);
}

static double metric(const server *s, const char *name) {
    char framed[128];
    reply r = http_get(s->port, "/metrics", "");
    snprintf(framed, sizeof framed, "\n%s ", name);
    const char *line = strstr(r.body, framed);
    double value = line ? strtod(line + strlen(framed), NULL) : 0;
    reply_free(&r);
    return value;
}

/* ---- what is there ---- */
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
    server s = serve(NULL);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char value[512], length[512], request[256];
        reply r = http_get(s.port, paths[i][0], "");
        ck_assert_int_eq(r.code, 200);
        ck_assert_str_eq(http_header(&r, "Content-Type", value), paths[i][1]);
        check_has(r.body, paths[i][2]);
        ck_assert_str_eq(http_header(&r, "X-Content-Type-Options", value), "nosniff");
        ck_assert_str_eq(http_header(&r, "Referrer-Policy", value), "no-referrer");
        check_has(http_header(&r, "Content-Security-Policy", value), "default-src 'none'");
        check_has(value, "frame-ancestors 'none'");
        check_has_not(value, "unsafe");
        ck_assert_str_eq(http_header(&r, "Server", value), "");
        ck_assert_str_eq(http_header(&r, "Access-Control-Allow-Origin", value), "");
        snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
                 paths[i][0]);
        reply head = http_ask_text(s.port, request);
        ck_assert_int_eq(head.code, 200);
        /* The metrics change while they are looked at. */
        if (strcmp(paths[i][0], "/metrics") != 0) {
            ck_assert_str_eq(http_header(&head, "Content-Length", value),
                             http_header(&r, "Content-Length", length));
        }
        reply_free(&head);
        snprintf(request, sizeof request, "OPTIONS %s HTTP/1.1\r\nHost: a.localhost\r\n\r\n",
                 paths[i][0]);
        head = http_ask_text(s.port, request);
        ck_assert_int_eq(head.code, 204);
        ck_assert_str_eq(http_header(&head, "Allow", value), "GET, HEAD, OPTIONS");
        reply_free(&head);
        /* HTTP lets any request have a body. */
        static const char *const bodies[] = {"Content-Length: 5\r\n\r\nhello",
                                             "Transfer-Encoding: chunked\r\n\r\n"
                                             "5\r\nhello\r\n0\r\n\r\n"};
        for (size_t j = 0; j < 2; j++) {
            snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s",
                     paths[i][0], bodies[j]);
            head = http_ask_text(s.port, request);
            ck_assert_int_eq(head.code, 200);
            reply_free(&head);
        }
        reply_free(&r);
    }
    /* A page that is known already is not sent again. */
    char etag[512], known[600];
    reply r = http_get(s.port, "/page.js", "");
    snprintf(known, sizeof known, "If-None-Match: %s\r\n", http_header(&r, "ETag", etag));
    reply again = http_get(s.port, "/page.js", known);
    ck_assert_int_eq(again.code, 304);
    ck_assert_uint_eq(again.size, 0);
    reply_free(&again);
    again = http_get(s.port, "/page.css", known);
    ck_assert_int_eq(again.code, 200);
    reply_free(&again);
    reply_free(&r);
    stop(&s);
}
END_TEST

START_TEST(the_model_describes_itself) {
    static const char *const flags[] = {"--max-body",   "3",    "--queue", "7",
                                        "--max-pixels", "5000", NULL};
    server s = serve(flags);
    reply r = http_get(s.port, "/v1/model", "");
    vit_json *root = parse(r.body);
    const vit_json *names = vit_json_get(root, "classes"), *limits = vit_json_get(root, "limits");
    ck_assert_str_eq(string_of(root, "zvit"), VIT_VERSION_STRING);
    ck_assert_uint_eq(vit_json_count(names), CLASSES);
    for (size_t k = 0; k < CLASSES; k++) {
        ck_assert_str_eq(vit_json_string(vit_json_at(names, k), ""), classes[k]);
    }
    ck_assert_double_eq(number_of(vit_json_get(root, "config"), "num_classes"), CLASSES);
    ck_assert_double_eq(number_of(limits, "body_bytes"), 3 << 20);
    ck_assert_double_eq(number_of(limits, "pictures"), 7);
    ck_assert_double_eq(number_of(limits, "pixels"), 5000);
    vit_json_free(root);
    reply_free(&r);
    stop(&s);
}
END_TEST

/* ---- classifying ---- */
static const char *const pictures[] = {"rgb.png", "baseline_420.jpg", "progressive.jpg",
                                       "gray16.png", "palette_trns.png"};
enum { PICTURES = sizeof pictures / sizeof *pictures };

/* What zvit classify says of the picture. */
static vit_json *classify(const char *name) {
    copy_picture(name, in_folder(name));
    outcome result =
        zvit("classify", in_folder("model"), in_folder(name), "--json", "--topk", "4", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    release(&result);
    return root;
}

static void check_top(const vit_json *result, const vit_json *expected, size_t count,
                      double tolerance) {
    const vit_json *a = vit_json_get(result, "top"), *b = vit_json_get(expected, "top");
    ck_assert_uint_eq(vit_json_count(a), count);
    for (size_t i = 0; i < count; i++) {
        const vit_json *x = vit_json_at(a, i), *y = vit_json_at(b, i);
        ck_assert_str_eq(string_of(x, "class"), string_of(y, "class"));
        ck_assert_double_eq(number_of(x, "index"), number_of(y, "index"));
        ck_assert_double_le(fabs(number_of(x, "probability") - number_of(y, "probability")),
                            tolerance);
    }
}

/* A form of several pictures, whatever they are called. */
#define BOUNDARY "----zvit42"
#define FORM "multipart/form-data; boundary=" BOUNDARY
typedef struct form {
    char bytes[1 << 18];
    size_t size;
} form;

static void form_text(form *f, const char *text) {
    size_t size = strlen(text);
    ck_assert_uint_lt(f->size + size, sizeof f->bytes);
    memcpy(f->bytes + f->size, text, size);
    f->size += size;
}

static void form_part(form *f, const char *disposition, const void *bytes, size_t size) {
    form_text(f, "--" BOUNDARY "\r\nContent-Disposition: form-data; ");
    form_text(f, disposition);
    form_text(f, "\r\n\r\n");
    ck_assert_uint_lt(f->size + size, sizeof f->bytes);
    memcpy(f->bytes + f->size, bytes, size);
    f->size += size;
    form_text(f, "\r\n");
}

static void form_end(form *f) {
    form_text(f, "--" BOUNDARY "--\r\n");
}

static form *form_of_all(void) {
    form *f = calloc(1, sizeof *f);
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < PICTURES; i++) {
        char disposition[256];
        vit_bytes bytes = golden(pictures[i]);
        snprintf(disposition, sizeof disposition, "name=\"picture\"; filename=\"%s\"", pictures[i]);
        form_part(f, disposition, bytes.data, bytes.size);
        vit_bytes_free(&bytes);
    }
    return f;
}

/* Those of the command line, which may compute one picture with all threads; and among others the
 * same as alone, to the last bit. */
START_TEST(answers_are_those_of_classify) {
    server s = serve(NULL);
    vit_json *expected[PICTURES];
    for (size_t i = 0; i < PICTURES; i++) {
        expected[i] = classify(pictures[i]);
        reply r = post_golden(&s, "/v1/classify?topk=3", pictures[i]);
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
    for (size_t i = 0; i < PICTURES; i++) {
        const vit_json *result = vit_json_at(vit_json_get(root, "results"), i);
        ck_assert_str_eq(string_of(result, "name"), pictures[i]);
        check_top(result, vit_json_at(vit_json_get(expected[i], "results"), 0), 2, 0);
        vit_json_free(expected[i]);
    }
    vit_json_free(root);
    reply_free(&r);
    free(f);
    stop(&s);
}
END_TEST

START_TEST(a_threshold_makes_it_unknown) {
    server s = serve(NULL);
    reply r = post_golden(&s, "/v1/classify?topk=100&threshold=1", "rgb.png");
    vit_json *root = parse(r.body);
    const vit_json *result = vit_json_at(vit_json_get(root, "results"), 0);
    ck_assert(vit_json_bool(vit_json_get(result, "unknown"), false));
    ck_assert_str_eq(string_of(result, "prediction"), "unknown");
    ck_assert_uint_eq(vit_json_count(vit_json_get(result, "top")), CLASSES);
    vit_json_free(root);
    reply_free(&r);
    r = post_golden(&s, "/v1/classify?threshold=0.01", "rgb.png");
    check_has(r.body, "\"unknown\":false");
    reply_free(&r);
    stop(&s);
}
END_TEST

/* Its answers are those of classify; it has no backward, so no heat maps. */
START_TEST(a_model_with_int8_weights) {
    vit_model_bundle *bundle;
    make_model();
    ck_vit_ok(vit_model_bundle_load(in_folder("model"), &bundle));
    ck_vit_ok(vit_model_bundle_save_int8(bundle, in_folder("model")));
    vit_model_bundle_free(bundle);
    server s = serve(NULL);
    vit_json *expected = classify(pictures[0]);
    reply r = post_golden(&s, "/v1/classify?topk=3", pictures[0]);
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    vit_json *root = parse(r.body);
    check_top(vit_json_at(vit_json_get(root, "results"), 0), expected, 3, 1e-6);
    vit_json_free(root);
    vit_json_free(expected);
    reply_free(&r);
    check_reply(post_golden(&s, "/v1/classify?explain=1", pictures[0]), 400,
                "the model has int8 weights");
    stop(&s);
}
END_TEST

/* ---- heat maps ---- */
START_TEST(heat_maps_are_of_the_class_asked_for) {
    server s = serve(NULL);
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
    ck_assert_double_eq(vit_json_number(vit_json_at(grid, 0), 0), SIDE / 4);
    ck_assert_double_eq(vit_json_number(vit_json_at(grid, 1), 0), SIDE / 4);
    ck_assert_uint_eq(vit_json_count(vit_json_get(heat, "values")), SIDE / 4 * SIDE / 4);
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
    stop(&s);
}
END_TEST

START_TEST(an_overlay_is_a_png) {
    server s = serve(NULL);
    reply r = post_golden(&s, "/v1/classify?overlay=1", "rgb.png");
    ck_assert_msg(r.code == 200, "%s%s", r.head, r.body);
    check_has(r.body, "\"overlay\":\"iVBORw0KGgo"); /* a PNG's signature in base64 */
    check_has(r.body, "\"heat\":{");
    reply_free(&r);
    stop(&s);
}
END_TEST

START_TEST(broken_pictures_are_named) {
    server s = serve(NULL);
    check_reply(post_golden(&s, "/v1/classify", "bad_text.jpg"), 422, "expected a JPEG or PNG");
    check_reply(post_golden(&s, "/v1/classify", "bad_truncated.png"), 422, "error");
    check_reply(post_golden(&s, "/v1/classify", "bad_garbage.png"), 422, "error");
    check_reply(post_golden(&s, "/v1/classify", "bad_empty.jpg"), 400, "no picture");
    copy_picture("rgb.png", in_folder("on_the_server.png"));
    /* An empty part by the name of a file here: the file is not looked at. */
    form *f = calloc(1, sizeof *f);
    char disposition[1200];
    vit_bytes small = golden("bilevel.png"), bad = golden("bad_truncated.jpg");
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
    stop(&s);
    s = serve((const char *const[]){"--max-pixels", "100", NULL});
    check_reply(post_golden(&s, "/v1/classify", "rgb.png"), 413, "pixels");
    stop(&s);
}
END_TEST

/* ---- what is refused ---- */
START_TEST(wrong_requests_are_named) {
    static const struct {
        int code;
        const char *line, *headers, *part;
    } cases[] = {
        {404, "GET /nothing", "", "/nothing"},
        {404, "GET /../../etc/passwd", "", "nothing is here"},
        {404, "GET /%2e%2e/%2e%2e/etc/passwd", "", "nothing is here"},
        {404, "GET //", "", "nothing is here"},
        {404, "GET /page.css/", "", "nothing is here"},
        {404, "GET /v1", "", "nothing is here"},
        {404, "GET /\xff\xfe", "", "nothing is here"},
        {405, "DELETE /", "", "expected GET, HEAD, OPTIONS"},
        {405, "GET /v1/classify", "", "expected POST, OPTIONS"},
        {405, "HEAD /v1/classify", "", ""},
        {405, "POST /healthz", "Content-Length: 2\r\n", "expected GET"},
        {405, "BREW /", "", "BREW"},
        {411, "POST /v1/classify", "", "Content-Length"},
        {415, "POST /v1/classify", "Content-Length: 2\r\nContent-Type: text/plain\r\n",
         "text/plain"},
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
        {403, "POST /v1/classify", "Content-Length: 2\r\nOrigin: http://evil.com\r\n",
         "another site"},
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
    server s = serve(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[1024];
        const char *host = strstr(cases[i].headers, "Host:") ? "" : "Host: localhost\r\n";
        snprintf(request, sizeof request, "%s HTTP/1.1\r\n%s%s\r\nxx", cases[i].line, host,
                 cases[i].headers);
        reply r = http_ask_text(s.port, request);
        ck_assert_msg(r.code == cases[i].code, "%s: %d, expected %d: %s%s", request, r.code,
                      cases[i].code, r.head, r.body);
        ck_assert_msg(strstr(r.body, cases[i].part) != NULL, "%s: %s", request, r.body);
        if (r.size > 0) {
            vit_json *root = parse(r.body);
            ck_assert(*string_of(root, "error"));
            vit_json_free(root);
        }
        if (r.code == 405) {
            char allow[512];
            check_has(http_header(&r, "Allow", allow), "OPTIONS");
        }
        reply_free(&r);
        check_alive(&s);
    }
    stop(&s);
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
    server s = serve(NULL);
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        int fd = http_connect(s.port);
        http_text(fd, garbage[i]);
        shutdown(fd, SHUT_WR);
        reply r = http_read(fd);
        ck_assert_msg(r.code == 0 || r.code >= 400, "%s: %s%s", garbage[i], r.head, r.body);
        reply_free(&r);
        close(fd);
        check_alive(&s);
    }
    /* More head than there is room for; a line without end. */
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
    check_alive(&s);
    stop(&s);
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
    server s = serve(NULL);
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
    check_alive(&s);
    stop(&s);
}
END_TEST

/* Clients that leave in the middle. */
START_TEST(truncated_requests_leave_nothing_behind) {
    server s = serve(NULL);
    vit_bytes picture = golden("baseline_420.jpg");
    char head[256];
    int length = snprintf(head, sizeof head,
                          "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                          "image/jpeg\r\nContent-Length: %zu\r\n\r\n",
                          picture.size);
    check_alive(&s);
    double descriptors = metric(&s, "process_open_fds");
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
    for (int i = 0;
         i < 500 && (metric(&s, "zvit_connections") > 1 || metric(&s, "zvit_held_bytes") > 0);
         i++) {
        nap(10);
    }
    ck_assert_double_eq(metric(&s, "zvit_connections"), 1);
    ck_assert_double_eq(metric(&s, "zvit_held_bytes"), 0);
    ck_assert_double_eq(metric(&s, "zvit_queue_pictures"), 0);
    ck_assert_double_eq(metric(&s, "process_open_fds"), descriptors);
    vit_bytes_free(&picture);
    stop(&s);
}
END_TEST

/* ---- limits ---- */
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
    server s = serve((const char *const[]){"--max-body", "1", "--max-held", "3", NULL});
    size_t large = ((size_t)1 << 20) + 1, size;
    char *zeros = calloc(6, large);
    ck_assert_ptr_nonnull(zeros);
    check_reply(http_post(s.port, "/v1/classify", "image/png", zeros, large - 1), 422, "picture");
    check_reply(http_post(s.port, "/v1/classify", "image/png", zeros, large), 413, "1048577 bytes");
    vit_bytes picture = golden("rgb.png");
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
    check_alive(&s);
    ck_assert_double_eq(metric(&s, "zvit_held_bytes"), 0);
    vit_bytes_free(&picture);
    free(zeros);
    stop(&s);
}
END_TEST

static int post_without_reading(const server *s, const vit_bytes *picture) {
    char head[256];
    int fd = http_connect(s->port);
    ck_assert_int_ge(fd, 0);
    int length = snprintf(head, sizeof head,
                          "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                          "%zu\r\n\r\n",
                          picture->size);
    http_send(fd, head, (size_t)length);
    http_send(fd, picture->data, picture->size);
    return fd;
}

static void wait_for_queue(const server *s, double count) {
    for (int i = 0; i < 2000 && metric(s, "zvit_queue_pictures") < count; i++) {
        nap(5);
    }
    ck_assert_double_eq(metric(s, "zvit_queue_pictures"), count);
}

/* The batch waits for pictures that do not come, so the queue fills up. */
START_TEST(a_full_queue_says_when_to_come_again) {
    server s = serve(
        (const char *const[]){"--queue", "2", "--max-batch", "8", "--max-wait-ms", "2000", NULL});
    vit_bytes picture = golden("rgb.png");
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
    check_alive(&s); /* everything else goes on */
    check_reply(http_read(first), 200, "results");
    check_reply(http_read(second), 200, "results");
    close(first);
    close(second);
    free(f);
    vit_bytes_free(&picture);
    stop(&s);
}
END_TEST

/* Two clients at once share a batch: neither waits out the time that it would alone. */
START_TEST(clients_share_a_batch) {
    server s = serve((const char *const[]){"--max-batch", "2", "--max-wait-ms", "10000", NULL});
    vit_bytes picture = golden("rgb.png"), other = golden("progressive.jpg");
    vit_json *expected[] = {classify("rgb.png"), classify("progressive.jpg")};
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
    ck_assert_double_eq(metric(&s, "zvit_batch_pictures_sum"), 10);
    ck_assert_double_eq(metric(&s, "zvit_batch_pictures_count"), 5);
    vit_json_free(expected[0]);
    vit_json_free(expected[1]);
    vit_bytes_free(&picture);
    vit_bytes_free(&other);
    stop(&s);
}
END_TEST

START_TEST(slow_requests_get_a_408) {
    static const char *const halves[] = {
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Len",
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"};
    server s = serve((const char *const[]){"--timeout", "0.7", NULL});
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
    check_alive(&s);
    stop(&s);
}
END_TEST

START_TEST(idle_connections_keep_nobody_out) {
    enum { HELD = 60 };
    server s = serve((const char *const[]){"--max-connections", "8", NULL});
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
            check_alive(&s);
        }
        reply r = post_golden(&s, "/v1/classify", "rgb.png");
        ck_assert_int_eq(r.code, 200);
        reply_free(&r);
        for (int i = 0; i < HELD; i++) {
            close(fds[i]);
        }
    }
    stop(&s);
}
END_TEST

START_TEST(connections_are_kept) {
    server s = serve(NULL);
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
    stop(&s);
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
    vit_bytes picture = golden("rgb.png");
    for (int i = 0; i < 2; i++) {
        server s = serve((const char *const[]){"--max-wait-ms", "800", NULL});
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
    server s = serve(NULL);
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
    stop(&s);
}
END_TEST

START_TEST(everybody_is_warned_of) {
    server s = serve(
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
    server s = serve((const char *const[]){"--access-log", "--quiet", NULL});
    check_reply(http_get(s.port, "/%1b[31mred%0a%0d", ""), 404, "nothing");
    check_alive(&s);
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
    tcase_add_test(tcase, the_model_describes_itself);
    tcase_add_test(tcase, answers_are_those_of_classify);
    tcase_add_test(tcase, a_model_with_int8_weights);
    tcase_add_test(tcase, a_threshold_makes_it_unknown);
    tcase_add_test(tcase, heat_maps_are_of_the_class_asked_for);
    tcase_add_test(tcase, an_overlay_is_a_png);
    tcase_add_test(tcase, broken_pictures_are_named);
    tcase_add_test(tcase, wrong_requests_are_named);
    tcase_add_test(tcase, what_is_no_http_is_refused);
    tcase_add_test(tcase, broken_forms_are_refused);
    tcase_add_test(tcase, truncated_requests_leave_nothing_behind);
    tcase_add_test(tcase, bodies_are_bounded);
    tcase_add_test(tcase, a_full_queue_says_when_to_come_again);
    tcase_add_test(tcase, clients_share_a_batch);
    tcase_add_test(tcase, slow_requests_get_a_408);
    tcase_add_test(tcase, idle_connections_keep_nobody_out);
    tcase_add_test(tcase, connections_are_kept);
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
