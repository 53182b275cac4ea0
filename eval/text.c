#include "eval/text.h"

#include "vit/heap.h"
#include "vit/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void vit_text_free(vit_text *text) {
    vit_free(text->data);
    *text = (vit_text){0};
}

vit_status vit_text_check(const vit_text *text, const char *what) {
    return text->failed ? vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", what) : VIT_OK;
}

/* Room for size more bytes and the zero. */
static bool reserve(vit_text *text, size_t size) {
    size_t needed;
    if (text->failed || __builtin_add_overflow(text->size, size, &needed) ||
        needed > SIZE_MAX / 2 - 1) {
        text->failed = true;
        return false;
    }
    if (needed + 1 <= text->capacity) {
        return true;
    }
    size_t capacity = needed < 2048 ? 4096 : 2 * needed;
    char *data = vit_realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void vit_text_add(vit_text *text, const void *bytes, size_t size) {
    if (reserve(text, size)) {
        memcpy(text->data + text->size, bytes, size);
        text->size += size;
        text->data[text->size] = 0;
    }
}

void vit_text_put(vit_text *text, const char *markup) {
    vit_text_add(text, markup, strlen(markup));
}

void vit_text_printf(vit_text *text, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->size, (size_t)length + 1, format, again);
        text->size += (size_t)length;
    }
    va_end(again);
    va_end(args);
}

/* ---- from outside ---- */

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* One character of the remaining `left` bytes; returns how many it took. */
static size_t put_character(vit_text *text, const char *at, size_t left) {
    size_t length = vit_utf8_length(at, left);
    if (length == 0) {
        vit_text_put(text, replacement);
        return 1;
    }
    switch (*at) {
    case '&':
        vit_text_put(text, "&amp;");
        break;
    case '<':
        vit_text_put(text, "&lt;");
        break;
    case '>':
        vit_text_put(text, "&gt;");
        break;
    case '"':
        vit_text_put(text, "&quot;");
        break;
    case '\'':
        vit_text_put(text, "&#39;");
        break;
    case '\t':
    case '\n':
        vit_text_put(text, " ");
        break;
    default:
        if (vit_utf8_steers(at, left)) {
            vit_text_put(text, replacement);
        } else {
            vit_text_add(text, at, length);
        }
    }
    return length;
}

void vit_text_html_short(vit_text *text, const char *outside, size_t characters) {
    size_t left = strlen(outside);
    bool cut = vit_text_length(outside) > characters;
    for (size_t i = 0; left > 0 && i < characters - cut; i++) {
        size_t length = put_character(text, outside, left);
        outside += length;
        left -= length;
    }
    if (cut) {
        vit_text_put(text, "\xe2\x80\xa6");
    }
}

void vit_text_html(vit_text *text, const char *outside) {
    vit_text_html_short(text, outside, SIZE_MAX);
}

size_t vit_text_length(const char *outside) {
    size_t left = strlen(outside), characters = 0;
    while (left > 0) {
        size_t length = vit_utf8_length(outside, left);
        length = length > 0 ? length : 1;
        outside += length;
        left -= length;
        characters++;
    }
    return characters;
}

/* In a <script> element nothing is decoded; it ends at "</script", and "<!--" changes how it is
 * read. */
void vit_text_json(vit_text *text, vit_json *root) {
    char *json = NULL;
    if (vit_json_print(root, false, &json) != VIT_OK) {
        text->failed = true;
    }
    for (const char *at = json; json && *at;) {
        size_t plain = strcspn(at, "<>&\xe2");
        vit_text_add(text, at, plain);
        at += plain;
        if (strncmp(at, "\xe2\x80\xa8", 3) == 0 || strncmp(at, "\xe2\x80\xa9", 3) == 0) {
            vit_text_put(text, at[2] == '\xa8' ? "\\u2028" : "\\u2029");
            at += 3;
        } else if (*at == '\xe2') {
            vit_text_add(text, at++, 1);
        } else if (*at) {
            vit_text_printf(text, "\\u%04x", (unsigned)(unsigned char)*at++);
        }
    }
    vit_free(json);
    vit_json_free(root);
}

void vit_text_base64(vit_text *text, const void *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *from = bytes;
    for (size_t i = 0; i < size; i += 3) {
        size_t count = size - i < 3 ? size - i : 3;
        uint32_t word = (uint32_t)from[i] << 16 | (uint32_t)(count > 1 ? from[i + 1] : 0) << 8 |
                        (uint32_t)(count > 2 ? from[i + 2] : 0);
        const char four[4] = {digits[word >> 18], digits[word >> 12 & 63],
                              count > 1 ? digits[word >> 6 & 63] : '=',
                              count > 2 ? digits[word & 63] : '='};
        vit_text_add(text, four, 4);
    }
}

/* ---- numbers ---- */

static const char dash[] = "\xe2\x80\x93";

void vit_text_count(vit_text *text, double number) {
    char digits[32];
    if (!isfinite(number)) {
        vit_text_put(text, dash);
        return;
    }
    snprintf(digits, sizeof digits, "%.0f", fmin(fmax(number, 0), 1e15));
    size_t length = strlen(digits);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            vit_text_put(text, ",");
        }
        vit_text_add(text, digits + i, 1);
    }
}

void vit_text_number(vit_text *text, double number, int decimals) {
    if (isfinite(number)) {
        vit_text_printf(text, "%.*f", decimals, number);
    } else {
        vit_text_put(text, dash);
    }
}

void vit_text_duration(vit_text *text, double seconds) {
    if (!isfinite(seconds) || seconds < 0) {
        vit_text_put(text, dash);
        return;
    }
    uint64_t s = (uint64_t)fmin(seconds + 0.5, 1e12);
    if (s < 60) {
        vit_text_printf(text, "%llu s", (unsigned long long)s);
    } else if (s < 3600) {
        vit_text_printf(text, "%llu:%02llu min", (unsigned long long)(s / 60),
                        (unsigned long long)(s % 60));
    } else {
        vit_text_printf(text, "%llu:%02llu:%02llu h", (unsigned long long)(s / 3600),
                        (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
    }
}
