/* How much memory this process may still take. */
#ifndef VIT_MEMORY_H
#define VIT_MEMORY_H

#include <stdint.h>

/* Bytes: the kernel's MemAvailable, or less where a control group (a container) allows less; page
 * cache counts as free. 0: unknown. */
uint64_t vit_memory_available(void);

/* Bytes that this process holds in memory (its resident set). 0: unknown. */
uint64_t vit_memory_used(void);

/* Bytes that this process may hold in all: what it holds and what is available, or the limit of its
 * address space (ulimit -v) when that is lower. 0: unknown. */
uint64_t vit_memory_limit(void);

#endif
