/* Progress on standard error: on a terminal one line that is redrawn, elsewhere a plain line now
 * and then, with --quiet nothing. */
#ifndef ZVIT_PROGRESS_H
#define ZVIT_PROGRESS_H

#include <stdbool.h>

typedef enum cli_progress_mode {
    CLI_PROGRESS_QUIET,
    CLI_PROGRESS_LINES, /* not a terminal: at most one line each 30 s */
    CLI_PROGRESS_BAR    /* a terminal: one line, redrawn at most 10 times a second */
} cli_progress_mode;

typedef struct cli_progress {
    cli_progress_mode mode;
    bool colour; /* NO_COLOR is not set */
    bool drawn;  /* the bar stands on the terminal's last line */
    double last; /* when something was last drawn or printed, by cli_now() */
} cli_progress;

/* Chooses the mode by --quiet, isatty and TERM. */
void cli_progress_init(cli_progress *progress, bool quiet);

/* How far things are: share 0..1 (negative: unknown, no bar) and what to say. Cheap to call often.
 */
void cli_progress_show(cli_progress *progress, double share, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that stays (nothing with --quiet). text is printed as cli_put does. */
void cli_progress_say(cli_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes the bar away, so that other output can follow. */
void cli_progress_clear(cli_progress *progress);

/* Seconds as "45 s", "3:07" or "2:03:07"; "?" when negative or not finite. buffer of at least 32
 * bytes; returns it. */
const char *cli_duration(double seconds, char *buffer);

#endif
