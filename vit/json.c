#include "vit/json.h"

#include "vit/file.h"
#include "vit/heap.h"
#include "vit/number.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A vit_json is a cJSON under another name. cJSON's valueint means nothing for objects and arrays;
 * there it is this file's mark that an addition ran out of memory. */
static cJSON *node_of(const vit_json *json) {
    return (cJSON *)(uintptr_t)json;
}

static vit_json *json_of(cJSON *node) {
    return (vit_json *)node;
}

/* ---- the scan before cJSON: what cJSON lets through, or does quadratically, is refused here ----
 */

typedef struct scanner {
    const char *text;
    size_t length;
    size_t at;
    size_t values;
    const char *problem; /* NULL while all is well */
    vit_status status;
} scanner;

static bool refuse(scanner *scan, vit_status status, const char *problem) {
    scan->status = status;
    scan->problem = problem;
    return false;
}

static bool is_digit(const scanner *scan) {
    return scan->at < scan->length && scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9';
}

static bool skip_digits(scanner *scan) {
    bool any = false;
    while (is_digit(scan)) {
        scan->at++;
        any = true;
    }
    return any;
}

static bool skip_one_of(scanner *scan, const char *characters) {
    if (scan->at < scan->length && scan->text[scan->at] &&
        strchr(characters, scan->text[scan->at])) {
        scan->at++;
        return true;
    }
    return false;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?; cJSON takes whatever strtod takes, and no more
 * than 63 characters of it. */
static bool scan_number(scanner *scan) {
    size_t start = scan->at;
    skip_one_of(scan, "-");
    bool leading_zero = scan->at < scan->length && scan->text[scan->at] == '0';
    size_t digits = scan->at;
    if (!skip_digits(scan) || (leading_zero && scan->at - digits > 1)) {
        return refuse(scan, VIT_ERROR_FORMAT, "malformed number");
    }
    if (skip_one_of(scan, ".") && !skip_digits(scan)) {
        return refuse(scan, VIT_ERROR_FORMAT, "malformed number");
    }
    if (skip_one_of(scan, "eE")) {
        skip_one_of(scan, "+-");
        if (!skip_digits(scan)) {
            return refuse(scan, VIT_ERROR_FORMAT, "malformed number");
        }
    }
    if (scan->at - start > 63) {
        return refuse(scan, VIT_ERROR_LIMIT, "a number of more than 63 characters");
    }
    return true;
}

/* The value of the four digits after \u; false when they are not there. */
static bool scan_hex(scanner *scan, unsigned *value) {
    *value = 0;
    for (int i = 0; i < 4; i++) {
        if (!skip_one_of(scan, "0123456789abcdefABCDEF")) {
            return refuse(scan, VIT_ERROR_FORMAT, "\\u wants four hexadecimal digits");
        }
        unsigned char c = (unsigned char)scan->text[scan->at - 1];
        int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        *value = *value * 16 + (unsigned)digit;
    }
    return true;
}

static bool scan_escape(scanner *scan) {
    scan->at++;
    if (!skip_one_of(scan, "\"\\/bfnrtu")) {
        return refuse(scan, VIT_ERROR_FORMAT, "unknown escape in a string");
    }
    if (scan->text[scan->at - 1] != 'u') {
        return true;
    }
    unsigned first, second = 0;
    if (!scan_hex(scan, &first)) {
        return false;
    }
    if (first == 0) {
        return refuse(scan, VIT_ERROR_FORMAT, "a zero character in a string");
    }
    if (first < 0xd800 || first > 0xdfff) {
        return true;
    }
    bool pair = first < 0xdc00 && skip_one_of(scan, "\\") && skip_one_of(scan, "u");
    if (pair && !scan_hex(scan, &second)) {
        return false;
    }
    return second >= 0xdc00 && second <= 0xdfff
               ? true
               : refuse(scan, VIT_ERROR_FORMAT, "half of a surrogate pair in a string");
}

static bool scan_string(scanner *scan) {
    scan->at++;
    while (scan->at < scan->length && scan->text[scan->at] != '"') {
        if ((unsigned char)scan->text[scan->at] < 0x20) {
            return refuse(scan, VIT_ERROR_FORMAT, "a control character in a string");
        }
        if (scan->text[scan->at] == '\\') {
            if (!scan_escape(scan)) {
                return false;
            }
            continue;
        }
        size_t bytes = vit_utf8_length(scan->text + scan->at, scan->length - scan->at);
        if (bytes == 0) {
            return refuse(scan, VIT_ERROR_FORMAT, "a string is not UTF-8");
        }
        scan->at += bytes;
    }
    if (scan->at == scan->length) {
        return refuse(scan, VIT_ERROR_FORMAT, "a string does not end");
    }
    scan->at++;
    return true;
}

#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

static void skip_space(scanner *scan) {
    while (skip_one_of(scan, " \t\n\r")) {
    }
}

static bool scan_value(scanner *scan, int depth);

/* Members of an object, or items of an array, after its opening character. */
static bool scan_members(scanner *scan, bool object, int depth) {
    const char *close = object ? "}" : "]";
    skip_space(scan);
    if (skip_one_of(scan, close)) {
        return true;
    }
    do {
        skip_space(scan);
        if (object) {
            if (scan->at == scan->length || scan->text[scan->at] != '"') {
                return refuse(scan, VIT_ERROR_FORMAT, "expected a key in double quotes");
            }
            if (!scan_string(scan)) {
                return false;
            }
            skip_space(scan);
            if (!skip_one_of(scan, ":")) {
                return refuse(scan, VIT_ERROR_FORMAT, "expected ':' after a key");
            }
        }
        if (!scan_value(scan, depth)) {
            return false;
        }
        skip_space(scan);
    } while (skip_one_of(scan, ","));
    return skip_one_of(scan, close) ||
           refuse(scan, VIT_ERROR_FORMAT, object ? "expected ',' or '}'" : "expected ',' or ']'");
}

static bool scan_word(scanner *scan) {
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < 3; i++) {
        size_t length = strlen(words[i]);
        if (scan->length - scan->at >= length &&
            memcmp(scan->text + scan->at, words[i], length) == 0) {
            scan->at += length;
            return true;
        }
    }
    return refuse(scan, VIT_ERROR_FORMAT, "expected a value");
}

