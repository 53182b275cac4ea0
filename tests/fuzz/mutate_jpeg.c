#include "tests/fuzz/mutate.h"

#include <string.h>

enum { MOST = 1 << 16, SEGMENTS = 64, SOS = 0xda };

/* Where segments with a length begin (at their ff), up to the first scan, whose own is the last. */
static size_t find_segments(const uint8_t *data, size_t size, size_t begins[SEGMENTS]) {
    size_t count = 0;
    for (size_t at = 2; count < SEGMENTS && at + 4 <= size && data[at] == 0xff;) {
        size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
        if (length < 2 || length > size - at - 2) {
            break;
        }
        begins[count++] = at;
        if (data[at + 1] == SOS) {
            break;
        }
        at += 2 + length;
    }
    return count;
}

/* Puts the payload in place of `old` bytes at `at`, with the marker and the length. */
static size_t put_segment(uint8_t *data, size_t size, size_t max_size, size_t at, size_t old,
                          uint8_t marker, const uint8_t *payload, size_t bytes) {
    size_t made = size - old + 4 + bytes;
    if (made > max_size || bytes > 0xfff0) {
        return 0;
    }
    memmove(data + at + 4 + bytes, data + at + old, size - at - old);
    data[at] = 0xff;
    data[at + 1] = marker;
    data[at + 2] = (uint8_t)((bytes + 2) >> 8);
    data[at + 3] = (uint8_t)(bytes + 2);
    memcpy(data + at + 4, payload, bytes);
    return made;
}

static size_t put_orientation(uint8_t *data, size_t size, size_t max_size, unsigned int *seed) {
    uint8_t exif[32] = "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01";
    exif[25] = (uint8_t)(fuzz_random(seed) % 9);
    return put_segment(data, size, max_size, 2, 0, 0xe1, exif, sizeof exif);
}

size_t fuzz_mutate_jpeg(uint8_t *data, size_t size, size_t max_size, unsigned int *seed) {
    static uint8_t payload[MOST];
    size_t begins[SEGMENTS], made = 0;
    if (size < 4 || data[0] != 0xff || data[1] != 0xd8) {
        return 0;
    }
    uint32_t what = fuzz_random(seed) % 8;
    if (what == 0) {
        made = put_orientation(data, size, max_size, seed);
    } else if (what < 4) {
        size_t count = find_segments(data, size, begins);
        if (count > 0) {
            size_t at = begins[fuzz_random(seed) % count];
            size_t bytes = ((size_t)data[at + 2] << 8 | data[at + 3]) - 2;
            memcpy(payload, data + at + 4, bytes);
            size_t changed = LLVMFuzzerMutate(payload, bytes, 1024);
            made = put_segment(data, size, max_size, at, 4 + bytes, data[at + 1], payload, changed);
        }
    }
    return made > 0 ? made : LLVMFuzzerMutate(data, size, max_size);
}
