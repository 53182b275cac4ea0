/* Tables of options: every form of a value on the command line and in JSON, every refusal with what
 * was expected, and that what is printed is read back. */
#include "support/support.h"

#include "vit/options.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    bool fast, quiet;
    int epochs;
    int img_size[2];
    uint64_t seed;
    double lr;
    double scale[2];
    double offset;
    char name[8];
    int color;
} settings;

static const char *const colors[] = {"red", "green", "dark-blue", NULL};
static const vit_option options[] = {
    {.name = "fast", .type = VIT_OPT_BOOL, .offset = offsetof(settings, fast), .value = "true"},
    {.name = "quiet", .letter = 'q', .type = VIT_OPT_BOOL, .offset = offsetof(settings, quiet)},
    {.name = "epochs",
     .letter = 'e',
     .type = VIT_OPT_INT,
     .offset = offsetof(settings, epochs),
     .min = 1,
     .max = 1000,
     .value = "100"},
    {.name = "img-size",
     .type = VIT_OPT_INT,
     .offset = offsetof(settings, img_size),
     .count = 2,
     .min_count = 1,
     .min = 1,
     .max = 8192,
     .value = "224"},
    {.name = "seed", .type = VIT_OPT_U64, .offset = offsetof(settings, seed), .value = "42"},
    {.name = "lr",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(settings, lr),
     .min = 0,
     .max = 10,
     .value = "5e-4"},
    {.name = "scale",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(settings, scale),
     .count = 2,
     .min = 0,
     .max = 1,
     .value = "0.08 1"},
    {.name = "offset", .letter = 'o', .type = VIT_OPT_DOUBLE, .offset = offsetof(settings, offset)},
    {.name = "name", .type = VIT_OPT_STRING, .offset = offsetof(settings, name), .count = 8},
    {.name = "color",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(settings, color),
     .choices = colors,
     .value = "green"},
};
enum { OPTIONS = sizeof options / sizeof *options };

typedef struct fixture {
    settings values;
    unsigned char sources[OPTIONS];
    vit_option_group group;
} fixture;

static void prepare(fixture *f) {
    memset(f, 0xa5, sizeof *f);
    f->group = (vit_option_group){"Test", options, OPTIONS, &f->values, f->sources};
    ck_vit_ok(vit_options_defaults(&f->group));
}

/* Splits line at blanks and parses it; the words that are left, joined, must be `positional`. */
static vit_status parse(fixture *f, const char *line, const char *positional) {
    char copy[512];
    char *argv[32];
    int argc = 0, count = -1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    vit_status status = vit_options_parse(&f->group, 1, argc, argv, &count);
    if (status == VIT_OK && positional) {
        char joined[512] = "";
        for (int i = 0; i < count; i++) {
            strcat(joined, i ? " " : "");
            strcat(joined, argv[i]);
        }
        ck_assert_str_eq(joined, positional);
    }
    return status;
}

START_TEST(defaults_fill_every_field) {
    fixture f;
    prepare(&f);
    ck_assert(f.values.fast && !f.values.quiet);
    ck_assert_int_eq(f.values.epochs, 100);
    ck_assert_int_eq(f.values.img_size[0], 224);
    ck_assert_int_eq(f.values.img_size[1], 224);
    ck_assert_uint_eq(f.values.seed, 42);
    ck_assert_double_eq(f.values.lr, 5e-4);
    ck_assert_double_eq(f.values.scale[0], 0.08);
    ck_assert_double_eq(f.values.scale[1], 1);
    ck_assert_double_eq(f.values.offset, 0);
    ck_assert_str_eq(f.values.name, "");
    ck_assert_int_eq(f.values.color, 1);
    for (int i = 0; i < OPTIONS; i++) {
        ck_assert_int_eq(f.sources[i], VIT_FROM_DEFAULT);
    }
}
END_TEST

