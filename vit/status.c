#include "vit/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char last_message[VIT_MESSAGE_MAX];

const char *vit_version(void) {
    return VIT_VERSION_STRING;
}

const char *vit_status_string(vit_status status) {
    switch (status) {
    case VIT_OK:
        return "ok";
    case VIT_ERROR_ARGUMENT:
        return "wrong argument";
    case VIT_ERROR_MEMORY:
        return "out of memory";
    case VIT_ERROR_IO:
        return "input or output failed";
    case VIT_ERROR_FORMAT:
        return "wrong file format";
    case VIT_ERROR_UNSUPPORTED:
        return "not supported";
    case VIT_ERROR_LIMIT:
        return "over a limit";
    case VIT_ERROR_NUMERIC:
        return "not a finite number";
    case VIT_ERROR_STOPPED:
        return "stopped";
    }
    return "unknown status";
}

const char *vit_last_error(void) {
    return last_message;
}

/* File names and class names reach messages and so terminals: no control character may pass. */
static void make_one_line(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}

vit_status(vit_fail)(vit_status status, const char *format, ...) {
    /* By way of a copy: the arguments may point into last_message. */
    char message[VIT_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    make_one_line(message);
    memcpy(last_message, message, sizeof message);
    return status;
}

vit_status(vit_fail_context)(vit_status status, const char *format, ...) {
    char context[VIT_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    return vit_fail(status, "%s: %s", context, last_message);
}

void vit_first_error_note(vit_first_error *first, long index, vit_status status) {
#pragma omp critical(vit_first_error)
    {
        if (first->status == VIT_OK || index < first->index) {
            first->status = status;
            first->index = index;
            memcpy(first->message, last_message, sizeof first->message);
        }
    }
}

vit_status vit_first_error_raise(const vit_first_error *first) {
    return first->status == VIT_OK ? VIT_OK : vit_fail(first->status, "%s", first->message);
}
