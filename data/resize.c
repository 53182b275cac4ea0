/* The method is that of Pillow's src/libImaging/Resample.c: for every output pixel the weights of
 * the source pixels under a filter that is stretched when shrinking, normalised to sum 1, rounded
 * to 22 bits of fraction; first along rows, then along columns, with an 8-bit picture between.
 *
 * Both passes are one weighted sum of byte vectors ("taps" a fixed step apart), so both vectorise
 * without any sum across lanes: along columns a tap is a row; along rows, 16 rows are first laid
 * side by side, pixel by pixel, and a tap is one such column of 16 pixels. */
#include "data/resize.h"

#include "vit/simd.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define FRACTION_BITS 22 /* 32 less 8 for the pixel and 2 for sign and overshoot */
#define TILE_ROWS ((size_t)16)
#define TILE (TILE_ROWS * 3) /* bytes in a column of a tile */
#define TILE_PARTS (TILE / VIT_LANES)
#define STRIP 64 /* bytes of a row that the vertical pass sums at a time */

typedef int32_t lanes __attribute__((vector_size(VIT_LANES * sizeof(int32_t))));
typedef uint16_t lane_shorts __attribute__((vector_size(VIT_LANES * sizeof(uint16_t))));
typedef uint8_t lane_bytes __attribute__((vector_size(VIT_LANES)));

/* The weights along one axis. Output i is the sum over j < bounds[2i+1] of
 * weights[i * taps + j] * source[bounds[2i] + j]. */
typedef struct axis {
    size_t count; /* outputs */
    size_t taps;  /* most weights of one output */
    int32_t *weights;
    size_t *bounds;
} axis;

void vit_resize_scratch_free(vit_resize_scratch *scratch) {
    vit_bytes_free(&scratch->coefficients);
    vit_bytes_free(&scratch->bounds);
    vit_bytes_free(&scratch->rows);
}

/* ---- weights ---- */

