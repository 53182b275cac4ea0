/* Whole runs on made-up pictures: what they leave behind, what they learn, and how they fail. */
#include "support/pictures.h"
#include "support/support.h"

#include "train/trainer.h"
#include "vit/file.h"
#include "vit/model_file.h"

#include <math.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIDE = 16, PER_CLASS = 20, VAL_PER_CLASS = 7 };
static const char *const classes[] = {"ant", "bee", "cat"};
static char *base; /* vanishes after the suite */
static char data[1024];

static void make_base(void) {
    base = temp_folder();
    temp_path(data, base, "data");
    make_pictures(data, "train", classes, 3, PER_CLASS, 20, 18, 1);
    make_pictures(data, "val", classes, 3, VAL_PER_CLASS, 18, 20, 1000);
}

static void remove_base(void) {
    temp_folder_remove(base);
    base = NULL;
}

/* Every default, a network for small pictures, three steps an epoch. */
static vit_train_settings small_settings(unsigned char *sources) {
    vit_train_settings settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    memset(&settings, 0, sizeof settings);
    size_t count = vit_train_setting_groups(&settings, sources, groups);
    for (size_t g = 0; g < count; g++) {
        ck_vit_ok(vit_options_defaults(&groups[g]));
    }
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &settings.model));
    settings.model.img_size[0] = settings.model.img_size[1] = SIDE;
    settings.model.patch_size = 4;
    settings.model.embed_dim = 32;
    settings.model.depth = 2;
    settings.model.num_heads = 2;
    settings.recipe.epochs = 3;
    settings.recipe.batch_size = 20;
    settings.recipe.warmup_epochs = 1;
    settings.recipe.lr = 3e-3;
    return settings;
}

/* ---- what the callbacks saw ---- */

typedef struct seen {
    int started, progress, evaluating, epochs, warnings;
    int stop_after; /* steps; 0: never */
    rlim_t limit;   /* of file sizes, from the first epoch's end; 0: none */
    vit_train_progress last;
    vit_epoch_row row;
    double smallest_loss;
    char warning[VIT_MESSAGE_MAX];
} seen;

static void on_started(void *context, const vit_model *model, size_t train, size_t val,
                       int epochs) {
    (void)train;
    ck_assert_int_ge(epochs, 1);
    (void)val;
    ck_assert_uint_gt(model->params.total, 0);
    ((seen *)context)->started++;
}

static void on_progress(void *context, const vit_train_progress *progress) {
    seen *s = context;
    s->progress++;
    s->last = *progress;
    ck_assert_double_ge(progress->eta_seconds, 0);
    ck_assert_double_gt(progress->images_per_second, 0);
}

static void on_evaluating(void *context, size_t done, size_t total) {
    ck_assert_uint_le(done, total);
    ((seen *)context)->evaluating++;
}

static void limit_files(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, RLIM_INFINITY}), 0);
}

static void on_epoch(void *context, const vit_epoch_row *row) {
    seen *s = context;
    s->epochs++;
    s->row = *row;
    s->smallest_loss = fmin(s->smallest_loss, row->train_loss);
    if (s->limit) {
        limit_files(s->limit);
    }
}

static void on_warning(void *context, const char *message) {
    seen *s = context;
    s->warnings++;
    snprintf(s->warning, sizeof s->warning, "%s", message);
}

static bool on_should_stop(void *context) {
    seen *s = context;
    return s->stop_after && s->progress >= s->stop_after;
}

static vit_status train(const vit_train_settings *settings, const unsigned char *sources,
                        const char *from, const char *out, seen *s, vit_train_result *result) {
    vit_train_result ignored;
    vit_train_callbacks callbacks = {.context = s,
                                     .started = on_started,
                                     .progress = on_progress,
                                     .evaluating = on_evaluating,
                                     .epoch = on_epoch,
                                     .warning = on_warning,
                                     .should_stop = on_should_stop};
    vit_train_request request = {
        .settings = settings, .sources = sources, .data = from, .out = out};
    s->smallest_loss = INFINITY;
    return vit_train(&request, &callbacks, result ? result : &ignored);
}

static vit_bytes read_file(const char *folder, const char *name) {
    char path[1024];
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(temp_path(path, folder, "%s", name), 1u << 30, &bytes));
    ck_vit_ok(vit_bytes_reserve(&bytes, bytes.size + 1, "text"));
    bytes.data[bytes.size] = 0;
    return bytes;
}

