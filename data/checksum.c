#include "data/checksum.h"

#include "data/little_endian.h"

static const uint64_t P1 = 0x9e3779b185ebca87u, P2 = 0xc2b2ae3d27d4eb4fu, P3 = 0x165667b19e3779f9u,
                      P4 = 0x85ebca77c2b2ae63u, P5 = 0x27d4eb2f165667c5u;

static uint64_t rotate(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static uint64_t mix_in(uint64_t lane, uint64_t input) {
    return rotate(lane + input * P2, 31) * P1;
}

static uint64_t merge(uint64_t sum, uint64_t lane) {
    return (sum ^ mix_in(0, lane)) * P1 + P4;
}

/* The bytes that do not fill a block of 32, and the last scrambling. */
static uint64_t finish(uint64_t sum, const uint8_t *p, size_t left) {
    for (; left >= 8; p += 8, left -= 8) {
        sum = rotate(sum ^ mix_in(0, vit_get_number(p, 8)), 27) * P1 + P4;
    }
    if (left >= 4) {
        sum = rotate(sum ^ vit_get_number(p, 4) * P1, 23) * P2 + P3;
        p += 4;
        left -= 4;
    }
    for (; left > 0; p++, left--) {
        sum = rotate(sum ^ *p * P5, 11) * P1;
    }
    sum = (sum ^ sum >> 33) * P2;
    sum = (sum ^ sum >> 29) * P3;
    return sum ^ sum >> 32;
}

uint64_t vit_checksum(const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    size_t left = size;
    uint64_t sum = P5;
    if (size >= 32) {
        uint64_t lanes[4] = {P1 + P2, P2, 0, 0 - P1};
        for (; left >= 32; p += 32, left -= 32) {
            for (size_t i = 0; i < 4; i++) {
                lanes[i] = mix_in(lanes[i], vit_get_number(p + 8 * i, 8));
            }
        }
        sum =
            rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
        for (int i = 0; i < 4; i++) {
            sum = merge(sum, lanes[i]);
        }
    }
    return finish(sum + size, p, left);
}
