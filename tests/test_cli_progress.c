/* Progress and events of the command: on a terminal, elsewhere, for machines. */
#include "tests/support/command.h"
#include "tests/support/models.h"
#include "tests/support/support.h"

#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLOUR "\x1b[32m"

enum { PICTURES = 1500 };

/* FOLDER/model, FOLDER/list.txt with many lines: something that takes a while. */
static void make_work(void) {
    static const char *const names[] = {"bright", "dull"};
    small_model_save(&(small_model){.classes = names, .num_classes = 2},
                     in_folder("model.safetensors"));
    copy_picture("gray.png", in_folder("a.png"));
    FILE *list = fopen(in_folder("list.txt"), "w");
    ck_assert_ptr_nonnull(list);
    for (int i = 0; i < PICTURES; i++) {
        fprintf(list, "%s/a.png\n", folder);
    }
    ck_assert_int_eq(fclose(list), 0);
}

/* What zvit classify prints on standard error when that is a terminal; to be freed. */
static char *on_a_terminal(const char *term, const char *no_color, const char *extra) {
    enum { MOST = 1 << 20 };
    char list[1024], *text = calloc(MOST, 1);
    const char *model = in_folder("model.safetensors");
    size_t size = 0;
    int terminal;
    snprintf(list, sizeof list, "@%s/list.txt", folder);
    struct winsize window = {.ws_row = 25, .ws_col = 100};
    pid_t child = forkpty(&terminal, NULL, NULL, &window);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        FILE *out = freopen(in_folder(".out"), "w", stdout);
        (void)out;
        setenv("TERM", term, 1);
        unsetenv("NO_COLOR");
        if (no_color != NULL) {
            setenv("NO_COLOR", no_color, 1);
        }
        execl(ZVIT_COMMAND, "zvit", "classify", model, list, "-b", "1", "--threads", "1", extra,
              NULL);
        _exit(127);
    }
    for (ssize_t got = 1; got > 0 && size<MOST - 1; size += got> 0 ? (size_t)got : 0) {
        got = read(terminal, text + size, MOST - 1 - size); /* fails when the other side closes */
    }
    close(terminal);
    ck_assert_int_eq(wait_for(child), 0);
    return text;
}

START_TEST(colours_and_bars_are_for_terminals) {
    static const struct {
        const char *term, *no_color, *extra;
        bool bar, colour;
    } cases[] = {
        {"xterm", NULL, NULL, true, true},        {"xterm", "", NULL, true, true},
        {"xterm", "1", NULL, true, false},        {"dumb", NULL, NULL, false, false},
        {"xterm", NULL, "--quiet", false, false}, {"xterm", NULL, "--log-json", false, false},
    };
    make_work();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = on_a_terminal(cases[i].term, cases[i].no_color, cases[i].extra);
        (cases[i].colour ? check_has : check_has_not)(text, COLOUR);
        if (cases[i].bar) {
            check_has(text, "\r");
            check_has(text, "\x1b[K");
            check_has(text, " of 1,500 pictures  ");
            check_has(text, "/s  ETA ");
        } else {
            check_has_not(text, "\x1b");
        }
        char *out = read_text(in_folder(".out"));
        check_has_not(out, "\x1b"); /* that is no terminal */
        check_has_not(out, "\r");
        ck_assert_uint_eq(count_lines(out), 2 * PICTURES);
        free(out);
        free(text);
    }
}
END_TEST

/* Every line of text is an object with "event" and "verb"; how many are `event`. */
static size_t count_events(const char *text, const char *verb, const char *event) {
    char *copy = strdup(text), *rest = NULL;
    size_t count = 0;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        vit_json *root = parse(line);
        ck_assert_str_eq(string_of(root, "verb"), verb);
        count += strcmp(string_of(root, "event"), event) == 0;
        vit_json_free(root);
    }
    free(copy);
    return count;
}

