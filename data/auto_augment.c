#include "data/auto_augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEVEL_DENOM 10.0 /* a level of 10 is an operation at full strength */
#define TRANSLATE_SHARE 0.45

/* ---- the policy's spelling ---- */

enum { MAX_LAYERS = 16 };

/* "m9" for prefix "m": the number after the prefix. */
static bool read_number(const char *part, const char *prefix, double *value) {
    size_t length = strlen(prefix);
    if (strncmp(part, prefix, length) != 0) {
        return false;
    }
    char *end;
    double number = strtod(part + length, &end);
    if (end == part + length || *end != '\0' || !(number >= 0)) {
        return false;
    }
    *value = number;
    return true;
}

static bool read_part(const char *part, vit_auto_augment *out) {
    double number;
    if (read_number(part, "mstd", &number)) {
        out->magnitude_std = number > 100 ? INFINITY : number; /* timm: above 100 means uniform */
    } else if (read_number(part, "mmax", &number) && number > 0) {
        out->magnitude_max = number;
    } else if (read_number(part, "m", &number)) {
        out->magnitude = number;
    } else if (read_number(part, "n", &number) && number <= MAX_LAYERS && number == floor(number)) {
        out->layers = (int)number;
    } else if (read_number(part, "p", &number) && number <= 1) {
        out->probability = number;
    } else if (read_number(part, "inc", &number)) {
        out->increasing = number != 0;
    } else {
        return false;
    }
    return true;
}

static vit_status parse_rand(const char *text, vit_auto_augment *out) {
    char copy[128];
    size_t length = strlen(text);
    if (length >= sizeof copy) {
        return vit_fail(VIT_ERROR_ARGUMENT, "aa: %s: too long", text);
    }
    memcpy(copy, text, length + 1);
    *out = (vit_auto_augment){.policy = VIT_POLICY_RAND,
                              .magnitude = LEVEL_DENOM,
                              .magnitude_max = LEVEL_DENOM,
                              .probability = 0.5,
                              .layers = 2};
    char *rest = copy;
    strsep(&rest, "-"); /* "rand" */
    for (char *part; (part = strsep(&rest, "-")) != NULL;) {
        if (!read_part(part, out)) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "aa: %s: unknown part '%s' (expected m9, n2, p0.5, mstd0.5, mmax10 or "
                            "inc1)",
                            text, part);
        }
    }
    return VIT_OK;
}

vit_status vit_auto_augment_parse(const char *text, vit_auto_augment *out) {
    *out = (vit_auto_augment){0};
    if (text[0] == '\0' || strcmp(text, "none") == 0) {
        return VIT_OK;
    }
    if (strcmp(text, "3a") == 0) {
        out->policy = VIT_POLICY_THREE;
        return VIT_OK;
    }
    if (strcmp(text, "trivial") == 0) {
        out->policy = VIT_POLICY_TRIVIAL;
        return VIT_OK;
    }
    if (strcmp(text, "rand") == 0 || strncmp(text, "rand-", 5) == 0) {
        return parse_rand(text, out);
    }
    return vit_fail(VIT_ERROR_ARGUMENT,
                    "aa: %s: unknown policy (expected none, rand-m9-mstd0.5-inc1, 3a or trivial)",
                    text);
}

/* ---- operations at a level ---- */

typedef struct context {
    vit_rng *rng;
    const uint8_t *fill;
    vit_image *image, *scratch;
    bool increasing;
} context;

static double randomly_negated(context *c, double value) {
    return vit_rng_uniform(c->rng) > 0.5 ? -value : value;
}

static void take(context *c) {
    vit_image swap = *c->image;
    *c->image = *c->scratch;
    *c->scratch = swap;
}

static vit_status affine(context *c, vit_affine matrix) {
    /* timm draws the interpolation for each transform. */
    vit_interpolation interpolation = vit_rng_uniform(c->rng) < 0.5 ? VIT_BILINEAR : VIT_BICUBIC;
    vit_status status = vit_op_affine(c->image, &matrix, interpolation, c->fill, c->scratch);
    if (status == VIT_OK) {
        take(c);
    }
    return status;
}

static vit_status autocontrast(context *c, double level) {
    (void)level;
    vit_op_autocontrast(c->image);
    return VIT_OK;
}

static vit_status equalize(context *c, double level) {
    (void)level;
    vit_op_equalize(c->image);
    return VIT_OK;
}

static vit_status invert(context *c, double level) {
    (void)level;
    vit_op_invert(c->image);
    return VIT_OK;
}

static vit_status rotate(context *c, double level) {
    double degrees = randomly_negated(c, level / LEVEL_DENOM * 30);
    return affine(c, vit_affine_rotate(degrees, c->image->width, c->image->height));
}

static vit_status posterize(context *c, double level) {
    int bits = (int)(level / LEVEL_DENOM * 4);
    bits = c->increasing ? 4 - bits : bits;
    vit_op_posterize(c->image, bits < 0 ? 0 : bits);
    return VIT_OK;
}

static vit_status solarize(context *c, double level) {
    int threshold = (int)(level / LEVEL_DENOM * 256);
    threshold = threshold > 256 ? 256 : threshold;
    vit_op_solarize(c->image, c->increasing ? 256 - threshold : threshold);
    return VIT_OK;
}

static vit_status solarize_add(context *c, double level) {
    int add = (int)(level / LEVEL_DENOM * 110);
    vit_op_solarize_add(c->image, add > 128 ? 128 : add);
    return VIT_OK;
}

/* 1 leaves the picture alone; increasing moves away from it to either side. */
static double enhance_factor(context *c, double level) {
    if (!c->increasing) {
        return level / LEVEL_DENOM * 1.8 + 0.1;
    }
    double factor = 1 + randomly_negated(c, level / LEVEL_DENOM * 0.9);
    return factor < 0.1 ? 0.1 : factor;
}

