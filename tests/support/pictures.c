#include "pictures.h"

#include "support.h"

#include "data/folder.h"
#include "vit/rng.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- folders ---- */

char *temp_folder(void) {
    const char *base = getenv("TMPDIR");
    char name[512];
    snprintf(name, sizeof name, "%s/zvit-test-XXXXXX", base && *base ? base : P_tmpdir);
    ck_assert_msg(mkdtemp(name) != NULL, "%s: %s", name, strerror(errno));
    return strdup(name);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place) {
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

void temp_folder_remove(char *folder) {
    if (folder) {
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(folder);
    }
}

const char *temp_path(char buffer[1024], const char *folder, const char *format, ...) {
    va_list args;
    int length = snprintf(buffer, 1024, "%s/", folder);
    ck_assert_int_lt(length, 1024);
    va_start(args, format);
    length += vsnprintf(buffer + length, 1024 - (size_t)length, format, args);
    va_end(args);
    ck_assert_int_lt(length, 1024);
    return buffer;
}

void make_folders(const char *path) {
    char part[1024];
    snprintf(part, sizeof part, "%s", path);
    for (char *c = part + 1;; c++) {
        if (*c == '/' || !*c) {
            char end = *c;
            *c = 0;
            ck_assert_msg(mkdir(part, 0777) == 0 || errno == EEXIST, "%s: %s", part,
                          strerror(errno));
            *c = end;
            if (!end) {
                return;
            }
        }
    }
}

size_t count_entries(const char *folder) {
    DIR *dir = opendir(folder);
    ck_assert_msg(dir != NULL, "%s: %s", folder, strerror(errno));
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(dir);
    return count;
}

/* ---- PNG (W3C, Portable Network Graphics, second edition) ---- */

static uint32_t crc(uint32_t value, const uint8_t *data, size_t size) {
    value = ~value;
    for (size_t i = 0; i < size; i++) {
        value ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            value = value & 1 ? 0xEDB88320u ^ value >> 1 : value >> 1;
        }
    }
    return ~value;
}

static uint32_t adler(const uint8_t *data, size_t size) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < size; i++) {
        a = (a + data[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static uint8_t *put_u32(uint8_t *at, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        *at++ = (uint8_t)(value >> shift);
    }
    return at;
}

static void write_chunk(FILE *file, const char *type, const uint8_t *data, size_t size) {
    uint8_t word[4];
    put_u32(word, (uint32_t)size);
    fwrite(word, 1, 4, file);
    fwrite(type, 1, 4, file);
    fwrite(data, 1, size, file);
    put_u32(word, crc(crc(0, (const uint8_t *)type, 4), data, size));
    fwrite(word, 1, 4, file);
}

/* Rows with filter 0 in one zlib stream of stored blocks; malloc'ed. */
static uint8_t *store(size_t width, size_t height, const uint8_t *rgb, size_t *size) {
    enum { BLOCK = 65535 };
    size_t stride = 3 * width + 1, total = stride * height;
    uint8_t *raw = malloc(total), *out = malloc(total + total / BLOCK * 5 + 16), *at = out;
    ck_assert(raw && out);
    for (size_t y = 0; y < height; y++) {
        raw[y * stride] = 0;
        memcpy(raw + y * stride + 1, rgb + y * 3 * width, 3 * width);
    }
    *at++ = 0x78;
    *at++ = 0x01;
    for (size_t done = 0; done < total;) {
        size_t length = total - done < BLOCK ? total - done : BLOCK;
        *at++ = done + length == total;
        *at++ = (uint8_t)length;
        *at++ = (uint8_t)(length >> 8);
        *at++ = (uint8_t)~length;
        *at++ = (uint8_t)(~length >> 8);
        memcpy(at, raw + done, length);
        at += length;
        done += length;
    }
    at = put_u32(at, adler(raw, total));
    free(raw);
    *size = (size_t)(at - out);
    return out;
}

void write_png(const char *path, size_t width, size_t height, const uint8_t *rgb) {
    uint8_t header[13] = {0};
    put_u32(put_u32(header, (uint32_t)width), (uint32_t)height);
    header[8] = 8; /* bits */
    header[9] = 2; /* RGB */
    size_t size;
    uint8_t *data = store(width, height, rgb, &size);
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    fwrite("\x89PNG\r\n\x1a\n", 1, 8, file);
    write_chunk(file, "IHDR", header, sizeof header);
    write_chunk(file, "IDAT", data, size);
    write_chunk(file, "IEND", header, 0);
    ck_assert_msg(fclose(file) == 0, "%s: %s", path, strerror(errno));
    free(data);
}

/* ---- data sets ---- */

/* A hue of its own and stripes of its own, so that a small network can tell the classes apart. */
void draw_picture(int label, uint64_t seed, size_t width, size_t height, uint8_t *rgb) {
    vit_rng rng = vit_rng_make(seed, 0, (uint64_t)label, VIT_RNG_TEST);
    double phase = vit_rng_range(&rng, 0, 6.28);
    for (size_t y = 0; y < height; y++) {
        for (size_t x = 0; x < width; x++) {
            double along = label % 2 ? (double)x : (double)y;
            double wave = sin(along * (0.3 + 0.2 * label) + phase);
            for (int c = 0; c < 3; c++) {
                double value = 110 + 50 * cos(label * 2.1 + c * 2.1) + 40 * wave +
                               vit_rng_range(&rng, -40, 40);
                *rgb++ = (uint8_t)fmin(255, fmax(0, value));
            }
        }
    }
}

void make_pictures(const char *folder, const char *split, const char *const *classes,
                   size_t class_count, size_t per_class, size_t width, size_t height,
                   uint64_t seed) {
    char path[1024];
    uint8_t *rgb = malloc(3 * width * height);
    ck_assert_ptr_nonnull(rgb);
    for (size_t i = 0; i < class_count; i++) {
        make_folders(temp_path(path, folder, "%s/%s", split, classes[i]));
        for (size_t j = 0; j < per_class; j++) {
            draw_picture((int)i, seed + j, width, height, rgb);
            write_png(temp_path(path, folder, "%s/%s/%03zu.png", split, classes[i], j), width,
                      height, rgb);
        }
    }
    free(rgb);
}

char *digits_unpack(const char *wildcards) {
    char command[4096];
    char *digits = temp_folder();
    snprintf(command, sizeof command,
             "tar -xzf '%s/../tools/digits/digits.tar.gz' -C '%s' --wildcards %s", ZVIT_TEST_DIR,
             digits, wildcards);
    ck_assert_int_eq(system(command), 0);
    return digits;
}

const char *digit_path(char buffer[1024], const char *digits, size_t i) {
    return temp_path(buffer, digits, "val/%zu/%zu_%04zu.png", i % 10, i % 10, 4 + 5 * (i / 10));
}

bool has_split(const char *data, const char *split) {
    const vit_dataset_query query = {.data = data, .split = split};
    bool has;
    ck_vit_ok(vit_dataset_has(&query, &has));
    return has;
}
