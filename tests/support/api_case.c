#include "api_case.h"

#include "files.h"
#include "models.h"
#include "pictures.h"
#include "support.h"

#include <stdio.h>

const char *const api_classes[API_CLASSES] = {"ant", "bee", "c\xc3\xa4t"};
char *api_base;
char api_paths[API_FILES + 1][1024], api_model_path[1024];

void api_model_make(const char *path, uint64_t seed, double crop_pct) {
    vit_model_bundle *bundle = small_model_new(&(small_model){.classes = api_classes,
                                                              .num_classes = API_CLASSES,
                                                              .embed_dim = API_FEATURES,
                                                              .depth = 2,
                                                              .num_heads = 2,
                                                              .seed = seed,
                                                              .scale = 0.3,
                                                              .crop_pct = crop_pct});
    snprintf(bundle->model.config.architecture, sizeof bundle->model.config.architecture, "custom");
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    vit_model_bundle_free(bundle);
}

const char *api_model_make_int8(char path[1024]) {
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_load(api_model_path, &bundle));
    ck_vit_ok(vit_model_bundle_save_int8(bundle, temp_path(path, api_base, "int8.safetensors")));
    vit_model_bundle_free(bundle);
    return path;
}

void api_draw(int i, uint8_t rgb[3 * API_WIDTH * API_HEIGHT]) {
    draw_picture(i % API_CLASSES, (uint64_t)i, API_WIDTH, API_HEIGHT, rgb);
}

void api_base_make(void) {
    api_base = temp_folder();
    uint8_t rgb[3 * API_WIDTH * API_HEIGHT];
    for (int i = 0; i < API_FILES; i++) {
        api_draw(i, rgb);
        write_png(temp_path(api_paths[i], api_base, "%d.png", i), API_WIDTH, API_HEIGHT, rgb);
    }
    write_text(temp_path(api_paths[API_FILES], api_base, "text"), "no picture");
    api_model_make(temp_path(api_model_path, api_base, "model.safetensors"), 1, 0.9);
}

void api_base_remove(void) {
    temp_folder_remove(api_base);
    api_base = NULL;
}

vit_model *api_model_open(void) {
    vit_model *model;
    ck_vit_ok(vit_model_open(&model, api_model_path, NULL));
    return model;
}

vit_classifier *api_classifier_make(vit_model *model, const vit_classifier_options *options) {
    vit_classifier *classifier;
    ck_vit_ok(vit_classifier_create(&classifier, model, options));
    return classifier;
}
