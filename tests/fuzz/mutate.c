#include "tests/fuzz/mutate.h"

uint32_t fuzz_random(unsigned int *seed) {
    *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes */
    return *seed >> 16;
}
