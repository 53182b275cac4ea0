/* Help, manual pages and the command reference: all from the verbs' option tables. A verb hands
 * its tables to a cli_describer when it is called with --help. */
#ifndef ZVIT_HELP_H
#define ZVIT_HELP_H

#include "tools/cmd.h"

/* What zvit is, in a line; what its exit codes mean, in a paragraph. */
extern const char cli_about[], cli_exit_codes[];

/* What a page says of a flag. */
typedef struct cli_flag_text {
    char flag[96];        /* "--[no-]flip", "--lr X"; without the letter */
    const char *variable; /* "X", or "" */
    char type[1024];      /* "number 0 to 1", "one of a, b", "text", "switch" */
    char value[256];      /* the default, "" when there is none */
} cli_flag_text;
void cli_flag_describe(const vit_option *option, const void *target, cli_flag_text *text);
/* A switch that is on by default: --no-NAME turns it off. */
bool cli_is_negated(const vit_option *option, const void *target);

/* Goes through the paragraphs of cli_verb.details: an entry has its word apart. */
typedef struct cli_paragraph {
    const char *word; /* of an entry, not ended by a zero; NULL: plain text */
    int word_length;
    const char *text; /* lines; *length of them in bytes */
    size_t length;
} cli_paragraph;
/* *rest begins at the details and moves on; false at their end. */
bool cli_next_paragraph(const char **rest, cli_paragraph *paragraph);

/* Prints zvit --help. */
void cli_print_usage(FILE *stream);

typedef void cli_describer(const cli_verb *verb, const vit_option_group *groups, size_t count);
/* Has every verb, in order, hand its tables to a describer, which prints them. Returns the exit
 * code. */
int cli_describe_all(cli_describer *describer);

/* A verb's page in roff, as groff's man macros have it, and that of zvit itself. */
cli_describer cli_man_page;
void cli_man_overview(void);
/* The command reference in Markdown: its head, and the part of a verb. */
void cli_markdown_head(void);
cli_describer cli_markdown_verb;

#endif
