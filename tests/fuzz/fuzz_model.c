/* A model file: the config, the tensors that it calls for, class names. */
#include "tests/fuzz/fuzz.h"

#include "vit/model_file.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vit_model_bundle *bundle = NULL;
    vit_status status = vit_model_bundle_load(fuzz_file(data, size, ".safetensors"), &bundle);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        size_t bytes = bundle->model.int8 ? 1 : sizeof(float); /* of a weight, at least */
        fuzz_expect(bundle->model.params.total * bytes <= size, "weights come from the file");
        vit_model_bundle_dequantise(bundle); /* else the place of int8 weights is not written to */
        for (size_t i = 0; i < bundle->model.params.total; i++) {
            fuzz_expect(isfinite(bundle->params[i]) != 0, "weights are finite");
        }
        vit_json *config = vit_model_config_json(bundle);
        vit_json_free(config);
    }
    vit_model_bundle_free(bundle);
    return 0;
}
