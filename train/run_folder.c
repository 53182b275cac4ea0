#include "train/run_folder.h"

#include "vit/file.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the order they are looked for and removed. */
enum { FILE_ARGS, FILE_CLASSES, FILE_LOG, FILE_LAST, FILE_BEST, FILE_COUNT };
static const char *const file_names[FILE_COUNT] = {
    "args.json", "classes.txt", "log.csv", "last.safetensors", "best.safetensors",
};
static const char log_head[] =
    "epoch,step,lr,train_loss,val_loss,top1,top5,images_per_second,data_wait,seconds,skipped\n";

struct vit_run_folder {
    char folder[PATH_MAX];
    char paths[FILE_COUNT][PATH_MAX];
    bool made; /* the folder was not there before */
    bool written[FILE_COUNT];
    char *log; /* the whole of log.csv: rewritten with each row, so that it is never half a row */
    size_t log_size;
};

/* ---- creating ---- */

static vit_status set_paths(vit_run_folder *run, const char *out) {
    if (strlen(out) >= sizeof run->folder || !*out) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--out %s: %s", out,
                        *out ? "path too long" : "no name (expected a folder)");
    }
    snprintf(run->folder, sizeof run->folder, "%s", out);
    for (int i = 0; i < FILE_COUNT; i++) {
        vit_status status = vit_path_join(run->paths[i], sizeof run->paths[i], out, file_names[i]);
        if (status != VIT_OK) {
            return status;
        }
    }
    return VIT_OK;
}

static vit_status make_folder(vit_run_folder *run) {
    struct stat info;
    run->made = stat(run->folder, &info) != 0;
    if (!run->made && !S_ISDIR(info.st_mode)) {
        return vit_fail(VIT_ERROR_IO, "%s: not a folder (expected one, or a free name)",
                        run->folder);
    }
    for (int i = 0; i < FILE_COUNT && !run->made; i++) {
        if (lstat(run->paths[i], &info) == 0) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "%s: the folder already holds a run (expected another --out)",
                            run->paths[i]);
        }
    }
    return vit_folder_make(run->folder);
}

/* "sources": name -> default, model, recipe, config, user. */
static void add_sources(const vit_option_group *groups, size_t count, vit_json *root) {
    vit_json *object = vit_json_object();
    for (size_t g = 0; g < count; g++) {
        for (size_t i = 0; groups[g].sources && i < groups[g].count; i++) {
            char key[128];
            snprintf(key, sizeof key, "%s", groups[g].options[i].name);
            for (char *c = key; *c; c++) {
                *c = *c == '-' ? '_' : *c;
            }
            vit_json_add_string(object, key, vit_source_names[groups[g].sources[i]]);
        }
    }
    vit_json_add(root, "sources", object);
}

static vit_status write_args(vit_run_folder *run, const char *data,
                             const vit_train_settings *settings, const unsigned char *sources) {
    vit_train_settings copy = *settings;
    unsigned char *from = NULL;
    char *text = NULL;
    vit_option_group groups[VIT_SETTING_GROUPS];
    vit_status status = VIT_OK;
    vit_json *root = vit_json_object();
    if (sources) {
        from = malloc(vit_train_setting_count());
        if (!from) {
            VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", run->paths[FILE_ARGS]));
        }
        memcpy(from, sources, vit_train_setting_count());
    }
    size_t count = vit_train_setting_groups(&copy, from, groups);
    vit_json_add_string(root, "zvit", vit_version());
    vit_json_add_string(root, "data", data);
    vit_json_add_string(root, "model", settings->model.architecture);
    for (size_t g = 0; g < count; g++) {
        VIT_TRY(vit_options_to_json(&groups[g], root));
    }
    if (from) {
        add_sources(groups, count, root);
    }
    VIT_TRY(vit_json_print(root, true, &text));
    VIT_TRY(vit_file_replace(run->paths[FILE_ARGS], text, strlen(text)));
    run->written[FILE_ARGS] = true;
cleanup:
    vit_json_free(root);
    free(text);
    free(from);
    return status;
}

