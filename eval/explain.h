/* Where a model looked: what each patch of a picture speaks for or against a class
 * (docs/explain.md). */
#ifndef VIT_EXPLAIN_H
#define VIT_EXPLAIN_H

#include "data/transform.h"
#include "vit/model_file.h"

typedef enum vit_explain_method {
    VIT_EXPLAIN_AUTO = 0,          /* the most faithful that suits the model */
    VIT_EXPLAIN_GRADIENT = 1,      /* gradient x input */
    VIT_EXPLAIN_ZEROS_ROLLOUT = 2, /* the contributions r_ti cos(theta) v_i through the blocks */
    VIT_EXPLAIN_ROLLOUT = 3        /* Abnar and Zuidema 2020; knows no class and no sign */
} vit_explain_method;
/* "auto", "gradient", "zeros-rollout", "rollout", NULL at the end. */
extern const char *const vit_explain_method_names[];

typedef struct vit_explain_options {
    int method;      /* vit_explain_method */
    int class_index; /* 0..K-1, or -1: the class of the highest probability */
} vit_explain_options;

/* Zero-initialise; release with vit_heat_map_free. */
typedef struct vit_heat_map {
    size_t grid_h, grid_w;     /* the model's patches */
    float *values;             /* (grid_h,grid_w), owned: > 0 speaks for the class, < 0 against */
    int class_index;           /* that the map is of */
    double probability;        /* of that class */
    vit_explain_method method; /* never AUTO */
    vit_box box; /* what the grid covers, in the picture's pixels; outside of it where padded */
} vit_heat_map;

/* Classifies picture and draws up the map. Reads bundle only, so any number of threads may explain
 * at once. Fails when the method does not suit the model's attention (the message names those that
 * do), on a class out of range, and when the network's output is not finite. A map that was filled
 * before is replaced; after a failure it is empty. */
vit_status vit_explain(const vit_model_bundle *bundle, const vit_image *picture,
                       const vit_explain_options *options, vit_heat_map *out);
void vit_heat_map_free(vit_heat_map *map);

/* The class called name, or the class of that index when name is a number that names none; -1 when
 * there is none. */
int vit_class_find(const vit_model_bundle *bundle, const char *name);

/* The colours of the two ends of the scale, which does not depend on telling red from green:
 * ColorBrewer's PuOr. */
extern const uint8_t vit_heat_for[3], vit_heat_against[3];
/* The largest absolute value, which the full colours stand for; 0 for a map of zeros. */
double vit_heat_scale(const vit_heat_map *map);
/* The picture in soft grey with the map over it, of the picture's size: a patch is coloured in
 * proportion to its value, with up to alpha (0..1) of the end's colour; what the model did not see
 * is darker. out is another picture, used again. */
#define VIT_HEAT_ALPHA 0.8
vit_status vit_heat_overlay(const vit_heat_map *map, const vit_image *picture, double alpha,
                            vit_image *out);

#endif
