/* safetensors and the JSON of its header. */
#include "tests/fuzz/fuzz.h"

#include "vit/safetensors.h"

#include <stdlib.h>
#include <string.h>

static void read_tensor(const vit_tensor *tensor) {
    enum { MOST = 4096 };
    fuzz_expect(tensor->ndim >= 0 && tensor->ndim <= VIT_TENSOR_MAX_DIMS, "dims are bounded");
    if (tensor->count > 0 && tensor->count <= MOST) {
        float *values = malloc(tensor->count * sizeof *values);
        fuzz_expect(values != NULL, "there is memory");
        vit_tensor_to_f32(tensor, values);
        free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vit_safetensors *file = NULL;
    vit_status status = vit_safetensors_open_memory(data, size, "input", &file);
    fuzz_expect_message(status);
    if (status != VIT_OK) {
        return 0;
    }
    for (size_t i = 0; i < vit_safetensors_count(file); i++) {
        const vit_tensor *tensor = vit_safetensors_at(file, i);
        const uint8_t *at = tensor->data;
        size_t bytes = tensor->count * vit_dtype_size(tensor->dtype);
        fuzz_expect(bytes == 0 || (at >= data && bytes <= (size_t)(data + size - at)),
                    "a tensor lies within the file");
        fuzz_expect(vit_safetensors_find(file, tensor->name) != NULL, "a tensor is found by name");
        read_tensor(tensor);
    }
    const char *format = vit_safetensors_metadata(file, "format");
    fuzz_expect(!format || strlen(format) <= size, "metadata come from the file");
    vit_safetensors_close(file);
    return 0;
}
