/* consumer MODEL PICTURE: the best class of a picture, and its probability. */
#include <zvit.h>

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    vit_model *model = NULL;
    vit_classifier *classifier = NULL;
    int code = 1;
    if (argc != 3 || strcmp(vit_version(), VIT_VERSION_STRING) != 0) {
        fprintf(stderr, "usage: consumer MODEL PICTURE; header %s, library %s\n",
                VIT_VERSION_STRING, vit_version());
        return 2;
    }
    const char *const paths[] = {argv[2]};
    if (vit_model_open(&model, argv[1], NULL) != VIT_OK ||
        vit_classifier_create(&classifier, model, NULL) != VIT_OK ||
        vit_classify_files(classifier, paths, 1) != VIT_OK) {
        fprintf(stderr, "consumer: %s\n", vit_last_error());
    } else {
        const vit_result *result = vit_classifier_get_result(classifier, 0);
        if (result->status != VIT_OK) {
            fprintf(stderr, "consumer: %s\n", result->message);
        } else {
            int best = result->top[0];
            printf("%s %.4f\n", vit_model_get_info(model)->class_names[best],
                   (double)result->probabilities[best]);
            code = 0;
        }
    }
    vit_classifier_free(classifier);
    vit_model_close(model);
    return code;
}
