/* How to train: every setting once, as a row of a table that makes flags, ranges, help and
 * args.json. timm's names. */
#ifndef VIT_RECIPE_H
#define VIT_RECIPE_H

#include "data/data_options.h"
#include "data/loader.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/transfer.h"
#include "vit/config.h"

typedef struct vit_recipe {
    char recipe[32]; /* name of the set of values that flags override */
    int epochs;
    int steps;         /* in place of epochs; 0: none */
    double time_limit; /* minutes; 0: none */
    int early_stop;    /* epochs without a better one; 0: never */
    int batch_size;
    int slots; /* 0 = by the batch */
    bool checkpoint_activations;
    uint64_t seed;
    double lr;
    int lr_base_size; /* batch that lr is meant for; 0: any */
    double warmup_lr, min_lr;
    double warmup_epochs;
    int sched; /* vit_schedule_kind */
    int opt;   /* vit_optimizer_kind */
    double opt_betas[2];
    double momentum;
    double opt_eps;
    double weight_decay;
    double layer_decay;
    char freeze[1024];
    bool model_ema, model_ema_warmup;
    double model_ema_decay;
    char on_nan[32];  /* "fail" or "skip:N" */
    double clip_grad; /* norm; 0 = none */
    double smoothing;
    double drop_path;
    double mixup, cutmix, mixup_prob, mixup_switch_prob;
    int repeated_aug;
    char class_weights[4096]; /* "none", "auto" or a file */
    int sampler;              /* vit_sampler */
    int grad_accum_steps;
    char save_every[32]; /* "500" or "500s" steps, "10m" minutes; empty: at the end of an epoch */
} vit_recipe;
extern const vit_option vit_recipe_options[];
extern const size_t vit_recipe_option_count;

/* Everything that decides a run's result. */
typedef struct vit_train_settings {
    vit_config model;
    vit_preprocess preprocess;
    vit_data_options data;
    vit_augment augment;
    vit_transfer transfer;
    vit_recipe recipe;
} vit_train_settings;

/* The groups of settings in the order of --help; sources may be NULL. Returns
 * VIT_SETTING_GROUPS. The groups point into both. */
enum { VIT_SETTING_GROUPS = 6 };
size_t vit_train_setting_groups(vit_train_settings *settings, unsigned char *sources,
                                vit_option_group groups[VIT_SETTING_GROUPS]);
/* Number of bytes `sources` needs above. */
size_t vit_train_setting_count(void);

/* --save-every: the unit that is not given is 0. */
vit_status vit_recipe_save_every(const vit_recipe *recipe, uint64_t *steps, double *minutes);

/* The highest learning rate: lr, scaled linearly from lr_base_size to a step's pictures. */
double vit_recipe_lr(const vit_recipe *recipe);

/* --on-nan: how many steps may be left out. */
vit_status vit_recipe_on_nan(const vit_recipe *recipe, uint64_t *most);

/* Checks every value's range, and what the table cannot say: the recipe's name, slots, the length
 * of the warm-up. The model is checked by vit_config_check. */
vit_status vit_train_settings_check(const vit_train_settings *settings);

#endif