/* Recursion is as deep as VIT_JSON_MAX_DEPTH. */
static bool scan_value(scanner *scan, int depth) {
    if (++scan->values > VIT_JSON_MAX_VALUES) {
        return refuse(scan, VIT_ERROR_LIMIT, "more values than " TEXT(VIT_JSON_MAX_VALUES));
    }
    skip_space(scan);
    char c = scan->at < scan->length ? scan->text[scan->at] : 0;
    if (c == '"') {
        return scan_string(scan);
    }
    if (c == '-' || is_digit(scan)) {
        return scan_number(scan);
    }
    if (c != '{' && c != '[') {
        return scan_word(scan);
    }
    if (depth == VIT_JSON_MAX_DEPTH) {
        return refuse(scan, VIT_ERROR_LIMIT, "more levels than " TEXT(VIT_JSON_MAX_DEPTH));
    }
    scan->at++;
    return scan_members(scan, c == '{', depth + 1);
}

static bool scan_text(scanner *scan) {
    if (!scan_value(scan, 0)) {
        return false;
    }
    skip_space(scan);
    return scan->at == scan->length || refuse(scan, VIT_ERROR_FORMAT, "more text after the value");
}

static vit_status fail_at(vit_status status, const char *text, size_t at, const char *what,
                          const char *problem) {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at; i++) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n';
    }
    return vit_fail(status, "%s: not valid JSON at line %zu, column %zu: %s", what, line, column,
                    problem);
}

/* ---- the check after cJSON ---- */

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, because a header from outside may have a hundred thousand keys. */
static vit_status check_keys(const cJSON *object, const char *what) {
    size_t count = 0;
    for (const cJSON *child = object->child; child; child = child->next) {
        count++;
    }
    if (count < 2) {
        return VIT_OK;
    }
    const char **keys = vit_malloc(count * sizeof *keys);
    if (!keys) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu keys)", what, count);
    }
    count = 0;
    for (const cJSON *child = object->child; child; child = child->next) {
        keys[count++] = child->string;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    vit_status status = VIT_OK;
    for (size_t i = 1; i < count && status == VIT_OK; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            status =
                vit_fail(VIT_ERROR_FORMAT, "%s: the key \"%.200s\" is there twice", what, keys[i]);
        }
    }
    vit_free(keys);
    return status;
}

