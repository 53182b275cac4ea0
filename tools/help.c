#include "tools/help.h"

#include <string.h>

#define HELP_COLUMN 28
#define HELP_WIDTH 92

const char cli_about[] =
    "Trains, evaluates and runs Vision Transformers with ZeroS attention on the CPU.";
const char cli_exit_codes[] =
    "0 done; 1 failed, or some inputs failed; 2 wrong usage; 130 or 143 stopped\n"
    "by a signal after saving.\n";

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

bool cli_is_negated(const vit_option *option, const void *target) {
    return option->type == VIT_OPT_BOOL && *(const bool *)((const char *)target + option->offset);
}

void cli_flag_describe(const vit_option *option, const void *target, cli_flag_text *text) {
    bool negated = cli_is_negated(option, target);
    text->variable = metavar(option);
    snprintf(text->flag, sizeof text->flag, "--%s%s%s%s", negated ? "[no-]" : "", option->name,
             *text->variable ? " " : "", text->variable);
    if (option->type == VIT_OPT_BOOL) {
        snprintf(text->type, sizeof text->type, "switch");
        snprintf(text->value, sizeof text->value, "%s", negated ? "on" : "off");
        return;
    }
    char range[512] = "";
    const char *type = "";
    vit_option_range(option, range, sizeof range);
    vit_option_format(option, target, text->value, sizeof text->value);
    if (option->type == VIT_OPT_STRING) {
        type = "text";
        *range = 0; /* its longest length says nothing to a reader */
    } else if (*range >= '0' && *range <= '9' && option->count <= 1) {
        type = option->type == VIT_OPT_DOUBLE ? "number" : "whole number";
    }
    snprintf(text->type, sizeof text->type, "%s%s%s", type, *type && *range ? " " : "", range);
}

bool cli_next_paragraph(const char **rest, cli_paragraph *paragraph) {
    const char *text = *rest;
    if (*text == 0) {
        return false;
    }
    *paragraph = (cli_paragraph){.text = text};
    size_t line = strcspn(text, "\n");
    const char *end = text + line + (text[line] == '\n');
    bool entry = *end == ' ';
    if (entry) {
        paragraph->word = text;
        paragraph->word_length = (int)strcspn(text, ":");
        paragraph->text = text + paragraph->word_length + 1;
    }
    /* An entry goes on with indented lines, text until the first line of an entry. */
    while (*end != 0 && (*end == ' ') == entry) {
        const char *next = end + strcspn(end, "\n");
        next += *next == '\n';
        if (!entry && *next == ' ') {
            break;
        }
        end = next;
    }
    paragraph->length = (size_t)(end - paragraph->text);
    *rest = end;
    return true;
}

/* ---- zvit VERB --help ---- */

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

static void print_option(const vit_option *option, const void *target) {
    cli_flag_text text;
    char flag[128], type[1400];
    const char letter[] = {'-', option->letter, ',', 0};
    cli_flag_describe(option, target, &text);
    snprintf(flag, sizeof flag, "  %3s %s", option->letter ? letter : "", text.flag);
    snprintf(type, sizeof type, "(%s%s%s)", text.type, *text.value ? "; default " : "", text.value);
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

static void print_names(const vit_option *option) {
    const char *help = "", *name;
    printf("\nNames for --%s:\n", option->name);
    for (size_t i = 0; (name = option->names(i, &help)) != NULL; i++) {
        printf("      %-*s%s\n", *help ? 12 : 0, name, help);
    }
}

static void print_help(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    printf("Usage: zvit %s [FLAGS]%s%s\n\n%s", verb->name, *verb->arguments ? " " : "",
           verb->arguments, verb->details);
    for (size_t i = 0; i < group_count; i++) {
        printf("\n%s:\n", groups[i].title);
        for (size_t j = 0; j < groups[i].count; j++) {
            print_option(&groups[i].options[j], groups[i].target);
        }
    }
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            if (groups[i].options[j].names != NULL) {
                print_names(&groups[i].options[j]);
            }
        }
    }
}

void cli_print_help(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    (verb->describe ? verb->describe : print_help)(verb, groups, group_count);
}
