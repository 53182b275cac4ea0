/* Which parameters are trained, and how fast each. */
#ifndef VIT_PARAM_GROUPS_H
#define VIT_PARAM_GROUPS_H

#include "vit/params.h"

/* Marks the parameters that a comma list of shell patterns names ("patch_embed.*,pos_embed") as
 * frozen. VIT_ERROR_ARGUMENT for a pattern that no name matches, and when nothing would be left to
 * train. */
vit_status vit_freeze(vit_param_table *table, const char *patterns);

/* Factors of the learning rate, decay^(how far from the head), as timm's layer decay: 1 for the
 * head and fc_norm, decay for the last block and the norm after it, decay^2 for the block before,
 * ..., decay^(depth+1) for all before the first block. */
void vit_layer_scales(const vit_param_table *table, int depth, double decay,
                      float *scales /* (table->count) */);

#endif
