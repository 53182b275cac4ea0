/* For every operation and every n: the n-th call that can fail does. What must come of it is an
 * error with one line of message, or, where the call was not needed, the same result as without;
 * nothing lost in memory or descriptors, no damaged file, and afterwards the operation works. */
#include "tests/torture/fault.h"

#include "tests/support/pictures.h"
#include "tests/support/support.h"
#include "tests/torture/operations.h"

#include <dirent.h>
#include <malloc.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *base;

/* ---- one attempt ---- */

static void check_no_temporaries(const char *what) {
    DIR *folder = opendir(operations_work());
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        ck_assert_msg(!strstr(entry->d_name, ".tmp-"), "%s: left %s", what, entry->d_name);
    }
    if (folder) {
        closedir(folder);
    }
}

/* Bytes that the process holds of the C library; exact only without its caches a thread. */
static size_t held(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static bool leaks_show(void) {
#ifdef __SANITIZE_ADDRESS__
    return false; /* LeakSanitizer says so in the end */
#else
    const char *tunables = getenv("GLIBC_TUNABLES");
    return tunables && strstr(tunables, "tcache_count=0");
#endif
}

static size_t descriptors(void) {
    return count_entries("/proc/self/fd");
}

static bool same(const finding *a, const finding *b) {
    for (size_t i = 0; i < 4; i++) {
        if (a->values[i] != b->values[i] && !(isnan(a->values[i]) && isnan(b->values[i]))) {
            return false;
        }
    }
    return true;
}

/* Returns false once the operation makes fewer than n such calls. */
static bool attempt(const operation *op, fault_kind kind, unsigned long n,
                    const finding *expected) {
    char what[64];
    finding found = {{0}};
    snprintf(what, sizeof what, "%s, %s call %lu", op->name, fault_names[kind], n);
    operation_begin(op);
    size_t before = held(), open_before = descriptors();
    vit_fail(VIT_OK, "%s", "");
    fault_arm(kind, n);
    vit_status status = op->run(&found);
    bool reached = fault_disarm();
    ck_assert_msg(!leaks_show() || held() <= before, "%s: %zu bytes lost", what, held() - before);
    ck_assert_msg(descriptors() == open_before, "%s: a descriptor lost", what);
    if (kind == FAULT_SHORT || !reached) {
        ck_assert_msg(status == VIT_OK, "%s: %s", what, vit_last_error());
    }
    if (status == VIT_OK) {
        ck_assert_msg(same(&found, expected), "%s: went well with another result", what);
    } else {
        ck_assert_msg(*vit_last_error() && !strchr(vit_last_error(), '\n'),
                      "%s: message \"%s\" (expected one line)", what, vit_last_error());
    }
    check_no_temporaries(what);
    if (op->inspect) {
        op->inspect();
    }
    if (status != VIT_OK && op->goes_on) {
        ck_vit_ok(op->run(&found));
        ck_assert_msg(same(&found, expected), "%s: resumed to another result", what);
    }
    return reached;
}

static void torture(const operation *op, fault_kind kind) {
    finding expected = {{0}};
    for (int warm = 0; warm < 2; warm++) {
        operation_begin(op);
        ck_vit_ok(op->run(&expected));
    }
    if (kind == FAULT_FOREIGN && (op->foreign_ends || !fault_has_foreign())) {
        return;
    }
    if (kind == FAULT_SHORT) {
        attempt(op, kind, 1, &expected);
        return;
    }
    unsigned long n = 1;
    while (attempt(op, kind, n, &expected)) {
        n++;
    }
    printf("%s: %lu %s calls\n", op->name, n - 1, fault_names[kind]);
    fflush(stdout);
}

static void setup(void) {
    omp_set_num_threads(1);
    base = temp_folder();
    operations_prepare(base);
}

static void teardown(void) {
    temp_folder_remove(base);
}

START_TEST(test_every_call_fails) {
    torture(&operations[_i / FAULT_KINDS], (fault_kind)(_i % FAULT_KINDS));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("torture");
    for (size_t i = 0; i < operation_count; i++) {
        /* CK_RUN_CASE=explain: that one alone; CK_INCLUDE_TAGS=use: that part */
        TCase *tests = tcase_create(operations[i].name);
        int first = (int)i * FAULT_KINDS;
        tcase_set_tags(tests, operations[i].part);
        tcase_set_timeout(tests, 900);
        tcase_add_checked_fixture(tests, setup, teardown);
        tcase_add_loop_test(tests, test_every_call_fails, first, first + FAULT_KINDS);
        suite_add_tcase(suite, tests);
    }
    return test_run(suite);
}
