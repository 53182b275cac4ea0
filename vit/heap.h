/* Every block of the library's own memory comes from here, and so from the allocator that the
 * program has set (vit_set_allocator in vit/zvit.h). These do what the C library's functions of
 * these names do; a NULL is for the caller to report. What a library of others hands out (a string
 * of realpath, a JPEG's bytes) is given back to that library. */
#ifndef VIT_HEAP_H
#define VIT_HEAP_H

#include <stdarg.h>
#include <stddef.h>

void *vit_malloc(size_t size);
void *vit_calloc(size_t count, size_t size);
void *vit_realloc(void *block, size_t size);
void *vit_reallocarray(void *block, size_t count, size_t size);
/* alignment is a power of two, size a multiple of it. Not for vit_realloc. */
void *vit_aligned_alloc(size_t alignment, size_t size);
void vit_free(void *block); /* of any of these */

char *vit_strdup(const char *text);
char *vit_strndup(const char *text, size_t length);
/* *out is NULL, and the result negative, when memory ran out. */
int vit_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int vit_vasprintf(char **out, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
