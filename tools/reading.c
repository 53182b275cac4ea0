#include "tools/reading.h"

#include "data/data_options.h"

_Static_assert(offsetof(cli_reading, background) == offsetof(vit_data_options, background) &&
                   offsetof(cli_reading, max_pixels) == offsetof(vit_data_options, max_pixels),
               "the rows' offsets are those of vit_data_options");

vit_option_group cli_reading_group(cli_reading *reading) {
    vit_data_options unused;
    vit_option_group group = vit_data_group(&unused, VIT_DATA_ROWS_DECODE);
    group.target = reading;
    return group;
}
