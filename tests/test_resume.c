/* Runs that are killed, stopped and taken up again: the same bits as a run that nothing disturbed,
 * and what is refused. */
#include "support/files.h"
#include "support/pictures.h"
#include "support/runs.h"
#include "support/support.h"

#include "train/run_folder.h"
#include "train/trainer.h"
#include "vit/file.h"

#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { EPOCHS = 5, STEPS = 6 }; /* 60 pictures in batches of 10 */

/* All that is random switched on. */
static vit_train_settings settings_of_run(void) {
    vit_train_settings settings = small_run_settings();
    settings.recipe.epochs = EPOCHS;
    settings.recipe.drop_path = 0.2;
    settings.recipe.mixup = 0.8;
    settings.recipe.cutmix = 1;
    settings.recipe.repeated_aug = 2;
    settings.recipe.model_ema = true;
    settings.recipe.model_ema_decay = 0.9;
    settings.recipe.layer_decay = 0.8;
    strcpy(settings.recipe.save_every, "2s");
    return settings;
}

/* ---- a run in a child ---- */

typedef struct plan {
    vit_train_settings settings;
    const char *out;
    bool resume, override;
    int threads;
    int kill_at; /* steps that this child has seen; 0: never */
    int stop_at;
    int steps; /* seen */
    const char *data;
} plan;

static plan plan_for(const char *out, bool resume) {
    return (plan){.settings = settings_of_run(), .out = out, .resume = resume, .threads = 2};
}

static void on_progress(void *context, const vit_train_progress *progress) {
    plan *p = context;
    (void)progress;
    if (++p->steps == p->kill_at) {
        raise(SIGKILL);
    }
}

static bool on_should_stop(void *context) {
    const plan *p = context;
    return p->stop_at && p->steps >= p->stop_at;
}

static vit_status train(plan *p) {
    vit_train_callbacks callbacks = {
        .context = p, .progress = on_progress, .should_stop = on_should_stop};
    vit_train_request request = {.settings = &p->settings,
                                 .data = p->data ? p->data : run_data,
                                 .out = p->out,
                                 .resume = p->resume,
                                 .override = p->override};
    vit_train_result result;
    omp_set_num_threads(p->threads);
    return vit_train(&request, &callbacks, &result);
}

/* In a process of its own: one that used OpenMP cannot be forked. The status it ended with, or -1
 * when it was killed. */
static int train_apart(plan *p) {
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        vit_status status = train(p);
        if (status != VIT_OK && status != VIT_ERROR_STOPPED) {
            fprintf(stderr, "%s\n", vit_last_error());
        }
        _exit((int)status);
    }
    int ended;
    ck_assert_int_eq(waitpid(child, &ended, 0), child);
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : -1;
}

/* Weights, averages and moments; the metadata has times in it. */
static void check_same_state(const char *a, const char *b) {
    char paths[2][1024];
    vit_safetensors *files[2];
    ck_vit_ok(safetensors_load(temp_path(paths[0], a, "last.state.safetensors"), &files[0]));
    ck_vit_ok(safetensors_load(temp_path(paths[1], b, "last.state.safetensors"), &files[1]));
    ck_assert_uint_eq(vit_safetensors_count(files[0]), vit_safetensors_count(files[1]));
    for (size_t i = 0; i < vit_safetensors_count(files[0]); i++) {
        const vit_tensor *x = vit_safetensors_at(files[0], i);
        const vit_tensor *y = vit_safetensors_find(files[1], x->name);
        ck_assert_ptr_nonnull(y);
        ck_assert_uint_eq(x->count, y->count);
        ck_assert_msg(memcmp(x->data, y->data, x->count * sizeof(float)) == 0, "%s", x->name);
    }
    vit_safetensors_close(files[0]);
    vit_safetensors_close(files[1]);
}

