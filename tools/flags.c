/* Command lines and help, both from the option tables. */
#include "tools/cmd.h"

#include <omp.h>
#include <stddef.h>
#include <string.h>

static const vit_option common_options[] = {
    {.name = "threads",
     .type = VIT_OPT_INT,
     .offset = offsetof(cli_common, threads),
     .min = 0,
     .max = 4096,
     .value = "0",
     .metavar = "N",
     .help = "threads to compute with; 0: OMP_NUM_THREADS, or all the processors there are"},
    {.name = "quiet",
     .letter = 'q',
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, quiet),
     .help = "no progress on standard error, only warnings and errors"},
    {.name = "log-json",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, log_json),
     .help = "what goes to standard error (progress, warnings, errors) as one JSON object a line"},
    {.name = "help",
     .letter = 'h',
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, help),
     .help = "this text"},
    {.name = "json",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(cli_common, json),
     .help = "results as JSON"},
};
enum { COMMON_OPTIONS = sizeof common_options / sizeof *common_options };

vit_option_group cli_common_group(cli_common *common, bool with_json) {
    return (vit_option_group){.title = "Common flags",
                              .options = common_options,
                              /* --json is the last row */
                              .count = with_json ? COMMON_OPTIONS : COMMON_OPTIONS - 1,
                              .target = common};
}

void cli_apply_threads(const cli_common *common) {
    if (common->threads > 0) {
        omp_set_num_threads(common->threads);
    }
}

static bool has_word(int argc, char **argv, const char *word) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], word) == 0) {
            return true;
        }
    }
    return false;
}

bool cli_wants_help(int argc, char **argv) {
    return has_word(argc, argv, "--help") || has_word(argc, argv, "-h");
}

bool cli_wants_log_json(int argc, char **argv) {
    return has_word(argc, argv, "--log-json");
}

bool cli_parse(const cli_verb *verb, const vit_option_group *groups, size_t group_count, int argc,
               char **argv, int *words, int *code) {
    for (size_t i = 0; i < group_count; i++) {
        if (vit_options_defaults(&groups[i]) != VIT_OK) {
            *code = cli_fail(verb);
            return false;
        }
    }
    if (cli_wants_help(argc, argv)) {
        cli_print_help(verb, groups, group_count);
        *code = cli_finish(verb, CLI_DONE);
        return false;
    }
    if (vit_options_parse(groups, group_count, argc, argv, words) != VIT_OK) {
        *code = cli_fail_usage(verb);
        return false;
    }
    return true;
}

/* ---- suggestions ---- */
#define WORD_MAX 32

/* Levenshtein's distance, row by row. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[WORD_MAX + 1], m = strlen(a), n = strlen(b);
    if (m > WORD_MAX || n > WORD_MAX) {
        return WORD_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *const *choices, size_t count) {
    const char *nearest = NULL;
    size_t least = strlen(word) / 2 + 1; /* half of the word or more wrong is no misspelling */
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, choices[i]);
        if (distance < least) {
            least = distance;
            nearest = choices[i];
        }
    }
    return nearest;
}

size_t cli_pick_options(const vit_option *table, size_t count, const char *const *names,
                        size_t offset, vit_option *out) {
    size_t picked = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; names[j]; j++) {
            if (strcmp(table[i].name, names[j]) == 0) {
                out[picked] = table[i];
                out[picked++].offset += offset;
            }
        }
    }
    return picked;
}