static vit_status write_classes(vit_run_folder *run, const char *const *names, size_t count) {
    vit_file_writer *writer = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_file_begin(run->paths[FILE_CLASSES], &writer));
    for (size_t i = 0; i < count; i++) {
        VIT_TRY(vit_file_printf(writer, "%s\n", names[i]));
    }
    status = vit_file_commit(writer);
    writer = NULL;
    VIT_TRY(status);
    run->written[FILE_CLASSES] = true;
cleanup:
    vit_file_abort(writer);
    return status;
}

static vit_status append_log(vit_run_folder *run, const char *text) {
    size_t length = strlen(text);
    char *log = realloc(run->log, run->log_size + length);
    if (!log) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", run->paths[FILE_LOG]);
    }
    run->log = log;
    memcpy(log + run->log_size, text, length);
    run->log_size += length;
    vit_status status = vit_file_replace(run->paths[FILE_LOG], run->log, run->log_size);
    run->written[FILE_LOG] |= status == VIT_OK;
    return status;
}

vit_status vit_run_folder_create(const char *out, const char *data,
                                 const vit_train_settings *settings, const unsigned char *sources,
                                 const char *const *class_names, size_t class_count,
                                 vit_run_folder **run) {
    *run = NULL;
    vit_status status = VIT_OK;
    vit_run_folder *r = calloc(1, sizeof *r);
    if (!r) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", out);
    }
    VIT_TRY(set_paths(r, out));
    VIT_TRY(make_folder(r));
    VIT_TRY(write_args(r, data, settings, sources));
    VIT_TRY(write_classes(r, class_names, class_count));
    VIT_TRY(append_log(r, log_head));
    *run = r;
cleanup:
    if (status != VIT_OK) {
        vit_run_folder_free(r);
    }
    return status;
}

void vit_run_folder_free(vit_run_folder *run) {
    if (!run) {
        return;
    }
    if (!run->written[FILE_LAST]) {
        for (int i = 0; i < FILE_COUNT; i++) {
            if (run->written[i]) {
                unlink(run->paths[i]);
            }
        }
        if (run->made) {
            rmdir(run->folder); /* only when empty */
        }
    }
    free(run->log);
    free(run);
}

/* ---- each epoch ---- */

vit_status vit_run_folder_save(vit_run_folder *run, const vit_model_bundle *bundle, int epoch,
                               uint64_t step, double top1, bool best) {
    char numbers[3][32];
    snprintf(numbers[0], sizeof numbers[0], "%d", epoch);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)step);
    snprintf(numbers[2], sizeof numbers[2], "%.4f", top1);
    const vit_metadata extra[] = {
        {"epoch", numbers[0]}, {"step", numbers[1]}, {"val_top1", numbers[2]}};
    size_t count = isnan(top1) ? 2 : 3;
    vit_status status = VIT_OK;
    VIT_TRY(vit_model_bundle_save(bundle, NULL, extra, count, run->paths[FILE_LAST]));
    run->written[FILE_LAST] = true;
    if (best) {
        VIT_TRY(vit_model_bundle_save(bundle, NULL, extra, count, run->paths[FILE_BEST]));
        run->written[FILE_BEST] = true;
    }
cleanup:
    return status;
}

/* "nan" whatever the sign bit; else with enough digits. */
static void format_number(char *buffer, size_t size, int digits, double value) {
    if (isnan(value)) {
        snprintf(buffer, size, "nan");
    } else {
        snprintf(buffer, size, "%.*g", digits, value);
    }
}

vit_status vit_run_folder_log(vit_run_folder *run, const vit_epoch_row *row) {
    const double values[] = {row->lr,   row->train_loss,        row->val_loss,  row->top1,
                             row->top5, row->images_per_second, row->data_wait, row->seconds};
    enum { COUNT = sizeof values / sizeof *values };
    char line[64 + 32 * COUNT];
    int at = snprintf(line, sizeof line, "%d,%llu", row->epoch, (unsigned long long)row->step);
    for (size_t i = 0; i < COUNT; i++) {
        char number[32];
        format_number(number, sizeof number, 8, values[i]);
        at += snprintf(line + at, sizeof line - (size_t)at, ",%s", number);
    }
    snprintf(line + at, sizeof line - (size_t)at, ",%zu\n", row->skipped);
    return append_log(run, line);
}

const char *vit_run_folder_last(const vit_run_folder *run) {
    return run->written[FILE_LAST] ? run->paths[FILE_LAST] : NULL;
}
