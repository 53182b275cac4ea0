/* XXH64 with seed 0 (Collet, "xxHash fast digest algorithm", section XXH64): eight bytes a step, so
 * that checking a picture costs next to nothing beside decoding it. Against damage, not malice. */
#ifndef VIT_CHECKSUM_H
#define VIT_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t vit_checksum(const void *bytes, size_t size);

#endif
