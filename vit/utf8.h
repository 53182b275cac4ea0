/* Text from outside: whether it is UTF-8, and what in it must not reach a reader as it is. */
#ifndef VIT_UTF8_H
#define VIT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes (1 to 4) of the UTF-8 character at text, of which length bytes may be read; 0 when
 * there is none or it is not well formed. */
size_t vit_utf8_length(const char *text, size_t length);
/* True when the zero-terminated text is UTF-8 throughout. */
bool vit_utf8_valid(const char *text);
/* The number of the character at text that has so many bytes, as vit_utf8_length gives them. */
uint32_t vit_utf8_code(const char *text, size_t bytes);
/* Whether the character at text, of which length bytes may be read, makes a terminal or a page show
 * something else than what is there: escape sequences begin with C0 or C1 controls; line separators
 * and direction overrides make a line say what it does not. */
bool vit_utf8_steers(const char *text, size_t length);

#endif
