/* How pictures are found and read, as flags: one table for every verb that takes DATA. */
#ifndef VIT_DATA_OPTIONS_H
#define VIT_DATA_OPTIONS_H

#include "data/folder.h"
#include "data/image.h"
#include "vit/options.h"

typedef enum vit_on_error {
    VIT_ON_ERROR_FAIL = 0,
    VIT_ON_ERROR_SKIP = 1 /* the picture is left out, counted, and nothing takes its place */
} vit_on_error;
extern const char *const vit_on_error_names[];

typedef struct vit_data_options {
    int background[3];
    uint64_t max_pixels;
    double val_split;
    int on_error; /* vit_on_error; the table's default is fail, training's is skip */
    char class_order[4096];
} vit_data_options;
extern const vit_option vit_data_options_table[];
extern const size_t vit_data_option_count;
/* The table's beginning is of use where there are no labels; no training; no errors to pass over.
 */
enum { VIT_DATA_OPTIONS_DECODE = 2, VIT_DATA_OPTIONS_SPLIT = 3, VIT_DATA_OPTIONS_EVAL = 4 };

vit_decode_options vit_data_decode(const vit_data_options *options);
/* A query for the split of data; options outlives it. */
vit_dataset_query vit_data_query(const vit_data_options *options, const char *data,
                                 const char *split);

#endif
