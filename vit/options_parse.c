#include "vit/options.h"

#include <stdio.h>
#include <string.h>

/* The command line over option tables: finding the option that a word names, and its value. */

typedef struct parser {
    const vit_option_group *groups;
    size_t group_count;
    int argc;
    char **argv;
    int at;         /* the word being read */
    int positional; /* words moved to the front */
} parser;

typedef struct match {
    const vit_option_group *group; /* NULL: none */
    size_t index;
} match;

static const vit_option *option_of(match found) {
    return &found.group->options[found.index];
}

static match find(const parser *p, const char *name, size_t length, char letter) {
    for (size_t g = 0; g < p->group_count; g++) {
        for (size_t i = 0; i < p->groups[g].count; i++) {
            const vit_option *option = &p->groups[g].options[i];
            bool same =
                name ? strlen(option->name) == length && memcmp(option->name, name, length) == 0
                     : option->letter && option->letter == letter;
            if (same) {
                return (match){&p->groups[g], i};
            }
        }
    }
    return (match){0};
}

/* ---- the nearest name ---- */

enum { MAX_NAME = 64 };

static size_t min3(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Letters to insert, delete or replace to make one name the other (Levenshtein). */
static size_t edit_distance(const char *a, const char *b) {
    size_t n = strlen(b);
    size_t row[MAX_NAME + 1];
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t above = row[j + 1];
            row[j + 1] = min3(above + 1, row[j] + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[n];
}

static void consider(const char *given, const char *name, size_t *best, char nearest[MAX_NAME]) {
    size_t length = strlen(name);
    if (length >= MAX_NAME) {
        return;
    }
    size_t distance = edit_distance(given, name);
    if (strlen(given) > 2 && strncmp(given, name, strlen(given)) == 0) {
        distance = 1; /* the beginning of a name: an abbreviation */
    }
    if (distance < *best) {
        *best = distance;
        memcpy(nearest, name, length + 1);
    }
}

static vit_status fail_unknown(const parser *p, const char *name, size_t length) {
    char given[MAX_NAME], nearest[MAX_NAME] = "";
    snprintf(given, sizeof given, "%.*s", (int)(length < MAX_NAME ? length : MAX_NAME - 1), name);
    size_t best = length / 3 + 2; /* a suggestion must share most letters */
    for (size_t g = 0; g < p->group_count && length < MAX_NAME; g++) {
        for (size_t i = 0; i < p->groups[g].count; i++) {
            const vit_option *option = &p->groups[g].options[i];
            consider(given, option->name, &best, nearest);
            if (option->type == VIT_OPT_BOOL) {
                char negated[MAX_NAME + 3];
                snprintf(negated, sizeof negated, "no-%.60s", option->name);
                consider(given, negated, &best, nearest);
            }
        }
    }
    if (nearest[0]) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--%s: unknown option (did you mean --%s?)", given,
                        nearest);
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "--%s: unknown option", given);
}

/* ---- values ---- */

/* A word of digits such as 1, -0.5, .5e-3 or 0.08,1. */
static bool looks_numeric(const char *word) {
    return *word && word[strspn(word, "+-.,0123456789eE")] == 0 &&
           word[strcspn(word, "0123456789")];
}

static bool takes_numbers(const vit_option *option) {
    return option->type == VIT_OPT_INT || option->type == VIT_OPT_U64 ||
           option->type == VIT_OPT_DOUBLE;
}

static bool is_value(const vit_option *option, const char *word) {
    return word[0] != '-' || word[1] == 0 || (takes_numbers(option) && looks_numeric(word));
}

/* The words of a list joined by spaces; a word with a comma is a list by itself. */
static vit_status take_words(parser *p, const vit_option *option, char *text, size_t size) {
    text[0] = 0;
    for (int taken = 0; taken < option->count && p->at + 1 < p->argc; taken++) {
        const char *word = p->argv[p->at + 1];
        if (taken > 0 ? !looks_numeric(word) || strchr(word, ',') : !is_value(option, word)) {
            break;
        }
        size_t used = strlen(text);
        if (used + strlen(word) + 2 > size) {
            return vit_fail(VIT_ERROR_ARGUMENT, "--%s: %.100s... is too long", option->name, word);
        }
        snprintf(text + used, size - used, "%s%s", taken ? " " : "", word);
        p->at++;
        if (strchr(word, ',')) {
            break;
        }
    }
    return VIT_OK;
}

