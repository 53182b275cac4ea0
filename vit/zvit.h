/* zvit: train, evaluate and run Vision Transformers with ZeroS attention.
 *
 * This is the library's one public header, and all that a program needs of it. It is C11 and C++.
 * docs/api.md is the guide; what follows is the reference.
 *
 *     vit_model *model = NULL;
 *     vit_classifier *classifier = NULL;
 *     vit_picture picture = vit_picture_file("cat.jpg");
 *     if (vit_model_open(&model, "best.safetensors", NULL) == VIT_OK &&
 *         vit_classifier_create(&classifier, model, NULL) == VIT_OK &&
 *         vit_classify(classifier, &picture, 1) == VIT_OK) {
 *         const vit_result *result = vit_classifier_get_result(classifier, 0);
 *         if (result->status == VIT_OK) {
 *             puts(vit_model_get_info(model)->class_names[result->top[0]]);
 *         } else {
 *             puts(result->message);
 *         }
 *     } else {
 *         puts(vit_last_error());
 *     }
 *     vit_classifier_free(classifier);
 *     vit_model_close(model);
 *
 * What holds for all of it:
 *
 * Errors.    A function that can fail returns a vit_status, VIT_OK (0) or why it failed. The
 *            message of the failure is vit_last_error(). An out-parameter comes first, and is NULL
 *            after a failure. Nothing is ever printed, no signal is caught, no failure ends the
 *            program. NULL for what has to be there is VIT_ERROR_ARGUMENT, and asking NULL for
 *            something gives NULL.
 * Ownership. What a *_create, *_open, *_resume or *_run function makes is the caller's, and goes
 *            with *_free or *_close, for which NULL is fine. What a const pointer shows belongs to
 *            the object that it was asked of, and lives as its function says. What is handed in is
 *            copied, or borrowed for the time of the call.
 * Threads.   There are no globals but the allocator. Each thread may use objects of its own at the
 *            same time as others. One object is used by one thread at a time, but for a vit_model,
 *            which does not change once it is open and serves any number of threads, and for
 *            vit_training_stop. Computing is shared out among OpenMP's threads; `threads` in the
 *            options says among how many. After fork(), a child of a process that has computed must
 *            not compute (OpenMP's threads do not survive it); exec is fine.
 * Callbacks. Come in the thread that called the library; the allocator's in any. They return: no
 *            longjmp and no C++ exception may pass through the library.
 * Text.      Paths and names are zero-terminated. Class names and messages are UTF-8.
 * Growth.    Structs that the caller fills in begin with their size, and 0 is the default of every
 *            member: begin with the struct's _INIT, or with {.size = sizeof(struct)} in C, and set
 *            what differs. New members come at the end of a struct, new values at the end of an
 *            enum: a program built against an older header goes on working with the library of the
 *            same soname. Structs that the library fills in are only ever read through pointers.
 */
#ifndef VIT_ZVIT_H
#define VIT_ZVIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIT_VERSION_MAJOR 0
#define VIT_VERSION_MINOR 1
#define VIT_VERSION_PATCH 0
#define VIT_VERSION_STRING "0.1.0"
/* For #if: 10203 is 1.2.3. */
#define VIT_VERSION_NUMBER (VIT_VERSION_MAJOR * 10000 + VIT_VERSION_MINOR * 100 + VIT_VERSION_PATCH)

/* Before each function that the library exports, and nothing else. */
#if defined(__GNUC__)
#define VIT_API __attribute__((visibility("default")))
#else
#define VIT_API
#endif

/* ---- errors ---------------------------------------------------------------------------------- */

/* Codes are pinned: a number, once given, keeps its meaning. */
typedef enum vit_status {
    VIT_OK = 0,
    VIT_ERROR_ARGUMENT = 1,    /* a value that the caller gave is wrong or out of range */
    VIT_ERROR_MEMORY = 2,      /* an allocation failed or its size does not fit */
    VIT_ERROR_IO = 3,          /* a file could not be opened, read, written or renamed */
    VIT_ERROR_FORMAT = 4,      /* a file does not hold what it should */
    VIT_ERROR_UNSUPPORTED = 5, /* valid, but not something this build or version handles */
    VIT_ERROR_LIMIT = 6,       /* larger than a limit that protects memory */
    VIT_ERROR_NUMERIC = 7,     /* a loss, a gradient or an output is not finite */
    VIT_ERROR_STOPPED = 8      /* the caller asked to stop; what was to be saved is saved */
} vit_status;