static void check_same_file(const char *a, const char *b, const char *name) {
    vit_bytes x = read_file(a, name), y = read_file(b, name);
    ck_assert_msg(x.size == y.size && memcmp(x.data, y.data, x.size) == 0, "%s differs: %s and %s",
                  name, a, b);
    vit_bytes_free(&x);
    vit_bytes_free(&y);
}

static bool exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

static void check_message(const char *part) {
    ck_assert_msg(strstr(vit_last_error(), part) != NULL, "\"%s\" does not name %s",
                  vit_last_error(), part);
}

static void check_loads(const char *path) {
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_load(path, &bundle));
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(bundle->class_names[i], classes[i]);
    }
    vit_model_bundle_free(bundle);
}

/* ---- runs that end well ---- */

START_TEST(what_a_run_leaves) {
    char out[1024], path[1024];
    vit_train_settings settings = small_settings(NULL);
    seen s = {0};
    vit_train_result result;
    temp_path(out, base, "runs/first");
    ck_vit_ok(train(&settings, NULL, data, out, &s, &result));
    ck_assert_uint_eq(count_entries(out), 6);
    check_loads(out);
    check_loads(temp_path(path, out, "last.safetensors"));
    check_loads(temp_path(path, out, "best.safetensors"));
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
    vit_train_settings settings = small_settings(NULL);
    seen s = {0};
    ck_vit_ok(train(&settings, NULL, data, temp_path(out, base, "runs/log"), &s, NULL));
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
    vit_train_settings settings = small_settings(sources);
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.drop_path = 0.125;
    settings.augment.hflip = 0.25;
    sources[0] = VIT_FROM_USER;
    seen s = {0};
    ck_vit_ok(train(&settings, sources, data, temp_path(out, base, "runs/args"), &s, NULL));
    vit_bytes text = read_file(out, "args.json");
    vit_json *root;
    ck_vit_ok(vit_json_parse((char *)text.data, text.size, "args.json", &root));
    vit_train_settings read = small_settings(NULL);
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
    ck_assert_str_eq(vit_json_string(vit_json_get(root, "data"), ""), data);
    vit_json_free(root);
    vit_bytes_free(&text);
    free(sources);
}
END_TEST

