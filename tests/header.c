/* Compiled as C11 and as C++17 with every warning an error: the header needs nothing before it, and
 * its initialisers leave no member out. */
#include <zvit.h>

size_t sizes(void);
size_t sizes(void) {
    const vit_allocator allocator = VIT_ALLOCATOR_INIT;
    const vit_model_options model = VIT_MODEL_OPTIONS_INIT;
    const vit_classifier_options classifier = VIT_CLASSIFIER_OPTIONS_INIT;
    const vit_evaluation_options evaluation = VIT_EVALUATION_OPTIONS_INIT;
    const vit_training_options training = VIT_TRAINING_OPTIONS_INIT;
    return allocator.size + model.size + classifier.size + evaluation.size + training.size;
}

vit_status use(vit_classifier *classifier, const unsigned char *pixels);
vit_status use(vit_classifier *classifier, const unsigned char *pixels) {
    const vit_picture pictures[3] = {vit_picture_file("a.jpg"), vit_picture_encoded(pixels, 3, "b"),
                                     vit_picture_rgb(pixels, 1, 1, 0, NULL)};
    return vit_classify(classifier, pictures, 3);
}
