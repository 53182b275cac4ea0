/* Philox against the known answers of the Random123 library, and what is drawn from it. */
#include "support/support.h"

#include "vit/rng.h"

#include <math.h>
#include <string.h>

static void check_words(vit_rng rng, const uint32_t expected[4]) {
    for (int i = 0; i < 4; i++) {
        uint32_t word = vit_rng_u32(&rng);
        ck_assert_msg(word == expected[i], "word %d: %08x, expected %08x", i, word, expected[i]);
    }
}

START_TEST(philox_known_answers) {
    const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        vit_rng rng = {0};
        memcpy(rng.counter, vectors[i].counter, sizeof rng.counter);
        memcpy(rng.key, vectors[i].key, sizeof rng.key);
        check_words(rng, vectors[i].expected);
    }
}
END_TEST

/* The key's layout is pinned: a resumed run must draw what it drew before. */
START_TEST(key_layout) {
    vit_rng rng = vit_rng_make(0x0123456789abcdefu, 0xabcdef, 0xfedcba9876543210u, VIT_RNG_MIX);
    ck_assert_uint_eq(rng.key[0], 0x89abcdef);
    ck_assert_uint_eq(rng.key[1], 0x01234567);
    ck_assert_uint_eq(rng.counter[0], 0);
    ck_assert_uint_eq(rng.counter[1], 0xabcdef07);
    ck_assert_uint_eq(rng.counter[2], 0x76543210);
    ck_assert_uint_eq(rng.counter[3], 0xfedcba98);
    ck_assert_uint_eq(rng.left, 0);
}
END_TEST

START_TEST(any_part_of_the_key_changes_the_draws) {
    vit_rng rng[5] = {
        vit_rng_make(1, 2, 3, VIT_RNG_CROP), vit_rng_make(2, 2, 3, VIT_RNG_CROP),
        vit_rng_make(1, 3, 3, VIT_RNG_CROP), vit_rng_make(1, 2, 4, VIT_RNG_CROP),
        vit_rng_make(1, 2, 3, VIT_RNG_FLIP),
    };
    vit_rng again = vit_rng_make(1, 2, 3, VIT_RNG_CROP);
    uint32_t word[5];
    for (int i = 0; i < 5; i++) {
        word[i] = vit_rng_u32(&rng[i]);
        for (int j = 0; j < i; j++) {
            ck_assert_uint_ne(word[i], word[j]);
        }
    }
    ck_assert_uint_eq(vit_rng_u32(&again), word[0]);
}
END_TEST

START_TEST(uniform) {
    enum { N = 100000, BINS = 20 };
    size_t bins[BINS] = {0};
    double sum = 0, square = 0, neighbour = 0, previous = 0.5;
    vit_rng rng = vit_rng_make(7, 0, 0, VIT_RNG_TEST);
    for (int i = 0; i < N; i++) {
        double u = vit_rng_uniform(&rng);
        ck_assert(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
        sum += u;
        square += (u - 0.5) * (u - 0.5);
        neighbour += (u - 0.5) * (previous - 0.5);
        previous = u;
    }
    double chi = 0;
    for (int i = 0; i < BINS; i++) {
        double d = (double)bins[i] - (double)N / BINS;
        chi += d * d * BINS / N;
    }
    ck_assert_msg(chi < 43.8, "chi square of 19 degrees: %g", chi); /* 0.1 % */
    ck_assert_double_eq_tol(sum / N, 0.5, 4 * sqrt(1.0 / 12 / N));
    ck_assert_double_eq_tol(square / N, 1.0 / 12, 1e-3);
    ck_assert_double_eq_tol(neighbour / N, 0, 4.0 / 12 / sqrt(N));
}
END_TEST

START_TEST(range) {
    vit_rng rng = vit_rng_make(8, 0, 0, VIT_RNG_TEST);
    double low = 1e9, high = -1e9;
    for (int i = 0; i < 10000; i++) {
        double u = vit_rng_range(&rng, -3, 5);
        low = fmin(low, u);
        high = fmax(high, u);
    }
    ck_assert(low >= -3 && low < -2.99 && high < 5 && high > 4.99);
}
END_TEST

START_TEST(below_has_no_bias) {
    /* 2^32 numbers do not share out evenly among 3 * 2^30: without rejection every third number is
     * drawn twice as often as the others. */
    const uint32_t n = 3u << 30;
    size_t rest[3] = {0};
    vit_rng rng = vit_rng_make(9, 0, 0, VIT_RNG_TEST);
    enum { N = 30000 };
    for (int i = 0; i < N; i++) {
        uint32_t u = vit_rng_below(&rng, n);
        ck_assert_uint_lt(u, n);
        rest[u % 3]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_double_eq_tol((double)rest[i], N / 3.0, 5 * sqrt(N * 2.0 / 9));
    }
}
END_TEST

START_TEST(below_reaches_every_value) {
    for (uint32_t n = 1; n <= 17; n++) {
        size_t seen[17] = {0};
        vit_rng rng = vit_rng_make(n, 0, 0, VIT_RNG_TEST);
        for (int i = 0; i < 2000; i++) {
            uint32_t u = vit_rng_below(&rng, n);
            ck_assert_uint_lt(u, n);
            seen[u]++;
        }
        for (uint32_t i = 0; i < n; i++) {
            double mean = 2000.0 / n;
            ck_assert_msg(fabs((double)seen[i] - mean) <= 5 * sqrt(mean), "%u of %u: %zu times", i,
                          n, seen[i]);
        }
    }
}
END_TEST

START_TEST(normal) {
    enum { N = 200000 };
    double moment[5] = {0};
    vit_rng rng = vit_rng_make(10, 0, 0, VIT_RNG_TEST);
    for (int i = 0; i < N; i++) {
        double z = vit_rng_normal(&rng);
        ck_assert(isfinite(z));
        double power = 1;
        for (int k = 1; k <= 4; k++) {
            power *= z;
            moment[k] += power / N;
        }
    }
    ck_assert_double_eq_tol(moment[1], 0, 4 / sqrt(N));
    ck_assert_double_eq_tol(moment[2], 1, 4 * sqrt(2.0 / N));
    ck_assert_double_eq_tol(moment[3], 0, 4 * sqrt(15.0 / N));
    ck_assert_double_eq_tol(moment[4], 3, 4 * sqrt(96.0 / N));
}
END_TEST

START_TEST(hash_known_answers) {
    /* FNV-1a, 64 bit, from the authors' list. */
    ck_assert_uint_eq(vit_hash_string(""), 0xcbf29ce484222325u);
    ck_assert_uint_eq(vit_hash_string("a"), 0xaf63dc4c8601ec8cu);
    ck_assert_uint_eq(vit_hash_string("foobar"), 0x85944171f73967e8u);
    ck_assert_uint_eq(vit_hash_string("\xff"), 0xaf64724c8602eb6eu); /* bytes are unsigned */
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("rng");
    TCase *c = tcase_create("rng");
    tcase_add_test(c, philox_known_answers);
    tcase_add_test(c, key_layout);
    tcase_add_test(c, any_part_of_the_key_changes_the_draws);
    tcase_add_test(c, uniform);
    tcase_add_test(c, range);
    tcase_add_test(c, below_has_no_bias);
    tcase_add_test(c, below_reaches_every_value);
    tcase_add_test(c, normal);
    tcase_add_test(c, hash_known_answers);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
