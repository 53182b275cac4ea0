/* Named sets of training values, --recipe: one table. */
#ifndef VIT_RECIPES_H
#define VIT_RECIPES_H

#include "vit/options.h"

/* The index-th recipe's name, NULL past the end; *help (may be NULL) is one line about it. */
const char *vit_recipe_name(size_t index, const char **help);

/* VIT_ERROR_ARGUMENT when there is no such recipe, naming those there are. */
vit_status vit_recipe_find(const char *name);

/* Lays a recipe's values over those of the groups, with VIT_FROM_RECIPE as their source. */
vit_status vit_recipe_apply(const char *name, const vit_option_group *groups, size_t group_count);

#endif
