/* An allocator for vit_set_allocator that counts, can fail once, and hands out memory that holds
 * something else each time. */
#ifndef VIT_TEST_ALLOCATOR_H
#define VIT_TEST_ALLOCATOR_H

#include "vit/zvit.h"

#include <stdatomic.h>

typedef struct counting {
    atomic_long alive, calls, bytes;
    atomic_bool wrong; /* it was asked for something that the header rules out */
    long fail_at;      /* which call, from 1; 0: none */
} counting;

/* Fails the test when blocks are in use. c outlives its use. */
void counting_install(counting *c);
/* Fails the test, naming what, unless every block is back and no call was wrong. */
void counting_check_all_back(const counting *c, const char *what);
/* The same, and back to malloc. */
void counting_remove(const counting *c, const char *what);

#endif
