#include "data/data_options.h"

#include <stddef.h>

const char *const vit_on_error_names[] = {"fail", "skip", NULL};
const char *const vit_cache_names[] = {"none", "ram", NULL};

#define FIELD(name) offsetof(vit_data_options, name)
const vit_option vit_data_options_table[] = {
    {.name = "background",
     .type = VIT_OPT_INT,
     .offset = FIELD(background),
     .count = 3,
     .min = 0,
     .max = 255,
     .value = "255 255 255",
     .metavar = "R,G,B",
     .help = "colour behind transparent pixels"},
    {.name = "max-pixels",
     .type = VIT_OPT_U64,
     .offset = FIELD(max_pixels),
     .value = "178956970",
     .help = "pictures of more pixels are refused before memory is taken (0: the default)"},
    {.name = "val-split",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(val_split),
     .min = 0,
     .max = 0.99,
     .value = "0",
     .metavar = "SHARE",
     .help = "share of each class to hold out as val when DATA has no val; chosen by the files' "
             "paths, so it is always the same"},
    {.name = "on-error",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(on_error),
     .choices = vit_on_error_names,
     .value = "fail",
     .help = "a picture that cannot be read: end with an error, or leave it out and count it"},
    {.name = "class-order",
     .type = VIT_OPT_STRING,
     .offset = FIELD(class_order),
     .count = sizeof((vit_data_options *)0)->class_order,
     .value = "name",
     .metavar = "name|natural|FILE",
     .help = "order of the classes: name (by bytes), natural (numbers by value), or a file with a "
             "class on each line"},
    {.name = "cache",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(cache),
     .choices = vit_cache_names,
     .value = "none",
     .help = "ram: keep the training pictures in memory once decoded; refused when they do not "
             "fit, but with several ranks each keeps what fits"},
};
const size_t vit_data_option_count = sizeof vit_data_options_table / sizeof *vit_data_options_table;

vit_option_group vit_data_group(vit_data_options *options, size_t count) {
    return (vit_option_group){
        .title = "Data", .options = vit_data_options_table, .count = count, .target = options};
}

vit_decode_options vit_data_decode(const vit_data_options *options) {
    vit_decode_options decode = vit_decode_defaults();
    decode.max_pixels = options->max_pixels;
    for (int c = 0; c < 3; c++) {
        decode.background[c] = (uint8_t)options->background[c];
    }
    return decode;
}

vit_dataset_query vit_data_query(const vit_data_options *options, const char *data,
                                 const char *split) {
    return (vit_dataset_query){
        .data = data,
        .split = split,
        .class_order = *options->class_order ? options->class_order : NULL,
        .val_split = options->val_split,
    };
}
