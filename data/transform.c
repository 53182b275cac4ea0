#include "data/transform.h"

#include "vit/rng.h"
#include "vit/simd.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

void vit_transform_scratch_free(vit_transform_scratch *scratch) {
    vit_bytes_free(&scratch->file);
    vit_image_free(&scratch->decoded);
    vit_image_free(&scratch->resized);
    vit_image_free(&scratch->spare);
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
    if (height == width) {
        vit_short_side_size(image, target_h, scaled_height, scaled_width);
    } else { /* timm's ResizeKeepRatio: both are rounded */
        double h = (double)image->height, w = (double)image->width;
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

vit_box vit_eval_box(const vit_preprocess *preprocess, size_t height, size_t width,
                     const vit_image *image) {
    size_t scaled_h, scaled_w, x, y, top, left, ignored;
    scaled_size(preprocess, height, width, image, &scaled_h, &scaled_w);
    center(scaled_h, height, &y, &ignored, &top);
    center(scaled_w, width, &x, &ignored, &left);
    double down = (double)image->height / (double)scaled_h;
    double across = (double)image->width / (double)scaled_w;
    double y0 = (double)y - (double)top, x0 = (double)x - (double)left;
    return (vit_box){.x0 = x0 * across,
                     .y0 = y0 * down,
                     .x1 = (x0 + (double)width) * across,
                     .y1 = (y0 + (double)height) * down};
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

static vit_interpolation draw_interpolation(const vit_augment *augment, const vit_sample_key *key) {
    if (augment->train_interpolation <= VIT_BILINEAR) {
        return (vit_interpolation)augment->train_interpolation;
    }
    vit_rng rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_FILTER);
    return vit_rng_uniform(&rng) < 0.5 ? VIT_BILINEAR : VIT_BICUBIC;
}

/* torchvision's ColorJitter: the three in a random order, each by a factor of its own. */
static void jitter_color(double jitter, const vit_sample_key *key, vit_image *image) {
    static void (*const operations[3])(vit_image *, double) = {vit_op_brightness, vit_op_contrast,
                                                               vit_op_color};
    vit_rng rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_COLOR);
    uint32_t order[] = {0, 1, 2};
    for (uint32_t i = 2; i > 0; i--) {
        uint32_t j = vit_rng_below(&rng, i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (int i = 0; i < 3; i++) {
        double factor = vit_rng_range(&rng, fmax(0, 1 - jitter), 1 + jitter);
        operations[order[i]](image, factor);
    }
}

/* timm leaves colour jitter out beside a policy, but for three-augment, which is made to go with
 * it. */
static vit_status change_pixels(const vit_preprocess *preprocess, const vit_augment *augment,
                                const vit_auto_augment *policy, const vit_sample_key *key,
                                vit_transform_scratch *scratch) {
    uint8_t fill[3];
    for (int c = 0; c < 3; c++) {
        fill[c] = (uint8_t)fmin(255, fmax(0, rint(255 * preprocess->mean[c])));
    }
    vit_rng rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_AUTO_AUG);
    vit_status status =
        vit_auto_augment_apply(policy, &rng, fill, &scratch->resized, &scratch->spare);
    bool jitters = policy->policy == VIT_POLICY_NONE || policy->policy == VIT_POLICY_THREE;
    if (status == VIT_OK && jitters && augment->color_jitter > 0) {
        jitter_color(augment->color_jitter, key, &scratch->resized);
    }
    return status;
}

/* A crop that is decoded smaller than it is stays so much larger than the network's input: what
 * the decoder's scaling does otherwise than Pillow's filter is then mostly filtered out (on average
 * 0.7 of 255 levels are left over large photographs, 2.5 over small sharp ones). */
#define SHRINK_MARGIN 1.5

vit_request vit_request_crop(void *context, size_t width, size_t height) {
    const vit_crop_request *c = context;
    vit_request request = {.window = vit_random_crop(c->augment, height, width, c->key)};
    if (c->augment->fast_decode) {
        request.least_width = (size_t)(SHRINK_MARGIN * (double)c->width);
        request.least_height = (size_t)(SHRINK_MARGIN * (double)c->height);
    }
    return request;
}

vit_status vit_transform_train(const vit_preprocess *preprocess, const vit_augment *augment,
                               const vit_auto_augment *policy, size_t height, size_t width,
                               const vit_image *image, const vit_sample_key *key,
                               vit_transform_scratch *scratch, float *out) {
    if (augment->no_aug) {
        return vit_transform_eval(preprocess, height, width, image, scratch, out);
    }
    vit_window crop = vit_random_crop(augment, image->height, image->width, key);
    vit_part part = vit_part_of(image, &crop);
    return vit_transform_crop(preprocess, augment, policy, height, width, &part, key, scratch, out);
}

vit_status vit_transform_crop(const vit_preprocess *preprocess, const vit_augment *augment,
                              const vit_auto_augment *policy, size_t height, size_t width,
                              const vit_part *crop, const vit_sample_key *key,
                              vit_transform_scratch *scratch, float *out) {
    vit_rng rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_FLIP);
    bool hflip = vit_rng_uniform(&rng) < augment->hflip;
    bool vflip = vit_rng_uniform(&rng) < augment->vflip;
    vit_status status;
    VIT_TRY(vit_resize_view(&crop->view, &crop->box, width, height, NULL,
                            draw_interpolation(augment, key), &scratch->resize, &scratch->resized));
    VIT_TRY(change_pixels(preprocess, augment, policy, key, scratch));
    normalize(preprocess, &scratch->resized, hflip, vflip, height, width, 0, 0, out);
    rng = vit_rng_make(key->seed, key->epoch, key->sample, VIT_RNG_ERASE);
    vit_random_erase(&augment->erase, &rng, 3, height, width, out);
cleanup:
    return status;
}
