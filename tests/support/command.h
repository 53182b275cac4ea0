/* Running the built command and looking at what it says. */
#ifndef VIT_TEST_COMMAND_H
#define VIT_TEST_COMMAND_H

#include "folder.h"

#include "vit/json.h"

#include <stdarg.h>
#include <sys/types.h>

/* Every verb, as zvit --help lists them, which test_cli proves; NULL at the end. */
extern const char *const zvit_verbs[];

/* "FOLDER/NAME"; the last eight results stay. */
const char *in_folder(const char *name);

typedef struct outcome {
    int code; /* 128 + signal when one ended it */
    char *out, *err;
} outcome;
/* Runs zvit with these words, NULL at the end. */
outcome zvit(const char *first, ...);
/* The same with the file `in` on standard input; NULL: it is closed. */
outcome zvit_fed(const char *in, const char *first, ...);
void release(outcome *result);

/* The parts of it: what was printed into a file; zvit begun, and its exit code awaited; words, at
 * most 64 with "zvit" before and NULL after them. */
char *read_text(const char *path);
pid_t start_fed(const char *in, const char *out, const char *err, char *const *words);
pid_t start(const char *out, const char *err, char *const *words);
int wait_for(pid_t child);
size_t collect_words(const char **words, const char *first, va_list rest);

void check_code(const outcome *result, int code);
void check_has(const char *text, const char *part);
void check_has_not(const char *text, const char *part);
size_t count_lines(const char *text);
/* Wrong usage: code 2, nothing on stdout, one line of error that says `part`, one of help. */
void check_usage(outcome result, const char *part);
/* A failure: code 1, nothing on stdout, one line "zvit VERB: ..." that says `part`. */
void check_failure(outcome result, const char *verb, const char *part);

vit_json *parse(const char *text);
double number_of(const vit_json *object, const char *key);
const char *string_of(const vit_json *object, const char *key);

/* A golden picture's bytes under another name. */
void copy_picture(const char *from, const char *to);
/* FOLDER/data: 6 + 2 pictures of two classes. */
const char *make_data(void);
#define TINY_MODEL                                                                                 \
    "--img-size", "16", "--patch-size", "8", "--embed-dim", "16", "--depth", "1", "--num-heads",   \
        "2", "-b", "4", "--threads", "2"

/* FOLDER/run, trained on FOLDER/data for two epochs; and that it went well. */
outcome train_tiny(void);
void train_for(outcome *result);

#endif
