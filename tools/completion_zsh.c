/* The completion of zsh, for _arguments. */
#include "tools/completion.h"
#include "tools/help.h"

#include <string.h>

/* Text within single quotes and, in a specification, between [ ] or before a ':'. */
static void put_quoted(const char *text) {
    for (; *text != 0; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
        } else {
            printf("%s%c", strchr("[]:\\", *text) ? "\\" : "", *text);
        }
    }
}

/* What a path is completed with; "" for none. */
static const char *action(const cli_completion *paths, char buffer[64]) {
    switch (paths->kind) {
    case CLI_NO_PATH:
        return "";
    case CLI_ANY_FILE:
        return "_files";
    case CLI_FOLDER:
        return "_files -/";
    case CLI_FILE_LIKE:
        snprintf(buffer, 64, "_files -g \"%s\"", paths->pattern);
        return buffer;
    }
    return "";
}

static void put_value(const vit_option *option, const char *variable) {
    cli_completion paths;
    char buffer[64];
    const char *name, *help;
    cli_complete_metavar(variable, &paths);
    putchar(':');
    put_quoted(variable);
    putchar(':');
    bool words = option->choices != NULL || option->names != NULL || *paths.words;
    if (words && paths.kind == CLI_NO_PATH) {
        putchar('(');
        for (size_t i = 0; option->choices != NULL && option->choices[i] != NULL; i++) {
            printf("%s ", option->choices[i]);
        }
        for (size_t i = 0; option->names != NULL && (name = option->names(i, &help)); i++) {
            printf("%s ", name);
        }
        printf("%s)", paths.words);
    } else if (words) {
        printf("{ compadd -- %s; %s }", paths.words, action(&paths, buffer));
    } else if (paths.kind != CLI_NO_PATH) {
        fputs(action(&paths, buffer), stdout);
    } else {
        putchar(' '); /* nothing to offer, but a value all the same */
    }
}

static void put_option(const vit_option *option, const void *target) {
    cli_flag_text text;
    bool switches = option->type == VIT_OPT_BOOL;
    cli_flag_describe(option, target, &text);
    const char *negation = cli_is_negated(option, target) ? "no-" : "";
    const char *equals = switches ? "" : "=";
    fputs("            ", stdout);
    if (option->letter != 0) {
        printf("'(-%c --%s)'{-%c%s,--%s%s%s}'", option->letter, option->name, option->letter,
               switches ? "" : "+", negation, option->name, equals);
    } else {
        printf("'--%s%s%s", negation, option->name, equals);
    }
    putchar('[');
    put_quoted(option->help);
    putchar(']');
    if (!switches) {
        put_value(option, text.variable);
    }
    puts("' \\");
}

static void put_verb(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    cli_completion paths;
    char buffer[64];
    const char *word;
    printf("        (%s)\n        _arguments -s \\\n", verb->name);
    for (size_t i = 0; i < group_count; i++) {
        for (size_t j = 0; j < groups[i].count; j++) {
            put_option(&groups[i].options[j], groups[i].target);
        }
    }
    fputs("            ", stdout);
    if (verb->word != NULL) {
        printf("'1:%s:(", verb->arguments);
        for (size_t i = 0; (word = verb->word(i)) != NULL; i++) {
            printf("%s ", word);
        }
        puts(")' '*:DATA:_files'");
    } else {
        cli_complete_metavar(verb->arguments, &paths);
        fputs("'*:", stdout);
        put_quoted(verb->arguments);
        printf(":%s'\n", paths.kind == CLI_NO_PATH ? " " : action(&paths, buffer));
    }
    puts("        ;;");
}

int cli_complete_zsh(void) {
    const cli_verb *verb;
    puts("#compdef zvit\n"
         "# zsh completion for zvit, made by: zvit completion zsh\n"
         "_zvit() {\n"
         "    local context state state_descr line curcontext=$curcontext\n"
         "    local -a verbs=(");
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        printf("        '%s:", verb->name);
        put_quoted(verb->summary);
        puts("'");
    }
    puts("    )\n"
         "    _arguments -C '(- *)'{-h,--help}'[every verb]' '(- *)--version[the version]' \\\n"
         "        '1:verb:->verb' '*::argument:->argument'\n"
         "    case $state in\n"
         "    (verb) _describe verb verbs ;;\n"
         "    (argument)\n"
         "        case $words[1] in");
    int code = cli_describe_all(put_verb);
    puts("        esac\n"
         "        ;;\n"
         "    esac\n"
         "}\n"
         "if [[ $funcstack[1] == _zvit ]]; then _zvit \"$@\"; else compdef _zvit zvit; fi");
    return code;
}
