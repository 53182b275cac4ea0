#include "tools/progress.h"

#include "tools/cmd.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS 30.0
#define BAR_CELLS 24
#define LINE_MAX 256

void cli_progress_init(cli_progress *progress, bool quiet) {
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    bool terminal = isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
    *progress = (cli_progress){
        .mode = quiet      ? CLI_PROGRESS_QUIET
                : terminal ? CLI_PROGRESS_BAR
                           : CLI_PROGRESS_LINES,
        .colour = no_color == NULL || *no_color == 0,
        .last = cli_now(),
    };
}

static size_t terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        return 80;
    }
    return size.ws_col;
}

static void draw_bar(double share, bool colour) {
    char cells[BAR_CELLS + 1];
    double full = fmin(fmax(share, 0), 1) * BAR_CELLS;
    for (int i = 0; i < BAR_CELLS; i++) {
        cells[i] = (double)i + 1 <= full ? '=' : (double)i < full ? '>' : ' ';
    }
    cells[BAR_CELLS] = 0;
    fprintf(stderr, colour ? "[\x1b[32m%s\x1b[0m] " : "[%s] ", cells);
}

/* What we print here is ASCII (numbers and fixed words), so bytes are columns. One column stays
 * free: many terminals wrap when the last one is filled. */
static void redraw(cli_progress *progress, double share, const char *text) {
    size_t columns = terminal_columns() - 1;
    fputs("\r", stderr);
    if (share >= 0 && columns > BAR_CELLS + 3 + 20) {
        draw_bar(share, progress->colour);
        columns -= BAR_CELLS + 3;
    }
    fprintf(stderr, "%.*s\x1b[K", (int)(columns < LINE_MAX ? columns : LINE_MAX), text);
    fflush(stderr);
    progress->drawn = true;
}

void cli_progress_show(cli_progress *progress, double share, const char *format, ...) {
    double now = cli_now();
    double wait = progress->mode == CLI_PROGRESS_BAR ? REDRAW_SECONDS : LINE_SECONDS;
    if (progress->mode == CLI_PROGRESS_QUIET || now - progress->last < wait) {
        return;
    }
    progress->last = now;
    char text[LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (progress->mode == CLI_PROGRESS_BAR) {
        redraw(progress, share, text);
    } else if (share >= 0) {
        fprintf(stderr, "%s (%.0f %%)\n", text, 100 * fmin(share, 1));
    } else {
        fprintf(stderr, "%s\n", text);
    }
}

void cli_progress_say(cli_progress *progress, const char *format, ...) {
    if (progress->mode == CLI_PROGRESS_QUIET) {
        return;
    }
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_progress_clear(progress);
    cli_put(stderr, text);
    fputc('\n', stderr);
    progress->last = cli_now();
}

void cli_progress_clear(cli_progress *progress) {
    if (progress->drawn) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
        progress->drawn = false;
    }
}

const char *cli_duration(double seconds, char *buffer) {
    if (!(seconds >= 0) || seconds > 1e9) {
        snprintf(buffer, 32, "?");
        return buffer;
    }
    long whole = lround(seconds);
    if (whole < 60) {
        snprintf(buffer, 32, "%ld s", whole);
    } else if (whole < 3600) {
        snprintf(buffer, 32, "%ld:%02ld", whole / 60, whole % 60);
    } else {
        snprintf(buffer, 32, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    }
    return buffer;
}
