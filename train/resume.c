#include "train/resume.h"

#include "vit/rng.h"

#include <string.h>

/* FNV-1a over numbers. */
static uint64_t mix(uint64_t hash, uint64_t value) {
    for (int byte = 0; byte < 8; byte++) {
        hash = (hash ^ (value >> 8 * byte & 255)) * 0x100000001b3u;
    }
    return hash;
}

static uint64_t add_dataset(uint64_t hash, const vit_dataset *dataset) {
    hash = mix(hash, dataset->class_count);
    for (size_t i = 0; i < dataset->class_count; i++) {
        hash = mix(hash, vit_hash_string(dataset->class_names[i]));
    }
    hash = mix(hash, dataset->count);
    for (size_t i = 0; i < dataset->count; i++) {
        const char *path = dataset->samples[i].path, *slash = strrchr(path, '/');
        hash = mix(hash, vit_hash_string(slash ? slash + 1 : path));
        hash = mix(hash, (uint64_t)dataset->samples[i].label);
    }
    return hash;
}

uint64_t vit_resume_pictures(const vit_dataset *train, const vit_dataset *val) {
    uint64_t hash = add_dataset(0xcbf29ce484222325u, train);
    return val ? add_dataset(hash, val) : mix(hash, 0);
}

static vit_status compare(const vit_option_group *now, const vit_option_group *then) {
    for (size_t i = 0; i < now->count; i++) {
        const vit_option *option = &now->options[i];
        char values[2][512];
        vit_option_format(option, now->target, values[0], sizeof values[0]);
        vit_option_format(option, then->target, values[1], sizeof values[1]);
        if (!option->may_change && strcmp(values[0], values[1]) != 0) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "--%s: %s, but the run began with %s (expected the same, or "
                            "--override)",
                            option->name, *values[0] ? values[0] : "\"\"",
                            *values[1] ? values[1] : "\"\"");
        }
    }
    return VIT_OK;
}

vit_status vit_resume_check(const vit_train_settings *settings, uint64_t pictures,
                            const vit_state *state) {
    vit_status status = VIT_OK;
    vit_train_settings now = *settings, then;
    vit_option_group groups[2][VIT_SETTING_GROUPS];
    memset(&then, 0, sizeof then);
    size_t count = vit_train_setting_groups(&now, NULL, groups[0]);
    vit_train_setting_groups(&then, NULL, groups[1]);
    for (size_t g = 0; g < count; g++) {
        VIT_TRY(vit_options_defaults(&groups[1][g]));
        VIT_TRY(vit_options_from_json(&groups[1][g], vit_state_args(state), "args of the state",
                                      VIT_FROM_CONFIG));
        VIT_TRY(compare(&groups[0][g], &groups[1][g]));
    }
    if (pictures != vit_state_position(state)->pictures) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "DATA: not the pictures that the run began with (expected the same files "
                         "and classes, or --override)"));
    }
cleanup:
    return status;
}