static vit_status fail_missing(const vit_option *option) {
    char expected[512];
    vit_option_range(option, expected, sizeof expected);
    return vit_fail(VIT_ERROR_ARGUMENT, "--%s: value missing (expected %s)", option->name,
                    expected);
}

/* Sets the option from the words that follow. */
static vit_status take_value(parser *p, match found) {
    const vit_option *option = option_of(found);
    char list[512];
    const char *value = p->at + 1 < p->argc ? p->argv[p->at + 1] : NULL;
    if (!value || !is_value(option, value)) {
        return fail_missing(option);
    }
    if (takes_numbers(option) && option->count > 1) {
        vit_status status = take_words(p, option, list, sizeof list);
        if (status != VIT_OK) {
            return status;
        }
        value = list;
    } else {
        p->at++;
    }
    return vit_option_set(found.group, found.index, value, "--", VIT_FROM_USER);
}

/* ---- words ---- */

static vit_status parse_long(parser *p, const char *name) {
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    match found = find(p, name, length, 0);
    if (found.group) {
        if (value) {
            return vit_option_set(found.group, found.index, value, "--", VIT_FROM_USER);
        }
        return option_of(found)->type == VIT_OPT_BOOL
                   ? vit_option_set(found.group, found.index, "true", "--", VIT_FROM_USER)
                   : take_value(p, found);
    }
    if (length > 3 && strncmp(name, "no-", 3) == 0) {
        found = find(p, name + 3, length - 3, 0);
        if (found.group && option_of(found)->type == VIT_OPT_BOOL) {
            return value ? vit_fail(VIT_ERROR_ARGUMENT, "--%.*s: takes no value (given %.100s)",
                                    (int)length, name, value)
                         : vit_option_set(found.group, found.index, "false", "--", VIT_FROM_USER);
        }
    }
    return fail_unknown(p, name, length);
}

/* -b 32, -b32, and flags side by side: -qb32. */
static vit_status parse_letters(parser *p, const char *letters) {
    for (const char *c = letters; *c; c++) {
        match found = find(p, NULL, 0, *c);
        if (!found.group) {
            return vit_fail(VIT_ERROR_ARGUMENT, "-%c: unknown option (in %.100s)", *c, letters - 1);
        }
        if (option_of(found)->type != VIT_OPT_BOOL) {
            return c[1] ? vit_option_set(found.group, found.index, c + 1, "--", VIT_FROM_USER)
                        : take_value(p, found);
        }
        vit_status status = vit_option_set(found.group, found.index, "true", "--", VIT_FROM_USER);
        if (status != VIT_OK) {
            return status;
        }
    }
    return VIT_OK;
}

static void keep_positional(parser *p) {
    char *word = p->argv[p->at];
    memmove(&p->argv[p->positional + 1], &p->argv[p->positional],
            (size_t)(p->at - p->positional) * sizeof *p->argv);
    p->argv[p->positional++] = word;
}

vit_status vit_options_parse(const vit_option_group *groups, size_t group_count, int argc,
                             char **argv, int *positional_count) {
    parser p = {.groups = groups, .group_count = group_count, .argc = argc, .argv = argv};
    bool only_positional = false;
    for (; p.at < argc; p.at++) {
        const char *word = argv[p.at];
        vit_status status = VIT_OK;
        if (only_positional || word[0] != '-' || word[1] == 0) {
            keep_positional(&p);
        } else if (strcmp(word, "--") == 0) {
            only_positional = true;
        } else if (word[1] == '-') {
            status = parse_long(&p, word + 2);
        } else {
            status = parse_letters(&p, word + 1);
        }
        if (status != VIT_OK) {
            return status;
        }
    }
    *positional_count = p.positional;
    return VIT_OK;
}
