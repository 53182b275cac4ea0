/* The zvit command as its users meet it: the built program, run with arguments; what it prints, and
 * how it exits. */
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/pictures.h"
#include "tests/support/support.h"
#include "train/recipe.h"
#include "vit/file.h"
#include "vit/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- usage ---- */
START_TEST(help_lists_every_verb) {
    outcome result = zvit("--help", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    const char *line = result.out, *const start = "\n  zvit ";
    for (size_t i = 0; zvit_verbs[i]; i++) { /* these, in this order, and no other */
        line = strstr(line, start);
        ck_assert_ptr_nonnull(line);
        line += strlen(start);
        ck_assert_uint_eq(strcspn(line, " "), strlen(zvit_verbs[i]));
        ck_assert_mem_eq(line, zvit_verbs[i], strlen(zvit_verbs[i]));
    }
    line = strstr(line, start);
    ck_assert_ptr_nonnull(line);
    ck_assert_mem_eq(line + strlen(start), "VERB --help ", 12);
    release(&result);
    result = zvit("--version", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.out, "zvit " VIT_VERSION_STRING "\n");
    release(&result);
    result = zvit(NULL, NULL);
    check_code(&result, 2);
    ck_assert_str_eq(result.out, "");
    check_has(result.err, "Usage: zvit");
    release(&result);
}
END_TEST

START_TEST(help_of_a_verb_lists_its_flags) {
    static const struct {
        const char *verb, *parts[4];
    } pages[] = {{"train", {"--model", "--out", "--config", "zeros_tiny_patch16"}},
                 {"eval", {"--split", "--batch-size", "--json", "default val"}},
                 {"classify", {"--topk", "--batch-size", "--json", "default 5"}},
                 {"check", {"--list", "--max-pixels", "--json", "default 20"}},
                 {"preview", {"--out", "--versions", "--aa", "--crop-pct"}},
                 {"explain", {"--out", "--deletion", "--json", "zeros-rollout"}},
                 {"report", {"--out", "RUN/report.html", "--json", "RUN"}},
                 {"export", {"--format", "--out", "--sample", "default timm"}},
                 {"pack", {"--short-side", "--val-split", "--json", "OUT.zpk"}},
                 {"serve", {"--port", "--allow-host", "--max-batch", "default 8080"}},
                 {"info", {"--json", "[MODEL]", "--quiet", "--threads"}},
                 {"bench", {"--repeats", "--model", "--json", "1 to 100"}},
                 {"plan", {"--nodes", "--gflops", "--json", "default 1281167"}},
                 {"help", {"--man", "--markdown", "[VERB]", "--quiet"}},
                 {"completion", {"SHELL", "bash or zsh", "--quiet", "--log-json"}}};
    for (size_t v = 0; v < sizeof pages / sizeof *pages; v++) {
        ck_assert_pstr_eq(zvit_verbs[v], pages[v].verb); /* a page for each of them */
        outcome result = zvit(pages[v].verb, "--help", NULL);
        check_code(&result, 0);
        ck_assert_str_eq(result.err, "");
        for (size_t i = 0; i < 4; i++) {
            check_has(result.out, pages[v].parts[i]);
        }
        check_has(result.out, "--threads");
        check_has(result.out, "--help");
        release(&result);
    }
    ck_assert_ptr_null(zvit_verbs[sizeof pages / sizeof *pages]);
}
END_TEST

START_TEST(help_of_train_lists_every_setting) {
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&settings, NULL, groups);
    /* Help wins over what else is wrong on the line. */
    outcome result = zvit("train", "--epochs", "0", "--help", NULL);
    check_code(&result, 0);
    for (size_t g = 0; g < count; g++) {
        check_has(result.out, groups[g].title);
        for (size_t i = 0; i < groups[g].count; i++) {
            char flag[128];
            snprintf(flag, sizeof flag, "--%s", groups[g].options[i].name);
            if (strstr(result.out, flag) == NULL) {
                snprintf(flag, sizeof flag, "--[no-]%s", groups[g].options[i].name);
            }
            check_has(result.out, flag);
        }
    }
    check_has(result.out, "default 64 64"); /* the default model's img-size, not the table's */
    release(&result);
}
END_TEST

