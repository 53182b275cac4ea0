/* The flags that say how a picture is decoded, for verbs that know only vit/zvit.h. */
#ifndef ZVIT_READING_H
#define ZVIT_READING_H

#include "vit/options.h"

/* The first members of vit_data_options (data/data_options.h), whose rows these flags are. */
typedef struct cli_reading {
    int background[3];
    uint64_t max_pixels;
} cli_reading;
vit_option_group cli_reading_group(cli_reading *reading);

#endif
