/* JPEG, PNG and their EXIF: whole, in part, shrunk, and by the header alone. */
#include "tests/fuzz/fuzz.h"

#include "data/decode.h"

#include <string.h>

/* A window that the first bytes choose. */
typedef struct choice {
    const uint8_t *bytes;
    bool shrink;
    vit_window window;
} choice;

static vit_request choose(void *context, size_t width, size_t height) {
    choice *c = context;
    vit_window *w = &c->window;
    w->x = c->bytes[0] * width / 256;
    w->y = c->bytes[1] * height / 256;
    w->width = 1 + c->bytes[2] * (width - w->x - 1) / 255;
    w->height = 1 + c->bytes[3] * (height - w->y - 1) / 255;
    vit_request request = {.window = *w};
    if (c->shrink) {
        request.least_width = 1 + w->width / 3;
        request.least_height = 1 + w->height / 3;
    }
    return request;
}

static void expect_same_window(const vit_image *whole, const vit_window *window,
                               const vit_part *part) {
    vit_view view = vit_view_of(whole, window->x, window->y, window->width, window->height);
    size_t x = (size_t)part->box.x0, y = (size_t)part->box.y0;
    fuzz_expect(part->box.x1 - part->box.x0 == (double)window->width &&
                    part->box.y1 - part->box.y0 == (double)window->height,
                "a part that is not shrunk has the window's size");
    for (size_t row = 0; row < window->height; row++) {
        fuzz_expect(memcmp(part->view.pixels + (y + row) * part->view.stride + 3 * x,
                           view.pixels + row * view.stride, 3 * window->width) == 0,
                    "a part has the pixels of the whole picture");
    }
}

/* The part lies within its picture, at a size that the request allows. */
static void expect_allowed(const vit_image *image, const choice *c, const vit_part *part) {
    const vit_window *w = &c->window;
    double width = part->box.x1 - part->box.x0, height = part->box.y1 - part->box.y0;
    const vit_view *view = &part->view;
    fuzz_expect(part->box.x0 >= 0 && part->box.y0 >= 0 && part->box.x1 <= (double)view->width &&
                    part->box.y1 <= (double)view->height,
                "the box lies within the view");
    fuzz_expect(view->width > 0 && view->height > 0 && view->pixels >= image->pixels &&
                    view->pixels + (view->height - 1) * view->stride + 3 * view->width <=
                        image->pixels + 3 * image->width * image->height,
                "the view lies within the picture");
    bool allowed = false;
    for (int shrink = 1; shrink <= (c->shrink ? 8 : 1); shrink *= 2) {
        allowed = allowed ||
                  (width == (double)w->width / shrink && height == (double)w->height / shrink &&
                   (shrink == 1 || (w->width / (size_t)shrink >= 1 + w->width / 3 &&
                                    w->height / (size_t)shrink >= 1 + w->height / 3)));
    }
    fuzz_expect(allowed, "a part is not smaller than it may be");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t middle[4] = {40, 90, 120, 60};
    vit_decode_options options = vit_decode_defaults();
    options.max_pixels = 1 << 14;
    vit_image whole = {0}, partly = {0};
    uint64_t pixels = 0;
    vit_status status = vit_image_decode(data, size, "input", &options, &whole);
    fuzz_expect_message(status);
    vit_status sized = vit_image_pixels(data, size, "input", &options, &pixels);
    fuzz_expect(status != VIT_OK || (sized == VIT_OK && pixels == whole.width * whole.height),
                "the header says what is decoded");
    for (int shrink = 0; shrink < 2; shrink++) {
        choice c = {.bytes = size >= 64 ? data + size / 2 : middle, .shrink = shrink};
        vit_part part;
        vit_status parted =
            vit_image_decode_part(data, size, "input", &options, choose, &c, &partly, &part);
        fuzz_expect_message(parted);
        fuzz_expect(status != VIT_OK || parted == VIT_OK,
                    "what can be decoded whole can be decoded in part");
        if (parted == VIT_OK) {
            expect_allowed(&partly, &c, &part);
        }
        if (status == VIT_OK && !shrink) {
            expect_same_window(&whole, &c.window, &part);
        }
    }
    int orientation = vit_exif_orientation(data, size);
    fuzz_expect(orientation >= 1 && orientation <= 8, "an orientation is one of eight");
    vit_image_free(&whole);
    vit_image_free(&partly);
    return 0;
}
