#include "serve_case.h"

#include "command.h"
#include "files.h"
#include "models.h"
#include "support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const served_classes[SERVED_CLASSES] = {"ant", "bee", "caf\xc3\xa9", "dog"};
const char *const served_pictures[SERVED_PICTURES] = {
    "rgb.png", "baseline_420.jpg", "progressive.jpg", "gray16.png", "palette_trns.png"};

/* Every class has its share. Wide enough that one picture's products are cut into pieces where
 * threads share them. */
void serve_make_model(void) {
    small_model_save(&(small_model){.classes = served_classes,
                                    .num_classes = SERVED_CLASSES,
                                    .img_size = SERVED_SIDE,
                                    .embed_dim = 96,
                                    .depth = 2,
                                    .num_heads = 3,
                                    .seed = 1,
                                    .scale = 0.1},
                     in_folder("model"));
}

void nap(int milliseconds) {
    const struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    nanosleep(&time, NULL);
}

/* zvit serve FOLDER/model --port 0 with further flags; ready when it has printed its address. */
server serve_model(const char *const *flags) {
    const char *words[32] = {"zvit", "serve", in_folder("model"), "--port", "0"};
    size_t count = 5;
    for (; flags && *flags; flags++) {
        words[count++] = *flags;
    }
    if (!file_exists(in_folder("model"))) {
        serve_make_model();
    }
    unlink(in_folder("url"));
    server s = {.process = start(in_folder("url"), in_folder("log"), (char *const *)(void *)words)};
    for (int i = 0; i < 3000 && s.port == 0; i++) {
        nap(10);
        if (file_exists(in_folder("url"))) {
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
void serve_stop(const server *s) {
    kill(s->process, SIGTERM);
    int code = wait_for(s->process);
    char *log = read_text(in_folder("log"));
    ck_assert_msg(code == 0, "exit code %d: %s", code, log);
    ck_assert_uint_eq(count_lines(log), 1);
    check_has(log, "4 classes; Ctrl-C stops");
    free(log);
}

void check_served(const server *s) {
    reply r = http_get(s->port, "/healthz", "");
    ck_assert_int_eq(r.code, 200);
    ck_assert_str_eq(r.body, "{\"status\":\"ok\"}");
    reply_free(&r);
}

vit_bytes golden_bytes(const char *name) {
    char relative[256], path[1024];
    vit_bytes bytes = {0};
    snprintf(relative, sizeof relative, "formats/%s", name);
    ck_vit_ok(vit_file_read(golden_path(relative, path), (size_t)1 << 24, &bytes));
    return bytes;
}

reply post_golden(const server *s, const char *path, const char *name) {
    vit_bytes bytes = golden_bytes(name);
    reply r = http_post(s->port, path, "application/octet-stream", bytes.data, bytes.size);
    vit_bytes_free(&bytes);
    return r;
}

void check_reply(reply r, int code, const char *part) {
    ck_assert_msg(r.code == code, "%d, expected %d: %s%s", r.code, code, r.head, r.body);
    ck_assert_msg(strstr(r.body, part) != NULL, "\"%s\" not in: %s", part, r.body);
    if (code >= 400) {
        vit_json *root = parse(r.body);
        ck_assert(*string_of(root, "error"));
        vit_json_free(root);
    }
    reply_free(&r);
}

double serve_metric(const server *s, const char *name) {
    char framed[128];
    reply r = http_get(s->port, "/metrics", "");
    snprintf(framed, sizeof framed, "\n%s ", name);
    const char *line = strstr(r.body, framed);
    double value = line ? strtod(line + strlen(framed), NULL) : 0;
    reply_free(&r);
    return value;
}

/* What zvit classify says of the picture. */
vit_json *classify_picture(const char *name) {
    copy_picture(name, in_folder(name));
    outcome result =
        zvit("classify", in_folder("model"), in_folder(name), "--json", "--topk", "4", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    release(&result);
    return root;
}

void check_top(const vit_json *result, const vit_json *expected, size_t count, double tolerance) {
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

static void form_text(form *f, const char *text) {
    size_t size = strlen(text);
    ck_assert_uint_lt(f->size + size, sizeof f->bytes);
    memcpy(f->bytes + f->size, text, size);
    f->size += size;
}

void form_part(form *f, const char *disposition, const void *bytes, size_t size) {
    form_text(f, "--" BOUNDARY "\r\nContent-Disposition: form-data; ");
    form_text(f, disposition);
    form_text(f, "\r\n\r\n");
    ck_assert_uint_lt(f->size + size, sizeof f->bytes);
    memcpy(f->bytes + f->size, bytes, size);
    f->size += size;
    form_text(f, "\r\n");
}

void form_end(form *f) {
    form_text(f, "--" BOUNDARY "--\r\n");
}

form *form_of_all(void) {
    form *f = calloc(1, sizeof *f);
    ck_assert_ptr_nonnull(f);
    for (size_t i = 0; i < SERVED_PICTURES; i++) {
        char disposition[256];
        vit_bytes bytes = golden_bytes(served_pictures[i]);
        snprintf(disposition, sizeof disposition, "name=\"picture\"; filename=\"%s\"",
                 served_pictures[i]);
        form_part(f, disposition, bytes.data, bytes.size);
        vit_bytes_free(&bytes);
    }
    return f;
}

int post_without_reading(const server *s, const vit_bytes *picture) {
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

void wait_for_queue(const server *s, double count) {
    for (int i = 0; i < 2000 && serve_metric(s, "zvit_queue_pictures") < count; i++) {
        nap(5);
    }
    ck_assert_double_eq(serve_metric(s, "zvit_queue_pictures"), count);
}
