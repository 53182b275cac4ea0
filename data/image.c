#include "data/image.h"

#include "data/decode.h"
#include "vit/arena.h"

#include <stdbool.h>
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

vit_view vit_view_all(const vit_image *image) {
    return vit_view_of(image, 0, 0, image->width, image->height);
}

vit_view vit_view_of(const vit_image *image, size_t x, size_t y, size_t width, size_t height) {
    return (vit_view){.pixels = image->pixels + (y * image->width + x) * 3,
                      .width = width,
                      .height = height,
                      .stride = image->width * 3};
}

vit_part vit_part_of(const vit_image *image, const vit_window *window) {
    return (vit_part){.view =
                          vit_view_of(image, window->x, window->y, window->width, window->height),
                      .box = {0, 0, (double)window->width, (double)window->height}};
}

vit_decode_options vit_decode_defaults(void) {
    return (vit_decode_options){.max_pixels = VIT_DEFAULT_MAX_PIXELS,
                                .background = {255, 255, 255}};
}

vit_status vit_check_pixels(uint64_t width, uint64_t height, const vit_decode_options *options,
                            const char *what) {
    uint64_t limit = options->max_pixels ? options->max_pixels : VIT_DEFAULT_MAX_PIXELS;
    if (height != 0 && width > limit / height) {
        return vit_fail(
            VIT_ERROR_LIMIT, "%s: %llu x %llu pixels (expected at most %llu pixels in all)", what,
            (unsigned long long)width, (unsigned long long)height, (unsigned long long)limit);
    }
    return VIT_OK;
}

/* First bytes of the formats that we decode or can name. */
typedef struct signature {
    size_t offset, size;
    const char *bytes;
    vit_image_format format;
    const char *name; /* for the message */
} signature;

static const signature signatures[] = {
    {0, 3, "\xff\xd8\xff", VIT_IMAGE_JPEG, "a JPEG picture"},
    {0, 8, "\x89PNG\r\n\x1a\n", VIT_IMAGE_PNG, "a PNG picture"},
    {0, 6, "GIF87a", VIT_IMAGE_UNKNOWN, "a GIF picture"},
    {0, 6, "GIF89a", VIT_IMAGE_UNKNOWN, "a GIF picture"},
    {8, 4, "WEBP", VIT_IMAGE_UNKNOWN, "a WebP picture"},
    {0, 2, "BM", VIT_IMAGE_UNKNOWN, "a BMP picture"},
    {0, 4, "II*\0", VIT_IMAGE_UNKNOWN, "a TIFF picture"},
    {0, 4, "MM\0*", VIT_IMAGE_UNKNOWN, "a TIFF picture"},
    {0, 4, "II+\0", VIT_IMAGE_UNKNOWN, "a TIFF picture"},
    {0, 4, "MM\0+", VIT_IMAGE_UNKNOWN, "a TIFF picture"},
    {4, 8, "ftypavif", VIT_IMAGE_UNKNOWN, "an AVIF picture"},
    {4, 8, "ftypavis", VIT_IMAGE_UNKNOWN, "an AVIF picture"},
    {4, 7, "ftyphei", VIT_IMAGE_UNKNOWN, "a HEIC picture"},
    {4, 7, "ftyphev", VIT_IMAGE_UNKNOWN, "a HEIC picture"},
    {4, 8, "ftypmif1", VIT_IMAGE_UNKNOWN, "a HEIF picture"},
    {4, 8, "ftypmsf1", VIT_IMAGE_UNKNOWN, "a HEIF picture"},
    {0, 12, "\0\0\0\x0cJXL \r\n\x87\n", VIT_IMAGE_UNKNOWN, "a JPEG XL picture"},
    {0, 2, "\xff\x0a", VIT_IMAGE_UNKNOWN, "a JPEG XL picture"},
    {0, 12, "\0\0\0\x0cjP  \r\n\x87\n", VIT_IMAGE_UNKNOWN, "a JPEG 2000 picture"},
    {0, 4, "\xff\x4f\xff\x51", VIT_IMAGE_UNKNOWN, "a JPEG 2000 picture"},
    {0, 4, "8BPS", VIT_IMAGE_UNKNOWN, "a Photoshop picture"},
    {0, 4, "%PDF", VIT_IMAGE_UNKNOWN, "a PDF document"},
};

static const signature *find_signature(const void *bytes, size_t size) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const signature *s = &signatures[i];
        if (size >= s->offset + s->size &&
            memcmp((const char *)bytes + s->offset, s->bytes, s->size) == 0) {
            return s;
        }
    }
    return NULL;
}

