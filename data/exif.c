/* The one EXIF tag that changes pixels. Structure: TIFF 6.0 sections 2 and "Orientation"; EXIF 2.3
 * section 4.6.4. Every offset is checked: the block comes from outside. */
#include "data/decode.h"

#include "vit/arena.h"

#include <stdbool.h>
#include <string.h>

typedef struct tiff {
    const uint8_t *bytes;
    size_t size;
    bool big_endian;
} tiff;

/* The unsigned number of `width` bytes at offset, which the caller has checked. */
static uint32_t tiff_number(const tiff *t, size_t offset, size_t width) {
    uint32_t value = 0;
    for (size_t i = 0; i < width; i++) {
        size_t at = t->big_endian ? i : width - 1 - i;
        value = value << 8 | t->bytes[offset + at];
    }
    return value;
}

enum { TAG_ORIENTATION = 0x0112, TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4 };

static int tiff_orientation(const tiff *t) {
    if (tiff_number(t, 2, 2) != 42) {
        return 1;
    }
    size_t directory = tiff_number(t, 4, 4);
    if (directory > t->size || t->size - directory < 2) {
        return 1;
    }
    size_t count = tiff_number(t, directory, 2);
    for (size_t i = 0; i < count; i++) {
        size_t entry = directory + 2 + i * 12;
        if (entry > t->size || t->size - entry < 12) {
            return 1;
        }
        if (tiff_number(t, entry, 2) != TAG_ORIENTATION) {
            continue;
        }
        uint32_t type = tiff_number(t, entry + 2, 2);
        if (type != TYPE_BYTE && type != TYPE_SHORT && type != TYPE_LONG) {
            return 1;
        }
        size_t width = type == TYPE_BYTE ? 1 : type == TYPE_SHORT ? 2 : 4;
        uint32_t value = tiff_number(t, entry + 8, width); /* left-justified in its four bytes */
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

int vit_exif_orientation(const uint8_t *payload, size_t size) {
    if (size >= 6 && memcmp(payload, "Exif\0\0", 6) == 0) {
        payload += 6;
        size -= 6;
    }
    if (size < 8) {
        return 1;
    }
    tiff t = {payload, size, memcmp(payload, "MM", 2) == 0};
    return t.big_endian || memcmp(payload, "II", 2) == 0 ? tiff_orientation(&t) : 1;
}

static void swap_pixels(uint8_t *a, uint8_t *b) {
    for (int c = 0; c < 3; c++) {
        uint8_t t = a[c];
        a[c] = b[c];
        b[c] = t;
    }
}

static void mirror(vit_image *image) {
    for (size_t y = 0; y < image->height; y++) {
        uint8_t *row = image->pixels + y * image->width * 3;
        for (size_t x = 0; x < image->width / 2; x++) {
            swap_pixels(row + x * 3, row + (image->width - 1 - x) * 3);
        }
    }
}

static void upside_down(vit_image *image) {
    for (size_t y = 0; y < image->height / 2; y++) {
        uint8_t *a = image->pixels + y * image->width * 3;
        uint8_t *b = image->pixels + (image->height - 1 - y) * image->width * 3;
        for (size_t x = 0; x < image->width; x++) {
            swap_pixels(a + x * 3, b + x * 3);
        }
    }
}

/* out (width,height) from image (height,width): in squares, so that both sides stay in cache. */
static void transpose(const vit_image *image, uint8_t *out) {
    enum { SQUARE = 32 };
    size_t W = image->width, H = image->height;
    for (size_t y0 = 0; y0 < H; y0 += SQUARE) {
        size_t y1 = H - y0 < SQUARE ? H : y0 + SQUARE;
        for (size_t x0 = 0; x0 < W; x0 += SQUARE) {
            size_t x1 = W - x0 < SQUARE ? W : x0 + SQUARE;
            for (size_t x = x0; x < x1; x++) {
                for (size_t y = y0; y < y1; y++) {
                    memcpy(out + (x * H + y) * 3, image->pixels + (y * W + x) * 3, 3);
                }
            }
        }
    }
}

/* What is left to do after the transposition of 5 to 8: mirrored (2, 6), both (3, 7), upside down
 * (4, 8). */
static bool is_mirrored(int orientation) {
    return orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
}

static bool is_upside_down(int orientation) {
    return orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
}

int vit_orientation_inverse(int orientation) {
    return orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
}

vit_box vit_box_orient(vit_box box, size_t width, size_t height, int orientation) {
    double w = (double)width, h = (double)height;
    if (orientation >= 5 && orientation <= 8) {
        box = (vit_box){box.y0, box.x0, box.y1, box.x1};
        w = (double)height;
        h = (double)width;
    }
    if (is_mirrored(orientation)) {
        box = (vit_box){w - box.x1, box.y0, w - box.x0, box.y1};
    }
    if (is_upside_down(orientation)) {
        box = (vit_box){box.x0, h - box.y1, box.x1, h - box.y0};
    }
    return box;
}

vit_status vit_image_orient(vit_image *image, int orientation, const char *what) {
    if (orientation < 2 || orientation > 8) {
        return VIT_OK;
    }
    if (orientation >= 5) {
        vit_image turned = {0};
        vit_status status = vit_image_reserve(&turned, image->height, image->width, what);
        if (status != VIT_OK) {
            return status;
        }
        transpose(image, turned.pixels);
        vit_image_free(image);
        *image = turned;
    }
    if (is_mirrored(orientation)) {
        mirror(image);
    }
    if (is_upside_down(orientation)) {
        upside_down(image);
    }
    return VIT_OK;
}
