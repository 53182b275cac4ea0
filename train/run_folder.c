#include "train/run_folder.h"

#include "vit/file.h"
#include "vit/heap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* In the order they are looked for and removed. */
enum { FILE_ARGS, FILE_CLASSES, FILE_LOG, FILE_LAST, FILE_BEST, FILE_STATE, FILE_COUNT };
static const char *const file_names[FILE_COUNT] = {
    "args.json",        "classes.txt",      "log.csv",
    "last.safetensors", "best.safetensors", "last.state.safetensors",
};
static const char lock_name[] = "lock";
/* What a report leaves beside them (tools/run_report.c); here only for what a kill leaves of it. */
static const char *const report_names[] = {
    "report.html",          "machine.json",         "eval.json",       "per_class.csv",
    "confusion_matrix.csv", "predictions.csv",      "curves.png",      "curves.svg",
    "confusion_matrix.png", "confusion_matrix.svg", "calibration.png", "calibration.svg",
};
enum { REPORT_NAMES = sizeof report_names / sizeof *report_names };
#define MAX_ARGS_BYTES ((size_t)16 << 20)
static const char log_head[] =
    "epoch,step,lr,train_loss,val_loss,top1,top5,images_per_second,data_wait,seconds,skipped\n";

struct vit_run_folder {
    char folder[PATH_MAX];
    char paths[FILE_COUNT][PATH_MAX];
    char lock_path[PATH_MAX];
    int lock;  /* descriptor, or -1 */
    bool made; /* the folder was not there before */
    bool kept; /* there was a run in it before */
    bool written[FILE_COUNT];
    char *args; /* the text of args.json */
    char *log;  /* the whole of log.csv: rewritten with each row, so that it is never half a row */
    size_t log_size;
};

/* ---- opening ---- */

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
    return vit_path_join(run->lock_path, sizeof run->lock_path, out, lock_name);
}

static vit_status make_folder(vit_run_folder *run, bool resume) {
    vit_path_kind kind;
    vit_status status = vit_path_look(run->folder, &kind);
    if (status != VIT_OK) {
        return status;
    }
    run->made = kind == VIT_PATH_NONE;
    if (!run->made && kind != VIT_PATH_FOLDER) {
        return vit_fail(VIT_ERROR_IO, "%s: not a folder (expected one, or a free name)",
                        run->folder);
    }
    if (resume) {
        return run->made ? vit_fail(VIT_ERROR_IO, "--resume %s: no such folder", run->folder)
                         : VIT_OK;
    }
    return vit_folder_make(run->folder);
}

/* Whoever holds the file locked is the trainer. It is removed at the end, so after the lock was
 * had, the name may belong to another file, or to none: then once more. A file system without locks
 * cannot tell of a second trainer, and is no reason not to train. */
static vit_status take_lock(vit_run_folder *run) {
    struct stat ours, there;
    for (int attempt = 0; attempt < 100; attempt++) {
        run->lock = open(run->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (run->lock < 0) {
            return vit_fail(VIT_ERROR_IO, "%s: cannot create: %s", run->lock_path, strerror(errno));
        }
        if (flock(run->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
            close(run->lock);
            run->lock = -1;
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "%s: another trainer is at work in this folder (expected one at a "
                            "time)",
                            run->lock_path);
        }
        if (fstat(run->lock, &ours) == 0 && stat(run->lock_path, &there) == 0 &&
            ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) {
            return VIT_OK;
        }
        close(run->lock);
        run->lock = -1;
    }
    return vit_fail(VIT_ERROR_IO, "%s: cannot be locked", run->lock_path);
}

/* Removed while still locked. */
static void drop_lock(vit_run_folder *run) {
    if (run->lock >= 0) {
        unlink(run->lock_path);
        close(run->lock);
        run->lock = -1;
    }
}

/* args.json is what a run begins with. */
static vit_status look_for_run(vit_run_folder *run, bool resume) {
    struct stat info;
    for (int i = 0; i < FILE_COUNT; i++) {
        bool there = lstat(run->paths[i], &info) == 0;
        if (!there && errno != ENOENT) { /* not the same as no run, which would be overwritten */
            return vit_fail(VIT_ERROR_IO, "%s: cannot look at it: %s", run->paths[i],
                            strerror(errno));
        }
        if (there && !resume) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "%s: the folder already holds a run (expected another --out, or "
                            "--resume)",
                            run->paths[i]);
        }
        run->written[i] = there;
    }
    run->kept = run->written[FILE_ARGS] || run->written[FILE_STATE];
    if (resume && !run->kept) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--resume %s: the folder holds no run (expected %s)",
                        run->folder, file_names[FILE_ARGS]);
    }
    return VIT_OK;
}

