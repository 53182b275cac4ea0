#include "train/recipe.h"

#include "train/recipes.h"
#include "vit/number.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define FIELD(member) offsetof(vit_recipe, member)

const vit_option vit_recipe_options[] = {
    {.name = "recipe",
     .type = VIT_OPT_STRING,
     .offset = FIELD(recipe),
     .count = sizeof((vit_recipe *)0)->recipe,
     .value = "default",
     .names = vit_recipe_name,
     .metavar = "NAME",
     .may_change = true, /* a name; what it stands for is compared */
     .help = "set of training values that the other flags override"},
    {.name = "epochs",
     .type = VIT_OPT_INT,
     .offset = FIELD(epochs),
     .min = 1,
     .max = 100000,
     .value = "100",
     .help = "passes over the training pictures"},
    {.name = "steps",
     .type = VIT_OPT_INT,
     .offset = FIELD(steps),
     .min = 0,
     .max = INT_MAX,
     .value = "0",
     .help = "length of the training in steps, in place of --epochs (0: by epochs)"},
    {.name = "time-limit",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(time_limit),
     .min = 0,
     .max = 1e9,
     .value = "0",
     .metavar = "MINUTES",
     .may_change = true,
     .help =
         "minutes of work after which the epoch is cut short and measured, and the run ends (0: "
         "none)"},
    {.name = "early-stop",
     .type = VIT_OPT_INT,
     .offset = FIELD(early_stop),
     .min = 0,
     .max = INT_MAX,
     .value = "0",
     .may_change = true,
     .help = "end after so many epochs without a better one (0: never)"},
    {.name = "batch-size",
     .letter = 'b',
     .type = VIT_OPT_INT,
     .offset = FIELD(batch_size),
     .min = 1,
     .max = 65536,
     .zero = "auto",
     .value = "64",
     .help = "pictures in a step; auto: as many as half of the available memory holds, a power of "
             "two of at most 1024 and a sixteenth of the pictures"},
    {.name = "slots",
     .type = VIT_OPT_INT,
     .offset = FIELD(slots),
     .min = 0,
     .max = 65536,
     .value = "0",
     .help =
         "parts of a batch whose gradients are summed in a fixed tree, a power of two (0: by the "
         "batch size)"},
    {.name = "checkpoint-activations",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(checkpoint_activations),
     .may_change = true,
     .help = "keep only each block's input and compute the rest again in the backward: the same "
             "result in less memory, a third slower (timm: grad-checkpointing)"},
    {.name = "seed",
     .type = VIT_OPT_U64,
     .offset = FIELD(seed),
     .value = "42",
     .help = "key of all that is random"},
    {.name = "lr",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(lr),
     .min = 0,
     .max = INFINITY,
     .value = "1e-3",
     .help = "highest learning rate"},
    {.name = "lr-base-size",
     .type = VIT_OPT_INT,
     .offset = FIELD(lr_base_size),
     .min = 0,
     .max = INT_MAX,
     .value = "0",
     .help = "pictures in a step that --lr is meant for, scaled linearly to another number (0: not "
             "scaled)"},
    {.name = "warmup-lr",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(warmup_lr),
     .min = 0,
     .max = INFINITY,
     .value = "1e-6",
     .help = "learning rate of the first step"},
    {.name = "min-lr",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(min_lr),
     .min = 0,
     .max = INFINITY,
     .value = "1e-5",
     .help = "learning rate at the end"},
    {.name = "warmup-epochs",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(warmup_epochs),
     .min = 0,
     .max = 100000,
     .value = "5",
     .help = "epochs of linear warm-up; unless given, at most a fifth of the epochs"},
    {.name = "sched",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(sched),
     .choices = vit_schedule_names,
     .value = "cosine",
     .help = "course of the learning rate after the warm-up"},
    {.name = "opt",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(opt),
     .choices = vit_optimizer_names,
     .value = "adamw",
     .help = "optimizer; sgd has Nesterov momentum"},
    {.name = "momentum",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(momentum),
     .min = 0,
     .max = 0.999999,
     .value = "0.9",
     .help = "momentum of sgd"},
    {.name = "opt-betas",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(opt_betas),
     .count = 2,
     .min = 0,
     .max = 0.999999,
     .value = "0.9 0.999",
     .help = "decay rates of the two moments; lion is mostly used with 0.9 0.99"},
    {.name = "opt-eps",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(opt_eps),
     .min = 1e-30,
     .max = 1,
     .value = "1e-8",
     .help = "epsilon of adamw and lamb"},
    {.name = "weight-decay",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(weight_decay),
     .min = 0,
     .max = INFINITY,
     .value = "0.05",
     .help = "decoupled weight decay of the matrices"},
    {.name = "layer-decay",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(layer_decay),
     .min = 1e-6,
     .max = 1,
     .value = "1",
     .help = "factor of the learning rate from a block to the one before it"},
    {.name = "freeze",
     .type = VIT_OPT_STRING,
     .offset = FIELD(freeze),
     .count = sizeof((vit_recipe *)0)->freeze,
     .metavar = "PATTERNS",
     .help = "parameters that are not trained: names with * and ?, between commas"},
    {.name = "model-ema",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(model_ema),
     .help = "keep a moving average of the weights, which is what is measured and saved"},
    {.name = "model-ema-decay",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(model_ema_decay),
     .min = 0,
     .max = 1,
     .value = "0.9998",
     .help = "share of the average that a step keeps"},
    {.name = "model-ema-warmup",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(model_ema_warmup),
     .help = "let that share rise from 0 in the first steps"},
    {.name = "on-nan",
     .type = VIT_OPT_STRING,
     .offset = FIELD(on_nan),
     .count = sizeof((vit_recipe *)0)->on_nan,
     .value = "fail",
     .metavar = "fail|skip:N",
     .may_change = true,
     .help = "a loss or gradient that is not finite ends the run, or its step is left out, N times "
             "at most"},
    {.name = "clip-grad",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(clip_grad),
     .min = 0,
     .max = INFINITY,
     .value = "1",
     .help = "largest norm of the gradient (0: any)"},
    {.name = "smoothing",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(smoothing),
     .min = 0,
     .max = 0.999999,
     .value = "0.1",
     .help = "label smoothing"},
    {.name = "drop-path",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(drop_path),
     .min = 0,
     .max = 0.999999,
     .value = "0",
     .help = "stochastic depth: rate of the last block, rising linearly from 0 in the first"},
    {.name = "mixup",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(mixup),
     .min = 0,
     .max = 1000,
     .value = "0",
     .help = "mixup: alpha of the Beta distribution of the shares (0: off)"},
    {.name = "cutmix",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(cutmix),
     .min = 0,
     .max = 1000,
     .value = "0",
     .help = "CutMix: alpha of the Beta distribution of the shares (0: off)"},
    {.name = "mixup-prob",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(mixup_prob),
     .min = 0,
     .max = 1,
     .value = "1",
     .help = "probability of mixing a batch, when mixup or CutMix is on"},
    {.name = "mixup-switch-prob",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(mixup_switch_prob),
     .min = 0,
     .max = 1,
     .value = "0.5",
     .help = "probability of CutMix when both are on"},
    {.name = "repeated-aug",
     .type = VIT_OPT_INT,
     .offset = FIELD(repeated_aug),
     .min = 1,
     .max = 1000,
     .value = "1",
     .help = "augmented copies of a picture in an epoch, which shows the fewer pictures"},
    {.name = "class-weights",
     .type = VIT_OPT_STRING,
     .offset = FIELD(class_weights),
     .count = sizeof((vit_recipe *)0)->class_weights,
     .value = "none",
     .metavar = "auto|FILE",
     .help = "weights of the classes in the loss: none, auto (by the inverse of their pictures) or "
             "a file of class,weight; scaled so that their mean is 1"},
    {.name = "sampler",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(sampler),
     .choices = vit_sampler_names,
     .value = "uniform",
     .help = "an epoch shows every picture once, or (balanced) every class equally often"},
    {.name = "grad-accum-steps",
     .type = VIT_OPT_INT,
     .offset = FIELD(grad_accum_steps),
     .min = 1,
     .max = 65536,
     .value = "1",
     .help = "batches whose gradients make one step"},
    {.name = "save-every",
     .type = VIT_OPT_STRING,
     .offset = FIELD(save_every),
     .count = sizeof((vit_recipe *)0)->save_every,
     .metavar = "N[s|m]",
     .may_change = true,
     .help =
         "save also within an epoch, every N steps (s) or minutes (m), so that --resume loses no "
         "more"},
};
const size_t vit_recipe_option_count = sizeof vit_recipe_options / sizeof *vit_recipe_options;

