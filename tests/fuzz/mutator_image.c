#include "tests/fuzz/mutate.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed) {
    size_t made = fuzz_mutate_png(data, size, max_size, &seed);
    if (made == 0) {
        made = fuzz_mutate_jpeg(data, size, max_size, &seed);
    }
    return made > 0 ? made : LLVMFuzzerMutate(data, size, max_size);
}
