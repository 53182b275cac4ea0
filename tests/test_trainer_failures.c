/* Runs that fail: what is refused before anything is written, and what is left of those that fail
 * later. */
#include "support/files.h"
#include "support/pictures.h"
#include "support/runs.h"
#include "support/support.h"

#include "train/trainer.h"
#include "vit/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SIDE = 16 };

/* ---- runs that cannot begin ---- */

/* Fails with the status, names `part`, and leaves no RUN folder. */
static void check_refused(const vit_train_settings *settings, const char *from, vit_status expected,
                          const char *part) {
    char out[1024];
    run_watch s = {0};
    temp_path(out, run_base, "runs/refused");
    vit_status status = run_train(settings, NULL, from, out, &s, NULL);
    ck_assert_msg(status == expected, "status %d, expected %d: %s", status, expected,
                  vit_last_error());
    check_message(part);
    ck_assert_msg(!file_exists(out), "%s is left after: %s", out, vit_last_error());
    ck_assert_int_eq(s.started, 0);
}

START_TEST(bad_data) {
    char folder[1024], path[1024];
    vit_train_settings settings = wide_run_settings();
    check_refused(&settings, temp_path(folder, run_base, "nowhere"), VIT_ERROR_IO, folder);

    make_folders(temp_path(folder, run_base, "empty"));
    check_refused(&settings, folder, VIT_ERROR_IO, folder);
    make_folders(temp_path(path, folder, "train"));
    check_refused(&settings, folder, VIT_ERROR_FORMAT, path);
    make_folders(temp_path(path, folder, "train/ant"));
    check_refused(&settings, folder, VIT_ERROR_FORMAT, path);

    make_pictures(temp_path(folder, run_base, "oneclass"), "train", small_run_classes, 1, 3, 18, 18,
                  5);
    check_refused(&settings, folder, VIT_ERROR_ARGUMENT, "one class only, ant");

    make_pictures(temp_path(folder, run_base, "emptyclass"), "train", small_run_classes, 3, 3, 18,
                  18, 5);
    make_folders(temp_path(path, folder, "train/dog"));
    check_refused(&settings, folder, VIT_ERROR_FORMAT, "dog");

    make_pictures(temp_path(folder, run_base, "newclass"), "train", small_run_classes, 2, 3, 18, 18,
                  5);
    make_pictures(folder, "val", small_run_classes, 3, 3, 18, 18, 5);
    check_refused(&settings, folder, VIT_ERROR_FORMAT, "val/cat");
}
END_TEST

START_TEST(bad_settings) {
    static const char *const parts[] = {
        "epochs",    "batch-size",    "slots 6", "slots 32", "lr",    "smoothing", "opt-betas",
        "--warmup-", "--recipe nosu", "scale",   "img-size", "patch", "num-heads"};
    enum { CASES = sizeof parts / sizeof *parts };
    vit_train_settings bad[CASES];
    for (int i = 0; i < CASES; i++) {
        bad[i] = wide_run_settings();
    }
    bad[0].recipe.epochs = 0;
    bad[1].recipe.batch_size = -4;
    bad[2].recipe.slots = 6;
    bad[3].recipe.slots = 32; /* over the batch */
    bad[4].recipe.lr = NAN;
    bad[5].recipe.smoothing = 1;
    bad[6].recipe.opt_betas[1] = 1;
    bad[7].recipe.warmup_epochs = 3;
    strcpy(bad[8].recipe.recipe, "nosuch");
    bad[9].augment.scale[0] = 2;
    bad[10].model.img_size[1] = 0;
    bad[11].model.patch_size = 17;
    bad[12].model.num_heads = 5;
    for (int i = 0; i < CASES; i++) {
        check_refused(&bad[i], run_data, VIT_ERROR_ARGUMENT, parts[i]);
    }
}
END_TEST

