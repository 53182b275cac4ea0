#include "train/settings.h"
#include "train/recipes.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SETTINGS = 512 }; /* more than there are; checked */

const char *vit_get_architecture(size_t index) {
    return vit_config_preset_name(index);
}

const char *vit_get_recipe(size_t index, const char **help) {
    return vit_recipe_name(index, help);
}

static vit_setting_type type_of(const vit_option *option) {
    switch (option->type) {
    case VIT_OPT_BOOL:
        return VIT_SETTING_BOOL;
    case VIT_OPT_INT:
    case VIT_OPT_U64:
        return VIT_SETTING_INTEGER;
    case VIT_OPT_DOUBLE:
        return VIT_SETTING_NUMBER;
    case VIT_OPT_STRING:
        return VIT_SETTING_TEXT;
    case VIT_OPT_ENUM:
        return VIT_SETTING_CHOICE;
    }
    return VIT_SETTING_TEXT;
}

static vit_setting describe(const vit_option_group *group, const vit_option *option) {
    vit_setting setting = {
        .name = option->name,
        .group = group->title,
        .help = option->help,
        .type = type_of(option),
        .min_count = 1,
        .max_count = 1,
        .bounded = option->min != 0 || option->max != 0,
        .min = option->min,
        .max = option->max,
        .zero_word = option->zero,
        .choices = option->choices,
        .value_name = option->metavar,
        .may_change = option->may_change,
    };
    if ((option->type == VIT_OPT_INT || option->type == VIT_OPT_DOUBLE) && option->count > 1) {
        setting.max_count = (size_t)option->count;
        setting.min_count = option->min_count > 0 ? (size_t)option->min_count : setting.max_count;
    }
    return setting;
}

const vit_setting *vit_get_setting(size_t index) {
    static _Thread_local vit_setting current;
    static _Thread_local char value[256];
    vit_settings_start start;
    vit_train_settings settings;
    unsigned char sources[MAX_SETTINGS];
    vit_option_group groups[1 + VIT_SETTING_GROUPS] = {
        {"Start", vit_settings_start_options, VIT_SETTINGS_START_OPTIONS, &start, NULL}};
    if (vit_train_setting_count() > MAX_SETTINGS) {
        return NULL;
    }
    vit_train_setting_groups(&settings, sources, groups + 1);
    if (vit_options_defaults(&groups[0]) != VIT_OK ||
        vit_settings_defaults(&settings, groups + 1) != VIT_OK ||
        vit_settings_model(start.model, &settings, groups + 1) != VIT_OK) {
        return NULL;
    }
    for (size_t g = 0; g <= VIT_SETTING_GROUPS; g++) {
        if (index < groups[g].count) {
            const vit_option *option = &groups[g].options[index];
            current = describe(&groups[g], option);
            vit_option_format(option, groups[g].target, value, sizeof value);
            current.default_value = value;
            return &current;
        }
        index -= groups[g].count;
    }
    return NULL;
}
