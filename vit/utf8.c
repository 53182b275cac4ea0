#include "vit/utf8.h"

#include <string.h>

size_t vit_utf8_length(const char *text, size_t length) {
    const unsigned char *s = (const unsigned char *)text;
    if (length == 0 || (s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4) {
        return 0;
    }
    if (s[0] < 0x80) {
        return 1;
    }
    size_t bytes = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (length < bytes) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    /* Overlong forms, surrogates, and what lies past U+10FFFF. */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)) {
        return 0;
    }
    return bytes;
}

bool vit_utf8_valid(const char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        size_t bytes = vit_utf8_length(text, left);
        if (bytes == 0) {
            return false;
        }
        text += bytes;
        left -= bytes;
    }
    return true;
}

uint32_t vit_utf8_code(const char *text, size_t bytes) {
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *c = (const unsigned char *)text;
    uint32_t code = c[0] & masks[bytes];
    for (size_t i = 1; i < bytes; i++) {
        code = code << 6 | (c[i] & 0x3fu);
    }
    return code;
}

bool vit_utf8_steers(const char *text, size_t length) {
    size_t bytes = vit_utf8_length(text, length);
    if (bytes == 0) {
        return false;
    }
    uint32_t code = vit_utf8_code(text, bytes);
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}