/* Thirty steps with all that is random switched on, of pictures mixed across slots too. */
START_TEST(threads_do_not_show) {
    char out[3][1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 10;
    settings.recipe.drop_path = 0.2;
    settings.recipe.slots = 8;
    settings.recipe.mixup = 0.8;
    settings.recipe.cutmix = 1;
    settings.recipe.repeated_aug = 3;
    double loss[3], top1[3];
    for (int i = 0; i < 3; i++) {
        seen s = {0};
        omp_set_num_threads(i + 1);
        ck_vit_ok(train(&settings, NULL, data, temp_path(out[i], base, "runs/threads%d", i + 1), &s,
                        NULL));
        loss[i] = s.row.val_loss;
        top1[i] = s.row.top1;
        ck_assert_uint_eq(s.row.step, 30);
    }
    for (int i = 1; i < 3; i++) {
        check_same_file(out[0], out[i], "last.safetensors");
        check_same_file(out[0], out[i], "best.safetensors");
        ck_assert_double_eq(loss[0], loss[i]);
        ck_assert_double_eq(top1[0], top1[i]);
    }
}
END_TEST

START_TEST(seed_shows) {
    char a[1024], b[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    seen s = {0};
    ck_vit_ok(train(&settings, NULL, data, temp_path(a, base, "runs/seed42"), &s, NULL));
    double loss = s.row.train_loss;
    settings.recipe.seed = 43;
    ck_vit_ok(train(&settings, NULL, data, temp_path(b, base, "runs/seed43"), &s, NULL));
    ck_assert_double_ne(loss, s.row.train_loss);
}
END_TEST

/* Sixteen pictures by heart: if anything between the pixels and the weights is wrong, this stays
 * above. */
START_TEST(learns_by_heart) {
    char few[1024], out[1024];
    make_pictures(temp_path(few, base, "few"), "train", classes, 2, 8, SIDE, SIDE, 77);
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 120;
    settings.recipe.warmup_epochs = 5;
    settings.recipe.batch_size = 16;
    settings.recipe.smoothing = 0;
    settings.recipe.weight_decay = 0;
    settings.augment.no_aug = true;
    seen s = {0};
    ck_vit_ok(train(&settings, NULL, few, temp_path(out, base, "runs/heart"), &s, NULL));
    ck_assert_msg(s.row.train_loss < 0.01, "loss %g after %d epochs", s.row.train_loss, s.epochs);
    ck_assert_int_eq(s.warnings, 1); /* no val */
}
END_TEST

START_TEST(learns_what_it_was_not_shown) {
    char out[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 25;
    settings.recipe.batch_size = 12;
    settings.augment.scale[0] = 0.5;
    seen s = {0};
    vit_train_result result;
    ck_vit_ok(train(&settings, NULL, data, temp_path(out, base, "runs/learns"), &s, &result));
    ck_assert_msg(result.best_top1 > 90, "top-1 %g %%", result.best_top1);
}
END_TEST

START_TEST(best_is_last_without_val) {
    char only_train[1024], out[1024];
    make_pictures(temp_path(only_train, base, "noval"), "train", classes, 3, 4, 18, 18, 5);
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.batch_size = 5; /* 12 pictures: two steps, two pictures left out */
    seen s = {0};
    vit_train_result result;
    ck_vit_ok(train(&settings, NULL, only_train, temp_path(out, base, "runs/noval"), &s, &result));
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
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.batch_size = 64;
    seen s = {0};
    ck_vit_ok(train(&settings, NULL, data, temp_path(out, base, "runs/batch"), &s, NULL));
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
    vit_train_settings settings = small_settings(sources);
    settings.recipe.warmup_epochs = 5;
    seen s = {0};
    ck_vit_ok(train(&settings, sources, data, temp_path(out, base, "runs/warm"), &s, NULL));
    memset(sources, VIT_FROM_USER, vit_train_setting_count());
    ck_assert_int_eq(train(&settings, sources, data, temp_path(out, base, "runs/warm2"), &s, NULL),
                     VIT_ERROR_ARGUMENT);
    check_message("--warmup-epochs 5");
    ck_assert(!exists(out));
    free(sources);
}
END_TEST

START_TEST(class_without_val_pictures) {
    char folder[1024], out[1024];
    temp_path(folder, base, "partval");
    make_pictures(folder, "train", classes, 3, 4, 18, 18, 5);
    make_pictures(folder, "val", classes, 2, 2, 18, 18, 5);
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.batch_size = 6;
    seen s = {0};
    ck_vit_ok(train(&settings, NULL, folder, temp_path(out, base, "runs/partval"), &s, NULL));
    ck_assert_int_eq(s.warnings, 1);
    ck_assert_ptr_nonnull(strstr(s.warning, "1 of the 3"));
}
END_TEST

START_TEST(stopping_saves) {
    char out[1024];
    vit_train_settings settings = small_settings(NULL);
    const int after[] = {1, 4, 6};
    for (int i = 0; i < 3; i++) {
        seen s = {.stop_after = after[i]};
        ck_assert_int_eq(
            train(&settings, NULL, data, temp_path(out, base, "runs/stop%d", i), &s, NULL),
            VIT_ERROR_STOPPED);
        check_message("last.safetensors");
        ck_assert_int_eq(s.progress, after[i]);
        ck_assert_int_eq(s.epochs, after[i] / 3);
        check_loads(out);
        char path[1024], step[16];
        vit_safetensors *file;
        ck_vit_ok(vit_safetensors_open(temp_path(path, out, "last.safetensors"), &file));
        snprintf(step, sizeof step, "%d", after[i]);
        ck_assert_str_eq(vit_safetensors_metadata(file, "step"), step);
        vit_safetensors_close(file);
    }
}
END_TEST

/* ---- runs that cannot begin ---- */

/* Fails with the status, names `part`, and leaves no RUN folder. */
static void check_refused(const vit_train_settings *settings, const char *from, vit_status expected,
                          const char *part) {
    char out[1024];
    seen s = {0};
    temp_path(out, base, "runs/refused");
    vit_status status = train(settings, NULL, from, out, &s, NULL);
    ck_assert_msg(status == expected, "status %d, expected %d: %s", status, expected,
                  vit_last_error());
    check_message(part);
    ck_assert_msg(!exists(out), "%s is left after: %s", out, vit_last_error());
    ck_assert_int_eq(s.started, 0);
}

START_TEST(bad_data) {
    char folder[1024], path[1024];
    vit_train_settings settings = small_settings(NULL);
    check_refused(&settings, temp_path(folder, base, "nowhere"), VIT_ERROR_IO, folder);

    make_folders(temp_path(folder, base, "empty"));
    check_refused(&settings, folder, VIT_ERROR_IO, folder);
    make_folders(temp_path(path, folder, "train"));
    check_refused(&settings, folder, VIT_ERROR_FORMAT, path);
    make_folders(temp_path(path, folder, "train/ant"));
    check_refused(&settings, folder, VIT_ERROR_FORMAT, path);

    make_pictures(temp_path(folder, base, "oneclass"), "train", classes, 1, 3, 18, 18, 5);
    check_refused(&settings, folder, VIT_ERROR_ARGUMENT, "one class only, ant");

    make_pictures(temp_path(folder, base, "emptyclass"), "train", classes, 3, 3, 18, 18, 5);
    make_folders(temp_path(path, folder, "train/dog"));
    check_refused(&settings, folder, VIT_ERROR_FORMAT, "dog");

    make_pictures(temp_path(folder, base, "newclass"), "train", classes, 2, 3, 18, 18, 5);
    make_pictures(folder, "val", classes, 3, 3, 18, 18, 5);
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
        bad[i] = small_settings(NULL);
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
        check_refused(&bad[i], data, VIT_ERROR_ARGUMENT, parts[i]);
    }
}
END_TEST

START_TEST(run_folder_that_cannot_be) {
    char out[1024], path[1024];
    vit_train_settings settings = small_settings(NULL);
    seen s = {0};
    /* Root ignores modes; a file in the way stops anybody. */
    ck_vit_ok(vit_file_replace(temp_path(path, base, "file"), "mine", 4));
    ck_assert_int_eq(train(&settings, NULL, data, path, &s, NULL), VIT_ERROR_IO);
    check_message(path);
    ck_assert_int_eq(train(&settings, NULL, data, temp_path(out, path, "run"), &s, NULL),
                     VIT_ERROR_IO);
    check_message(path);
    ck_assert_int_eq(train(&settings, NULL, data, "", &s, NULL), VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(s.started, 0);
    vit_bytes text = read_file(base, "file");
    ck_assert_str_eq((char *)text.data, "mine");
    vit_bytes_free(&text);
}
END_TEST

START_TEST(run_folder_that_holds_a_run) {
    char out[1024], path[1024];
    vit_train_settings settings = small_settings(NULL);
    seen s = {0};
    const char *const names[] = {"args.json", "last.safetensors", "log.csv"};
    for (int i = 0; i < 3; i++) {
        make_folders(temp_path(out, base, "runs/held%d", i));
        ck_vit_ok(vit_file_replace(temp_path(path, out, "%s", names[i]), "dear", 4));
        ck_assert_int_eq(train(&settings, NULL, data, out, &s, NULL), VIT_ERROR_ARGUMENT);
        check_message(path);
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
    make_pictures(temp_path(folder, base, "broken"), "train", classes, 3, 4, 18, 18, 5);
    ck_vit_ok(vit_file_replace(temp_path(path, folder, "train/bee/001.png"), "no picture", 10));
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.batch_size = 12;
    char out[1024];
    seen s = {0};
    ck_assert_int_eq(train(&settings, NULL, folder, temp_path(out, base, "runs/broken"), &s, NULL),
                     VIT_ERROR_FORMAT);
    check_message(path);
    ck_assert(!exists(out));
}
END_TEST

/* A folder that was there before, with somebody's notes in it, is given back as it was. */
START_TEST(loss_that_is_not_finite) {
    char out[1024], path[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.lr = 1e30;
    settings.recipe.warmup_epochs = 0;
    seen s = {0};
    make_folders(temp_path(out, base, "runs/nan"));
    ck_vit_ok(vit_file_replace(temp_path(path, out, "notes.txt"), "mine", 4));
    ck_assert_int_eq(train(&settings, NULL, data, out, &s, NULL), VIT_ERROR_NUMERIC);
    check_message("epoch 1, step 2 of 3");
    check_message("none yet");
    check_message(data);
    ck_assert_uint_eq(count_entries(out), 1);
    ck_assert(exists(path));
}
END_TEST

START_TEST(last_good_checkpoint_is_named) {
    char out[1024], path[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.batch_size = 60; /* one step an epoch; the second explodes, the third sees it */
    settings.recipe.lr = 1e30;
    settings.recipe.warmup_lr = 1e-3;
    settings.recipe.warmup_epochs = 2;
    seen s = {0};
    ck_assert_int_eq(train(&settings, NULL, data, temp_path(out, base, "runs/late"), &s, NULL),
                     VIT_ERROR_NUMERIC);
    check_message("epoch 3, step 1 of 1");
    check_message(temp_path(path, out, "last.safetensors"));
    check_loads(path);
    check_loads(out);
    ck_assert_int_eq(s.epochs, 2);
}
END_TEST

START_TEST(full_disk_at_once) {
    char out[1024];
    vit_train_settings settings = small_settings(NULL);
    seen s = {0};
    limit_files(32 << 10);
    ck_assert_int_eq(train(&settings, NULL, data, temp_path(out, base, "runs/full"), &s, NULL),
                     VIT_ERROR_IO);
    check_message("last.safetensors");
    ck_assert(!exists(out));
    limit_files(100); /* not even args.json */
    ck_assert_int_eq(train(&settings, NULL, data, out, &s, NULL), VIT_ERROR_IO);
    check_message("args.json");
    ck_assert(!exists(out));
}
END_TEST

START_TEST(full_disk_later) {
    char out[1024];
    vit_train_settings settings = small_settings(NULL);
    seen s = {.limit = 32 << 10};
    ck_assert_int_eq(train(&settings, NULL, data, temp_path(out, base, "runs/later"), &s, NULL),
                     VIT_ERROR_IO);
    check_message("last.safetensors");
    ck_assert_int_eq(s.epochs, 1);
    ck_assert_uint_eq(count_entries(out), 6); /* and no temporary */
    check_loads(out);
    char path[1024];
    vit_safetensors *file;
    ck_vit_ok(vit_safetensors_open(temp_path(path, out, "last.safetensors"), &file));
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
    temp_path(path, base, "%s", name);
    make_pictures(path, "train", classes, 3, count, SIDE, SIDE, 5);
    for (size_t i = 0; i < broken; i++) {
        char file[1100];
        snprintf(file, sizeof file, "%s/train/%s/%03zu.png", path, classes[0], i);
        ck_assert_int_eq(truncate(file, 60), 0);
    }
    return path;
}

START_TEST(broken_pictures_are_left_out) {
    char from[1024], out[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 2;
    settings.recipe.batch_size = 6;
    settings.data.on_error = VIT_ON_ERROR_SKIP;
    seen s = {0};
    make_broken(from, "broken", 4, 3);
    ck_vit_ok(train(&settings, NULL, from, temp_path(out, base, "runs/broken"), &s, NULL));
    ck_assert_uint_eq(s.row.skipped, 3);
    ck_assert_int_eq(s.warnings, 1 + 2); /* no val; each epoch */
    ck_assert(isfinite(s.row.train_loss) && s.row.train_loss > 0);
    vit_bytes log = read_file(out, "log.csv");
    ck_assert_ptr_nonnull(strstr((char *)log.data, ",3\n"));
    vit_bytes_free(&log);
    settings.data.on_error = VIT_ON_ERROR_FAIL;
    ck_assert_int_eq(train(&settings, NULL, from, temp_path(out, base, "runs/fails"), &s, NULL),
                     VIT_ERROR_FORMAT);
    check_message("cut short");
    ck_assert(!exists(out));
}
END_TEST

/* What is left out leaves no trace: the same weights as without the file, batch for batch. */
START_TEST(steps_are_the_mean_of_what_remains) {
    char from[1024], whole[1024], a[1024], b[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.batch_size = 12;
    settings.recipe.slots = 1;
    settings.augment.no_aug = true;
    settings.data.on_error = VIT_ON_ERROR_SKIP;
    seen s = {0}, t = {0};
    make_broken(from, "hole", 4, 1);
    temp_path(whole, base, "whole");
    make_pictures(whole, "train", classes, 3, 4, SIDE, SIDE, 5);
    char file[1100];
    snprintf(file, sizeof file, "%s/train/%s/000.png", whole, classes[0]);
    ck_assert_int_eq(unlink(file), 0);
    ck_vit_ok(train(&settings, NULL, from, temp_path(a, base, "runs/hole"), &s, NULL));
    settings.recipe.batch_size = 11;
    ck_vit_ok(train(&settings, NULL, whole, temp_path(b, base, "runs/whole"), &t, NULL));
    /* The mean of the same eleven losses; their order differs. */
    ck_assert_double_le(fabs(s.row.train_loss - t.row.train_loss), 1e-6 * t.row.train_loss);
}
END_TEST

START_TEST(an_epoch_of_broken_pictures_is_an_error) {
    char from[1024], out[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.batch_size = 2;
    settings.data.on_error = VIT_ON_ERROR_SKIP;
    seen s = {0};
    temp_path(from, base, "allbroken");
    make_pictures(from, "train", classes, 2, 2, SIDE, SIDE, 5);
    for (int i = 0; i < 4; i++) {
        char file[1100];
        snprintf(file, sizeof file, "%s/train/%s/%03d.png", from, classes[i / 2], i % 2);
        ck_assert_int_eq(truncate(file, 60), 0);
    }
    ck_assert_int_eq(train(&settings, NULL, from, temp_path(out, base, "runs/none"), &s, NULL),
                     VIT_ERROR_FORMAT);
    check_message("epoch 1: no picture could be read; the first: ");
}
END_TEST

START_TEST(a_share_of_train_is_measured_on) {
    char from[1024], out[1024];
    vit_train_settings settings = small_settings(NULL);
    settings.recipe.epochs = 1;
    settings.recipe.warmup_epochs = 0;
    settings.recipe.batch_size = 8;
    settings.data.val_split = 0.25;
    snprintf(settings.recipe.class_weights, sizeof settings.recipe.class_weights, "auto");
    seen s = {0};
    vit_train_result result;
    settings.recipe.sampler = VIT_SAMPLER_BALANCED;
    ck_assert_int_eq(vit_train_settings_check(&settings), VIT_ERROR_ARGUMENT);
    check_message("--class-weights auto: --sampler balanced");
    settings.recipe.sampler = VIT_SAMPLER_UNIFORM;
    make_pictures(temp_path(from, base, "flat"), "", classes, 3, 8, SIDE, SIDE, 5);
    ck_vit_ok(train(&settings, NULL, from, temp_path(out, base, "runs/flat"), &s, &result));
    ck_assert(!isnan(result.best_top1));
    ck_assert_int_eq(s.warnings, 0);
    check_loads(temp_path(out, base, "runs/flat"));
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("trainer");
    TCase *good = tcase_create("runs"), *bad = tcase_create("failures");
    tcase_set_timeout(good, 120);
    tcase_set_timeout(bad, 120);
    tcase_add_unchecked_fixture(good, make_base, remove_base);
    tcase_add_unchecked_fixture(bad, make_base, remove_base);
    tcase_add_test(good, what_a_run_leaves);
    tcase_add_test(good, log_has_a_row_an_epoch);
    tcase_add_test(good, args_read_back);
    tcase_add_test(good, threads_do_not_show);
    tcase_add_test(good, seed_shows);
    tcase_add_test(good, learns_by_heart);
    tcase_add_test(good, learns_what_it_was_not_shown);
    tcase_add_test(good, best_is_last_without_val);
    tcase_add_test(good, batch_larger_than_the_data);
    tcase_add_test(good, warm_up_that_does_not_fit);
    tcase_add_test(good, class_without_val_pictures);
    tcase_add_test(good, stopping_saves);
    tcase_add_test(good, broken_pictures_are_left_out);
    tcase_add_test(good, steps_are_the_mean_of_what_remains);
    tcase_add_test(good, a_share_of_train_is_measured_on);
    tcase_add_test(bad, an_epoch_of_broken_pictures_is_an_error);
    tcase_add_test(bad, bad_data);
    tcase_add_test(bad, bad_settings);
    tcase_add_test(bad, run_folder_that_cannot_be);
    tcase_add_test(bad, run_folder_that_holds_a_run);
    tcase_add_test(bad, broken_picture);
    tcase_add_test(bad, loss_that_is_not_finite);
    tcase_add_test(bad, last_good_checkpoint_is_named);
    tcase_add_test(bad, full_disk_at_once);
    tcase_add_test(bad, full_disk_later);
    suite_add_tcase(s, good);
    suite_add_tcase(s, bad);
    return s;
}

int main(void) {
    return test_run(suite());
}
