/* Pictures as training sees them: some of a data set, each as it is and augmented as in the first
 * epochs. */
#ifndef VIT_SAMPLES_H
#define VIT_SAMPLES_H

#include "data/loader.h"

typedef struct vit_samples_config {
    const vit_dataset *dataset; /* of training */
    size_t pictures;            /* of as many classes as possible; fewer when there are fewer */
    size_t versions;            /* augmented ones of each: those of the first epochs */
    size_t height, width;       /* of the network's input */
    vit_preprocess preprocess;
    vit_augment augment;
    uint64_t seed;
    vit_decode_options decode;
    bool skip; /* a picture that cannot be read is left out instead of being an error */
} vit_samples_config;

/* Receives each picture: version 0 is the whole picture, made to fit into height x width and never
 * enlarged; the others are the network's input of epoch `version`. */
typedef vit_status (*vit_samples_sink)(void *context, size_t picture, size_t version,
                                       const vit_image *image, const char *class_name);

/* How many pictures there will be. */
size_t vit_samples_count(const vit_samples_config *config);

/* Which pictures: one of each class, classes in a random order, then another one of each ...; shown
 * in the order of their classes. Version by version, all pictures of one after the other. */
vit_status vit_samples_draw(const vit_samples_config *config, vit_samples_sink sink, void *context);

/* A picture shrunk to fit into width x height, never enlarged. */
vit_status vit_image_fit(const vit_image *image, size_t width, size_t height,
                         vit_resize_scratch *scratch, vit_image *out);

#endif
