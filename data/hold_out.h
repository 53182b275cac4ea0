/* Dividing a data set without splits. Private to data/. */
#ifndef VIT_HOLD_OUT_H
#define VIT_HOLD_OUT_H

#include "data/folder.h"

/* Leaves in d, whose samples are sorted by class, the share of each class that is held out (val),
 * or the rest. See vit_dataset_query. */
vit_status vit_hold_out(vit_dataset *d, double share, bool val);

#endif
