/* Trains a model on folders of pictures, named after their classes:
 *     train DATA RUN [NAME=VALUE...]      for example  epochs=10 model=zeros_micro_patch4_28
 *     train --settings                    what NAME may be
 *
 * Ctrl-C saves and stops; the same words again go on from there.
 */
#include <zvit.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

static vit_training *running; /* for the signal's handler */

static void on_signal(int number) {
    (void)number;
    vit_training_stop(running); // NOLINT(bugprone-signal-handler): the one that handlers may call
}

static void on_log(void *context, vit_log_level level, const char *message) {
    (void)context;
    fprintf(stderr, "%s%s\n", level == VIT_LOG_WARNING ? "warning: " : "", message);
}

static void on_start(void *context, const vit_training_start *start) {
    (void)context;
    printf("%s: %zu parameters, %zu pictures of %zu classes, %d epochs", start->architecture,
           start->parameter_count, start->train_images, start->class_count, start->epochs);
    printf(start->epochs_done + (int)start->steps_done > 0 ? ", going on\n" : "\n");
}

static void on_epoch(void *context, const vit_epoch_row *row) {
    (void)context;
    printf("epoch %d/%d  loss %.4f  top-1 %.2f %%  %.0f pictures/s\n", row->epoch, row->epochs,
           row->train_loss, row->top1, row->images_per_second);
    fflush(stdout);
}

static void print_settings(void) {
    const vit_setting *setting;
    for (size_t i = 0; (setting = vit_get_setting(i)) != NULL; i++) {
        printf("%-24s %-16s %s\n", setting->name, setting->default_value, setting->help);
    }
}

/* "epochs=10" */
static vit_status set(vit_training *training, const char *word) {
    char name[64];
    size_t length = strcspn(word, "=");
    if (word[length] == 0 || length >= sizeof name) {
        return vit_training_set(training, word, "");
    }
    memcpy(name, word, length);
    name[length] = 0;
    return vit_training_set(training, name, word + length + 1);
}

int main(int argc, char **argv) {
    vit_training_options options = VIT_TRAINING_OPTIONS_INIT;
    vit_status status;
    if (argc == 2 && strcmp(argv[1], "--settings") == 0) {
        print_settings();
        return 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: train DATA RUN [NAME=VALUE...], or train --settings\n");
        return 2;
    }
    options.log = on_log;
    options.started = on_start;
    options.epoch = on_epoch;
    /* The run that a folder holds already, or else a new one. */
    status = vit_training_resume(&running, argv[2], argv[1], &options);
    if (status != VIT_OK) {
        status = vit_training_create(&running, argv[1], argv[2], &options);
    }
    for (int i = 3; i < argc && status == VIT_OK; i++) {
        status = set(running, argv[i]);
    }
    if (status == VIT_OK) {
        signal(SIGINT, on_signal);
        status = vit_training_run(running);
        signal(SIGINT, SIG_DFL);
    }
    if (status == VIT_OK) {
        const vit_training_result *result = vit_training_get_result(running);
        printf("best top-1 %.2f %% (epoch %d): %s\n", result->best_top1, result->best_epoch,
               result->best_model);
    } else {
        fprintf(stderr, "train: %s\n", vit_last_error());
    }
    vit_training_free(running);
    return status != VIT_OK;
}
