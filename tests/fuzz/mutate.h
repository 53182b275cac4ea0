/* Changes that keep what a random one would break (a checksum, a length, a compressed stream), so
 * that the reader is reached behind them. Only in the build with libFuzzer. */
#ifndef ZVIT_FUZZ_MUTATE_H
#define ZVIT_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's own: changes data in place, returns the new size. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
/* What libFuzzer calls in place of it where a target defines it. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* A stream of small random numbers. */
uint32_t fuzz_random(unsigned int *seed);

/* mutate_png.c: sizes, kinds of pixel, pixels or other chunks of a PNG, whose pixels are packed
 * anew and whose checksums are set. Returns the new size, or 0 when data is no PNG. */
size_t fuzz_mutate_png(uint8_t *data, size_t size, size_t max_size, unsigned int *seed);

/* mutate_jpeg.c: the payload of one segment of a JPEG, whose length is set; or an orientation is
 * put in. Returns the new size, or 0 when data is no JPEG. */
size_t fuzz_mutate_jpeg(uint8_t *data, size_t size, size_t max_size, unsigned int *seed);

/* mutate_safetensors.c: the header, whose length is set; a string in it as what it stands for (a
 * config, a log); the data, whose size is set to what the header says. Returns the new size. */
size_t fuzz_mutate_safetensors(uint8_t *data, size_t size, size_t max_size, unsigned int *seed);

#endif
