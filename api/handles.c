#include "api/handles.h"

#include <omp.h>
#include <stdarg.h>
#include <stdio.h>

/* Padding at the end of such a struct is memory that a later version's member may come to lie in,
 * and that an earlier program did not set. */
#define CHECK_END(type, last)                                                                      \
    _Static_assert(offsetof(type, last) + sizeof((type *)0)->last == sizeof(type),                 \
                   #type " ends in padding")
CHECK_END(vit_allocator, release);
CHECK_END(vit_model_options, reserved);
CHECK_END(vit_classifier_options, max_pixels);
CHECK_END(vit_evaluation_options, should_stop);
CHECK_END(vit_training_options, should_stop);

vit_status vit_threads_begin(int threads, const char *options, int *before) {
    *before = omp_get_max_threads();
    if (threads < 0 || threads > 4096) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: %d threads (expected 0 to 4096)", options,
                        threads);
    }
    if (threads > 0) {
        omp_set_num_threads(threads);
    }
    return VIT_OK;
}

void vit_threads_end(int before) {
    omp_set_num_threads(before);
}

vit_status vit_reading_options(uint64_t max_pixels, const unsigned char *background,
                               vit_data_options *out) {
    const vit_option_group group = vit_data_group(out, vit_data_option_count);
    vit_status status = vit_options_defaults(&group);
    out->max_pixels = max_pixels > 0 ? max_pixels : out->max_pixels;
    for (size_t i = 0; background && i < 3; i++) {
        out->background[i] = background[i];
    }
    return status;
}

vit_status vit_check_given(const void *pointer, const char *function, const char *what) {
    return pointer ? VIT_OK : vit_fail(VIT_ERROR_ARGUMENT, "%s: %s is NULL", function, what);
}

void vit_say(vit_log_function log, void *context, vit_log_level level, const char *format, ...) {
    char message[2 * VIT_MESSAGE_MAX];
    va_list args;
    if (!log) {
        return;
    }
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log(context, level, message);
}