size_t vit_train_setting_groups(vit_train_settings *settings, unsigned char *sources,
                                vit_option_group groups[VIT_SETTING_GROUPS]) {
    const vit_option_group all[VIT_SETTING_GROUPS] = {
        {"Model", vit_config_options, vit_config_option_count, &settings->model, NULL},
        {"Preprocessing", vit_preprocess_options, vit_preprocess_option_count,
         &settings->preprocess, NULL},
        vit_data_group(&settings->data, vit_data_option_count),
        {"Augmentation", vit_augment_options, vit_augment_option_count, &settings->augment, NULL},
        {"Fine-tuning", vit_transfer_options, vit_transfer_option_count, &settings->transfer, NULL},
        {"Training", vit_recipe_options, vit_recipe_option_count, &settings->recipe, NULL},
    };
    size_t first = 0;
    for (size_t i = 0; i < VIT_SETTING_GROUPS; i++) {
        groups[i] = all[i];
        groups[i].sources = sources ? sources + first : NULL;
        first += all[i].count;
    }
    return VIT_SETTING_GROUPS;
}

size_t vit_train_setting_count(void) {
    return vit_config_option_count + vit_preprocess_option_count + vit_data_option_count +
           vit_augment_option_count + vit_transfer_option_count + vit_recipe_option_count;
}

