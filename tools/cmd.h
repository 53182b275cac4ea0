/* What the verbs of the zvit command share: their table, common flags, help, errors, output that is
 * safe on a terminal. */
#ifndef ZVIT_CMD_H
#define ZVIT_CMD_H

#include "vit/options.h"

#include <stdio.h>

/* Exit codes; a run stopped by a signal exits with 128 + its number. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

typedef struct cli_verb cli_verb;
struct cli_verb {
    const char *name;
    const char *arguments; /* of the usage line: "MODEL DATA" */
    const char *summary;   /* one line for zvit --help */
    /* Paragraphs for zvit VERB --help; lines up to 80 wide, '\n' at the end. A line followed by
     * indented ones is an entry of a list, "WORD: what it is". */
    const char *details;
    /* cmd_*.c: argv holds the words after the verb; returns the exit code. */
    int (*run)(const cli_verb *verb, int argc, char **argv);
    /* What the first argument may be, where that is not a path; NULL past the end. */
    const char *(*word)(size_t index);
    bool ranks;    /* several ranks of a launcher run it together */
    bool log_json; /* --log-json was given */
    /* What --help hands the verb's tables to, to be printed in another form; NULL: the usual. */
    void (*describe)(const cli_verb *verb, const vit_option_group *groups, size_t group_count);
};

/* zvit.c: the index-th verb, NULL past the end; the one of that name, or NULL. */
const cli_verb *cli_verb_at(size_t index);
const cli_verb *cli_find_verb(const char *name);
const char *cli_verb_name(size_t index);
/* "zvit: 'WORD' is no verb" and the nearest one, on standard error. Returns CLI_USAGE. */
int cli_unknown_verb(const char *word);

int cmd_train(const cli_verb *verb, int argc, char **argv);
int cmd_eval(const cli_verb *verb, int argc, char **argv);
int cmd_classify(const cli_verb *verb, int argc, char **argv);
int cmd_check(const cli_verb *verb, int argc, char **argv);
int cmd_export(const cli_verb *verb, int argc, char **argv);
int cmd_preview(const cli_verb *verb, int argc, char **argv);
int cmd_explain(const cli_verb *verb, int argc, char **argv);
int cmd_report(const cli_verb *verb, int argc, char **argv);
int cmd_info(const cli_verb *verb, int argc, char **argv);
int cmd_bench(const cli_verb *verb, int argc, char **argv);
int cmd_pack(const cli_verb *verb, int argc, char **argv);
int cmd_serve(const cli_verb *verb, int argc, char **argv);
int cmd_plan(const cli_verb *verb, int argc, char **argv);
int cmd_help(const cli_verb *verb, int argc, char **argv);
int cmd_completion(const cli_verb *verb, int argc, char **argv);
const char *cmd_bench_word(size_t index);
const char *cmd_completion_word(size_t index);

/* ---- common flags ---- */
typedef struct cli_common {
    int threads;
    bool quiet, help, log_json, json;
} cli_common;
/* --threads --quiet --log-json --help, and --json when with_json. */
vit_option_group cli_common_group(cli_common *common, bool with_json);
/* Sets how many threads OpenMP uses from now on. */
void cli_apply_threads(const cli_common *common);

/* Defaults, then the command line. Returns true to go on with *words positional words at the front
 * of argv; false when the verb is done with exit code *code (--help was printed, or a usage error).
 */
bool cli_parse(const cli_verb *verb, const vit_option_group *groups, size_t group_count, int argc,
               char **argv, int *words, int *code);
/* The rows of a table with these names (NULL at the end), in the table's order, for a struct that
 * holds the table's at this offset. Returns how many; out has room for them. */
size_t cli_pick_options(const vit_option *table, size_t count, const char *const *names,
                        size_t offset, vit_option *out);
/* True when --help or -h, and --log-json, is among the words before "--". */
bool cli_wants_help(int argc, char **argv);
bool cli_wants_log_json(int argc, char **argv);
/* Prints zvit VERB --help from the tables, or has verb->describe do so; "default" is what the
 * groups' targets hold now. */
void cli_print_help(const cli_verb *verb, const vit_option_group *groups, size_t group_count);
/* The choice nearest to word by edit distance, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *choices, size_t count);

/* ---- errors: one line on standard error, "zvit VERB: message"; with --log-json an object,
 * {"event":"error","verb":VERB,"message":...} ---- */
/* With vit_last_error() as the message. Returns CLI_FAILED. */
int cli_fail(const cli_verb *verb);
/* The same for wrong usage, with a hint at --help. Returns CLI_USAGE. */
int cli_fail_usage(const cli_verb *verb);
/* "2 arguments (expected one: DATA)" as the last error; returns VIT_ERROR_ARGUMENT. */
vit_status cli_wrong_arguments(int words, const char *expected);
/* A PNG is written under the name of one only: else VIT_ERROR_ARGUMENT. */
vit_status cli_check_png_name(const char *path);
void cli_warn(const cli_verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Flushes standard output; when something could not be written (a full disk, say) that is an error,
 * told unless the reader of a pipe went away. Returns code, or CLI_FAILED. */
int cli_finish(const cli_verb *verb, int code);

/* ---- output ---- */
/* Writes UTF-8 text that came from outside (file and class names) so that it cannot steer a
 * terminal: control characters, direction overrides and bytes that are not UTF-8 become '?'.
 * Returns the number of characters; stream NULL only counts. */
size_t cli_put(FILE *stream, const char *text);
/* The same, filled with spaces on the right to width characters. */
void cli_put_padded(FILE *stream, const char *text, size_t width);
/* 1234567 as "1,234,567" in buffer of at least 32 bytes; returns buffer. */
const char *cli_thousands(double number, char *buffer);
/* Prints a JSON value on standard output, with a newline, and frees it. */
vit_status cli_print_json(vit_json *root, bool pretty);

/* What happens, for --log-json: an object with "event" and "verb", to be added to; and printed on
 * standard error, on a line of its own, and freed. */
vit_json *cli_event(const cli_verb *verb, const char *event);
void cli_print_event(vit_json *event);

#endif