/* A short English name for a status ("out of memory"); never NULL. */
VIT_API const char *vit_status_string(vit_status status);

/* The message of the last failure in this thread: one line that names the file, or the option and
 * its value, and says what was expected. "" when there was none. It is that of a call when asked
 * for right after it has failed; valid until the next call in this thread, which may change it also
 * when it succeeds. */
VIT_API const char *vit_last_error(void);

/* The version of the library that is linked, "MAJOR.MINOR.PATCH". */
VIT_API const char *vit_version(void);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Where the library takes its own memory from. The functions are called from several threads at
 * once. A NULL that they return becomes VIT_ERROR_MEMORY. */
typedef struct vit_allocator {
    size_t size; /* sizeof(vit_allocator) */
    /* Handed to the functions. */
    void *context;
    /* size > 0 bytes at a multiple of alignment, a power of two of at most 2 MiB. */
    void *(*allocate)(void *context, size_t size, size_t alignment);
    /* As realloc, of a block whose alignment was that of malloc; size > 0. */
    void *(*resize)(void *context, void *block, size_t size);
    /* Gives a block back; never NULL. */
    void (*release)(void *context, void *block);
} vit_allocator;

#define VIT_ALLOCATOR_INIT                                                                         \
    { sizeof(vit_allocator), NULL, NULL, NULL, NULL }

/* The one setting of the whole process: set it before anything else of the library is used, and in
 * one thread. allocator is copied, its context is borrowed from then on; NULL stands for malloc.
 * VIT_ERROR_ARGUMENT while any block of the present allocator is in use.
 *
 * Not from here, but from malloc or mmap: what the libraries below take for themselves (libjpeg,
 * libpng, OpenBLAS, OpenMP, and cJSON, whose allocator is one for the whole process, too:
 * cJSON_InitHooks is the program's to call), and mappings of files. */
VIT_API vit_status vit_set_allocator(const vit_allocator *allocator);

/* ---- messages -------------------------------------------------------------------------------- */

typedef enum vit_log_level {
    VIT_LOG_INFO = 0,   /* what happens: memory taken, a checkpoint resumed */
    VIT_LOG_WARNING = 1 /* something is not as it probably was meant; the work goes on */
} vit_log_level;

/* Receives one line without a line break, valid during the call, in the thread that called the
 * library. */
typedef void (*vit_log_function)(void *context, vit_log_level level, const char *message);

/* ---- models ---------------------------------------------------------------------------------- */

/* A model file in memory. It does not change; any number of threads and classifiers may use it. */
typedef struct vit_model vit_model;

typedef struct vit_model_options {
    size_t size;  /* sizeof(vit_model_options) */
    int threads;  /* to read with; 0: as OpenMP has it (OMP_NUM_THREADS, or all processors) */
    int reserved; /* 0 */
} vit_model_options;

#define VIT_MODEL_OPTIONS_INIT                                                                     \
    { sizeof(vit_model_options), 0, 0 }

/* Opens a model file (.safetensors, as zvit writes it), or a run folder, which stands for its best
 * model. options may be NULL. Everything in the file is checked before memory is taken, so that a
 * file from anywhere is safe to open. VIT_ERROR_IO: there is none; VIT_ERROR_FORMAT or
 * VIT_ERROR_LIMIT: it is damaged, or no model of zvit; VIT_ERROR_UNSUPPORTED: of a newer layout. */
VIT_API vit_status vit_model_open(vit_model **out, const char *path,
                                  const vit_model_options *options);

/* The same from the bytes of such a file, which are borrowed during the call. name is what messages
 * call them. */
VIT_API vit_status vit_model_open_memory(vit_model **out, const void *bytes, size_t size,
                                         const char *name, const vit_model_options *options);

/* Classifiers that still use the model keep it alive. Call it once for each vit_model_open. */
VIT_API void vit_model_close(vit_model *model);

