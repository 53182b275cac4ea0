/* Text that grows: pages and data blocks, with what comes from outside escaped. */
#ifndef VIT_TEXT_H
#define VIT_TEXT_H

#include "vit/json.h"

#include <stddef.h>

/* Zero-initialise; release with vit_text_free. Running out of memory is remembered, and
 * vit_text_check reports it. data ends in a zero byte and is NULL while nothing was added. */
typedef struct vit_text {
    char *data;
    size_t size, capacity;
    bool failed;
} vit_text;
void vit_text_free(vit_text *text);
vit_status vit_text_check(const vit_text *text, const char *what);

void vit_text_add(vit_text *text, const void *bytes, size_t size);
void vit_text_put(vit_text *text, const char *markup); /* as it is */
void vit_text_printf(vit_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Text from outside, for HTML and SVG content and quoted attributes: & < > " ' as entities;
 * control characters (but for tab and line feed, which become a space), direction overrides, line
 * separators and bytes that are not UTF-8 as U+FFFD. */
void vit_text_html(vit_text *text, const char *outside);
/* At most `characters` of them, "..." (one character) for what is cut off. */
void vit_text_html_short(vit_text *text, const char *outside, size_t characters);
/* The characters in text, a stray byte counting one. */
size_t vit_text_length(const char *outside);

/* JSON for a <script> element: '<' and the like as \u escapes. Frees root. */
void vit_text_json(vit_text *text, vit_json *root);
void vit_text_base64(vit_text *text, const void *bytes, size_t size);

/* 1234567 as "1,234,567"; "-" when it is not a number. */
void vit_text_count(vit_text *text, double number);
/* With this many decimals, "-" (an en dash) when it is not a number. */
void vit_text_number(vit_text *text, double number, int decimals);
/* Seconds as "42 s", "3:05" (minutes) or "2:03:05" (hours). */
void vit_text_duration(vit_text *text, double seconds);

#endif
