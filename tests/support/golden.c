#include "support.h"

#include <stdio.h>
#include <stdlib.h>

const char *golden_path(const char *name, char buffer[1024]) {
    const char *folder = getenv("ZVIT_GOLDEN_DIR");
    if (!folder || !*folder) {
        folder = ZVIT_TEST_DIR "/golden";
    }
    int length = snprintf(buffer, 1024, "%s/%s", folder, name);
    ck_assert_msg(length >= 0 && length < 1024, "path too long: %s/%s", folder, name);
    return buffer;
}

vit_safetensors *golden_open(const char *name) {
    char path[1024];
    vit_safetensors *file;
    ck_vit_ok(vit_safetensors_load(golden_path(name, path), &file));
    return file;
}

static const vit_tensor *find(const vit_safetensors *file, const char *name, size_t *count) {
    const vit_tensor *tensor = vit_safetensors_find(file, name);
    ck_assert_msg(tensor != NULL, "golden file without the tensor %s", name);
    if (count) {
        *count = tensor->count;
    }
    return tensor;
}

float *golden_f32(const vit_safetensors *file, const char *name, size_t *count) {
    const vit_tensor *tensor = find(file, name, count);
    float *out = calloc(tensor->count ? tensor->count : 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: tensor %s", name);
    vit_tensor_to_f32(tensor, out);
    return out;
}

double *golden_f64(const vit_safetensors *file, const char *name, size_t *count) {
    const vit_tensor *tensor = find(file, name, count);
    double *out = calloc(tensor->count ? tensor->count : 1, sizeof *out);
    ck_assert_msg(out != NULL, "out of memory: tensor %s", name);
    vit_tensor_to_f64(tensor, out);
    return out;
}