typedef struct vit_model_info {
    const char *architecture;       /* "zeros_mini_patch8_64", or "custom" */
    size_t class_count;             /* K */
    const char *const *class_names; /* (K), in the order of the model's outputs */
    size_t height, width;           /* of the network's input, pixels; 3 channels */
    size_t patch_size;              /* pixels */
    size_t feature_count;           /* D, the width of the model and of its features */
    size_t depth, head_count;
    const char *attention; /* "zeros", "zeros-sm", "softmax", "linear" */
    size_t parameter_count;
    double flops; /* of one picture's forward pass; a multiply-add counts 2 */
    /* How a picture becomes the input: its short side is resized to input size / crop_pct, the
     * centre is cut out, and a channel's value 0..1 becomes (value - mean) / std. Classifiers do
     * all of it. */
    const char *interpolation; /* "bicubic" or "bilinear" */
    double crop_pct;
    double mean[3], std[3];
    /* All of it and what else the file says, as a JSON object in the form of timm's config.json. */
    const char *config;
} vit_model_info;

/* Never NULL; valid while the model is open. */
VIT_API const vit_model_info *vit_model_get_info(const vit_model *model);

/* ---- pictures -------------------------------------------------------------------------------- */

typedef enum vit_picture_kind {
    VIT_PICTURE_FILE = 0,    /* a file, JPEG or PNG by its content */
    VIT_PICTURE_ENCODED = 1, /* the bytes of such a file */
    VIT_PICTURE_RGB = 2      /* pixels of 3 bytes: red, green, blue */
} vit_picture_kind;

/* A picture to look at. The layout of this struct never changes: programs make arrays of it. Other
 * members than those of the kind are not looked at; the functions below fill in the right ones. */
typedef struct vit_picture {
    vit_picture_kind kind;
    const char *name;     /* FILE: its path. Else what messages call it; NULL: "picture" */
    const void *data;     /* ENCODED: its bytes. RGB: the left pixel of the row at the top */
    size_t size;          /* ENCODED: bytes */
    size_t width, height; /* RGB: pixels */
    ptrdiff_t stride; /* RGB: bytes from a row to the one below it, negative when rows are stored
                         from the bottom up; 0: 3 * width */
} vit_picture;

static inline vit_picture vit_picture_file(const char *path) {
    vit_picture picture = {VIT_PICTURE_FILE, path, NULL, 0, 0, 0, 0};
    return picture;
}

static inline vit_picture vit_picture_encoded(const void *bytes, size_t size, const char *name) {
    vit_picture picture = {VIT_PICTURE_ENCODED, name, bytes, size, 0, 0, 0};
    return picture;
}

static inline vit_picture vit_picture_rgb(const void *pixels, size_t width, size_t height,
                                          ptrdiff_t stride, const char *name) {
    vit_picture picture = {VIT_PICTURE_RGB, name, pixels, 0, width, height, stride};
    return picture;
}

/* The files of pictures under a path, in bytewise order: the path itself when it is a file,
 * whatever its name, else all files at any depth below that end in .jpg, .jpeg or .png, hidden ones
 * left out. *paths (count) is the caller's, for vit_free_paths; NULL when there are none.
 * VIT_ERROR_IO: no such path, or a folder that cannot be read. */
VIT_API vit_status vit_find_pictures(char ***paths, size_t *count, const char *path);
VIT_API void vit_free_paths(char **paths, size_t count);

/* ---- classifying ----------------------------------------------------------------------------- */

/* What computes: a model with the memory that its threads need. Make one for each thread of yours
 * that classifies; they share the model. */
typedef struct vit_classifier vit_classifier;

/* Test-time augmentation. FLIP: probabilities and features are the mean of those of the picture and
 * of its mirror image; twice the work. */
typedef enum vit_tta { VIT_TTA_NONE = 0, VIT_TTA_FLIP = 1 } vit_tta;

