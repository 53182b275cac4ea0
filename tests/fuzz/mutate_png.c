#include "tests/fuzz/mutate.h"

#include <stdbool.h>
#include <string.h>

#include <zlib.h>

enum { START = 8, IHDR = 13, FRAME = 12, MOST = 1 << 16 };
static const uint8_t signature[START] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

/* The size of the chunk at p with its length, kind and checksum, or 0 when it is not whole. */
static size_t chunk_size(const uint8_t *p, size_t left) {
    if (left < FRAME || get32(p) > left - FRAME) {
        return 0;
    }
    return FRAME + get32(p);
}

static void set_checksums(uint8_t *data, size_t size) {
    size_t step;
    for (size_t at = START; (step = chunk_size(data + at, size - at)) > 0; at += step) {
        put32(data + at + step - 4, (uint32_t)crc32(0, data + at + 4, (uInt)(step - 8)));
    }
}

/* A picture taken apart. */
typedef struct parts {
    uint8_t header[IHDR];
    uint8_t before[MOST], after[MOST]; /* chunks before and behind the pixels */
    uint8_t packed[MOST], pixels[MOST];
    size_t before_size, after_size, packed_size, pixel_bytes;
} parts;

static bool take_apart(const uint8_t *data, size_t size, parts *p) {
    size_t at = START + FRAME + IHDR, step;
    if (size < at || size > MOST || get32(data + START) != IHDR) {
        return false;
    }
    memcpy(p->header, data + START + 8, IHDR);
    p->before_size = p->after_size = p->packed_size = 0;
    for (; (step = chunk_size(data + at, size - at)) > 0; at += step) {
        if (memcmp(data + at + 4, "IDAT", 4) == 0) {
            memcpy(p->packed + p->packed_size, data + at + 8, step - FRAME);
            p->packed_size += step - FRAME;
        } else if (p->packed_size == 0) {
            memcpy(p->before + p->before_size, data + at, step);
            p->before_size += step;
        } else {
            memcpy(p->after + p->after_size, data + at, step);
            p->after_size += step;
        }
    }
    z_stream z = {.next_in = p->packed,
                  .avail_in = (uInt)p->packed_size,
                  .next_out = p->pixels,
                  .avail_out = MOST};
    if (inflateInit(&z) != Z_OK) {
        return false;
    }
    inflate(&z, Z_FINISH); /* as far as it is whole */
    p->pixel_bytes = MOST - z.avail_out;
    inflateEnd(&z);
    return true;
}

/* Rows of one pass: their filters are set to known ones. Returns where the next pass begins. */
static size_t lay_rows(parts *p, size_t at, size_t width, size_t height, size_t bits) {
    size_t row = 1 + (width * bits + 7) / 8;
    for (size_t y = 0; width > 0 && y < height && at + row <= MOST; y++, at += row) {
        p->pixels[at] %= 5;
    }
    return at;
}

/* Makes the pixels as many as the header says. */
static void fit_pixels(parts *p) {
    static const size_t channels[8] = {1, 1, 3, 1, 2, 1, 4, 1};
    static const uint8_t passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                         {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    size_t width = get32(p->header), height = get32(p->header + 4);
    size_t bits = p->header[8] * channels[p->header[9] & 7], at = 0;
    memset(p->pixels + p->pixel_bytes, 0x35, MOST - p->pixel_bytes);
    if (width > MOST || height > MOST) {
        return;
    }
    if (p->header[12] == 0) {
        at = lay_rows(p, 0, width, height, bits);
    }
    for (int i = 0; p->header[12] != 0 && i < 7; i++) {
        const uint8_t *s = passes[i];
        at = lay_rows(p, at, (width + s[2] - 1 - s[0]) / s[2], (height + s[3] - 1 - s[1]) / s[3],
                      bits);
    }
    p->pixel_bytes = at;
}

static size_t put_together(parts *p, uint8_t *data, size_t max_size) {
    uLongf packed = MOST;
    if (compress2(p->packed, &packed, p->pixels, p->pixel_bytes, 1) != Z_OK ||
        START + FRAME + IHDR + p->before_size + FRAME + packed + p->after_size > max_size) {
        return 0;
    }
    uint8_t *to = data + START;
    put32(to, IHDR);
    memcpy(to + 4, "IHDR", 4);
    memcpy(to + 8, p->header, IHDR);
    to += FRAME + IHDR;
    memcpy(to, p->before, p->before_size);
    to += p->before_size;
    put32(to, (uint32_t)packed);
    memcpy(to + 4, "IDAT", 4);
    memcpy(to + 8, p->packed, packed);
    to += FRAME + packed;
    memcpy(to, p->after, p->after_size);
    return (size_t)(to - data) + p->after_size;
}

static void change_header(parts *p, unsigned int *seed) {
    static const uint8_t kinds[][2] = {{1, 0}, {2, 0},  {4, 0},  {8, 0}, {16, 0},
                                       {8, 2}, {16, 2}, {1, 3},  {2, 3}, {4, 3},
                                       {8, 3}, {8, 4},  {16, 4}, {8, 6}, {16, 6}};
    if (fuzz_random(seed) % 2) {
        memcpy(p->header + 8, kinds[fuzz_random(seed) % (sizeof kinds / sizeof *kinds)], 2);
        p->header[12] = fuzz_random(seed) % 2;
    } else {
        put32(p->header, 1 + fuzz_random(seed) % 40);
        put32(p->header + 4, 1 + fuzz_random(seed) % 40);
    }
}

size_t fuzz_mutate_png(uint8_t *data, size_t size, size_t max_size, unsigned int *seed) {
    static parts p;
    if (size < START || memcmp(data, signature, START) != 0) {
        return 0;
    }
    uint32_t what = fuzz_random(seed) % 8;
    size_t made = 0;
    if (what < 4 && take_apart(data, size, &p)) {
        if (what < 2) {
            change_header(&p, seed);
        } else if (what == 2) {
            p.pixel_bytes = LLVMFuzzerMutate(p.pixels, p.pixel_bytes, 2048);
        } else {
            p.before_size = LLVMFuzzerMutate(p.before, p.before_size, 2048);
        }
        fit_pixels(&p);
        made = put_together(&p, data, max_size);
    }
    if (made == 0) {
        made = LLVMFuzzerMutate(data, size, max_size);
    }
    if (what != 7 && made >= START) {
        set_checksums(data, made);
    }
    return made;
}
