/* JSON: what RFC 8259 allows is read, everything else refused by line and column; bounds, and
 * numbers that come back from print to the last bit. */
#include "support/support.h"

#include "vit/json.h"
#include "vit/number.h"
#include "vit/rng.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static vit_json *parse(const char *text) {
    vit_json *json;
    ck_vit_ok(vit_json_parse(text, strlen(text), "test", &json));
    return json;
}

START_TEST(reads_every_kind) {
    vit_json *json = parse("\xef\xbb\xbf {\"a\": [1, -2.5e3, true, false, null, \"x\\u00e9\\n\"],"
                           "\"b\": {\"c\": \"\\ud83d\\ude00\"}, \"B\": 7}\n\t ");
    const vit_json *a = vit_json_get(json, "a");
    ck_assert(vit_json_is_array(a) && !vit_json_is_object(a));
    ck_assert_uint_eq(vit_json_count(a), 6);
    ck_assert_double_eq(vit_json_number(vit_json_at(a, 0), 0), 1);
    ck_assert_double_eq(vit_json_number(vit_json_at(a, 1), 0), -2500);
    ck_assert(vit_json_is_bool(vit_json_at(a, 2)) && vit_json_bool(vit_json_at(a, 2), false));
    ck_assert(!vit_json_bool(vit_json_at(a, 3), true));
    ck_assert(!vit_json_is_number(vit_json_at(a, 4)) && vit_json_at(a, 4));
    ck_assert_str_eq(vit_json_string(vit_json_at(a, 5), ""), "x\xc3\xa9\n");
    ck_assert_ptr_null(vit_json_at(a, 6));
    ck_assert_ptr_null(vit_json_key(vit_json_at(a, 0)));
    const vit_json *b = vit_json_get(json, "b");
    ck_assert_str_eq(vit_json_string(vit_json_get(b, "c"), ""), "\xf0\x9f\x98\x80");
    ck_assert_double_eq(vit_json_number(vit_json_get(json, "B"), 0), 7);
    ck_assert_ptr_null(vit_json_get(json, "A"));
    ck_assert_ptr_null(vit_json_get(a, "a"));
    ck_assert_str_eq(vit_json_key(vit_json_next(vit_json_first(json))), "b");
    ck_assert_ptr_null(vit_json_get(NULL, "a"));
    ck_assert_str_eq(vit_json_string(NULL, "fallback"), "fallback");
    vit_json_free(json);
}
END_TEST