static vit_status check_ranges(const vit_train_settings *settings) {
    vit_train_settings copy = *settings;
    vit_option_group groups[VIT_SETTING_GROUPS];
    size_t count = vit_train_setting_groups(&copy, NULL, groups);
    for (size_t g = 0; g < count; g++) {
        for (size_t i = 0; i < groups[g].count; i++) {
            vit_status status = vit_option_check(&groups[g].options[i], groups[g].target, "--");
            if (status != VIT_OK) {
                return status;
            }
        }
    }
    return vit_augment_check(&settings->augment, NULL);
}

vit_status vit_recipe_save_every(const vit_recipe *recipe, uint64_t *steps, double *minutes) {
    const char *text = recipe->save_every;
    double value = 0;
    *steps = 0;
    *minutes = 0;
    if (!*text) {
        return VIT_OK;
    }
    const char *unit = vit_number_parse(text, &value);
    bool in_minutes = strcmp(unit, "m") == 0;
    bool in_steps = !*unit || strcmp(unit, "s") == 0;
    if (unit == text || !(in_minutes || in_steps) || !(value > 0 && value <= 1e9) ||
        (in_steps && value != floor(value))) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--save-every %s: not a length (expected steps, 500 or 500s, or minutes, "
                        "10m)",
                        text);
    }
    if (in_minutes) {
        *minutes = value;
    } else {
        *steps = (uint64_t)value;
    }
    return VIT_OK;
}

double vit_recipe_lr(const vit_recipe *recipe) {
    double images = (double)recipe->batch_size * recipe->grad_accum_steps;
    return recipe->lr_base_size > 0 ? recipe->lr * (images / recipe->lr_base_size) : recipe->lr;
}

vit_status vit_recipe_on_nan(const vit_recipe *recipe, uint64_t *most) {
    const char *text = recipe->on_nan;
    double value = 0;
    *most = 0;
    if (strcmp(text, "fail") == 0) {
        return VIT_OK;
    }
    bool skips = strncmp(text, "skip:", 5) == 0 || strncmp(text, "skip ", 5) == 0;
    const char *end = skips ? vit_number_parse(text + 5, &value) : text;
    if (!skips || end == text + 5 || *end || !(value >= 1 && value <= 1e9) ||
        value != floor(value)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--on-nan %s: neither (expected fail, or skip:N for at most N steps)",
                        text);
    }
    *most = (uint64_t)value;
    return VIT_OK;
}

vit_status vit_train_settings_check(const vit_train_settings *settings) {
    const vit_recipe *r = &settings->recipe;
    uint64_t save_steps, bad_steps;
    double save_minutes;
    vit_status status = VIT_OK;
    VIT_TRY(check_ranges(settings));
    VIT_TRY(vit_recipe_save_every(r, &save_steps, &save_minutes));
    VIT_TRY(vit_recipe_on_nan(r, &bad_steps));
    VIT_TRY(vit_recipe_find(r->recipe));
    if (r->sampler == VIT_SAMPLER_BALANCED && strcmp(r->class_weights, "auto") == 0) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "--class-weights auto: --sampler balanced makes up for the classes' sizes "
                         "already (expected one of them)"));
    }
    if (r->slots & (r->slots - 1)) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "--slots %d: not a power of two (expected 0, 1, 2, 4, "
                         "... up to the batch size)",
                         r->slots));
    }
    if (r->batch_size > 0 && r->slots > r->batch_size) { /* 0: chosen later */
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "--slots %d: more than pictures in a batch (expected at most %d)",
                         r->slots, r->batch_size));
    }
    if (r->warmup_epochs >= r->epochs) {
        VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                         "--warmup-epochs %g: as long as the training (expected less than --epochs "
                         "%d)",
                         r->warmup_epochs, r->epochs));
    }
cleanup:
    return status;
}