typedef struct vit_classifier_options {
    size_t size; /* sizeof(vit_classifier_options) */
    int threads; /* to compute with; 0: as OpenMP has it (OMP_NUM_THREADS, or all processors) */
    size_t top;  /* how many best classes a result names; 0: 5; more than K: all */
    vit_tta tta;
    bool features; /* results also hold the picture's features */
    /* A picture that comes alone is computed by all threads together: sooner by up to their number,
     * but its last bits then differ from those that it gets among others. */
    bool prefer_latency;
    const unsigned char *background; /* red, green, blue behind transparent pixels, copied; NULL:
                                        white */
    uint64_t max_pixels; /* larger pictures are refused before memory is taken; 0: 178956970 */
} vit_classifier_options;

#define VIT_CLASSIFIER_OPTIONS_INIT                                                                \
    { sizeof(vit_classifier_options), 0, 0, VIT_TTA_NONE, false, false, NULL, 0 }

/* options may be NULL. The classifier keeps the model alive. Memory: a workspace for each thread
 * that is in use, and what a call's results take. */
VIT_API vit_status vit_classifier_create(vit_classifier **out, vit_model *model,
                                         const vit_classifier_options *options);
VIT_API void vit_classifier_free(vit_classifier *classifier);

/* What was found in a picture. */
typedef struct vit_result {
    vit_status status;   /* of this picture */
    const char *message; /* why it failed, naming the picture; "" when it did not */
    double milliseconds; /* of one thread: reading, decoding, preparing, computing */
    /* The rest is NULL or 0 when it failed. */
    const float *probabilities; /* (K), 0..1, their sum is 1 */
    size_t top_count;
    const int *top;        /* (top_count) the best classes, best first; ties by lower index */
    const float *features; /* (D) pooled and normalised embedding, the input of the model's head;
                              NULL unless asked for */
} vit_result;

/* Looks at count pictures, each computed by one thread and on its own: its result is the same bits
 * whatever its neighbours, their number and the number of threads (but see prefer_latency). A
 * picture that cannot be read fails alone, in its result; the call fails for lack of memory, or
 * when an argument is wrong. Speed comes from many pictures at once, 16 for each thread or more. */
VIT_API vit_status vit_classify(vit_classifier *classifier, const vit_picture *pictures,
                                size_t count);
/* The same for files. */
VIT_API vit_status vit_classify_files(vit_classifier *classifier, const char *const *paths,
                                      size_t count);

/* Of the picture with this index in the last call; NULL when there was none. It, and all that it
 * points to, is valid until the next call or the classifier's end. */
VIT_API const vit_result *vit_classifier_get_result(const vit_classifier *classifier, size_t index);

/* All results of the last call in one block, row after row: (count,K), and (count,D) or NULL unless
 * features were asked for. The rows of pictures that failed are NaN. Valid as the results are. */
VIT_API const float *vit_classifier_get_probabilities(const vit_classifier *classifier);
VIT_API const float *vit_classifier_get_features(const vit_classifier *classifier);

/* ---- measuring ------------------------------------------------------------------------------- */

/* What a model got right on a data set. */
typedef struct vit_evaluation vit_evaluation;

typedef struct vit_evaluation_options {
    size_t size;       /* sizeof(vit_evaluation_options) */
    const char *split; /* of the data; NULL: "val", which is also found as validation or test */
    double val_split;  /* the share that was held out of data without a val, as in training */
    int threads;       /* 0: as OpenMP has it */
    size_t batch_size; /* pictures at once; the result does not depend on it; 0: 64 */
    vit_tta tta;
    bool skip_unreadable; /* leave out pictures that cannot be read, and count them; else the first
                             is the evaluation's error */
    const unsigned char *background; /* as in vit_classifier_options */
    uint64_t max_pixels;
    void *context; /* handed to the functions, each of which may be NULL */
    vit_log_function log;
    void (*progress)(void *context, size_t done, size_t total); /* in the calling thread */
    bool (*should_stop)(void *context); /* before each batch; true: VIT_ERROR_STOPPED */
} vit_evaluation_options;

#define VIT_EVALUATION_OPTIONS_INIT                                                                \
    {                                                                                              \
        sizeof(vit_evaluation_options), NULL, 0, 0, 0, VIT_TTA_NONE, false, NULL, 0, NULL, NULL,   \
            NULL, NULL                                                                             \
    }

