/* Whole runs on made-up pictures: what they leave behind and what they learn. */
#include "support/files.h"
#include "support/pictures.h"
#include "support/runs.h"
#include "support/support.h"

#include "train/trainer.h"
#include "vit/file.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 16 };

START_TEST(what_a_run_leaves) {
    char out[1024], path[1024];
    vit_train_settings settings = wide_run_settings();
    run_watch s = {0};
    vit_train_result result;
    temp_path(out, run_base, "runs/first");
    ck_vit_ok(run_train(&settings, NULL, run_data, out, &s, &result));
    ck_assert_uint_eq(count_entries(out), 6);
    check_run_loads(out);
    check_run_loads(temp_path(path, out, "last.safetensors"));
    check_run_loads(temp_path(path, out, "best.safetensors"));
    vit_bytes text = read_file(out, "classes.txt");
    ck_assert_str_eq((char *)text.data, "ant\nbee\ncat\n");
    vit_bytes_free(&text);
    ck_assert_int_eq(s.started, 1);
    ck_assert_int_eq(s.progress, 9);
    ck_assert_int_eq(s.epochs, 3);
    ck_assert_int_ge(s.evaluating, 3);
    ck_assert_int_eq(s.warnings, 0);
    ck_assert_int_eq(s.last.epoch, 3);
    ck_assert_int_eq(s.last.epochs, 3);
    ck_assert_uint_eq(s.last.step, 3);
    ck_assert_uint_eq(s.last.steps, 3);
    ck_assert_uint_eq(s.row.step, 9);
    ck_assert_double_eq(s.row.top1, result.last_top1);
    ck_assert_double_ge(result.best_top1, result.last_top1);
    ck_assert(result.best_epoch >= 1 && result.best_epoch <= 3);
    ck_assert(s.row.data_wait >= 0 && s.row.data_wait <= 1);
}
END_TEST

START_TEST(log_has_a_row_an_epoch) {
    char out[1024];
    vit_train_settings settings = wide_run_settings();
    run_watch s = {0};
    ck_vit_ok(run_train(&settings, NULL, run_data, temp_path(out, run_base, "runs/log"), &s, NULL));
    vit_bytes text = read_file(out, "log.csv");
    char *line = strtok((char *)text.data, "\n");
    ck_assert_str_eq(
        line,
        "epoch,step,lr,train_loss,val_loss,top1,top5,images_per_second,data_wait,seconds,skipped");
    for (int epoch = 1; epoch <= 3; epoch++) {
        double v[11];
        line = strtok(NULL, "\n");
        ck_assert_ptr_nonnull(line);
        ck_assert_int_eq(sscanf(line, "%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf,%lf", v, v + 1,
                                v + 2, v + 3, v + 4, v + 5, v + 6, v + 7, v + 8, v + 9, v + 10),
                         11);
        ck_assert_double_eq(v[0], epoch);
        ck_assert_double_eq(v[1], 3 * epoch);
        ck_assert(v[3] > 0 && v[4] > 0 && v[5] >= 0 && v[6] == 100 && v[7] > 0 && v[9] > 0 &&
                  v[10] == 0);
        if (epoch == 3) { /* step 8 of 9, 3 of them warm-up */
            double cosine = 1e-5 + 0.5 * (3e-3 - 1e-5) * (1 + cos(M_PI * 8 / 9));
            ck_assert_double_le(fabs(v[2] - cosine), 1e-7 * cosine);
            ck_assert_double_le(fabs(v[5] - s.row.top1), 1e-5);
        }
    }
    ck_assert_ptr_null(strtok(NULL, "\n"));
    vit_bytes_free(&text);
}
END_TEST