/* Files half written when a trainer was killed, as vit_file_begin names them; no one else writes
 * here while we hold the lock. */
static void remove_temporaries(const vit_run_folder *run) {
    DIR *folder = opendir(run->folder);
    struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        for (int i = 0; i < FILE_COUNT + REPORT_NAMES; i++) {
            char pattern[64], path[PATH_MAX];
            snprintf(pattern, sizeof pattern, ".%s.tmp-??????",
                     i < FILE_COUNT ? file_names[i] : report_names[i - FILE_COUNT]);
            if (fnmatch(pattern, entry->d_name, 0) == 0 &&
                vit_path_join(path, sizeof path, run->folder, entry->d_name) == VIT_OK) {
                unlink(path);
            }
        }
    }
    if (folder) {
        closedir(folder);
    }
}

vit_status vit_run_folder_open(const char *out, bool resume, vit_run_folder **run,
                               vit_state **state) {
    *run = NULL;
    *state = NULL;
    vit_status status = VIT_OK;
    vit_run_folder *r = vit_calloc(1, sizeof *r);
    if (!r) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", out);
    }
    r->lock = -1;
    VIT_TRY(set_paths(r, out));
    VIT_TRY(make_folder(r, resume));
    VIT_TRY(take_lock(r));
    VIT_TRY(look_for_run(r, resume));
    remove_temporaries(r);
    if (r->written[FILE_STATE]) {
        VIT_TRY(vit_state_open(r->paths[FILE_STATE], state));
    }
    *run = r;
    r = NULL;
cleanup:
    vit_run_folder_free(r);
    return status;
}

vit_status vit_run_folder_args(const char *folder, vit_json **args) {
    char path[PATH_MAX];
    vit_path_kind kind;
    vit_state *state = NULL;
    vit_status status = VIT_OK;
    *args = NULL;
    VIT_TRY(vit_path_join(path, sizeof path, folder, file_names[FILE_STATE]));
    VIT_TRY(vit_path_look(path, &kind));
    if (kind != VIT_PATH_NONE) {
        VIT_TRY(vit_state_open(path, &state));
        *args = vit_json_copy(vit_state_args(state));
        if (!*args) {
            VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path));
        }
        goto cleanup;
    }
    VIT_TRY(vit_path_join(path, sizeof path, folder, file_names[FILE_ARGS]));
    VIT_TRY(vit_json_read(path, MAX_ARGS_BYTES, args));
cleanup:
    vit_state_close(state);
    return status;
}

/* ---- beginning ---- */

/* "sources": name -> default, model, recipe, config, user. */
static void add_sources(const vit_option_group *groups, size_t count, vit_json *root) {
    vit_json *object = vit_json_object();
    for (size_t g = 0; g < count; g++) {
        for (size_t i = 0; groups[g].sources && i < groups[g].count; i++) {
            char key[VIT_OPTION_KEY_MAX];
            vit_option_key(&groups[g].options[i], key);
            vit_json_add_string(object, key, vit_source_names[groups[g].sources[i]]);
        }
    }
    vit_json_add(root, "sources", object);
}

