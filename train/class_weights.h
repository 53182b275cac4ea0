/* Weights of the classes in the loss, for data sets that have many pictures of some and few of
 * others. */
#ifndef VIT_CLASS_WEIGHTS_H
#define VIT_CLASS_WEIGHTS_H

#include "data/folder.h"

/* how: "none" (*out is NULL then), "auto" (the inverse of the class's number of pictures) or a CSV
 * file of lines class,weight with every class. Scaled so that their mean over what is drawn is 1,
 * over all pictures or, with the balanced sampler, over the classes that have any: the size of a
 * step stays what it was. *out (class_count) is released with vit_free. Errors: a class that is
 * missing, unknown or named twice; a weight that is no number or negative; no picture with a weight
 * above 0. */
vit_status vit_class_weights(const char *how, const vit_dataset *dataset, bool balanced,
                             float **out);

#endif