START_TEST(parses_every_form) {
    fixture f;
    prepare(&f);
    ck_vit_ok(parse(&f,
                    "a --no-fast -q --epochs 3 --img-size 64 96 b --seed=18446744073709551615 "
                    "--lr=1e-3 --scale 0.2,0.5 - --offset -2.5 --name hello --color dark-blue "
                    "c -- --epochs -x",
                    "a b - c --epochs -x"));
    ck_assert(!f.values.fast && f.values.quiet);
    ck_assert_int_eq(f.values.epochs, 3);
    ck_assert_int_eq(f.values.img_size[0], 64);
    ck_assert_int_eq(f.values.img_size[1], 96);
    ck_assert(f.values.seed == UINT64_MAX);
    ck_assert_double_eq(f.values.lr, 1e-3);
    ck_assert_double_eq(f.values.scale[0], 0.2);
    ck_assert_double_eq(f.values.scale[1], 0.5);
    ck_assert_double_eq(f.values.offset, -2.5);
    ck_assert_str_eq(f.values.name, "hello");
    ck_assert_int_eq(f.values.color, 2);
    ck_assert_int_eq(f.sources[2], VIT_FROM_USER);
    ck_assert_int_eq(f.sources[0], VIT_FROM_USER);
}
END_TEST

START_TEST(lists_end_where_they_should) {
    fixture f;
    prepare(&f);
    ck_vit_ok(parse(&f, "--img-size 64 photos", "photos"));
    ck_assert_int_eq(f.values.img_size[1], 64);
    ck_vit_ok(parse(&f, "--img-size 32,48 7", "7"));
    ck_assert_int_eq(f.values.img_size[1], 48);
    ck_vit_ok(parse(&f, "--img-size=16 7", "7"));
    ck_assert_int_eq(f.values.img_size[1], 16);
    ck_vit_ok(parse(&f, "--scale 0.25 .75 9", "9"));
    ck_assert_double_eq(f.values.scale[1], 0.75);
    ck_vit_ok(parse(&f, "--img-size 64 --epochs 2", ""));
    ck_assert_int_eq(f.values.img_size[1], 64);
}
END_TEST

START_TEST(letters) {
    fixture f;
    prepare(&f);
    ck_vit_ok(parse(&f, "-e 7 x", "x"));
    ck_assert_int_eq(f.values.epochs, 7);
    ck_vit_ok(parse(&f, "-qe32", ""));
    ck_assert(f.values.quiet && f.values.epochs == 32);
    ck_vit_ok(parse(&f, "-o-1.5", ""));
    ck_assert_double_eq(f.values.offset, -1.5);
    ck_vit_ok(parse(&f, "-o -.5", ""));
    ck_assert_double_eq(f.values.offset, -0.5);
}
END_TEST

START_TEST(the_last_value_wins) {
    fixture f;
    prepare(&f);
    ck_vit_ok(parse(&f, "--epochs 1 --epochs 2 --fast --no-fast --quiet=true --quiet=no", ""));
    ck_assert_int_eq(f.values.epochs, 2);
    ck_assert(!f.values.fast && !f.values.quiet);
}
END_TEST

