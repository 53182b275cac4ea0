/* Names what pictures show: classify MODEL PATH...
 *
 * A PATH is a picture or a folder of pictures. Build it against the installed library:
 *     cc classify.c -o classify $(pkg-config --cflags --libs zvit)
 */
#include <zvit.h>

#include <stdio.h>

enum { BATCH = 256 }; /* results come this often; 16 for each thread is enough */

static int fail(void) {
    fprintf(stderr, "classify: %s\n", vit_last_error());
    return 1;
}

/* One line for each picture of the last call. Returns how many failed. */
static int print_results(const vit_classifier *classifier, const vit_model_info *info,
                         const char *const *paths) {
    const vit_result *result;
    int failed = 0;
    for (size_t i = 0; (result = vit_classifier_get_result(classifier, i)) != NULL; i++) {
        if (result->status != VIT_OK) {
            fprintf(stderr, "classify: %s\n", result->message);
            failed++;
            continue;
        }
        printf("%s", paths[i]);
        for (size_t k = 0; k < result->top_count; k++) {
            int best = result->top[k];
            printf("  %s %.2f %%", info->class_names[best], 100.0 * result->probabilities[best]);
        }
        printf("\n");
    }
    return failed;
}

/* All pictures under a path. Returns how many failed. */
static int classify_path(vit_classifier *classifier, const vit_model_info *info, const char *path) {
    char **paths = NULL;
    size_t count = 0;
    int failed = 0;
    if (vit_find_pictures(&paths, &count, path) != VIT_OK) {
        return fail();
    }
    for (size_t first = 0; first < count; first += BATCH) {
        size_t size = count - first < BATCH ? count - first : BATCH;
        const char *const *batch = (const char *const *)paths + first;
        if (vit_classify_files(classifier, batch, size) != VIT_OK) {
            failed += fail();
            break;
        }
        failed += print_results(classifier, info, batch);
    }
    vit_free_paths(paths, count);
    return failed;
}

int main(int argc, char **argv) {
    vit_classifier_options options = VIT_CLASSIFIER_OPTIONS_INIT;
    vit_model *model = NULL;
    vit_classifier *classifier = NULL;
    int failed = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: classify MODEL PATH...\n");
        return 2;
    }
    options.top = 3;
    if (vit_model_open(&model, argv[1], NULL) != VIT_OK ||
        vit_classifier_create(&classifier, model, &options) != VIT_OK) {
        failed = fail();
    }
    for (int i = 2; i < argc && classifier != NULL; i++) {
        failed += classify_path(classifier, vit_model_get_info(model), argv[i]);
    }
    vit_classifier_free(classifier);
    vit_model_close(model);
    return failed > 0;
}
