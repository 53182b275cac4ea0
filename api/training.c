#include "api/handles.h"

#include "train/run_folder.h"
#include "train/settings.h"
#include "train/trainer.h"
#include "vit/arena.h"
#include "vit/versioned.h"

#include <stdio.h>
#include <string.h>

enum { MAX_VALUE = 8192 }; /* no setting's text is longer */

/* A value that the user set. */
typedef struct user_value {
    size_t group, index;
    char *text;
} user_value;

struct vit_training {
    vit_training_options options;
    char *data, *folder;
    bool resumed, has_run;
    atomic_bool stop;

    /* What was set. */
    char *model;     /* NULL: not set */
    char *file_name; /* of file, for messages; NULL without */
    vit_json *file;
    user_value *values; /* (value_count), room for every setting */
    size_t value_count;

    /* What comes of it, made anew by resolve. */
    char model_in_use[64];
    vit_train_settings settings;
    unsigned char *sources;
    vit_option_group groups[VIT_SETTING_GROUPS];

    char text[MAX_VALUE]; /* of vit_training_get */
    vit_training_start start;
    char *best, *last;
    vit_training_result result;
    bool done;
};

void vit_training_free(vit_training *t) {
    if (!t) {
        return;
    }
    for (size_t i = 0; i < t->value_count; i++) {
        vit_free(t->values[i].text);
    }
    vit_free(t->values);
    vit_json_free(t->file);
    vit_free(t->file_name);
    vit_free(t->model);
    vit_free(t->sources);
    vit_free(t->best);
    vit_free(t->last);
    vit_free(t->data);
    vit_free(t->folder);
    vit_free(t);
}

/* ---- settings ---- */

static const user_value *find_value(const vit_training *t, size_t group, size_t index) {
    for (size_t i = 0; i < t->value_count; i++) {
        if (t->values[i].group == group && t->values[i].index == index) {
            return &t->values[i];
        }
    }
    return NULL;
}

static void choose_layers(const vit_training *t, vit_settings_layers *layers) {
    size_t group, index;
    *layers = (vit_settings_layers){
        .model_given = t->model != NULL,
        .file = t->file,
        .file_name = t->file_name,
        .resumed = t->resumed,
    };
    snprintf(layers->model, sizeof layers->model, "%s",
             t->model ? t->model : vit_settings_start_options[0].value);
    if (vit_settings_find(t->groups, "recipe", &group, &index)) {
        const user_value *recipe = find_value(t, group, index);
        layers->recipe_given = recipe != NULL;
        snprintf(layers->recipe, sizeof layers->recipe, "%s",
                 recipe ? recipe->text : t->groups[group].options[index].value);
    }
    vit_settings_choose(layers);
}

/* All that was set, laid over each other in the order of the header. */
static vit_status resolve(vit_training *t) {
    vit_settings_layers layers;
    vit_status status = VIT_OK;
    choose_layers(t, &layers);
    const char *named =
        layers.model_given ? NULL : vit_json_string(vit_json_get(t->file, "model"), NULL);
    snprintf(t->model_in_use, sizeof t->model_in_use, "%s", named ? named : layers.model);
    VIT_TRY(vit_settings_lay(&layers, &t->settings, t->groups));
    int began_with = t->settings.recipe.batch_size;
    for (size_t i = 0; i < t->value_count; i++) {
        const user_value *v = &t->values[i];
        VIT_TRY(vit_option_set(&t->groups[v->group], v->index, v->text, "--", VIT_FROM_USER));
    }
    if (t->resumed && t->settings.recipe.batch_size == 0) {
        t->settings.recipe.batch_size = began_with; /* auto: as it was chosen then */
    }
cleanup:
    return status;
}

static vit_status copy_text(char **out, const char *text) {
    *out = vit_strdup(text);
    return *out ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "%.200s: out of memory", text);
}

