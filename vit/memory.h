/* How much memory this process may still take. */
#ifndef VIT_MEMORY_H
#define VIT_MEMORY_H

#include <stdint.h>

/* Bytes: the kernel's MemAvailable, or less where a control group (a container) allows less; page
 * cache counts as free. 0: unknown. */
uint64_t vit_memory_available(void);

#endif