static const struct {
    const char *line;
    const char *message; /* that it must hold */
} wrong[] = {
    {"--epochs 0", "--epochs: 0 (expected 1 to 1000)"},
    {"--epochs 1001", "--epochs: 1001 (expected 1 to 1000)"},
    {"--epochs -1", "--epochs: -1 (expected 1 to 1000)"},
    {"--epochs 1.5", "1.5 is not a whole number"},
    {"--epochs 1e2", "1e2 is not a whole number"},
    {"--epochs 12x", "12x is not a whole number"},
    {"--epochs 0x10", "0x10 is not a whole number"},
    {"--epochs 99999999999999999999", "(expected 1 to 1000)"},
    {"--epochs 1,2", "--epochs: 1,2 (expected"},
    {"--epochs=", "--epochs: \"\" (expected 1 to 1000)"},
    {"--epochs", "--epochs: value missing (expected 1 to 1000)"},
    {"--epochs --quiet", "--epochs: value missing"},
    {"-e", "--epochs: value missing"},
    {"-ex", "--epochs: x is not a whole number"},
    {"--lr nan", "--lr: nan is not a number (expected 0 to 10)"},
    {"--lr inf", "inf is not a number"},
    {"--lr=-inf", "-inf is not a number"},
    {"--lr 1e999", "1e999 is not a number"},
    {"--lr 0.1abc", "0.1abc is not a number"},
    {"--lr 0x1p3", "0x1p3 is not a number"},
    {"--lr 1.2.3", "1.2.3 is not a number"},
    {"--lr -1e-9", "--lr: -1e-9 (expected 0 to 10)"},
    {"--scale 0.5", "--scale: 0.5 (expected 2 numbers, 0 to 1)"},
    {"--scale 0.5 2", "--scale: 0.5 2 (expected 2 numbers, 0 to 1)"},
    {"--scale=0.1,0.2,0.3", "(expected 2 numbers, 0 to 1)"},
    {"--img-size 0", "(expected 1 or 2 whole numbers, 1 to 8192)"},
    {"--seed -1", "--seed: -1 is not a whole number from 0"},
    {"--seed 18446744073709551616", "64 bits"},
    {"--seed 1.0", "not a whole number"},
    {"--name waytoolong", "(expected at most 7 bytes of text)"},
    {"--name", "--name: value missing"},
    {"--color blue", "--color: blue (expected one of red, green, dark-blue)"},
    {"--color re", "one of red"},
    {"--quiet=maybe", "--quiet: maybe (expected true or false)"},
    {"--no-fast=1", "--no-fast: takes no value"},
    {"--no-epochs", "--no-epochs: unknown option"},
    {"--epoch 3", "--epoch: unknown option (did you mean --epochs?)"},
    {"--image-size 3", "did you mean --img-size?"},
    {"--img_size=3", "--img_size: unknown option (did you mean --img-size?)"},
    {"--no-fats", "did you mean --no-fast?"},
    {"--col red", "did you mean --color?"},
    {"--wholly-different", "--wholly-different: unknown option"},
    {"-z", "-z: unknown option"},
    {"-qz3", "-z: unknown option (in -qz3)"},
    {"-5", "-5: unknown option"},
};

START_TEST(refuses_wrong_words) {
    fixture f;
    prepare(&f);
    vit_status status = parse(&f, wrong[_i].line, NULL);
    ck_assert_msg(status == VIT_ERROR_ARGUMENT, "%s: status %d", wrong[_i].line, (int)status);
    ck_assert_msg(strstr(vit_last_error(), wrong[_i].message), "%s: %s", wrong[_i].line,
                  vit_last_error());
}
END_TEST

START_TEST(a_wild_guess_is_not_suggested) {
    fixture f;
    prepare(&f);
    ck_assert_int_eq(parse(&f, "--wholly-different", NULL), VIT_ERROR_ARGUMENT);
    ck_assert_ptr_null(strstr(vit_last_error(), "did you mean"));
}
END_TEST

START_TEST(a_long_word_does_no_harm) {
    fixture f;
    prepare(&f);
    char line[400] = "--";
    memset(line + 2, 'e', 390);
    ck_assert_int_eq(parse(&f, line, NULL), VIT_ERROR_ARGUMENT);
    memcpy(line, "--lr=", 5);
    memset(line + 5, '1', 390);
    ck_assert_int_eq(parse(&f, line, NULL), VIT_ERROR_ARGUMENT);
}
END_TEST

START_TEST(a_failed_value_changes_nothing) {
    fixture f;
    prepare(&f);
    settings before = f.values;
    for (size_t i = 0; i < 5; i++) {
        parse(&f, wrong[i].line, NULL);
        parse(&f, "--scale 0.5 2", NULL);
        parse(&f, "--name waytoolong", NULL);
    }
    ck_assert_mem_eq(&before, &f.values, sizeof before);
}
END_TEST

START_TEST(formats_what_it_reads) {
    fixture f, g;
    prepare(&f);
    prepare(&g);
    ck_vit_ok(parse(&f,
                    "--no-fast -q --epochs 999 --img-size 3 5 --seed 18446744073709551615 "
                    "--lr 0.1234567890123456789 --scale 1e-17 0.3333333333333333 --offset -1e300 "
                    "--name a,b --color red",
                    ""));
    for (size_t i = 0; i < OPTIONS; i++) {
        char text[128];
        vit_option_format(&options[i], &f.values, text, sizeof text);
        ck_vit_ok(vit_option_set(&g.group, i, text, "--", VIT_FROM_CONFIG));
        ck_assert_int_eq(g.sources[i], VIT_FROM_CONFIG);
    }
    ck_assert_mem_eq(&f.values.lr, &g.values.lr, sizeof f.values.lr);
    ck_assert_mem_eq(f.values.scale, g.values.scale, sizeof f.values.scale);
    ck_assert_double_eq(f.values.offset, g.values.offset);
    ck_assert(f.values.seed == g.values.seed && !g.values.fast && g.values.quiet);
    ck_assert_mem_eq(f.values.img_size, g.values.img_size, sizeof f.values.img_size);
    ck_assert_str_eq(g.values.name, "a,b");
    ck_assert_int_eq(g.values.color, 0);
    char small[4];
    vit_option_format(&options[4], &f.values, small, sizeof small);
    ck_assert_str_eq(small, "184");
}
END_TEST

