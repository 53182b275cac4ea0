/* Options declared once: a table row makes the parsing, the range check, the JSON, the help text,
 * the manual page and the completion. A row describes one field of a struct. */
#ifndef VIT_OPTIONS_H
#define VIT_OPTIONS_H

#include "vit/json.h"
#include "vit/status.h"

#include <stdbool.h>

typedef enum vit_option_type {
    VIT_OPT_BOOL,   /* bool: --name, --no-name */
    VIT_OPT_INT,    /* int[count] */
    VIT_OPT_U64,    /* uint64_t */
    VIT_OPT_DOUBLE, /* double[count] */
    VIT_OPT_STRING, /* char[count], count bytes with the zero */
    VIT_OPT_ENUM    /* int: an index into choices */
} vit_option_type;

typedef struct vit_option {
    const char *name; /* "batch-size": the flag without dashes; JSON uses '_' for '-' */
    char letter;      /* 'b' for -b, or 0 */
    vit_option_type type;
    size_t offset;   /* of the field in its struct */
    int count;       /* numbers in the field (1 when 0); bytes for a string */
    int min_count;   /* a list may be given shorter: the last value fills the rest ("--img-size 224"
                        is 224x224); 0 = count */
    double min, max; /* numbers, both ends allowed; min == max == 0 means no bounds */
    const char *const *choices; /* ENUM: names, NULL at the end */
    const char
        *zero; /* INT: a word that stands for 0, which need not be within the bounds: "auto" */
    const char *value; /* default as text, "0.08 1"; NULL: empty or zero */
    /* STRING: the names that the text may be, NULL past the end, *help a line about it; the parser
       takes any text, which may be another one too */
    const char *(*names)(size_t index, const char **help);
    /* For help; NULL: from the type. Words in capitals that stand for paths (FILE, DIR, RUN, MODEL,
       DATA, PNG, CSV) are completed as such; alternatives are "auto|FILE". */
    const char *metavar;
    const char *help; /* one line, lower case, with units */
    bool may_change;  /* a resumed run may have another value: it does not decide what the
                         steps compute */
} vit_option;

/* Where a value came from, for args.json. */
typedef enum vit_source {
    VIT_FROM_DEFAULT = 0,
    VIT_FROM_MODEL = 1, /* preset */
    VIT_FROM_RECIPE = 2,
    VIT_FROM_CONFIG = 3, /* --config FILE */
    VIT_FROM_USER = 4    /* command line */
} vit_source;
extern const char *const vit_source_names[];

/* A table bound to the struct that it describes. */
typedef struct vit_option_group {
    const char *title; /* heading in --help */
    const vit_option *options;
    size_t count;
    void *target;
    unsigned char *sources; /* (count) vit_source of each, or NULL */
} vit_option_group;

/* Sets every field to its default. */
vit_status vit_options_defaults(const vit_option_group *group);

/* Sets one field from text ("0.08 1" or "0.08,1" for a list); checks type, count and range. The
 * message names the option, the value and what was expected. what prefixes the option in messages:
 * "--" or "args.json: ". */
vit_status vit_option_set(const vit_option_group *group, size_t index, const char *text,
                          const char *what, vit_source source);

/* Checks the value that a field holds, with the same messages. */
vit_status vit_option_check(const vit_option *option, const void *target, const char *what);

/* Writes a field's value as text that vit_option_set reads back. */
void vit_option_format(const vit_option *option, const void *target, char *buffer, size_t size);

/* Parses arguments (argv[0] is the first of them) against several groups: --name value,
 * --name=value, --no-name, -b value, -b32, lists as several words (--scale 0.08 1) or one
 * (--scale 0.08,1). Words that are no option, "-", and all after "--" are positional: moved to the
 * front of argv in order, *positional_count of them; the other words keep their order behind. A
 * later value wins. A word that begins with '-' is a value only if it is "-" or a number for an
 * option that takes numbers. Fails with VIT_ERROR_ARGUMENT on an unknown flag (naming the nearest
 * one), a missing value, or a value out of range. */
vit_status vit_options_parse(const vit_option_group *groups, size_t group_count, int argc,
                             char **argv, int *positional_count);

/* The option's key in JSON: its name with '_' for '-'. */
#define VIT_OPTION_KEY_MAX 64
void vit_option_key(const vit_option *option, char buffer[VIT_OPTION_KEY_MAX]);

/* Fields of a group to and from a JSON object. Lists are arrays; a VIT_OPT_U64 above 2^53, which a
 * JSON number does not hold exactly, is a string. From: fields that are absent or null keep their
 * value; unknown keys are ignored here; a wrong value is VIT_ERROR_FORMAT. what names the file in
 * messages. */
vit_status vit_options_to_json(const vit_option_group *group, vit_json *object);
vit_status vit_options_from_json(const vit_option_group *group, const vit_json *object,
                                 const char *what, vit_source source);

/* "1 to 65536", "one of zeros, softmax", ... for help and messages. */
void vit_option_range(const vit_option *option, char *buffer, size_t size);

#endif
