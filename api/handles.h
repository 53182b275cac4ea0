/* What the files of the public interface share. */
#ifndef VIT_HANDLES_H
#define VIT_HANDLES_H

#include "data/data_options.h"
#include "vit/model_file.h"

#include <stdatomic.h>

/* What a vit_model of vit/zvit.h is: the public pointer shows the vit_model with which the bundle,
 * and so the handle, begins. */
typedef struct vit_model_handle {
    vit_model_bundle bundle;
    atomic_size_t users; /* whoever opened it, and what computes with it */
    char *config;
    vit_model_info info;
} vit_model_handle;

vit_model_handle *vit_model_handle_of(vit_model *model);
/* Counts one more user, who calls vit_model_close. */
void vit_model_keep(vit_model *model);

/* Sets how many threads this thread's regions use from now on (0: as it is) and returns how many
 * they used before, for vit_threads_end. VIT_ERROR_ARGUMENT names the struct that threads came in.
 */
vit_status vit_threads_begin(int threads, const char *options, int *before);
void vit_threads_end(int before);

/* How pictures are decoded, from the members of an options struct: 0 and NULL are the defaults. */
vit_status vit_reading_options(uint64_t max_pixels, const unsigned char *background,
                               vit_data_options *out);

/* VIT_ERROR_ARGUMENT "FUNCTION: WHAT is NULL" when the pointer is. */
vit_status vit_check_given(const void *pointer, const char *function, const char *what);

/* Begins a function that makes something: *out is NULL until it is made. */
#define VIT_BEGIN_OUT(out)                                                                         \
    do {                                                                                           \
        if (!(out)) {                                                                              \
            return vit_check_given(NULL, __func__, "out");                                         \
        }                                                                                          \
        *(out) = NULL;                                                                             \
    } while (0)

/* Hands a line to the function of an options struct; NULL: to nobody. */
void vit_say(vit_log_function log, void *context, vit_log_level level, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