/* The columns that do not hold times. */
static void check_same_log(const char *a, const char *b) {
    vit_bytes texts[2] = {read_file(a, "log.csv"), read_file(b, "log.csv")};
    char *rest[2] = {(char *)texts[0].data, (char *)texts[1].data};
    char *line[2];
    int rows = -1;
    while ((line[0] = strsep(&rest[0], "\n")) && (line[1] = strsep(&rest[1], "\n"))) {
        for (int i = 0; i < 2; i++) {
            char *end = line[i];
            for (int column = 0; column < 7 && *end; column++) {
                end += strcspn(end, ",");
                end += column < 6 && *end;
            }
            *end = 0;
        }
        ck_assert_str_eq(line[0], line[1]);
        rows += *line[0] != 0;
    }
    ck_assert_int_eq(rows, EPOCHS);
    vit_bytes_free(&texts[0]);
    vit_bytes_free(&texts[1]);
}

static void check_same_run(const char *a, const char *b) {
    check_same_in(a, b, "last.safetensors");
    check_same_in(a, b, "best.safetensors");
    check_same_in(a, b, "args.json");
    check_same_in(a, b, "classes.txt");
    check_same_state(a, b);
    check_same_log(a, b);
    ck_assert_uint_eq(count_entries(b), 6); /* no lock, nothing half written */
}

/* The run that nothing disturbs, once for a suite. */
static const char *undisturbed(void) {
    static char out[1024];
    struct stat info;
    temp_path(out, run_base, "runs/undisturbed");
    if (stat(out, &info) != 0) {
        plan p = plan_for(out, false);
        ck_assert_int_eq(train_apart(&p), VIT_OK);
    }
    return out;
}

/* ---- going on ---- */

START_TEST(killed_at_a_step) {
    char out[1024];
    const char *reference = undisturbed();
    uint64_t drawn = ((uint64_t)_i + 1) * 0x9E3779B97F4A7C15u >> 32;
    plan first = plan_for(temp_path(out, run_base, "runs/killed%d", _i), false);
    first.kill_at = _i == 0 ? 1 : 1 + (int)(drawn % (EPOCHS * STEPS));
    ck_assert_int_eq(train_apart(&first), -1);
    plan second = plan_for(out, true);
    second.threads = 1 + _i % 3;
    second.kill_at = _i % 4 == 3 ? 2 : 0; /* and once more */
    int ended = train_apart(&second);
    if (second.kill_at && ended == -1) {
        plan third = plan_for(out, true);
        ended = train_apart(&third);
    }
    ck_assert_int_eq(ended, VIT_OK);
    check_same_run(reference, out);
}
END_TEST

START_TEST(threads_do_not_show) {
    char out[1024];
    const char *reference = undisturbed();
    const int threads[] = {1, 3, 5};
    for (int i = 0; i < 3; i++) {
        plan p = plan_for(temp_path(out, run_base, "runs/threads%d", threads[i]), false);
        p.threads = threads[i];
        ck_assert_int_eq(train_apart(&p), VIT_OK);
        check_same_run(reference, out);
    }
}
END_TEST

START_TEST(stopped_and_resumed) {
    char out[1024], path[1024];
    const char *reference = undisturbed();
    plan p = plan_for(temp_path(out, run_base, "runs/stopped"), false);
    p.stop_at = 9; /* in the second epoch, and not where --save-every saves */
    ck_assert_int_eq(train_apart(&p), VIT_ERROR_STOPPED);
    write_text(temp_path(path, out, ".last.safetensors.tmp-a1b2c3"), "half");
    plan again = plan_for(out, true);
    ck_assert_int_eq(train_apart(&again), VIT_OK);
    check_same_run(reference, out);
}
END_TEST

/* Killed between the model and the state: what lies beside the state does not matter. */
START_TEST(only_the_state_counts) {
    char out[1024], path[1024];
    const char *reference = undisturbed();
    plan p = plan_for(temp_path(out, run_base, "runs/state"), false);
    p.stop_at = 14;
    ck_assert_int_eq(train_apart(&p), VIT_ERROR_STOPPED);
    const char *const names[] = {"last.safetensors", "best.safetensors", "log.csv", "args.json"};
    for (int i = 0; i < 4; i++) {
        write_text(temp_path(path, out, "%s", names[i]), "newer or older");
    }
    plan again = plan_for(out, true);
    ck_assert_int_eq(train_apart(&again), VIT_OK);
    /* The best epoch came before: that file alone was not made anew. */
    temp_path(path, out, "best.safetensors");
    vit_bytes best = read_file(reference, "best.safetensors");
    ck_vit_ok(vit_file_replace(path, best.data, best.size));
    vit_bytes_free(&best);
    check_same_run(reference, out);
}
END_TEST

