/* Training runs that take a second, and what their callbacks saw. */
#ifndef VIT_TEST_RUNS_H
#define VIT_TEST_RUNS_H

#include "train/trainer.h"
#include "vit/status.h"

#include <sys/resource.h>

/* Every default, and a network for pictures of 16 x 16 pixels that learns in a few steps. */
vit_train_settings small_run_settings(void);

/* The same with a network twice as wide, three epochs of three steps. */
vit_train_settings wide_run_settings(void);

/* The class names of make_pictures' data for it. */
extern const char *const small_run_classes[3];

/* An unchecked fixture: a folder, and in it data of 20 pictures a class to train on and 7 of val.
 * It vanishes after the suite. */
enum { RUN_PER_CLASS = 20, RUN_VAL_PER_CLASS = 7, RUN_ROWS = 32 };
extern char *run_base;
extern char run_data[1024];
void run_base_make(void);
void run_base_remove(void);

/* What the callbacks of a run saw; zero but for what the test wants. */
typedef struct run_watch {
    int stop_after; /* steps; 0: never */
    rlim_t limit;   /* of file sizes, from the first epoch's end; 0: none */
    int started, progress, evaluating, epochs, warnings;
    vit_train_progress last;
    vit_epoch_row row, rows[RUN_ROWS]; /* the last epoch's, and the first ones */
    double smallest_loss;
    char warning[VIT_MESSAGE_MAX];
} run_watch;

vit_train_callbacks run_callbacks(run_watch *watch);

/* Trains from one folder into another under these callbacks. sources and result may be NULL. */
vit_status run_train(const vit_train_settings *settings, const unsigned char *sources,
                     const char *from, const char *out, run_watch *watch, vit_train_result *result);

/* Fails the test unless there is a model of the three classes. */
void check_run_loads(const char *path);

#endif
