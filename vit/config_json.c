#include "vit/config.h"

#include <stdio.h>
#include <string.h>

/* The config between its tables and timm's config.json. */

/* Fields that timm keeps beside model_args, not in it. */
static const char *const top_level[] = {"num_classes", "global_pool", NULL};
/* Fields that files of layout version 1 may lack. One that a later version adds belongs here, with
 * a default that means what the older files mean. */
static const char *const may_be_absent[] = {"causal", NULL};

static bool is_among(const char *const *names, const char *name) {
    for (; *names; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static vit_option_group config_group(const vit_config *config, unsigned char *sources) {
    return (vit_option_group){.title = "Model",
                              .options = vit_config_options,
                              .count = vit_config_option_count,
                              .target = (void *)(uintptr_t)config,
                              .sources = sources};
}

static vit_option_group preprocess_group(const vit_preprocess *preprocess, unsigned char *sources) {
    return (vit_option_group){.title = "Preprocessing",
                              .options = vit_preprocess_options,
                              .count = vit_preprocess_option_count,
                              .target = (void *)(uintptr_t)preprocess,
                              .sources = sources};
}

/* ---- writing ---- */

static void put(vit_json *object, const char *key, vit_json *child) {
    vit_json_remove(object, key);
    vit_json_add(object, key, child);
}

/* The object under key, copied from base with what else it holds; an empty one without. */
static vit_json *take_object(const vit_json *base, const char *key) {
    const vit_json *node = vit_json_get(base, key);
    return vit_json_is_object(node) ? vit_json_copy(node) : vit_json_object();
}

static void put_config(const vit_config *config, vit_json *top, vit_json *args) {
    vit_option_group group = config_group(config, NULL);
    vit_json *flat = vit_json_object();
    vit_options_to_json(&group, flat);
    for (const vit_json *n = vit_json_first(flat); n; n = vit_json_next(n)) {
        const char *key = vit_json_key(n);
        vit_json_remove(top, key);
        vit_json_remove(args, key);
        vit_json_add(is_among(top_level, key) ? top : args, key, vit_json_copy(n));
    }
    if (vit_json_count(flat) != vit_config_option_count) {
        vit_json_add(args, "", NULL); /* memory ran out: remembered */
    }
    vit_json_free(flat);
}

static void put_preprocess(const vit_config *config, const vit_preprocess *preprocess,
                           const char *const *label_names, vit_json *cfg) {
    vit_json *size = vit_json_array();
    vit_json_add_number(size, NULL, 3);
    vit_json_add_number(size, NULL, config->img_size[0]);
    vit_json_add_number(size, NULL, config->img_size[1]);
    put(cfg, "input_size", size);
    for (size_t i = 0; i < vit_preprocess_option_count; i++) {
        char key[VIT_OPTION_KEY_MAX];
        vit_option_key(&vit_preprocess_options[i], key);
        vit_json_remove(cfg, key);
    }
    vit_option_group group = preprocess_group(preprocess, NULL);
    vit_options_to_json(&group, cfg);
    vit_json *labels = vit_json_array();
    for (int i = 0; i < config->num_classes; i++) {
        vit_json_add_string(labels, NULL, label_names[i]);
    }
    put(cfg, "label_names", labels);
}

vit_json *vit_config_to_json(const vit_config *config, const vit_preprocess *preprocess,
                             const char *const *label_names, const vit_json *base) {
    vit_json *top = base ? vit_json_copy(base) : vit_json_object();
    vit_json *args = take_object(base, "model_args");
    vit_json *cfg = take_object(base, "pretrained_cfg");
    vit_json_remove(top, "architecture");
    vit_json_add_string(top, "architecture", config->architecture);
    put_config(config, top, args);
    put_preprocess(config, preprocess, label_names, cfg);
    vit_json_remove(top, "label_names");
    put(top, "model_args", args);
    put(top, "pretrained_cfg", cfg);
    return top;
}

/* ---- reading ---- */

static vit_status check_present(const vit_option_group *group, const char *what) {
    for (size_t i = 0; i < group->count; i++) {
        char key[VIT_OPTION_KEY_MAX];
        vit_option_key(&group->options[i], key);
        if (group->sources[i] != VIT_FROM_MODEL && !is_among(may_be_absent, key)) {
            char expected[512];
            vit_option_range(&group->options[i], expected, sizeof expected);
            return vit_fail(VIT_ERROR_FORMAT, "%s: %s is missing (expected %s)", what, key,
                            expected);
        }
    }
    return VIT_OK;
}

static vit_status read_config(const vit_json *object, const char *what, vit_config *config) {
    vit_status status = VIT_OK;
    unsigned char sources[VIT_CONFIG_MAX_FIELDS] = {0};
    vit_option_group group = config_group(config, sources);
    const char *name = vit_json_string(vit_json_get(object, "architecture"), NULL);
    if (!name || !*name || strlen(name) >= sizeof config->architecture) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: architecture is %s%.100s (expected a name of 1 to %zu bytes)", what,
                        name ? "" : "missing", name ? name : "", sizeof config->architecture - 1);
    }
    VIT_TRY(vit_options_defaults(&group));
    /* Whole field: configs are compared. */
    memset(config->architecture, 0, sizeof config->architecture);
    memcpy(config->architecture, name, strlen(name));
    VIT_TRY(vit_options_from_json(&group, object, what, VIT_FROM_MODEL));
    VIT_TRY(
        vit_options_from_json(&group, vit_json_get(object, "model_args"), what, VIT_FROM_MODEL));
    VIT_TRY(check_present(&group, what));
    status = vit_config_check(config);
    if (status != VIT_OK) {
        vit_fail_context(status, "%s", what);
        status = status == VIT_ERROR_ARGUMENT ? VIT_ERROR_FORMAT : status;
    }
cleanup:
    return status;
}

