/* What zvit classify is to look at: PATHs made into a list of pictures. */
#ifndef ZVIT_CLASSIFY_INPUTS_H
#define ZVIT_CLASSIFY_INPUTS_H

#include "tools/files.h"

/* A list of paths is refused above this many bytes, and with a line longer than a path can be. */
#define CLI_MAX_LIST_BYTES ((size_t)256 << 20)

typedef struct classify_input {
    char *path;  /* as given or found; "-" is standard input */
    char *error; /* why there is no picture, in the place of those that would be; or NULL */
} classify_input;

/* Zero-initialise; release with classify_inputs_free. */
typedef struct classify_inputs {
    classify_input *items; /* in the order given */
    size_t count, capacity;
    bool stdin_used;
    cli_content picture; /* what came on standard input, for "-" */
} classify_inputs;

/* Appends what a PATH stands for: a picture's file; a folder's pictures, also in its subfolders;
 * "-", a picture on standard input, which is read here; "@FILE", what the lines of a list name,
 * each a file or a folder, relative to the current folder ("@-": the list comes on standard input;
 * empty lines are passed over, and lines may end in CRLF). What cannot be found, and a folder or
 * list without a picture, is an item with its error. Fails only for lack of memory. */
vit_status classify_inputs_add(classify_inputs *inputs, const char *word);
void classify_inputs_free(classify_inputs *inputs);

#endif
