/* The flags of training augmentation, timm's names and defaults. */
#include "data/transform.h"

#include <stddef.h>

const char *const vit_train_interpolation_names[] = {"bicubic", "bilinear", "random", NULL};

#define FIELD(name) offsetof(vit_augment, name)
const vit_option vit_augment_options[] = {
    {.name = "no-aug",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(no_aug),
     .help = "train on the evaluation transform, without augmentation"},
    {.name = "scale",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(scale),
     .count = 2,
     .min = 1e-6,
     .max = 1,
     .value = "0.08 1",
     .metavar = "MIN MAX",
     .help = "random crop: share of the picture's area"},
    {.name = "ratio",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(ratio),
     .count = 2,
     .min = 0.01,
     .max = 100,
     .value = "0.75 1.3333333333333333",
     .metavar = "MIN MAX",
     .help = "random crop: width over height"},
    {.name = "train-interpolation",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(train_interpolation),
     .choices = vit_train_interpolation_names,
     .value = "random",
     .help = "filter of the random crop's resize; random draws one for each picture"},
    {.name = "hflip",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(hflip),
     .min = 0,
     .max = 1,
     .value = "0.5",
     .metavar = "P",
     .help = "probability of mirroring left and right"},
    {.name = "vflip",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(vflip),
     .min = 0,
     .max = 1,
     .value = "0",
     .metavar = "P",
     .help = "probability of turning upside down"},
    {.name = "color-jitter",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(color_jitter),
     .min = 0,
     .max = 10,
     .value = "0.4",
     .help = "brightness, contrast and saturation by factors of 1 -+ this; not beside --aa rand or "
             "trivial"},
    {.name = "aa",
     .type = VIT_OPT_STRING,
     .offset = FIELD(aa),
     .count = sizeof((vit_augment *)0)->aa,
     .value = "none",
     .metavar = "POLICY",
     .help = "automatic augmentation: none, rand-m9-mstd0.5-inc1, 3a, trivial"},
    {.name = "reprob",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(erase.reprob),
     .min = 0,
     .max = 1,
     .value = "0",
     .metavar = "P",
     .help = "probability of random erasing"},
    {.name = "remode",
     .type = VIT_OPT_ENUM,
     .offset = FIELD(erase.remode),
     .choices = vit_erase_mode_names,
     .value = "pixel",
     .help = "what erased boxes hold: noise a pixel, zeros, noise a box"},
    {.name = "recount",
     .type = VIT_OPT_INT,
     .offset = FIELD(erase.recount),
     .min = 1,
     .max = 100,
     .value = "1",
     .help = "most boxes to erase"},
    {.name = "fast-decode",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(fast_decode),
     .value = "true",
     .help =
         "decode JPEGs at 1/2, 1/4 or 1/8 where the random crop stays 1.5 times the input; 1 to 2 "
         "levels of 255 from exact"},
};
const size_t vit_augment_option_count = sizeof vit_augment_options / sizeof *vit_augment_options;

static vit_status check_range(const char *name, const double range[2]) {
    if (!(range[0] > 0 && range[0] <= range[1])) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--%s %g %g: expected two positive numbers, the smaller one first", name,
                        range[0], range[1]);
    }
    return VIT_OK;
}

vit_status vit_augment_check(const vit_augment *augment, vit_auto_augment *policy) {
    vit_status status;
    vit_auto_augment unused;
    VIT_TRY(check_range("scale", augment->scale));
    VIT_TRY(check_range("ratio", augment->ratio));
    VIT_TRY(vit_auto_augment_parse(augment->aa, policy ? policy : &unused));
cleanup:
    return status;
}
