/* Memory of which a few floats behind the end must stay as they are: a size that is too small by a
 * little shows without a sanitizer too. */
#ifndef VIT_TEST_GUARDED_H
#define VIT_TEST_GUARDED_H

#include <stddef.h>

/* Floats behind the end. */
enum { GUARD = 64 };

/* Writes them behind n floats at x; there must be room for them. */
void guard_set(float *x, size_t n);
/* Fails the test, naming what, unless they are as guard_set left them. */
void guard_check(const char *what, const float *x, size_t n);

/* n floats of NaN, malloc'ed, and guarded. */
float *guarded_new(size_t n);

#endif
