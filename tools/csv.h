/* Lines of CSV on standard output, in the one form that zvit writes (data/csv_write.h). */
#ifndef ZVIT_CSV_H
#define ZVIT_CSV_H

#include "vit/zvit.h"

typedef struct cli_csv cli_csv;
vit_status cli_csv_create(cli_csv **out);
void cli_csv_free(cli_csv *csv); /* NULL is fine */

void cli_csv_text(cli_csv *csv, const char *text);
void cli_csv_number(cli_csv *csv, double value); /* NaN: an empty field */
/* Prints the line. */
vit_status cli_csv_end_line(cli_csv *csv);

#endif