static const struct {
    const char *text;
    vit_status status;
    const char *word; /* that the message must hold */
} malformed[] = {
    {"", VIT_ERROR_FORMAT, "empty"},
    {" \n", VIT_ERROR_FORMAT, "empty"},
    {"{", VIT_ERROR_FORMAT, "line 1, column 2: expected a key"},
    {"{\n\"a\": }", VIT_ERROR_FORMAT, "line 2, column 6: expected a value"},
    {"[1,]", VIT_ERROR_FORMAT, "column 4: expected a value"},
    {"[1] x", VIT_ERROR_FORMAT, "after the value"},
    {"[1]]", VIT_ERROR_FORMAT, "after the value"},
    {"{}{}", VIT_ERROR_FORMAT, "after the value"},
    {"truex", VIT_ERROR_FORMAT, "after the value"},
    {"tru", VIT_ERROR_FORMAT, "expected a value"},
    {"{\"a\":1,\"b\":2,\"a\":3}", VIT_ERROR_FORMAT, "\"a\" is there twice"},
    {"[[{\"a\":1,\"a\":1}]]", VIT_ERROR_FORMAT, "twice"},
    {"[1e999]", VIT_ERROR_FORMAT, "too large"},
    {"{\"lr\":-1e400}", VIT_ERROR_FORMAT, "lr is too large"},
    {"[01]", VIT_ERROR_FORMAT, "number"},
    {"[1.]", VIT_ERROR_FORMAT, "number"},
    {"[.5]", VIT_ERROR_FORMAT, "expected a value"},
    {"[+5]", VIT_ERROR_FORMAT, "expected a value"},
    {"[-]", VIT_ERROR_FORMAT, "number"},
    {"[1e]", VIT_ERROR_FORMAT, "number"},
    {"[1e+]", VIT_ERROR_FORMAT, "number"},
    {"[0x10]", VIT_ERROR_FORMAT, "column 3: expected ',' or ']'"},
    {"[NaN]", VIT_ERROR_FORMAT, "expected a value"},
    {"[Infinity]", VIT_ERROR_FORMAT, "expected a value"},
    {"[0.0000000000000000000000000000000000000000000000000000000000000001]", VIT_ERROR_LIMIT,
     "63 characters"},
    {"[\"a]", VIT_ERROR_FORMAT, "does not end"},
    {"[\"a\\\"]", VIT_ERROR_FORMAT, "does not end"},
    {"[\"a\nb\"]", VIT_ERROR_FORMAT, "control character"},
    {"[\"\\x41\"]", VIT_ERROR_FORMAT, "escape"},
    {"[\"\\u00g0\"]", VIT_ERROR_FORMAT, "hexadecimal"},
    {"[\"\\u0000\"]", VIT_ERROR_FORMAT, "zero character"},
    {"[\"\\ud800\"]", VIT_ERROR_FORMAT, "surrogate"},
    {"[\"\\ud800\\u0041\"]", VIT_ERROR_FORMAT, "surrogate"},
    {"[\"\\ud800\\n\"]", VIT_ERROR_FORMAT, "surrogate"},
    {"[\"\\udc00\\ud800\"]", VIT_ERROR_FORMAT, "surrogate"},
    {"[\"\xff\"]", VIT_ERROR_FORMAT, "UTF-8"},
    {"[\"\xc0\x80\"]", VIT_ERROR_FORMAT, "UTF-8"},
    {"[\"\xed\xa0\x80\"]", VIT_ERROR_FORMAT, "UTF-8"},
    {"[\"\xf4\x90\x80\x80\"]", VIT_ERROR_FORMAT, "UTF-8"},
    {"[\"\xe2\x82\"]", VIT_ERROR_FORMAT, "UTF-8"},
    {"['a']", VIT_ERROR_FORMAT, "expected a value"},
    {"{a:1}", VIT_ERROR_FORMAT, "double quotes"},
    {"{\"a\":1,}", VIT_ERROR_FORMAT, "column 8: expected a key"},
    {"{\"a\":1 \"b\":2}", VIT_ERROR_FORMAT, "expected ',' or '}'"},
    {"[1 2]", VIT_ERROR_FORMAT, "expected ',' or ']'"},
    {"[1}", VIT_ERROR_FORMAT, "expected ',' or ']'"},
    {"{\"a\" 1}", VIT_ERROR_FORMAT, "expected ':'"},
    {"// no\n{}", VIT_ERROR_FORMAT, "expected a value"},
};

START_TEST(refuses_malformed) {
    vit_json *json = NULL;
    const char *text = malformed[_i].text;
    /* Exactly as long as the text: a read past its end shows under ASan. */
    size_t length = strlen(text);
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    vit_status status = vit_json_parse(copy, length, "some.json", &json);
    free(copy);
    ck_assert_msg(status == malformed[_i].status, "%s: status %d", text, (int)status);
    ck_assert_ptr_null(json);
    ck_assert_msg(strstr(vit_last_error(), malformed[_i].word), "%s: %s", text, vit_last_error());
    ck_assert_msg(strncmp(vit_last_error(), "some.json: ", 11) == 0, "%s", vit_last_error());
}
END_TEST

START_TEST(a_zero_byte_is_no_end) {
    vit_json *json;
    ck_assert_int_eq(vit_json_parse("{}\0{}", 5, "test", &json), VIT_ERROR_FORMAT);
    ck_assert_int_eq(vit_json_parse("{}\0", 3, "test", &json), VIT_ERROR_FORMAT);
    ck_assert_int_eq(vit_json_parse("[\"a\0b\"]", 7, "test", &json), VIT_ERROR_FORMAT);
}
END_TEST

