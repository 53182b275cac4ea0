/* Reading every picture of a data set, to learn what is wrong with it before a night is spent on
 * training. */
#ifndef VIT_SURVEY_H
#define VIT_SURVEY_H

#include "data/folder.h"
#include "data/image.h"

enum { VIT_SURVEY_SPLITS = 3 }; /* train, val, test */

typedef struct vit_survey_file {
    const vit_sample *sample; /* of the data set */
    const char *path;         /* its */
    int split;                /* index into splits */
    size_t class_index;
    char *reason; /* why it cannot be read, or NULL */
    size_t bytes, width, height;
    vit_image_format format;
    bool wrong_ending; /* the name says another format than the bytes */
    size_t same_as;    /* the first file with the same bytes; itself when there is none before */
} vit_survey_file;

typedef struct vit_survey_class {
    const char *name;
    size_t counts[VIT_SURVEY_SPLITS]; /* pictures, readable or not */
    bool unknown;                     /* a class of another split that train does not have */
    bool near_empty; /* of train: below 10 pictures, or below a tenth of the median class */
} vit_survey_class;

typedef struct vit_survey_range {
    size_t least, median, most;
} vit_survey_range;

typedef struct vit_survey {
    vit_dataset *splits[VIT_SURVEY_SPLITS]; /* NULL where there is none */
    vit_survey_file *files;                 /* by split, class, path */
    size_t file_count;
    vit_survey_class *classes; /* train's, then the unknown ones */
    size_t class_count;
    size_t jpegs, pngs, unreadable, wrong_endings, unknown_classes;
    size_t empty_classes; /* folders of train without a picture */
    size_t copies;        /* files that are the same as an earlier one */
    size_t leaks;         /* of these, such as lie in another split than some file they equal */
    size_t conflicts;     /* of these, such as have another class than the file they equal */
    vit_survey_range width, height; /* of those that can be read */
    double imbalance;               /* of train: largest class / smallest that is not empty */
} vit_survey;
extern const char *const vit_survey_split_names[VIT_SURVEY_SPLITS]; /* "train", "val", "test" */

typedef void (*vit_survey_progress)(void *context, size_t done, size_t total);

/* Opens all splits that the query's DATA has (split and known_classes are not looked at) and reads
 * every picture on all threads. progress (may be NULL) is called by the first thread. What is found
 * is no error; data that cannot be opened at all is. */
vit_status vit_survey_run(const vit_dataset_query *query, const vit_decode_options *decode,
                          vit_survey_progress progress, void *context, vit_survey **out);
void vit_survey_free(vit_survey *survey);

/* How many things must be put right before training: unreadable pictures, copies across splits,
 * classes that train does not know, empty classes, fewer than two classes. */
size_t vit_survey_faults(const vit_survey *survey);

#endif
