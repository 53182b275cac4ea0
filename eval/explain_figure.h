/* The figure of an explanation: the picture beside its heat map, with title and legend. */
#ifndef VIT_EXPLAIN_FIGURE_H
#define VIT_EXPLAIN_FIGURE_H

#include "eval/explain.h"

typedef struct vit_explain_figure {
    const vit_heat_map *map;
    const vit_image *picture;
    const char *class_name; /* that the map is of */
    const char *note;       /* after the method, "zeros_mini_patch8_64", or NULL */
    double alpha;           /* as of vit_heat_overlay */
} vit_explain_figure;

/* Writes a PNG under path, whole or not at all. Without cairo VIT_ERROR_UNSUPPORTED. */
vit_status vit_explain_figure_write(const vit_explain_figure *figure, const char *path);

#endif