/* The scan and cJSON agree: what the one lets through, the other builds (it would say "out of
 * memory"), and what comes out prints and reads back the same. */
START_TEST(mutations_are_read_or_refused) {
    static const char text[] = "{\"a\": [1, -2.5e3, true, false, null], \"b\\u00e9\": {\"c\": "
                               "\"\\ud83d\\ude00\\n\\/\", \"\": [[], {}]}, \"d\": 0.125}\n";
    static const char letters[] = "\"\\{}[],:0123456789eE+-.utrfalsn \n\x01\x7f\xc3\xa9\xff";
    size_t length = sizeof text - 1, read = 0;
    for (uint64_t trial = 0; trial < 20000; trial++) {
        vit_rng rng = vit_rng_make(3, 0, trial, VIT_RNG_TEST);
        char *copy = malloc(length);
        memcpy(copy, text, length);
        for (uint32_t i = 0; i < 1 + trial % 3; i++) {
            copy[vit_rng_below(&rng, (uint32_t)length)] =
                letters[vit_rng_below(&rng, sizeof letters - 1)];
        }
        vit_json *json, *back;
        vit_status status = vit_json_parse(copy, length, "test", &json);
        ck_assert_msg(status == VIT_OK || status == VIT_ERROR_FORMAT, "%.*s: %s", (int)length, copy,
                      vit_last_error());
        free(copy);
        if (status == VIT_OK) {
            char *first, *second;
            ck_vit_ok(vit_json_print(json, trial % 2, &first));
            ck_vit_ok(vit_json_parse(first, strlen(first), "printed", &back));
            ck_vit_ok(vit_json_print(back, trial % 2, &second));
            ck_assert_str_eq(first, second);
            free(first);
            free(second);
            vit_json_free(json);
            vit_json_free(back);
            read++;
        }
    }
    ck_assert_uint_gt(read, 1000);
    ck_assert_uint_lt(read, 19000);
}
END_TEST

static vit_status parse_nested(size_t levels) {
    char *text = malloc(2 * levels);
    memset(text, '[', levels);
    memset(text + levels, ']', levels);
    vit_json *json;
    vit_status status = vit_json_parse(text, 2 * levels, "test", &json);
    vit_json_free(json);
    free(text);
    return status;
}

START_TEST(depth_and_count_are_bounded) {
    ck_assert_int_eq(parse_nested(VIT_JSON_MAX_DEPTH), VIT_OK);
    ck_assert_int_eq(parse_nested(VIT_JSON_MAX_DEPTH + 1), VIT_ERROR_LIMIT);
    ck_vit_fails(parse_nested(1000000), VIT_ERROR_LIMIT, "levels than 64");
    size_t values = VIT_JSON_MAX_VALUES + 10;
    char *text = malloc(2 * values + 2);
    for (size_t i = 0; i < values; i++) {
        memcpy(text + 2 * i, i ? ",1" : "[1", 2);
    }
    text[2 * values] = ']';
    vit_json *json;
    ck_assert_int_eq(vit_json_parse(text, 2 * values + 1, "test", &json), VIT_ERROR_LIMIT);
    free(text);
}
END_TEST

