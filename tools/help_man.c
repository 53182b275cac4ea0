/* Manual pages in roff, with the macros of groff_man(7). */
#include "tools/help.h"

#include <ctype.h>
#include <string.h>

/* Text as roff reads it: its own signs escaped, a '-' as the one of the keyboard, and nothing at
 * the beginning of a line that would be a request. Spaces are folded. */
static void put_text(const char *text, size_t length) {
    bool line_start = true;
    for (size_t i = 0; i < length && text[i] != 0; i++) {
        char c = text[i];
        if (isspace((unsigned char)c)) {
            if (!line_start && i + 1 < length && text[i + 1] != 0 &&
                !isspace((unsigned char)text[i + 1])) {
                putchar(c == '\n' ? '\n' : ' ');
                line_start = c == '\n';
            }
            continue;
        }
        if (line_start && (c == '.' || c == '\'')) {
            fputs("\\&", stdout);
        }
        line_start = false;
        switch (c) {
        case '\\':
            fputs("\\(rs", stdout);
            break;
        case '-':
            fputs("\\-", stdout);
            break;
        case '\'':
            fputs("\\(aq", stdout);
            break;
        case '`':
            fputs("\\(ga", stdout);
            break;
        case '^':
            fputs("\\(ha", stdout);
            break;
        case '~':
            fputs("\\(ti", stdout);
            break;
        default:
            putchar(c);
        }
    }
}

static void put(const char *text) {
    put_text(text, strlen(text));
}

static void put_title(const char *name, const char *verb) {
    printf(".TH ");
    put(name);
    put(*verb ? "-" : "");
    put(verb);
    printf(" 1 \"\" \"zvit %s\" \"zvit manual\"\n", vit_version());
}

static void put_details(const char *details) {
    cli_paragraph paragraph;
    while (cli_next_paragraph(&details, &paragraph)) {
        if (paragraph.word != NULL) {
            fputs(".TP\n\\fB", stdout);
            put_text(paragraph.word, (size_t)paragraph.word_length);
            fputs("\\fR\n", stdout);
        } else {
            puts(".PP");
        }
        put_text(paragraph.text, paragraph.length);
        putchar('\n');
    }
}

static void put_option(const vit_option *option, const void *target) {
    cli_flag_text text;
    cli_flag_describe(option, target, &text);
    fputs(".TP\n", stdout);
    if (option->letter != 0) {
        printf("\\fB\\-%c\\fR, ", option->letter);
    }
    size_t flag = strcspn(text.flag, " ");
    fputs("\\fB", stdout);
    put_text(text.flag, flag);
    fputs("\\fR", stdout);
    if (*text.variable) {
        fputs(" \\fI", stdout);
        put(text.variable);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    put(option->help);
    fputs("\n(", stdout);
    put(text.type);
    fputs(*text.value ? "; default " : "", stdout);
    put(text.value);
    puts(")");
    if (option->names == NULL) {
        return;
    }
    puts(".RS");
    const char *help = "", *name;
    for (size_t i = 0; (name = option->names(i, &help)) != NULL; i++) {
        if (*help || i > 0) {
            puts(*help ? ".TP" : ".br");
        }
        fputs("\\fB", stdout);
        put(name);
        puts("\\fR");
        if (*help) {
            put(help);
            putchar('\n');
        }
    }
    puts(".RE");
}

void cli_man_page(const cli_verb *verb, const vit_option_group *groups, size_t group_count) {
    put_title("zvit", verb->name);
    printf(".SH NAME\nzvit\\-%s \\- ", verb->name);
    put(verb->summary);
    printf("\n.SH SYNOPSIS\n\\fBzvit %s\\fR [\\fIFLAGS\\fR] ", verb->name);
    put(verb->arguments);
    puts("\n.SH DESCRIPTION");
    put_details(verb->details);
    puts(".SH OPTIONS");
    for (size_t i = 0; i < group_count; i++) {
        fputs(".SS ", stdout);
        put(groups[i].title);
        putchar('\n');
        for (size_t j = 0; j < groups[i].count; j++) {
            put_option(&groups[i].options[j], groups[i].target);
        }
    }
    puts(".SH EXIT STATUS");
    put(cli_exit_codes);
    puts("\n.SH SEE ALSO\n\\fBzvit\\fR(1)");
}

void cli_man_overview(void) {
    static const struct {
        const char *name, *meaning;
    } variables[] = {
        {"OMP_NUM_THREADS", "threads to compute with, where --threads does not say"},
        {"OPENBLAS_CORETYPE", "the kernel that OpenBLAS uses; another one gives other last bits"},
        {"NO_COLOR", "set to anything: no colours on a terminal"},
    };
    const cli_verb *verb;
    put_title("zvit", "");
    puts(".SH NAME\nzvit \\- train, evaluate and run Vision Transformers\n.SH SYNOPSIS\n"
         "\\fBzvit\\fR \\fIVERB\\fR [\\fIFLAGS\\fR] \\fIARGUMENTS\\fR\n.br\n"
         "\\fBzvit\\fR \\fIVERB\\fR \\fB\\-\\-help\\fR\n.br\n"
         "\\fBzvit\\fR \\fB\\-\\-version\\fR\n.SH DESCRIPTION");
    put(cli_about);
    puts("\n.SH VERBS");
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        printf(".TP\n\\fB%s\\fR ", verb->name);
        put(verb->arguments);
        putchar('\n');
        put(verb->summary);
        putchar('\n');
    }
    puts(".SH EXIT STATUS");
    put(cli_exit_codes);
    puts("\n.SH ENVIRONMENT");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        printf(".TP\n\\fB%s\\fR\n", variables[i].name);
        put(variables[i].meaning);
        putchar('\n');
    }
    puts(".SH SEE ALSO");
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        printf("\\fBzvit\\-%s\\fR(1)%s\n", verb->name, cli_verb_at(i + 1) ? "," : "");
    }
}
