#include "tools/sheet.h"

#include "tools/font.h"

#include <string.h>

enum { GAP = 6, SMALLEST = 96 }; /* pixels: between pictures; a picture's side after zooming */

static const uint8_t paper[3] = {245, 245, 245}, ink[3] = {30, 30, 30};

/* A place on the sheet with its share of the gaps. */
static size_t cell_width(const sheet *s) {
    return s->width * s->zoom + GAP;
}

static size_t cell_height(const sheet *s) {
    return s->height * s->zoom + FONT_HEIGHT * s->text + 2 + GAP;
}

vit_status sheet_init(sheet *s, size_t columns, size_t rows, size_t width, size_t height) {
    size_t side = width > height ? width : height, w, h;
    *s = (sheet){.columns = columns, .rows = rows, .width = width, .height = height};
    s->zoom = side < SMALLEST ? SMALLEST / side : 1;
    s->text = width * s->zoom >= 160 ? 2 : 1;
    if (__builtin_mul_overflow(cell_width(s), columns, &w) ||
        __builtin_mul_overflow(cell_height(s), rows, &h) || w > INT32_MAX || h > INT32_MAX) {
        return vit_fail(VIT_ERROR_LIMIT, "a sheet of %zu x %zu pictures of %zu x %zu is too large",
                        columns, rows, width, height);
    }
    vit_status status = vit_image_reserve(&s->image, w + GAP, h + GAP, "the sheet");
    for (size_t i = 0; status == VIT_OK && i < s->image.width * s->image.height; i++) {
        memcpy(s->image.pixels + 3 * i, paper, 3);
    }
    return status;
}

void sheet_free(sheet *s) {
    vit_image_free(&s->image);
}

void sheet_put(sheet *s, size_t column, size_t row, const vit_image *picture, const char *label) {
    size_t left = GAP + column * cell_width(s), top = GAP + row * cell_height(s);
    size_t x0 = left + (s->width - picture->width) / 2 * s->zoom;
    size_t y0 = top + (s->height - picture->height) / 2 * s->zoom;
    for (size_t y = 0; y < picture->height * s->zoom; y++) {
        const uint8_t *from = picture->pixels + y / s->zoom * picture->width * 3;
        uint8_t *to = s->image.pixels + ((y0 + y) * s->image.width + x0) * 3;
        for (size_t x = 0; x < picture->width * s->zoom; x++) {
            memcpy(to + 3 * x, from + x / s->zoom * 3, 3);
        }
    }
    font_draw(&s->image, left, top + s->height * s->zoom + 2, s->width * s->zoom, s->text, ink,
              label);
}
