/* What is tortured: one journey each, on a made-up data set and a run of one epoch. */
#ifndef ZVIT_TORTURE_OPERATIONS_H
#define ZVIT_TORTURE_OPERATIONS_H

#include "vit/status.h"

#include <stdbool.h>
#include <stddef.h>

/* What an operation found, for comparison with the result without a failure. */
typedef struct finding {
    double values[4];
} finding;

typedef struct operation {
    const char *part; /* those that ctest runs as one test: torture_PART */
    const char *name;
    vit_status (*run)(finding *out);
    /* Looks at what a failed attempt left in the work folder; NULL: nothing is written. */
    void (*inspect)(void);
    bool goes_on; /* the work folder holds the finished run, which may be tried again */
    /* Uses libraries that themselves end the process without memory (fontconfig, under cairo). */
    bool foreign_ends;
} operation;

extern const operation operations[];
extern const size_t operation_count;

/* Makes the data set and the run below base, and names the work folder. */
void operations_prepare(const char *base);
const char *operations_work(void);
/* A fresh work folder for the operation. */
void operation_begin(const operation *op);

#endif
