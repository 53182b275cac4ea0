#include "data/transform.h"

#include "vit/rng.h"
#include "vit/simd.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

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

vit_status vit_augment_check(const vit_augment *augment) {
    vit_status status = check_range("scale", augment->scale);
    return status == VIT_OK ? check_range("ratio", augment->ratio) : status;
}

void vit_transform_scratch_free(vit_transform_scratch *scratch) {
    vit_bytes_free(&scratch->file);
    vit_image_free(&scratch->decoded);
    vit_image_free(&scratch->resized);
    vit_resize_scratch_free(&scratch->resize);
}

/* ---- bytes to floats ---- */

/* One row, or its mirror image, into three planes. In torch's order of operations (x / 255, less
 * mean, over std), so that the floats are the same to the last bit. */
VIT_CLONES static void normalize_row(const uint8_t *rgb, size_t width, bool mirrored,
                                     const float mean[3], const float std[3], float *out,
                                     size_t plane) {
    for (size_t c = 0; c < 3; c++) {
        const uint8_t *from = rgb + c;
        float *to = out + c * plane;
        float m = mean[c], s = std[c];
        for (size_t x = 0; x < width; x++) {
            to[x] = ((float)from[3 * x] / 255.0f - m) / s;
        }
        for (size_t x = 0; mirrored && x < width / 2; x++) {
            float t = to[x];
            to[x] = to[width - 1 - x];
            to[width - 1 - x] = t;
        }
    }
}

/* The picture with its top left corner at (left, top) of the (3,height,width) planes; black around
 * it. */
static void normalize(const vit_preprocess *preprocess, const vit_image *image, bool hflip,
                      bool vflip, size_t height, size_t width, size_t top, size_t left,
                      float *out /* (3,height,width) */) {
    float mean[3], std[3];
    size_t plane = height * width;
    for (int c = 0; c < 3; c++) {
        mean[c] = (float)preprocess->mean[c];
        std[c] = (float)preprocess->std[c];
    }
    if (image->height < height || image->width < width) {
        for (size_t c = 0; c < 3; c++) {
            float black = (0.0f - mean[c]) / std[c];
            for (size_t i = 0; i < plane; i++) {
                out[c * plane + i] = black;
            }
        }
    }
    for (size_t y = 0; y < image->height; y++) {
        size_t from = vflip ? image->height - 1 - y : y;
        normalize_row(image->pixels + from * image->width * 3, image->width, hflip, mean, std,
                      out + (top + y) * width + left, plane);
    }
}

/* ---- evaluation ---- */

/* The size to which a picture is scaled before the centre crop. */
static void scaled_size(const vit_preprocess *preprocess, size_t height, size_t width,
                        const vit_image *image, size_t *scaled_height, size_t *scaled_width) {
    double target_h = fmax(1, floor((double)height / preprocess->crop_pct));
    double target_w = fmax(1, floor((double)width / preprocess->crop_pct));
    double h = (double)image->height, w = (double)image->width;
    if (height == width) { /* torchvision's Resize(int): the long side is truncated */
        *scaled_height = (size_t)(h <= w ? target_h : target_h * h / w);
        *scaled_width = (size_t)(w <= h ? target_w : target_w * w / h);
    } else { /* timm's ResizeKeepRatio: both are rounded */
        double ratio = fmin(h / target_h, w / target_w);
        *scaled_height = (size_t)rint(h / ratio);
        *scaled_width = (size_t)rint(w / ratio);
    }
}

/* Where torchvision's CenterCrop cuts `size` pixels down (or pads them up) to `crop`: the first
 * pixel kept and how many, and where the first one goes. Python rounds a half to the even number,
 * as rint does. */
static void center(size_t size, size_t crop, size_t *first, size_t *count, size_t *at) {
    *first = size > crop ? (size_t)rint((double)(size - crop) / 2.0) : 0;
    *at = size < crop ? (crop - size) / 2 : 0;
    *count = size < crop ? size : crop;
}

vit_status vit_transform_eval(const vit_preprocess *preprocess, size_t height, size_t width,
                              const vit_image *image, vit_transform_scratch *scratch, float *out) {
    size_t scaled_h, scaled_w, top, left;
    vit_window window;
    vit_view view = vit_view_all(image);
    scaled_size(preprocess, height, width, image, &scaled_h, &scaled_w);
    center(scaled_h, height, &window.y, &window.height, &top);
    center(scaled_w, width, &window.x, &window.width, &left);
    vit_status status;
    VIT_TRY(vit_resize_view(&view, NULL, scaled_w, scaled_h, &window,
                            (vit_interpolation)preprocess->interpolation, &scratch->resize,
                            &scratch->resized));
    normalize(preprocess, &scratch->resized, false, false, height, width, top, left, out);
cleanup:
    return status;
}

/* ---- training ---- */

/* The centre crop of torchvision's RandomResizedCrop for a picture that is too long or too tall. */
static vit_window fallback_crop(const vit_augment *augment, size_t height, size_t width) {
    double ratio = (double)width / (double)height;
    vit_window crop = {0, 0, width, height};
    if (ratio < augment->ratio[0]) {
        crop.height = (size_t)rint((double)width / augment->ratio[0]);
    } else if (ratio > augment->ratio[1]) {
        crop.width = (size_t)rint((double)height * augment->ratio[1]);
    }
    /* A narrow picture with an extreme ratio would round to nothing. */
    crop.height = crop.height ? crop.height : 1;
    crop.width = crop.width ? crop.width : 1;
    crop.y = (height - crop.height) / 2;
    crop.x = (width - crop.width) / 2;
    return crop;
}

vit_window vit_random_crop(const vit_augment *augment, size_t height, size_t width,
                           const vit_sample_key *key) {
    vit_rng rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_CROP);
    double area = (double)height * (double)width;
    double log_low = log(augment->ratio[0]), log_high = log(augment->ratio[1]);
    for (int attempt = 0; attempt < 10; attempt++) {
        double target = area * vit_rng_range(&rng, augment->scale[0], augment->scale[1]);
        double ratio = exp(vit_rng_range(&rng, log_low, log_high));
        double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (w > 0 && w <= (double)width && h > 0 && h <= (double)height) {
            vit_window crop = {.width = (size_t)w, .height = (size_t)h};
            /* A picture's side is below 2^31. */
            crop.y = vit_rng_below(&rng, (uint32_t)(height - crop.height + 1));
            crop.x = vit_rng_below(&rng, (uint32_t)(width - crop.width + 1));
            return crop;
        }
    }
    return fallback_crop(augment, height, width);
}

vit_status vit_transform_train(const vit_preprocess *preprocess, const vit_augment *augment,
                               size_t height, size_t width, const vit_image *image,
                               const vit_sample_key *key, vit_transform_scratch *scratch,
                               float *out) {
    if (augment->no_aug) {
        return vit_transform_eval(preprocess, height, width, image, scratch, out);
    }
    vit_window crop = vit_random_crop(augment, image->height, image->width, key);
    vit_view view = vit_view_of(image, crop.x, crop.y, crop.width, crop.height);
    vit_rng rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_FLIP);
    bool hflip = vit_rng_uniform(&rng) < augment->hflip;
    bool vflip = vit_rng_uniform(&rng) < augment->vflip;
    vit_status status;
    VIT_TRY(vit_resize_view(&view, NULL, width, height, NULL,
                            (vit_interpolation)preprocess->interpolation, &scratch->resize,
                            &scratch->resized));
    normalize(preprocess, &scratch->resized, hflip, vflip, height, width, 0, 0, out);
cleanup:
    return status;
}
