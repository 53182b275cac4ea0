/* The forms in which zvit classify says what a picture shows. */
#ifndef ZVIT_CLASSIFY_PRINT_H
#define ZVIT_CLASSIFY_PRINT_H

#include "tools/csv.h"

/* What a picture is called when its best class is below the threshold. */
#define CLI_UNKNOWN "unknown"

typedef enum classify_form { CLASSIFY_TABLE, CLASSIFY_JSON, CLASSIFY_CSV } classify_form;

typedef struct classify_printer {
    classify_form form;
    size_t topk;                    /* columns of CSV */
    const char *const *class_names; /* (K) */
    double threshold;               /* 0..1; 0: every picture has a class */
    bool sorted;                    /* pictures are also sorted into folders */
    size_t path_width, class_width; /* of the table */
    cli_csv *csv;                   /* NULL but for CLASSIFY_CSV */
} classify_printer;

/* The class that a picture is in, or -1 when it is unknown. */
int classify_decide(const classify_printer *printer, const vit_result *result);

/* The first line of CSV. */
vit_status classify_print_head(classify_printer *printer);
/* A picture of the class that classify_decide said. sorted_to: where it was put, or NULL; error:
 * why it could not be put there, or "". */
vit_status classify_print(classify_printer *printer, const char *path, int class_index,
                          const vit_result *result, const char *sorted_to, const char *error);
/* What could not be classified: nothing in the table. */
vit_status classify_print_error(classify_printer *printer, const char *path, const char *error);

#endif
