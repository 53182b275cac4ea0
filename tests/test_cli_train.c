/* zvit train as its users meet it: what a run leaves, settings from everywhere, signals, resuming.
 */
#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/support.h"
#include "vit/json.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(train_leaves_a_run) {
    static const char *const files[] = {"args.json", "classes.txt", "log.csv", "last.safetensors",
                                        "best.safetensors"};
    outcome result = train_tiny();
    check_code(&result, 0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64];
        snprintf(name, sizeof name, "run/%s", files[i]);
        ck_assert_msg(file_exists(in_folder(name)), "%s is missing", name);
    }
    check_has(result.out, "best top-1");
    check_has(result.out, in_folder("run"));
    ck_assert_uint_eq(count_lines(result.out), 5);
    check_has(result.err, "epoch 2/2");
    check_has_not(result.out, "epoch 2/2  ");
    check_has_not(result.err, "\x1b"); /* no terminal, no colour */
    release(&result);

    check_failure(zvit("train", in_folder("data"), "--out", in_folder("run"), TINY_MODEL, NULL),
                  "train", "already holds a run");
}
END_TEST

/* The epochs are those that the steps make, not --epochs' default. */
START_TEST(steps_make_the_epochs_that_are_told) {
    make_data();
    outcome result = zvit("train", in_folder("data"), "--out", in_folder("run"), "--steps", "3",
                          "--no-report", TINY_MODEL, NULL);
    check_code(&result, 0);
    char *of = strstr(result.err, "epoch 1/");
    ck_assert_msg(of != NULL, "%s", result.err);
    char expected[64];
    snprintf(expected, sizeof expected, " of %d)\n", atoi(of + strlen("epoch 1/")));
    check_has(result.out, expected);
    check_has_not(result.out, " of 100)");
    release(&result);
}
END_TEST

START_TEST(quiet_says_nothing) {
    make_data();
    outcome result = zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "1",
                          "--quiet", TINY_MODEL, NULL);
    check_code(&result, 0);
    ck_assert_str_eq(result.err, "");
    release(&result);
}
END_TEST

START_TEST(a_run_starts_from_another) {
    outcome result;
    train_for(&result);
    result = zvit("train", in_folder("data"), "--out", in_folder("run2"), "--epochs", "1",
                  TINY_MODEL, "--init", in_folder("run"), "--attn", "softmax", "--json", NULL);
    check_code(&result, 0);
    check_has(result.err, "init: fused");
    check_has(result.err, "init: left_out   blocks.0.attn.prior_mu");
    vit_json *root = parse(result.out);
    const vit_json *init = vit_json_get(root, "init");
    ck_assert_double_eq(number_of(init, "fused"), 2);
    ck_assert_double_eq(number_of(init, "fresh"), 0);
    ck_assert_double_eq(number_of(init, "left_out"), 6);
    ck_assert_double_eq(number_of(root, "best_epoch"), 1);
    vit_json_free(root);
    release(&result);
    result = zvit("train", in_folder("data"), "--out", in_folder("run3"), "--epochs", "1",
                  TINY_MODEL, "--distill", in_folder("run2"), NULL);
    check_code(&result, 0);
    release(&result);
    check_failure(zvit("train", in_folder("data"), "--out", in_folder("run4"), TINY_MODEL,
                       "--distill", in_folder("run"), "--mean", "0", "0", "0", NULL),
                  "train", "expected the same here");
    check_failure(zvit("train", in_folder("data"), "--out", in_folder("run4"), TINY_MODEL, "--init",
                       in_folder("run/best.safetensors"), "--embed-dim", "32", NULL),
                  "train", "embed-dim 16 (expected 32");
    ck_assert(!file_exists(in_folder("run4")));
}
END_TEST

START_TEST(config_repeats_a_run) {
    outcome result;
    train_for(&result);
    result = zvit("train", in_folder("data"), "--out", in_folder("again"), "--config",
                  in_folder("run/args.json"), "--threads", "1", NULL);
    check_code(&result, 0);
    release(&result);
    check_same_file(in_folder("run/last.safetensors"), in_folder("again/last.safetensors"));
}
END_TEST