/* Measures the model on the pictures of data, as of vit_training_create. Labels are matched with
 * the model's classes by name. options may be NULL. */
VIT_API vit_status vit_evaluation_run(vit_evaluation **out, vit_model *model, const char *data,
                                      const vit_evaluation_options *options);
VIT_API void vit_evaluation_free(vit_evaluation *evaluation);

typedef struct vit_evaluation_result {
    size_t images, classes;   /* measured; of the model */
    size_t skipped;           /* could not be read */
    double top1, top5;        /* percent; top5 counts the min(5, K) best */
    double loss;              /* mean cross-entropy, nats */
    double balanced_accuracy; /* percent: mean recall of the classes that have pictures */
    double macro_f1;          /* percent */
    double ece;               /* expected calibration error, 0..1, 15 bins */
    double seconds, images_per_second;
    const char *json; /* the figures as a JSON object, those of `zvit eval --json` */
} vit_evaluation_result;

/* Never NULL; valid until vit_evaluation_free. */
VIT_API const vit_evaluation_result *vit_evaluation_get_result(const vit_evaluation *evaluation);

/* Writes eval.json, per_class.csv, confusion_matrix.csv and predictions.csv (docs/evaluation.md)
 * into a folder, which is made. */
VIT_API vit_status vit_evaluation_write(const vit_evaluation *evaluation, const char *folder);

/* ---- settings of training -------------------------------------------------------------------- */

typedef enum vit_setting_type {
    VIT_SETTING_BOOL = 0, /* "true" or "false" */
    VIT_SETTING_INTEGER = 1,
    VIT_SETTING_NUMBER = 2,
    VIT_SETTING_TEXT = 3,
    VIT_SETTING_CHOICE = 4 /* one of `choices` */
} vit_setting_type;

/* What can be set: the flags of `zvit train`, from the same table. */
typedef struct vit_setting {
    const char *name;  /* "batch-size" */
    const char *group; /* a heading: "Model", "Training" */
    const char *help;  /* one line, with units */
    vit_setting_type type;
    size_t min_count, max_count; /* of numbers in a value, "0.08 1": mostly 1 and 1. Where fewer
                                    than max_count are given, the last fills the rest */
    bool bounded;                /* whether min and max mean something */
    double min, max;             /* of a number, both allowed */
    const char *zero_word;       /* a word that stands for 0 ("auto"), or NULL */
    const char *const *choices;  /* NULL at the end; NULL unless the type is CHOICE */
    const char *default_value;   /* as text */
    const char *value_name;      /* what to call a value: "N", "FILE"; NULL: by the type */
    bool may_change;             /* a resumed run may have another value */
} vit_setting;

/* The settings one after the other; NULL past the last. Valid until the next call in this thread;
 * what its members point to, always but for default_value. */
VIT_API const vit_setting *vit_get_setting(size_t index);

/* The names that the setting "model" may have ("zeros_mini_patch8_64", ...), each of which stands
 * for the settings of the group "Model"; NULL past the last. */
VIT_API const char *vit_get_architecture(size_t index);
/* The names of the setting "recipe", each a set of values that other settings override; *help (may
 * be NULL) is one line about it. NULL past the last. */
VIT_API const char *vit_get_recipe(size_t index, const char **help);

/* ---- training -------------------------------------------------------------------------------- */

typedef struct vit_training vit_training;

/* What a training is, when its first step is about to begin. */
typedef struct vit_training_start {
    const char *folder;       /* of the run */
    const char *architecture; /* of the model */
    size_t parameter_count;
    size_t train_images, val_images; /* val_images 0: nothing is measured */
    size_t class_count;
    int epochs;
    /* Where a resumed run goes on; both 0 in a new one. */
    int epochs_done;
    size_t steps_done; /* of the next epoch */
} vit_training_start;

typedef struct vit_train_progress {
    int epoch, epochs;          /* from 1 */
    size_t step, steps;         /* in this epoch, from 1 */
    size_t run_step, run_steps; /* of the whole run */
    int step_images;            /* pictures of a whole step */
    double loss;                /* running mean of the epoch */
    double lr;
    double images_per_second; /* since the epoch began */
    double eta_seconds;       /* of the whole run, evaluation included; < 0 while unknown */
} vit_train_progress;

