/* Classifying pictures that have no label. */
#ifndef VIT_PREDICT_H
#define VIT_PREDICT_H

#include "data/data_options.h"
#include "data/transform.h"
#include "vit/model_file.h"

typedef struct vit_predictor vit_predictor;
/* bundle outlives the predictor. reading: how pictures are decoded; NULL: the defaults. */
vit_status vit_predictor_create(const vit_model_bundle *bundle, size_t batch_size, int threads,
                                const vit_data_options *reading, vit_predictor **out);
void vit_predictor_free(vit_predictor *predictor);
/* Bytes that vit_predictor_create takes, without the pictures as they are decoded. */
vit_status vit_predictor_bytes(const vit_model *model, size_t batch_size, int threads,
                               size_t *bytes);

/* From now on a picture that comes alone is computed by all threads together. That is sooner by up
 * to their number; its last bits then differ from those that it gets among others. */
void vit_predictor_prefer_latency(vit_predictor *predictor);

/* From the next call on; as vit_evaluator_set_tta: probabilities are the mean of the picture's and
 * of its mirror image's. */
void vit_predictor_set_tta(vit_predictor *predictor, vit_tta tta);

/* From the next call on, predictions also hold the pooled, normalised embedding (D): with
 * VIT_TTA_FLIP the mean of the picture's and of its mirror image's. */
vit_status vit_predictor_keep_features(vit_predictor *predictor);

/* What the last call put out, a row each: (batch_size,K); (batch_size,D) or NULL. Rows of pictures
 * that failed are NaN. */
const float *vit_predictor_probabilities(const vit_predictor *predictor);
const float *vit_predictor_features(const vit_predictor *predictor);

typedef struct vit_prediction {
    vit_status status; /* of this picture */
    char error[VIT_MESSAGE_MAX];
    double milliseconds;  /* reading, decoding, preparation and the network */
    float *probabilities; /* (K), owned by the predictor, until the next call; NULL on failure */
    float *features;      /* (D), likewise; NULL unless asked for */
} vit_prediction;

/* A picture to classify: a file, or the bytes of one (JPEG or PNG) that lie in memory, or pixels.
 * What is in memory is borrowed during the call. */
typedef struct vit_predict_input {
    const char *name;   /* the file's path ("-": standard input), or what messages call the rest */
    const void *bytes;  /* NULL: the file is read */
    size_t size;        /* of bytes */
    const uint8_t *rgb; /* the left pixel of the row at the top; NULL: bytes, or the file */
    size_t width, height; /* of rgb */
    ptrdiff_t stride;     /* of rgb: bytes from a row to the one below it */
} vit_predict_input;

/* Up to batch_size pictures at once; one that cannot be read is reported in its prediction and does
 * not stop the others. Each is computed by one thread and in products of its own: the last bits of
 * a product depend on how many rows it has and, with OpenBLAS's kernels for Haswell and Zen, on
 * where among them a row lies. So a picture's result is the same bits whatever its neighbours, the
 * size of the batch and the number of threads, and alone. */
vit_status vit_predict(vit_predictor *predictor, const vit_predict_input *inputs, size_t count,
                       vit_prediction *predictions);
/* The same for files. */
vit_status vit_predict_files(vit_predictor *predictor, const char *const *paths, size_t count,
                             vit_prediction *predictions);

#endif
