#include "vit/options.h"

#include "vit/heap.h"
#include "vit/number.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const vit_source_names[] = {"default", "model", "recipe", "config", "user", NULL};

enum { MAX_LIST = 16, MAX_SHOWN = 100 };

static int list_count(const vit_option *option) {
    return option->count > 0 ? option->count : 1;
}

static int list_min(const vit_option *option) {
    return option->min_count > 0 ? option->min_count : list_count(option);
}

static bool has_bounds(const vit_option *option) {
    return option->min < option->max || option->min > 0 || option->max < 0;
}

static void *field_of(const vit_option *option, const void *target) {
    return (char *)(uintptr_t)target + option->offset;
}

/* Whether the text is the word for 0. */
static bool is_zero_word(const vit_option *option, const char *text) {
    return option->zero && strcmp(text, option->zero) == 0;
}

static double number_at(const vit_option *option, const void *field, int index) {
    return option->type == VIT_OPT_INT ? ((const int *)field)[index]
                                       : ((const double *)field)[index];
}

/* ---- what is expected ---- */

static void append(char *buffer, size_t size, const char *text) {
    size_t used = strlen(buffer);
    if (used < size) {
        snprintf(buffer + used, size - used, "%s", text);
    }
}

static void append_number(char *buffer, size_t size, double value) {
    char text[VIT_NUMBER_MAX];
    vit_number_format(value, text, sizeof text);
    append(buffer, size, text);
}

static void append_bounds(const vit_option *option, char *buffer, size_t size) {
    bool open_end = isinf(option->max) || (option->type == VIT_OPT_INT && option->max >= INT_MAX) ||
                    (option->type == VIT_OPT_U64 && option->max >= 0x1p64);
    if (open_end) {
        append(buffer, size, "at least ");
        append_number(buffer, size, option->min);
    } else {
        append_number(buffer, size, option->min);
        append(buffer, size, " to ");
        append_number(buffer, size, option->max);
    }
}

static void number_range(const vit_option *option, char *buffer, size_t size) {
    if (option->zero) {
        append(buffer, size, option->zero);
        append(buffer, size, ", or ");
    }
    const char *noun = option->type == VIT_OPT_DOUBLE ? "number" : "whole number";
    if (list_count(option) > 1) {
        char text[64];
        int least = list_min(option), most = list_count(option);
        if (least < most) {
            snprintf(text, sizeof text, "%d %s %d %ss", least, least + 1 == most ? "or" : "to",
                     most, noun);
        } else {
            snprintf(text, sizeof text, "%d %ss", most, noun);
        }
        append(buffer, size, text);
        append(buffer, size, has_bounds(option) ? ", " : "");
    } else if (!has_bounds(option)) {
        append(buffer, size, "a ");
        append(buffer, size, noun);
    }
    if (has_bounds(option)) {
        append_bounds(option, buffer, size);
    }
}

void vit_option_range(const vit_option *option, char *buffer, size_t size) {
    if (size == 0) {
        return;
    }
    buffer[0] = 0;
    switch (option->type) {
    case VIT_OPT_BOOL:
        append(buffer, size, "true or false");
        break;
    case VIT_OPT_INT:
    case VIT_OPT_U64:
    case VIT_OPT_DOUBLE:
        number_range(option, buffer, size);
        break;
    case VIT_OPT_STRING: {
        char text[64];
        snprintf(text, sizeof text, "at most %d bytes of text", list_count(option) - 1);
        append(buffer, size, text);
        break;
    }
    case VIT_OPT_ENUM:
        append(buffer, size, "one of ");
        for (int i = 0; option->choices[i]; i++) {
            append(buffer, size, i ? ", " : "");
            append(buffer, size, option->choices[i]);
        }
        break;
    }
}

/* "--batch-size: 0 (expected 1 to 65536)"; problem is put after the value, "" for none. */
static vit_status refuse(const vit_option *option, const char *what, const char *text,
                         const char *problem) {
    char expected[512];
    vit_option_range(option, expected, sizeof expected);
    size_t length = strlen(text);
    return vit_fail(VIT_ERROR_ARGUMENT, "%s%s: %s%.*s%s%s (expected %s)", what, option->name,
                    length == 0 ? "\"\"" : "", MAX_SHOWN, text, length > MAX_SHOWN ? "..." : "",
                    problem, expected);
}

/* ---- one value from text ---- */

static bool in_bounds(const vit_option *option, double value) {
    return !has_bounds(option) || (value >= option->min && value <= option->max);
}

