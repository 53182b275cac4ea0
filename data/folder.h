/* A labelled data set, from folders as torchvision's ImageFolder reads them,
 * DATA/SPLIT/CLASS/(nested)/picture, or from CSV lists of path and label. */
#ifndef VIT_FOLDER_H
#define VIT_FOLDER_H

#include "vit/file.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct vit_sample {
    char *path;
    int label;                          /* index into class_names */
    const struct vit_pack_entry *entry; /* in a pack; NULL: path is a file */
} vit_sample;

typedef struct vit_dataset {
    char *root;  /* DATA/train, or the list, as found */
    size_t base; /* so many first bytes of root are DATA, or the folder of the list that DATA is,
                  * with the slash behind it; 0: none */
    char **class_names;
    size_t class_count;
    vit_sample *samples; /* sorted by class, then by path, bytewise: the same on every machine */
    size_t count;
    bool whole;            /* DATA is not divided into splits: these are all its pictures */
    struct vit_pack *pack; /* that the samples lie in, or NULL */
} vit_dataset;

/* What to open.
 *
 * DATA is a folder, a CSV list, or a pack (NAME.zpk), which holds what the folder or the list held
 * that it was made from: the same splits, classes and order. In a folder the split is, in this
 * order, the list DATA/SPLIT.csv, the folder DATA/SPLIT with a folder for each class; val is also
 * found as validation or test. When DATA holds none of train and val, its folders are the classes,
 * and train and val are both the whole set; so they are for a list. val_split then holds out this
 * share of each class as val (also of DATA/train, when there is no val): those whose paths relative
 * to DATA have the lowest hashes, so that it is the same share each time; at least one picture of a
 * class and never all.
 *
 * Classes are the folders' names or the labels, in the order that class_order says: "name" (by
 * bytes; also NULL), "natural" (numbers in names by their value) or a file with a name on each
 * line, which must be all classes there are. Pictures of a folder are the files at any depth below
 * that end in .jpg, .jpeg or .png (any case). Hidden files and folders and everything else is left
 * out; symlinks are followed, loops are not. */
typedef struct vit_dataset_query {
    const char *data, *split;
    /* NULL for training, else the model's classes: labels are mapped by name, and one that is not
     * among them is an error naming it; class_order is not looked at. */
    const char *const *known_classes;
    size_t known_count;
    const char *class_order;
    double val_split; /* 0: nothing is held out; below 1 */
    bool keep_empty;  /* a class folder without a picture is no error */
} vit_dataset_query;

/* Errors: missing folder, no class, a class without a picture. missing (may be NULL): how many of
 * the known classes have no picture. */
vit_status vit_dataset_find(const vit_dataset_query *query, vit_dataset **out, size_t *missing);
void vit_dataset_free(vit_dataset *dataset);
/* Fails, naming the picture, when a label is not one of a model's K classes: a data set that was
 * opened without them. */
vit_status vit_dataset_check_labels(const vit_dataset *dataset, size_t K);
/* *has is false when there is no such split; what is merely the whole set is train, and no other.
 */
vit_status vit_dataset_has(const vit_dataset_query *query, bool *has);

/* Sample i's path below DATA (below the folder of the list that DATA is), which is the same
 * wherever the data lies and whether it is packed or not; the whole path of a picture that lies
 * elsewhere. */
const char *vit_dataset_path_below(const vit_dataset *dataset, size_t i);

/* Tells whether two machines have the same data: a hash of the classes and, in order, of each
 * picture's label, path below DATA and size in bytes. Where DATA lies does not matter, nor whether
 * it was packed as it is. Asks for every file's size, on `threads` threads. */
uint64_t vit_dataset_hash(const vit_dataset *dataset, int threads);

/* The bytes of the sample's file: read into buffer, or where they lie in the pack. */
vit_status vit_sample_read(const vit_sample *sample, vit_bytes *buffer, const void **bytes,
                           size_t *size);
/* Asks the kernel to have the bytes at hand soon. */
void vit_sample_announce(const vit_sample *sample);

/* vit_dataset_find with a query of these fields alone. */
vit_status vit_dataset_open(const char *data, const char *split, const char *const *known_classes,
                            size_t known_count, vit_dataset **out, size_t *missing);

/* Pictures under path, in bytewise order, appended to *paths (grown with realloc; the caller frees
 * each and the array, also after a failure). A file is taken whatever its name, a folder is read
 * recursively as above; a folder without pictures adds none. */
vit_status vit_collect_images(const char *path, char ***paths, size_t *count);

#endif
