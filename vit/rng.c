#include "vit/rng.h"

#include <math.h>

static void philox_round(uint32_t c[4], const uint32_t k[2]) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t c0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k[0];
    uint32_t c2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k[1];
    c[0] = c0;
    c[1] = (uint32_t)p1;
    c[2] = c2;
    c[3] = (uint32_t)p0;
}

static void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t k[2] = {key[0], key[1]};
    for (int i = 0; i < 4; i++) {
        out[i] = counter[i];
    }
    for (int round = 0; round < 10; round++) {
        philox_round(out, k);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
}

vit_rng vit_rng_make(uint64_t seed, uint32_t epoch, uint64_t sample, vit_rng_purpose purpose) {
    vit_rng rng = {
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, epoch << 8 | (uint32_t)purpose, (uint32_t)sample, (uint32_t)(sample >> 32)},
    };
    return rng;
}

uint32_t vit_rng_u32(vit_rng *rng) {
    if (rng->left == 0) {
        philox4x32_10(rng->counter, rng->key, rng->block);
        rng->counter[0]++;
        rng->left = 4;
    }
    return rng->block[4 - rng->left--];
}

double vit_rng_uniform(vit_rng *rng) {
    return vit_rng_u32(rng) * 0x1p-32;
}

double vit_rng_range(vit_rng *rng, double low, double high) {
    return low + (high - low) * vit_rng_uniform(rng);
}

uint32_t vit_rng_below(vit_rng *rng, uint32_t n) {
    /* Lemire's multiplication; the short rejected zone removes the bias. */
    uint32_t threshold = -n % n;
    for (;;) {
        uint64_t product = (uint64_t)vit_rng_u32(rng) * n;
        if ((uint32_t)product >= threshold) {
            return (uint32_t)(product >> 32);
        }
    }
}

double vit_rng_normal(vit_rng *rng) {
    double u = (vit_rng_u32(rng) + 0.5) * 0x1p-32; /* never 0 */
    double angle = 6.283185307179586 * vit_rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(angle);
}

uint64_t vit_hash_string(const char *text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        hash = (hash ^ *c) * 0x100000001b3u;
    }
    return hash;
}
