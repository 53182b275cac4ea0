/* Output of the command: safe text, numbers, JSON, error lines. */
#include "tools/cmd.h"

#include "vit/file.h"
#include "vit/heap.h"
#include "vit/utf8.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t cli_put(FILE *stream, const char *text) {
    size_t left = strlen(text), characters = 0;
    while (left > 0) {
        size_t length = vit_utf8_length(text, left);
        if (stream != NULL && length > 0 && !vit_utf8_steers(text, left)) {
            fwrite(text, 1, length, stream);
        } else if (stream != NULL) {
            fputc('?', stream);
        }
        length = length > 0 ? length : 1;
        text += length;
        left -= length;
        characters++;
    }
    return characters;
}

void cli_put_padded(FILE *stream, const char *text, size_t width) {
    for (size_t written = cli_put(stream, text); written < width; written++) {
        fputc(' ', stream);
    }
}

const char *cli_thousands(double number, char *buffer) {
    char digits[32];
    snprintf(digits, sizeof digits, "%.0f", fmin(fmax(number, 0), 1e15));
    size_t length = strlen(digits), out = 0;
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            buffer[out++] = ',';
        }
        buffer[out++] = digits[i];
    }
    buffer[out] = 0;
    return buffer;
}

vit_status cli_print_json(vit_json *root, bool pretty) {
    char *text = NULL;
    vit_status status = vit_json_print(root, pretty, &text);
    if (status == VIT_OK) {
        fputs(text, stdout);
        fputc('\n', stdout);
        vit_free(text);
    }
    vit_json_free(root);
    return status;
}

vit_json *cli_event(const cli_verb *verb, const char *event) {
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "event", event);
    vit_json_add_string(root, "verb", verb->name);
    return root;
}

void cli_print_event(vit_json *event) {
    char *text = NULL;
    if (vit_json_print(event, false, &text) == VIT_OK) {
        fprintf(stderr, "%s\n", text); /* in one piece: stderr has no buffer of its own */
        vit_free(text);
    }
    vit_json_free(event);
}

/* kind: "error" or "warning". */
static void print_message(const cli_verb *verb, const char *kind, const char *message) {
    fflush(stdout); /* keeps the order when both go to one terminal */
    if (verb->log_json) {
        vit_json *event = cli_event(verb, kind);
        vit_json_add_string(event, "message", message);
        cli_print_event(event);
        return;
    }
    fprintf(stderr, "zvit%s%s: %s", *verb->name ? " " : "", verb->name,
            strcmp(kind, "warning") == 0 ? "warning: " : "");
    cli_put(stderr, message);
    fputc('\n', stderr);
}

int cli_fail(const cli_verb *verb) {
    print_message(verb, "error", vit_last_error());
    return CLI_FAILED;
}

int cli_fail_usage(const cli_verb *verb) {
    print_message(verb, "error", vit_last_error());
    if (!verb->log_json) {
        fprintf(stderr, "Try 'zvit %s --help'.\n", verb->name);
    }
    return CLI_USAGE;
}

vit_status cli_wrong_arguments(int words, const char *expected) {
    return vit_fail(VIT_ERROR_ARGUMENT, "%d argument%s (expected %s)", words, words == 1 ? "" : "s",
                    expected);
}

vit_status cli_check_png_name(const char *path) {
    return vit_path_ends(path, ".png")
               ? VIT_OK
               : vit_fail(VIT_ERROR_ARGUMENT,
                          "%s: not the name of a PNG file (expected a name that ends in .png)",
                          path);
}

void cli_warn(const cli_verb *verb, const char *format, ...) {
    char message[2 * VIT_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    print_message(verb, "warning", message);
}

/* Whoever read standard output has closed it (head does, when it has its lines): known, and no news
 * to the user. */
static bool is_reader_gone(void) {
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

int cli_finish(const cli_verb *verb, int code) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return code;
    }
    if (is_reader_gone()) {
        return CLI_FAILED;
    }
    vit_fail(VIT_ERROR_IO, "standard output: %s",
             errno != 0 ? strerror(errno) : "could not be written");
    return cli_fail(verb);
}
