/* Progress and events on standard error: on a terminal one line that is redrawn, elsewhere a plain
 * line now and then, with --log-json an object a line, with --quiet nothing. */
#ifndef ZVIT_PROGRESS_H
#define ZVIT_PROGRESS_H

#include "tools/cmd.h"

typedef enum cli_progress_mode {
    CLI_PROGRESS_QUIET,
    CLI_PROGRESS_LINES, /* not a terminal: at most one line each 30 s */
    CLI_PROGRESS_BAR,   /* a terminal: one line, redrawn at most 10 times a second */
    CLI_PROGRESS_JSON   /* --log-json: at most one object a second */
} cli_progress_mode;

typedef struct cli_progress {
    const cli_verb *verb;
    cli_progress_mode mode;
    bool colour; /* NO_COLOR is not set */
    bool drawn;  /* the bar stands on the terminal's last line */
    double last; /* when something was last drawn or printed, by vit_seconds() */
    /* cli_progress_count's: when and where the counting began, of how many, and the last count. */
    double count_start;
    size_t count_first, count_total, count_last;
} cli_progress;

/* Chooses the mode by the flags, isatty and TERM. */
void cli_progress_init(cli_progress *progress, const cli_verb *verb, const cli_common *common);

/* `done` of `total` pictures (0: nobody knows): "reading: 120 of 4,000 pictures  310/s  ETA 12 s".
 * Rate and time left are those since the count began, which it does anew when total changes or done
 * falls back. doing may be "". With --log-json the last one, done == total, always comes. Cheap to
 * call often. */
void cli_progress_count(cli_progress *progress, const char *doing, size_t done, size_t total);

/* The same of a measurement's timings, whose lengths differ too much for a rate. A bench_listener
 * (tools/bench/bench.h) with a cli_progress as its context. */
void cli_progress_timings(void *progress, const char *doing, size_t done, size_t total);

/* A value of an event: text when that is not NULL, else a number (null when not finite), or what is
 * true or false. */
typedef struct cli_field {
    const char *key;
    double number;
    const char *text;
    bool is_bool; /* number is 0 or 1 */
} cli_field;

/* How far things are, for whoever measures rate and time left better than counting does: the share
 * 0..1 (negative: unknown, no bar) and what to say; with --log-json the event "progress" with these
 * fields. Cheap to call often. */
void cli_progress_show(cli_progress *progress, double share, const cli_field *fields, size_t count,
                       const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A line that stays (nothing with --quiet); with --log-json the event `event` with these fields and
 * the line as "message". What came from outside is printed as cli_put does. */
void cli_progress_event(cli_progress *progress, const char *event, const cli_field *fields,
                        size_t count, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The same without fields, as the event "message". */
void cli_progress_say(cli_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes the bar away, so that other output can follow. */
void cli_progress_clear(cli_progress *progress);

/* Seconds as "45 s", "3:07" or "2:03:07"; "?" when negative or not finite. buffer of at least 32
 * bytes; returns it. */
const char *cli_duration(double seconds, char *buffer);

#endif
