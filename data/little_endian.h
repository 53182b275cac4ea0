/* Numbers of 1 to 8 bytes in files, the lowest byte first on any machine. Private to data/. */
#ifndef VIT_LITTLE_ENDIAN_H
#define VIT_LITTLE_ENDIAN_H

#include "vit/simd.h"

#include <stddef.h>
#include <stdint.h>

VIT_INLINE uint64_t vit_get_number(const uint8_t *from, size_t width) {
    uint64_t x = 0;
    for (size_t i = 0; i < width; i++) {
        x |= (uint64_t)from[i] << (8 * i);
    }
    return x;
}

VIT_INLINE void vit_put_number(uint8_t *to, uint64_t x, size_t width) {
    for (size_t i = 0; i < width; i++) {
        to[i] = (uint8_t)(x >> (8 * i));
    }
}

#endif