static double bicubic(double x) { /* Keys 1981, a = -0.5 */
    x = fabs(x);
    if (x < 1.0) {
        return (1.5 * x - 2.5) * x * x + 1;
    }
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0.0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double filter_value(vit_interpolation interpolation, double x) {
    return interpolation == VIT_BILINEAR ? triangle(x) : bicubic(x);
}

static double filter_reach(vit_interpolation interpolation) {
    return interpolation == VIT_BILINEAR ? 1.0 : 2.0;
}

static double filter_scale(double begin, double end, size_t size) {
    double scale = (end - begin) / (double)size;
    return scale < 1.0 ? 1.0 : scale;
}

/* The most taps that an output can have. */
static size_t axis_taps(size_t source, double begin, double end, size_t size,
                        vit_interpolation interpolation) {
    double support = filter_reach(interpolation) * filter_scale(begin, end, size);
    double taps = ceil(support) * 2 + 1;
    return taps < (double)source ? (size_t)taps : source;
}

/* Truncates towards zero and clamps to 0..limit, as Pillow does with its casts to int. */
static size_t clamp_index(double x, size_t limit) {
    if (x < 1.0) {
        return 0;
    }
    return x < (double)limit ? (size_t)x : limit;
}

/* The outputs first .. first + count - 1 of `size` that the stretch begin..end of the source axis
 * is mapped to. */
static void axis_fill(axis *a, size_t source, double begin, double end, size_t size, size_t first,
                      vit_interpolation interpolation, double *row) {
    double scale = (end - begin) / (double)size;
    double stretch = filter_scale(begin, end, size);
    double support = filter_reach(interpolation) * stretch;
    double shrink = 1.0 / stretch;
    for (size_t i = 0; i < a->count; i++) {
        double center = begin + ((double)(first + i) + 0.5) * scale;
        size_t low = clamp_index(center - support + 0.5, source);
        size_t n = clamp_index(center + support + 0.5, source) - low;
        double sum = 0;
        for (size_t j = 0; j < n; j++) {
            row[j] = filter_value(interpolation, ((double)(j + low) - center + 0.5) * shrink);
            sum += row[j];
        }
        int32_t *weights = a->weights + i * a->taps;
        for (size_t j = 0; j < n; j++) {
            double w = sum != 0.0 ? row[j] / sum : row[j];
            weights[j] = (int32_t)(w * (1 << FRACTION_BITS) + (w < 0 ? -0.5 : 0.5));
        }
        a->bounds[2 * i] = low;
        a->bounds[2 * i + 1] = n;
    }
}

/* ---- the two passes ---- */

VIT_INLINE uint8_t clip8(int32_t sum) {
    int32_t v = sum >> FRACTION_BITS;
    v = v < 0 ? 0 : v;
    return (uint8_t)(v > 255 ? 255 : v);
}

/* out[i] = sum over taps j of weights[j] * source[j * step + i], rounded; n is a constant at each
 * call or small. */
VIT_INLINE void weigh(size_t n, size_t taps, const int32_t *weights, const uint8_t *source,
                      size_t step, uint8_t *out) {
    int32_t sums[STRIP];
    for (size_t i = 0; i < n; i++) {
        sums[i] = 1 << (FRACTION_BITS - 1);
    }
    for (size_t j = 0; j < taps; j++) {
        const uint8_t *tap = source + j * step;
        int32_t w = weights[j];
        for (size_t i = 0; i < n; i++) {
            sums[i] += w * tap[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = clip8(sums[i]);
    }
}

/* TILE_ROWS rows laid side by side: columns of TILE bytes (the results' one longer than they are
 * many, for move_pixel). */
typedef struct tile_buffers {
    int32_t *numbers; /* (columns, TILE) */
    uint8_t *source;  /* (columns, TILE) the same as bytes */
    uint8_t *result;  /* (outputs + 1, TILE) */
} tile_buffers;

/* Pixels are moved in fours of bytes, which takes one instruction and three bytes take two: the
 * byte too many is overwritten by the next pixel, and the last one is moved exactly. */
VIT_INLINE void move_pixel(uint8_t *to, const uint8_t *from, bool last) {
    memcpy(to, from, last ? 3 : 4);
}

/* Source columns first .. first + columns - 1 of `rows` <= TILE_ROWS rows, laid out (columns,
 * TILE_ROWS, 3). */
static void tile_in(const vit_view *source, size_t first, size_t columns, size_t y, size_t rows,
                    uint8_t *tile) {
    const uint8_t *from = source->pixels + y * source->stride + first * 3;
    for (size_t x = 0; x + 1 < columns; x++) {
        for (size_t r = 0; r < rows; r++) {
            move_pixel(tile + x * TILE + r * 3, from + r * source->stride + x * 3, false);
        }
    }
    for (size_t r = 0, x = columns - 1; r < rows; r++) {
        move_pixel(tile + x * TILE + r * 3, from + r * source->stride + x * 3, true);
    }
}

/* One tile through the horizontal pass into columns (a->count, TILE_ROWS, 3). In vectors that the
 * compiler splits where registers are smaller: left to itself it keeps the sums in memory. */
VIT_CLONES static void tile_weigh(const axis *a, size_t first, const int32_t *tile,
                                  uint8_t *columns) {
    for (size_t i = 0; i < a->count; i++) {
        const int32_t *tap = tile + (a->bounds[2 * i] - first) * TILE;
        const int32_t *weights = a->weights + i * a->taps;
        lanes sums[TILE_PARTS];
        for (size_t k = 0; k < TILE_PARTS; k++) {
            sums[k] = (lanes){0} + (1 << (FRACTION_BITS - 1));
        }
        for (size_t j = 0; j < a->bounds[2 * i + 1]; j++, tap += TILE) {
            for (size_t k = 0; k < TILE_PARTS; k++) {
                lanes pixels;
                memcpy(&pixels, tap + k * VIT_LANES, sizeof pixels);
                sums[k] += pixels * weights[j];
            }
        }
        for (size_t k = 0; k < TILE_PARTS; k++) {
            lanes v = sums[k] >> FRACTION_BITS;
            v &= ~(v < 0);
            v = (v & (v < 255)) | (255 & (v >= 255));
            lane_bytes pixels =
                __builtin_convertvector(__builtin_convertvector(v, lane_shorts), lane_bytes);
            memcpy(columns + i * TILE + k * VIT_LANES, &pixels, sizeof pixels);
        }
    }
}

/* Columns of bytes as columns of numbers: each is weighed several times and widened only once. */
VIT_CLONES static void tile_widen(size_t n, const uint8_t *bytes, int32_t *numbers) {
    for (size_t i = 0; i < n; i++) {
        numbers[i] = bytes[i];
    }
}

/* The columns as rows of out. */
static void tile_out(const uint8_t *columns, size_t count, size_t rows, uint8_t *out) {
    for (size_t r = 0; r < rows; r++) {
        uint8_t *row = out + r * count * 3;
        for (size_t i = 0; i + 1 < count; i++) {
            move_pixel(row + i * 3, columns + i * TILE + r * 3, false);
        }
        move_pixel(row + (count - 1) * 3, columns + (count - 1) * TILE + r * 3, true);
    }
}

/* Rows y0 .. y0 + rows - 1 of source, resized along x, into out (rows, a->count, 3). */
static void pass_rows(const vit_view *source, const axis *a, size_t first, size_t columns,
                      size_t y0, size_t rows, const tile_buffers *tile, uint8_t *out) {
    for (size_t y = 0; y < rows; y += TILE_ROWS) {
        size_t n = rows - y < TILE_ROWS ? rows - y : TILE_ROWS;
        tile_in(source, first, columns, y0 + y, n, tile->source);
        tile_widen(columns * TILE, tile->source, tile->numbers);
        tile_weigh(a, first, tile->numbers, tile->result);
        tile_out(tile->result, a->count, n, out + y * a->count * 3);
    }
}

/* Output row i of the vertical pass; source is the picture's row 0. */
VIT_CLONES static void row_weigh(const axis *a, size_t i, const uint8_t *source, size_t stride,
                                 size_t bytes, uint8_t *out) {
    const int32_t *weights = a->weights + i * a->taps;
    size_t taps = a->bounds[2 * i + 1];
    const uint8_t *from = source + a->bounds[2 * i] * stride;
    size_t x = 0;
    for (; x + STRIP <= bytes; x += STRIP) {
        weigh(STRIP, taps, weights, from + x, stride, out + x);
    }
    if (x < bytes) {
        weigh(bytes - x, taps, weights, from + x, stride, out + x);
    }
}

/* ---- putting it together ---- */

static size_t round_up(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* Memory for both axes' weights and bounds and the row of doubles, from the scratch. */
static vit_status axes_reserve(axis axes[2], vit_resize_scratch *scratch, double **row) {
    size_t bytes[2], total, most = axes[0].taps > axes[1].taps ? axes[0].taps : axes[1].taps;
    for (int i = 0; i < 2; i++) {
        if (__builtin_mul_overflow(axes[i].count, axes[i].taps, &bytes[i]) ||
            __builtin_mul_overflow(bytes[i], sizeof(int32_t), &bytes[i]) ||
            bytes[i] > SIZE_MAX / 8) {
            return vit_fail(VIT_ERROR_MEMORY, "resizing: %zu pixels of %zu weights do not fit",
                            axes[i].count, axes[i].taps);
        }
        bytes[i] = round_up(bytes[i]);
    }
    if (most > SIZE_MAX / 16 || axes[0].count > SIZE_MAX / 64 || axes[1].count > SIZE_MAX / 64) {
        return vit_fail(VIT_ERROR_MEMORY, "resizing: too large a picture");
    }
    vit_status status;
    total = bytes[0] + bytes[1] + most * sizeof(double);
    VIT_TRY(vit_bytes_reserve(&scratch->coefficients, total, "resizing weights"));
    VIT_TRY(vit_bytes_reserve(
        &scratch->bounds, (axes[0].count + axes[1].count) * 2 * sizeof(size_t), "resizing bounds"));
    axes[0].weights = (int32_t *)(void *)scratch->coefficients.data;
    axes[1].weights = (int32_t *)(void *)(scratch->coefficients.data + bytes[0]);
    *row = (double *)(void *)(scratch->coefficients.data + bytes[0] + bytes[1]);
    axes[0].bounds = (size_t *)(void *)scratch->bounds.data;
    axes[1].bounds = axes[0].bounds + axes[0].count * 2;
cleanup:
    return status;
}

static vit_status check_arguments(const vit_view *source, const vit_box *b, size_t width,
                                  size_t height, const vit_window *w) {
    if (source->width == 0 || source->height == 0 || width == 0 || height == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "resizing %zu x %zu pixels to %zu x %zu: a size is 0 (expected 1 or more)",
                        source->width, source->height, width, height);
    }
    if (!(b->x0 >= 0 && b->y0 >= 0 && b->x1 <= (double)source->width &&
          b->y1 <= (double)source->height && b->x0 < b->x1 && b->y0 < b->y1)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "resizing: the box (%g, %g) to (%g, %g) is empty or outside the picture "
                        "(%zu x %zu pixels)",
                        b->x0, b->y0, b->x1, b->y1, source->width, source->height);
    }
    if (w->width == 0 || w->height == 0 || w->x > width || w->y > height ||
        w->width > width - w->x || w->height > height - w->y) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "resizing: the window %zu x %zu at (%zu, %zu) is empty or outside the "
                        "result (%zu x %zu pixels)",
                        w->width, w->height, w->x, w->y, width, height);
    }
    return VIT_OK;
}