/* Whole tokens of digits only: no nan, inf, hexadecimal or white space. */
static bool parse_number(const vit_option *option, const char *token, double *value) {
    const char *allowed = option->type == VIT_OPT_DOUBLE ? "+-.0123456789eE" : "+-0123456789";
    if (!*token || token[strspn(token, allowed)]) {
        return false;
    }
    const char *end = vit_number_parse(token, value);
    return *end == 0 && isfinite(*value);
}

/* Checks the values and fills the field, the last value standing for those that may be missing. */
static vit_status store_numbers(const vit_option *option, void *target, const double *values,
                                int count, const char *what, const char *text) {
    if (count == 0 || count < list_min(option) || count > list_count(option)) {
        return refuse(option, what, text, "");
    }
    for (int i = 0; i < count; i++) {
        if (!in_bounds(option, values[i])) {
            return refuse(option, what, text, "");
        }
        if (option->type == VIT_OPT_INT &&
            (values[i] != floor(values[i]) || fabs(values[i]) > INT_MAX)) {
            return refuse(option, what, text, " is not a whole number of 32 bits");
        }
    }
    for (int i = 0; i < list_count(option); i++) {
        double value = values[i < count ? i : count - 1];
        if (option->type == VIT_OPT_INT) {
            ((int *)field_of(option, target))[i] = (int)value;
        } else {
            ((double *)field_of(option, target))[i] = value;
        }
    }
    return VIT_OK;
}

static vit_status set_numbers(const vit_option *option, void *target, const char *text,
                              const char *what) {
    double values[MAX_LIST];
    int count = 0;
    char copy[512];
    if (is_zero_word(option, text)) {
        *(int *)field_of(option, target) = 0;
        return VIT_OK;
    }
    size_t whole = strlen(text);
    if (whole >= sizeof copy) {
        return refuse(option, what, text, " is too long");
    }
    memcpy(copy, text, whole + 1);
    char *rest = copy;
    while (*(rest += strspn(rest, " ,")) && count < MAX_LIST) {
        size_t length = strcspn(rest, " ,");
        char after = rest[length];
        rest[length] = 0;
        if (!parse_number(option, rest, &values[count++])) {
            return refuse(option, what, text,
                          option->type == VIT_OPT_INT ? " is not a whole number"
                                                      : " is not a number");
        }
        rest += length;
        *rest = after;
    }
    return store_numbers(option, target, values, count, what, text);
}

static vit_status set_u64(const vit_option *option, void *target, const char *text,
                          const char *what) {
    if (!*text || text[strspn(text, "0123456789")]) {
        return refuse(option, what, text, " is not a whole number from 0");
    }
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno == ERANGE || value > UINT64_MAX || !in_bounds(option, (double)value)) {
        return refuse(option, what, text, errno == ERANGE ? " does not fit in 64 bits" : "");
    }
    *(uint64_t *)field_of(option, target) = value;
    return VIT_OK;
}

static vit_status set_bool(const vit_option *option, void *target, const char *text,
                           const char *what) {
    static const char *const words[2][4] = {{"false", "no", "0", "off"},
                                            {"true", "yes", "1", "on"}};
    for (int value = 0; value < 2; value++) {
        for (int i = 0; i < 4; i++) {
            if (strcmp(text, words[value][i]) == 0) {
                *(bool *)field_of(option, target) = value;
                return VIT_OK;
            }
        }
    }
    return refuse(option, what, text, "");
}

static vit_status set_string(const vit_option *option, void *target, const char *text,
                             const char *what) {
    size_t size = (size_t)list_count(option);
    if (strlen(text) >= size) {
        return refuse(option, what, text, " is too long");
    }
    /* Whole field: structs are compared and hashed. */
    memset(field_of(option, target), 0, size);
    memcpy(field_of(option, target), text, strlen(text));
    return VIT_OK;
}

static vit_status set_enum(const vit_option *option, void *target, const char *text,
                           const char *what) {
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(text, option->choices[i]) == 0) {
            *(int *)field_of(option, target) = i;
            return VIT_OK;
        }
    }
    return refuse(option, what, text, "");
}

static vit_status set_text(const vit_option *option, void *target, const char *text,
                           const char *what) {
    switch (option->type) {
    case VIT_OPT_BOOL:
        return set_bool(option, target, text, what);
    case VIT_OPT_INT:
    case VIT_OPT_DOUBLE:
        return set_numbers(option, target, text, what);
    case VIT_OPT_U64:
        return set_u64(option, target, text, what);
    case VIT_OPT_STRING:
        return set_string(option, target, text, what);
    case VIT_OPT_ENUM:
        return set_enum(option, target, text, what);
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "%s%s: an option of unknown type", what, option->name);
}

static void note_source(const vit_option_group *group, size_t index, vit_source source) {
    if (group->sources) {
        group->sources[index] = (unsigned char)source;
    }
}

