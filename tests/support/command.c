#include "tests/support/command.h"

#include "tests/support/support.h"
#include "vit/file.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_WORDS 64
#define MAX_OUTPUT ((size_t)1 << 20)

const char *const zvit_verbs[] = {"train",  "eval",   "classify",   "check", "preview", "explain",
                                  "report", "export", "pack",       "serve", "info",    "bench",
                                  "plan",   "help",   "completion", NULL};

/* FOLDER/name; eight at a time. */
const char *in_folder(const char *name) {
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* ---- running the command ---- */
char *read_text(const char *path) {
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, MAX_OUTPUT, &bytes));
    char *text = calloc(bytes.size + 1, 1);
    ck_assert_ptr_nonnull(text);
    if (bytes.size > 0) {
        memcpy(text, bytes.data, bytes.size);
    }
    vit_bytes_free(&bytes);
    return text;
}

pid_t start_fed(const char *in, const char *out, const char *err, char *const *words) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int to_out = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int to_err = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int from = open(in != NULL ? in : "/dev/null", O_RDONLY);
        dup2(from, 0);
        dup2(to_out, 1);
        dup2(to_err, 2);
        if (in == NULL) {
            close(0);
        }
        unsetenv("NO_COLOR");
        execv(ZVIT_COMMAND, words);
        _exit(127);
    }
    return child;
}

pid_t start(const char *out, const char *err, char *const *words) {
    return start_fed("/dev/null", out, err, words);
}

int wait_for(pid_t child) {
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

size_t collect_words(const char **words, const char *first, va_list rest) {
    size_t count = 0;
    words[count++] = "zvit";
    for (const char *word = first; word; word = va_arg(rest, const char *)) {
        ck_assert_uint_lt(count, MAX_WORDS - 1);
        words[count++] = word;
    }
    words[count] = NULL;
    return count;
}

static outcome run_words(const char *in, const char **words) {
    char out[512], err[512];
    snprintf(out, sizeof out, "%s/.out", folder);
    snprintf(err, sizeof err, "%s/.err", folder);
    outcome result = {.code = wait_for(start_fed(in, out, err, (char *const *)words))};
    result.out = read_text(out);
    result.err = read_text(err);
    return result;
}

outcome zvit(const char *first, ...) {
    const char *words[MAX_WORDS];
    va_list rest;
    va_start(rest, first);
    collect_words(words, first, rest);
    va_end(rest);
    return run_words("/dev/null", words);
}

outcome zvit_fed(const char *in, const char *first, ...) {
    const char *words[MAX_WORDS];
    va_list rest;
    va_start(rest, first);
    collect_words(words, first, rest);
    va_end(rest);
    return run_words(in, words);
}

void release(outcome *result) {
    free(result->out);
    free(result->err);
}

void check_code(const outcome *result, int code) {
    ck_assert_msg(result->code == code, "exit code %d, expected %d; stdout: %s; stderr: %s",
                  result->code, code, result->out, result->err);
}

void check_has(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" not found in: %s", part, text);
}

void check_has_not(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) == NULL, "\"%s\" found in: %s", part, text);
}

size_t count_lines(const char *text) {
    size_t lines = 0;
    for (; *text; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* Wrong usage: code 2, nothing on stdout, one line of error that says `part`, one of help. */
void check_usage(outcome result, const char *part) {
    check_code(&result, 2);
    ck_assert_str_eq(result.out, "");
    check_has(result.err, part);
    check_has(result.err, "--help");
    ck_assert_uint_eq(count_lines(result.err), 2);
    release(&result);
}

/* A failure: code 1, nothing on stdout, one line "zvit VERB: ..." that says `part`. */
void check_failure(outcome result, const char *verb, const char *part) {
    char prefix[64];
    snprintf(prefix, sizeof prefix, "zvit %s: ", verb);
    check_code(&result, 1);
    ck_assert_str_eq(result.out, "");
    ck_assert_msg(strncmp(result.err, prefix, strlen(prefix)) == 0, "%s", result.err);
    check_has(result.err, part);
    ck_assert_uint_eq(count_lines(result.err), 1);
    release(&result);
}

vit_json *parse(const char *text) {
    vit_json *root = NULL;
    ck_vit_ok(vit_json_parse(text, strlen(text), "output", &root));
    return root;
}

double number_of(const vit_json *object, const char *key) {
    ck_assert_msg(vit_json_is_number(vit_json_get(object, key)), "no number \"%s\"", key);
    return vit_json_number(vit_json_get(object, key), 0);
}

const char *string_of(const vit_json *object, const char *key) {
    const char *text = vit_json_string(vit_json_get(object, key), NULL);
    ck_assert_msg(text != NULL, "no string \"%s\"", key);
    return text;
}

/* ---- a data set of golden pictures ---- */
void copy_picture(const char *from, const char *to) {
    char name[256], path[1024];
    vit_bytes bytes = {0};
    snprintf(name, sizeof name, "formats/%s", from);
    ck_vit_ok(vit_file_read(golden_path(name, path), (size_t)1 << 24, &bytes));
    ck_vit_ok(vit_file_replace(to, bytes.data, bytes.size));
    vit_bytes_free(&bytes);
}

/* FOLDER/data: 6 + 2 pictures of two classes. */
const char *make_data(void) {
    static const char *const places[][2] = {
        {"rgb.png", "data/train/bright/1.png"},
        {"baseline_420.jpg", "data/train/bright/2.jpg"},
        {"progressive.jpg", "data/train/bright/3.jpg"},
        {"gray.png", "data/train/dull/1.png"},
        {"gray.jpg", "data/train/dull/2.jpg"},
        {"gray16.png", "data/train/dull/3.png"},
        {"baseline_444.jpg", "data/val/bright/1.jpg"},
        {"bilevel.png", "data/val/dull/1.png"},
    };
    ck_vit_ok(vit_folder_make(in_folder("data/train/bright")));
    ck_vit_ok(vit_folder_make(in_folder("data/train/dull")));
    ck_vit_ok(vit_folder_make(in_folder("data/val/bright")));
    ck_vit_ok(vit_folder_make(in_folder("data/val/dull")));
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        copy_picture(places[i][0], in_folder(places[i][1]));
    }
    return in_folder("data");
}

/* FOLDER/run, trained on FOLDER/data for two epochs. */
outcome train_tiny(void) {
    make_data();
    return zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "2", TINY_MODEL,
                NULL);
}

void train_for(outcome *result) {
    *result = train_tiny();
    check_code(result, 0);
    release(result);
}
