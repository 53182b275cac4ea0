#include "support.h"

#include "vit/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *golden_path(const char *name, char buffer[1024]) {
    const char *folder = getenv("ZVIT_GOLDEN_DIR");
    if (!folder || !*folder) {
        folder = ZVIT_TEST_DIR "/golden";
    }
    int length = snprintf(buffer, 1024, "%s/%s", folder, name);
    ck_assert_msg(length >= 0 && length < 1024, "path too long: %s/%s", folder, name);
    return buffer;
}

/* Every test is a process of its own, and ends soon: what it has loaded stays. */
static struct loaded {
    struct loaded *before;
    vit_bytes bytes;
} * all_loaded;

vit_status safetensors_load(const char *path, vit_safetensors **out) {
    struct loaded *loaded = calloc(1, sizeof *loaded);
    ck_assert_ptr_nonnull(loaded);
    loaded->before = all_loaded;
    all_loaded = loaded;
    *out = NULL;
    vit_status status = vit_file_read(path, SIZE_MAX / 2, &loaded->bytes);
    return status != VIT_OK
               ? status
               : vit_safetensors_open_memory(loaded->bytes.data, loaded->bytes.size, path, out);
}

vit_safetensors *golden_open(const char *name) {
    char path[1024];
    vit_safetensors *file;
    ck_vit_ok(safetensors_load(golden_path(name, path), &file));
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
    if (tensor->dtype == VIT_F64) {
        memcpy(out, tensor->data, tensor->count * sizeof *out);
        return out;
    }
    float *narrow = golden_f32(file, name, NULL);
    for (size_t i = 0; i < tensor->count; i++) {
        out[i] = narrow[i];
    }
    free(narrow);
    return out;
}