START_TEST(the_command_line_wins) {
    outcome result;
    train_for(&result);
    result = zvit("train", in_folder("data"), "--out", in_folder("again"), "--config",
                  in_folder("run/args.json"), "--epochs", "1", NULL);
    check_code(&result, 0);
    release(&result);
    char *text = read_text(in_folder("again/args.json"));
    vit_json *root = parse(text);
    const vit_json *sources = vit_json_get(root, "sources");
    ck_assert_double_eq(number_of(root, "epochs"), 1);
    ck_assert_str_eq(string_of(sources, "epochs"), "user");
    ck_assert_double_eq(number_of(root, "embed_dim"), 16);
    ck_assert_str_eq(string_of(sources, "embed_dim"), "config");
    vit_json_free(root);
    free(text);

    text = read_text(in_folder("run/args.json"));
    root = parse(text);
    sources = vit_json_get(root, "sources");
    ck_assert_str_eq(string_of(sources, "embed_dim"), "user");
    ck_assert_str_eq(string_of(sources, "attn"), "model");
    ck_assert_str_eq(string_of(sources, "lr"), "default");
    vit_json_free(root);
    free(text);
}
END_TEST

START_TEST(config_is_checked) {
    static const char *const bad[][2] = {
        {"{\"epocs\": 3}", "epocs"},
        {"[1]", "not a JSON object"},
        {"{\"epochs\": 0}", "epochs: 0"},
        {"{\"epochs\": 3", "wrong.json"},
    };
    make_data();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_text(in_folder("wrong.json"), bad[i][0]);
        check_failure(zvit("train", in_folder("data"), "--out", in_folder("run"), "--config",
                           in_folder("wrong.json"), NULL),
                      "train", bad[i][1]);
        ck_assert(!file_exists(in_folder("run")));
    }
}
END_TEST

START_TEST(a_config_may_name_the_model) {
    static const char text[] = "{\"model\": \"vit_micro_patch4_28\", \"epochs\": 1, \"depth\": 1}";
    make_data();
    write_text(in_folder("small.json"), text);
    outcome result = zvit("train", in_folder("data"), "--out", in_folder("run"), "--config",
                          in_folder("small.json"), NULL);
    check_code(&result, 0);
    release(&result);
    result = zvit("info", in_folder("run"), "--json", NULL);
    check_code(&result, 0);
    vit_json *root = parse(result.out);
    const vit_json *shape = vit_json_get(root, "model_args");
    ck_assert_str_eq(string_of(root, "architecture"), "custom"); /* its depth is another */
    ck_assert_str_eq(string_of(shape, "attn"), "softmax");
    ck_assert_double_eq(number_of(shape, "embed_dim"), 96);
    ck_assert_double_eq(number_of(shape, "depth"), 1);
    vit_json_free(root);
    release(&result);
}
END_TEST

/* Starts a run without end, waits for its first epoch, sends the signal. */
static int stop_with(int number) {
    const char *log = in_folder("run/log.csv");
    char *words[] = {"zvit",
                     "train",
                     (char *)in_folder("data"),
                     "--out",
                     (char *)in_folder("run"),
                     "--epochs",
                     "100000",
                     TINY_MODEL,
                     NULL};
    pid_t child = start(in_folder(".out"), in_folder(".err"), words);
    for (int i = 0; i < 3000; i++) {
        if (file_exists(log)) {
            char *text = read_text(log);
            size_t lines = count_lines(text);
            free(text);
            if (lines > 1) {
                break;
            }
        }
        usleep(10000);
    }
    kill(child, number);
    return wait_for(child);
}

START_TEST(signals_save_and_stop) {
    int number = _i == 0 ? SIGINT : SIGTERM;
    make_data();
    ck_assert_int_eq(stop_with(number), 128 + number);
    char *err = read_text(in_folder(".err"));
    check_has(err, "last.safetensors");
    free(err);
    outcome result = zvit("info", in_folder("run/last.safetensors"), NULL);
    check_code(&result, 0);
    release(&result);
}
END_TEST

