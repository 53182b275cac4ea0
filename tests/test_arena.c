/* Memory and errors: aligned blocks, arenas, messages. */
#include "support/support.h"

#include "vit/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool is_zero(const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (bytes[i]) {
            return false;
        }
    }
    return true;
}

START_TEST(alloc_is_aligned_and_zero) {
    for (size_t n = 1; n < 300; n++) {
        void *block;
        ck_vit_ok(vit_alloc(&block, n, 3, "block"));
        ck_assert_uint_eq((uintptr_t)block % VIT_ALIGNMENT, 0);
        ck_assert(is_zero(block, n * 3));
        memset(block, 0xff, n * 3);
        vit_free(block);
    }
}
END_TEST

START_TEST(alloc_of_nothing) {
    void *block = &block;
    ck_vit_ok(vit_alloc(&block, 0, 8, "nothing"));
    ck_assert_ptr_null(block);
    vit_free(block);
}
END_TEST

START_TEST(alloc_that_cannot_be) {
    const size_t sizes[][2] = {{SIZE_MAX, 1},
                               {SIZE_MAX / 4 + 1, 4},
                               {1, SIZE_MAX - 3},
                               {SIZE_MAX / 4, 4},
                               {(size_t)1 << 62, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *block = &block;
        ck_assert_int_eq(vit_alloc(&block, sizes[i][0], sizes[i][1], "the big one"),
                         VIT_ERROR_MEMORY);
        ck_assert_ptr_null(block);
        check_message("the big one");
    }
}
END_TEST

/* Sizes that are and are not whole cache lines; taken in the same order when measured and carved.
 */
static const size_t counts[] = {1, 16, 17, 0, 1000, 15};
enum { PIECES = sizeof counts / sizeof *counts };

static void plan(vit_arena *arena, float *piece[PIECES]) {
    for (size_t i = 0; i < PIECES; i++) {
        piece[i] = vit_arena_floats(arena, counts[i]);
    }
}

START_TEST(arena_measures_then_carves) {
    vit_arena arena = {0};
    float *piece[PIECES];
    plan(&arena, piece);
    for (size_t i = 0; i < PIECES; i++) {
        ck_assert_ptr_null(piece[i]);
    }
    ck_assert_uint_eq(arena.used, 64 + 64 + 128 + 0 + 4032 + 64);
    ck_vit_ok(vit_arena_allocate(&arena, "plan"));
    ck_assert_uint_eq(arena.used, 0);
    plan(&arena, piece);
    ck_assert(!arena.overflow);
    ck_assert_uint_eq(arena.used, arena.capacity);
    for (size_t i = 0; i < PIECES; i++) {
        ck_assert_uint_eq((uintptr_t)piece[i] % VIT_ALIGNMENT, 0);
        ck_assert(is_zero((const char *)piece[i], counts[i] * sizeof(float)));
        for (size_t j = 0; j < counts[i]; j++) {
            piece[i][j] = (float)i;
        }
    }
    for (size_t i = 0; i < PIECES; i++) { /* nobody wrote into another's piece */
        for (size_t j = 0; j < counts[i]; j++) {
            ck_assert(piece[i][j] == (float)i);
        }
    }
    vit_arena_free(&arena);
    ck_assert(arena.base == NULL && arena.used == 0 && arena.capacity == 0);
    vit_arena_free(&arena);
}
END_TEST

START_TEST(arena_gives_no_more_than_was_measured) {
    vit_arena arena = {0};
    vit_arena_floats(&arena, 16);
    ck_vit_ok(vit_arena_allocate(&arena, "small"));
    ck_assert_ptr_nonnull(vit_arena_floats(&arena, 16));
    ck_assert(!arena.overflow);
    ck_assert_ptr_null(vit_arena_floats(&arena, 1));
    ck_assert(arena.overflow);
    ck_assert_uint_eq(arena.used, 64); /* a refused piece takes nothing */
    vit_arena_free(&arena);
}
END_TEST

START_TEST(arena_sizes_are_checked) {
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX / 4 + 1, SIZE_MAX / 4 - 1};
    for (size_t i = 0; i < 3; i++) {
        vit_arena arena = {0};
        vit_arena_floats(&arena, 100);
        ck_assert_ptr_null(vit_arena_floats(&arena, sizes[i]));
        vit_arena_floats(&arena, sizes[i]); /* the sum may be what is too much */
        ck_assert(arena.overflow);
        ck_vit_fails(vit_arena_allocate(&arena, "the plan"), VIT_ERROR_MEMORY, "the plan");
        ck_assert_ptr_null(arena.base);
        vit_arena_free(&arena);
    }
}
END_TEST

