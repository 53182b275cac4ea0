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

typedef enum vit_cache_kind {
    VIT_CACHE_NONE = 0,
    VIT_CACHE_RAM = 1 /* decoded pictures stay in memory */
} vit_cache_kind;
extern const char *const vit_cache_names[];

typedef struct vit_data_options {
    int background[3];
    uint64_t max_pixels;
    double val_split;
    int on_error; /* vit_on_error; the table's default is fail, training's is skip */
    char class_order[4096];
    int cache; /* vit_cache_kind; of training */
} vit_data_options;
extern const vit_option vit_data_options_table[];
extern const size_t vit_data_option_count;
/* How many rows from the first on are of use: to read pictures; to find them; to measure a model.
 */
enum { VIT_DATA_ROWS_DECODE = 2, VIT_DATA_ROWS_FIND = 3, VIT_DATA_ROWS_EVAL = 4 };

/* The first count rows bound to options, under the heading "Data". */
vit_option_group vit_data_group(vit_data_options *options, size_t count);

vit_decode_options vit_data_decode(const vit_data_options *options);
/* A query for the split of data; options outlives it. */
vit_dataset_query vit_data_query(const vit_data_options *options, const char *data,
                                 const char *split);

#endif
