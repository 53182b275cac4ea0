/* The forms in which zvit classify says what a picture shows. */
#ifndef ZVIT_CLASSIFY_PRINT_H
#define ZVIT_CLASSIFY_PRINT_H

#include "data/csv_write.h"
#include "eval/predict.h"

/* What a picture is called when its best class is below the threshold. */
#define CLI_UNKNOWN "unknown"

typedef enum classify_form { CLASSIFY_TABLE, CLASSIFY_JSON, CLASSIFY_CSV } classify_form;

typedef struct classify_printer {
    classify_form form;
    size_t K, topk;
    char *const *class_names;       /* (K) */
    double threshold;               /* 0..1; 0: every picture has a class */
    bool sorted;                    /* pictures are also sorted into folders */
    int *top;                       /* (topk) of the picture that was looked at last */
    size_t path_width, class_width; /* of the table */
    vit_csv csv;                    /* a line of it */
} classify_printer;

/* The best classes of a picture into printer->top. Returns the class, or -1 when it is unknown. */
int classify_decide(classify_printer *printer, const float *probabilities);

/* The first line of CSV. */
vit_status classify_print_head(classify_printer *printer);
/* A picture that classify_decide looked at last. sorted_to: where it was put, or NULL; error: why
 * it could not be put there, or "". */
vit_status classify_print(classify_printer *printer, const char *path, int class_index,
                          const vit_prediction *prediction, const char *sorted_to,
                          const char *error);
/* What could not be classified: nothing in the table. */
vit_status classify_print_error(classify_printer *printer, const char *path, const char *error);

#endif
