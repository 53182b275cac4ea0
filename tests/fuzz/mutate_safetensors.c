#include "tests/fuzz/mutate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 1 << 16, STRINGS = 512, LONG = 24 };

/* A file taken apart: the header's JSON, and the data behind it. */
typedef struct parts {
    uint8_t header[MOST], data[MOST];
    size_t header_size, data_size;
} parts;

static bool take_apart(const uint8_t *bytes, size_t size, parts *p) {
    uint64_t length;
    if (size < 8 || size > MOST) {
        return false;
    }
    memcpy(&length, bytes, sizeof length);
    if (length > size - 8) {
        return false;
    }
    p->header_size = (size_t)length;
    p->data_size = size - 8 - p->header_size;
    memcpy(p->header, bytes + 8, p->header_size);
    memcpy(p->data, bytes + 8 + p->header_size, p->data_size);
    return true;
}

static size_t put_together(const parts *p, uint8_t *bytes, size_t max_size) {
    uint64_t length = p->header_size;
    if (8 + p->header_size + p->data_size > max_size) {
        return 0;
    }
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, p->header, p->header_size);
    memcpy(bytes + 8 + p->header_size, p->data, p->data_size);
    return 8 + p->header_size + p->data_size;
}

/* The text between the quotes. */
typedef struct span {
    size_t begin, end;
} span;

static size_t find_strings(const parts *p, span found[STRINGS], bool long_ones) {
    size_t count = 0;
    for (size_t i = 0; i < p->header_size && count < STRINGS; i++) {
        if (p->header[i] == '"') {
            size_t end = i + 1;
            while (end < p->header_size && p->header[end] != '"') {
                end += p->header[end] == '\\' ? 2 : 1;
            }
            if (end < p->header_size && (!long_ones || end - i > LONG)) {
                found[count++] = (span){i + 1, end};
            }
            i = end;
        }
    }
    return count;
}

static size_t unescape(const uint8_t *from, size_t size, uint8_t *to) {
    size_t made = 0;
    for (size_t i = 0; i < size; i++) {
        if (from[i] == '\\' && i + 1 < size) {
            i++;
            to[made++] = from[i] == 'n' ? '\n' : from[i] == 't' ? '\t' : from[i];
        } else {
            to[made++] = from[i];
        }
    }
    return made;
}

static size_t escape(const uint8_t *from, size_t size, uint8_t *to) {
    size_t made = 0;
    for (size_t i = 0; i < size; i++) {
        if (from[i] == '"' || from[i] == '\\' || from[i] == '\n' || from[i] == '\t') {
            to[made++] = '\\';
            to[made++] = from[i] == '\n' ? 'n' : from[i] == '\t' ? 't' : from[i];
        } else if (from[i] >= ' ') {
            to[made++] = from[i];
        }
    }
    return made;
}

/* One string, most often a document of its own (config, arguments, log), as what it stands for. */
static void change_string(parts *p, unsigned int *seed) {
    enum { ROOM = MOST / 4 };
    static uint8_t plain[ROOM], escaped[2 * ROOM];
    static span found[STRINGS];
    size_t count = find_strings(p, found, fuzz_random(seed) % 4 > 0);
    if (count == 0) {
        return;
    }
    span s = found[fuzz_random(seed) % count];
    if (s.end - s.begin > ROOM) {
        return;
    }
    size_t size = unescape(p->header + s.begin, s.end - s.begin, plain);
    size = escape(plain, LLVMFuzzerMutate(plain, size, ROOM), escaped);
    size_t made = p->header_size - (s.end - s.begin) + size;
    if (made <= MOST) {
        memmove(p->header + s.begin + size, p->header + s.end, p->header_size - s.end);
        memcpy(p->header + s.begin, escaped, size);
        p->header_size = made;
    }
}

/* As much data as the last offset says. */
static void fit_data(parts *p) {
    static const char key[] = "data_offsets\"";
    size_t wanted = 0;
    for (size_t i = 0; i + sizeof key < p->header_size; i++) {
        if (memcmp(p->header + i, key, sizeof key - 1) == 0) {
            size_t at = i + sizeof key - 1;
            while (at < p->header_size && p->header[at] != ',') {
                at++;
            }
            size_t end = 0;
            for (at++; at < p->header_size && end < MOST && p->header[at] != ']'; at++) {
                end = p->header[at] >= '0' && p->header[at] <= '9' ? end * 10 + p->header[at] - '0'
                                                                   : end;
            }
            wanted = end > wanted ? end : wanted;
        }
    }
    if (wanted <= MOST) {
        if (wanted > p->data_size) {
            memset(p->data + p->data_size, 0, wanted - p->data_size);
        }
        p->data_size = wanted;
    }
}

size_t fuzz_mutate_safetensors(uint8_t *data, size_t size, size_t max_size, unsigned int *seed) {
    static parts p;
    uint32_t what = fuzz_random(seed) % 8;
    size_t made = 0;
    if (what < 7 && take_apart(data, size, &p)) {
        if (what < 2) {
            p.header_size = LLVMFuzzerMutate(p.header, p.header_size, MOST / 2);
        } else if (what < 6) {
            change_string(&p, seed);
        } else {
            p.data_size = LLVMFuzzerMutate(p.data, p.data_size, MOST / 2);
        }
        if (what < 6 && fuzz_random(seed) % 2) {
            fit_data(&p);
        }
        made = put_together(&p, data, max_size);
    }
    return made > 0 ? made : LLVMFuzzerMutate(data, size, max_size);
}
