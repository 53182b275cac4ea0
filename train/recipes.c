#include "train/recipes.h"

#include <stdio.h>
#include <string.h>

typedef struct value {
    const char *option, *text;
} value;

enum { MAX_VALUES = 28 };

typedef struct recipe {
    const char *name, *help;
    value values[MAX_VALUES]; /* an empty one ends them */
} recipe;

static const recipe recipes[] = {
    {"default", "the values that --help shows", {{NULL, NULL}}},
    /* Touvron et al. 2021, table 9, and the defaults of their main.py. */
    {"deit-tiny",
     "DeiT's recipe for ImageNet-1k from nothing: 300 epochs of 1024 pictures a step",
     {{"epochs", "300"},
      {"batch-size", "1024"},
      {"opt", "adamw"},
      {"opt-betas", "0.9 0.999"},
      {"opt-eps", "1e-8"},
      {"weight-decay", "0.05"},
      {"lr", "5e-4"},
      {"lr-base-size", "512"},
      {"sched", "cosine"},
      {"warmup-epochs", "5"},
      {"warmup-lr", "1e-6"},
      {"min-lr", "1e-5"},
      {"clip-grad", "0"},
      {"drop-path", "0.1"},
      {"smoothing", "0.1"},
      {"aa", "rand-m9-mstd0.5-inc1"},
      {"train-interpolation", "bicubic"},
      {"reprob", "0.25"},
      {"remode", "pixel"},
      {"recount", "1"},
      {"mixup", "0.8"},
      {"cutmix", "1"},
      {"mixup-prob", "1"},
      {"mixup-switch-prob", "0.5"},
      {"repeated-aug", "3"},
      {"model-ema", "true"},
      {"model-ema-decay", "0.99996"}}},
    /* LAMB (You et al. 2020), with the values that DeiT III (Touvron et al. 2022, table 1) has for
     * 2,048 pictures; its loss and augmentation are others. docs/cluster.md has an experiment. */
    {"large-batch",
     "ImageNet-1k from nothing on many machines: 300 epochs of 2048 pictures a step, LAMB",
     {{"epochs", "300"},
      {"batch-size", "2048"},
      {"opt", "lamb"},
      {"weight-decay", "0.02"},
      {"lr", "3e-3"},
      {"lr-base-size", "2048"},
      {"sched", "cosine"},
      {"warmup-epochs", "5"},
      {"warmup-lr", "1e-6"},
      {"min-lr", "1e-6"},
      {"clip-grad", "1"},
      {"drop-path", "0.1"},
      {"smoothing", "0.1"},
      {"aa", "rand-m9-mstd0.5-inc1"},
      {"train-interpolation", "bicubic"},
      {"mixup", "0.8"},
      {"cutmix", "1"},
      {"repeated-aug", "3"}}},
    /* By experiment: docs/accuracy.md. */
    {"small-data",
     "a few thousand pictures on few cores",
     {{"epochs", "60"},
      {"batch-size", "64"},
      {"lr", "1e-3"},
      {"weight-decay", "0.05"},
      {"drop-path", "0.1"},
      {"scale", "0.5 1"},
      {"color-jitter", "0"},
      {"mixup", "0.2"},
      {"cutmix", "1"}}},
    {"finetune",
     "from trained weights (--init): short",
     {{"epochs", "30"},
      {"lr", "1e-3"},
      {"warmup-epochs", "2"},
      {"drop-path", "0.1"},
      {"scale", "0.35 1"}}},
};
enum { COUNT = sizeof recipes / sizeof *recipes };

const char *vit_recipe_name(size_t index, const char **help) {
    if (index >= COUNT) {
        return NULL;
    }
    if (help) {
        *help = recipes[index].help;
    }
    return recipes[index].name;
}

static const recipe *find(const char *name) {
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(recipes[i].name, name) == 0) {
            return &recipes[i];
        }
    }
    return NULL;
}

static vit_status fail_unknown(const char *name) {
    char names[256] = "";
    for (size_t i = 0; i < COUNT; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", recipes[i].name);
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "--recipe %s: no such recipe (expected one of %s)", name,
                    names);
}

static vit_status set(const value *v, const vit_option_group *groups, size_t group_count) {
    for (size_t g = 0; g < group_count; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            if (strcmp(groups[g].options[i].name, v->option) == 0) {
                return vit_option_set(&groups[g], i, v->text, "recipe: --", VIT_FROM_RECIPE);
            }
        }
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "recipe: --%s: no such option", v->option);
}

vit_status vit_recipe_find(const char *name) {
    return find(name) ? VIT_OK : fail_unknown(name);
}

vit_status vit_recipe_apply(const char *name, const vit_option_group *groups, size_t group_count) {
    const recipe *found = find(name);
    if (!found) {
        return fail_unknown(name);
    }
    for (size_t i = 0; i < MAX_VALUES && found->values[i].option; i++) {
        vit_status status = set(&found->values[i], groups, group_count);
        if (status != VIT_OK) {
            return status;
        }
    }
    return VIT_OK;
}
