/* Randomness as a function: every draw is keyed by (seed, epoch, sample, purpose), never by what
 * was drawn before, so that results do not depend on threads, ranks or where a run was resumed.
 * Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef VIT_RNG_H
#define VIT_RNG_H

#include <stdint.h>

/* Pinned numbers: changing one changes every run. */
typedef enum vit_rng_purpose {
    VIT_RNG_INIT = 0,      /* sample = hash of the parameter's name */
    VIT_RNG_SHUFFLE = 1,   /* order of an epoch */
    VIT_RNG_CROP = 2,      /* random resized crop */
    VIT_RNG_FLIP = 3,      /* horizontal and vertical flip */
    VIT_RNG_COLOR = 4,     /* colour jitter */
    VIT_RNG_AUTO_AUG = 5,  /* RandAugment and its kin */
    VIT_RNG_ERASE = 6,     /* random erasing */
    VIT_RNG_MIX = 7,       /* mixup and cutmix; sample = batch number */
    VIT_RNG_DROP_PATH = 8, /* stochastic depth */
    VIT_RNG_SPLIT = 9,     /* hold-out split */
    VIT_RNG_TEST = 10,     /* tests, sample pictures */
    VIT_RNG_FILTER = 11    /* interpolation of the random crop */
} vit_rng_purpose;

typedef struct vit_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* block, purpose and epoch, sample low, sample high */
    uint32_t block[4];
    unsigned left; /* words of block not yet handed out */
} vit_rng;

/* epoch < 2^24. */
vit_rng vit_rng_make(uint64_t seed, uint32_t epoch, uint64_t sample, vit_rng_purpose purpose);

uint32_t vit_rng_u32(vit_rng *rng);
/* Uniform in [0, 1) with 32 random bits. */
double vit_rng_uniform(vit_rng *rng);
/* Uniform in [low, high). */
double vit_rng_range(vit_rng *rng, double low, double high);
/* Uniform in 0 .. n-1 without bias; n > 0. */
uint32_t vit_rng_below(vit_rng *rng, uint32_t n);
/* Standard normal (Box and Muller). */
double vit_rng_normal(vit_rng *rng);

/* FNV-1a of a zero-terminated string: a stable number for a name. */
uint64_t vit_hash_string(const char *text);

#endif
