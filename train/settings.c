#include "train/settings.h"

#include "train/recipes.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)16 << 20)

enum { MODEL_GROUP = 0, RECIPE_GROUP = VIT_SETTING_GROUPS - 1 };

const vit_option vit_settings_start_options[VIT_SETTINGS_START_OPTIONS] = {
    {.name = "model",
     .type = VIT_OPT_STRING,
     .offset = offsetof(vit_settings_start, model),
     .count = sizeof((vit_settings_start *)0)->model,
     .value = "zeros_mini_patch8_64",
     .names = vit_config_preset_names,
     .metavar = "NAME",
     .help = "named model that gives the settings under Model; the list is below"},
    {.name = "config",
     .type = VIT_OPT_STRING,
     .offset = offsetof(vit_settings_start, config),
     .count = sizeof((vit_settings_start *)0)->config,
     .metavar = "FILE",
     .help = "settings from a JSON file, such as the args.json of another run; with --model on the "
             "command line too, its model settings are left out"},
};

/* ---- names ---- */

/* Like strcmp() == 0, but '_' is '-'. */
static bool same_name(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b)) {
            return false;
        }
    }
    return *a == *b;
}

bool vit_settings_find(const vit_option_group *groups, const char *name, size_t *group,
                       size_t *index) {
    for (size_t g = 0; g < VIT_SETTING_GROUPS; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            if (same_name(groups[g].options[i].name, name)) {
                *group = g;
                *index = i;
                return true;
            }
        }
    }
    return false;
}

/* ---- files ---- */

vit_status vit_settings_check_file(const vit_option_group *groups, const vit_json *file,
                                   const char *name) {
    static const char *const others[] = {"zvit", "data", "sources", "model", NULL};
    if (!vit_json_is_object(file)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: not a JSON object (expected {\"epochs\": 100, ...})",
                        name);
    }
    for (const vit_json *node = vit_json_first(file); node; node = vit_json_next(node)) {
        const char *key = vit_json_key(node);
        size_t group, index;
        bool known = !strchr(key, '-') && vit_settings_find(groups, key, &group, &index);
        for (size_t i = 0; others[i]; i++) {
            known = known || strcmp(key, others[i]) == 0;
        }
        if (!known) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: %s: unknown setting (expected names as in args.json)", name, key);
        }
    }
    return VIT_OK;
}

vit_status vit_settings_read_file(const char *path, const vit_option_group *groups,
                                  vit_json **out) {
    vit_status status = vit_json_read(path, MAX_FILE_BYTES, out);
    if (status == VIT_OK) {
        status = vit_settings_check_file(groups, *out, path);
    }
    if (status != VIT_OK) {
        vit_json_free(*out);
        *out = NULL;
    }
    return status;
}

void vit_settings_restore_sources(const vit_option_group *groups, const vit_json *args) {
    const vit_json *sources = vit_json_get(args, "sources");
    char key[VIT_OPTION_KEY_MAX];
    for (size_t g = 0; g < VIT_SETTING_GROUPS; g++) {
        const vit_option_group *group = &groups[g];
        for (size_t i = 0; i < group->count; i++) {
            vit_option_key(&group->options[i], key);
            const char *from = vit_json_string(vit_json_get(sources, key), "");
            for (unsigned char s = 0; vit_source_names[s]; s++) {
                if (strcmp(from, vit_source_names[s]) == 0) {
                    group->sources[i] = s;
                }
            }
        }
    }
}

/* ---- layers ---- */

void vit_settings_choose(vit_settings_layers *layers) {
    const char *named = vit_json_string(vit_json_get(layers->file, "model"), NULL);
    /* "custom" comes with every setting of its own. */
    if (named && strcmp(named, "custom") != 0 && !layers->model_given) {
        snprintf(layers->model, sizeof layers->model, "%s", named);
    }
    const char *recipe = vit_json_string(vit_json_get(layers->file, "recipe"), NULL);
    if (recipe && !layers->recipe_given) {
        snprintf(layers->recipe, sizeof layers->recipe, "%s", recipe);
    }
}

vit_status vit_settings_defaults(vit_train_settings *settings, const vit_option_group *groups) {
    vit_status status = VIT_OK;
    for (size_t i = 0; i < VIT_SETTING_GROUPS && status == VIT_OK; i++) {
        status = vit_options_defaults(&groups[i]);
    }
    settings->data.on_error = VIT_ON_ERROR_SKIP; /* one bad file does not end a night's run */
    return status;
}

vit_status vit_settings_model(const char *name, vit_train_settings *settings,
                              const vit_option_group *groups) {
    vit_status status = vit_config_preset(name, &settings->model);
    if (status == VIT_OK) {
        memset(groups[MODEL_GROUP].sources, VIT_FROM_MODEL, groups[MODEL_GROUP].count);
    }
    return status;
}

vit_status vit_settings_lay(const vit_settings_layers *layers, vit_train_settings *settings,
                            const vit_option_group *groups) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_settings_defaults(settings, groups));
    VIT_TRY(vit_settings_model(layers->model, settings, groups));
    VIT_TRY(vit_recipe_apply(layers->recipe, groups, VIT_SETTING_GROUPS));
    for (size_t i = 0; layers->file && i < VIT_SETTING_GROUPS; i++) {
        if (i != MODEL_GROUP || !layers->model_given) {
            VIT_TRY(vit_options_from_json(&groups[i], layers->file, layers->file_name,
                                          VIT_FROM_CONFIG));
        }
    }
    if (layers->resumed) {
        /* Where they came from at the run's beginning, which "config" would hide. */
        vit_settings_restore_sources(groups, layers->file);
    }
cleanup:
    return status;
}

/* ---- the end ---- */

/* Whether two models have the same shape; the picture's size and the number of classes are not
 * part of it. */
static bool same_shape(const vit_config *a, const vit_config *b) {
    vit_config x = *a, y = *b;
    const vit_config *models[2] = {&x, &y};
    memcpy(y.img_size, x.img_size, sizeof y.img_size);
    y.num_classes = x.num_classes;
    for (size_t i = 0; i < vit_config_option_count; i++) {
        char values[2][256];
        for (int j = 0; j < 2; j++) {
            vit_option_format(&vit_config_options[i], models[j], values[j], sizeof values[j]);
        }
        if (strcmp(values[0], values[1]) != 0) {
            return false;
        }
    }
    return true;
}

/* Flags or a file may have changed the named model, or made it another one that has a name. */
static void name_architecture(vit_config *model) {
    const char *name = NULL;
    vit_config named;
    for (size_t i = 0; (name = vit_config_preset_name(i)) != NULL; i++) {
        if (vit_config_preset(name, &named) == VIT_OK && same_shape(model, &named)) {
            break;
        }
    }
    snprintf(model->architecture, sizeof model->architecture, "%s", name ? name : "custom");
}

/* A warm-up that nobody asked for gives way to few epochs in training. */
vit_status vit_settings_finish(vit_train_settings *settings, const vit_option_group *groups) {
    vit_train_settings copy = *settings;
    const vit_option_group *recipe = &groups[RECIPE_GROUP];
    for (size_t i = 0; i < recipe->count; i++) {
        if (recipe->options[i].offset == offsetof(vit_recipe, warmup_epochs) &&
            recipe->sources[i] <= VIT_FROM_RECIPE) {
            copy.recipe.warmup_epochs = 0;
        }
    }
    vit_status status = vit_train_settings_check(&copy);
    if (status == VIT_OK) {
        status = vit_config_check(&copy.model);
    }
    if (status == VIT_OK) {
        name_architecture(&settings->model);
    }
    return status;
}