vit_status vit_option_set(const vit_option_group *group, size_t index, const char *text,
                          const char *what, vit_source source) {
    vit_status status = set_text(&group->options[index], group->target, text, what);
    if (status == VIT_OK) {
        note_source(group, index, source);
    }
    return status;
}

static size_t field_size(const vit_option *option) {
    size_t count = (size_t)list_count(option);
    switch (option->type) {
    case VIT_OPT_BOOL:
        return sizeof(bool);
    case VIT_OPT_INT:
        return count * sizeof(int);
    case VIT_OPT_U64:
        return sizeof(uint64_t);
    case VIT_OPT_DOUBLE:
        return count * sizeof(double);
    case VIT_OPT_STRING:
        return count;
    case VIT_OPT_ENUM:
        return sizeof(int);
    }
    return 0;
}

vit_status vit_options_defaults(const vit_option_group *group) {
    for (size_t i = 0; i < group->count; i++) {
        const vit_option *option = &group->options[i];
        if (option->value) {
            vit_status status =
                vit_option_set(group, i, option->value, "default of --", VIT_FROM_DEFAULT);
            if (status != VIT_OK) {
                return status;
            }
        } else {
            memset(field_of(option, group->target), 0, field_size(option));
            note_source(group, i, VIT_FROM_DEFAULT);
        }
    }
    return VIT_OK;
}

void vit_option_format(const vit_option *option, const void *target, char *buffer, size_t size) {
    if (size == 0) {
        return;
    }
    const void *field = field_of(option, target);
    buffer[0] = 0;
    switch (option->type) {
    case VIT_OPT_BOOL:
        append(buffer, size, *(const bool *)field ? "true" : "false");
        break;
    case VIT_OPT_INT:
    case VIT_OPT_DOUBLE:
        if (option->zero && *(const int *)field == 0) {
            append(buffer, size, option->zero);
            break;
        }
        for (int i = 0; i < list_count(option); i++) {
            append(buffer, size, i ? " " : "");
            append_number(buffer, size,
                          option->type == VIT_OPT_INT ? ((const int *)field)[i]
                                                      : ((const double *)field)[i]);
        }
        break;
    case VIT_OPT_U64:
        snprintf(buffer, size, "%llu", (unsigned long long)*(const uint64_t *)field);
        break;
    case VIT_OPT_STRING:
        append(buffer, size, field);
        break;
    case VIT_OPT_ENUM:
        append(buffer, size, option->choices[*(const int *)field]);
        break;
    }
}

static bool is_valid(const vit_option *option, const void *field) {
    switch (option->type) {
    case VIT_OPT_BOOL:
        return true;
    case VIT_OPT_INT:
    case VIT_OPT_DOUBLE:
        for (int i = 0; i < list_count(option); i++) {
            double value = number_at(option, field, i);
            if (!isfinite(value) || (!in_bounds(option, value) && !(option->zero && value == 0))) {
                return false;
            }
        }
        return true;
    case VIT_OPT_U64:
        return in_bounds(option, (double)*(const uint64_t *)field);
    case VIT_OPT_STRING:
        return memchr(field, 0, (size_t)list_count(option)) != NULL;
    case VIT_OPT_ENUM:
        for (int i = 0; option->choices[i]; i++) {
            if (i == *(const int *)field) {
                return true;
            }
        }
        return false;
    }
    return false;
}

vit_status vit_option_check(const vit_option *option, const void *target, const char *what) {
    const void *field = field_of(option, target);
    if (is_valid(option, field)) {
        return VIT_OK;
    }
    char text[512];
    if (option->type == VIT_OPT_ENUM) { /* a number that has no name */
        snprintf(text, sizeof text, "%d", *(const int *)field);
    } else if (option->type == VIT_OPT_STRING) {
        int shown = list_count(option) < MAX_SHOWN ? list_count(option) : MAX_SHOWN;
        snprintf(text, sizeof text, "%.*s...", shown, (const char *)field);
    } else {
        vit_option_format(option, target, text, sizeof text);
    }
    return refuse(option, what, text, "");
}

/* ---- JSON ---- */

void vit_option_key(const vit_option *option, char buffer[VIT_OPTION_KEY_MAX]) {
    snprintf(buffer, VIT_OPTION_KEY_MAX, "%s", option->name);
    for (char *c = buffer; *c; c++) {
        *c = *c == '-' ? '_' : *c;
    }
}