/* An epoch that ended: one row of log.csv. */
typedef struct vit_epoch_row {
    int epoch;
    int epochs; /* of the run; not in the file */
    uint64_t step;
    double lr, train_loss, val_loss, top1, top5; /* percent; NaN without val */
    double images_per_second;
    double data_wait; /* share of the epoch, 0..1 */
    double seconds;
    size_t skipped; /* pictures that could not be read and were left out, of train */
    bool best;
} vit_epoch_row;

typedef struct vit_training_options {
    size_t size;           /* sizeof(vit_training_options) */
    int threads;           /* 0: as OpenMP has it; the result does not depend on it */
    uint64_t memory_limit; /* bytes; what takes more is refused; 0: as much as there is */
    bool override_run; /* resuming: settings and data may differ from those the run began with */
    /* All are called in the thread that runs the training; each may be NULL. What they are handed
     * is valid during the call. */
    void *context;
    vit_log_function log;
    void (*started)(void *context, const vit_training_start *start);
    void (*progress)(void *context, const vit_train_progress *progress); /* after each step */
    void (*evaluating)(void *context, size_t done, size_t total);        /* pictures */
    void (*epoch)(void *context, const vit_epoch_row *row); /* once its checkpoint is written */
    bool (*should_stop)(void *context); /* between steps; true: as vit_training_stop */
} vit_training_options;

#define VIT_TRAINING_OPTIONS_INIT                                                                  \
    { sizeof(vit_training_options), 0, 0, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL }

/* A training on data into a new run folder. data is what `zvit train` takes: a folder of
 * train/CLASS/PICTURE and, to measure on, val/CLASS/PICTURE, or of classes alone; a CSV list of
 * path and label; a pack. Nothing is read or written before vit_training_run. options may be NULL.
 */
VIT_API vit_status vit_training_create(vit_training **out, const char *data, const char *folder,
                                       const vit_training_options *options);

/* Goes on with the run in a folder from its last checkpoint, to the same bits as if it had not been
 * interrupted, with the settings that it began with. data NULL: the run's own. */
VIT_API vit_status vit_training_resume(vit_training **out, const char *folder, const char *data,
                                       const vit_training_options *options);
VIT_API void vit_training_free(vit_training *training);

/* Sets one setting by its name ("batch-size" or "batch_size") and its value as text: "10",
 * "0.08 1", "true". Whatever the order of the calls, a value set here goes before that of the
 * configuration file ("config": the args.json of another run, say), that before the recipe's
 * ("recipe"), that before the model's ("model"), and that before the default.
 * VIT_ERROR_ARGUMENT: no such setting, or a value out of its range, naming what was expected; the
 * file of "config" gives VIT_ERROR_IO or VIT_ERROR_FORMAT. The training stays as it was. */
VIT_API vit_status vit_training_set(vit_training *training, const char *name, const char *value);

/* The value that a setting has now, as text; after vit_training_run has succeeded, the one that was
 * trained with, as the data decided it. NULL when there is no such setting. Valid until the next
 * call with this training. */
VIT_API const char *vit_training_get(vit_training *training, const char *name);

/* Trains, which may take days, and returns when it is done: once for each training. A training that
 * was stopped has saved what it had and returns VIT_ERROR_STOPPED; vit_training_resume goes on with
 * it. A loss that is not finite ends it with VIT_ERROR_NUMERIC. */
VIT_API vit_status vit_training_run(vit_training *training);

/* Asks a running training to stop after its step. May be called from any thread, from a callback
 * and from a signal handler. */
VIT_API void vit_training_stop(vit_training *training);

typedef struct vit_training_result {
    const char *folder;
    const char *best_model; /* path of the model of the best epoch; without val, of the last */
    const char *last_model;
    int best_epoch;              /* from 1 */
    double best_top1, last_top1; /* percent; NaN without val */
    double seconds;
} vit_training_result;

/* Of a training that has run to its end, else NULL. Valid until vit_training_free. */
VIT_API const vit_training_result *vit_training_get_result(const vit_training *training);

#ifdef __cplusplus
}
#endif
#endif