/* Recursion is as deep as the scan allowed. */
static vit_status check_tree(const cJSON *node, const char *what) {
    if (cJSON_IsNumber(node) && !isfinite(node->valuedouble)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: the number%s%.200s is too large", what,
                        node->string ? " at " : "", node->string ? node->string : "");
    }
    vit_status status = cJSON_IsObject(node) ? check_keys(node, what) : VIT_OK;
    for (const cJSON *child = node->child; child && status == VIT_OK; child = child->next) {
        status = check_tree(child, what);
    }
    return status;
}

vit_status vit_json_parse(const char *text, size_t length, const char *what, vit_json **out) {
    *out = NULL;
    if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3; /* the byte order mark that some editors write */
        length -= 3;
    }
    scanner scan = {.text = text, .length = length};
    skip_space(&scan);
    if (scan.at == length) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: empty (expected JSON)", what);
    }
    if (!scan_text(&scan)) {
        return fail_at(scan.status, text, scan.at, what, scan.problem);
    }
    cJSON *root = cJSON_ParseWithLength(text, length);
    if (!root) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu values)", what, scan.values);
    }
    vit_status status = check_tree(root, what);
    if (status != VIT_OK) {
        cJSON_Delete(root);
        return status;
    }
    *out = json_of(root);
    return VIT_OK;
}

vit_status vit_json_read(const char *path, size_t limit, vit_json **out) {
    *out = NULL;
    vit_bytes bytes = {0};
    vit_status status = vit_file_read(path, limit, &bytes);
    if (status == VIT_OK) {
        status = vit_json_parse(bytes.data ? (const char *)bytes.data : "", bytes.size, path, out);
    }
    vit_bytes_free(&bytes);
    return status;
}

void vit_json_free(vit_json *root) {
    cJSON_Delete(node_of(root));
}

/* ---- making ---- */

vit_json *vit_json_object(void) {
    return json_of(cJSON_CreateObject());
}

vit_json *vit_json_array(void) {
    return json_of(cJSON_CreateArray());
}

vit_json *vit_json_copy(const vit_json *node) {
    return json_of(cJSON_Duplicate(node_of(node), true));
}

void vit_json_add(vit_json *parent, const char *key, vit_json *child) {
    cJSON *node = node_of(parent);
    bool added = false;
    if (node && child) {
        added = key ? cJSON_AddItemToObject(node, key, node_of(child))
                    : cJSON_AddItemToArray(node, node_of(child));
    }
    if (!added) {
        cJSON_Delete(node_of(child));
        if (node) {
            node->valueint = 1;
        }
    }
}

/* A copy in which each byte that is not UTF-8 is U+FFFD. */
static char *make_utf8(const char *text) {
    size_t length = strlen(text);
    char *copy = length < SIZE_MAX / 3 ? vit_malloc(length * 3 + 1) : NULL;
    if (!copy) {
        return NULL;
    }
    char *to = copy;
    while (length > 0) {
        size_t bytes = vit_utf8_length(text, length);
        if (bytes > 0) {
            memcpy(to, text, bytes);
            to += bytes;
        } else {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            bytes = 1;
        }
        text += bytes;
        length -= bytes;
    }
    *to = 0;
    return copy;
}

void vit_json_add_string(vit_json *parent, const char *key, const char *value) {
    if (vit_utf8_valid(value)) {
        vit_json_add(parent, key, json_of(cJSON_CreateString(value)));
        return;
    }
    char *copy = make_utf8(value);
    vit_json_add(parent, key, json_of(copy ? cJSON_CreateString(copy) : NULL));
    vit_free(copy);
}

void vit_json_add_number(vit_json *parent, const char *key, double value) {
    vit_json_add(parent, key,
                 json_of(isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull()));
}

void vit_json_add_bool(vit_json *parent, const char *key, bool value) {
    vit_json_add(parent, key, json_of(cJSON_CreateBool(value)));
}

void vit_json_remove(vit_json *object, const char *key) {
    cJSON_DeleteItemFromObjectCaseSensitive(node_of(object), key);
}

/* ---- reading ---- */

const vit_json *vit_json_get(const vit_json *object, const char *key) {
    return vit_json_is_object(object)
               ? json_of(cJSON_GetObjectItemCaseSensitive(node_of(object), key))
               : NULL;
}

const vit_json *vit_json_first(const vit_json *node) {
    return node ? json_of(node_of(node)->child) : NULL;
}

const vit_json *vit_json_next(const vit_json *child) {
    return child ? json_of(node_of(child)->next) : NULL;
}

