/* Every kind of PNG, made here with stored (uncompressed) zlib blocks: bit depths, palettes, tRNS,
 * alpha, Adam7, eXIf, damaged chunks. */
#include "data/decode.h"
#include "support/support.h"
#include "vit/arena.h"
#include "vit/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a small PNG writer ---- */

typedef struct bytes {
    uint8_t *data;
    size_t size, capacity;
} bytes;

static void put(bytes *b, const void *data, size_t size) {
    if (b->size + size > b->capacity) {
        b->capacity = 2 * (b->size + size);
        b->data = realloc(b->data, b->capacity);
        ck_assert_ptr_nonnull(b->data);
    }
    if (size) {
        memcpy(b->data + b->size, data, size);
    }
    b->size += size;
}

static void put_u32(bytes *b, uint32_t v) {
    uint8_t big[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    put(b, big, 4);
}

static uint32_t crc32_of(const uint8_t *data, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
        }
    }
    return ~crc;
}

static void put_chunk(bytes *b, const char type[5], const void *data, size_t size) {
    put_u32(b, (uint32_t)size);
    size_t from = b->size;
    put(b, type, 4);
    put(b, data, size);
    put_u32(b, crc32_of(b->data + from, size + 4));
}

/* zlib with stored blocks (RFC 1950, RFC 1951 3.2.4). */
static void put_idat(bytes *b, const bytes *raw) {
    bytes z = {0};
    put(&z, "\x78\x01", 2);
    uint32_t s1 = 1, s2 = 0;
    for (size_t i = 0; i < raw->size; i++) {
        s1 = (s1 + raw->data[i]) % 65521;
        s2 = (s2 + s1) % 65521;
    }
    for (size_t at = 0; at < raw->size;) {
        size_t n = raw->size - at < 60000 ? raw->size - at : 60000;
        uint8_t head[5] = {at + n == raw->size, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)~n,
                           (uint8_t)(~n >> 8)};
        put(&z, head, 5);
        put(&z, raw->data + at, n);
        at += n;
    }
    put_u32(&z, s2 << 16 | s1);
    put_chunk(b, "IDAT", z.data, z.size);
    free(z.data);
}

typedef struct spec {
    size_t width, height;
    int depth, color; /* as in IHDR */
    bool interlaced, transparent;
    int orientation;    /* 0: no eXIf */
    bool exif_at_end;   /* after the pixels */
    const char *spoilt; /* chunk whose CRC is wrong */
} spec;

typedef struct made {
    bytes file;
    uint16_t *samples; /* (height,width,channels) */
    size_t channels;
    uint8_t palette[256][3], alpha[256];
    uint16_t key[3]; /* the transparent colour */
} made;

static void made_free(made *m) {
    free(m->file.data);
    free(m->samples);
}

/* Columns x0, x0 + dx, ... of rows y0, y0 + dy, ...: filter byte 0 and the packed samples. */
static void put_pass(bytes *raw, const spec *s, const made *m, size_t x0, size_t y0, size_t dx,
                     size_t dy) {
    for (size_t y = y0; y < s->height && x0 < s->width; y += dy) {
        unsigned bits = 0, count = 0;
        put(raw, "", 1);
        for (size_t x = x0; x < s->width; x += dx) {
            for (size_t c = 0; c < m->channels; c++) {
                uint16_t v = m->samples[(y * s->width + x) * m->channels + c];
                if (s->depth == 16) {
                    put(raw, (uint8_t[]){(uint8_t)(v >> 8), (uint8_t)v}, 2);
                    continue;
                }
                bits = bits << s->depth | v;
                count += (unsigned)s->depth;
                if (count == 8) {
                    put(raw, (uint8_t[]){(uint8_t)bits}, 1);
                    bits = count = 0;
                }
            }
        }
        if (count) {
            put(raw, (uint8_t[]){(uint8_t)(bits << (8 - count))}, 1);
        }
    }
}

