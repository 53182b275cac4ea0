/* Bytes inside JSON (RFC 4648, section 4). */
#ifndef ZVIT_SERVE_BASE64_H
#define ZVIT_SERVE_BASE64_H

#include <stddef.h>

/* malloc'ed text, zero-terminated; NULL when memory ran out. */
char *serve_base64(const unsigned char *bytes, size_t size);

#endif