START_TEST(help_has_other_forms) {
    outcome plain = zvit("--help", NULL), same = zvit("help", NULL);
    check_code(&same, 0);
    ck_assert_str_eq(same.out, plain.out);
    release(&plain);
    release(&same);
    plain = zvit("eval", "--help", NULL);
    same = zvit("help", "eval", NULL);
    check_code(&same, 0);
    ck_assert_str_eq(same.out, plain.out);
    release(&plain);
    release(&same);
    same = zvit("help", "--man", "eval", NULL);
    check_code(&same, 0);
    check_has(same.out, ".TH zvit\\-eval 1");
    check_has(same.out, "\\fB\\-\\-split\\fR \\fINAME\\fR");
    release(&same);
    same = zvit("help", "--markdown", "eval", NULL);
    check_code(&same, 0);
    check_has(same.out, "| `--split NAME` | text | val |");
    release(&same);
    check_usage(zvit("help", "evil", NULL), "did you mean 'eval'");
    check_usage(zvit("help", "eval", "train", NULL), "VERB");
    check_usage(zvit("help", "--man", "--markdown", NULL), "one of them");
    check_usage(zvit("completion", NULL), "bash or zsh");
    check_usage(zvit("completion", "fish", NULL), "fish");
}
END_TEST

START_TEST(wrong_usage_exits_with_2) {
    check_usage(zvit("trian", "x", NULL), "'train'");
    check_usage(zvit("xyzzy", NULL), "'xyzzy' is no verb");
    check_usage(zvit("train", "--epocs", "3", "x", NULL), "--epochs");
    check_usage(zvit("classify", "--tokp", "3", "m", "p", NULL), "--topk");
    check_usage(zvit("train", "--epochs", "0", "x", NULL), "--epochs: 0 (expected 1 to 100000)");
    check_usage(zvit("train", "--lr", "fast", "x", NULL), "fast");
    check_usage(zvit("train", "x", "--epochs", NULL), "--epochs");
    check_usage(zvit("eval", "-b", "0", "m", "d", NULL), "--batch-size: 0");
    check_usage(zvit("classify", "--topk", "0", "m", "p", NULL), "--topk: 0");
    check_usage(zvit("train", NULL), "DATA");
    check_usage(zvit("train", "a", "b", NULL), "DATA");
    check_usage(zvit("eval", "m", NULL), "MODEL... DATA");
    check_usage(zvit("classify", "m", NULL), "PATH");
    check_usage(zvit("info", "a", "b", NULL), "MODEL");
    check_usage(zvit("bench", "gem", NULL), "gemm");
    check_usage(zvit("bench", "loader", NULL), "DATA");
    check_usage(zvit("bench", NULL), "startup");
    check_usage(zvit("bench", "train", "data", NULL), "train: 1 argument after it (expected none)");
    check_usage(zvit("bench", "attention", "--tokens", "0", NULL), "--tokens: 0");
    check_usage(zvit("pack", "data", NULL), "1 argument (expected two: DATA OUT.zpk)");
    check_usage(zvit("train", "--model", "nosuch", "x", NULL), "zeros_mini_patch8_64");
    check_usage(zvit("train", "--num-heads", "7", "x", NULL), "num-heads: 7");
    check_usage(zvit("eval", "--csv", "m", "d", NULL), "--csv");
}
END_TEST

START_TEST(missing_files_exit_with_1) {
    check_failure(zvit("bench", "loader", in_folder("nodata"), NULL), "bench", "nodata");
    check_failure(zvit("train", in_folder("nodata"), "--out", in_folder("run"), NULL), "train",
                  "nodata");
    ck_assert(!file_exists(in_folder("run")));
    check_failure(zvit("eval", in_folder("nomodel"), folder, NULL), "eval", "nomodel");
    check_failure(zvit("classify", in_folder("nomodel"), folder, NULL), "classify", "nomodel");
    check_failure(zvit("info", in_folder("nomodel"), NULL), "info", "nomodel");
    check_failure(zvit("train", folder, "--config", in_folder("none.json"), NULL), "train",
                  "none.json");
}
END_TEST

