#include "tools/progress.h"

#include "vit/clock.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_SECONDS 0.1
#define LINE_SECONDS 30.0
#define JSON_SECONDS 1.0
#define BAR_CELLS 24
#define LINE_MAX 256

static cli_progress_mode choose_mode(const cli_verb *verb, const cli_common *common) {
    const char *term = getenv("TERM");
    if (common->quiet) {
        return CLI_PROGRESS_QUIET;
    }
    if (verb->log_json) {
        return CLI_PROGRESS_JSON;
    }
    bool terminal = isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
    return terminal ? CLI_PROGRESS_BAR : CLI_PROGRESS_LINES;
}

void cli_progress_init(cli_progress *progress, const cli_verb *verb, const cli_common *common) {
    const char *no_color = getenv("NO_COLOR");
    *progress = (cli_progress){
        .verb = verb,
        .mode = choose_mode(verb, common),
        .colour = no_color == NULL || *no_color == 0,
        .last = vit_seconds(),
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

/* Whether it is time to draw again; if so, the next time is a while off. */
static bool is_due(cli_progress *progress) {
    static const double waits[] = {[CLI_PROGRESS_LINES] = LINE_SECONDS,
                                   [CLI_PROGRESS_BAR] = REDRAW_SECONDS,
                                   [CLI_PROGRESS_JSON] = JSON_SECONDS};
    double now = vit_seconds();
    if (progress->mode == CLI_PROGRESS_QUIET || now - progress->last < waits[progress->mode]) {
        return false;
    }
    progress->last = now;
    return true;
}

static void print_event(const cli_progress *progress, const char *event, const cli_field *fields,
                        size_t count, const char *message) {
    vit_json *root = cli_event(progress->verb, event);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].text != NULL) {
            vit_json_add_string(root, fields[i].key, fields[i].text);
        } else if (fields[i].is_bool) {
            vit_json_add_bool(root, fields[i].key, fields[i].number > 0);
        } else {
            vit_json_add_number(root, fields[i].key, fields[i].number);
        }
    }
    if (message != NULL) {
        vit_json_add_string(root, "message", message);
    }
    cli_print_event(root);
}

static void show(cli_progress *progress, double share, const cli_field *fields, size_t count,
                 const char *text) {
    if (progress->mode == CLI_PROGRESS_JSON) {
        print_event(progress, "progress", fields, count, NULL);
    } else if (progress->mode == CLI_PROGRESS_BAR) {
        redraw(progress, share, text);
    } else if (share >= 0) {
        fprintf(stderr, "%s (%.0f %%)\n", text, 100 * fmin(share, 1));
    } else {
        fprintf(stderr, "%s\n", text);
    }
}

void cli_progress_show(cli_progress *progress, double share, const cli_field *fields, size_t count,
                       const char *format, ...) {
    if (!is_due(progress)) {
        return;
    }
    char text[LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    show(progress, share, fields, count, text);
}

/* Pictures a second since the count began; NaN while that says nothing. */
static double count_rate(cli_progress *progress, size_t done, size_t total) {
    double now = vit_seconds();
    if (progress->count_start <= 0 || progress->count_total != total ||
        done < progress->count_last) {
        progress->count_start = now;
        progress->count_first = done;
        progress->count_total = total;
    }
    progress->count_last = done;
    double seconds = now - progress->count_start;
    size_t counted = done - progress->count_first;
    return counted > 0 && seconds > 0 ? (double)counted / seconds : NAN;
}

static void describe_count(char text[LINE_MAX], const char *doing, size_t done, size_t total,
                           double rate, double left) {
    char counted[32], all[32], number[32], duration[32];
    char of[64] = "", speed[64] = "", eta[64] = "";
    if (total > 0) {
        snprintf(of, sizeof of, " of %s", cli_thousands((double)total, all));
    }
    if (rate >= 10) {
        snprintf(speed, sizeof speed, "  %s/s", cli_thousands(rate, number));
    } else if (rate > 0) {
        snprintf(speed, sizeof speed, "  %.1f/s", rate);
    }
    if (left >= 0) {
        snprintf(eta, sizeof eta, "  ETA %s", cli_duration(left, duration));
    }
    snprintf(text, LINE_MAX, "%s%s%s%s pictures%s%s", doing, *doing ? ": " : "",
             cli_thousands((double)done, counted), of, speed, eta);
}

void cli_progress_count(cli_progress *progress, const char *doing, size_t done, size_t total) {
    double rate = count_rate(progress, done, total);
    /* A machine hears of the end in any case. */
    bool ends = progress->mode == CLI_PROGRESS_JSON && done == total;
    if (!is_due(progress) && !ends) {
        return;
    }
    double left = total > 0 ? (double)(total - (done < total ? done : total)) / rate : NAN;
    double share = total > 0 ? (double)done / (double)total : -1;
    const cli_field fields[] = {{.key = "doing", .text = doing},
                                {.key = "unit", .text = "pictures"},
                                {.key = "done", .number = (double)done},
                                {.key = "total", .number = total > 0 ? (double)total : NAN},
                                {.key = "rate", .number = rate},
                                {.key = "eta_seconds", .number = left}};
    char text[LINE_MAX];
    describe_count(text, doing, done, total, rate, left);
    show(progress, share, fields, sizeof fields / sizeof *fields, text);
}

void cli_progress_timings(void *progress, const char *doing, size_t done, size_t total) {
    const cli_field fields[] = {{.key = "doing", .text = doing},
                                {.key = "unit", .text = "timings"},
                                {.key = "done", .number = (double)done},
                                {.key = "total", .number = (double)total}};
    cli_progress_show(progress, (double)done / (double)total, fields,
                      sizeof fields / sizeof *fields, "%s: %zu of %zu timings", doing, done, total);
}

static void say(cli_progress *progress, const char *event, const cli_field *fields, size_t count,
                const char *format, va_list args) {
    if (progress->mode == CLI_PROGRESS_QUIET) {
        return;
    }
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    cli_progress_clear(progress);
    if (progress->mode == CLI_PROGRESS_JSON) {
        print_event(progress, event, fields, count, text);
    } else {
        cli_put(stderr, text);
        fputc('\n', stderr);
    }
    progress->last = vit_seconds();
}

void cli_progress_event(cli_progress *progress, const char *event, const cli_field *fields,
                        size_t count, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(progress, event, fields, count, format, args);
    va_end(args);
}

void cli_progress_say(cli_progress *progress, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say(progress, "message", NULL, 0, format, args);
    va_end(args);
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
