/* Command lines and help, both from the option tables. */
#include "tools/cmd.h"

#include <omp.h>
#include <stddef.h>
#include <string.h>

static const vit_option common_options[] = {
    {.name = "threads",
     .type = VIT_OPT_INT,
     .offset = offsetof(cli_common, threads),
     .min = 0,
     .max = 4096,
     .value = "0",
     .metavar = "N",
     .help = "threads to compute with; 0: OMP_NUM_THREADS, or all the processors there are"},
    {.name = "quiet",
     .letter = 'q',
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, quiet),
     .help = "no progress on standard error, only warnings and errors"},
    {.name = "log-json",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, log_json),
     .help = "what goes to standard error (progress, warnings, errors) as one JSON object a line"},
    {.name = "help",
     .letter = 'h',
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, help),
     .help = "this text"},
    {.name = "json",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, json),
     .help = "results as JSON"},
};
enum { COMMON_OPTIONS = sizeof common_options / sizeof *common_options };

vit_option_group cli_common_group(cli_common *common, bool with_json) {
    return (vit_option_group){.title = "Common flags",
                              .options = common_options,
                              /* --json is the last row */
                              .count = with_json ? COMMON_OPTIONS : COMMON_OPTIONS - 1,
                              .target = common};
}

void cli_apply_threads(const cli_common *common) {
    if (common->threads > 0) {
        omp_set_num_threads(common->threads);
    }
}

static bool has_word(int argc, char **argv, const char *word) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

bool cli_wants_help(int argc, char **argv) {
    return has_word(argc, argv, "--help") || has_word(argc, argv, "-h");
}

bool cli_wants_log_json(int argc, char **argv) {
    return has_word(argc, argv, "--log-json");
}

bool cli_parse(const cli_verb *verb, const vit_option_group *groups, size_t group_count, int argc,
               char **argv, int *words, int *code) {
    for (size_t i = 0; i < group_count; i++) {
        if (vit_options_defaults(&groups[i]) != VIT_OK) {
            *code = cli_fail(verb);
            return false;
        }
    }
    if (cli_wants_help(argc, argv)) {
        cli_print_help(verb, groups, group_count);
        *code = cli_finish(verb, CLI_DONE);
        return false;
    }
    if (vit_options_parse(groups, group_count, argc, argv, words) != VIT_OK) {
        *code = cli_fail_usage(verb);
        return false;
    }
    return true;
}

/* ---- help ---- */
#define HELP_COLUMN 28
#define HELP_WIDTH 92

static const char *metavar(const vit_option *option) {
    if (option->metavar != NULL) {
        return option->metavar;
    }
    switch (option->type) {
    case VIT_OPT_BOOL:
        return "";
    case VIT_OPT_INT:
    case VIT_OPT_U64:
        return "N";
    case VIT_OPT_DOUBLE:
        return "X";
    case VIT_OPT_STRING:
        return "TEXT";
    case VIT_OPT_ENUM:
        return "NAME";
    }
    return "";
}

/* Prints text word by word from column HELP_COLUMN on; *column is where the line stands. */
static void print_wrapped(const char *text, size_t *column) {
    while (*text != 0) {
        size_t length = strcspn(text, " ");
        if (*column > HELP_COLUMN && *column + 1 + length > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            *column = HELP_COLUMN;
        } else if (*column > HELP_COLUMN) {
            putchar(' ');
            (*column)++;
        }
        printf("%.*s", (int)length, text);
        *column += length;
        text += length;
        text += strspn(text, " ");
    }
}

static void describe_type(const vit_option *option, const void *target, char *buffer, size_t size) {
    char range[512] = "", value[256] = "";
    const char *type = "";
    if (option->type == VIT_OPT_BOOL) {
        const bool *on = (const bool *)((const char *)target + option->offset);
        snprintf(buffer, size, "(switch; default %s)", *on ? "on" : "off");
        return;
    }
    vit_option_range(option, range, sizeof range);
    vit_option_format(option, target, value, sizeof value);
    if (option->type == VIT_OPT_STRING) {
        type = "text";
        *range = 0; /* its longest length says nothing to a reader */
    } else if (*range >= '0' && *range <= '9' && option->count <= 1) {
        type = option->type == VIT_OPT_DOUBLE ? "number" : "whole number";
    }
    snprintf(buffer, size, "(%s%s%s%s%s)", type, *type && *range ? " " : "", range,
             *value ? "; default " : "", value);
}

static void print_option(const vit_option *option, const void *target) {
    char flag[96], type[1024];
    const char *variable = metavar(option);
    const bool *on = (const bool *)((const char *)target + option->offset);
    const char *negation = option->type == VIT_OPT_BOOL && *on ? "[no-]" : "";
    int length = 0;
    if (option->letter != 0) {
        length =
            snprintf(flag, sizeof flag, "  -%c, --%s%s", option->letter, negation, option->name);
    } else {
        length = snprintf(flag, sizeof flag, "      --%s%s", negation, option->name);
    }
    if (*variable) {
        snprintf(flag + length, sizeof flag - (size_t)length, " %s", variable);
    }
    describe_type(option, target, type, sizeof type);
    size_t column = strlen(flag);
    fputs(flag, stdout);
    if (column + 2 > HELP_COLUMN) {
        printf("\n%*s", HELP_COLUMN, "");
    } else {
        printf("%*s", (int)(HELP_COLUMN - column), "");
    }
    column = HELP_COLUMN;
    print_wrapped(option->help, &column);
    print_wrapped(type, &column);
    putchar('\n');
}

void cli_print_help(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    printf("Usage: zvit %s [FLAGS]%s%s\n\n%s", verb->name, *verb->arguments ? " " : "",
           verb->arguments, verb->details);
    for (size_t i = 0; i < group_count; i++) {
        printf("\n%s:\n", groups[i].title);
        for (size_t j = 0; j < groups[i].count; j++) {
            print_option(&groups[i].options[j], groups[i].target);
        }
    }
}

/* ---- suggestions ---- */
#define WORD_MAX 32

/* Levenshtein's distance, row by row. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[WORD_MAX + 1], m = strlen(a), n = strlen(b);
    if (m > WORD_MAX || n > WORD_MAX) {
        return WORD_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *const *choices) {
    const char *nearest = NULL;
    size_t least = strlen(word) / 2 + 1; /* half of the word or more wrong is no misspelling */
    for (; *choices != NULL; choices++) {
        size_t distance = edit_distance(word, *choices);
        if (distance < least) {
            least = distance;
            nearest = *choices;
        }
    }
    return nearest;
}
