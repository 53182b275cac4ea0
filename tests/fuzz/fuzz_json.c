/* JSON text, and the settings and the model's config that are read from it. */
#include "tests/fuzz/fuzz.h"

#include "train/recipe.h"
#include "vit/json.h"

#include <stdlib.h>
#include <string.h>

/* What was read is printed; what is printed is read back as the same. */
static void expect_round_trip(const vit_json *root) {
    char *text = NULL, *again = NULL;
    vit_json *copy = NULL;
    if (vit_json_print(root, false, &text) == VIT_OK) {
        fuzz_expect(vit_json_parse(text, strlen(text), "printed", &copy) == VIT_OK,
                    "what is printed can be read");
        fuzz_expect(vit_json_print(copy, false, &again) == VIT_OK && strcmp(text, again) == 0,
                    "what is read back prints the same");
    }
    vit_json_free(copy);
    free(text);
    free(again);
}

static void read_settings(const vit_json *root) {
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&settings, NULL, groups);
    bool well = true;
    for (size_t i = 0; i < count; i++) {
        vit_options_defaults(&groups[i]);
        vit_status status = vit_options_from_json(&groups[i], root, "input", VIT_FROM_CONFIG);
        fuzz_expect_message(status);
        well = well && status == VIT_OK;
    }
    if (well) {
        fuzz_expect_message(vit_train_settings_check(&settings));
        fuzz_expect_message(vit_config_check(&settings.model));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vit_json *root = NULL;
    vit_status status = vit_json_parse((const char *)data, size, "input", &root);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        expect_round_trip(root);
        if (vit_json_is_object(root)) {
            read_settings(root);
        }
    }
    vit_json_free(root);
    return 0;
}