/* The message of a failure outlives putting things back, which cannot fail again. */
static vit_status undo(vit_training *t, vit_status status) {
    char message[VIT_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", vit_last_error());
    resolve(t);
    return vit_fail(status, "%s", message);
}

static vit_status set_model(vit_training *t, const char *value) {
    vit_config config;
    char *copy = NULL, *old = t->model;
    vit_status status = VIT_OK;
    VIT_TRY(vit_config_preset(value, &config));
    VIT_TRY(copy_text(&copy, value));
    t->model = copy;
    status = resolve(t);
    if (status == VIT_OK) {
        copy = old;
    } else {
        t->model = old;
        status = undo(t, status);
    }
cleanup:
    vit_free(copy);
    return status;
}

static vit_status set_file(vit_training *t, const char *path) {
    vit_json *file = NULL, *old_file = t->file;
    char *name = NULL, *old_name = t->file_name;
    vit_status status = VIT_OK;
    if (t->resumed) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "config %s: does not go with a resumed run (expected its own settings)",
                        path);
    }
    VIT_TRY(vit_settings_read_file(path, t->groups, &file));
    VIT_TRY(copy_text(&name, path));
    t->file = file;
    t->file_name = name;
    status = resolve(t);
    if (status == VIT_OK) {
        file = old_file;
        name = old_name;
    } else {
        t->file = old_file;
        t->file_name = old_name;
        status = undo(t, status);
    }
cleanup:
    vit_json_free(file);
    vit_free(name);
    return status;
}

static vit_status set_value(vit_training *t, size_t group, size_t index, const char *text) {
    user_value *v = (user_value *)(uintptr_t)find_value(t, group, index);
    char *copy = NULL, *old = v ? v->text : NULL;
    vit_status status = copy_text(&copy, text);
    if (status != VIT_OK) {
        return status;
    }
    if (!v) {
        v = &t->values[t->value_count++];
    }
    *v = (user_value){group, index, copy};
    status = resolve(t);
    if (status == VIT_OK) {
        vit_free(old);
        return VIT_OK;
    }
    v->text = old;
    if (!old) {
        t->value_count--;
    }
    vit_free(copy);
    return undo(t, status);
}

vit_status vit_training_set(vit_training *t, const char *name, const char *value) {
    size_t group, index;
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(t, __func__, "training"));
    VIT_TRY(vit_check_given(name, __func__, "name"));
    VIT_TRY(vit_check_given(value, name, "the value"));
    if (t->has_run) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT, "%s: the training has run already", name));
    }
    if (strlen(value) >= MAX_VALUE) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT, "%s: a value of %zu bytes (expected under %d)", name,
                         strlen(value), MAX_VALUE));
    }
    if (strcmp(name, "model") == 0) {
        return set_model(t, value);
    }
    if (strcmp(name, "config") == 0) {
        return set_file(t, value);
    }
    if (!vit_settings_find(t->groups, name, &group, &index)) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "%.200s: no such setting (expected a flag of zvit train, as "
                         "vit_get_setting names them)",
                         name));
    }
    VIT_TRY(set_value(t, group, index, value));
cleanup:
    return status;
}

const char *vit_training_get(vit_training *t, const char *name) {
    size_t group, index;
    if (!t || !name) {
        return NULL;
    }
    if (strcmp(name, "model") == 0) {
        return t->model_in_use;
    }
    if (strcmp(name, "config") == 0) {
        return t->file_name && !t->resumed ? t->file_name : "";
    }
    if (!vit_settings_find(t->groups, name, &group, &index)) {
        vit_fail(VIT_ERROR_ARGUMENT, "%.200s: no such setting", name);
        return NULL;
    }
    vit_option_format(&t->groups[group].options[index], t->groups[group].target, t->text,
                      sizeof t->text);
    return t->text;
}

/* ---- making one ---- */