static void option_to_json(const vit_option *option, const void *target, vit_json *object) {
    const void *field = field_of(option, target);
    char key[VIT_OPTION_KEY_MAX];
    vit_option_key(option, key);
    if (option->type == VIT_OPT_BOOL) {
        vit_json_add_bool(object, key, *(const bool *)field);
    } else if (option->type == VIT_OPT_U64 && *(const uint64_t *)field <= (1ull << 53)) {
        vit_json_add_number(object, key, (double)*(const uint64_t *)field);
    } else if (option->type == VIT_OPT_U64) {
        char text[32];
        vit_option_format(option, target, text, sizeof text);
        vit_json_add_string(object, key, text);
    } else if (option->type == VIT_OPT_STRING) {
        vit_json_add_string(object, key, field);
    } else if (option->type == VIT_OPT_ENUM) {
        vit_json_add_string(object, key, option->choices[*(const int *)field]);
    } else if (option->zero && *(const int *)field == 0) {
        vit_json_add_string(object, key, option->zero);
    } else if (list_count(option) == 1) {
        vit_json_add_number(object, key, number_at(option, field, 0));
    } else {
        vit_json *array = vit_json_array();
        for (int i = 0; i < list_count(option); i++) {
            vit_json_add_number(array, NULL, number_at(option, field, i));
        }
        vit_json_add(object, key, array);
    }
}

vit_status vit_options_to_json(const vit_option_group *group, vit_json *object) {
    for (size_t i = 0; i < group->count; i++) {
        option_to_json(&group->options[i], group->target, object);
    }
    return object ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", group->title);
}

/* The node's text for messages, cut short. */
static void show_node(const vit_json *node, char *buffer, size_t size) {
    char *text = NULL;
    vit_json_print(node, false, &text);
    snprintf(buffer, size, "%s", text ? text : "?");
    vit_free(text);
}

static bool is_null(const vit_json *node) {
    return !vit_json_is_object(node) && !vit_json_is_array(node) && !vit_json_is_number(node) &&
           !vit_json_is_bool(node) && !vit_json_string(node, NULL);
}

static vit_status numbers_from_json(const vit_option *option, void *target, const vit_json *node,
                                    const char *what, const char *shown) {
    double values[MAX_LIST];
    int count = 0;
    const vit_json *item = vit_json_is_array(node) ? vit_json_first(node) : node;
    for (; item && count < MAX_LIST; item = vit_json_is_array(node) ? vit_json_next(item) : NULL) {
        if (!vit_json_is_number(item)) {
            return refuse(option, what, shown, "");
        }
        values[count++] = vit_json_number(item, 0);
    }
    if (list_count(option) == 1 && vit_json_is_array(node)) {
        return refuse(option, what, shown, "");
    }
    return store_numbers(option, target, values, count, what, shown);
}

static vit_status option_from_json(const vit_option *option, void *target, const vit_json *node,
                                   const char *what) {
    char shown[MAX_SHOWN + 8];
    show_node(node, shown, sizeof shown);
    if (is_zero_word(option, vit_json_string(node, ""))) {
        return set_text(option, target, option->zero, what);
    }
    if (option->type == VIT_OPT_INT || option->type == VIT_OPT_DOUBLE) {
        return numbers_from_json(option, target, node, what, shown);
    }
    if (option->type == VIT_OPT_BOOL) {
        if (!vit_json_is_bool(node)) {
            return refuse(option, what, shown, "");
        }
        *(bool *)field_of(option, target) = vit_json_bool(node, false);
        return VIT_OK;
    }
    if (option->type == VIT_OPT_U64 && vit_json_is_number(node)) {
        double value = vit_json_number(node, 0);
        if (!(value >= 0 && value <= VIT_JSON_MAX_WHOLE) || value != floor(value) ||
            !in_bounds(option, value)) {
            return refuse(option, what, shown, "");
        }
        *(uint64_t *)field_of(option, target) = (uint64_t)value;
        return VIT_OK;
    }
    const char *text = vit_json_string(node, NULL);
    return text ? set_text(option, target, text, what) : refuse(option, what, shown, "");
}

vit_status vit_options_from_json(const vit_option_group *group, const vit_json *object,
                                 const char *what, vit_source source) {
    char prefix[512];
    snprintf(prefix, sizeof prefix, "%s: ", what);
    for (size_t i = 0; i < group->count; i++) {
        vit_option option = group->options[i];
        char key[VIT_OPTION_KEY_MAX];
        vit_option_key(&option, key);
        const vit_json *node = vit_json_get(object, key);
        if (!node || is_null(node)) {
            continue;
        }
        option.name = key; /* messages name what stands in the file */
        if (option_from_json(&option, group->target, node, prefix) != VIT_OK) {
            return vit_fail(VIT_ERROR_FORMAT, "%s", vit_last_error());
        }
        note_source(group, i, source);
    }
    return VIT_OK;
}