START_TEST(json_round_trip) {
    fixture f, g;
    prepare(&f);
    prepare(&g);
    ck_vit_ok(parse(&f,
                    "--no-fast --epochs 999 --img-size 3 5 --seed 18446744073709551615 "
                    "--lr 0.1234567890123456789 --scale 1e-17 0.3 --name caf\xc3\xa9 --color red",
                    ""));
    vit_json *object = vit_json_object();
    ck_vit_ok(vit_options_to_json(&f.group, object));
    ck_assert_uint_eq(vit_json_count(object), OPTIONS);
    ck_assert_uint_eq(vit_json_count(vit_json_get(object, "img_size")), 2);
    ck_assert_str_eq(vit_json_string(vit_json_get(object, "color"), ""), "red");
    char *text;
    ck_vit_ok(vit_json_print(object, true, &text));
    vit_json *back;
    ck_vit_ok(vit_json_parse(text, strlen(text), "args.json", &back));
    ck_vit_ok(vit_options_from_json(&g.group, back, "args.json", VIT_FROM_CONFIG));
    for (size_t i = 0; i < OPTIONS; i++) {
        char first[128], second[128];
        vit_option_format(&options[i], &f.values, first, sizeof first);
        vit_option_format(&options[i], &g.values, second, sizeof second);
        ck_assert_str_eq(first, second);
        ck_assert_int_eq(g.sources[i], VIT_FROM_CONFIG);
    }
    free(text);
    vit_json_free(object);
    vit_json_free(back);
}
END_TEST

static const struct {
    const char *text;
    const char *message; /* NULL: fine */
} json_rows[] = {
    {"{}", NULL},
    {"{\"unknown\": 1, \"lr\": null}", NULL},
    {"{\"img_size\": 96}", NULL},
    {"{\"img_size\": [96]}", NULL},
    {"{\"img_size\": [96, 64, 3]}", "args.json: img_size: [96,64,3] (expected"},
    {"{\"img_size\": []}", "(expected 1 or 2 whole numbers"},
    {"{\"img_size\": [96, \"64\"]}", "img_size"},
    {"{\"img_size\": [[96]]}", "img_size"},
    {"{\"epochs\": 2.5}", "args.json: epochs: 2.5 is not a whole number"},
    {"{\"epochs\": \"3\"}", "epochs: \"3\" (expected 1 to 1000)"},
    {"{\"epochs\": [3]}", "epochs: [3] (expected"},
    {"{\"epochs\": 0}", "epochs: 0 (expected 1 to 1000)"},
    {"{\"epochs\": 1e300}", "epochs: 1e+300 (expected"},
    {"{\"seed\": -1}", "seed"},
    {"{\"seed\": 1.5}", "seed"},
    {"{\"seed\": \"18446744073709551616\"}", "64 bits"},
    {"{\"fast\": 1}", "fast: 1 (expected true or false)"},
    {"{\"fast\": \"true\"}", "fast"},
    {"{\"lr\": {}}", "lr: {} (expected 0 to 10)"},
    {"{\"name\": 3}", "name: 3 (expected"},
    {"{\"name\": \"waytoolong\"}", "at most 7 bytes"},
    {"{\"color\": \"blue\"}", "color: blue (expected one of"},
    {"{\"color\": 0}", "color: 0 (expected one of"},
};