const vit_json *vit_json_at(const vit_json *array, size_t index) {
    const vit_json *child = vit_json_first(array);
    while (child && index > 0) {
        child = vit_json_next(child);
        index--;
    }
    return child;
}

size_t vit_json_count(const vit_json *node) {
    size_t count = 0;
    for (const vit_json *child = vit_json_first(node); child; child = vit_json_next(child)) {
        count++;
    }
    return count;
}

const char *vit_json_key(const vit_json *node) {
    return node ? node_of(node)->string : NULL;
}

bool vit_json_is_object(const vit_json *node) {
    return cJSON_IsObject(node_of(node));
}

bool vit_json_is_array(const vit_json *node) {
    return cJSON_IsArray(node_of(node));
}

bool vit_json_is_number(const vit_json *node) {
    return cJSON_IsNumber(node_of(node));
}

bool vit_json_is_bool(const vit_json *node) {
    return cJSON_IsBool(node_of(node));
}

const char *vit_json_string(const vit_json *node, const char *fallback) {
    return cJSON_IsString(node_of(node)) ? node_of(node)->valuestring : fallback;
}

double vit_json_number(const vit_json *node, double fallback) {
    return cJSON_IsNumber(node_of(node)) ? node_of(node)->valuedouble : fallback;
}

bool vit_json_bool(const vit_json *node, bool fallback) {
    return cJSON_IsBool(node_of(node)) ? cJSON_IsTrue(node_of(node)) : fallback;
}

/* ---- printing ---- */

/* cJSON prints numbers to within an epsilon: put the exact text in their place. False when memory
 * ran out, here or at an earlier addition. */
static bool prepare_print(cJSON *node) {
    if ((cJSON_IsObject(node) || cJSON_IsArray(node)) && node->valueint != 0) {
        return false;
    }
    if (cJSON_IsNumber(node)) {
        char text[VIT_NUMBER_MAX];
        vit_number_format(node->valuedouble, text, sizeof text);
        size_t size = strlen(text) + 1;
        node->valuestring = cJSON_malloc(size);
        if (!node->valuestring) {
            return false;
        }
        memcpy(node->valuestring, text, size);
        /* Only the kind changes: the flag that says who owns the key stays. */
        node->type = (node->type & ~cJSON_Number) | cJSON_Raw;
    }
    for (cJSON *child = node->child; child; child = child->next) {
        if (!prepare_print(child)) {
            return false;
        }
    }
    return true;
}

/* A copy in which characters that steer are \u escapes: JSON reaches terminals too. They can only
 * be within strings. */
static char *escape_steering(const char *text) {
    size_t left = strlen(text), room = left, bytes;
    for (const char *c = text; *c; c++) {
        room += vit_utf8_steers(c, 4) ? 5 : 0;
    }
    char *copy = vit_malloc(room + 1), *to = copy;
    for (; copy && left > 0; text += bytes, left -= bytes) {
        bytes = vit_utf8_length(text, left);
        bytes = bytes > 0 ? bytes : 1;
        if ((unsigned char)*text >= 0x20 && vit_utf8_steers(text, left)) {
            to += snprintf(to, 7, "\\u%04x", (unsigned)vit_utf8_code(text, bytes));
        } else {
            memcpy(to, text, bytes);
            to += bytes;
        }
    }
    if (copy) {
        *to = 0;
    }
    return copy;
}

vit_status vit_json_print(const vit_json *root, bool pretty, char **out) {
    *out = NULL;
    cJSON *copy = cJSON_Duplicate(node_of(root), true);
    char *text = NULL;
    if (copy && prepare_print(copy)) {
        text = pretty ? cJSON_Print(copy) : cJSON_PrintUnformatted(copy);
    }
    if (text) {
        *out = escape_steering(text); /* into memory of ours: cJSON has an allocator of its own */
    }
    cJSON_free(text);
    cJSON_Delete(copy);
    return *out ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "JSON text: out of memory");
}

vit_status vit_json_save(const vit_json *root, const char *path) {
    char *text = NULL;
    vit_file_writer *writer = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_json_print(root, true, &text));
    VIT_TRY(vit_file_begin(path, &writer));
    vit_file_printf(writer, "%s\n", text); /* commit reports a failure */
    status = vit_file_commit(writer);
cleanup:
    vit_free(text);
    return status;
}
