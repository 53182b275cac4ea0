/* PNG through libpng, which reports errors by longjmp. No gamma handling: pixels as stored, as
 * Pillow reads them. */
#include "data/decode.h"

#include "vit/arena.h"

#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

#include <png.h>

typedef struct png_job {
    png_structp png;
    png_infop info, end;
    const uint8_t *bytes;
    size_t size, at;
    bool cut_short;
    uint8_t
        *stored; /* one row, or all rows of an interlaced picture, of RGBA or of palette indices */
    jmp_buf escape;
    const char *what;
    vit_status status;
} png_job;

static void on_error(png_structp png, png_const_charp reason) {
    png_job *job = png_get_error_ptr(png);
    if (job->cut_short) {
        job->status = vit_fail(VIT_ERROR_FORMAT, "%s: the PNG file is cut short (%zu bytes)",
                               job->what, job->size);
    } else if (strstr(reason, "emory")) {
        job->status =
            vit_fail(VIT_ERROR_MEMORY, "%s: no memory to decode the PNG (%s)", job->what, reason);
    } else {
        job->status = vit_fail(VIT_ERROR_FORMAT, "%s: damaged PNG: %s", job->what, reason);
    }
    longjmp(job->escape, 1);
}

/* What libpng warns of leaves all pixels in place. */
static void on_warning(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void read_bytes(png_structp png, png_bytep out, size_t count) {
    png_job *job = png_get_io_ptr(png);
    if (count > job->size - job->at) {
        job->cut_short = true;
        png_error(png, "cut short");
    }
    memcpy(out, job->bytes + job->at, count);
    job->at += count;
}

static void set_limits(png_job *job) {
    static const png_byte exif[] = "eXIf";
    /* A damaged chunk is an error even where libpng would only drop it. */
    png_set_crc_action(job->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(job->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* vit_check_pixels decides */
    /* No chunk is larger than the file, whatever it claims. */
    png_set_chunk_malloc_max(job->png, job->size);
    /* Texts, profiles and the like are skipped without being unpacked; of the chunks that are not
     * needed for the pixels only the orientation is read. It is kept as if libpng did not know it:
     * for those only does libpng mind the limit. */
    png_set_keep_unknown_chunks(job->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(job->png, PNG_HANDLE_CHUNK_ALWAYS, exif, 1);
}

/* Asks libpng for 8-bit RGB, RGBA or palette indices whatever is stored. The palette is looked up
 * here: libpng gives black for an index beyond it, without a word. */
static void set_transforms(png_structp png, png_infop info) {
    png_byte color = png_get_color_type(png, info);
    if (color == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(png); /* a byte for each index */
        return;
    }
    if (color == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) < 8) {
        png_set_expand_gray_1_2_4_to_8(png);
    }
    if (png_get_valid(png, info, PNG_INFO_tRNS)) {
        png_set_tRNS_to_alpha(png);
    }
    if (png_get_bit_depth(png, info) == 16) {
        png_set_strip_16(png); /* the high byte */
    }
    if (!(color & PNG_COLOR_MASK_COLOR)) {
        png_set_gray_to_rgb(png);
    }
}

/* color * alpha + background * (1 - alpha), rounded as Pillow's alpha_composite rounds: seven bits
 * more than a byte, divided by 255 with two shifts. */
static uint8_t blend(uint32_t color, uint32_t alpha, uint32_t background) {
    uint32_t t = ((color * alpha + background * (255 - alpha)) << 7) + (0x80u << 7);
    return (uint8_t)((((t >> 8) + t) >> 8) >> 7);
}

static void composite(const uint8_t *rgba, size_t width, const uint8_t background[3],
                      uint8_t *rgb) {
    for (size_t x = 0; x < width; x++) {
        for (size_t c = 0; c < 3; c++) {
            rgb[3 * x + c] = blend(rgba[4 * x + c], rgba[4 * x + 3], background[c]);
        }
    }
}

/* The colours of a palette over the background, and how many there are. */
typedef struct palette {
    uint8_t rgb[256][3];
    int count;
} palette;

static void read_palette(const png_job *job, const uint8_t background[3], palette *out) {
    png_colorp colors = NULL;
    png_bytep alpha = NULL;
    int alphas = 0;
    *out = (palette){.count = 0};
    png_get_PLTE(job->png, job->info, &colors, &out->count);
    png_get_tRNS(job->png, job->info, &alpha, &alphas, NULL);
    for (int i = 0; i < out->count && i < 256; i++) {
        const uint8_t rgba[4] = {colors[i].red, colors[i].green, colors[i].blue,
                                 alpha && i < alphas ? alpha[i] : 255};
        composite(rgba, 1, background, out->rgb[i]);
    }
}

static vit_status look_up(const png_job *job, const palette *colors, const uint8_t *indices,
                          size_t width, uint8_t *rgb) {
    for (size_t x = 0; x < width; x++) {
        if (indices[x] >= colors->count) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: damaged PNG: colour %d of a palette of %d (expected 0 to %d)",
                            job->what, indices[x], colors->count, colors->count - 1);
        }
        memcpy(rgb + 3 * x, colors->rgb[indices[x]], 3);
    }
    return VIT_OK;
}

/* Rows of 4 channels, or of 1, which are palette indices. */
static vit_status read_stored(png_job *job, const vit_decode_options *options, size_t channels,
                              int passes, vit_image *image) {
    size_t rows = passes > 1 ? image->height : 1, row_bytes = image->width * channels;
    palette colors = {.count = 0};
    void *block;
    vit_status status = vit_alloc(&block, rows, row_bytes, job->what);
    if (status != VIT_OK) {
        return status;
    }
    job->stored = block;
    if (channels == 1) {
        read_palette(job, options->background, &colors);
    }
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < image->height && status == VIT_OK; y++) {
            uint8_t *row = job->stored + (passes > 1 ? y * row_bytes : 0);
            uint8_t *rgb = image->pixels + y * image->width * 3;
            png_read_row(job->png, row, NULL);
            if (pass == passes - 1 && channels == 1) {
                status = look_up(job, &colors, row, image->width, rgb);
            } else if (pass == passes - 1) {
                composite(row, image->width, options->background, rgb);
            }
        }
    }
    return status;
}

