/* The state file that a run goes on from. */
#include "tests/fuzz/fuzz.h"

#include "eval/run_log.h"
#include "train/recipe.h"
#include "train/state.h"

static void read_blocks(const vit_state *state) {
    static float values[VIT_STATE_BLOCKS][16];
    float *const blocks[VIT_STATE_BLOCKS] = {values[0], values[1], values[2], values[3]};
    vit_param_table table = {0};
    size_t offset, shape[2] = {2, 8};
    if (vit_params_add(&table, "", "head.weight", 2, shape, VIT_PARAM_DECAY,
                       (vit_init){VIT_INIT_CONSTANT, 0}, &offset) == VIT_OK) {
        fuzz_expect_message(vit_state_read(state, &table, blocks));
    }
    vit_params_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vit_state *state = NULL;
    vit_status status = vit_state_open(fuzz_file(data, size, ".safetensors"), &state);
    fuzz_expect_message(status);
    if (status == VIT_OK) {
        vit_train_settings settings;
        vit_option_group groups[VIT_SETTING_GROUPS];
        size_t count = vit_train_setting_groups(&settings, NULL, groups);
        for (size_t i = 0; i < count; i++) {
            vit_options_defaults(&groups[i]);
            vit_options_from_json(&groups[i], vit_state_args(state), "args", VIT_FROM_CONFIG);
        }
        vit_run_log log = {0};
        vit_run_log_parse(vit_state_log(state), "log", &log);
        vit_run_log_free(&log);
        read_blocks(state);
    }
    vit_state_close(state);
    return 0;
}
