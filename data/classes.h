/* Class names, their order and labels. Private to data/. */
#ifndef VIT_CLASSES_H
#define VIT_CLASSES_H

#include "data/folder.h"
#include "data/walk.h"

/* Fills d's class names: the query's known classes, or those present, in the query's order.
 * present: sorted by bytes, each once. labels (present->count) receives the label of each. d->root
 * is there already. */
vit_status vit_classes_make(vit_dataset *d, const vit_dataset_query *query,
                            const vit_name_list *present, int *labels);

#endif