/* The source pixels that an axis reads: *first and how many. */
static size_t axis_span(const axis *a, size_t *first) {
    size_t end = 0;
    *first = a->bounds[0];
    for (size_t i = 0; i < a->count; i++) {
        size_t stop = a->bounds[2 * i] + a->bounds[2 * i + 1];
        end = stop > end ? stop : end;
    }
    return end - *first;
}

/* Resizes along x the rows that `vertical` reads (all of the window's rows when it is NULL) and
 * makes *view the result. The rows go to out itself when nothing follows, else to the scratch. */
static vit_status horizontal(vit_view *view, const axis *across, axis *vertical,
                             const vit_window *window, vit_resize_scratch *scratch,
                             vit_image *out) {
    size_t first, columns = axis_span(across, &first);
    size_t top = window->y, rows = window->height;
    if (vertical) {
        rows = axis_span(vertical, &top);
    }
    size_t tile_bytes, row_bytes = 0, total;
    if (__builtin_mul_overflow(columns, sizeof(int32_t) + 1, &tile_bytes) ||
        __builtin_add_overflow(tile_bytes, across->count + 1, &tile_bytes) ||
        __builtin_mul_overflow(tile_bytes, TILE, &tile_bytes) ||
        (vertical && __builtin_mul_overflow(rows, window->width * 3, &row_bytes)) ||
        __builtin_add_overflow(tile_bytes, row_bytes, &total)) {
        return vit_fail(VIT_ERROR_MEMORY, "resizing: %zu rows of %zu pixels do not fit", rows,
                        window->width);
    }
    vit_status status;
    VIT_TRY(vit_bytes_reserve(&scratch->rows, total, "resizing rows"));
    uint8_t *to = vertical ? scratch->rows.data + tile_bytes : out->pixels;
    uint8_t *source = scratch->rows.data + columns * TILE * sizeof(int32_t);
    const tile_buffers tile = {(int32_t *)(void *)scratch->rows.data, source,
                               source + columns * TILE};
    pass_rows(view, across, first, columns, top, rows, &tile, to);
    *view = (vit_view){to, window->width, rows, window->width * 3};
    for (size_t i = 0; vertical && i < vertical->count; i++) {
        vertical->bounds[2 * i] -= top;
    }
cleanup:
    return status;
}