vit_image_format vit_image_sniff(const void *bytes, size_t size) {
    const signature *s = find_signature(bytes, size);
    return s ? s->format : VIT_IMAGE_UNKNOWN;
}

static bool looks_like_text(const unsigned char *bytes, size_t size) {
    static const char spaces[] = {'\t', '\n', '\r', '\f'};
    for (size_t i = 0; i < size && i < 64; i++) {
        if (bytes[i] == 0x7f || (bytes[i] < 0x20 && !memchr(spaces, bytes[i], sizeof spaces))) {
            return false;
        }
    }
    return true;
}

static vit_status fail_unknown(const unsigned char *bytes, size_t size, const char *what) {
    if (size == 0) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: the file is empty (expected a JPEG or PNG picture)",
                        what);
    }
    const signature *s = find_signature(bytes, size);
    if (s) {
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "%s: is %s, which zvit does not read; convert it to PNG or JPEG", what,
                        s->name);
    }
    for (int i = 0; i < 2; i++) { /* the two that we read */
        if (size < signatures[i].size && memcmp(bytes, signatures[i].bytes, size) == 0) {
            return vit_fail(VIT_ERROR_FORMAT, "%s: the file is cut short: %zu bytes", what, size);
        }
    }
    if (looks_like_text(bytes, size)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: is text (expected a JPEG or PNG picture)", what);
    }
    char start[4 * 3 + 1] = "";
    for (size_t i = 0; i < size && i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        start[3 * i] = ' ';
        start[3 * i + 1] = digits[bytes[i] >> 4];
        start[3 * i + 2] = digits[bytes[i] & 15];
    }
    return vit_fail(VIT_ERROR_FORMAT,
                    "%s: no known picture format: begins with%s (expected a JPEG, ff d8 ff, or a "
                    "PNG, 89 50 4e 47)",
                    what, start);
}

vit_status vit_image_decode(const void *bytes, size_t size, const char *what,
                            const vit_decode_options *options, vit_image *image) {
    return vit_image_decode_part(bytes, size, what, options, NULL, NULL, image, NULL);
}

vit_status vit_check_request(const vit_request *request, size_t width, size_t height,
                             const char *what) {
    const vit_window *w = &request->window;
    if (w->width == 0 || w->height == 0 || w->x > width || w->y > height ||
        w->width > width - w->x || w->height > height - w->y) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s: a part of %zu x %zu pixels at (%zu, %zu) is empty or outside the "
                        "picture (%zu x %zu pixels)",
                        what, w->width, w->height, w->x, w->y, width, height);
    }
    return VIT_OK;
}

vit_status vit_image_decode_part(const void *bytes, size_t size, const char *what,
                                 const vit_decode_options *options, vit_chooser choose,
                                 void *context, vit_image *image, vit_part *part) {
    vit_image_format format = vit_image_sniff(bytes, size);
    vit_status status;
    if (format == VIT_IMAGE_UNKNOWN) {
        return fail_unknown(bytes, size, what);
    }
    if (format == VIT_IMAGE_JPEG) {
        return vit_decode_jpeg(bytes, size, what, options, choose, context, image, part);
    }
    VIT_TRY(vit_decode_png(bytes, size, what, options, image));
    if (choose) {
        vit_request request = choose(context, image->width, image->height);
        VIT_TRY(vit_check_request(&request, image->width, image->height, what));
        *part = vit_part_of(image, &request.window);
    }
cleanup:
    return status;
}

vit_status vit_image_pixels(const void *bytes, size_t size, const char *what,
                            const vit_decode_options *options, uint64_t *pixels) {
    switch (vit_image_sniff(bytes, size)) {
    case VIT_IMAGE_JPEG:
        return vit_jpeg_pixels(bytes, size, what, options, pixels);
    case VIT_IMAGE_PNG:
        return vit_png_pixels(bytes, size, what, options, pixels);
    case VIT_IMAGE_UNKNOWN:
        break;
    }
    return fail_unknown(bytes, size, what);
}

bool vit_is_pictures_fault(vit_status status) {
    return status == VIT_ERROR_FORMAT || status == VIT_ERROR_UNSUPPORTED ||
           status == VIT_ERROR_LIMIT || status == VIT_ERROR_IO;
}

vit_status vit_image_load(const char *path, const vit_decode_options *options, vit_bytes *buffer,
                          vit_image *image) {
    vit_status status;
    VIT_TRY(vit_file_read(path, VIT_MAX_FILE_BYTES, buffer));
    VIT_TRY(vit_image_decode(buffer->data, buffer->size, path, options, image));
cleanup:
    return status;
}