static vit_status write_args(vit_run_folder *run, const char *data,
                             const vit_train_settings *settings, const unsigned char *sources) {
    vit_train_settings copy = *settings;
    unsigned char *from = NULL;
    vit_option_group groups[VIT_SETTING_GROUPS];
    vit_status status = VIT_OK;
    vit_json *root = vit_json_object();
    if (sources) {
        from = vit_malloc(vit_train_setting_count());
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
    VIT_TRY(vit_json_print(root, true, &run->args));
    VIT_TRY(vit_file_replace(run->paths[FILE_ARGS], run->args, strlen(run->args)));
    run->written[FILE_ARGS] = true;
cleanup:
    vit_json_free(root);
    vit_free(from);
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

/* Adds to the log in memory; it is written when the state that has it is. */
static vit_status append_log(vit_run_folder *run, const char *text) {
    size_t length = strlen(text);
    char *log = vit_realloc(run->log, run->log_size + length + 1);
    if (!log) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", run->paths[FILE_LOG]);
    }
    run->log = log;
    memcpy(log + run->log_size, text, length + 1);
    run->log_size += length;
    return VIT_OK;
}

static vit_status write_log(vit_run_folder *run) {
    vit_status status = vit_file_replace(run->paths[FILE_LOG], run->log, run->log_size);
    run->written[FILE_LOG] |= status == VIT_OK;
    return status;
}

vit_status vit_run_folder_begin(vit_run_folder *run, const char *data,
                                const vit_train_settings *settings, const unsigned char *sources,
                                const char *const *class_names, size_t class_count,
                                const vit_state *state) {
    vit_status status = VIT_OK;
    VIT_TRY(write_args(run, data, settings, sources));
    VIT_TRY(write_classes(run, class_names, class_count));
    VIT_TRY(append_log(run, state ? vit_state_log(state) : log_head));
    VIT_TRY(write_log(run));
cleanup:
    return status;
}

void vit_run_folder_free(vit_run_folder *run) {
    if (!run) {
        return;
    }
    if (!run->kept && !run->written[FILE_LAST]) {
        for (int i = 0; i < FILE_COUNT; i++) {
            if (run->written[i]) {
                unlink(run->paths[i]);
            }
        }
        drop_lock(run);
        if (run->made) {
            rmdir(run->folder); /* only when empty */
        }
    }
    drop_lock(run);
    vit_free(run->args);
    vit_free(run->log);
    vit_free(run);
}

/* ---- checkpoints ---- */

static vit_status save_model(vit_run_folder *run, int file, const vit_model_bundle *bundle,
                             const float *params, const vit_position *position, double top1) {
    char numbers[3][32];
    snprintf(numbers[0], sizeof numbers[0], "%d", position->epochs_done);
    snprintf(numbers[1], sizeof numbers[1], "%llu", (unsigned long long)position->step);
    snprintf(numbers[2], sizeof numbers[2], "%.4f", top1);
    const vit_metadata extra[] = {
        {"epoch", numbers[0]}, {"step", numbers[1]}, {"val_top1", numbers[2]}};
    size_t count = isnan(top1) ? 2 : 3;
    vit_status status = vit_model_bundle_save(bundle, params, extra, count, run->paths[file]);
    run->written[file] |= status == VIT_OK;
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

static vit_status append_row(vit_run_folder *run, const vit_epoch_row *row) {
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

vit_status vit_run_folder_save(vit_run_folder *run, const vit_model_bundle *bundle,
                               const float *const blocks[VIT_STATE_BLOCKS],
                               const vit_position *position, const vit_epoch_row *row) {
    vit_status status = VIT_OK;
    const float *params = blocks[VIT_STATE_EMA] ? blocks[VIT_STATE_EMA] : blocks[VIT_STATE_MODEL];
    double top1 = row ? row->top1 : NAN;
    size_t log_size = run->log_size;
    if (row) {
        VIT_TRY(append_row(run, row));
    }
    VIT_TRY(save_model(run, FILE_LAST, bundle, params, position, top1));
    if (row && row->best) {
        VIT_TRY(save_model(run, FILE_BEST, bundle, params, position, top1));
    }
    VIT_TRY(vit_state_save(run->paths[FILE_STATE], &bundle->model.params, blocks, position,
                           run->args, run->log));
    run->written[FILE_STATE] = true;
    if (row) {
        VIT_TRY(write_log(run));
    }
cleanup:
    if (status != VIT_OK) { /* the row is not to be there twice */
        run->log_size = log_size;
    }
    return status;
}

const char *vit_run_folder_last(const vit_run_folder *run) {
    return run->written[FILE_LAST] ? run->paths[FILE_LAST] : NULL;
}
