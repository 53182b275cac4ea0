/* zvit plan as a user meets it: flags, recipes, JSON, mistakes. */
#include "support/command.h"
#include "support/support.h"

#include <math.h>
#include <string.h>

#define CLUSTER "plan", "--nodes", "4", "--cores", "16", "--gflops", "400"

static vit_json *plan(const char *name, const char *value) {
    outcome result = zvit(CLUSTER, "--json", name, value, NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    release(&result);
    return root;
}

static double planned(const char *name, const char *value, const char *key) {
    vit_json *root = plan(name, value);
    double number = number_of(root, key);
    vit_json_free(root);
    return number;
}

START_TEST(a_plan_is_told) {
    outcome result = zvit(CLUSTER, "--recipe", "deit-tiny", NULL);
    check_code(&result, 0);
    check_has(result.out, "zeros_tiny_patch16_224");
    check_has(result.out, "4 of 16 cores, 1 rank each, 400 GFLOP/s, 10 Gbit/s");
    check_has(result.out, "64 of 256 slots on a rank of 16 threads: 4 rounds, 100 % busy");
    check_has(result.out, "the training");
    check_has_not(result.out, "as measured here");
    release(&result);
}
END_TEST

/* The recipe's values hold unless the flags say otherwise, wherever they stand. */
START_TEST(flags_go_before_the_recipe) {
    vit_json *root = plan("--recipe", "deit-tiny");
    ck_assert_str_eq(string_of(root, "architecture"), "zeros_tiny_patch16_224");
    ck_assert_double_eq(number_of(root, "batch_size"), 1024);
    ck_assert_double_eq(number_of(root, "steps"), 300 * 1251);
    ck_assert_double_eq(number_of(root, "ranks"), 4);
    double flops = number_of(root, "step_flops");
    ck_assert(flops > 1024 * 7.4e9 && flops < 1024 * 7.9e9);
    vit_json_free(root);
    outcome result = zvit(CLUSTER, "--json", "--batch-size", "512", "--recipe", "deit-tiny",
                          "--epochs", "2", NULL);
    check_code(&result, 0);
    root = parse(result.out);
    ck_assert_double_eq(number_of(root, "batch_size"), 512);
    ck_assert_double_eq(number_of(root, "steps"), 2 * 2502);
    vit_json_free(root);
    release(&result);
}
END_TEST

START_TEST(what_flags_do) {
    double hours = planned("--epochs", "10", "total_seconds");
    ck_assert_double_eq_tol(planned("--epochs", "20", "total_seconds"), 2 * hours, 1e-6 * hours);
    ck_assert_double_lt(planned("--bandwidth", "5", "exchange_seconds"),
                        planned("--bandwidth", "0.1", "exchange_seconds") / 20);
    ck_assert_double_eq(planned("--copy-ns", "0", "exchange_cpu_seconds"), 0);
    ck_assert_double_gt(planned("--copy-ns", "4", "exchange_seconds"),
                        planned("--bandwidth", "100", "exchange_seconds") * 3);
    ck_assert_double_lt(planned("--latency", "0", "exchange_seconds"),
                        planned("--latency", "1000", "exchange_seconds"));
    ck_assert_double_lt(planned("--decode-ms", "0", "compute_seconds"),
                        planned("--decode-ms", "5000", "compute_seconds"));
    ck_assert_double_eq_tol(planned("--image-kb", "220", "node_read_bytes_per_second"),
                            2 * planned("--image-kb", "110", "node_read_bytes_per_second"), 1);
    ck_assert_double_eq(planned("--val-images", "0", "evaluation_seconds"), 0);
    ck_assert_double_gt(planned("--classes", "1000", "parameters"),
                        planned("--classes", "10", "parameters"));
    ck_assert_double_eq(planned("--node-ranks", "4", "ranks"), 16);
    ck_assert_double_gt(planned("--batch-size", "512", "rank_memory_bytes"),
                        planned("--batch-size", "64", "rank_memory_bytes"));
}
END_TEST

START_TEST(a_step_is_measured) {
    outcome result =
        zvit("plan", "--measure", "--model", "zeros_micro_patch4_28", "--classes", "10", "--images",
             "8000", "--val-images", "2000", "--threads", "2", "--json", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    ck_assert_double_gt(number_of(root, "gflops"), 0.01);
    ck_assert_double_gt(number_of(root, "update_seconds"), 0);
    ck_assert_double_eq(number_of(root, "cores"), 2);
    vit_json_free(root);
    release(&result);
}
END_TEST

START_TEST(mistakes_are_told) {
    check_usage(zvit("plan", NULL), "--gflops");
    check_usage(zvit("plan", "--gflops", "1", "--measure", NULL), "--measure");
    check_usage(zvit("plan", "--gflops", "-1", NULL), "--gflops: -1");
    check_usage(zvit("plan", "--gflops", "1", "--nodes", "0", NULL), "--nodes: 0");
    check_usage(zvit("plan", "--gflops", "1", "--nodes", "3", NULL), "power of two");
    check_usage(zvit("plan", "--gflops", "1", "--nodes", "32", NULL), "16 slots");
    check_usage(zvit("plan", "--gflops", "1", "--bandwidth", "0", NULL), "--bandwidth: 0");
    check_usage(zvit("plan", "--gflops", "1", "--images", "0", NULL), "--images: 0");
    check_usage(zvit("plan", "--gflops", "1", "--images", "10", NULL), "batches of 64");
    check_usage(zvit("plan", "--gflops", "1", "--cores", "3", "--node-ranks", "2", NULL), "evenly");
    check_usage(zvit("plan", "--gflops", "1", "-b", "auto", NULL), "--batch-size auto");
    check_usage(zvit("plan", "--gflops", "1", "--model", "nosuch", NULL), "zeros_tiny_patch16_224");
    check_usage(zvit("plan", "--gflops", "1", "--recipe", "nosuch", NULL), "deit-tiny");
    check_usage(zvit("plan", "DATA", "--gflops", "1", NULL), "DATA");
}
END_TEST

int main(void) {
    Suite *s = suite_create("cli_plan");
    TCase *c = tcase_create("cli_plan");
    tcase_set_timeout(c, 60);
    tcase_add_unchecked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, a_plan_is_told);
    tcase_add_test(c, flags_go_before_the_recipe);
    tcase_add_test(c, what_flags_do);
    tcase_add_test(c, a_step_is_measured);
    tcase_add_test(c, mistakes_are_told);
    suite_add_tcase(s, c);
    return test_run(s);
}
