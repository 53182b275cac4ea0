/* Errors are values: a vit_status and a thread-local message. Internal side of zvit.h. */
#ifndef VIT_STATUS_H
#define VIT_STATUS_H

#include "vit/zvit.h"

#define VIT_MESSAGE_MAX 1024

/* Records a message for this thread and returns status, so that a failure is one statement:
 *   return vit_fail(VIT_ERROR_FORMAT, "%s: truncated header (%zu bytes, expected 8)", path, n);
 * Control characters that came in from outside are replaced by '?', so a message is always one
 * line. */
vit_status vit_fail(vit_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* clang's analyser sees one file at a time: that what comes back is the failure it has to be told.
 */
#ifdef __clang_analyzer__
#define vit_fail(status, ...) ((void)(vit_fail)(status, __VA_ARGS__), (status))
#endif

/* Puts "context: " before the current message; returns status unchanged. */
vit_status vit_fail_context(vit_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__
#define vit_fail_context(status, ...) ((void)(vit_fail_context)(status, __VA_ARGS__), (status))
#endif

/* Forwards a failure to the function's cleanup label. The function declares
 * `vit_status status = VIT_OK;` and ends with `cleanup: ...; return status;`. */
#define VIT_TRY(expression)                                                                        \
    do {                                                                                           \
        status = (expression);                                                                     \
        if (status != VIT_OK) {                                                                    \
            goto cleanup;                                                                          \
        }                                                                                          \
    } while (0)

/* Carries the failure of one of many parallel work items back to the thread that started them.
 * The item with the lowest index wins, so that the same input gives the same message on any number
 * of threads. Zero-initialise before use. */
typedef struct vit_first_error {
    vit_status status;
    long index;
    char message[VIT_MESSAGE_MAX];
} vit_first_error;

/* Called by a worker thread after a failure of item index; takes the worker's message. */
void vit_first_error_note(vit_first_error *first, long index, vit_status status);

/* Called after the parallel region: sets this thread's message and returns the status. */
vit_status vit_first_error_raise(const vit_first_error *first);

#endif