static void put_pixels(bytes *file, const spec *s, const made *m) {
    static const size_t adam7[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                       {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    bytes raw = {0};
    if (s->interlaced) {
        for (int p = 0; p < 7; p++) {
            put_pass(&raw, s, m, adam7[p][0], adam7[p][1], adam7[p][2], adam7[p][3]);
        }
    } else {
        put_pass(&raw, s, m, 0, 0, 1, 1);
    }
    put_idat(file, &raw);
    free(raw.data);
}

static void put_trns(made *m, const spec *s) {
    if (s->color == 3) {
        put_chunk(&m->file, "tRNS", m->alpha, (size_t)1 << s->depth);
        return;
    }
    uint8_t key[6];
    size_t n = s->color == 0 ? 1 : 3;
    for (size_t c = 0; c < n; c++) { /* the first pixel's colour */
        m->key[c] = m->samples[c];
        key[2 * c] = (uint8_t)(m->key[c] >> 8);
        key[2 * c + 1] = (uint8_t)m->key[c];
    }
    put_chunk(&m->file, "tRNS", key, n * 2);
}

static void put_exif(made *m, const spec *s, bool at_end) {
    if (s->orientation && s->exif_at_end == at_end) {
        uint8_t exif[] = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0";
        exif[19] = (uint8_t)s->orientation;
        put_chunk(&m->file, "eXIf", exif, sizeof exif - 1);
    }
}

static void spoil(bytes *file, const char *type) {
    for (size_t at = 8; at + 12 <= file->size;) {
        uint8_t *chunk = file->data + at;
        size_t size = (size_t)chunk[2] << 8 | chunk[3];
        if (memcmp(chunk + 4, type, 4) == 0) {
            chunk[8 + size] ^= 1;
            return;
        }
        at += size + 12;
    }
    ck_abort_msg("no chunk %s", type);
}

static void make(const spec *s, uint64_t seed, made *m) {
    static const size_t channels[] = {1, 0, 3, 1, 2, 0, 4};
    *m = (made){.channels = channels[s->color]};
    vit_rng rng = vit_rng_make(seed, 0, 0, VIT_RNG_TEST);
    size_t n = s->width * s->height * m->channels;
    m->samples = calloc(n, sizeof *m->samples);
    ck_assert_ptr_nonnull(m->samples);
    for (size_t i = 0; i < n; i++) {
        m->samples[i] = (uint16_t)(vit_rng_u32(&rng) & ((1u << s->depth) - 1));
    }
    for (size_t i = 0; i < 256; i++) {
        m->alpha[i] = (uint8_t)vit_rng_u32(&rng);
        for (size_t c = 0; c < 3; c++) {
            m->palette[i][c] = (uint8_t)vit_rng_u32(&rng);
        }
    }
    put(&m->file, "\x89PNG\r\n\x1a\n", 8);
    bytes header = {0};
    put_u32(&header, (uint32_t)s->width);
    put_u32(&header, (uint32_t)s->height);
    put(&header, (uint8_t[]){(uint8_t)s->depth, (uint8_t)s->color, 0, 0, s->interlaced}, 5);
    put_chunk(&m->file, "IHDR", header.data, header.size);
    free(header.data);
    put_chunk(&m->file, "gAMA", "\0\x01\x86\xa0", 4); /* gamma 1.0: not to be applied */
    put_chunk(&m->file, "tEXt", "Comment\0hello", 13);
    if (s->color == 3) {
        put_chunk(&m->file, "PLTE", m->palette, ((size_t)1 << s->depth) * 3);
    }
    if (s->transparent) {
        put_trns(m, s);
    }
    put_exif(m, s, false);
    put_pixels(&m->file, s, m);
    put_exif(m, s, true);
    put_chunk(&m->file, "IEND", "", 0);
    if (s->spoilt) {
        spoil(&m->file, s->spoilt);
    }
}

/* ---- what a PNG means ---- */

/* The pixel as red, green, blue, alpha in 0..255. */
static void meaning(const spec *s, const made *m, const uint16_t *v, int rgba[4]) {
    rgba[3] = 255;
    if (s->color == 3) {
        for (int c = 0; c < 3; c++) {
            rgba[c] = m->palette[v[0]][c];
        }
        rgba[3] = s->transparent ? m->alpha[v[0]] : 255;
        return;
    }
    bool grey = m->channels < 3, key = s->transparent;
    for (int c = 0; c < 3; c++) {
        int sample = v[grey ? 0 : c];
        rgba[c] = s->depth == 16 ? sample >> 8 : sample * 255 / ((1 << s->depth) - 1);
        key = key && sample == m->key[grey ? 0 : c];
    }
    if (m->channels % 2 == 0) {
        int a = v[m->channels - 1];
        rgba[3] = s->depth == 16 ? a >> 8 : a;
    }
    if (key) {
        rgba[3] = 0;
    }
}

static void check_made(const spec *s, const made *m, const vit_decode_options *options,
                       const vit_image *image) {
    ck_assert_uint_eq(image->width, s->width);
    ck_assert_uint_eq(image->height, s->height);
    for (size_t i = 0; i < s->width * s->height; i++) {
        int rgba[4];
        meaning(s, m, m->samples + i * m->channels, rgba);
        for (int c = 0; c < 3; c++) {
            double share = rgba[3] / 255.0;
            long expected = lround(rgba[c] * share + options->background[c] * (1 - share));
            if (image->pixels[3 * i + (size_t)c] == expected) {
                continue; /* an assertion that passes costs a write to a file */
            }
            ck_abort_msg("colour %d, depth %d, interlaced %d, tRNS %d, %zu x %zu: pixel %zu "
                         "channel %d is %d, expected %ld",
                         s->color, s->depth, s->interlaced, s->transparent, s->width, s->height, i,
                         c, image->pixels[3 * i + (size_t)c], expected);
        }
    }
}

static const int kinds[][2] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                               {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};

START_TEST(every_kind) {
    static const size_t sizes[][2] = {{1, 1}, {5, 3}, {3, 9}, {33, 17}};
    for (int k = 0; k < 16; k++) {
        spec s = {.color = kinds[_i][0],
                  .depth = kinds[_i][1],
                  .interlaced = k & 1,
                  .transparent = k & 2,
                  .width = sizes[k / 4][0],
                  .height = sizes[k / 4][1]};
        if (s.transparent && s.color >= 4) {
            continue; /* not allowed beside an alpha channel */
        }
        vit_decode_options options = vit_decode_defaults();
        if (k >= 8) {
            memcpy(options.background, (uint8_t[]){0, 255, 77}, 3);
        }
        made m;
        vit_image image = {0};
        make(&s, (uint64_t)(100 * _i + k), &m);
        ck_vit_ok(vit_image_decode(m.file.data, m.file.size, "x.png", &options, &image));
        check_made(&s, &m, &options, &image);
        made_free(&m);
        vit_image_free(&image);
    }
}
END_TEST

/* All alphas over all backgrounds, for all colours: 256 x 256 pixels of grey and alpha. */
START_TEST(blending_rounds_to_nearest) {
    spec s = {.color = 4, .depth = 8, .width = 256, .height = 256};
    made m;
    make(&s, 1, &m);
    for (size_t i = 0; i < 65536; i++) {
        m.samples[2 * i] = (uint16_t)(i & 255);
        m.samples[2 * i + 1] = (uint16_t)(i >> 8);
    }
    free(m.file.data);
    m.file = (bytes){0};
    put(&m.file, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&m.file, "IHDR", "\0\0\1\0\0\0\1\0\x8\x4\0\0\0", 13);
    put_pixels(&m.file, &s, &m);
    put_chunk(&m.file, "IEND", "", 0);
    vit_image image = {0};
    for (int background = 0; background < 256; background += 15) {
        vit_decode_options options = vit_decode_defaults();
        memset(options.background, background, 3);
        ck_vit_ok(vit_image_decode(m.file.data, m.file.size, "x.png", &options, &image));
        check_made(&s, &m, &options, &image);
    }
    vit_image_free(&image);
    made_free(&m);
}
END_TEST

START_TEST(exif_turns) {
    for (int o = 1; o <= 8; o++) {
        for (int end = 0; end < 2; end++) {
            spec s = {.color = 2, .depth = 8, .width = 7, .height = 4, .orientation = o};
            s.exif_at_end = end;
            made m;
            vit_image image = {0};
            vit_decode_options options = vit_decode_defaults();
            make(&s, 5, &m);
            ck_vit_ok(vit_image_decode(m.file.data, m.file.size, "x.png", &options, &image));
            ck_assert_uint_eq(image.width, o >= 5 ? 4 : 7);
            static const int inverse[9] = {0, 1, 2, 3, 4, 5, 8, 7, 6};
            ck_vit_ok(vit_image_orient(&image, inverse[o], "x.png"));
            check_made(&s, &m, &options, &image);
            vit_image_free(&image);
            made_free(&m);
        }
    }
}
END_TEST

static void check_refused(const made *m, vit_status expected, const char *words) {
    vit_image image = {0};
    vit_decode_options options = vit_decode_defaults();
    ck_assert_int_eq(vit_image_decode(m->file.data, m->file.size, "x.png", &options, &image),
                     expected);
    ck_assert_msg(strncmp(vit_last_error(), "x.png: ", 7) == 0 && strstr(vit_last_error(), words),
                  "%s", vit_last_error());
    vit_image_free(&image);
}

START_TEST(wrong_checksums_are_refused) {
    static const char *const types[] = {"IHDR", "gAMA", "tEXt", "PLTE",
                                        "tRNS", "eXIf", "IDAT", "IEND"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        spec s = {.color = 3, .depth = 4, .width = 5, .height = 5, .transparent = true};
        s.orientation = 1;
        s.spoilt = types[i];
        made m;
        make(&s, i, &m);
        check_refused(&m, VIT_ERROR_FORMAT, "CRC error");
        made_free(&m);
    }
}
END_TEST

START_TEST(huge_sizes_are_refused) {
    static const char *const headers[] = {"\x7f\xff\xff\xff\x7f\xff\xff\xff\x8\x6\0\0\1",
                                          "\0\0\xff\xff\0\0\xff\xff\x8\x2\0\0\0"};
    for (int i = 0; i < 2; i++) {
        made m = {0};
        put(&m.file, "\x89PNG\r\n\x1a\n", 8);
        put_chunk(&m.file, "IHDR", headers[i], 13);
        put_chunk(&m.file, "IDAT", "\x78\x01", 2);
        put_chunk(&m.file, "IEND", "", 0);
        check_refused(&m, VIT_ERROR_LIMIT, "pixels (expected at most");
        made_free(&m);
    }
}
END_TEST

/* libpng would skip the text, and the header was looked for where it stands. */
START_TEST(a_chunk_before_the_header_is_refused) {
    static const char *const types[] = {"tEXt", "eXIf", "PLTE"};
    for (int i = 0; i < 3; i++) {
        made m = {0};
        bytes raw = {0};
        vit_decode_options options = vit_decode_defaults();
        uint64_t pixels;
        put(&raw, "\0\1\2\3", 4);
        put(&m.file, "\x89PNG\r\n\x1a\n", 8);
        put_chunk(&m.file, types[i], "abcdefghijkl", 12);
        put_chunk(&m.file, "IHDR", "\0\0\0\3\0\0\0\1\x8\0\0\0\0", 13);
        put_idat(&m.file, &raw);
        put_chunk(&m.file, "IEND", "", 0);
        check_refused(&m, VIT_ERROR_FORMAT, "damaged PNG: its first chunk is not IHDR");
        ck_assert_int_eq(vit_image_pixels(m.file.data, m.file.size, "x.png", &options, &pixels),
                         VIT_ERROR_FORMAT);
        free(raw.data);
        made_free(&m);
    }
}
END_TEST

START_TEST(missing_pixels_are_refused) {
    made m = {0};
    bytes raw = {0};
    put(&raw, "\0\1\2\3", 4); /* one row of the four */
    put(&m.file, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(&m.file, "IHDR", "\0\0\0\3\0\0\0\4\x8\0\0\0\0", 13);
    put_idat(&m.file, &raw);
    put_chunk(&m.file, "IEND", "", 0);
    check_refused(&m, VIT_ERROR_FORMAT, "damaged PNG");
    free(raw.data);
    made_free(&m);
}
END_TEST

/* Indices 0 to 2 of a palette of two colours. */
START_TEST(indices_beyond_the_palette_are_refused) {
    for (uint8_t last = 1; last <= 2; last++) {
        made m = {0};
        bytes raw = {0};
        put(&raw, (uint8_t[]){0, 0, 1, last}, 4);
        put(&m.file, "\x89PNG\r\n\x1a\n", 8);
        put_chunk(&m.file, "IHDR", "\0\0\0\3\0\0\0\1\x8\3\0\0\0", 13);
        put_chunk(&m.file, "PLTE", "\1\2\3\4\5\6", 6);
        put_idat(&m.file, &raw);
        put_chunk(&m.file, "IEND", "", 0);
        if (last == 2) {
            check_refused(&m, VIT_ERROR_FORMAT, "colour 2 of a palette of 2 (expected 0 to 1)");
        } else {
            vit_decode_options options = vit_decode_defaults();
            vit_image image = {0};
            ck_vit_ok(vit_image_decode(m.file.data, m.file.size, "x.png", &options, &image));
            ck_assert_mem_eq(image.pixels, "\1\2\3\4\5\6\4\5\6", 9);
            vit_image_free(&image);
        }
        free(raw.data);
        made_free(&m);
    }
}
END_TEST

START_TEST(cut_interlaced_files) {
    spec s = {.color = 6, .depth = 8, .width = 9, .height = 6, .interlaced = true};
    s.orientation = 6;
    s.exif_at_end = true;
    made m;
    make(&s, 3, &m);
    for (size_t n = 0; n < m.file.size; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, m.file.data, n);
        made part = {.file = {.data = copy, .size = n}};
        check_refused(&part, VIT_ERROR_FORMAT, n ? "cut short" : "empty");
        free(copy);
    }
    made_free(&m);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("png");
    TCase *c = tcase_create("png");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, every_kind, 0, (int)(sizeof kinds / sizeof *kinds));
    tcase_add_test(c, blending_rounds_to_nearest);
    tcase_add_test(c, exif_turns);
    tcase_add_test(c, wrong_checksums_are_refused);
    tcase_add_test(c, huge_sizes_are_refused);
    tcase_add_test(c, a_chunk_before_the_header_is_refused);
    tcase_add_test(c, missing_pixels_are_refused);
    tcase_add_test(c, indices_beyond_the_palette_are_refused);
    tcase_add_test(c, cut_interlaced_files);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
