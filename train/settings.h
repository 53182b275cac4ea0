/* How the settings of a training come about, from the command line or through vit/zvit.h:
 * default < model < recipe < file < user. */
#ifndef VIT_SETTINGS_H
#define VIT_SETTINGS_H

#include "train/recipe.h"

#include <limits.h>

/* What is chosen before the settings: options of their own. */
typedef struct vit_settings_start {
    char model[64];        /* a preset */
    char config[PATH_MAX]; /* a file of settings */
} vit_settings_start;
extern const vit_option vit_settings_start_options[];
enum { VIT_SETTINGS_START_OPTIONS = 2 };

/* What the settings are laid over each other from. */
typedef struct vit_settings_layers {
    char model[64];   /* a preset, or "custom": the model that model_given or file says */
    bool model_given; /* by the user: the file's model settings are left out */
    char recipe[sizeof((vit_recipe *)0)->recipe];
    bool recipe_given;    /* by the user */
    const vit_json *file; /* settings, checked by vit_settings_check_file; NULL: none */
    const char *file_name;
    bool resumed; /* file is the args.json of the run that goes on */
} vit_settings_layers;

/* Reads a file of settings and checks its keys. The caller frees *out; NULL after a failure. */
vit_status vit_settings_read_file(const char *path, const vit_option_group *groups, vit_json **out);
/* A misspelt key must not be passed over in silence: VIT_ERROR_FORMAT. What args.json holds beside
 * the settings is known. name is the file's. */
vit_status vit_settings_check_file(const vit_option_group *groups, const vit_json *file,
                                   const char *name);

/* Takes the model and the recipe that the file names, unless they were given. */
void vit_settings_choose(vit_settings_layers *layers);

/* Lays all but the user's values over each other; those are to be laid on top. groups are those of
 * settings, with sources (vit_train_setting_groups). */
vit_status vit_settings_lay(const vit_settings_layers *layers, vit_train_settings *settings,
                            const vit_option_group *groups);
/* The defaults, of which training has one of its own. */
vit_status vit_settings_defaults(vit_train_settings *settings, const vit_option_group *groups);
/* Those of the group "Model" as the preset has them. VIT_ERROR_ARGUMENT: no such preset. */
vit_status vit_settings_model(const char *name, vit_train_settings *settings,
                              const vit_option_group *groups);

/* When the user's values are in: checks what training would refuse, and names the architecture. */
vit_status vit_settings_finish(vit_train_settings *settings, const vit_option_group *groups);

/* Where the values of a run came from when it began, as args.json has it. */
void vit_settings_restore_sources(const vit_option_group *groups, const vit_json *args);

/* The group and index of a setting by its name, with '-' or '_'; false when there is none. */
bool vit_settings_find(const vit_option_group *groups, const char *name, size_t *group,
                       size_t *index);

#endif
