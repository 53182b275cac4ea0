/* Completion scripts, from the verbs' option tables. */
#ifndef ZVIT_COMPLETION_H
#define ZVIT_COMPLETION_H

/* Print the script of a shell. Return the exit code. */
int cli_complete_bash(void);
int cli_complete_zsh(void);

#endif