static vit_status read_rows(png_job *job, const vit_decode_options *options, vit_image *image) {
    int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    size_t channels = png_get_channels(job->png, job->info);
    bool indexed = png_get_color_type(job->png, job->info) == PNG_COLOR_TYPE_PALETTE;
    if (png_get_bit_depth(job->png, job->info) != 8 ||
        (indexed ? channels != 1 : channels != 3 && channels != 4)) {
        return vit_fail(VIT_ERROR_UNSUPPORTED, "%s: a PNG of %zu channels of %d bits", job->what,
                        channels, png_get_bit_depth(job->png, job->info));
    }
    if (channels != 3) {
        return read_stored(job, options, channels, passes, image);
    }
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < image->height; y++) {
            png_read_row(job->png, image->pixels + y * image->width * 3, NULL);
        }
    }
    return VIT_OK;
}

static int find_orientation(png_structp png, png_infop before, png_infop after) {
    const png_infop parts[] = {before, after};
    for (int part = 0; part < 2; part++) {
        png_unknown_chunkp chunks;
        int count = png_get_unknown_chunks(png, parts[part], &chunks);
        if (count > 0) { /* the first: eXIf only is kept */
            return vit_exif_orientation(chunks[0].data, chunks[0].size);
        }
    }
    return 1;
}

/* Everything that may longjmp. What it changes lives in *job and *image, so nothing is clobbered.
 */
static vit_status decode_guarded(png_job *job, const vit_decode_options *options, vit_image *image,
                                 int *orientation) {
    if (setjmp(job->escape)) {
        return job->status;
    }
    set_limits(job);
    png_set_read_fn(job->png, job, read_bytes);
    png_read_info(job->png, job->info);
    png_uint_32 width = png_get_image_width(job->png, job->info);
    png_uint_32 height = png_get_image_height(job->png, job->info);
    job->status = vit_check_pixels(width, height, options, job->what);
    if (job->status == VIT_OK) {
        set_transforms(job->png, job->info);
        job->status = vit_image_reserve(image, width, height, job->what);
    }
    if (job->status == VIT_OK) {
        job->status = read_rows(job, options, image);
    }
    if (job->status != VIT_OK) {
        return job->status;
    }
    png_read_end(job->png, job->end);
    *orientation = find_orientation(job->png, job->info, job->end);
    return VIT_OK;
}

/* The first chunk must be IHDR. libpng takes chunks that it is to skip or to keep before it too,
 * and then width and height are not where vit_png_pixels finds them. */
static vit_status check_start(const uint8_t *bytes, size_t size, const char *what) {
    if (size >= 16 && memcmp(bytes + 12, "IHDR", 4) != 0) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: damaged PNG: its first chunk is not IHDR", what);
    }
    return VIT_OK;
}

vit_status vit_decode_png(const void *bytes, size_t size, const char *what,
                          const vit_decode_options *options, vit_image *image) {
    png_job job = {.bytes = bytes, .size = size, .what = what};
    vit_status status;
    int orientation = 1;
    VIT_TRY(check_start(bytes, size, what));
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    job.info = job.png ? png_create_info_struct(job.png) : NULL;
    job.end = job.info ? png_create_info_struct(job.png) : NULL;
    if (job.end) {
        status = decode_guarded(&job, options, image, &orientation);
    } else {
        status = vit_fail(VIT_ERROR_MEMORY, "%s: no memory to decode the PNG", what);
    }
    png_destroy_read_struct(&job.png, &job.info, &job.end);
    vit_free(job.stored);
    VIT_TRY(status);
    VIT_TRY(vit_image_orient(image, orientation, what));
cleanup:
    return status;
}

/* IHDR begins with width and height. */
vit_status vit_png_pixels(const void *bytes, size_t size, const char *what,
                          const vit_decode_options *options, uint64_t *pixels) {
    const uint8_t *header = bytes;
    if (size < 24) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: the file is cut short: %zu bytes", what, size);
    }
    vit_status status = check_start(header, size, what);
    if (status != VIT_OK) {
        return status;
    }
    uint64_t width = png_get_uint_32(header + 16), height = png_get_uint_32(header + 20);
    *pixels = width * height;
    return vit_check_pixels(width, height, options, what);
}