START_TEST(args_read_back) {
    char out[1024];
    unsigned char *sources = calloc(vit_train_setting_count(), 1);
    ck_assert_ptr_nonnull(sources);
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.drop_path = 0.125;
    settings.augment.hflip = 0.25;
    sources[0] = VIT_FROM_USER;
    run_watch s = {0};
    ck_vit_ok(
        run_train(&settings, sources, run_data, temp_path(out, run_base, "runs/args"), &s, NULL));
    vit_bytes text = read_file(out, "args.json");
    vit_json *root;
    ck_vit_ok(vit_json_parse((char *)text.data, text.size, "args.json", &root));
    vit_train_settings read = wide_run_settings();
    memset(&read.recipe, 0, sizeof read.recipe);
    memset(&read.augment, 0, sizeof read.augment);
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&read, NULL, groups);
    for (size_t g = 0; g < count; g++) {
        ck_vit_ok(vit_options_from_json(&groups[g], root, "args.json", VIT_FROM_CONFIG));
    }
    ck_assert(memcmp(&read.recipe, &settings.recipe, sizeof read.recipe) == 0);
    ck_assert_double_eq(read.augment.hflip, 0.25);
    ck_assert_int_eq(read.model.num_classes, 3);
    const vit_json *from = vit_json_get(root, "sources");
    ck_assert_uint_eq(vit_json_count(from), vit_train_setting_count());
    ck_assert_str_eq(vit_json_string(vit_json_get(from, "img_size"), ""), "user");
    ck_assert_str_eq(vit_json_string(vit_json_get(from, "batch_size"), ""), "default");
    ck_assert_str_eq(vit_json_string(vit_json_get(root, "data"), ""), run_data);
    vit_json_free(root);
    vit_bytes_free(&text);
    free(sources);
}
END_TEST