/* Settings, and data unless it was given, are those of the run in the folder. */
static vit_status take_run(vit_training *t) {
    vit_status status = VIT_OK;
    t->resumed = true;
    VIT_TRY(copy_text(&t->file_name, t->folder));
    VIT_TRY(vit_run_folder_args(t->folder, &t->file));
    VIT_TRY(vit_settings_check_file(t->groups, t->file, t->folder));
    if (!t->data) {
        const char *own = vit_json_string(vit_json_get(t->file, "data"), NULL);
        VIT_TRY(own ? copy_text(&t->data, own)
                    : vit_fail(VIT_ERROR_FORMAT,
                               "%s: its args.json does not name its data (expected data)",
                               t->folder));
    }
cleanup:
    return status;
}

static vit_status create(vit_training **out, const char *data, const char *folder,
                         const vit_training_options *options, bool resume) {
    vit_training *t = NULL;
    vit_status status = VIT_OK;
    size_t settings = vit_train_setting_count();
    int before;
    VIT_TRY(vit_alloc((void **)&t, 1, sizeof *t, "training"));
    atomic_init(&t->stop, false);
    if (options) {
        VIT_TRY(
            vit_versioned_take(&t->options, sizeof t->options, options, "vit_training_options"));
    }
    VIT_TRY(vit_threads_begin(t->options.threads, "vit_training_options", &before));
    vit_threads_end(before);
    VIT_TRY(copy_text(&t->folder, folder));
    if (vit_asprintf(&t->best, "%s/best.safetensors", folder) < 0 ||
        vit_asprintf(&t->last, "%s/last.safetensors", folder) < 0) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", folder));
    }
    if (data) {
        VIT_TRY(copy_text(&t->data, data));
    }
    VIT_TRY(vit_alloc((void **)&t->sources, settings, 1, "settings"));
    VIT_TRY(vit_alloc((void **)&t->values, settings, sizeof *t->values, "settings"));
    vit_train_setting_groups(&t->settings, t->sources, t->groups);
    if (resume) {
        VIT_TRY(take_run(t));
    }
    VIT_TRY(resolve(t));
    *out = t;
    t = NULL;
cleanup:
    vit_training_free(t);
    return status;
}

vit_status vit_training_create(vit_training **out, const char *data, const char *folder,
                               const vit_training_options *options) {
    VIT_BEGIN_OUT(out);
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(data, __func__, "data"));
    VIT_TRY(vit_check_given(folder, __func__, "folder"));
    VIT_TRY(create(out, data, folder, options, false));
cleanup:
    return status;
}

vit_status vit_training_resume(vit_training **out, const char *folder, const char *data,
                               const vit_training_options *options) {
    VIT_BEGIN_OUT(out);
    vit_status status = vit_check_given(folder, __func__, "folder");
    return status == VIT_OK ? create(out, data, folder, options, true) : status;
}

/* ---- running ---- */

static void on_planned(void *context, const vit_memory_plan *plan, uint64_t memory) {
    const vit_training *t = context;
    char available[64] = "";
    if (memory > 0) {
        snprintf(available, sizeof available, " of %.2f GB that are available",
                 1e-9 * (double)memory);
    }
    vit_say(t->options.log, t->options.context, VIT_LOG_INFO, "memory: %.2f GB%s",
            1e-9 * (double)plan->total, available);
}

static void tell_start(const vit_training *t) {
    if (t->options.started) {
        t->options.started(t->options.context, &t->start);
    }
}

/* A resumed run also says where it goes on, after this. */
static void on_started(void *context, const vit_model *model, size_t train_images,
                       size_t val_images, int epochs) {
    vit_training *t = context;
    t->start = (vit_training_start){
        .folder = t->folder,
        .architecture = model->config.architecture,
        .parameter_count = model->params.total,
        .train_images = train_images,
        .val_images = val_images,
        .class_count = (size_t)model->config.num_classes,
        .epochs = epochs,
    };
    if (!t->resumed) {
        tell_start(t);
    }
}