START_TEST(run_folder_that_cannot_be) {
    char out[1024], path[1024];
    vit_train_settings settings = wide_run_settings();
    run_watch s = {0};
    /* Root ignores modes; a file in the way stops anybody. */
    write_text(temp_path(path, run_base, "file"), "mine");
    ck_vit_fails(run_train(&settings, NULL, run_data, path, &s, NULL), VIT_ERROR_IO, path);
    ck_vit_fails(run_train(&settings, NULL, run_data, temp_path(out, path, "run"), &s, NULL),
                 VIT_ERROR_IO, path);
    ck_assert_int_eq(run_train(&settings, NULL, run_data, "", &s, NULL), VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(s.started, 0);
    vit_bytes text = read_file(run_base, "file");
    ck_assert_str_eq((char *)text.data, "mine");
    vit_bytes_free(&text);
}
END_TEST

START_TEST(run_folder_that_holds_a_run) {
    char out[1024], path[1024];
    vit_train_settings settings = wide_run_settings();
    run_watch s = {0};
    const char *const names[] = {"args.json", "last.safetensors", "log.csv"};
    for (int i = 0; i < 3; i++) {
        make_folders(temp_path(out, run_base, "runs/held%d", i));
        write_text(temp_path(path, out, "%s", names[i]), "dear");
        ck_vit_fails(run_train(&settings, NULL, run_data, out, &s, NULL), VIT_ERROR_ARGUMENT, path);
        check_message("--out");
        ck_assert_uint_eq(count_entries(out), 1);
        vit_bytes text = read_file(out, names[i]);
        ck_assert_str_eq((char *)text.data, "dear");
        vit_bytes_free(&text);
    }
}
END_TEST

/* ---- runs that break off ---- */

START_TEST(broken_picture) {
    char folder[1024], path[1024];
    make_pictures(temp_path(folder, run_base, "broken"), "train", small_run_classes, 3, 4, 18, 18,
                  5);
    write_text(temp_path(path, folder, "train/bee/001.png"), "no picture");
    vit_train_settings settings = wide_run_settings();
    settings.recipe.batch_size = 12;
    char out[1024];
    run_watch s = {0};
    ck_vit_fails(
        run_train(&settings, NULL, folder, temp_path(out, run_base, "runs/broken"), &s, NULL),
        VIT_ERROR_FORMAT, path);
    ck_assert(!file_exists(out));
}
END_TEST

/* A folder that was there before, with somebody's notes in it, is given back as it was. */
START_TEST(loss_that_is_not_finite) {
    char out[1024], path[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.lr = 1e30;
    settings.recipe.warmup_epochs = 0;
    run_watch s = {0};
    make_folders(temp_path(out, run_base, "runs/nan"));
    write_text(temp_path(path, out, "notes.txt"), "mine");
    ck_vit_fails(run_train(&settings, NULL, run_data, out, &s, NULL), VIT_ERROR_NUMERIC,
                 "epoch 1, step 2 of 3");
    check_message("none yet");
    check_message(run_data);
    ck_assert_uint_eq(count_entries(out), 1);
    ck_assert(file_exists(path));
}
END_TEST

START_TEST(last_good_checkpoint_is_named) {
    char out[1024], path[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.batch_size = 60; /* one step an epoch; the second explodes, the third sees it */
    settings.recipe.lr = 1e30;
    settings.recipe.warmup_lr = 1e-3;
    settings.recipe.warmup_epochs = 2;
    run_watch s = {0};
    ck_vit_fails(
        run_train(&settings, NULL, run_data, temp_path(out, run_base, "runs/late"), &s, NULL),
        VIT_ERROR_NUMERIC, "epoch 3, step 1 of 1");
    check_message(temp_path(path, out, "last.safetensors"));
    check_run_loads(path);
    check_run_loads(out);
    ck_assert_int_eq(s.epochs, 2);
}
END_TEST

START_TEST(full_disk_at_once) {
    char out[1024];
    vit_train_settings settings = wide_run_settings();
    run_watch s = {0};
    limit_files(32 << 10);
    ck_vit_fails(
        run_train(&settings, NULL, run_data, temp_path(out, run_base, "runs/full"), &s, NULL),
        VIT_ERROR_IO, "last.safetensors");
    ck_assert(!file_exists(out));
    limit_files(100); /* not even args.json */
    ck_vit_fails(run_train(&settings, NULL, run_data, out, &s, NULL), VIT_ERROR_IO, "args.json");
    ck_assert(!file_exists(out));
}
END_TEST

START_TEST(full_disk_later) {
    char out[1024];
    vit_train_settings settings = wide_run_settings();
    run_watch s = {.limit = 32 << 10};
    ck_vit_fails(
        run_train(&settings, NULL, run_data, temp_path(out, run_base, "runs/later"), &s, NULL),
        VIT_ERROR_IO, "last.safetensors");
    ck_assert_int_eq(s.epochs, 1);
    ck_assert_uint_eq(count_entries(out), 6); /* and no temporary */
    check_run_loads(out);
    char path[1024];
    vit_safetensors *file;
    ck_vit_ok(safetensors_load(temp_path(path, out, "last.safetensors"), &file));
    ck_assert_str_eq(vit_safetensors_metadata(file, "epoch"), "1");
    vit_safetensors_close(file);
    vit_bytes text = read_file(out, "log.csv");
    ck_assert_ptr_nonnull(strstr((char *)text.data, "\n1,3,"));
    ck_assert_ptr_null(strstr((char *)text.data, "\n2,"));
    vit_bytes_free(&text);
}
END_TEST

/* ---- pictures that cannot be read ---- */

/* Three classes of `count` pictures each, of which the first `broken` of class 0 are cut short. */
static const char *make_broken(char path[1024], const char *name, size_t count, size_t broken) {
    temp_path(path, run_base, "%s", name);
    make_pictures(path, "train", small_run_classes, 3, count, SIDE, SIDE, 5);
    for (size_t i = 0; i < broken; i++) {
        char file[1100];
        snprintf(file, sizeof file, "%s/train/%s/%03zu.png", path, small_run_classes[0], i);
        ck_assert_int_eq(truncate(file, 60), 0);
    }
    return path;
}

START_TEST(broken_pictures_are_left_out) {
    char from[1024], out[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 2;
    settings.recipe.batch_size = 6;
    settings.data.on_error = VIT_ON_ERROR_SKIP;
    run_watch s = {0};
    make_broken(from, "broken", 4, 3);
    ck_vit_ok(run_train(&settings, NULL, from, temp_path(out, run_base, "runs/broken"), &s, NULL));
    ck_assert_uint_eq(s.row.skipped, 3);
    ck_assert_int_eq(s.warnings, 1 + 2); /* no val; each epoch */
    ck_assert(isfinite(s.row.train_loss) && s.row.train_loss > 0);
    vit_bytes log = read_file(out, "log.csv");
    ck_assert_ptr_nonnull(strstr((char *)log.data, ",3\n"));
    vit_bytes_free(&log);
    settings.data.on_error = VIT_ON_ERROR_FAIL;
    ck_vit_fails(run_train(&settings, NULL, from, temp_path(out, run_base, "runs/fails"), &s, NULL),
                 VIT_ERROR_FORMAT, "cut short");
    ck_assert(!file_exists(out));
}
END_TEST

/* What is left out leaves no trace: the same weights as without the file, batch for batch. */
START_TEST(steps_are_the_mean_of_what_remains) {
    char from[1024], whole[1024], a[1024], b[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.batch_size = 12;
    settings.recipe.slots = 1;
    settings.augment.no_aug = true;
    settings.data.on_error = VIT_ON_ERROR_SKIP;
    run_watch s = {0}, t = {0};
    make_broken(from, "hole", 4, 1);
    temp_path(whole, run_base, "whole");
    make_pictures(whole, "train", small_run_classes, 3, 4, SIDE, SIDE, 5);
    char file[1100];
    snprintf(file, sizeof file, "%s/train/%s/000.png", whole, small_run_classes[0]);
    ck_assert_int_eq(unlink(file), 0);
    ck_vit_ok(run_train(&settings, NULL, from, temp_path(a, run_base, "runs/hole"), &s, NULL));
    settings.recipe.batch_size = 11;
    ck_vit_ok(run_train(&settings, NULL, whole, temp_path(b, run_base, "runs/whole"), &t, NULL));
    /* The mean of the same eleven losses; their order differs. */
    ck_assert_double_le(fabs(s.row.train_loss - t.row.train_loss), 1e-6 * t.row.train_loss);
}
END_TEST

START_TEST(an_epoch_of_broken_pictures_is_an_error) {
    char from[1024], out[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.batch_size = 2;
    settings.data.on_error = VIT_ON_ERROR_SKIP;
    run_watch s = {0};
    temp_path(from, run_base, "allbroken");
    make_pictures(from, "train", small_run_classes, 2, 2, SIDE, SIDE, 5);
    for (int i = 0; i < 4; i++) {
        char file[1100];
        snprintf(file, sizeof file, "%s/train/%s/%03d.png", from, small_run_classes[i / 2], i % 2);
        ck_assert_int_eq(truncate(file, 60), 0);
    }
    ck_vit_fails(run_train(&settings, NULL, from, temp_path(out, run_base, "runs/none"), &s, NULL),
                 VIT_ERROR_FORMAT, "epoch 1: no picture could be read; the first: ");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("trainer_failures");
    TCase *runs = tcase_create("runs");
    tcase_set_timeout(runs, 120);
    tcase_add_unchecked_fixture(runs, run_base_make, run_base_remove);
    tcase_add_test(runs, bad_data);
    tcase_add_test(runs, bad_settings);
    tcase_add_test(runs, run_folder_that_cannot_be);
    tcase_add_test(runs, run_folder_that_holds_a_run);
    tcase_add_test(runs, broken_picture);
    tcase_add_test(runs, loss_that_is_not_finite);
    tcase_add_test(runs, last_good_checkpoint_is_named);
    tcase_add_test(runs, full_disk_at_once);
    tcase_add_test(runs, full_disk_later);
    tcase_add_test(runs, broken_pictures_are_left_out);
    tcase_add_test(runs, steps_are_the_mean_of_what_remains);
    tcase_add_test(runs, an_epoch_of_broken_pictures_is_an_error);
    suite_add_tcase(s, runs);
    return s;
}

int main(void) {
    return test_run(suite());
}