START_TEST(events_are_json_lines) {
    make_data();
    copy_picture("bad_truncated.png", in_folder("data/train/dull/4.png"));
    outcome result = zvit("train", in_folder("data"), "--out", in_folder("run"), "--epochs", "3",
                          "--log-json", TINY_MODEL, NULL);
    check_code(&result, 0);
    check_has(result.out, "best top-1"); /* results are as they were */
    ck_assert_uint_eq(count_events(result.err, "train", "epoch"), 3);
    ck_assert_uint_eq(count_events(result.err, "train", "start"), 1);
    ck_assert_uint_ge(count_events(result.err, "train", "warning"), 1); /* the broken picture */
    const char *line = strstr(result.err, "{\"event\":\"epoch\"");
    char *first = strndup(line, strcspn(line, "\n"));
    vit_json *epoch = parse(first);
    ck_assert_double_eq(number_of(epoch, "epoch"), 1);
    ck_assert_double_eq(number_of(epoch, "epochs"), 3);
    ck_assert_double_gt(number_of(epoch, "train_loss"), 0);
    ck_assert_double_ge(number_of(epoch, "top1"), 0);
    ck_assert_double_gt(number_of(epoch, "images_per_second"), 0);
    ck_assert(vit_json_bool(vit_json_get(epoch, "best"), false));
    check_has(string_of(epoch, "message"), "epoch 1/3");
    vit_json_free(epoch);
    free(first);
    release(&result);

    result = zvit("train", in_folder("data"), "--out", in_folder("run2"), "--epochs", "1",
                  "--log-json", "--quiet", TINY_MODEL, NULL);
    check_code(&result, 0); /* warnings only */
    ck_assert_uint_eq(count_events(result.err, "train", "warning"), count_lines(result.err));
    release(&result);
}
END_TEST

START_TEST(progress_is_json_lines) {
    char list[1024];
    make_work();
    snprintf(list, sizeof list, "@%s", in_folder("list.txt"));
    outcome result =
        zvit("classify", in_folder("model.safetensors"), list, "--log-json", "--csv", NULL);
    check_code(&result, 0);
    ck_assert_uint_eq(count_lines(result.out), 1 + PICTURES);
    ck_assert_uint_ge(count_events(result.err, "classify", "progress"), 1);
    ck_assert_uint_eq(count_events(result.err, "classify", "progress"), count_lines(result.err));
    char *line = result.err; /* the last one */
    for (char *next = line; *next; next = strchr(next, '\n') + 1) {
        line = next;
    }
    vit_json *root = parse(line);
    ck_assert_double_eq(number_of(root, "done"), PICTURES);
    ck_assert_double_eq(number_of(root, "total"), PICTURES);
    ck_assert_double_gt(number_of(root, "rate"), 0);
    ck_assert_double_eq(number_of(root, "eta_seconds"), 0);
    ck_assert_str_eq(string_of(root, "unit"), "pictures");
    vit_json_free(root);
    release(&result);
}
END_TEST

/* 15 products, each timed twice over at least 50 ms: longer than the second between two events. */
START_TEST(a_benchmark_says_how_far_it_is) {
    outcome result = zvit("bench", "gemm", "--model", "zeros_micro_patch4_28", "--pictures", "1",
                          "--repeats", "2", "--threads", "1", "--log-json", NULL);
    check_code(&result, 0);
    ck_assert_uint_ge(count_events(result.err, "bench", "progress"), 1);
    check_has(result.err, "\"unit\":\"timings\"");
    check_has(result.err, "\"total\":15");
    release(&result);
}
END_TEST

START_TEST(errors_are_json_lines) {
    for (size_t i = 0; zvit_verbs[i]; i++) {
        outcome result = zvit(zvit_verbs[i], "--log-json", "--nosuch", NULL);
        check_code(&result, 2);
        ck_assert_uint_eq(count_lines(result.err), 1);
        ck_assert_uint_eq(count_events(result.err, zvit_verbs[i], "error"), 1);
        check_has(result.err, "--nosuch");
        release(&result);
    }
    outcome result = zvit("info", in_folder("no\"model\n"), "--log-json", NULL);
    check_code(&result, 1);
    ck_assert_uint_eq(count_events(result.err, "info", "error"), 1);
    ck_assert_str_eq(result.out, "");
    release(&result);
    /* Behind "--" it is a word like any other. */
    check_failure(zvit("info", "--", "--log-json", NULL), "info", "--log-json: ");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("cli_progress");
    TCase *tc = tcase_create("progress");
    tcase_add_checked_fixture(tc, make_folder, remove_folder);
    tcase_set_timeout(tc, 240);
    suite_add_tcase(s, tc);
    tcase_add_test(tc, colours_and_bars_are_for_terminals);
    tcase_add_test(tc, events_are_json_lines);
    tcase_add_test(tc, progress_is_json_lines);
    tcase_add_test(tc, errors_are_json_lines);
    tcase_add_test(tc, a_benchmark_says_how_far_it_is);
    return s;
}

int main(void) {
    return test_run(suite());
}