/* ---- this machine ---- */
START_TEST(info_describes_the_machine) {
    outcome result = zvit("info", "--json", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    ck_assert_double_ge(number_of(root, "cores"), 1);
    ck_assert_double_ge(number_of(root, "memory_bytes"), 1e6);
    ck_assert(*string_of(root, "blas_kernel"));
    ck_assert(*string_of(root, "isa"));
    vit_json_free(root);
    release(&result);
    result = zvit("info", "--threads", "3", NULL);
    check_code(&result, 0);
    check_has(result.out, "3 threads");
    release(&result);
}
END_TEST

START_TEST(info_plans_the_memory) {
    outcome result = zvit("info", "--plan", "--model", "zeros_micro_patch4_28", "-b", "8",
                          "--threads", "2", "--json", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    ck_assert_str_eq(string_of(root, "architecture"), "zeros_micro_patch4_28");
    ck_assert_double_eq(number_of(root, "batch_size"), 8);
    double training = number_of(vit_json_get(root, "training"), "bytes");
    ck_assert_double_gt(training, number_of(vit_json_get(root, "evaluation"), "bytes"));
    vit_json_free(root);
    release(&result);
    result = zvit("info", "--plan", "--model", "zeros_micro_patch4_28", "-b", "auto", "--threads",
                  "2", NULL);
    check_code(&result, 0);
    check_has(result.out, "activations");
    check_has(result.out, "batch of 1024, 2 threads");
    release(&result);
    check_usage(zvit("info", "--plan", "--model", "nosuch", NULL), "zeros_mini_patch8_64");
}
END_TEST

START_TEST(bench_measures) {
    enum { KINDS = VIT_ATTENTION_KINDS };
    static const struct {
        const char *kind, *first, *unit;
        size_t results;
        bool ceiling; /* the first has a share of it */
        int threads;
    } kinds[] = {
        {"gemm", "square 1024x1024x1024", "GFLOP/s", 16, true, 2},
        {"train", "training", "images/s", 5, true, 2},
        {"infer", "inference, batch 1", "images/s", 7, true, 2},
        /* Of each kind at 2 lengths 3 figures and, but of softmax, a ratio; an exponent. */
        {"attention", "zeros, forward, 9 tokens", "ms", KINDS * 2 * 3 + (KINDS - 1) * 2 + KINDS,
         false, 1},
        {"startup", "start to answer", "ms", 2, false, 2},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        outcome result =
            zvit("bench", kinds[i].kind, "--json", "--model", "zeros_micro_patch4_28", "--repeats",
                 "1", "--pictures", "1", "-b", "4", "--threads", "2", "--tokens", "9,14", NULL);
        check_code(&result, 0);
        if (*result.err) { /* where OpenBLAS was told to use less than there is */
            check_has(result.err, "zvit bench: warning: BLAS uses its");
        }
        vit_json *root = parse(result.out);
        ck_assert_str_eq(string_of(root, "bench"), kinds[i].kind);
        ck_assert_double_eq(number_of(root, "threads"), kinds[i].threads);
        ck_assert(*string_of(root, "cpu"));
        const vit_json *results = vit_json_get(root, "results");
        ck_assert_uint_eq(vit_json_count(results), kinds[i].results);
        const vit_json *first = vit_json_first(results);
        ck_assert_str_eq(string_of(first, "name"), kinds[i].first);
        ck_assert_str_eq(string_of(first, "unit"), kinds[i].unit);
        ck_assert_double_gt(number_of(first, "value"), 0);
        double share = vit_json_number(vit_json_get(first, "ceiling_share"), -1);
        ck_assert(kinds[i].ceiling ? share > 0 : share == -1); /* null: there is none */
        vit_json_free(root);
        release(&result);
    }
}
END_TEST

START_TEST(bench_leaves_nothing_behind) {
    setenv("TMPDIR", folder, 1);
    outcome result = zvit("bench", "startup", "--model", "zeros_micro_patch4_28", NULL);
    check_code(&result, 0);
    check_has(result.out, "start to answer");
    release(&result);
    ck_assert_uint_eq(count_entries(folder), 2); /* what the test keeps of the output */
    setenv("TMPDIR", in_folder("none"), 1);
    check_failure(zvit("bench", "startup", NULL), "bench", in_folder("none"));
}
END_TEST

START_TEST(a_full_disk_is_an_error) {
    char *words[] = {(char[]){"zvit"}, (char[]){"info"}, NULL};
    ck_assert_int_eq(wait_for(start("/dev/full", in_folder(".err"), words)), 1);
    char *err = read_text(in_folder(".err"));
    check_has(err, "standard output");
    free(err);
}
END_TEST

/* ---- on a model ---- */
START_TEST(export_writes_what_others_load) {
    outcome result;
    train_for(&result);
    result = zvit("export", in_folder("run"), "--format", "safetensors", "--out", in_folder("out"),
                  "--sample", "2", "--json", NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    vit_json *root = parse(result.out);
    ck_assert(file_exists(string_of(root, "weights")));
    ck_assert(file_exists(string_of(root, "config")));
    ck_assert_str_eq(string_of(root, "sample"), in_folder("out/sample.safetensors"));
    vit_json_free(root);
    release(&result);
    check_failure(zvit("export", in_folder("run"), "--out", in_folder("refused"), NULL), "export",
                  "zeros attention (expected softmax");
    ck_assert(!file_exists(in_folder("refused")));
    check_usage(zvit("export", in_folder("run"), NULL), "--out is missing");
    check_usage(zvit("export", "--out", "x", NULL), "0 arguments (expected one: MODEL)");
}
END_TEST

START_TEST(eval_measures) {
    outcome result;
    train_for(&result);
    result = zvit("eval", in_folder("run"), in_folder("data"), "--json", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    ck_assert_str_eq(string_of(root, "model"), in_folder("run"));
    ck_assert_str_eq(string_of(root, "data"), in_folder("data"));
    ck_assert_str_eq(string_of(root, "split"), "val");
    ck_assert_double_eq(number_of(root, "images"), 2);
    ck_assert_double_eq(number_of(root, "classes"), 2);
    ck_assert_double_eq(number_of(root, "top5"), 100);
    double top1 = number_of(root, "top1");
    ck_assert(top1 == 0 || top1 == 50 || top1 == 100);
    ck_assert_double_gt(number_of(root, "loss"), 0);
    ck_assert_double_gt(number_of(root, "images_per_second"), 0);
    ck_assert_double_gt(number_of(root, "seconds"), 0);
    vit_json_free(root);
    release(&result);

    result = zvit("eval", in_folder("run"), in_folder("data"), "--split", "train", NULL);
    check_code(&result, 0);
    check_has(result.out, "top-1");
    check_has(result.out, "6 in 2 classes");
    release(&result);
    check_failure(zvit("eval", in_folder("run"), in_folder("data"), "--split", "test", NULL),
                  "eval", "test");
}
END_TEST

START_TEST(info_describes_a_model) {
    outcome result;
    train_for(&result);
    result = zvit("info", in_folder("run"), "--json", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    struct stat info;
    ck_assert_int_eq(stat(in_folder("run/best.safetensors"), &info), 0);
    ck_assert_double_eq(number_of(root, "bytes"), (double)info.st_size);
    ck_assert_double_eq(number_of(root, "num_classes"), 2);
    ck_assert_double_gt(number_of(root, "parameters"), 1000);
    ck_assert_double_gt(number_of(root, "flops_forward"), 10000);
    ck_assert_double_eq(number_of(vit_json_get(root, "model_args"), "patch_size"), 8);
    vit_json_free(root);
    release(&result);
    result = zvit("info", in_folder("run/best.safetensors"), NULL);
    check_code(&result, 0);
    check_has(result.out, "16 x 16 pixels");
    check_has(result.out, "2: bright, dull");
    ck_assert_str_eq(result.err, "");
    release(&result);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("cli");
    TCase *usage = tcase_create("usage"), *machine = tcase_create("machine"),
          *model = tcase_create("model");
    TCase *all[] = {usage, machine, model};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        tcase_add_checked_fixture(all[i], make_folder, remove_folder);
        tcase_set_timeout(all[i], 120);
        suite_add_tcase(s, all[i]);
    }
    tcase_add_test(usage, help_lists_every_verb);
    tcase_add_test(usage, help_of_a_verb_lists_its_flags);
    tcase_add_test(usage, help_of_train_lists_every_setting);
    tcase_add_test(usage, help_has_other_forms);
    tcase_add_test(usage, wrong_usage_exits_with_2);
    tcase_add_test(usage, missing_files_exit_with_1);
    tcase_add_test(machine, info_describes_the_machine);
    tcase_add_test(machine, info_plans_the_memory);
    tcase_add_test(machine, bench_measures);
    tcase_add_test(machine, bench_leaves_nothing_behind);
    tcase_add_test(machine, a_full_disk_is_an_error);
    tcase_add_test(model, export_writes_what_others_load);
    tcase_add_test(model, eval_measures);
    tcase_add_test(model, info_describes_a_model);
    return s;
}

int main(void) {
    return test_run(suite());
}
