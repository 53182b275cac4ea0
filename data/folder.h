/* A labelled data set from folders, as torchvision's ImageFolder reads it:
 * DATA/SPLIT/CLASS/(nested)/picture. */
#ifndef VIT_FOLDER_H
#define VIT_FOLDER_H

#include "vit/status.h"

#include <stdint.h>

typedef struct vit_sample {
    char *path;
    int label; /* index into class_names */
} vit_sample;

typedef struct vit_dataset {
    char *root; /* DATA/train, as found */
    char **class_names;
    size_t class_count;
    vit_sample *samples; /* sorted by class, then by path, bytewise: the same on every machine */
    size_t count;
} vit_dataset;

/* Opens DATA/split. split "val" also finds DATA/validation. Classes are the folders directly in it,
 * sorted by name; pictures are the files at any depth below that end in .jpg, .jpeg or .png (any
 * case). Hidden files and folders and everything else is left out; symlinks are followed, loops are
 * not. Errors: missing folder, no class, a class without a picture.
 *
 * known_classes (NULL for training): the model's classes; labels are mapped by name, a folder that
 * is not among them is an error naming it; one of them without a folder is left without samples and
 * counted in *missing (may be NULL). */
vit_status vit_dataset_open(const char *data, const char *split, const char *const *known_classes,
                            size_t known_count, vit_dataset **out, size_t *missing);
void vit_dataset_free(vit_dataset *dataset);

/* True when DATA/split (or its other name) is a folder. */
int vit_dataset_has_split(const char *data, const char *split);

/* Pictures under path, in bytewise order, appended to *paths (grown with realloc; the caller frees
 * each and the array, also after a failure). A file is taken whatever its name, a folder is read
 * recursively as above; a folder without pictures adds none. */
vit_status vit_collect_images(const char *path, char ***paths, size_t *count);

/* A permutation of 0..count-1 keyed by (seed, epoch). */
void vit_shuffle(uint64_t seed, uint32_t epoch, uint32_t *order, size_t count);

#endif