vit_status vit_resize_view(const vit_view *source, const vit_box *box, size_t width, size_t height,
                           const vit_window *window, vit_interpolation interpolation,
                           vit_resize_scratch *scratch, vit_image *out) {
    vit_box b = box ? *box : (vit_box){0, 0, (double)source->width, (double)source->height};
    vit_window w = window ? *window : (vit_window){0, 0, width, height};
    vit_status status;
    VIT_TRY(check_arguments(source, &b, width, height, &w));
    VIT_TRY(vit_image_reserve(out, w.width, w.height, "resized picture"));

    axis axes[2] = {
        {.count = w.width, .taps = axis_taps(source->width, b.x0, b.x1, width, interpolation)},
        {.count = w.height, .taps = axis_taps(source->height, b.y0, b.y1, height, interpolation)}};
    double *row = NULL;
    VIT_TRY(axes_reserve(axes, scratch, &row));

    /* Pillow leaves out a pass that would change nothing but rounding. */
    bool resize_x = width != source->width || b.x0 != 0 || b.x1 != (double)source->width;
    bool resize_y = height != source->height || b.y0 != 0 || b.y1 != (double)source->height;
    vit_view view = *source;
    if (resize_y) {
        axis_fill(&axes[1], source->height, b.y0, b.y1, height, w.y, interpolation, row);
    }
    if (resize_x) {
        axis_fill(&axes[0], source->width, b.x0, b.x1, width, w.x, interpolation, row);
        VIT_TRY(horizontal(&view, &axes[0], resize_y ? &axes[1] : NULL, &w, scratch, out));
    } else {
        view.pixels += w.x * 3;
    }
    size_t row_bytes = w.width * 3;
    if (resize_y) {
        for (size_t i = 0; i < w.height; i++) {
            row_weigh(&axes[1], i, view.pixels, view.stride, row_bytes,
                      out->pixels + i * row_bytes);
        }
    } else if (!resize_x) {
        for (size_t i = 0; i < w.height; i++) {
            memcpy(out->pixels + i * row_bytes, view.pixels + (w.y + i) * view.stride, row_bytes);
        }
    }
cleanup:
    return status;
}

void vit_short_side_size(const vit_image *image, double side, size_t *height, size_t *width) {
    double h = (double)image->height, w = (double)image->width;
    *height = (size_t)(h <= w ? side : side * h / w);
    *width = (size_t)(w <= h ? side : side * w / h);
}

vit_status vit_resize(const vit_image *source, const vit_box *box, size_t width, size_t height,
                      vit_interpolation interpolation, vit_resize_scratch *scratch,
                      vit_image *out) {
    vit_view view = vit_view_all(source);
    return vit_resize_view(&view, box, width, height, NULL, interpolation, scratch, out);
}
