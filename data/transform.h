/* From a decoded picture to the network's input: the one preprocessing path of train, eval and
 * classify. */
#ifndef VIT_TRANSFORM_H
#define VIT_TRANSFORM_H

#include "data/auto_augment.h"
#include "data/erase.h"
#include "data/resize.h"

/* Training augmentation; every field is a row of vit_augment_options with timm's flag name and
 * default. */
typedef struct vit_augment {
    bool no_aug;             /* the evaluation transform in training too */
    double scale[2];         /* area share of the random crop */
    double ratio[2];         /* aspect ratio (width/height) of the random crop */
    int train_interpolation; /* an index into vit_train_interpolation_names */
    double hflip, vflip;     /* probabilities */
    double color_jitter; /* brightness, contrast and saturation by 1 -+ this; not beside RandAugment
                            or TrivialAugment */
    char aa[64];         /* automatic augmentation, as vit_auto_augment_parse reads it */
    vit_erase_options erase;
    bool fast_decode; /* JPEGs may be decoded at 1/2, 1/4 or 1/8 of their size */
} vit_augment;
extern const vit_option vit_augment_options[];
extern const size_t vit_augment_option_count;
/* A vit_interpolation, or drawn for each picture. */
extern const char *const vit_train_interpolation_names[]; /* "bicubic", "bilinear", "random" */

/* Checks what single options cannot: lower bounds not above upper ones, the policy's spelling,
 * which is read into *policy (may be NULL). */
vit_status vit_augment_check(const vit_augment *augment, vit_auto_augment *policy);

/* Keys of one sample's draws. */
typedef struct vit_sample_key {
    uint64_t seed;
    uint32_t epoch;
    uint64_t sample; /* vit_batch_key: index in the data set, and which repeat of it */
} vit_sample_key;

/* A thread's reusable buffers. Zero-initialise; release with vit_transform_scratch_free. */
typedef struct vit_transform_scratch {
    vit_bytes file;
    vit_image decoded, resized, spare;
    vit_resize_scratch resize;
} vit_transform_scratch;
void vit_transform_scratch_free(vit_transform_scratch *scratch);

/* torchvision's Resize(short side = floor(img_size / crop_pct)) and CenterCrop(img_size), ToTensor,
 * Normalize. height, width: the model's img_size. When they differ, the picture is scaled, keeping
 * its shape, so that it just covers floor(img_size / crop_pct) (timm's ResizeKeepRatio, with the
 * interpolation of preprocess). A picture smaller than the crop (crop_pct > 1) is padded as
 * torchvision does (black before normalising). image is not scratch->resized. */
vit_status vit_transform_eval(const vit_preprocess *preprocess, size_t height, size_t width,
                              const vit_image *image, vit_transform_scratch *scratch,
                              float *out /* (3,height,width) */);

/* What of a picture of image's size vit_transform_eval shows the network, in the picture's pixels.
 * Where the picture is padded it reaches outside of it. */
vit_box vit_eval_box(const vit_preprocess *preprocess, size_t height, size_t width,
                     const vit_image *image);

/* The crop of torchvision's RandomResizedCrop: ten tries, then the largest centre crop within the
 * aspect ratios. */
vit_window vit_random_crop(const vit_augment *augment, size_t height, size_t width,
                           const vit_sample_key *key);

/* The chooser of the random crop for vit_image_decode_part; context is one of these. */
typedef struct vit_crop_request {
    const vit_augment *augment;
    const vit_sample_key *key;
    size_t height, width; /* that the crop is resized to */
} vit_crop_request;
vit_request vit_request_crop(void *context, size_t width, size_t height);

/* RandomResizedCrop, automatic augmentation or colour jitter, flips, ToTensor, Normalize, random
 * erasing. (timm flips before it jitters; as every transform is drawn with either sign, the
 * distribution is the same.) policy: as vit_augment_check read it. image is not scratch->resized.
 */
vit_status vit_transform_train(const vit_preprocess *preprocess, const vit_augment *augment,
                               const vit_auto_augment *policy, size_t height, size_t width,
                               const vit_image *image, const vit_sample_key *key,
                               vit_transform_scratch *scratch, float *out /* (3,height,width) */);

/* The same from the random crop itself, as vit_request_crop asked for it; no_aug is not looked at.
 */
vit_status vit_transform_crop(const vit_preprocess *preprocess, const vit_augment *augment,
                              const vit_auto_augment *policy, size_t height, size_t width,
                              const vit_part *crop, const vit_sample_key *key,
                              vit_transform_scratch *scratch, float *out /* (3,height,width) */);

#endif
