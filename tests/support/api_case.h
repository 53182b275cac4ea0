/* A small model and pictures for the suites of the public interface. */
#ifndef VIT_TEST_API_CASE_H
#define VIT_TEST_API_CASE_H

#include "vit/zvit.h"

#include <stdint.h>

enum { API_CLASSES = 3, API_FILES = 5, API_WIDTH = 33, API_HEIGHT = 26, API_FEATURES = 24 };
extern const char *const api_classes[API_CLASSES];

/* A checked fixture: a folder with a model and pictures, of which the last is none. */
extern char *api_base;
extern char api_paths[API_FILES + 1][1024], api_model_path[1024];
void api_base_make(void);
void api_base_remove(void);

/* Another model like it. */
void api_model_make(const char *path, uint64_t seed, double crop_pct);
/* The fixture's with int8 weights, FOLDER/int8.safetensors; path. */
const char *api_model_make_int8(char path[1024]);
/* The pixels of the fixture's picture i. */
void api_draw(int i, uint8_t rgb[3 * API_WIDTH * API_HEIGHT]);

/* The fixture's model; a classifier, options may be NULL. */
vit_model *api_model_open(void);
vit_classifier *api_classifier_make(vit_model *model, const vit_classifier_options *options);

#endif