/* Its own DATA and settings, or others only on demand. */
START_TEST(a_run_is_resumed) {
    make_data();
    ck_assert_int_eq(stop_with(SIGKILL), 128 + SIGKILL);
    char run[1024];
    snprintf(run, sizeof run, "%s", in_folder("run"));
    check_failure(zvit("train", "--resume", run, "--epochs", "3", NULL), "train",
                  "--epochs: 3, but the run began with 100000");
    check_usage(zvit("train", "--resume", run, "--out", in_folder("other"), NULL), "--out");
    check_failure(zvit("train", "--resume", in_folder("data"), NULL), "train", "args.json");
    outcome result = zvit("train", "--resume", run, "--epochs", "2", "--override", NULL);
    check_code(&result, 0);
    check_has(result.err, "resumed after epoch");
    check_has(result.out, in_folder("run/best.safetensors"));
    release(&result);
    result = zvit("train", "--resume", run, NULL); /* at its end, by its own settings */
    check_code(&result, 0);
    release(&result);
    vit_json *args = NULL;
    ck_vit_ok(vit_json_read(in_folder("run/args.json"), 1 << 20, &args));
    const vit_json *sources = vit_json_get(args, "sources");
    ck_assert_double_eq(number_of(args, "epochs"), 2);
    ck_assert_str_eq(string_of(sources, "epochs"), "user");
    ck_assert_str_eq(string_of(sources, "embed_dim"), "user");
    ck_assert_str_eq(string_of(sources, "lr"), "default");
    vit_json_free(args);
}
END_TEST

/* Model < recipe < file < flags. */
START_TEST(a_recipe_gives_way) {
    make_data();
    const char text[] = "{\"recipe\": \"deit-tiny\", \"mixup\": 0.5, \"reprob\": 0}";
    write_text(in_folder("c.json"), text);
    outcome result =
        zvit("train", in_folder("data"), "--out", in_folder("run"), "--config", in_folder("c.json"),
             "--epochs", "1", "--reprob", "0.125", TINY_MODEL, NULL);
    check_code(&result, 0);
    release(&result);
    vit_json *args = NULL;
    ck_vit_ok(vit_json_read(in_folder("run/args.json"), 1 << 20, &args));
    const vit_json *sources = vit_json_get(args, "sources");
    const struct {
        const char *key, *source;
        double value;
    } cases[] = {{"mixup", "config", 0.5},        {"reprob", "user", 0.125},
                 {"cutmix", "recipe", 1},         {"epochs", "user", 1},
                 {"repeated_aug", "recipe", 3},   {"batch_size", "user", 4},
                 {"lr_base_size", "recipe", 512}, {"hflip", "default", 0.5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_double_eq(number_of(args, cases[i].key), cases[i].value);
        ck_assert_str_eq(string_of(sources, cases[i].key), cases[i].source);
    }
    ck_assert_str_eq(string_of(args, "recipe"), "deit-tiny");
    vit_json_free(args);
    check_usage(zvit("train", in_folder("data"), "--recipe", "nosuch", NULL), "small-data");
}
END_TEST

START_TEST(train_tells_and_checks_its_memory) {
    make_data();
    outcome result = zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "1",
                          TINY_MODEL, "-b", "auto", NULL);
    check_code(&result, 0);
    check_has(result.err, "memory: 0.");
    char *args = read_text(in_folder("run/args.json"));
    check_has(args, "\"batch_size\":\t1,"); /* of six pictures */
    free(args);
    release(&result);
    /* A model that no machine has the memory for. */
    check_failure(zvit("train", in_folder("data"), "--out", in_folder("other"), "-q", TINY_MODEL,
                       "--embed-dim", "16384", "--depth", "256", NULL),
                  "train", "training takes");
    ck_assert(!file_exists(in_folder("other")));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cli_train");
    TCase *tcase = tcase_create("cli_train");
    tcase_add_checked_fixture(tcase, make_folder, remove_folder);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, train_leaves_a_run);
    tcase_add_test(tcase, steps_make_the_epochs_that_are_told);
    tcase_add_test(tcase, quiet_says_nothing);
    tcase_add_test(tcase, a_run_starts_from_another);
    tcase_add_test(tcase, config_repeats_a_run);
    tcase_add_test(tcase, the_command_line_wins);
    tcase_add_test(tcase, config_is_checked);
    tcase_add_test(tcase, a_config_may_name_the_model);
    tcase_add_loop_test(tcase, signals_save_and_stop, 0, 2);
    tcase_add_test(tcase, a_run_is_resumed);
    tcase_add_test(tcase, a_recipe_gives_way);
    tcase_add_test(tcase, train_tells_and_checks_its_memory);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
