#include "runs.h"

#include "support.h"

#include <string.h>

const char *const small_run_classes[3] = {"ant", "bee", "cat"};

vit_train_settings small_run_settings(void) {
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    memset(&settings, 0, sizeof settings);
    size_t count = vit_train_setting_groups(&settings, NULL, groups);
    for (size_t g = 0; g < count; g++) {
        ck_vit_ok(vit_options_defaults(&groups[g]));
    }
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &settings.model));
    settings.model.img_size[0] = settings.model.img_size[1] = 16;
    settings.model.embed_dim = 16;
    settings.model.depth = 2;
    settings.model.num_heads = 2;
    settings.recipe.batch_size = 10;
    settings.recipe.warmup_epochs = 1;
    settings.recipe.lr = 3e-3;
    return settings;
}