START_TEST(a_finished_run_stays) {
    char out[1024], path[1024];
    plan p = plan_for(temp_path(out, run_base, "runs/finished"), false);
    ck_assert_int_eq(train_apart(&p), VIT_OK);
    struct stat before, after;
    ck_assert_int_eq(stat(temp_path(path, out, "last.safetensors"), &before), 0);
    plan again = plan_for(out, true);
    again.kill_at = 1;
    ck_assert_int_eq(train_apart(&again), VIT_OK);
    ck_assert_int_eq(stat(path, &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    check_same_run(undisturbed(), out);
}
END_TEST

START_TEST(begins_again_without_a_checkpoint) {
    char out[1024], path[1024];
    const char *reference = undisturbed();
    vit_bytes args = read_file(reference, "args.json");
    make_folders(temp_path(out, run_base, "runs/early"));
    ck_vit_ok(vit_file_replace(temp_path(path, out, "args.json"), args.data, args.size));
    vit_bytes_free(&args);
    plan p = plan_for(out, true);
    ck_assert_int_eq(train_apart(&p), VIT_OK);
    check_same_run(reference, out);
}
END_TEST

/* ---- refusing ---- */

static void stopped_run(char out[1024], const char *name) {
    plan p = plan_for(temp_path(out, run_base, "runs/%s", name), false);
    p.stop_at = 4;
    ck_assert_int_eq(train_apart(&p), VIT_ERROR_STOPPED);
}

START_TEST(other_settings) {
    char out[1024];
    stopped_run(out, "settings");
    const char *const parts[] = {"--lr: 0.5, but the run began with 0.003",
                                 "--epochs: 9",
                                 "--batch-size: 5",
                                 "--mixup: 0",
                                 "--hflip: 0.125",
                                 "--seed: 1"};
    for (int i = 0; i < 6; i++) {
        plan p = plan_for(out, true);
        p.settings.recipe.lr = i == 0 ? 0.5 : p.settings.recipe.lr;
        p.settings.recipe.epochs = i == 1 ? 9 : EPOCHS;
        p.settings.recipe.batch_size = i == 2 ? 5 : 10;
        p.settings.recipe.mixup = i == 3 ? 0 : p.settings.recipe.mixup;
        p.settings.augment.hflip = i == 4 ? 0.125 : p.settings.augment.hflip;
        p.settings.recipe.seed = i == 5 ? 1 : p.settings.recipe.seed;
        ck_vit_fails(train(&p), VIT_ERROR_ARGUMENT, parts[i]);
        check_message("--override");
        ck_assert_int_eq(p.steps, 0);
    }
    plan p = plan_for(out, true); /* does not change what steps compute */
    strcpy(p.settings.recipe.save_every, "7m");
    p.stop_at = 1;
    ck_assert_int_eq(train(&p), VIT_ERROR_STOPPED);
    p = plan_for(out, true);
    p.override = true;
    p.settings.recipe.lr = 1e-3;
    p.settings.recipe.batch_size = 20; /* at five of six: at two of three */
    ck_vit_ok(train(&p));
    ck_assert_int_eq(p.steps, 3 * EPOCHS - 2);
    p = plan_for(out, true); /* and these are the run's own now */
    ck_vit_fails(train(&p), VIT_ERROR_ARGUMENT, "--batch-size: 10, but the run began with 20");
}
END_TEST

START_TEST(other_data) {
    char out[1024], moved[1024], other[1024];
    stopped_run(moved, "moved");
    stopped_run(out, "data");
    make_pictures(temp_path(other, run_base, "other"), "train", small_run_classes, 3, 21, 20, 18,
                  1);
    plan p = plan_for(out, true);
    p.data = other;
    ck_vit_fails(train(&p), VIT_ERROR_ARGUMENT, "DATA");
    p.override = true;
    p.stop_at = 1;
    ck_assert_int_eq(train(&p), VIT_ERROR_STOPPED);
    /* The same pictures elsewhere are the same. */
    temp_path(other, run_base, "moved");
    ck_assert_int_eq(symlink(run_data, other), 0);
    p = plan_for(moved, true);
    p.data = other;
    ck_vit_ok(train(&p));
}
END_TEST

START_TEST(other_model) {
    char out[1024];
    stopped_run(out, "model");
    plan p = plan_for(out, true);
    p.override = true;
    p.settings.model.embed_dim = 32;
    ck_vit_fails(train(&p), VIT_ERROR_FORMAT, "last.state.safetensors: tensor model.");
}
END_TEST

START_TEST(second_trainer) {
    char out[1024], path[1024];
    stopped_run(out, "lock");
    vit_run_folder *folder;
    vit_state *state;
    ck_vit_ok(vit_run_folder_open(out, true, &folder, &state));
    plan p = plan_for(out, true);
    ck_vit_fails(train(&p), VIT_ERROR_ARGUMENT, "another trainer");
    check_message(temp_path(path, out, "lock"));
    vit_state_close(state);
    vit_run_folder_free(folder);
    ck_vit_ok(train(&p));
    /* A folder that a new run has only just made is locked too, and stays when the other gives up.
     */
    temp_path(out, run_base, "runs/lock2");
    ck_vit_ok(vit_run_folder_open(out, false, &folder, &state));
    p = plan_for(out, false);
    ck_vit_fails(train(&p), VIT_ERROR_ARGUMENT, "another trainer");
    struct stat info;
    ck_assert_int_eq(stat(temp_path(path, out, "lock"), &info), 0);
    vit_run_folder_free(folder);
    ck_assert_int_ne(stat(out, &info), 0);
}
END_TEST

START_TEST(nothing_to_resume) {
    char out[1024];
    plan p = plan_for(temp_path(out, run_base, "runs/none"), true);
    ck_vit_fails(train(&p), VIT_ERROR_IO, "--resume");
    make_folders(out);
    ck_vit_fails(train(&p), VIT_ERROR_ARGUMENT, "no run");
    ck_assert_uint_eq(count_entries(out), 0);
}
END_TEST

START_TEST(damaged_state) {
    char out[1024], path[1024];
    stopped_run(out, "damaged");
    vit_bytes whole = read_file(out, "last.state.safetensors");
    size_t entries = count_entries(out);
    temp_path(path, out, "last.state.safetensors");
    for (size_t size = 0; size < whole.size; size += whole.size / 17) {
        ck_vit_ok(vit_file_replace(path, whole.data, size));
        plan p = plan_for(out, true);
        ck_assert_int_ne(train(&p), VIT_OK);
        check_message(path);
        ck_assert_uint_eq(count_entries(out), entries); /* nothing is lost by the attempt */
    }
    ck_vit_ok(vit_file_replace(path, whole.data, whole.size));
    vit_bytes_free(&whole);
    plan p = plan_for(out, true);
    ck_vit_ok(train(&p));
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("resume");
    TCase *good = tcase_create("going on"), *bad = tcase_create("refusing");
    tcase_set_timeout(good, 120);
    tcase_set_timeout(bad, 120);
    tcase_add_unchecked_fixture(good, run_base_make, run_base_remove);
    tcase_add_unchecked_fixture(bad, run_base_make, run_base_remove);
    tcase_add_loop_test(good, killed_at_a_step, 0, 10);
    tcase_add_test(good, threads_do_not_show);
    tcase_add_test(good, stopped_and_resumed);
    tcase_add_test(good, only_the_state_counts);
    tcase_add_test(good, a_finished_run_stays);
    tcase_add_test(good, begins_again_without_a_checkpoint);
    tcase_add_test(bad, other_settings);
    tcase_add_test(bad, other_data);
    tcase_add_test(bad, other_model);
    tcase_add_test(bad, second_trainer);
    tcase_add_test(bad, nothing_to_resume);
    tcase_add_test(bad, damaged_state);
    suite_add_tcase(s, good);
    suite_add_tcase(s, bad);
    return s;
}

int main(void) {
    return test_run(suite());
}
