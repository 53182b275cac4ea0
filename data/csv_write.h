/* Writing CSV: the one place that knows how a field is quoted. */
#ifndef VIT_CSV_WRITE_H
#define VIT_CSV_WRITE_H

#include "vit/file.h"

#include <stdbool.h>

/* A table being written, in memory. Zero-initialise; release with vit_csv_free. A failure is
 * remembered, and save (or whoever takes the text) returns it.
 *
 * Form (RFC 4180, but lines end in LF): a field that holds a comma, a quote or a line break is
 * quoted, and its quotes are doubled. Text is written as it is: a class may be named "=1+1", and a
 * reader must get that name. Whoever opens the file in a spreadsheet that takes such a field for a
 * formula has to import it as text; a quoted field would not help, and a prefix would be another
 * name. */
typedef struct vit_csv {
    vit_bytes text;
    bool within; /* a field stands on this line already */
    vit_status status;
} vit_csv;

void vit_csv_free(vit_csv *csv);
void vit_csv_text(vit_csv *csv, const char *text);
/* To ten significant digits, whole numbers whole; what is not finite is an empty field. */
void vit_csv_number(vit_csv *csv, double value);
/* A line's beginning as it stands, without quotes: a header of known names. */
void vit_csv_raw(vit_csv *csv, const char *line);
void vit_csv_end_line(vit_csv *csv);

/* Writes the table (vit_file_replace). */
vit_status vit_csv_save(const vit_csv *csv, const char *path);

#endif