static void on_resumed(void *context, int epochs_done, size_t steps_done) {
    vit_training *t = context;
    t->start.epochs_done = epochs_done;
    t->start.steps_done = steps_done;
    tell_start(t);
}

static void on_progress(void *context, const vit_train_progress *progress) {
    const vit_training *t = context;
    if (t->options.progress) {
        t->options.progress(t->options.context, progress);
    }
}

static void on_evaluating(void *context, size_t done, size_t total) {
    const vit_training *t = context;
    if (t->options.evaluating) {
        t->options.evaluating(t->options.context, done, total);
    }
}

static void on_epoch(void *context, const vit_epoch_row *row) {
    const vit_training *t = context;
    if (t->options.epoch) {
        t->options.epoch(t->options.context, row);
    }
}

static void on_warning(void *context, const char *message) {
    const vit_training *t = context;
    vit_say(t->options.log, t->options.context, VIT_LOG_WARNING, "%s", message);
}

static void on_initialised(void *context, vit_init_action action, const char *tensor,
                           const char *detail) {
    const vit_training *t = context;
    vit_say(t->options.log, t->options.context, VIT_LOG_INFO, "init: %s %s%s%s%s",
            vit_init_action_names[action], tensor, *detail ? " (" : "", detail, *detail ? ")" : "");
}

static bool should_stop(void *context) {
    vit_training *t = context;
    return atomic_load(&t->stop) ||
           (t->options.should_stop && t->options.should_stop(t->options.context));
}

static vit_status train(vit_training *t, vit_train_result *result) {
    const vit_train_callbacks callbacks = {
        .context = t,
        .planned = on_planned,
        .started = on_started,
        .resumed = on_resumed,
        .progress = on_progress,
        .evaluating = on_evaluating,
        .epoch = on_epoch,
        .warning = on_warning,
        .should_stop = should_stop,
        .initialised = on_initialised,
    };
    const vit_train_request request = {
        .settings = &t->settings,
        .sources = t->sources,
        .data = t->data,
        .out = t->folder,
        .memory = t->options.memory_limit,
        .resume = t->resumed,
        .override = t->options.override_run,
    };
    int before;
    vit_status status = vit_threads_begin(t->options.threads, "vit_training_options", &before);
    if (status == VIT_OK) {
        status = vit_train(&request, &callbacks, result);
        vit_threads_end(before);
    }
    return status;
}

/* What the data decided (a batch that fits, the number of classes) is in the run's args.json. Once
 * the run is over this fails for nobody: the settings then stay as they were asked for. */
static void take_settled(vit_training *t) {
    vit_json *args = NULL;
    if (vit_run_folder_args(t->folder, &args) != VIT_OK) {
        return;
    }
    for (size_t i = 0; i < VIT_SETTING_GROUPS; i++) {
        vit_options_from_json(&t->groups[i], args, t->folder, VIT_FROM_CONFIG);
    }
    vit_json_free(args);
}

vit_status vit_training_run(vit_training *t) {
    vit_train_result result = {0};
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(t, __func__, "training"));
    if (t->has_run) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "%s: the training has run already (expected vit_training_resume)",
                         t->folder));
    }
    VIT_TRY(vit_settings_finish(&t->settings, t->groups));
    t->has_run = true;
    VIT_TRY(train(t, &result));
    take_settled(t);
    snprintf(t->model_in_use, sizeof t->model_in_use, "%s", t->settings.model.architecture);
    t->result = (vit_training_result){
        .folder = t->folder,
        .best_model = t->best,
        .last_model = t->last,
        .best_epoch = result.best_epoch,
        .best_top1 = result.best_top1,
        .last_top1 = result.last_top1,
        .seconds = result.seconds,
    };
    t->done = true;
cleanup:
    return status;
}

void vit_training_stop(vit_training *t) {
    if (t) {
        atomic_store(&t->stop, true);
    }
}

const vit_training_result *vit_training_get_result(const vit_training *t) {
    return t && t->done ? &t->result : NULL;
}