static vit_status check_input_size(const vit_json *cfg, const char *what,
                                   const vit_config *config) {
    const vit_json *size = vit_json_get(cfg, "input_size");
    double expected[3] = {3, config->img_size[0], config->img_size[1]};
    if (!size) {
        return VIT_OK;
    }
    for (size_t i = 0; i < 3; i++) {
        if (vit_json_number(vit_json_at(size, i), -1) != expected[i] || vit_json_count(size) != 3) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: input_size differs from img_size (expected [3, %d, %d])", what,
                            config->img_size[0], config->img_size[1]);
        }
    }
    return VIT_OK;
}

static vit_status check_labels(const vit_json *labels, const char *what, int num_classes) {
    size_t count = vit_json_count(labels);
    if (!vit_json_is_array(labels) || count != (size_t)num_classes) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: label_names holds %zu names (expected an array of num_classes, %d)",
                        what, count, num_classes);
    }
    size_t index = 0;
    for (const vit_json *n = vit_json_first(labels); n; n = vit_json_next(n), index++) {
        const char *name = vit_json_string(n, NULL);
        if (!name || !*name) {
            return vit_fail(VIT_ERROR_FORMAT, "%s: label_names: entry %zu is %s (expected a name)",
                            what, index, name ? "empty" : "not a string");
        }
    }
    return VIT_OK;
}

vit_status vit_config_from_json(const vit_json *object, const char *what, vit_config *config,
                                vit_preprocess *preprocess, const vit_json **label_names) {
    vit_status status = VIT_OK;
    *label_names = NULL;
    if (!vit_json_is_object(object)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: not an object", what);
    }
    VIT_TRY(read_config(object, what, config));
    unsigned char sources[VIT_CONFIG_MAX_FIELDS] = {0};
    vit_option_group group = preprocess_group(preprocess, sources);
    const vit_json *cfg = vit_json_get(object, "pretrained_cfg");
    VIT_TRY(vit_options_defaults(&group));
    VIT_TRY(vit_options_from_json(&group, cfg, what, VIT_FROM_MODEL));
    VIT_TRY(check_present(&group, what));
    VIT_TRY(check_input_size(cfg, what, config));
    /* timm's newer files hold them on top. */
    const vit_json *labels = vit_json_get(cfg, "label_names");
    labels = labels ? labels : vit_json_get(object, "label_names");
    VIT_TRY(check_labels(labels, what, config->num_classes));
    *label_names = labels;
cleanup:
    return status;
}