static vit_status color(context *c, double level) {
    vit_op_color(c->image, enhance_factor(c, level));
    return VIT_OK;
}

static vit_status contrast(context *c, double level) {
    vit_op_contrast(c->image, enhance_factor(c, level));
    return VIT_OK;
}

static vit_status brightness(context *c, double level) {
    vit_op_brightness(c->image, enhance_factor(c, level));
    return VIT_OK;
}

static vit_status sharpen(context *c, double factor) {
    vit_status status = vit_op_sharpness(c->image, factor, c->scratch);
    if (status == VIT_OK) {
        take(c);
    }
    return status;
}

static vit_status sharpness(context *c, double level) {
    return sharpen(c, enhance_factor(c, level));
}

static vit_status shear_x(context *c, double level) {
    return affine(c, vit_affine_shear_x(randomly_negated(c, level / LEVEL_DENOM * 0.3)));
}

static vit_status shear_y(context *c, double level) {
    return affine(c, vit_affine_shear_y(randomly_negated(c, level / LEVEL_DENOM * 0.3)));
}

static vit_status translate_x(context *c, double level) {
    double share = randomly_negated(c, level / LEVEL_DENOM * TRANSLATE_SHARE);
    return affine(c, vit_affine_translate(share * (double)c->image->width, 0));
}

static vit_status translate_y(context *c, double level) {
    double share = randomly_negated(c, level / LEVEL_DENOM * TRANSLATE_SHARE);
    return affine(c, vit_affine_translate(0, share * (double)c->image->height));
}

typedef vit_status (*operation)(context *c, double level);

/* timm's fifteen, in its order. */
static const operation rand_operations[] = {
    autocontrast, equalize,   invert,    rotate,  posterize, solarize,    solarize_add, color,
    contrast,     brightness, sharpness, shear_x, shear_y,   translate_x, translate_y,
};
enum { RAND_OPERATIONS = sizeof rand_operations / sizeof *rand_operations };

static double draw_magnitude(const vit_auto_augment *policy, vit_rng *rng) {
    double magnitude = policy->magnitude;
    if (isinf(policy->magnitude_std)) {
        magnitude = vit_rng_range(rng, 0, magnitude);
    } else if (policy->magnitude_std > 0) {
        magnitude += policy->magnitude_std * vit_rng_normal(rng);
    }
    return fmax(0, fmin(magnitude, policy->magnitude_max));
}

static vit_status apply_rand(const vit_auto_augment *policy, context *c) {
    operation chosen[MAX_LAYERS];
    for (int i = 0; i < policy->layers; i++) {
        chosen[i] = rand_operations[vit_rng_below(c->rng, RAND_OPERATIONS)];
    }
    for (int i = 0; i < policy->layers; i++) {
        if (vit_rng_uniform(c->rng) >= policy->probability) {
            continue;
        }
        vit_status status = chosen[i](c, draw_magnitude(policy, c->rng));
        if (status != VIT_OK) {
            return status;
        }
    }
    return VIT_OK;
}

static vit_status apply_three(context *c) {
    switch (vit_rng_below(c->rng, 3)) {
    case 0:
        vit_op_solarize(c->image, 128);
        return VIT_OK;
    case 1:
        vit_op_color(c->image, 0); /* grey */
        return VIT_OK;
    default:
        return vit_op_gaussian_blur(c->image, vit_rng_range(c->rng, 0.1, 2.0), c->scratch);
    }
}

/* One operation out of fourteen at one of 31 strengths; those of both signs draw one. */
static vit_status apply_trivial(context *c) {
    uint32_t which = vit_rng_below(c->rng, 14);
    double share = vit_rng_below(c->rng, 31) / 30.0;
    double sign = vit_rng_below(c->rng, 2) ? -1 : 1;
    double strength = sign * share;
    switch (which) {
    case 0:
        return VIT_OK;
    case 1:
        return affine(c, vit_affine_shear_x(0.99 * strength));
    case 2:
        return affine(c, vit_affine_shear_y(0.99 * strength));
    case 3:
        return affine(c, vit_affine_translate(32 * strength, 0));
    case 4:
        return affine(c, vit_affine_translate(0, 32 * strength));
    case 5:
        return affine(c, vit_affine_rotate(135 * strength, c->image->width, c->image->height));
    case 6:
        vit_op_brightness(c->image, 1 + 0.99 * strength);
        return VIT_OK;
    case 7:
        vit_op_color(c->image, 1 + 0.99 * strength);
        return VIT_OK;
    case 8:
        vit_op_contrast(c->image, 1 + 0.99 * strength);
        return VIT_OK;
    case 9:
        return sharpen(c, 1 + 0.99 * strength);
    case 10:
        vit_op_posterize(c->image, 8 - (int)lround(6 * share));
        return VIT_OK;
    case 11:
        vit_op_solarize(c->image, (int)ceil(255 - 255 * share));
        return VIT_OK;
    case 12:
        vit_op_autocontrast(c->image);
        return VIT_OK;
    default:
        vit_op_equalize(c->image);
        return VIT_OK;
    }
}

vit_status vit_auto_augment_apply(const vit_auto_augment *policy, vit_rng *rng,
                                  const uint8_t fill[3], vit_image *image, vit_image *scratch) {
    context c = {rng, fill, image, scratch, policy->increasing};
    switch (policy->policy) {
    case VIT_POLICY_NONE:
        break;
    case VIT_POLICY_RAND:
        return apply_rand(policy, &c);
    case VIT_POLICY_THREE:
        return apply_three(&c);
    case VIT_POLICY_TRIVIAL:
        return apply_trivial(&c);
    }
    return VIT_OK;
}
