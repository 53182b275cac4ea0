/* zvit: train, evaluate and run Vision Transformers with ZeroS attention.
 *
 * The one public header: opaque types, status values, no globals. It compiles as C11 and as C++.
 * Every function that can fail returns a vit_status; vit_last_error() then holds one line that
 * names the file or the value, the reason, and what was expected. The library never prints and
 * never exits.
 */
#ifndef VIT_ZVIT_H
#define VIT_ZVIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIT_VERSION_MAJOR 0
#define VIT_VERSION_MINOR 1
#define VIT_VERSION_PATCH 0
#define VIT_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define VIT_API __attribute__((visibility("default")))
#else
#define VIT_API
#endif

/* Codes are pinned: a number, once given, keeps its meaning. */
typedef enum vit_status {
    VIT_OK = 0,
    VIT_ERROR_ARGUMENT = 1,    /* a value that the caller gave is wrong or out of range */
    VIT_ERROR_MEMORY = 2,      /* an allocation failed or its size does not fit */
    VIT_ERROR_IO = 3,          /* a file could not be opened, read, written or renamed */
    VIT_ERROR_FORMAT = 4,      /* a file does not hold what it should */
    VIT_ERROR_UNSUPPORTED = 5, /* valid, but not something this build or version handles */
    VIT_ERROR_LIMIT = 6,       /* larger than a limit that protects memory */
    VIT_ERROR_NUMERIC = 7,     /* a loss or gradient is not finite */
    VIT_ERROR_STOPPED = 8      /* the caller asked to stop; what was to be saved is saved */
} vit_status;

/* The library's version, "MAJOR.MINOR.PATCH". */
VIT_API const char *vit_version(void);

/* A short English name for a status ("out of memory"); never NULL. */
VIT_API const char *vit_status_string(vit_status status);

/* The message of the last failure in this thread; "" when there was none. Valid until the next
 * failure in this thread. */
VIT_API const char *vit_last_error(void);

/* Where the library takes its memory from; see vit_set_allocator. */
typedef struct vit_allocator {
    size_t size;   /* sizeof(vit_allocator) */
    void *context; /* handed to the functions */
    void *(*allocate)(void *context, size_t size, size_t alignment);
    void *(*resize)(void *context, void *block, size_t size);
    void (*release)(void *context, void *block);
} vit_allocator;

VIT_API vit_status vit_set_allocator(const vit_allocator *allocator);

/* The names of the model shapes that can be trained ("zeros_mini_patch8_64", ...), in order; NULL
 * past the end. */
VIT_API const char *vit_architecture_name(size_t index);

#ifdef __cplusplus
}
#endif
#endif
