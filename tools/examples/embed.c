/* Finds the pictures that look most like one, by the cosine of their features:
 *     embed MODEL PICTURE FOLDER
 *
 * What the model has learnt to tell apart is close together in its features, also for classes that
 * it was not trained on.
 */
#include <zvit.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 5 };

typedef struct neighbour {
    const char *path;
    double cosine; /* -1..1 */
} neighbour;

static int by_cosine(const void *a, const void *b) {
    const neighbour *x = a, *y = b;
    return x->cosine > y->cosine ? -1 : x->cosine < y->cosine;
}

static double cosine(size_t n, const float *a, const float *b) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* The first picture's features are compared with those of the others: rows of one (count,D) block,
 * where a picture that could not be read is NaN. Returns how many others there are. */
static size_t compare(const vit_classifier *classifier, size_t D, const char *const *paths,
                      size_t count, neighbour *found) {
    const float *features = vit_classifier_get_features(classifier);
    size_t others = 0;
    for (size_t i = 1; i < count; i++) {
        const vit_result *result = vit_classifier_get_result(classifier, i);
        if (result->status == VIT_OK) {
            found[others].path = paths[i];
            found[others++].cosine = cosine(D, features, features + i * D);
        } else {
            fprintf(stderr, "embed: %s\n", result->message);
        }
    }
    qsort(found, others, sizeof *found, by_cosine);
    return others;
}

static int run(vit_classifier *classifier, size_t D, const char *picture, const char *folder) {
    char **files = NULL;
    size_t count = 0;
    if (vit_find_pictures(&files, &count, folder) != VIT_OK) {
        fprintf(stderr, "embed: %s\n", vit_last_error());
        return 1;
    }
    const char **paths = malloc((count + 1) * sizeof *paths);
    neighbour *found = malloc((count + 1) * sizeof *found);
    int failed = paths == NULL || found == NULL;
    if (!failed) {
        paths[0] = picture;
        for (size_t i = 0; i < count; i++) {
            paths[i + 1] = files[i];
        }
        failed = vit_classify_files(classifier, paths, count + 1) != VIT_OK;
    }
    if (failed) {
        fprintf(stderr, "embed: %s\n", vit_last_error());
    } else if (vit_classifier_get_result(classifier, 0)->status != VIT_OK) {
        fprintf(stderr, "embed: %s\n", vit_classifier_get_result(classifier, 0)->message);
        failed = 1;
    } else {
        size_t others = compare(classifier, D, paths, count + 1, found);
        for (size_t i = 0; i < others && i < SHOWN; i++) {
            printf("%.4f  %s\n", found[i].cosine, found[i].path);
        }
    }
    free(found);
    free(paths);
    vit_free_paths(files, count);
    return failed;
}

int main(int argc, char **argv) {
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    vit_model *model = NULL;
    vit_classifier *classifier = NULL;
    int failed = 1;
    if (argc != 4) {
        fprintf(stderr, "usage: embed MODEL PICTURE FOLDER\n");
        return 2;
    }
    options.features = true;
    if (vit_model_open(&model, argv[1], NULL) != VIT_OK ||
        vit_classifier_create(&classifier, model, &options) != VIT_OK) {
        fprintf(stderr, "embed: %s\n", vit_last_error());
    } else {
        failed = run(classifier, vit_model_get_info(model)->feature_count, argv[2], argv[3]);
    }
    vit_classifier_free(classifier);
    vit_model_close(model);
    return failed;
}