/* Thirty steps with all that is random switched on, of pictures mixed across slots too. */
START_TEST(threads_do_not_show) {
    char out[3][1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 10;
    settings.recipe.drop_path = 0.2;
    settings.recipe.slots = 8;
    settings.recipe.mixup = 0.8;
    settings.recipe.cutmix = 1;
    settings.recipe.repeated_aug = 3;
    double loss[3], top1[3];
    for (int i = 0; i < 3; i++) {
        run_watch s = {0};
        omp_set_num_threads(i + 1);
        ck_vit_ok(run_train(&settings, NULL, run_data,
                            temp_path(out[i], run_base, "runs/threads%d", i + 1), &s, NULL));
        loss[i] = s.row.val_loss;
        top1[i] = s.row.top1;
        ck_assert_uint_eq(s.row.step, 30);
    }
    for (int i = 1; i < 3; i++) {
        check_same_in(out[0], out[i], "last.safetensors");
        check_same_in(out[0], out[i], "best.safetensors");
        ck_assert_double_eq(loss[0], loss[i]);
        ck_assert_double_eq(top1[0], top1[i]);
    }
}
END_TEST

START_TEST(seed_shows) {
    char a[1024], b[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    run_watch s = {0};
    ck_vit_ok(
        run_train(&settings, NULL, run_data, temp_path(a, run_base, "runs/seed42"), &s, NULL));
    double loss = s.row.train_loss;
    settings.recipe.seed = 43;
    ck_vit_ok(
        run_train(&settings, NULL, run_data, temp_path(b, run_base, "runs/seed43"), &s, NULL));
    ck_assert_double_ne(loss, s.row.train_loss);
}
END_TEST

/* Sixteen pictures by heart: if anything between the pixels and the weights is wrong, this stays
 * above. */
START_TEST(learns_by_heart) {
    char few[1024], out[1024];
    make_pictures(temp_path(few, run_base, "few"), "train", small_run_classes, 2, 8, SIDE, SIDE,
                  77);
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 120;
    settings.recipe.warmup_epochs = 5;
    settings.recipe.batch_size = 16;
    settings.recipe.smoothing = 0;
    settings.recipe.weight_decay = 0;
    settings.augment.no_aug = true;
    run_watch s = {0};
    ck_vit_ok(run_train(&settings, NULL, few, temp_path(out, run_base, "runs/heart"), &s, NULL));
    ck_assert_msg(s.row.train_loss < 0.01, "loss %g after %d epochs", s.row.train_loss, s.epochs);
    ck_assert_int_eq(s.warnings, 1); /* no val */
}
END_TEST

START_TEST(learns_what_it_was_not_shown) {
    char out[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 25;
    settings.recipe.batch_size = 12;
    settings.augment.scale[0] = 0.5;
    run_watch s = {0};
    vit_train_result result;
    ck_vit_ok(
        run_train(&settings, NULL, run_data, temp_path(out, run_base, "runs/learns"), &s, &result));
    ck_assert_msg(result.best_top1 > 90, "top-1 %g %%", result.best_top1);
}
END_TEST

START_TEST(best_is_last_without_val) {
    char only_train[1024], out[1024];
    make_pictures(temp_path(only_train, run_base, "noval"), "train", small_run_classes, 3, 4, 18,
                  18, 5);
    vit_train_settings settings = wide_run_settings();
    settings.recipe.batch_size = 5; /* 12 pictures: two steps, two pictures left out */
    run_watch s = {0};
    vit_train_result result;
    ck_vit_ok(run_train(&settings, NULL, only_train, temp_path(out, run_base, "runs/noval"), &s,
                        &result));
    ck_assert_int_eq(s.warnings, 1);
    ck_assert_uint_eq(s.last.steps, 2);
    ck_assert_double_nan(s.row.top1);
    ck_assert_double_nan(result.best_top1);
    ck_assert_int_eq(result.best_epoch, 3);
    vit_bytes text = read_file(out, "log.csv"), last = read_file(out, "last.safetensors"),
              best = read_file(out, "best.safetensors");
    ck_assert_ptr_nonnull(strstr((char *)text.data, ",nan,nan,nan,"));
    ck_assert(last.size == best.size && memcmp(last.data, best.data, last.size) == 0);
    vit_bytes_free(&text);
    vit_bytes_free(&last);
    vit_bytes_free(&best);
}
END_TEST

START_TEST(batch_larger_than_the_data) {
    char out[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.batch_size = 64;
    run_watch s = {0};
    ck_vit_ok(
        run_train(&settings, NULL, run_data, temp_path(out, run_base, "runs/batch"), &s, NULL));
    ck_assert_int_eq(s.warnings, 1);
    ck_assert_ptr_nonnull(strstr(s.warning, "64"));
    ck_assert_ptr_nonnull(strstr(s.warning, "60"));
    ck_assert_uint_eq(s.last.steps, 1);
}
END_TEST

/* The default's five epochs do not fit in three; what somebody asked for is not changed. */
START_TEST(warm_up_that_does_not_fit) {
    char out[1024];
    unsigned char *sources = calloc(vit_train_setting_count(), 1);
    ck_assert_ptr_nonnull(sources);
    vit_train_settings settings = wide_run_settings();
    settings.recipe.warmup_epochs = 5;
    run_watch s = {0};
    ck_vit_ok(
        run_train(&settings, sources, run_data, temp_path(out, run_base, "runs/warm"), &s, NULL));
    memset(sources, VIT_FROM_USER, vit_train_setting_count());
    ck_vit_fails(
        run_train(&settings, sources, run_data, temp_path(out, run_base, "runs/warm2"), &s, NULL),
        VIT_ERROR_ARGUMENT, "--warmup-epochs 5");
    ck_assert(!file_exists(out));
    free(sources);
}
END_TEST

START_TEST(class_without_val_pictures) {
    char folder[1024], out[1024];
    temp_path(folder, run_base, "partval");
    make_pictures(folder, "train", small_run_classes, 3, 4, 18, 18, 5);
    make_pictures(folder, "val", small_run_classes, 2, 2, 18, 18, 5);
    vit_train_settings settings = wide_run_settings();
    settings.recipe.batch_size = 6;
    run_watch s = {0};
    ck_vit_ok(
        run_train(&settings, NULL, folder, temp_path(out, run_base, "runs/partval"), &s, NULL));
    ck_assert_int_eq(s.warnings, 1);
    ck_assert_ptr_nonnull(strstr(s.warning, "1 of the 3"));
}
END_TEST

START_TEST(stopping_saves) {
    char out[1024];
    vit_train_settings settings = wide_run_settings();
    const int after[] = {1, 4, 6};
    for (int i = 0; i < 3; i++) {
        run_watch s = {.stop_after = after[i]};
        ck_vit_fails(run_train(&settings, NULL, run_data,
                               temp_path(out, run_base, "runs/stop%d", i), &s, NULL),
                     VIT_ERROR_STOPPED, "last.safetensors");
        ck_assert_int_eq(s.progress, after[i]);
        ck_assert_int_eq(s.epochs, after[i] / 3);
        check_run_loads(out);
        char path[1024], step[16];
        vit_safetensors *file;
        ck_vit_ok(safetensors_load(temp_path(path, out, "last.safetensors"), &file));
        snprintf(step, sizeof step, "%d", after[i]);
        ck_assert_str_eq(vit_safetensors_metadata(file, "step"), step);
        vit_safetensors_close(file);
    }
}
END_TEST

/* How a run's last look found it. */
typedef struct last_look {
    run_watch watch; /* the context of the callbacks */
    int looks, ends;
    bool stopped;
} last_look;

static void note_look(void *context, const vit_train_look *look) {
    last_look *l = context;
    l->looks++;
    if (!look->row) {
        l->ends++;
        l->stopped = look->stopped;
    }
}

/* A stop that is asked for after the last step ends no run early: it is measured as any other. */
START_TEST(the_last_look_knows_whether_the_run_was_stopped) {
    static const struct {
        int stop_after;
        vit_status status;
        int looks;
    } runs[] = {{0, VIT_OK, 4}, {9, VIT_OK, 4}, {7, VIT_ERROR_STOPPED, 3}};
    vit_train_settings settings = wide_run_settings();
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        char out[1024], name[32];
        last_look l = {.watch.stop_after = runs[i].stop_after};
        vit_train_callbacks callbacks = run_callbacks(&l.watch);
        vit_train_result result;
        callbacks.look = note_look;
        snprintf(name, sizeof name, "runs/look%zu", i);
        temp_path(out, run_base, "%s", name);
        const vit_train_request request = {.settings = &settings, .data = run_data, .out = out};
        ck_assert_int_eq(vit_train(&request, &callbacks, &result), runs[i].status);
        ck_assert_int_eq(l.looks, runs[i].looks);
        ck_assert_int_eq(l.ends, 1);
        ck_assert_int_eq(l.stopped, runs[i].status == VIT_ERROR_STOPPED);
    }
}
END_TEST

START_TEST(a_share_of_train_is_measured_on) {
    char from[1024], out[1024];
    vit_train_settings settings = wide_run_settings();
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.batch_size = 8;
    settings.data.val_split = 0.25;
    snprintf(settings.recipe.class_weights, sizeof settings.recipe.class_weights, "auto");
    run_watch s = {0};
    vit_train_result result;
    settings.recipe.sampler = VIT_SAMPLER_BALANCED;
    ck_vit_fails(vit_train_settings_check(&settings), VIT_ERROR_ARGUMENT,
                 "--class-weights auto: --sampler balanced");
    settings.recipe.sampler = VIT_SAMPLER_UNIFORM;
    make_pictures(temp_path(from, run_base, "flat"), "", small_run_classes, 3, 8, SIDE, SIDE, 5);
    ck_vit_ok(run_train(&settings, NULL, from, temp_path(out, run_base, "runs/flat"), &s, &result));
    ck_assert(!isnan(result.best_top1));
    ck_assert_int_eq(s.warnings, 0);
    check_run_loads(temp_path(out, run_base, "runs/flat"));
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("trainer");
    TCase *runs = tcase_create("runs");
    tcase_set_timeout(runs, 120);
    tcase_add_unchecked_fixture(runs, run_base_make, run_base_remove);
    tcase_add_test(runs, what_a_run_leaves);
    tcase_add_test(runs, log_has_a_row_an_epoch);
    tcase_add_test(runs, args_read_back);
    tcase_add_test(runs, threads_do_not_show);
    tcase_add_test(runs, seed_shows);
    tcase_add_test(runs, learns_by_heart);
    tcase_add_test(runs, learns_what_it_was_not_shown);
    tcase_add_test(runs, best_is_last_without_val);
    tcase_add_test(runs, batch_larger_than_the_data);
    tcase_add_test(runs, warm_up_that_does_not_fit);
    tcase_add_test(runs, class_without_val_pictures);
    tcase_add_test(runs, stopping_saves);
    tcase_add_test(runs, the_last_look_knows_whether_the_run_was_stopped);
    tcase_add_test(runs, a_share_of_train_is_measured_on);
    suite_add_tcase(s, runs);
    return s;
}

int main(void) {
    return test_run(suite());
}
