/* The array functions of every instruction set that this processor has, against libm in double. */
#include "support/support.h"

#include "vit/vmath.h"
#include "vit/vmath_table.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

typedef struct kernel {
    const char *isa, *name;
    vit_vmath_function *array;
    double (*reference)(double);
    double max_ulp;
} kernel;

enum { FUNCTIONS = 4, MAX_KERNELS = 8 * FUNCTIONS };

static size_t all_kernels(kernel out[MAX_KERNELS]) {
    size_t count = 0;
    for (size_t i = 0; vit_vmath_supported(i); i++) {
        const vit_vmath_table *t = vit_vmath_supported(i);
        const kernel kernels[FUNCTIONS] = {
            {t->isa, "exp", t->exp, exp, 1.01},
            {t->isa, "expm1", t->expm1, expm1, 1.01},
            {t->isa, "tanh", t->tanh, tanh, 1.01},
            {t->isa, "sigmoid", t->sigmoid, sigmoid, 2.2},
        };
        memcpy(out + count, kernels, sizeof kernels);
        count += FUNCTIONS;
    }
    return count;
}

static float from_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Distance in units of the last place of the expected value, those of denormals being 2^-149. */
static double ulp_error(float actual, double expected) {
    float nearest = (float)expected;
    if (isnan(expected) || isinf(nearest)) {
        bool same = isnan(expected) ? isnan(actual) : actual == nearest;
        return same ? 0 : INFINITY;
    }
    int exponent = fabs(expected) < 0x1p-126 ? -126 : ilogb(expected);
    return fabs(actual - expected) / ldexp(1, exponent - 23);
}

static void check_value(const kernel *k, float x, float y, double max_ulp) {
    double expected = k->reference(x);
    double error = ulp_error(y, expected);
    if (!(error <= max_ulp)) { /* Check's own assertions take a microsecond each */
        ck_abort_msg("%s %s(%.9g) = %.9g, expected %.9g: %.3g ulp", k->isa, k->name, (double)x,
                     (double)y, expected, error);
    }
}

/* Bit patterns from all of float, so every exponent, both signs, infinities and NaN. */
START_TEST(all_floats_sampled) {
    enum { BLOCK = 64, STEP = 4099 };
    kernel kernels[MAX_KERNELS];
    size_t count = all_kernels(kernels);
    for (size_t i = 0; i < count; i++) {
        for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += BLOCK * STEP) {
            float x[BLOCK], y[BLOCK];
            for (uint32_t j = 0; j < BLOCK; j++) {
                x[j] = from_bits((uint32_t)bits + j * STEP);
            }
            kernels[i].array(BLOCK, x, y);
            for (size_t j = 0; j < BLOCK; j++) {
                check_value(&kernels[i], x[j], y[j], kernels[i].max_ulp);
            }
        }
    }
}
END_TEST

/* Where the values are: evenly from -20 to 20. */
START_TEST(common_range) {
    enum { N = 40001 };
    float *x = filled_new(N, 0), *y = filled_new(N, NAN);
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i - N / 2) / 1000;
    }
    kernel kernels[MAX_KERNELS];
    size_t count = all_kernels(kernels);
    for (size_t i = 0; i < count; i++) {
        kernels[i].array(N, x, y);
        for (size_t j = 0; j < N; j++) {
            check_value(&kernels[i], x[j], y[j], kernels[i].max_ulp);
        }
    }
    free(x);
    free(y);
}
END_TEST

START_TEST(special_values) {
    const float x[] = {INFINITY, -INFINITY, NAN,  0.0f, -0.0f,   FLT_MAX,  -FLT_MAX,
                       88.7f,    88.8f,     -103, -104, FLT_MIN, -FLT_MIN, 1e-40f,
                       -1e-40f,  1e-45f,    -200, 200,  -17,     1e10f,    -1e10f};
    enum { N = sizeof x / sizeof *x };
    kernel kernels[MAX_KERNELS];
    size_t count = all_kernels(kernels);
    for (size_t i = 0; i < count; i++) {
        float y[N];
        kernels[i].array(N, x, y);
        for (size_t j = 0; j < N; j++) {
            check_value(&kernels[i], x[j], y[j], 2);
        }
    }
}
END_TEST

START_TEST(odd_functions_keep_the_sign_of_zero) {
    const float zero[2] = {0.0f, -0.0f};
    for (size_t i = 0; vit_vmath_supported(i); i++) {
        const vit_vmath_table *t = vit_vmath_supported(i);
        vit_vmath_function *const odd[] = {t->expm1, t->tanh};
        for (size_t j = 0; j < 2; j++) {
            float y[2] = {NAN, NAN};
            odd[j](2, zero, y);
            check_same_bits(t->isa, 2, y, zero);
        }
    }
}
END_TEST

/* Every length up to a few vectors at every misalignment: the same bits as one by one, and not a
 * float past the end. In place too. */
START_TEST(position_and_length_do_not_matter) {
    enum { MAX = 67, OFFSETS = 17, GUARD = 12345 };
    kernel kernels[MAX_KERNELS];
    size_t count = all_kernels(kernels);
    float *x = random_new(1, MAX + OFFSETS, 2);
    for (size_t i = 0; i < count; i++) {
        float one[MAX + OFFSETS];
        for (size_t j = 0; j < MAX + OFFSETS; j++) {
            kernels[i].array(1, x + j, one + j);
        }
        for (size_t offset = 0; offset < OFFSETS; offset++) {
            for (size_t n = 0; n <= MAX; n++) {
                float *y = filled_new(n + 1, GUARD);
                kernels[i].array(n, x + offset, y);
                check_same_bits(kernels[i].name, n, y, one + offset);
                ck_assert(y[n] == GUARD);
                memcpy(y, x + offset, n * sizeof *y);
                kernels[i].array(n, y, y);
                check_same_bits(kernels[i].name, n, y, one + offset);
                ck_assert(y[n] == GUARD);
                free(y);
            }
        }
    }
    free(x);
}
END_TEST

/* The public functions are the first table's, each under its own name. */
START_TEST(public_functions) {
    const vit_vmath_table *t = vit_vmath_supported(0);
    ck_assert_ptr_nonnull(t);
    ck_assert_str_eq(vit_vmath_isa(), t->isa);
    vit_vmath_function *const public[] = {vit_vexp, vit_vexpm1, vit_vtanh, vit_vsigmoid};
    vit_vmath_function *const private[] = {t->exp, t->expm1, t->tanh, t->sigmoid};
    float *x = random_new(2, 100, 3);
    for (size_t i = 0; i < FUNCTIONS; i++) {
        float a[100], b[100];
        public[i](100, x, a);
        private[i](100, x, b);
        check_same_bits("public function", 100, a, b);
    }
    free(x);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("vmath");
    TCase *c = tcase_create("vmath");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, all_floats_sampled);
    tcase_add_test(c, common_range);
    tcase_add_test(c, special_values);
    tcase_add_test(c, odd_functions_keep_the_sign_of_zero);
    tcase_add_test(c, position_and_length_do_not_matter);
    tcase_add_test(c, public_functions);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