START_TEST(json_is_checked) {
    fixture f;
    prepare(&f);
    vit_json *json;
    const char *text = json_rows[_i].text;
    ck_vit_ok(vit_json_parse(text, strlen(text), "args.json", &json));
    vit_status status = vit_options_from_json(&f.group, json, "args.json", VIT_FROM_CONFIG);
    if (json_rows[_i].message) {
        ck_assert_msg(status == VIT_ERROR_FORMAT, "%s: status %d", text, (int)status);
        ck_assert_msg(strstr(vit_last_error(), json_rows[_i].message), "%s: %s", text,
                      vit_last_error());
    } else {
        ck_vit_ok(status);
    }
    vit_json_free(json);
}
END_TEST

START_TEST(a_word_may_stand_for_zero) {
    int size = 5;
    const vit_option row = {.name = "batch-size",
                            .type = VIT_OPT_INT,
                            .min = 1,
                            .max = 64,
                            .zero = "auto",
                            .value = "8"};
    const vit_option_group group = {.options = &row, .count = 1, .target = &size};
    char text[64];
    char *words[] = {(char[]){"--batch-size"}, (char[]){"auto"}};
    int positional = 0;
    ck_vit_ok(vit_options_defaults(&group));
    ck_assert_int_eq(size, 8);
    ck_vit_ok(vit_options_parse(&group, 1, 2, words, &positional));
    ck_assert_int_eq(size, 0);
    ck_vit_ok(vit_option_check(&row, &size, "--"));
    vit_option_format(&row, &size, text, sizeof text);
    ck_assert_str_eq(text, "auto");
    vit_json *object = vit_json_object();
    ck_vit_ok(vit_options_to_json(&group, object));
    ck_assert_str_eq(vit_json_string(vit_json_get(object, "batch_size"), ""), "auto");
    size = 7;
    ck_vit_ok(vit_options_from_json(&group, object, "file", VIT_FROM_CONFIG));
    ck_assert_int_eq(size, 0);
    vit_json_free(object);
    /* The number is no value of its own. */
    ck_assert_int_eq(vit_option_set(&group, 0, "0", "--", VIT_FROM_USER), VIT_ERROR_ARGUMENT);
    ck_assert_str_eq(vit_last_error(), "--batch-size: 0 (expected auto, or 1 to 64)");
    ck_assert_int_eq(vit_option_set(&group, 0, "automatic", "--", VIT_FROM_USER),
                     VIT_ERROR_ARGUMENT);
}
END_TEST

START_TEST(ranges_read_well) {
    static const struct {
        vit_option option;
        const char *text;
    } rows[] = {
        {{.name = "a", .type = VIT_OPT_INT}, "a whole number"},
        {{.name = "a", .type = VIT_OPT_INT, .min = 1, .max = INT_MAX}, "at least 1"},
        {{.name = "a", .type = VIT_OPT_DOUBLE}, "a number"},
        {{.name = "a", .type = VIT_OPT_DOUBLE, .min = 0.01, .max = 1}, "0.01 to 1"},
        {{.name = "a", .type = VIT_OPT_DOUBLE, .max = INFINITY}, "at least 0"},
        {{.name = "a", .type = VIT_OPT_DOUBLE, .count = 3}, "3 numbers"},
        {{.name = "a", .type = VIT_OPT_BOOL}, "true or false"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];
        vit_option_range(&rows[i].option, text, sizeof text);
        ck_assert_str_eq(text, rows[i].text);
        char small[5];
        vit_option_range(&rows[i].option, small, sizeof small);
        ck_assert_uint_eq(strlen(small), 4);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("options");
    TCase *t = tcase_create("options");
    tcase_add_test(t, defaults_fill_every_field);
    tcase_add_test(t, parses_every_form);
    tcase_add_test(t, lists_end_where_they_should);
    tcase_add_test(t, letters);
    tcase_add_test(t, the_last_value_wins);
    tcase_add_loop_test(t, refuses_wrong_words, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(t, a_wild_guess_is_not_suggested);
    tcase_add_test(t, a_long_word_does_no_harm);
    tcase_add_test(t, a_failed_value_changes_nothing);
    tcase_add_test(t, formats_what_it_reads);
    tcase_add_test(t, json_round_trip);
    tcase_add_loop_test(t, json_is_checked, 0, sizeof json_rows / sizeof *json_rows);
    tcase_add_test(t, ranges_read_well);
    tcase_add_test(t, a_word_may_stand_for_zero);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
