/* The array functions of vmath, once for every instruction set: an adapter vmath_ISA.c defines
 *   VMATH_VECTOR     the vector type (its + - / < are the compiler's)
 *   VMATH_SLEEF(f)   SLEEF's name for the vector form of f, such as Sleef_expf8_u10avx2
 *   VMATH_TABLE      the table to define
 *   VMATH_NAME       its name, a string
 * and includes this file. Not a header for anybody else. */
#include "vit/vmath_table.h"

#include <limits.h>
#include <sleef.h>
#include <string.h>

typedef VMATH_VECTOR vector;
enum { WIDTH = sizeof(vector) / sizeof(float) };
typedef int integers __attribute__((vector_size(sizeof(vector))));

static inline vector sigmoid(vector x) {
    /* e = exp(-|x|) never overflows: 1 / (1 + e) for x >= 0, e / (1 + e) below. */
    const integers sign = (integers){0} + INT_MIN;
    const vector one = (vector){0} + 1.0f;
    vector e = VMATH_SLEEF(exp)((vector)((integers)x | sign));
    integers negative = (integers)(x < 0.0f);
    vector numerator = (vector)(((integers)e & negative) | ((integers)one & ~negative));
    return numerator / (one + e);
}

/* The tail goes through a whole vector too, so that a value does not depend on its position. */
#define ARRAY_FUNCTION(name, function)                                                             \
    static void name(size_t n, const float *x, float *y) {                                         \
        size_t i = 0;                                                                              \
        for (; i + WIDTH <= n; i += WIDTH) {                                                       \
            vector v;                                                                              \
            memcpy(&v, x + i, sizeof v);                                                           \
            v = function(v);                                                                       \
            memcpy(y + i, &v, sizeof v);                                                           \
        }                                                                                          \
        if (i < n) {                                                                               \
            vector v = {0};                                                                        \
            memcpy(&v, x + i, (n - i) * sizeof *x);                                                \
            v = function(v);                                                                       \
            memcpy(y + i, &v, (n - i) * sizeof *y);                                                \
        }                                                                                          \
    }

ARRAY_FUNCTION(array_exp, VMATH_SLEEF(exp))
ARRAY_FUNCTION(array_expm1, VMATH_SLEEF(expm1))
ARRAY_FUNCTION(array_tanh, VMATH_SLEEF(tanh))
ARRAY_FUNCTION(array_sigmoid, sigmoid)

const vit_vmath_table VMATH_TABLE = {
    VMATH_NAME, array_exp, array_expm1, array_tanh, array_sigmoid,
};