START_TEST(arena_of_nothing) {
    vit_arena arena = {0};
    ck_vit_ok(vit_arena_allocate(&arena, "nothing"));
    vit_arena_free(&arena);
}
END_TEST

START_TEST(message_is_one_safe_line) {
    ck_assert_int_eq(vit_fail(VIT_ERROR_FORMAT, "%s: %d", "a\nb\x1b[31m\x7f\xc3\xa9.png", 7),
                     VIT_ERROR_FORMAT);
    ck_assert_str_eq(vit_last_error(), "a?b?[31m?\xc3\xa9.png: 7");
}
END_TEST

START_TEST(message_is_cut_to_its_size) {
    char text[3 * VIT_MESSAGE_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    vit_fail(VIT_ERROR_IO, "%s", text);
    ck_assert_uint_eq(strlen(vit_last_error()), VIT_MESSAGE_MAX - 1);
    vit_fail_context(VIT_ERROR_IO, "%s", text);
    ck_assert_uint_eq(strlen(vit_last_error()), VIT_MESSAGE_MAX - 1);
}
END_TEST

START_TEST(context_goes_before) {
    vit_fail(VIT_ERROR_IO, "no such file");
    ck_assert_int_eq(vit_fail_context(VIT_ERROR_IO, "reading %s", "x.jpg"), VIT_ERROR_IO);
    ck_assert_str_eq(vit_last_error(), "reading x.jpg: no such file");
    /* The current message as an argument of the next. */
    vit_fail(VIT_ERROR_IO, "again: %s", vit_last_error());
    ck_assert_str_eq(vit_last_error(), "again: reading x.jpg: no such file");
}
END_TEST

START_TEST(every_status_has_a_name) {
    for (int i = VIT_OK; i <= VIT_ERROR_STOPPED; i++) {
        ck_assert_str_ne(vit_status_string((vit_status)i), "unknown status");
        for (int j = VIT_OK; j < i; j++) {
            ck_assert_str_ne(vit_status_string((vit_status)i), vit_status_string((vit_status)j));
        }
    }
    ck_assert_str_eq(vit_status_string((vit_status)12345), "unknown status");
}
END_TEST

START_TEST(messages_belong_to_their_thread) {
    vit_fail(VIT_ERROR_IO, "mine");
#pragma omp parallel num_threads(3)
    {
#pragma omp for schedule(static, 1)
        for (int i = 0; i < 3; i++) {
            vit_fail(VIT_ERROR_IO, "item %d", i);
        }
        char expected[16] = "item ?";
#pragma omp for schedule(static, 1)
        for (int i = 0; i < 3; i++) {
            expected[5] = (char)('0' + i);
            ck_assert_str_eq(vit_last_error(), expected);
        }
    }
}
END_TEST

static vit_status fail_item(int i) {
    return vit_fail(i % 2 ? VIT_ERROR_IO : VIT_ERROR_FORMAT, "item %d", i);
}

START_TEST(lowest_failure_is_carried_back) {
    vit_first_error first = {0};
    ck_assert_int_eq(vit_first_error_raise(&first), VIT_OK);
#pragma omp parallel for num_threads(3) schedule(dynamic, 1)
    for (int i = 40; i > 4; i--) {
        vit_first_error_note(&first, i, fail_item(i));
    }
    vit_fail(VIT_ERROR_MEMORY, "something else");
    ck_assert_int_eq(vit_first_error_raise(&first), VIT_ERROR_IO);
    ck_assert_str_eq(vit_last_error(), "item 5");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("arena");
    TCase *memory = tcase_create("memory");
    tcase_add_test(memory, alloc_is_aligned_and_zero);
    tcase_add_test(memory, alloc_of_nothing);
    tcase_add_test(memory, alloc_that_cannot_be);
    tcase_add_test(memory, arena_measures_then_carves);
    tcase_add_test(memory, arena_gives_no_more_than_was_measured);
    tcase_add_test(memory, arena_sizes_are_checked);
    tcase_add_test(memory, arena_of_nothing);
    suite_add_tcase(s, memory);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, message_is_one_safe_line);
    tcase_add_test(errors, message_is_cut_to_its_size);
    tcase_add_test(errors, context_goes_before);
    tcase_add_test(errors, every_status_has_a_name);
    tcase_add_test(errors, messages_belong_to_their_thread);
    tcase_add_test(errors, lowest_failure_is_carried_back);
    suite_add_tcase(s, errors);
    return s;
}

int main(void) {
    return test_run(suite());
}
