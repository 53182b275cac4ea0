/* docs/commands.md. */
#include "tools/help.h"

#include <ctype.h>
#include <string.h>

/* Text with the signs escaped that Markdown would take for its own; lines are kept. */
static void put_text(const char *text, size_t length) {
    for (size_t i = 0; i < length && text[i] != 0; i++) {
        bool indent = text[i] == ' ' && (i == 0 || text[i - 1] == '\n' || text[i - 1] == ' ');
        if (!indent) {
            printf("%s%c", strchr("*_<>|`[]\\", text[i]) ? "\\" : "", text[i]);
        }
    }
}

static void put(const char *text) {
    put_text(text, strlen(text));
}

/* As code in a cell of a table, where '|' needs escaping all the same. */
static void put_code(const char *text) {
    putchar('`');
    for (; *text != 0; text++) {
        printf("%s%c", *text == '|' ? "\\" : "", *text);
    }
    putchar('`');
}

void cli_markdown_head(void) {
    puts("# Commands\n\n"
         "Every verb and flag of `zvit`. This page is made from the tables that the program itself "
         "reads its\ncommand line with: `zvit help --markdown`.\n");
    puts("| verb | does |\n|---|---|");
    const cli_verb *verb;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        printf("| [`%s`](#zvit-%s) ", verb->name, verb->name);
        put_code(verb->arguments);
        fputs(" | ", stdout);
        put(verb->summary);
        puts(" |");
    }
    printf("\nExit codes: %s", cli_exit_codes);
}

static void put_option(const vit_option *option, const void *target) {
    cli_flag_text text;
    cli_flag_describe(option, target, &text);
    fputs("| ", stdout);
    if (option->letter != 0) {
        printf("`-%c`, ", option->letter);
    }
    put_code(text.flag);
    fputs(" | ", stdout);
    put(text.type);
    fputs(" | ", stdout);
    put(text.value);
    fputs(*text.value ? " | " : "| ", stdout);
    put(option->help);
    puts(" |");
}

static void put_names(const vit_option *option) {
    const char *help = "", *name;
    printf("\nNames for `--%s`:\n\n", option->name);
    for (size_t i = 0; (name = option->names(i, &help)) != NULL; i++) {
        printf("- `%s`%s", name, *help ? ": " : "");
        put(help);
        putchar('\n');
    }
}

void cli_markdown_verb(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    printf("\n## zvit %s\n\n    zvit %s [FLAGS] %s\n", verb->name, verb->name, verb->arguments);
    const char *rest = verb->details;
    cli_paragraph paragraph;
    bool in_list = false;
    while (cli_next_paragraph(&rest, &paragraph)) {
        fputs(in_list && paragraph.word ? "" : "\n", stdout);
        in_list = paragraph.word != NULL;
        if (in_list) {
            printf("- **%.*s**:", paragraph.word_length, paragraph.word);
            putchar(*paragraph.text == ' ' ? ' ' : '\n');
        }
        put_text(paragraph.text, paragraph.length);
    }
    for (size_t i = 0; i < group_count; i++) {
        printf("\n### %s of %s\n\n| flag | type | default | meaning |\n|---|---|---|---|\n",
               groups[i].title, verb->name);
        for (size_t j = 0; j < groups[i].count; j++) {
            put_option(&groups[i].options[j], groups[i].target);
        }
        for (size_t j = 0; j < groups[i].count; j++) {
            if (groups[i].options[j].names != NULL) {
                put_names(&groups[i].options[j]);
            }
        }
    }
}
