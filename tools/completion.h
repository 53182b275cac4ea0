/* Completion scripts, from the verbs' option tables. */
#ifndef ZVIT_COMPLETION_H
#define ZVIT_COMPLETION_H

/* Print the script of a shell. Return the exit code. */
int cli_complete_bash(void);
int cli_complete_zsh(void);

/* What a word of a metavar or of a verb's arguments is completed with. */
typedef enum cli_path_kind { CLI_NO_PATH, CLI_ANY_FILE, CLI_FOLDER, CLI_FILE_LIKE } cli_path_kind;
typedef struct cli_completion {
    cli_path_kind kind;
    const char *pattern; /* CLI_FILE_LIKE: "*.png"; folders are offered as well */
    char words[256];     /* those in small letters, apart by spaces */
} cli_completion;
void cli_complete_metavar(const char *metavar, cli_completion *completion);

#endif
