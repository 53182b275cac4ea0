/* JSON text, and the settings and the model's config that are read from it. */
#include "tests/fuzz/fuzz.h"

#include "train/settings.h"
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

/* As the config of a training, and as the args.json of a run that goes on. */
static void read_settings(const vit_json *root, bool resumed) {
    static unsigned char sources[1024];
    static vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    fuzz_expect(vit_train_setting_count() <= sizeof sources, "there is room for the sources");
    vit_train_setting_groups(&settings, sources, groups);
    vit_status status = vit_settings_check_file(groups, root, "input");
    fuzz_expect_message(status);
    if (status != VIT_OK) {
        return;
    }
    vit_settings_layers layers = {
        .model = "zeros_micro_patch4_28", .file = root, .file_name = "input", .resumed = resumed};
    vit_settings_choose(&layers);
    status = vit_settings_lay(&layers, &settings, groups);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        status = vit_settings_finish(&settings, groups);
        fuzz_expect_message(status);
    }
    if (status == VIT_OK) {
        fuzz_expect(vit_config_check(&settings.model) == VIT_OK, "settings name a model");
    }
    if (resumed) {
        vit_settings_restore_sources(groups, root);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vit_json *root = NULL;
    vit_status status = vit_json_parse((const char *)data, size, "input", &root);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        expect_round_trip(root);
        if (vit_json_is_object(root)) {
            read_settings(root, false);
            read_settings(root, true);
        }
    }
    vit_json_free(root);
    return 0;
}
