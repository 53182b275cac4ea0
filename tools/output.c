/* Output of the command: safe text, numbers, JSON, error lines. */
#include "tools/cmd.h"

#include "vit/heap.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Decodes one UTF-8 character of at most 4 bytes; returns its length, or 0 when the bytes are not
 * UTF-8 (overlong forms and surrogates included). */
static size_t decode_utf8(const unsigned char *text, uint32_t *out) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = text[0] < 0x80             ? 1
                    : (text[0] & 0xe0) == 0xc0 ? 2
                    : (text[0] & 0xf0) == 0xe0 ? 3
                    : (text[0] & 0xf8) == 0xf0 ? 4
                                               : 0;
    if (length <= 1) {
        *out = text[0];
        return length;
    }
    uint32_t code = text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) { /* the final zero is no continuation byte, so it stops */
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (text[i] & 0x3fu);
    }
    if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *out = code;
    return length;
}

/* Escape sequences begin with C0 or C1 controls; line separators and direction overrides make a
 * line show something else than what it says. */
static bool is_unsafe(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

size_t cli_put(FILE *stream, const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    size_t characters = 0;
    while (*at != 0) {
        uint32_t code = 0;
        size_t length = decode_utf8(at, &code);
        bool safe = length > 0 && !is_unsafe(code);
        if (stream != NULL && safe) {
            fwrite(at, 1, length, stream);
        } else if (stream != NULL) {
            fputc('?', stream);
        }
        at += length > 0 ? length : 1;
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

double cli_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
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
