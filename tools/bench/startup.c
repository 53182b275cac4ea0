/* zvit classify as its user meets it: the command is started, reads a model and a picture, answers,
 * and ends. */
#include "tools/bench/bench.h"
#include "tools/cmd.h"

#include "data/image.h"
#include "vit/clock.h"
#include "vit/model_file.h"
#include "vit/rng.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIDTH 500
#define HEIGHT 375 /* a photograph of ImageNet's usual size */
#define QUALITY 90
#define RUNS_AT_LEAST 10 /* a start is short */

extern char **environ;

typedef struct scene {
    char folder[PATH_MAX];
    char self[PATH_MAX], model[PATH_MAX], picture[PATH_MAX];
    bool made; /* the folder */
} scene;

static void scene_remove(const scene *s) {
    if (s->made) {
        unlink(s->model);
        unlink(s->picture);
        rmdir(s->folder);
    }
}

/* Weights at random: how long an answer takes does not depend on them. */
static vit_status write_model(const vit_config *config, const char *path) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    size_t classes = (size_t)config->num_classes;
    char(*texts)[32] = calloc(classes, sizeof *texts);
    const char **names = calloc(classes, sizeof *names);
    const vit_preprocess preprocess = {
        .crop_pct = 0.875, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}};
    if (!texts || !names) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path));
    }
    for (size_t i = 0; i < classes; i++) {
        snprintf(texts[i], sizeof texts[i], "class %zu", i);
        names[i] = texts[i];
    }
    VIT_TRY(vit_model_bundle_new(config, &preprocess, names, 0, &bundle));
    VIT_TRY(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
cleanup:
    vit_model_bundle_free(bundle);
    free(names);
    free(texts);
    return status;
}

/* Waves with some noise: about as many bytes as a photograph's JPEG. */
static vit_status write_picture(const char *path) {
    vit_status status = VIT_OK;
    vit_image image = {0};
    vit_bytes bytes = {0};
    vit_rng rng = vit_rng_make(0, 0, 0, VIT_RNG_TEST);
    VIT_TRY(vit_image_reserve(&image, WIDTH, HEIGHT, path));
    for (size_t i = 0; i < (size_t)WIDTH * HEIGHT * 3; i++) {
        double x = (double)(i / 3 % WIDTH), y = (double)(i / 3 / WIDTH), c = (double)(i % 3);
        double value =
            128 + 60 * sin(x / (9 + c)) * cos(y / (13 - c)) + vit_rng_range(&rng, -20, 20);
        image.pixels[i] = (uint8_t)value;
    }
    VIT_TRY(vit_image_encode_jpeg(&image, QUALITY, &bytes));
    VIT_TRY(vit_file_replace(path, bytes.data, bytes.size));
cleanup:
    vit_bytes_free(&bytes);
    vit_image_free(&image);
    return status;
}

static vit_status scene_make(const vit_config *config, scene *s) {
    vit_status status = VIT_OK;
    const char *base = getenv("TMPDIR");
    ssize_t length = readlink("/proc/self/exe", s->self, sizeof s->self - 1);
    if (length < 0) {
        VIT_TRY(vit_fail(VIT_ERROR_IO, "/proc/self/exe: %s", strerror(errno)));
    }
    s->self[length] = 0;
    VIT_TRY(vit_path_join(s->folder, sizeof s->folder, base ? base : "/tmp", "zvit-bench-XXXXXX"));
    if (mkdtemp(s->folder) == NULL) {
        VIT_TRY(vit_fail(VIT_ERROR_IO, "%s: %s", s->folder, strerror(errno)));
    }
    s->made = true;
    VIT_TRY(vit_path_join(s->model, sizeof s->model, s->folder, "model.safetensors"));
    VIT_TRY(vit_path_join(s->picture, sizeof s->picture, s->folder, "picture.jpg"));
    VIT_TRY(write_model(config, s->model));
    VIT_TRY(write_picture(s->picture));
cleanup:
    return status;
}

/* Starts the command with its output in a pipe. */
static vit_status spawn(char *const *words, int pipe_ends[2], pid_t *child) {
    posix_spawn_file_actions_t actions;
    if (pipe(pipe_ends) != 0) {
        return vit_fail(VIT_ERROR_IO, "a pipe: %s", strerror(errno));
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
    posix_spawn_file_actions_addclose(&actions, pipe_ends[1]);
    int error = posix_spawn(child, words[0], &actions, NULL, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_ends[1]);
    if (error != 0) {
        close(pipe_ends[0]);
        return vit_fail(VIT_ERROR_IO, "%s: %s", words[0], strerror(error));
    }
    return VIT_OK;
}

/* Seconds until the answer had been printed, and until the process had ended. */
static vit_status run(char *const *words, double *answered, double *ended) {
    char buffer[4096];
    int ends[2], code = 0;
    pid_t child;
    double start = vit_seconds();
    ssize_t count, total = 0;
    vit_status status = spawn(words, ends, &child);
    if (status != VIT_OK) {
        return status;
    }
    *answered = 0;
    while ((count = read(ends[0], buffer, sizeof buffer)) > 0 || (count < 0 && errno == EINTR)) {
        *answered = vit_seconds() - start;
        total += count > 0 ? count : 0;
    }
    close(ends[0]);
    while (waitpid(child, &code, 0) < 0 && errno == EINTR) {
    }
    *ended = vit_seconds() - start;
    if (code != 0 || total == 0) {
        return vit_fail(VIT_ERROR_IO, "%s classify %s %s failed", words[0], words[2], words[3]);
    }
    return VIT_OK;
}

vit_status bench_startup(const bench_settings *settings, bench_report *report) {
    vit_status status = VIT_OK;
    double answered[BENCH_MAX_REPEATS], ended[BENCH_MAX_REPEATS];
    int repeats = settings->repeats > RUNS_AT_LEAST ? settings->repeats : RUNS_AT_LEAST;
    char threads[16];
    scene s;
    memset(&s, 0, sizeof s);
    VIT_TRY(scene_make(&settings->model, &s));
    snprintf(threads, sizeof threads, "%d", settings->threads);
    char *words[] = {
        s.self, (char[]){"classify"}, s.model, s.picture, (char[]){"--threads"}, threads, NULL};
    VIT_TRY(run(words, &answered[0], &ended[0])); /* the files come into the kernel's memory */
    for (int i = 0; i < repeats; i++) {
        bench_tell(settings, "starts", (size_t)i, (size_t)repeats);
        VIT_TRY(run(words, &answered[i], &ended[i]));
    }
    bench_add(report, "start to answer", 1e3 * bench_median(answered, (size_t)repeats), "ms", NAN);
    bench_add(report, "start to end", 1e3 * bench_median(ended, (size_t)repeats), "ms", NAN);
cleanup:
    scene_remove(&s);
    return status;
}
