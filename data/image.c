#include "data/image.h"

#include "data/decode.h"
#include "vit/arena.h"

#include <string.h>

vit_status vit_image_reserve(vit_image *image, size_t width, size_t height, const char *what) {
    size_t bytes;
    if (__builtin_mul_overflow(width, height, &bytes) ||
        __builtin_mul_overflow(bytes, (size_t)3, &bytes)) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: %zu x %zu pixels do not fit in memory", what, width,
                        height);
    }
    if (bytes > image->capacity) {
        void *pixels;
        vit_status status = vit_alloc(&pixels, bytes, 1, what);
        if (status != VIT_OK) {
            return status;
        }
        vit_free(image->pixels);
        image->pixels = pixels;
        image->capacity = bytes;
    }
    image->width = width;
    image->height = height;
    return VIT_OK;
}

void vit_image_free(vit_image *image) {
    vit_free(image->pixels);
    *image = (vit_image){0};
}

vit_decode_options vit_decode_defaults(void) {
    return (vit_decode_options){.max_pixels = VIT_DEFAULT_MAX_PIXELS,
                                .background = {255, 255, 255}};
}