START_TEST(prints_what_it_reads) {
    static const double numbers[] = {
        0,       1,      -1,   0.1,       1.0 / 3, 1e-8,        1e300, DBL_MAX,
        DBL_MIN, 5e-324, -0.0, 123456789, 1 << 30, 4294967296., 5e15,  9007199254740991.,
        0.485};
    size_t count = sizeof numbers / sizeof *numbers;
    vit_json *root = vit_json_object();
    vit_json *list = vit_json_array();
    for (size_t i = 0; i < count; i++) {
        vit_json_add_number(list, NULL, numbers[i]);
    }
    vit_json_add(root, "numbers", list);
    vit_json_add_number(root, "nan", NAN);
    vit_json_add_number(root, "infinity", INFINITY);
    vit_json_add_bool(root, "yes", true);
    vit_json_add_string(root, "text", "quote \" slash \\ line\n\x01 \xc3\xa9");
    vit_json_add_string(root, "latin-1", "caf\xe9");
    for (int pretty = 0; pretty < 2; pretty++) {
        char *text;
        ck_vit_ok(vit_json_print(root, pretty, &text));
        vit_json *back = parse(text);
        free(text);
        for (size_t i = 0; i < count; i++) {
            double value = vit_json_number(vit_json_at(vit_json_get(back, "numbers"), i), NAN);
            ck_assert_msg(memcmp(&value, &numbers[i], sizeof value) == 0, "%.17g is %.17g",
                          numbers[i], value);
        }
        ck_assert(!vit_json_is_number(vit_json_get(back, "nan")) && vit_json_get(back, "nan"));
        ck_assert(!vit_json_is_number(vit_json_get(back, "infinity")));
        ck_assert(vit_json_bool(vit_json_get(back, "yes"), false));
        ck_assert_str_eq(vit_json_string(vit_json_get(back, "text"), ""),
                         "quote \" slash \\ line\n\x01 \xc3\xa9");
        ck_assert_str_eq(vit_json_string(vit_json_get(back, "latin-1"), ""), "caf\xef\xbf\xbd");
        vit_json_free(back);
    }
    /* Printing works on a copy: the tree stays as it was. */
    ck_assert_double_eq(vit_json_number(vit_json_at(vit_json_get(root, "numbers"), 3), 0), 0.1);
    vit_json_free(root);
}
END_TEST

START_TEST(a_lost_addition_is_remembered) {
    vit_json *root = vit_json_object();
    vit_json *inner = vit_json_array();
    vit_json_add(inner, NULL, NULL);
    vit_json_add(root, "inner", inner);
    char *text = (char *)root;
    ck_assert_int_eq(vit_json_print(root, false, &text), VIT_ERROR_MEMORY);
    ck_assert_ptr_null(text);
    vit_json_free(root);
    ck_assert_int_eq(vit_json_print(NULL, false, &text), VIT_ERROR_MEMORY);
    vit_json_add(NULL, "key", vit_json_object()); /* frees what nobody owns */
}
END_TEST

START_TEST(copies_and_removes) {
    vit_json *json = parse("{\"a\":{\"b\":[1,2]},\"A\":1}");
    vit_json *copy = vit_json_copy(json);
    vit_json_remove(json, "a");
    vit_json_remove(json, "absent");
    ck_assert_ptr_null(vit_json_get(json, "a"));
    ck_assert_ptr_nonnull(vit_json_get(json, "A"));
    ck_assert_uint_eq(vit_json_count(vit_json_get(vit_json_get(copy, "a"), "b")), 2);
    vit_json_free(json);
    vit_json_free(copy);
}
END_TEST

START_TEST(numbers_are_shortest) {
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0.1, "0.1"},
                {50000, "50000"},
                {1e-8, "1e-08"},
                {1e15, "1e+15"},
                {0.875, "0.875"},
                {-3, "-3"},
                {5e-324, "5e-324"},
                {2.5, "2.5"},
                {1e14, "100000000000000"},
                {1.0 / 3, "0.3333333333333333"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[VIT_NUMBER_MAX];
        double back;
        vit_number_format(rows[i].value, text, sizeof text);
        ck_assert_str_eq(text, rows[i].text);
        ck_assert_ptr_eq(vit_number_parse(text, &back), text + strlen(text));
        ck_assert_double_eq(back, rows[i].value);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("json");
    TCase *t = tcase_create("json");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, reads_every_kind);
    tcase_add_loop_test(t, refuses_malformed, 0, sizeof malformed / sizeof *malformed);
    tcase_add_test(t, a_zero_byte_is_no_end);
    tcase_add_test(t, mutations_are_read_or_refused);
    tcase_add_test(t, depth_and_count_are_bounded);
    tcase_add_test(t, prints_what_it_reads);
    tcase_add_test(t, a_lost_addition_is_remembered);
    tcase_add_test(t, copies_and_removes);
    tcase_add_test(t, numbers_are_shortest);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
