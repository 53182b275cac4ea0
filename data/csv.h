/* Lists in CSV files: two columns of text. */
#ifndef VIT_CSV_H
#define VIT_CSV_H

#include "data/walk.h"

/* What a list holds, and what a header may call its two columns (any case; NULL at the end). */
typedef struct vit_csv_columns {
    const char *expected; /* "path,label", for messages */
    const char *const *first, *const *second;
} vit_csv_columns;

/* Reads a list (RFC 4180: fields may be quoted, "" is a quote within them; lines end in LF or
 * CRLF; a byte order mark and empty lines are passed over). The first line may be a header that
 * names the columns, in any order and among others, which are ignored; without one they are the
 * first and the second. No field may be empty or hold a line break. Message: file and line. */
vit_status vit_csv_read(const char *path, const vit_csv_columns *columns, vit_name_list *first,
                        vit_name_list *second);

#endif
