#include "tools/completion.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What the words in capitals stand for. */
static const struct {
    const char *word;
    cli_path_kind kind;
    const char *pattern;
} paths[] = {
    {"FILE", CLI_ANY_FILE, NULL},    {"DATA", CLI_ANY_FILE, NULL},
    {"PATH", CLI_ANY_FILE, NULL},    {"IMAGE", CLI_ANY_FILE, NULL},
    {"DIR", CLI_FOLDER, NULL},       {"RUN", CLI_FOLDER, NULL},
    {"PNG", CLI_FILE_LIKE, "*.png"}, {"CSV", CLI_FILE_LIKE, "*.csv"},
    {"zpk", CLI_FILE_LIKE, "*.zpk"}, {"MODEL", CLI_FILE_LIKE, "*.safetensors"},
};

void cli_complete_metavar(const char *metavar, cli_completion *completion) {
    *completion = (cli_completion){.kind = CLI_NO_PATH};
    const char *text = metavar;
    while (*(text += strspn(text, " |[]."))) {
        size_t length = strcspn(text, " |[].");
        bool found = false;
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
            if (strlen(paths[i].word) == length && strncmp(paths[i].word, text, length) == 0) {
                /* "DIR|FILE" is either, "MODEL... DATA" both: then any file. */
                completion->kind = completion->kind == CLI_NO_PATH ? paths[i].kind : CLI_ANY_FILE;
                completion->pattern = paths[i].pattern;
                found = true;
            }
        }
        if (!found && islower((unsigned char)*text) && !memchr(text, ':', length)) {
            size_t used = strlen(completion->words);
            snprintf(completion->words + used, sizeof completion->words - used, "%s%.*s",
                     used ? " " : "", (int)length, text);
        }
        text += length;
    }
}
